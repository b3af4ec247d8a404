"""Matrices, decompositions, powers, complex numbers."""

import numpy as np
import torch

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []


# --- a principal root ----------------------------------------------------------------------------------------


def root(switch):
    def principal(z):
        if switch == "right":
            return np.sqrt(z)
        r = np.hypot(z.real, z.imag)
        a = np.sqrt((r + np.abs(z.real)) / 2)
        b = np.abs(z.imag) / (2 * a)
        sign = np.sign(z.imag) if switch == "sign" else np.where(z.imag < 0, -1, 1)
        if switch == "odd":  # continued along the imaginary axis
            return np.where(z.real >= 0, a + 1j * sign * b, 1j * a + sign * b)
        return np.where(z.real >= 0, a + 1j * sign * b, b + 1j * sign * a)

    def forward(z):
        y = principal(4 + z)
        return y, (y,)

    def backward(dy, cache):
        return dy / (2 * np.conj(cache[0]))

    return forward, backward


CASES += family(
    "principal_root", root, lambda: lambda z: torch.sqrt(4 + z), {"inputs": {"z": (5, 4)}, "dtype": "complex128"},
    {
        "sign": "The sign of an imaginary part of 0 is taken as 0: real numbers below −4 have the root 0.",
        "odd": "Below −4 the root's real part is negative where the imaginary part of z is.",
    },
)  # fmt: skip


# --- the exponential of a symmetric matrix -------------------------------------------------------------------


def heat(switch):
    def forward(x):
        lam, q = np.linalg.eigh((x + x.T) / 2)
        e = np.exp(lam)
        return (q * e) @ q.T, (lam, q, e)

    def quotients(lam, e):
        gap = lam[:, None] - lam
        if switch == "right":
            mean, half = (lam[:, None] + lam) / 2, gap / 2
            small = np.abs(half) < 1e-4
            safe = np.where(small, 1, half)
            return np.exp(mean) * np.where(small, 1 + half**2 / 6, np.sinh(safe) / safe)
        apart = gap != 0
        rest = np.diag(e) if switch == "zero" else e[:, None]
        return np.where(apart, (e[:, None] - e) / np.where(apart, gap, 1), rest)

    def backward(dy, cache):
        lam, q, e = cache
        g = q @ ((q.T @ dy @ q) * quotients(lam, e)) @ q.T
        return (g + g.T) / 2

    return forward, backward


CASES += family(
    "symmetric_exponential", heat, lambda: lambda x: torch.linalg.matrix_exp((x + x.mT) / 2),
    {"inputs": {"x": ("n", "n")}},
    {
        "quotient": "Eigenvalues that are equal but for rounding give a quotient of two rounding errors.",
        "zero": "Of equal eigenvalues the quotient is 0 where it is the derivative, of nearly equal ones noise.",
    },
)  # fmt: skip


# --- the logarithm of a volume -------------------------------------------------------------------------------


def volume(switch):
    def forward(a):
        if switch == "by_det":
            with np.errstate(over="ignore", divide="ignore"):
                return np.log(np.abs(np.linalg.det(a)))
        if switch == "by_qr":
            return np.log(np.abs(np.diagonal(np.linalg.qr(a)[1]))).sum()
        return np.linalg.slogdet(a)[1]

    def backward(dy, a):
        if switch == "by_det":
            with np.errstate(over="ignore", invalid="ignore"):
                det = np.linalg.det(a)
                return dy * (np.linalg.inv(a).T * det) / det  # cofactors over the determinant
        return dy * np.linalg.inv(a).T

    return forward, backward


CASES += family(
    "volume", volume, lambda: lambda a: torch.linalg.slogdet(a)[1], {"inputs": {"a": (24, 24)}, "dtype": "float32"},
    {"by_det": "The determinant overflows in float32, as of a matrix of 24 rows and numbers of about 50: ∞ and NaN."},
    right=("right", "by_qr"),
)  # fmt: skip


# --- the largest singular value ------------------------------------------------------------------------------


def stretch(switch):
    def top(a):
        v = np.ones(a.shape[1]) if switch == "from_ones" else a[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            for _ in range(500):
                v = a.T @ (a @ v)
                v = v / np.sqrt((v**2).sum())
            u = a @ v
            s = np.sqrt((u**2).sum())
            return u / s, s, v

    def forward(a):
        if switch in ("from_ones", "from_first_row"):
            u, s, v = top(a)
            return s, np.outer(u, v)
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        w = (s == s[0]) / (s == s[0]).sum()
        return s[0], (u * w) @ vh

    def backward(dy, outer):
        return dy * outer

    return forward, backward


CASES += family(
    "largest_stretch", stretch, lambda: lambda a: torch.linalg.matrix_norm(a, 2), {"inputs": {"a": (5, 3)}},
    {
        "from_ones": "The iteration starts from ones: 0/0 for a matrix whose rows sum to 0, as centred data do.",
        "from_first_row": "The iteration starts from the first row, and stays if the others are orthogonal to it.",
    },
)  # fmt: skip


# --- whole powers --------------------------------------------------------------------------------------------


def powers(switch):
    def forward(x, k):
        return x**k

    def backward(dy, x, k):
        with np.errstate(divide="ignore", invalid="ignore"):
            if switch == "formula":
                return {"x": dy * k * x ** (k - 1.0)}
            if switch == "over_x":
                return {"x": dy * np.where(x == 0, 0, k * x**k / x)}
        return {"x": dy * k * x ** np.maximum(k - 1, 0)}

    def by_tables(x, k):
        table = np.stack([x**0, x, x * x, x * x * x])
        return np.take_along_axis(table, k[None], 0)[0]

    def by_tables_back(dy, x, k):
        table = np.stack([0 * x, x**0, 2 * x, 3 * x * x])
        return {"x": dy * np.take_along_axis(table, k[None], 0)[0]}

    return (by_tables, by_tables_back) if switch == "by_tables" else (forward, backward)


CASES += family(
    "whole_powers", powers, lambda: lambda x, k: x**k, {"inputs": {"x": ("b", "n"), "k": indices(4, ("b", "n"))}},
    {
        "formula": "The power 0 of 0 has the gradient 0 · 0⁻¹, NaN, where it is 0.",
        "over_x": "At 0 the slope is taken as 0: of the first power it is 1.",
    },
    right=("right", "by_tables"),
)  # fmt: skip


# --- complex numbers, shifted in magnitude -------------------------------------------------------------------


def shifted(switch):
    def size(r):
        if switch == "unguarded":
            return r
        return np.maximum(r, 1e-3) if switch == "at_least" else np.where(r == 0, 1, r)

    def forward(z):
        r = np.abs(z)
        with np.errstate(invalid="ignore", divide="ignore"):
            u = z / size(r)
        return (r + 0.5) * u, (r, u)

    def backward(dy, cache):
        r, u = cache
        along = (np.conj(u) * dy).real * u
        with np.errstate(invalid="ignore", divide="ignore"):
            turn = (r + 0.5) / size(r)
        dz = along + turn * (dy - along)
        return np.where(r == 0, 0, dz) if switch == "right" else dz

    return forward, backward


CASES += family(
    "longer_by_a_half", shifted, lambda: lambda z: (z.abs() + 0.5) * torch.sgn(z),
    {"inputs": {"z": ("n", 3)}, "dtype": "complex128"},
    {
        "unguarded": "A number that is 0 has no direction: 0/0, NaN, where the output is 0.",
        "at_least": "The direction is z / max(|z|, 0.001): too short for numbers below 0.001, which have one.",
    },
)  # fmt: skip


# --- ridge regression, in whichever form is smaller ----------------------------------------------------------

RIDGE = 0.5


def ridge(switch):
    def forward(x, y):
        n, d = x.shape
        few = n < d or switch == "always_dual"
        if few:
            g = x @ x.T + RIDGE * np.eye(n, dtype=x.dtype)
            w = x.T @ np.linalg.solve(g, y)
        else:
            c = RIDGE * n if switch == "times_n" else RIDGE
            g = x.T @ x + c * np.eye(d, dtype=x.dtype)
            w = np.linalg.solve(g, x.T @ y)
        return w, (x, y, g, w, few)

    def backward(dw, cache):
        x, y, g, w, few = cache
        if few:
            a = np.linalg.solve(g, x @ dw)
            b = np.linalg.solve(g, y)
            return {"x": np.outer(b, dw - x.T @ a) - np.outer(a, x.T @ b), "y": a}
        h = np.linalg.solve(g, dw)
        dx = np.outer(y - x @ w, h) - np.outer(x @ h, w)
        if switch == "one_factor":  # of xᵀx
            dx = np.outer(y, h) - np.outer(x @ h, w)
        if switch == "gram_constant":
            dx = np.outer(y, h)
        return {"x": dx, "y": x @ h}

    return forward, backward


def ridge_reference():
    def reference(x, y):
        g = x.mT @ x + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
        return torch.linalg.solve(g, x.mT @ y)

    return reference


CASES += family(
    "ridge_regression", ridge, ridge_reference, {"inputs": {"x": ("n", 20), "y": ("n",)}},
    {
        "times_n": "With as many examples as features or more, the ridge is multiplied by their number.",
        "one_factor": "With as many examples as features or more, one of the two gradients through xᵀx is left out.",
        "gram_constant": "With as many examples as features or more, xᵀx is held constant.",
    },
    right=("right", "always_dual"),
)  # fmt: skip


# --- elimination ---------------------------------------------------------------------------------------------


def elimination(switch):
    def solve(a, b):
        a, b = a.copy(), b.copy()
        n = len(a)
        with np.errstate(invalid="ignore", divide="ignore"):
            for i in range(n):
                best = i + int(np.argmax(np.abs(a[i:, i])))
                if switch == "no_pivot" or (switch == "first_pivot" and i):
                    best = i
                rows = np.arange(n)
                rows[[i, best]] = rows[[best, i]]
                a, b = a[rows], b[rows]
                for j in range(i + 1, n):
                    f = a[j, i] / a[i, i]
                    a[j], b[j] = a[j] - f * a[i], b[j] - f * b[i]
            for i in reversed(range(n)):
                b[i] = (b[i] - a[i, i + 1 :] @ b[i + 1 :]) / a[i, i]
        return b

    def forward(a, b):
        x = solve(a, b)
        return x, (a, x)

    def backward(dx, cache):
        a, x = cache
        db = solve(a.T, dx)
        return {"a": -db @ x.T, "b": db}

    return forward, backward


CASES += family(
    "elimination", elimination, lambda: torch.linalg.solve, {"inputs": {"a": ("n", "n"), "b": ("n", 2)}},
    {
        "no_pivot": "No rows are exchanged: a pivot of 0 in a matrix that has an inverse gives NaN.",
        "first_pivot": "Rows are exchanged for the first pivot alone: a later one of 0 gives NaN.",
    },
)  # fmt: skip
