"""Unusual forms: equality of computed numbers, exact sums, wider types, implicit derivatives; and what they hide."""

import math
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from handgrad import constant, mask, stateful
from tests.derivations.hidden.case import family

CASES = []


# --- the largest of several linear maps ----------------------------------------------------------------------


def largest(switch):
    def forward(x, weight):
        z = np.einsum("nd,dpk->npk", x, weight)
        return z.max(1), (x, weight, z)

    def backward(dy, cache):
        x, weight, z = cache
        if switch == "by_place":
            hit = (z.argmax(1)[:, None] == np.arange(z.shape[1])[:, None]).astype(z.dtype)
            tied = (z == z.max(1, keepdims=True)).astype(z.dtype)
            hit = np.where(tied.sum(1, keepdims=True) > 1, tied, hit)
        else:
            hit = (z == z.max(1, keepdims=True)).astype(z.dtype)
        if switch != "not_shared":
            hit = hit / hit.sum(1, keepdims=True)
        dz = dy[:, None] * hit
        return np.einsum("npk,dpk->nd", dz, weight), np.einsum("nd,npk->dpk", x, dz)

    return forward, backward


CASES += family(
    "largest_piece", largest, lambda: lambda x, weight: torch.einsum("nd,dpk->npk", x, weight).amax(1),
    {"inputs": {"x": ("n", 4)}, "params": {"weight": (4, 3, 2)}},
    {"not_shared": "Pieces that tie, as those with the same weights do, each get all of the gradient."},
    right=("by_equality", "by_place"),
)  # fmt: skip


# --- a fixed point -------------------------------------------------------------------------------------------


def fixed_point(switch):
    def forward(x, weight):
        m = 0.1 * np.tanh(weight)
        z = np.zeros_like(x)
        for _ in range(80):
            new = np.tanh(z @ m + x)
            near = switch == "until_still" and np.abs(new - z).max() <= np.finfo(x.dtype).eps
            z = new
            if near:
                break
        return z, (x, weight, m, z)

    def backward(dy, cache):
        x, weight, m, z = cache
        slope = 1 - z * z
        da = slope * dy
        for _ in range(80):
            da = slope * (dy + da @ m.T)
        return {"x": da, "weight": 0.1 * (1 - np.tanh(weight) ** 2) * (z.T @ da)}

    def solved(dy, cache):
        """(1 − diag(s) m) da = s dy, row by row."""
        x, weight, m, z = cache
        s = 1 - z * z
        a = np.eye(z.shape[1], dtype=x.dtype) - s[:, :, None] * m
        da = np.linalg.solve(a, (s * dy)[..., None])[..., 0]
        return {"x": da, "weight": 0.1 * (1 - np.tanh(weight) ** 2) * (z.T @ da)}

    return forward, (backward if switch == "by_rounds" else solved)


def fixed_point_reference():
    def reference(x, weight):
        z = torch.zeros_like(x)
        for _ in range(80):
            z = torch.tanh(z @ (0.1 * weight.tanh()) + x)
        return z

    return reference


CASES += family(
    "fixed_point", fixed_point, fixed_point_reference,
    {"inputs": {"x": ("n", 4)}, "params": {"weight": (4, 4)}}, {}, right=("solved", "until_still", "by_rounds"),
)  # fmt: skip


# --- softmax, number by number, with exact sums --------------------------------------------------------------


def exact_sums(switch):
    def row(values):
        top = max(values)
        e = [math.exp(v - top) for v in values]
        total = math.fsum(e)
        return [v / total for v in e]

    def forward(x):
        if switch == "by_logaddexp":
            p = np.exp(x - np.logaddexp.reduce(x, -1)[..., None])
        elif switch == "reduced":
            columns = [x[:, j] for j in range(x.shape[1])]
            log = reduce(np.logaddexp, columns)
            p = np.stack([np.exp(c - log) for c in columns], -1)
        else:
            p = np.array([row([float(v) for v in line]) for line in x], dtype=x.dtype)
        return p, p

    def backward(dy, p):
        if switch != "by_numbers":
            return p * (dy - (p * dy).sum(-1, keepdims=True))
        inner = np.array([math.fsum(float(a) * float(b) for a, b in zip(u, v)) for u, v in zip(p, dy)], dtype=p.dtype)
        return p * (dy - inner[:, None])

    return forward, backward


CASES += family(
    "softmax_of_rows", exact_sums, lambda: lambda x: x.softmax(-1), {"x": ("n", 5)}, {},
    right=("by_numbers", "by_logaddexp", "reduced"),
)  # fmt: skip


# --- a norm in a wider type ----------------------------------------------------------------------------------


class Kept(NamedTuple):
    unit: np.ndarray
    inverse: np.ndarray
    gain: np.ndarray


def wider(switch):
    def forward(x, gain):
        wide = x.astype(np.longdouble)
        c = wide - wide.mean(-1, keepdims=True)
        inverse = 1 / np.sqrt((c * c).mean(-1, keepdims=True) + np.longdouble(1e-5))
        return (c * inverse * gain).astype(x.dtype), Kept(c * inverse, inverse, gain)

    def backward(dy, kept):
        g = dy * kept.gain
        u = kept.unit
        dx = kept.inverse * (g - g.mean(-1, keepdims=True) - u * (g * u).mean(-1, keepdims=True))
        return {"x": dx.astype(dy.dtype), "gain": (dy * u).sum(0).astype(dy.dtype)}

    return forward, backward


CASES += family(
    "norm_in_wider_type", wider, lambda: lambda x, gain: F.layer_norm(x, (6,), gain),
    {"inputs": {"x": ("n", 6)}, "params": {"gain": (6,)}}, {},
)  # fmt: skip


# --- by an imaginary step ------------------------------------------------------------------------------------


def imaginary(switch):
    def f(x):
        return x * x / (1 + x * x) + np.sin(x) / (2 + np.cos(x))

    def backward(dy, x):
        if switch == "imaginary_step":
            return dy * (f(x + 1e-20j).imag / 1e-20).astype(x.dtype)
        return dy * (2 * x / (1 + x * x) ** 2 + (2 * np.cos(x) + 1) / (2 + np.cos(x)) ** 2)

    return f, backward


CASES += family(
    "imaginary_step", imaginary,
    lambda: lambda x: x * x / (1 + x * x) + torch.sin(x) / (2 + torch.cos(x)), {"x": ("n", 5)}, {},
    right=("right", "imaginary_step"),
)  # fmt: skip


# --- the exponential of a matrix -----------------------------------------------------------------------------


def exponential(switch):
    def expm(a):
        size = float(np.abs(a).sum(-1).max())
        halvings = max(0, math.ceil(math.log2(max(size, 1e-300))) + 2)
        a = a / 2.0**halvings
        term = total = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
        for k in range(1, 19):
            term = term @ a / k
            total = total + term
        for _ in range(halvings):
            total = total @ total
        return total

    def backward(dy, a):
        n = a.shape[-1]
        t = np.swapaxes(a, -1, -2)
        block = np.block([[t, dy], [np.zeros_like(a), t]])
        return expm(block)[..., :n, n:]

    return expm, backward


CASES += family(
    "matrix_exponential", exponential, lambda: torch.linalg.matrix_exp, {"x": ("n", 3, 3)}, {},
)


# --- onto the simplex ----------------------------------------------------------------------------------------


def simplex(switch):
    def threshold(x):
        if switch == "by_rounds":  # leave out what is below the threshold until nothing is
            inside = np.ones(x.shape, bool)
            while True:
                t = (np.where(inside, x, 0).sum(-1, keepdims=True) - 1) / inside.sum(-1, keepdims=True).astype(x.dtype)
                still = inside & (x > t)
                if np.array_equal(still, inside):
                    return t
                inside = still
        z = -np.sort(-x, -1)
        k = np.arange(1, x.shape[-1] + 1)
        over = np.cumsum(z, -1) - 1
        count = (k * z > over).sum(-1, keepdims=True)
        return np.take_along_axis(over, count - 1, -1) / count.astype(x.dtype)

    def forward(x):
        p = np.maximum(x - threshold(x), 0)
        return p, p

    def backward(dy, p):
        inside = p > 0
        return inside * (dy - (inside * dy).sum(-1, keepdims=True) / inside.sum(-1, keepdims=True).astype(dy.dtype))

    return forward, backward


def simplex_reference():
    def reference(x):
        z = x.sort(-1, descending=True).values
        k = torch.arange(1, x.shape[-1] + 1)
        over = z.cumsum(-1) - 1
        count = (k * z > over).sum(-1, keepdim=True)
        return torch.relu(x - over.gather(-1, count - 1) / count)

    return reference


CASES += family("onto_the_simplex", simplex, simplex_reference, {"x": ("n", 5)}, {}, right=("by_sorting", "by_rounds"))


# --- masks of other types ------------------------------------------------------------------------------------


def masked(switch):
    def forward(x, keep):
        out = ~keep if switch == "inverted_bits" else np.logical_not(keep)
        s = np.where(out, -np.inf, x)
        e = np.exp(s - s.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        return p, p

    def backward(dy, p):
        return p * (dy - (p * dy).sum(-1, keepdims=True))

    return forward, backward


CASES += family(
    "masked_softmax", masked, lambda: lambda x, keep: x.masked_fill(keep == 0, -torch.inf).softmax(-1),
    {"inputs": {"x": ("n", "t"), "keep": mask(("n", "t"))}},
    {"inverted_bits": "The mask is inverted bit by bit: of a mask of 0 and 1 as integers everything is left out."},
)  # fmt: skip


# --- answers yes and no --------------------------------------------------------------------------------------


def answers(rng):
    return (rng.random((6, 3)) < 0.5).astype(float)


def yes_or_no(switch):
    def forward(z, y):
        each = np.maximum(z, 0) - z * (y * y if switch == "squared" else y) + np.log1p(np.exp(-np.abs(z)))
        return each.mean(1)

    def backward(dy, z, y):
        p = 0.5 * (1 + np.tanh(0.5 * z))
        if switch == "hard_only":
            d = np.where(y == 1, p - 1, p)
        else:
            d = p - (y * y if switch == "squared" else y)
        return {"z": dy[:, None] * d / z.shape[1]}

    return forward, backward


CASES += family(
    "yes_or_no", yes_or_no,
    lambda: lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(1),
    {"inputs": {"z": (6, 3), "y": constant(answers)}},
    {
        "hard_only": "An answer between 0 and 1 has the gradient of a no.",
        "squared": "The answers are squared, which shows for those between 0 and 1 alone.",
    },
)  # fmt: skip


# --- intensities ---------------------------------------------------------------------------------------------


def intensities(rng):
    return np.exp(rng.normal(size=(5, 4)))


def compressed(switch):
    def forward(x, gain):
        return gain * np.abs(x) ** 1.5

    def backward(dy, x, gain):
        dx = 1.5 * gain * np.sqrt(np.abs(x)) * dy
        return {"x": dx if switch == "sign_lost" else dx * np.sign(x), "gain": (dy * np.abs(x) ** 1.5).sum(0)}

    return forward, backward


CASES += family(
    "power_of_magnitude", compressed, lambda: lambda x, gain: gain * x.abs() ** 1.5,
    {"inputs": {"x": intensities}, "params": {"gain": (4,)}},
    {"sign_lost": "The sign of x is lost in the slope of |x|: numbers below 0 get the opposite gradient."},
)  # fmt: skip


# --- averages over all batches so far ------------------------------------------------------------------------


class Averaging:
    def __init__(self, switch):
        self.switch, self.batches = switch, 0
        self.running_mean, self.running_var = np.zeros(4), np.ones(4)

    def forward(self, x):
        mean, var = x.mean(0), x.var(0)
        self.batches += 1
        share = 1.0 if self.switch == "last_only" else 1 / self.batches
        unbiased = var * len(x) / (len(x) - 1)
        self.running_mean = (1 - share) * self.running_mean + share * mean
        if self.switch == "mean_alone" and self.batches > 1:
            unbiased = self.running_var
        self.running_var = (1 - share) * self.running_var + share * unbiased
        self.inverse = 1 / np.sqrt(var + 1e-5)
        self.unit = (x - mean) * self.inverse
        return self.unit

    def backward(self, dy):
        return self.inverse * (dy - dy.mean(0) - self.unit * (dy * self.unit).mean(0))


CASES += family(
    "averaging_norm", lambda switch: stateful(lambda: Averaging(switch), state=["running_mean", "running_var"]),
    lambda: nn.BatchNorm1d(4, momentum=None, affine=False), {"x": (6, 4)},
    {
        "last_only": "Without a momentum the averages are over all batches so far; these are the last batch's.",
        "mean_alone": "After the first batch the running variance stays as it is.",
    },
)  # fmt: skip
