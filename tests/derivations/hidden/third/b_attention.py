"""Attention under masks, with caps and sinks, in chunks, by kernels, and with normalised queries."""

import math

import numpy as np
import torch

from handgrad import mask
from tests.derivations.hidden.case import family

CASES = []
QKV = {"q": ("b", "s", 4), "k": ("b", "t", 4), "v": ("b", "t", 3)}


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_back(dp, p):
    return p * (dp - (dp * p).sum(-1, keepdims=True))


def swap(a):
    return np.swapaxes(a, -1, -2)


# --- a mask of which the first key is always kept ------------------------------------------------------------


def masked(switch):
    def forward(q, k, v, keep):
        keep = keep != 0
        keep = (keep | (np.arange(keep.shape[1]) == 0))[:, None, :]
        s = q @ swap(k) / 2.0
        if switch == "clipped":
            s = np.clip(s, -500.0, 500.0)
        if switch == "ten_thousand":
            p = softmax(s + (1.0 - keep) * -10000.0)
        elif switch == "replaced":
            p = softmax(np.where(keep, s, -10000.0))
        elif switch == "maximum_of_all":
            e = np.exp(s - s.max(-1, keepdims=True)) * keep
            p = e / e.sum(-1, keepdims=True)
        elif switch == "renormalised":
            p = softmax(s) * keep
            p = p / (p.sum(-1, keepdims=True) + 1e-8)
        elif switch == "multiplied":
            e = np.exp(s - np.where(keep, s, -np.inf).max(-1, keepdims=True), where=np.broadcast_to(keep, s.shape),
                       out=np.zeros_like(s))  # fmt: skip
            p = e / e.sum(-1, keepdims=True)
        else:
            p = softmax(np.where(keep, s, -np.inf))
        return p @ v, (q, k, v, p)

    def backward(dy, cache):
        q, k, v, p = cache
        ds = softmax_back(dy @ swap(v), p) / 2.0
        return ds @ k, swap(ds) @ q, swap(p) @ dy

    return forward, backward


def masked_reference():
    def reference(q, k, v, keep):
        keep = (keep != 0) | (torch.arange(keep.shape[1]) == 0)
        return (q @ k.mT / 2).masked_fill(~keep[:, None], -torch.inf).softmax(-1) @ v

    return reference


CASES += family(
    "first_key_kept", masked, masked_reference, {"inputs": {**QKV, "keep": mask(("b", "t"))}},
    {
        "ten_thousand": "−10⁴ is added to the scores to leave out, which does not do where those kept lie far lower.",
        "replaced": "The scores to leave out are −10⁴, which is more than a kept one may be.",
        "maximum_of_all": "The maximum is over the keys left out, too: 0/0 where it is far above all that are kept.",
        "renormalised": "Weights over all keys are divided by what is kept plus 1e-8, too much where little is kept.",
        "clipped": "The scores are held within ±500 in forward, but the gradient passes, and larger ones become alike.",
    },
    right=("right", "multiplied"),
)  # fmt: skip


# --- scores within a soft cap --------------------------------------------------------------------------------

CAP = 20.0


def capped(switch):
    def forward(q, k, v):
        h = np.tanh(q @ swap(k) / (2.0 * CAP))
        p = softmax(CAP * h)
        return p @ v, (q, k, v, p, h)

    def backward(dy, cache):
        q, k, v, p, h = cache
        slope = 1 - h**2
        if switch == "by_cosh":
            slope = 1 / np.cosh(np.clip(q @ swap(k) / (2.0 * CAP), -300, 300)) ** 2
        if switch == "slope_held":
            slope = np.maximum(slope, 1e-3)
        if switch == "hard":
            slope = np.where(np.abs(h) < 0.995, slope, 0.0)
        if switch == "output_in_slope":
            slope = 1 - (CAP * h / 50.0) ** 2
        ds = softmax_back(dy @ swap(v), p) * slope / 2.0
        return ds @ k, swap(ds) @ q, swap(p) @ dy

    return forward, backward


CASES += family(
    "soft_cap", capped, lambda: lambda q, k, v: (CAP * torch.tanh(q @ k.mT / 2 / CAP)).softmax(-1) @ v,
    {"inputs": QKV},
    {
        "slope_held": "The slope of the cap is held above 1e-3, which is too much for scores far beyond the cap.",
        "hard": "Scores whose tanh is beyond 0.995 get no gradient where it is small, but there.",
        "output_in_slope": "The slope is that of a cap of 50 where the cap is 20.",
    },
    right=("right",),
)  # fmt: skip


# --- queries in chunks of 80 ---------------------------------------------------------------------------------

CHUNK = 80


def chunked(switch):
    def forward(q, k, v):
        ys = [softmax(q[:, i : i + CHUNK] @ swap(k) / 2.0) @ v for i in range(0, q.shape[1], CHUNK)]
        return np.concatenate(ys, 1)

    def backward(dy, q, k, v):
        dqs, dk, dv = [], np.zeros_like(k), np.zeros_like(v)
        for i in range(0, q.shape[1], CHUNK):
            part = np.s_[:, i : i + CHUNK]
            p = softmax(q[part] @ swap(k) / 2.0)
            ds = softmax_back(dy[part] @ swap(v), p) / 2.0
            dqs.append(ds @ k)
            if switch == "last_chunk":
                dk = swap(ds) @ q[part]
            else:
                dk = dk + swap(ds) @ q[part]
            if switch == "first_rows":
                dv = dv + swap(p) @ dy[:, : p.shape[1]]
            elif switch == "running_mean":
                dv = dv + (swap(p) @ dy[part] - dv) / (i // CHUNK + 1)
            else:
                dv = dv + swap(p) @ dy[part]
        return np.concatenate(dqs, 1), dk, dv

    return forward, backward


CASES += family(
    "queries_in_chunks", chunked, lambda: lambda q, k, v: (q @ k.mT / 2).softmax(-1) @ v, {"inputs": QKV},
    {
        "last_chunk": "With more than 80 queries dk is that of the last chunk alone.",
        "first_rows": "With more than 80 queries dv takes the first rows of dy in every chunk.",
        "running_mean": "With more than 80 queries dv is a mean over the chunks where it is a sum.",
    },
)  # fmt: skip


# --- a kernel in place of the softmax, in float32 ------------------------------------------------------------


def kernel(switch):
    eps = 1e-6 if switch == "guarded" else 0.0

    def phi(x):
        if switch == "floor":
            return np.maximum(np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))), 1e-4)
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))

    def forward(q, k, v):
        a, c = phi(q), phi(k)
        z = a @ c.sum(1)[:, :, None] + eps
        return a @ (swap(c) @ v) / z, (q, k, v, a, c, z)

    def backward(dy, cache):
        q, k, v, a, c, z = cache
        y = a @ (swap(c) @ v) / z
        dnum = dy / z
        guard = 1e-5 if switch == "guard_in_backward" else 0.0
        dz = -(dy * y).sum(-1, keepdims=True) / (z + guard)
        da = dnum @ swap(swap(c) @ v) + dz * c.sum(1)[:, None]
        dc = v @ swap(swap(a) @ dnum) + (a * dz).sum(1)[:, None]
        dq = da * np.where(q > 0, 1, a)
        dk = dc * np.where(k > 0, 1, c)
        return dq.astype(q.dtype), dk.astype(k.dtype), c @ (swap(a) @ dnum)

    return forward, backward


def kernel_reference():
    def reference(q, k, v):
        a = torch.where(q > 0, q + 1, torch.exp(torch.where(q > 0, 0.0, q)))
        c = torch.where(k > 0, k + 1, torch.exp(torch.where(k > 0, 0.0, k)))
        w = a @ c.mT
        return w @ v / w.sum(-1, keepdim=True)

    return reference


CASES += family(
    "kernel_attention", kernel, kernel_reference, {"inputs": QKV, "dtype": "float32"},
    {
        "guarded": "1e-6 is added to the sum of weights, which may be smaller: for queries and keys far below 0.",
        "guard_in_backward": "Backward divides by the sum of weights plus 1e-5, forward does not.",
        "floor": "Features are no smaller than 1e-4, where exp goes on: the output is wrong below −9.2.",
    },
)  # fmt: skip


# --- normalised queries and keys -----------------------------------------------------------------------------

TINY = 1e-6


def normalised(switch):
    def norm(x):
        r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + TINY)
        if switch == "outside":
            r = 1 / (np.sqrt((x * x).mean(-1, keepdims=True)) + TINY)
        return x * r, r

    def norm_back(dn, n, x, r):
        if switch == "by_output":
            return r * dn - x * r**3 * (dn * x).mean(-1, keepdims=True)
        if switch == "of_unit_length":
            u = x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-300)
            return r * (dn - u * (u * dn).sum(-1, keepdims=True))
        return r * (dn - n * (dn * n).mean(-1, keepdims=True))

    def forward(q, k, v, scale):
        (a, ra), (c, rc) = norm(q), norm(k)
        p = softmax(scale * (a @ swap(c)))
        return p @ v, (q, k, v, scale, a, ra, c, rc, p)

    def backward(dy, cache):
        q, k, v, scale, a, ra, c, rc, p = cache
        ds = softmax_back(dy @ swap(v), p)
        dscale = (ds * (a @ swap(c))).sum(keepdims=True).reshape(1)
        if switch == "clamped_scale":
            dscale = dscale * (np.abs(scale) < 100)
        dq, dk = norm_back(scale * (ds @ c), a, q, ra), norm_back(scale * (swap(ds) @ a), c, k, rc)
        return dq, dk, swap(p) @ dy, dscale

    return forward, backward


def normalised_reference():
    def reference(q, k, v, scale):
        a = q * torch.rsqrt(q.square().mean(-1, keepdim=True) + TINY)
        c = k * torch.rsqrt(k.square().mean(-1, keepdim=True) + TINY)
        return (scale * (a @ c.mT)).softmax(-1) @ v

    return reference


CASES += family(
    "normalised_scores", normalised, normalised_reference, {"inputs": QKV, "params": {"scale": (1,)}},
    {
        "outside": "1e-6 is added outside of the root in the forward pass.",
        "of_unit_length": "The projection is along a vector of length 1: ε is left out of it, all for small rows.",
        "clamped_scale": "A scale beyond 100 gets no gradient although it is not held there.",
    },
    right=("right", "by_output"),
)  # fmt: skip


# --- distances taken off by heads ----------------------------------------------------------------------------


def by_heads(switch):
    def slopes(h):
        def regular(n):
            return 2.0 ** (-8.0 * np.arange(1, n + 1) / n)

        near = 2 ** int(math.floor(math.log2(h)))
        if near == h:
            return regular(h)
        if switch == "regular":
            return regular(h)
        if switch == "interleaved":
            return np.sort(np.concatenate([regular(near), regular(2 * near)[::2][: h - near]]))[::-1]
        return np.concatenate([regular(near), regular(2 * near)[::2][: h - near]])

    def forward(q, k, v):
        h, t = q.shape[1:3]
        back = (np.arange(t)[:, None] - np.arange(t)).astype(float)
        if switch == "near_only":
            back = np.minimum(back, 80.0)
        bias = np.where(back < 0, -np.inf, -back * slopes(h)[:, None, None])
        p = softmax(q @ swap(k) / 2.0 + bias)
        return p @ v, (q, k, v, p)

    def backward(dy, cache):
        q, k, v, p = cache
        ds = softmax_back(dy @ swap(v), p) / 2.0
        return ds @ k, swap(ds) @ q, swap(p) @ dy

    return forward, backward


def by_heads_reference():
    def slopes(h):
        n = 1 << (h.bit_length() - 1)
        first = [2 ** (-8 * (i + 1) / n) for i in range(n)]
        return torch.tensor(first + [2 ** (-4 * (2 * i + 1) / n) for i in range(h - n)], dtype=torch.float64)

    def reference(q, k, v):
        h, t = q.shape[1:3]
        back = torch.arange(t)[:, None] - torch.arange(t)
        bias = -back * slopes(h)[:, None, None].to(q.dtype)
        return (q @ k.mT / 2 + bias).masked_fill(back < 0, -torch.inf).softmax(-1) @ v

    return reference


CASES += family(
    "slopes_of_heads", by_heads, by_heads_reference,
    {"inputs": {k: ("b", "h", "t", 4) for k in "qkv"}},
    {
        "regular": "The slopes of a number of heads that is no power of two are those of the plain formula.",
        "interleaved": "The slopes are sorted where those of the larger power of two are appended.",
        "near_only": "Distances beyond 80 are taken for 80.",
    },
)  # fmt: skip
