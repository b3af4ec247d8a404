"""Attention within blocks, windows, under two masks, with scaled lengths, and pooled."""

import math

import numpy as np
import torch

from handgrad import mask
from tests.derivations.hidden.case import family

CASES = []


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_back(dp, p):
    return p * (dp - (dp * p).sum(-1, keepdims=True))


def swap(a):
    return np.swapaxes(a, -1, -2)


QKV = {"q": ("b", "t", 4), "k": ("b", "t", 4), "v": ("b", "t", 6)}

# --- each block of eight steps attends to itself -------------------------------------------------------------

BLOCK = 8
FAR = -1e30


def blocks(switch):
    def split(a, pad):
        b, t, d = a.shape
        return np.concatenate([a, np.zeros((b, pad, d), a.dtype)], 1).reshape(b, (t + pad) // BLOCK, BLOCK, d)

    def join(a, t, pad):
        flat = a.reshape(a.shape[0], -1, a.shape[-1])
        return flat[:, :-pad] if switch == "cut_by_padding" else flat[:, :t]

    def forward(q, k, v):
        t = q.shape[1]
        pad = -t % BLOCK
        qs, ks, vs = split(q, pad), split(k, pad), split(v, pad)
        s = qs @ swap(ks) / math.sqrt(q.shape[-1])
        there = t % BLOCK if switch == "remainder" else t - (t - 1) // BLOCK * BLOCK
        s[:, -1, :, there:] = FAR
        p = softmax(s)
        return join(p @ vs, t, pad), (qs, ks, vs, p, t, pad)

    def backward(dy, cache):
        qs, ks, vs, p, t, pad = cache
        dys = split(dy, pad)
        ds = softmax_back(dys @ swap(vs), p) / math.sqrt(qs.shape[-1])
        if switch == "last_block":
            ds[:, -1, :, t % BLOCK :] = 0
        return join(ds @ ks, t, pad), join(swap(ds) @ qs, t, pad), join(swap(p) @ dys, t, pad)

    def whole(q, k, v):
        block = np.arange(q.shape[1]) // BLOCK
        s = np.where(block[:, None] == block, q @ swap(k) / math.sqrt(q.shape[-1]), -np.inf)
        p = softmax(s)
        return p @ v, (q, k, v, p)

    def whole_back(dy, cache):
        q, k, v, p = cache
        ds = softmax_back(dy @ swap(v), p) / math.sqrt(q.shape[-1])
        return ds @ k, swap(ds) @ q, swap(p) @ dy

    return (whole, whole_back) if switch == "by_mask" else (forward, backward)


def blocks_reference():
    def reference(q, k, v):
        block = torch.arange(q.shape[1]) // BLOCK
        s = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(block[:, None] != block, -torch.inf)
        return s.softmax(-1) @ v

    return reference


CASES += family(
    "attention_in_blocks", blocks, blocks_reference, {"inputs": QKV},
    {
        "remainder": "Where the length is a multiple of 8 all of the last block counts as padding and is averaged.",
        "cut_by_padding": "Where the length is a multiple of 8 nothing was padded, and [: −0] cuts everything off.",
        "last_block": "Where the length is a multiple of 8 the last block's scores get no gradient.",
    },
    right=("right", "by_mask"),
)  # fmt: skip


# --- the last 64 steps ---------------------------------------------------------------------------------------

WINDOW = 64


def windowed(switch):
    def kept(t, reach):
        back = np.arange(t)[:, None] - np.arange(t)
        return (back >= 0) & (back < reach)

    def forward(q, k, v):
        t = q.shape[1]
        keep = kept(t, {"none": t, "one_more": WINDOW + 1}.get(switch, WINDOW))
        p = softmax(np.where(keep, q @ swap(k) / math.sqrt(q.shape[-1]), -np.inf))
        return p @ v, (q, k, v, p)

    def backward(dy, cache):
        q, k, v, p = cache
        ds = softmax_back(dy @ swap(v), p) / math.sqrt(q.shape[-1])
        if switch == "square":  # the band of the last window alone
            last = min(WINDOW, q.shape[1])
            dk = swap(ds[:, -last:]) @ q[:, -last:]
            return ds @ k, dk, swap(p) @ dy
        return ds @ k, swap(ds) @ q, swap(p) @ dy

    def rows(q, k, v):
        """Step by step, as it is when a text is written."""
        ys, ps = [], []
        for i in range(q.shape[1]):
            near = np.s_[:, max(0, i - WINDOW + 1) : i + 1]
            p = softmax(np.einsum("bd,bjd->bj", q[:, i], k[near]) / math.sqrt(q.shape[-1]))
            ys.append(np.einsum("bj,bjd->bd", p, v[near]))
            ps.append(p)
        return np.stack(ys, 1), (q, k, v, ps)

    def rows_back(dy, cache):
        q, k, v, ps = cache
        dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
        for i, p in enumerate(ps):
            near = np.s_[:, max(0, i - WINDOW + 1) : i + 1]
            ds = softmax_back(np.einsum("bd,bjd->bj", dy[:, i], v[near]), p) / math.sqrt(q.shape[-1])
            dq[:, i] = np.einsum("bj,bjd->bd", ds, k[near])
            dk[near] += ds[..., None] * q[:, i, None]
            dv[near] += p[..., None] * dy[:, i, None]
        return dq, dk, dv

    return (rows, rows_back) if switch == "step_by_step" else (forward, backward)


def windowed_reference():
    def reference(q, k, v):
        back = torch.arange(q.shape[1])[:, None] - torch.arange(q.shape[1])
        s = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill((back < 0) | (back >= WINDOW), -torch.inf)
        return s.softmax(-1) @ v

    return reference


CASES += family(
    "attention_to_the_last_steps", windowed, windowed_reference, {"inputs": QKV},
    {
        "none": "Steps attend to all before them, not to the last 64 alone.",
        "one_more": "The window has 65 steps where it has 64.",
        "square": "Keys get gradients from the last 64 queries alone.",
    },
    right=("right", "step_by_step"),
)  # fmt: skip


# --- two masks, of keys and of pairs -------------------------------------------------------------------------


def two_masks(switch):
    def scores(q, k, keys, pairs):
        s = q @ swap(k) / math.sqrt(q.shape[-1])
        least = np.finfo(s.dtype).min
        if switch == "added":
            with np.errstate(over="ignore"):
                return s + np.where(keys[:, None], 0, least) + np.where(pairs, 0, least)
        if switch == "replaced_in_turn":
            return np.where(pairs, np.where(keys[:, None], s, -1e30), -2e30)
        return np.where(keys[:, None] & pairs, s, least)

    def forward(q, k, v, keys, pairs):
        p = softmax(scores(q, k, keys, pairs))
        if switch == "zeroed":
            p = np.where((keys[:, None] & pairs).any(-1, keepdims=True), p, 0)
        return p @ v, (q, k, v, keys, pairs, p)

    def backward(dy, cache):
        q, k, v, keys, pairs, p = cache
        ds = softmax_back(dy @ swap(v), p) / math.sqrt(q.shape[-1])
        if switch == "passes":
            return {"q": ds @ k, "k": swap(ds) @ q, "v": swap(p) @ dy}
        ds = ds * (keys[:, None] & pairs)
        return {"q": ds @ k, "k": swap(ds) @ q, "v": swap(p) @ dy}

    return forward, backward


def two_masks_reference():
    def reference(q, k, v, keys, pairs):
        s = q @ k.mT / math.sqrt(q.shape[-1])
        return s.masked_fill(~(keys[:, None] & pairs), torch.finfo(s.dtype).min).softmax(-1) @ v

    return reference


CASES += family(
    "two_masks", two_masks, two_masks_reference,
    {"inputs": {"q": ("b", "s", 4), "k": ("b", 12, 4), "v": ("b", 12, 6), "keys": mask(("b", 12)),
                "pairs": mask(("s", 12))}},
    {
        "added": "Where both masks leave out all keys the two least numbers add up to −∞: NaN where it is the mean.",
        "replaced_in_turn": "Where nothing is kept the mean is over the keys of one mask, not over all.",
        "zeroed": "Where nothing is kept the output is 0, not the mean of the values.",
        "passes": "Where nothing is kept queries and keys get gradients although their scores were replaced.",
    },
)  # fmt: skip


# --- scores that grow with the length ------------------------------------------------------------------------

USUAL = 64


def lengths(switch):
    def factor(t):
        if switch == "not_scaled":
            return 1.0
        if switch == "linear":
            return max(1.0, t / USUAL)
        return max(1.0, math.log(t) / math.log(USUAL))

    def forward(q, k, v):
        c = factor(k.shape[1]) / math.sqrt(q.shape[-1])
        p = softmax(q @ swap(k) * c)
        return p @ v, (q, k, v, p, c)

    def backward(dy, cache):
        q, k, v, p, c = cache
        ds = softmax_back(dy @ swap(v), p)
        back = 1 / math.sqrt(q.shape[-1]) if switch == "gradient_not_scaled" else c
        return {"q": back * ds @ k, "k": back * swap(ds) @ q, "v": swap(p) @ dy}

    return forward, backward


def lengths_reference():
    def reference(q, k, v):
        c = max(1.0, math.log(k.shape[1]) / math.log(USUAL)) / math.sqrt(q.shape[-1])
        return (q @ k.mT * c).softmax(-1) @ v

    return reference


CASES += family(
    "scores_by_length", lengths, lengths_reference,
    {"inputs": {"q": ("b", "s", 4), "k": ("b", "t", 4), "v": ("b", "t", 6)}},
    {
        "not_scaled": "With more than 64 keys the scores are not multiplied by log t / log 64.",
        "linear": "With more than 64 keys the scores are multiplied by t / 64, not by the quotient of logarithms.",
        "gradient_not_scaled": "With more than 64 keys the gradient lacks the factor of the scores.",
    },
)  # fmt: skip


# --- pooled by attention, with the weights and their entropy -------------------------------------------------


def pooled(switch):
    def forward(x, w):
        s = x @ w
        z = s - s.max(-1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
        p = np.exp(logp)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.log(p) if switch == "log_of_p" else np.maximum(logp, -30) if switch == "floor" else logp
            entropy = -(p * seen).sum(-1)
        return {"pooled": np.einsum("bt,btd->bd", p, x), "p": p, "entropy": entropy}, (x, w, p, seen)

    def backward(dy, cache):
        x, w, p, seen = cache
        dp = np.einsum("bd,btd->bt", dy["pooled"], x) + dy["p"]
        ds = softmax_back(dp, p)
        entropy = -(p * seen).sum(-1, keepdims=True)
        ds = ds - dy["entropy"][:, None] * p * (seen + entropy)
        if switch == "direct_only":
            ds = np.where(p > 1e-3, ds, 0)
        dx = p[..., None] * dy["pooled"][:, None] + ds[..., None] * w
        return {"x": dx, "w": np.einsum("bt,btd->d", ds, x)}

    return forward, backward


def pooled_reference():
    def reference(x, w):
        logp = torch.log_softmax(x @ w, -1)
        p = logp.exp()
        return {"pooled": torch.einsum("bt,btd->bd", p, x), "p": p, "entropy": -(p * logp).sum(-1)}

    return reference


CASES += family(
    "pooled_by_attention", pooled, pooled_reference, {"inputs": {"x": ("b", "t", 4)}, "params": {"w": (4,)}},
    {
        "log_of_p": "A weight that underflows to 0 makes the entropy 0 · −∞, NaN, where it adds nothing.",
        "direct_only": "Steps with a weight below 1/1000 get no gradient through the weights.",
    },
)  # fmt: skip
