"""Right derivations in forms that are seldom seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []

# --- by a step into the complex plane, and by dual numbers ----------------------------------------------------

SMALL = 1e-30


def stepped(switch):
    def silu(x):
        return x / (1 + np.exp(-x))

    def backward(dy, x):
        return dy * silu(x + SMALL * 1j).imag / SMALL

    def halves(dy, x):
        t = np.tanh(x / 2)
        return dy * ((1 + t) / 2 + x * (1 - t) * (1 + t) / 4)

    return silu, backward if switch == "complex_step" else halves


CASES += family(
    "silu", stepped, lambda: torch.nn.functional.silu, {"x": (4, 5)}, {}, right=("complex_step", "by_tanh")
)


@dataclass(frozen=True)
class Dual:
    """A number and its slope."""

    value: np.ndarray
    slope: np.ndarray

    def __mul__(self, other):
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def through(self, f, derivative):
        """A function of it."""
        return Dual(f(self.value), derivative(self.value) * self.slope)


def dual(switch):
    def run(x):
        one = Dual(x, np.ones_like(x))
        square = (one * one).through(np.log1p, lambda v: 1 / (1 + v))
        return one * square.through(np.tanh, lambda v: 1 - np.tanh(v) ** 2)

    def by_powers(x):
        s = (1 + x * x) ** 2
        return Dual(x * (s - 1) / (s + 1), (s - 1) / (s + 1) + 8 * x * x * (1 + x * x) / (s + 1) ** 2)

    chosen = run if switch == "dual_numbers" else by_powers
    return lambda x: chosen(x).value, lambda dy, x: dy * chosen(x).slope


def dual_reference(x):
    return x * torch.tanh(torch.log1p(x * x))


CASES += family("log_gate", dual, lambda: dual_reference, {"x": (4, 5)}, {}, right=("dual_numbers", "by_powers"))

# --- functions of Python, element by element ------------------------------------------------------------------

ERFC = np.frompyfunc(math.erfc, 1, 1)


def gauss(switch):
    def cdf(x):
        return ERFC(-x / math.sqrt(2)).astype(x.dtype) / 2

    def forward(x):
        return x * cdf(x)

    def backward(dy, x):
        return dy * (cdf(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))

    return forward, backward


CASES += family("gelu", gauss, lambda: torch.nn.functional.gelu, {"x": (3, 5)}, {}, right=("by_erfc",))

# --- sums of exponentials by accumulation ---------------------------------------------------------------------


def gathered(switch):
    def forward(x):
        return np.logaddexp.accumulate(x, axis=-1)

    def backward(dy, x):
        y = forward(x)
        if switch == "by_matrix":
            t = x.shape[-1]
            share = np.exp(np.minimum(x[..., None, :] - y[..., :, None], 0.0)) * np.tri(t)
            return np.einsum("...j,...ji->...i", dy, share)
        g = np.zeros_like(x)
        for j in range(x.shape[-1]):
            g[..., : j + 1] += dy[..., j : j + 1] * np.exp(x[..., : j + 1] - y[..., j : j + 1])
        return g

    return forward, backward


CASES += family(
    "log_cumulative", gathered, lambda: lambda x: torch.logcumsumexp(x, -1), {"x": (3, 6)}, {},
    right=("step_by_step", "by_matrix"),
)  # fmt: skip


def reduced(switch):
    def both(output, target):
        total = np.logaddexp.reduce(output, axis=1, keepdims=True)
        rows = np.arange(len(output))
        g = np.exp(output - total)
        np.subtract.at(g, (rows, target), 1.0)
        return np.mean(total[:, 0] - output[rows, target]), np.multiply(g, 1 / len(g))

    def both_by_pairs(output, target):
        total = reduce(np.logaddexp, output.T)
        one_hot = np.equal.outer(target, np.arange(output.shape[1]))
        j = np.sum(np.where(one_hot, total[:, None] - output, 0.0)) / len(output)
        return j, ((np.exp(output.T - total)).T - one_hot) / len(output)

    return both_by_pairs if switch == "by_pairs" else both


CASES += family(
    "cross_entropy", reduced, lambda: torch.nn.CrossEntropyLoss(), {"output": (5, 4), "target": "class"}, {},
    right=("by_reduce", "by_pairs"),
)  # fmt: skip

# --- sums that are compensated, or in a wider type ------------------------------------------------------------


def exact_sum(values):
    total, lost = np.zeros((), values.dtype), np.zeros((), values.dtype)
    for v in values.ravel():
        new = total + v
        lost = lost + np.where(np.abs(total) >= np.abs(v), (total - new) + v, (v - new) + total)
        total = new
    return total + lost


def squares(switch):
    def loss(output, target):
        d = output - target
        if switch == "wide":
            return np.asarray(np.mean(d.astype(np.longdouble) ** 2)).astype(output.dtype)
        if switch == "fsum":
            return math.fsum((d * d).ravel().tolist()) / d.size
        return exact_sum(d * d) / d.size

    def gradient(output, target):
        return np.subtract(output, target) * 2 / output.size

    return loss, gradient


CASES += family(
    "mean_squares", squares, lambda: torch.nn.MSELoss(), {"output": (5, 4), "target": (5, 4)}, {},
    right=("compensated", "wide", "fsum"),
)  # fmt: skip

# --- results that lie in memory in other ways -----------------------------------------------------------------


def laid_out(switch):
    def forward(x):
        if switch == "reversed":
            return np.cumsum(x[:, ::-1], axis=1)[:, ::-1]
        return np.triu(np.ones((x.shape[1],) * 2)).dot(x.T).T

    def backward(dy, x):
        if switch == "reversed":
            return np.add.accumulate(dy, axis=1)
        return np.asfortranarray(dy @ np.tri(x.shape[1]).T)

    return forward, backward


CASES += family(
    "sums_from_behind", laid_out, lambda: lambda x: x.flip(1).cumsum(1).flip(1), {"x": (3, 6)}, {},
    right=("reversed", "by_triangle"),
)  # fmt: skip


def spread(switch):
    def forward(x):
        return x.mean(0) if switch == "broadcast" else np.einsum("ij->j", x) / len(x)

    def backward(dy, x):
        if switch == "broadcast":
            return np.broadcast_to(dy / len(x), x.shape)
        return np.kron(np.full((len(x), 1), 1 / len(x)), dy[None])

    return forward, backward


CASES += family(
    "mean_of_rows", spread, lambda: lambda x: x.mean(0), {"x": (4, 5)}, {}, right=("broadcast", "by_kron")
)

# --- a determinant, by its Cholesky factor --------------------------------------------------------------------


def volume(switch):
    def matrix(x):
        return x.T @ x + np.eye(x.shape[1])

    def forward(x):
        if switch == "by_slogdet":
            return np.linalg.slogdet(matrix(x))[1]
        return 2 * np.log(np.diagonal(np.linalg.cholesky(matrix(x)))).sum()

    def backward(dy, x):
        if switch == "by_slogdet":
            return 2 * dy * x @ np.linalg.inv(matrix(x))
        return 2 * dy * np.linalg.solve(matrix(x), x.T).T

    return forward, backward


def volume_reference(x):
    return torch.logdet(x.T @ x + torch.eye(x.shape[1], dtype=x.dtype))


CASES += family(
    "log_volume", volume, lambda: volume_reference, {"x": (5, 3)}, {}, right=("by_cholesky", "by_slogdet")
)

# --- a projection onto the simplex ----------------------------------------------------------------------------


def simplex(switch):
    def project(x):
        keep = np.ones(x.shape, bool)
        while True:
            cut = (np.where(keep, x, 0.0).sum(-1, keepdims=True) - 1) / keep.sum(-1, keepdims=True)
            still = keep & (x > cut)
            if (still == keep).all():
                return np.where(keep, x - cut, 0.0), keep
            keep = still

    def project_sorted(x):
        down = -np.sort(-x, axis=-1)
        k = np.arange(1, x.shape[-1] + 1)
        fits = 1 + k * down > np.cumsum(down, -1)
        size = fits.sum(-1, keepdims=True)
        cut = (np.where(fits, down, 0.0).sum(-1, keepdims=True) - 1) / size
        return np.maximum(x - cut, 0), x > cut

    run = project_sorted if switch == "sorted" else project

    def backward(dy, x):
        keep = run(x)[1]
        mean = (dy * keep).sum(-1, keepdims=True) / keep.sum(-1, keepdims=True)
        return keep * (dy - mean)

    return lambda x: run(x)[0], backward


def simplex_reference(x):
    down = torch.sort(x, -1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1)
    size = (1 + k * down > down.cumsum(-1)).sum(-1, keepdim=True)
    cut = (down.cumsum(-1).gather(-1, size - 1) - 1) / size
    return torch.relu(x - cut)


CASES += family("sparsemax", simplex, lambda: simplex_reference, {"x": (4, 6)}, {}, right=("by_rounds", "sorted"))

# --- batch normalisation by raw moments -----------------------------------------------------------------------

EPS = 1e-5


def moments(switch):
    def parts(x):
        n = len(x)
        first, second = x.sum(0) / n, (x * x).sum(0) / n
        return first, 1 / np.sqrt(second - first * first + EPS)

    def forward(x):
        mean, scale = parts(x)
        return scale * x - scale * mean

    def backward(dy, x):
        n = len(x)
        mean, scale = parts(x)
        by_scale = (dy * (x - mean)).sum(0)
        by_second = -0.5 * scale**3 * by_scale
        by_first = -scale * dy.sum(0) - 2 * mean * by_second
        return scale * dy + (by_first + 2 * x * by_second) / n

    return forward, backward


CASES += family(
    "batch_norm_by_moments", moments,
    lambda: lambda x: torch.nn.functional.batch_norm(x, None, None, training=True, eps=EPS), {"x": (8, 5)}, {},
    right=("by_moments",),
)  # fmt: skip

# --- Adam by weighted sums ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightedAdam:
    """Means of all gradients so far, weighted by β to their age: what Adam's correction for the start comes to."""

    switch: str
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, theta):
        zero = np.zeros_like(theta)
        return {"sums": (zero, zero), "weights": (0.0, 0.0)}

    def update(self, theta, grad, state, learning_rate):
        (a, b), (u, v) = state["sums"], state["weights"]
        a, u = self.beta1 * a + grad, self.beta1 * u + 1
        b, v = self.beta2 * b + grad * grad, self.beta2 * v + 1
        if self.switch == "as_quotient":
            step = a * np.sqrt(v) / (u * (np.sqrt(b) + self.eps * np.sqrt(v)))
        else:
            step = (a / u) / (np.sqrt(b / v) + self.eps)
        return theta - learning_rate * step, {"sums": (a, b), "weights": (u, v)}


CASES += family(
    "weighted_adam", WeightedAdam, lambda: torch.optim.Adam, {"theta": (6,)}, {}, right=("as_means", "as_quotient")
)
