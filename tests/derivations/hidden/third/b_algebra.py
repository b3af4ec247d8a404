"""Iterations, factorisations, complex numbers, experts, cells of tables, and constants that were cut short."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# --- a feed-forward layer with a GELU by tanh, in float32 ----------------------------------------------------


def gelu(switch):
    c = 0.7979 if switch == "four_digits" else math.sqrt(2 / math.pi)
    k = 0.0447 if switch == "cubic" else 0.044715

    def forward(x, w):
        z = x @ w
        th = np.tanh(c * (z + k * z**3))
        return z * (1 + th) / 2, (x, w, z, th)

    def backward(dy, cache):
        x, w, z, th = cache
        back = 0.79788 if switch == "backward_digits" else c
        slope = (1 + th) / 2 + z * (1 - th**2) / 2 * back * (1 + 3 * k * z**2)
        if switch == "three_k":
            slope = (1 + th) / 2 + z * (1 - th**2) / 2 * back * (1 + 0.134 * z**2)
        dz = dy * slope
        return dz @ w.T, x.T @ dz

    return forward, backward


CASES += family(
    "gelu_layer", gelu, lambda: lambda x, w: F.gelu(x @ w, approximate="tanh"),
    {"inputs": {"x": ("n", 5)}, "params": {"w": (5, 4)}, "dtype": "float32"},
    {
        "four_digits": "√(2/π) is 0.7979, off by 2e-5.",
        "cubic": "0.0447 is there where 0.044715 belongs.",
        "backward_digits": "Backward has 0.79788 for √(2/π), off by 6e-6.",
        "three_k": "Backward has 0.134 where 3 · 0.044715 = 0.134145 belongs.",
    },
)  # fmt: skip


# --- a fixed point of 60 rounds, in float32 ------------------------------------------------------------------


def settled(switch):
    rounds = 60

    def forward(x, w):
        u = w / (1 + np.sqrt((w * w).sum()))
        z, zs = np.zeros_like(x), []
        for _ in range(rounds):
            zs.append(z)
            z = np.tanh(z @ u + x)
        return z, (x, w, u, zs, z)

    def backward(dy, cache):
        x, w, u, zs, z = cache
        dx, du, g = np.zeros_like(x), np.zeros_like(u), dy
        after = [*zs[1:], z]
        for i in reversed(range(rounds)):
            g = g * (1 - after[i] ** 2)
            dx = dx + g
            du = du + zs[i].T @ g
            g = g @ u.T
            if switch == "one_round":
                break
            if switch == "five_rounds" and i == rounds - 5:
                break
        r = np.sqrt((w * w).sum())
        along = (du * w).sum()
        if switch == "norm_constant":
            along = 0 * along
        return dx, du / (1 + r) - (w * along / (r * (1 + r) ** 2) if r > 0 else 0)

    return forward, backward


def settled_reference():
    def reference(x, w):
        u = w / (1 + torch.linalg.vector_norm(w))
        z = torch.zeros_like(x)
        for _ in range(60):
            z = torch.tanh(z @ u + x)
        return z

    return reference


CASES += family(
    "settled_state", settled, settled_reference,
    {"inputs": {"x": ("n", 3)}, "params": {"w": (3, 3)}, "dtype": "float32"},
    {
        "one_round": "The gradient goes through the last round alone, as if the one before were no function of x.",
        "five_rounds": "The gradient goes through the last five rounds alone.",
        "norm_constant": "The norm by which the weights are divided is held constant.",
    },
)  # fmt: skip


# --- rows and columns scaled in turn -------------------------------------------------------------------------


def balanced(switch):
    rounds = 15

    def by_logs(s):
        p, kept = s, []
        for i in range(2 * rounds):
            axis = 2 - i % 2
            m = p.max(axis, keepdims=True)
            p = p - m - np.log(np.exp(p - m).sum(axis, keepdims=True))
            kept.append((np.exp(p), axis))
        return np.exp(p), kept

    def logs_back(dy, kept):
        g = dy * kept[-1][0]
        for q, axis in reversed(kept):
            if switch == "last_pair" and q is kept[-3][0]:
                break
            if switch == "rows_only" and axis == 1:
                continue
            g = g - q * g.sum(axis, keepdims=True)
        return g

    if switch == "limited":
        return lambda s: by_logs(np.clip(s, -50, 50)), logs_back
    return by_logs, logs_back


def balanced_reference():
    def reference(s):
        for i in range(30):
            s = s - s.logsumexp(2 - i % 2, keepdim=True)
        return s.exp()

    return reference


CASES += family(
    "balanced_matrix", balanced, balanced_reference, {"inputs": {"s": ("n", "i", "j")}, "dtype": "float32"},
    {
        "last_pair": "The gradient goes through the last two of 30 scalings alone.",
        "rows_only": "The scalings of columns are held constant in backward.",
        "limited": "Scores are held within ±50 at the beginning.",
    },
)  # fmt: skip


# --- the lower factor, and a system solved by it -------------------------------------------------------------


def factor(switch):
    def forward(a, b):
        low = np.linalg.cholesky(a @ np.swapaxes(a, 1, 2) + np.eye(a.shape[1]))
        y = np.linalg.solve(low, b[..., None])[..., 0]
        return y, (a, low, y)

    def backward(dy, cache):
        a, low, y = cache
        up = np.swapaxes(low, 1, 2)
        db = np.linalg.solve(up, dy[..., None])
        phi = np.tril(up @ np.tril(-db @ y[:, None, :]))
        if switch != "diagonal_whole":
            phi = phi - np.tril(np.triu(phi)) / 2
        ds = np.linalg.solve(up, np.swapaxes(np.linalg.solve(up, np.swapaxes(phi, 1, 2)), 1, 2))
        if switch == "lower_only":
            return 2 * np.tril(ds) @ a, db[..., 0]
        if switch == "once":
            return ds @ a, db[..., 0]
        return (ds + np.swapaxes(ds, 1, 2)) @ a, db[..., 0]

    return forward, backward


def factor_reference():
    def reference(a, b):
        low = torch.linalg.cholesky(a @ a.mT + torch.eye(a.shape[1], dtype=a.dtype))
        return torch.linalg.solve_triangular(low, b[..., None], upper=False)[..., 0]

    return reference


CASES += family(
    "whitened", factor, factor_reference, {"inputs": {"a": ("n", 3, 4), "b": ("n", 3)}},
    {
        "diagonal_whole": "The diagonal is not halved.",
        "lower_only": "The lower half is doubled where both halves are added, alike for diagonal ones.",
        "once": "The gradient of a aᵀ lacks the transposed half: alike for a symmetric one, up to a factor.",
    },
)  # fmt: skip


# --- numbers in the plane, shortened by a threshold ----------------------------------------------------------


def mod_relu(switch):
    def parts(z, b):
        r = np.abs(z)
        u = z / np.where(r > 0, r, 1)
        return r, u, r + b

    def forward(z, b):
        r, u, s = parts(z, b)
        return np.where(s > 0, s, 0) * u

    def backward(dy, z, b):
        r, u, s = parts(z, b)
        open_ = s > 0
        radial = (np.conj(u) * dy).real
        turn = dy - u * radial
        if switch == "not_conjugated":
            radial = (u * dy).real
            turn = dy - u * radial
        factor = s / np.where(r > 0, r, 1)
        if switch == "turn_whole":
            factor = np.ones_like(r)
        if switch == "turn_limited":
            factor = np.minimum(factor, 3.0)
        dz = np.where(open_, u * radial + factor * turn, 0)
        dz = np.where(r > 0, dz, 0)
        return dz, (open_ * radial).sum(0)

    return forward, backward


def mod_relu_reference():
    def reference(z, b):
        return torch.relu(z.abs() + b.real) * torch.sgn(z)

    return reference


def mod_relu_real(switch):
    forward, backward = mod_relu(switch)

    def back(dy, z, b):
        dz, db = backward(dy, z, b.real)
        return dz, db.astype(z.dtype)

    return (lambda z, b: forward(z, b.real)), back


CASES += family(
    "threshold_of_length", mod_relu_real, mod_relu_reference,
    {"inputs": {"z": ("n", 4)}, "params": {"b": (4,)}, "dtype": "complex128"},
    {
        "not_conjugated": "The part along z is Re(u dy) where it is Re(ū dy): alike for real numbers.",
        "turn_whole": "Across z the gradient passes whole where it is multiplied by (|z| + b)/|z|.",
        "turn_limited": "That factor is held below 3, which it passes for small z and b above 0.",
    },
)  # fmt: skip


# --- one expert each, with a balance -------------------------------------------------------------------------


def routed(switch):
    def forward(x, router, w):
        p = softmax(x @ router)
        best = p.argmax(1)
        share = np.bincount(best, minlength=p.shape[1]) / len(x)
        y = p[np.arange(len(x)), best][:, None] * np.einsum("nd,nde->ne", x, w[best])
        return (y, p.shape[1] * share @ p.mean(0)), (x, router, w, p, best, share)

    def backward(dy, dbalance, cache):
        x, router, w, p, best, share = cache
        n = np.arange(len(x))
        h = np.einsum("nd,nde->ne", x, w[best])
        top = p[n, best][:, None]
        dp = np.broadcast_to(dbalance * p.shape[1] * share / len(x), p.shape).copy()
        if switch == "share_of_80":
            dp = np.broadcast_to(dbalance * p.shape[1] * share / min(len(x), 80), p.shape).copy()
        if switch == "balance_overwritten":
            dp[n, best] = (dy * h).sum(1)
        else:
            dp[n, best] += (dy * h).sum(1)
        if switch == "confident":
            dp = dp * (p.max(1, keepdims=True) < 0.9999)
        ds = p * (dp - (dp * p).sum(1, keepdims=True))
        dw = np.zeros_like(w)
        np.add.at(dw, best, (top * dy)[:, None, :] * x[:, :, None])
        dx = ds @ router.T + np.einsum("ne,nde->nd", top * dy, w[best])
        return dx, x.T @ ds, dw

    return forward, backward


def routed_reference():
    def reference(x, router, w):
        p = (x @ router).softmax(1)
        best = p.argmax(1)
        share = torch.bincount(best, minlength=p.shape[1]).to(x.dtype) / len(x)
        y = p.gather(1, best[:, None]) * torch.einsum("nd,nde->ne", x, w[best])
        return y, p.shape[1] * share @ p.mean(0)

    return reference


CASES += family(
    "one_expert_each", routed, routed_reference,
    {"inputs": {"x": ("n", 4)}, "params": {"router": (4, 3), "w": (3, 4, 2)}},
    {
        "share_of_80": "With more than 80 tokens the balance's gradient is divided by 80, not by their number.",
        "balance_overwritten": "The chosen expert's probability has no gradient from the balance.",
        "confident": "Tokens of which the router is sure beyond 0.9999 give it no gradient where it is small.",
    },
)  # fmt: skip


# --- means of bags -------------------------------------------------------------------------------------------


def bags(switch):
    def forward(ids, weight, table):
        total = np.abs(weight).sum(1, keepdims=True)
        total = np.where(total > 0, total, 1)
        if switch == "guarded":
            total = np.abs(weight).sum(1, keepdims=True) + 1e-8
        return np.einsum("bt,btd->bd", weight, table[ids]) / total

    def backward(dy, ids, weight, table):
        total = np.abs(weight).sum(1, keepdims=True)
        live = total > 0
        total = np.where(live, total, 1)
        y = np.einsum("bt,btd->bd", weight, table[ids]) / total
        dw = np.einsum("bd,btd->bt", dy, table[ids]) / total
        if switch != "total_constant":
            dw = dw - live * np.sign(weight) * (dy * y).sum(1, keepdims=True) / total
        dt = np.zeros_like(table)
        if switch == "buffered":
            dt[ids] += (weight / total)[..., None] * dy[:, None]
        elif switch == "one_hot":
            dt = np.einsum("btv,btd->vd", np.eye(len(table))[ids], (weight / total)[..., None] * dy[:, None])
        else:
            np.add.at(dt, ids, (weight / total)[..., None] * dy[:, None])
        return dw, dt

    return forward, backward


def bags_reference():
    def reference(ids, weight, table):
        total = weight.abs().sum(1, keepdim=True)
        total = torch.where(total > 0, total, 1.0)
        return torch.einsum("bt,btd->bd", weight, table[ids]) / total

    return reference


CASES += family(
    "weighted_bags", bags, bags_reference,
    {"inputs": {"ids": indices("v", ("b", "t")), "weight": ("b", "t"), "table": ("v", 3)}},
    {
        "guarded": "1e-8 is added to the total weight in forward, which matters for small weights.",
        "total_constant": "The total weight is held constant in backward.",
        "buffered": "Of an index that occurs several times only the last gives the table a gradient.",
    },
    right=("right", "one_hot"),
)  # fmt: skip


# --- largest values of windows along both axes, with their places --------------------------------------------


def pooled(switch):
    def windows(x):
        return np.lib.stride_tricks.sliding_window_view(x, (2, 2), (2, 3))[:, :, ::2, ::2]

    def places(x):
        v = windows(x)
        flat = v.reshape(*v.shape[:4], 4).argmax(-1)
        i, j = np.arange(v.shape[2])[:, None] * 2 + flat // 2, np.arange(v.shape[3]) * 2 + flat % 2
        place = i * x.shape[3] + j
        if switch == "bytes":
            return place.astype(np.uint8).astype(int)
        if switch == "two_bytes":
            return (place.astype(np.int16)).astype(int) % (x.shape[2] * x.shape[3])
        if switch == "height":
            return i * x.shape[2] + j if x.shape[3] > x.shape[2] else place
        return place

    def forward(x):
        return windows(x).max((-2, -1))

    def backward(dy, x):
        place = places(x)
        dx = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]), x.dtype)
        np.put_along_axis(dx, place.reshape(*x.shape[:2], -1), dy.reshape(*x.shape[:2], -1), 2)
        return dx.reshape(x.shape)

    return forward, backward


CASES += family(
    "largest_of_four", pooled, lambda: lambda x: F.max_pool2d(x, 2), {"x": (2, 2, 6, 8)},
    {
        "bytes": "Places are kept in bytes, which end at 255: of larger pictures the rest goes elsewhere.",
        "height": "Of a picture that is wider than high the pitch of rows is the height.",
    },
    right=("right", "two_bytes"),
)  # fmt: skip
