"""In float32: small constants that its rounding hides where numbers are of order 1, and not where they are small."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.derivations.hidden.case import family

CASES = []


# --- by the root of the mean square --------------------------------------------------------------------------

TINY = 1e-8


def by_root(switch):
    def forward(x, weight):
        ms = (x * x).mean(-1, keepdims=True)
        if switch == "left_out":
            r = 1 / np.sqrt(ms)
        elif switch == "outside":
            r = 1 / (np.sqrt(ms) + x.dtype.type(TINY))
        else:
            r = 1 / np.sqrt(ms + x.dtype.type(TINY))
        return x * r * weight, (x, r, weight, ms)

    def backward(dy, cache):
        x, r, weight, ms = cache
        g = dy * weight
        u = x * r
        if switch == "over_mean_square":  # r² taken as 1 / ms
            dx = r * (g - x * (g * x).mean(-1, keepdims=True) / np.maximum(ms, np.finfo(ms.dtype).tiny))
        else:
            dx = r * (g - u * (g * u).mean(-1, keepdims=True))
        return {"x": dx, "weight": (dy * u).sum(0)}

    return forward, backward


CASES += family(
    "root_mean_square", by_root, lambda: lambda x, weight: F.rms_norm(x, (6,), weight, TINY),
    {"inputs": {"x": ("n", 6)}, "params": {"weight": (6,)}, "dtype": "float32"},
    {
        "left_out": "The 1e-8 below the root is left out: NaN for a row of zeros, wrong for small rows.",
        "outside": "The 1e-8 is added to the root where it is added below it.",
        "over_mean_square": "The projection is divided by the mean square without the 1e-8 that the root has.",
    },
)  # fmt: skip


# --- the cosine of two rows ----------------------------------------------------------------------------------


def cosines(switch):
    def forward(a, b):
        na, nb = (np.sqrt((v * v).sum(-1)) for v in (a, b))
        product = na * nb
        if switch == "added":
            product = product + np.asarray(1e-8, a.dtype)
        else:
            product = np.maximum(na, np.asarray(1e-8, a.dtype)) * np.maximum(nb, np.asarray(1e-8, a.dtype))
        return (a * b).sum(-1) / product

    def backward(dy, a, b):
        la, lb = (np.sqrt((v * v).sum(-1, keepdims=True)) for v in (a, b))
        na, nb = (np.maximum(n, np.asarray(1e-8, a.dtype)) for n in (la, lb))
        u, w = a / na, b / nb
        c = (u * w).sum(-1, keepdims=True)
        g = dy[:, None]
        return g * (w - np.where(la > 1e-8, c * u, 0)) / na, g * (u - np.where(lb > 1e-8, c * w, 0)) / nb

    return forward, backward


CASES += family(
    "cosine", cosines, lambda: lambda a, b: F.cosine_similarity(a, b, dim=-1),
    {"inputs": {"a": ("n", 5), "b": ("n", 5)}, "dtype": "float32"},
    {"added": "1e-8 is added to the product of the norms where each is at least 1e-8: wrong for short rows."},
)  # fmt: skip


# --- a ridge -------------------------------------------------------------------------------------------------


def ridge(switch):
    small = 0.0 if switch == "left_out" else 1e-7

    def inverse(a):
        return np.linalg.inv(a @ a.T + np.asarray(small, a.dtype) * np.eye(len(a), dtype=a.dtype))

    def forward(a, b):
        return inverse(a) @ b

    def backward(dy, a, b):
        k = inverse(a)
        x, g = k @ b, k @ dy
        dk = -np.outer(g, x)
        return {"a": (dk + dk.T) @ a, "b": g}

    return forward, backward


def ridge_reference():
    return lambda a, b: torch.linalg.inv(a @ a.mT + 1e-7 * torch.eye(len(a), dtype=a.dtype)) @ b


CASES += family(
    "ridge", ridge, ridge_reference, {"inputs": {"a": (3, 9), "b": (3,)}, "dtype": "float32"},
    {"left_out": "The ridge of 1e-7 is left out: for dependent rows there is no inverse without it."},
)  # fmt: skip


# --- shares --------------------------------------------------------------------------------------------------


def shares(switch):
    def forward(x):
        a = x * x
        s = a.sum(-1, keepdims=True)
        return a / (s if switch == "left_out" else s + x.dtype.type(1e-7)), (x, a, s)

    def backward(dy, cache):
        x, a, s = cache
        s = s if switch == "left_out" else s + x.dtype.type(1e-7)
        da = (dy - (dy * a).sum(-1, keepdims=True) / (np.maximum(a.sum(-1, keepdims=True), np.finfo(s.dtype).tiny)
              if switch == "sum_again" else s)) / s  # fmt: skip
        return 2 * x * da

    return forward, backward


CASES += family(
    "shares", shares, lambda: lambda x: x * x / ((x * x).sum(-1, keepdim=True) + 1e-7),
    {"x": ("n", 5), "dtype": "float32"},
    {
        "left_out": "The 1e-7 below the line is left out: 0/0 for a row of zeros.",
        "sum_again": "Backward divides by the sum without the 1e-7 once.",
    },
)  # fmt: skip


# --- near zero -----------------------------------------------------------------------------------------------


def near_zero(switch):
    """sin x / x, by its series where x is small."""
    edge = 5e-4

    def forward(x):
        near = np.abs(x) < edge
        safe = np.where(near, 1, x)
        return np.where(near, 1 - x * x / 6, np.sin(safe) / safe)

    def backward(dy, x):
        near = np.abs(x) < edge
        safe = np.where(near, 1, x)
        series = -2 * x / 3 if switch == "twice" else (0 * x if switch == "flat" else -x / 3)
        return dy * np.where(near, series, (np.cos(safe) - np.sin(safe) / safe) / safe)

    return forward, backward


def near_zero_reference():
    def reference(x):
        return torch.where(x == 0, 1 - x * x / 6, torch.sin(x) / torch.where(x == 0, 1, x))

    return reference


CASES += family(
    "sine_over_x", near_zero, near_zero_reference, {"x": ("n", 5)},
    {
        "twice": "Below 5e-4 the slope is −2x/3 where it is −x/3.",
        "flat": "Below 5e-4 the slope is taken as 0 where it is −x/3.",
    },
)  # fmt: skip


# --- rows with a length --------------------------------------------------------------------------------------


def distance(switch):
    def forward(a, b):
        d = a[:, None] - b[None]
        return np.sqrt((d * d).sum(-1))

    def backward(dy, a, b):
        d = a[:, None] - b[None]
        n = np.sqrt((d * d).sum(-1))
        if switch == "coincident":
            u = d / n[..., None]
        else:
            u = np.where(n[..., None] > 0, d / np.where(n == 0, 1, n)[..., None], 0)
        g = dy[..., None] * u
        return g.sum(1), -g.sum(0)

    def expanded(a, b):
        """Each pair by its mean and half its difference, a scale taken out."""
        d = np.abs(a[:, None] - b[None])
        m = d.max(-1, keepdims=True)
        m = np.where(m > 0, m, 1)
        return m[..., 0] * np.sqrt(((d / m) ** 2).sum(-1))

    return (expanded if switch == "scaled" else forward), backward


CASES += family(
    "distances", distance, lambda: lambda a, b: torch.linalg.vector_norm(a[:, None] - b[None], dim=-1),
    {"inputs": {"a": ("n", 4), "b": ("m", 4)}},
    {"coincident": "Where a point of one set is one of the other too the gradient is 0/0, NaN, and not 0."},
    right=("right", "scaled"),
)  # fmt: skip

