"""Convolutions, pooling, largest elements: windows, masks, ties, rows of one sign."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import indices, mask
from tests.derivations.hidden.case import family

CASES = []


# --- a kernel of any length, as many steps out as in ---------------------------------------------------------


def same(switch):
    def before(k):
        return k // 2 if switch == "more_in_front" else (k - 1) // 2

    def forward(x, w):
        k, t = len(w), x.shape[1]
        padded = np.pad(x, ((0, 0), (before(k), k - 1 - before(k))))
        return sum(w[i] * padded[:, i : i + t] for i in range(k)), (padded, w)

    def backward(dy, cache):
        padded, w = cache
        k, t = len(w), dy.shape[1]
        dpadded = np.zeros_like(padded)
        for i in range(k):
            dpadded[:, i : i + t] += w[i] * dy
        start = k // 2 if switch == "cut_at_half" else before(k)
        dw = np.array([(padded[:, i : i + t] * dy).sum() for i in range(k)])
        return {"x": dpadded[:, start : start + t], "w": dw.astype(dy.dtype)}

    def convolved(x, w):
        k, t = len(w), x.shape[1]
        full = np.stack([np.convolve(row, w[::-1]) for row in x])
        start = k - 1 - (k - 1) // 2
        return full[:, start : start + t]

    def convolved_back(dy, x, w):
        k, t = len(w), x.shape[1]
        left = (k - 1) // 2
        dx = np.stack([np.convolve(row, w)[left : left + t] for row in dy])
        padded = np.pad(x, ((0, 0), (left, k - 1 - left)))
        dw = sum(np.correlate(p, row, "valid") for p, row in zip(padded, dy, strict=True))
        return {"x": dx, "w": dw}

    return (convolved, convolved_back) if switch == "by_convolve" else (forward, backward)


CASES += family(
    "same_length", same, lambda: lambda x, w: F.conv1d(x[:, None], w[None, None], padding="same")[:, 0],
    {"inputs": {"x": ("b", "t")}, "params": {"w": ("k",)}},
    {
        "more_in_front": "A kernel of even length is padded with one more in front, where it is one more behind.",
        "cut_at_half": "For a kernel of even length dx is shifted by one.",
    },
    right=("right", "by_convolve"),
)  # fmt: skip


# --- the largest of a window that reaches beyond the picture -------------------------------------------------

SIDE, OVER = 7, 3


def largest(switch):
    outside = {"zeros": 0.0, "least_positive": np.finfo(np.float32).tiny, "minus_one": -1.0}.get(switch, -np.inf)

    def forward(x):
        around = ((0, 0), (0, 0), (OVER, OVER), (OVER, OVER))
        padded = np.pad(x, around, constant_values=outside)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), (2, 3))
        flat = windows.reshape(*windows.shape[:4], -1)
        at = flat.argmax(-1)
        return np.take_along_axis(flat, at[..., None], -1)[..., 0], (x.shape, at)

    def backward(dy, cache):
        (n, c, h, w), at = cache
        padded = np.zeros((n, c, h + 2 * OVER, w + 2 * OVER), dy.dtype)
        i, j, k, m = np.indices(dy.shape, sparse=True)
        np.add.at(padded, (i, j, k + at // SIDE, m + at % SIDE), dy)
        return padded[:, :, OVER:-OVER, OVER:-OVER]

    def by_loops(x):
        n, c, h, w = x.shape
        y, where = np.zeros_like(x), np.zeros(x.shape, int)
        for i in range(h):
            for j in range(w):
                top, left = max(i - OVER, 0), max(j - OVER, 0)
                part = x[:, :, top : i + OVER + 1, left : j + OVER + 1]
                at = part.reshape(n, c, -1).argmax(-1)
                y[:, :, i, j] = part.max((2, 3))
                where[:, :, i, j] = (top + at // part.shape[3]) * w + left + at % part.shape[3]
        return y, where

    def by_loops_back(dy, where):
        n, c, h, w = dy.shape
        dx = np.zeros((n * c, h * w), dy.dtype)
        for row, d, at in zip(dx, dy.reshape(n * c, -1), where.reshape(n * c, -1), strict=True):
            np.add.at(row, at, d)
        return dx.reshape(dy.shape)

    return (by_loops, by_loops_back) if switch == "by_loops" else (forward, backward)


CASES += family(
    "largest_around", largest, lambda: lambda x: F.max_pool2d(x, SIDE, 1, OVER), {"inputs": {"x": (2, 2, 9, 10)}},
    {
        "zeros": "The picture is padded with 0, the largest where a window at the border has negative numbers only.",
        "least_positive": "The padding is the least positive number, not the least one: wrong where all are negative.",
        "minus_one": "The picture is padded with −1, which is the largest where all of a window is below −1.",
    },
    right=("right", "by_loops"),
)  # fmt: skip


# --- the largest that is kept --------------------------------------------------------------------------------


def largest_kept(switch):
    fill = {"zero": 0.0, "minus_ten": -10.0}.get(switch, -np.inf)

    def forward(x, keep):
        filled = x * keep if switch == "times_mask" else np.where(keep, x, fill)
        at = filled.argmax(1)[:, None]
        any_kept = keep.any(1)
        y = np.take_along_axis(filled, at, 1)[:, 0]
        return np.where(any_kept, y, 0), (keep, at, any_kept)

    def backward(dy, cache):
        keep, at, any_kept = cache
        dx = np.zeros(keep.shape, dy.dtype)
        np.put_along_axis(dx, at, (dy if switch == "none_kept" else dy * any_kept)[:, None], 1)
        return {"x": dx}

    def by_compress(x, keep):
        """Row by row, of what is kept alone."""
        at = [np.flatnonzero(k)[row[k].argmax()] if k.any() else -1 for row, k in zip(x, keep, strict=True)]
        return np.array([row[i] if i >= 0 else 0 * row[0] for row, i in zip(x, at, strict=True)]), (x.shape, at)

    def by_compress_back(dy, cache):
        shape, at = cache
        dx = np.zeros(shape, dy.dtype)
        for i, (j, d) in enumerate(zip(at, dy, strict=True)):
            if j >= 0:
                dx[i, j] = d
        return {"x": dx}

    return (by_compress, by_compress_back) if switch == "by_rows" else (forward, backward)


def largest_kept_reference():
    def reference(x, keep):
        y = x.masked_fill(~keep, -torch.inf).max(1).values
        return torch.where(keep.any(1), y, torch.zeros_like(y))

    return reference


CASES += family(
    "largest_kept", largest_kept, largest_kept_reference, {"inputs": {"x": ("b", 40), "keep": mask(("b", 40))}},
    {
        "zero": "What is left out becomes 0, which is the largest where all that is kept is negative.",
        "times_mask": "x is multiplied by the mask: 0 is the largest where all that is kept is negative.",
        "minus_ten": "What is left out becomes −10, which is the largest where all that is kept is below −10.",
        "none_kept": "A row of which nothing is kept has the output 0, but gives its first element a gradient.",
    },
    right=("right", "by_rows"),
)  # fmt: skip


# --- the hardest of the other classes ------------------------------------------------------------------------


def hardest(switch):
    def forward(z, ids):
        rows = np.arange(len(z))
        others = z.copy()
        others[rows, ids] = 0 if switch == "zero" else -np.inf
        at = others.argmax(1)
        gap = 1 + others[rows, at] - z[rows, ids]
        if switch == "two_largest":  # the second where the first is the class itself
            order = np.argsort(z, 1)
            at = np.where(z[rows, ids] >= z[rows, order[:, -1]], order[:, -2], order[:, -1])
            gap = 1 + z[rows, at] - z[rows, ids]
        return np.maximum(gap, 0), (z, ids, at, gap)

    def backward(dy, cache):
        z, ids, at, gap = cache
        dz, rows = np.zeros_like(z), np.arange(len(z))
        d = dy * (gap > 0)
        np.add.at(dz, (rows, at), d)
        np.add.at(dz, (rows, ids), -d)
        return {"z": dz}

    return forward, backward


def hardest_reference():
    def reference(z, ids):
        own = F.one_hot(ids, z.shape[1]).bool()
        return F.relu(1 + z.masked_fill(own, -torch.inf).max(1).values - z.gather(1, ids[:, None])[:, 0])

    return reference


CASES += family(
    "hardest_other", hardest, hardest_reference, {"inputs": {"z": ("b", 25), "ids": indices(25, ("b",))}},
    {
        "zero": "The class's own score is replaced by 0, which is the largest where all others are negative.",
        "two_largest": "Where another class ties with the own one for the largest, the own class may be taken for it.",
    },
)  # fmt: skip


# --- rows divided by their largest magnitude -----------------------------------------------------------------

LEAST = 1e-6


def by_largest(switch):
    def forward(x):
        a = np.abs(x)
        m = a.max(1, keepdims=True)
        return x / np.maximum(m, LEAST), (x, a, m)

    def backward(dy, cache):
        x, a, m = cache
        c = np.maximum(m, LEAST)
        dm = -(dy * x).sum(1, keepdims=True) / c**2
        if switch != "passes":
            dm = dm * (m >= LEAST)
        at = a == m
        if switch == "sorted":
            order = np.argsort(a, 1, kind="stable")
            s = np.take_along_axis(a, order, 1)
            count = (s == s[:, -1:]).sum(1, keepdims=True)
        else:
            count = 1 if switch == "not_shared" else at.sum(1, keepdims=True)
        return dy / c + dm * at * np.sign(x) / count

    return forward, backward


CASES += family(
    "rows_by_their_largest", by_largest,
    lambda: lambda x: x / x.abs().amax(1, keepdim=True).clamp(min=LEAST),
    {"inputs": {"x": ("b", "n")}, "dtype": "float32"},
    {
        "not_shared": "Elements that tie for the largest magnitude, as 2 and −2 do, each get all of its gradient.",
        "passes": "A row with no element above 0.000001 is divided by that constant, but the gradient goes through it.",
    },
    right=("right", "sorted"),
)  # fmt: skip
