"""Attention and its variants: blocks, positions, heads, masks."""

import math

import numpy as np
import torch
import torch.nn.functional as F

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


# --- in blocks of keys, with a running maximum ---------------------------------------------------------------

BLOCK = 32


def blocked(switch):
    def forward(q, k, v):
        scale = 1 / math.sqrt(q.shape[-1])
        t = k.shape[-2]
        count = max(1, t // BLOCK) if switch == "lost_remainder" else -(-t // BLOCK)
        m = total = out = None
        for j in range(count):
            end = (j + 1) * BLOCK if switch != "lost_remainder" or t > BLOCK else t
            s = q @ swap(k[..., j * BLOCK : end, :]) * scale
            vj = v[..., j * BLOCK : end, :]
            top = s.max(-1, keepdims=True)
            if m is None:
                m, e = top, np.exp(s - top)
                total, out = e.sum(-1, keepdims=True), e @ vj
                continue
            new = np.maximum(m, top)
            old, e = np.exp(m - new), np.exp(s - new)
            total = total * old + e.sum(-1, keepdims=True)
            out = (out if switch == "not_rescaled" else out * old) + e @ vj
            m = new
        y = out / total
        logsum = (top if switch == "last_maximum" else m) + np.log(total)
        return y, (q, k, v, y, logsum, scale)

    def backward(dy, cache):
        q, k, v, y, logsum, scale = cache
        inner = (dy * y).sum(-1, keepdims=True)
        dk, dv, dq = np.zeros_like(k), np.zeros_like(v), np.zeros_like(q)
        for i in range(0, q.shape[-2], BLOCK):
            rows = np.s_[..., i : i + BLOCK, :]
            p = np.exp(q[rows] @ swap(k) * scale - logsum[rows])
            ds = p * (dy[rows] @ swap(v) - inner[rows]) * scale
            dq[rows] = ds @ k
            if switch == "last_rows":
                dk = swap(ds) @ q[rows]
            else:
                dk = dk + swap(ds) @ q[rows]
            dv = dv + swap(p) @ dy[rows]
        return {"q": dq, "k": dk, "v": dv}

    def whole(q, k, v):
        p = softmax(np.einsum("bid,bjd->bij", q, k) / math.sqrt(q.shape[-1]))
        return np.einsum("bij,bjd->bid", p, v), (q, k, v, p)

    def whole_back(dy, cache):
        q, k, v, p = cache
        ds = softmax_back(np.einsum("bid,bjd->bij", dy, v), p) / math.sqrt(q.shape[-1])
        return np.einsum("bij,bjd->bid", ds, k), np.einsum("bij,bid->bjd", ds, q), np.einsum("bij,bid->bjd", p, dy)

    return (whole, whole_back) if switch == "whole" else (forward, backward)


CASES += family(
    "blocked_attention", blocked, lambda: F.scaled_dot_product_attention,
    {"inputs": {"q": ("b", "s", 8), "k": ("b", "t", 8), "v": ("b", "t", 6)}},
    {
        "not_rescaled": "When a later block of keys raises the maximum, the sum so far of values is not rescaled.",
        "lost_remainder": "With more than 32 keys those beyond the last full block are left out.",
        "last_maximum": "The saved log-sum has the last block's maximum where the running one belongs.",
        "last_rows": "With more than 32 queries dk holds the last block's share alone, not the sum over blocks.",
    },
    right=("right", "whole"),
)  # fmt: skip


# --- distances as a bias, positions aligned at the end -------------------------------------------------------


def distances(switch):
    def bias(s, t):
        start = max(t - s, 0) if switch == "more_queries" else t - s
        return -0.25 * np.abs((np.arange(s) + start)[:, None] - np.arange(t))

    def forward(q, k, v):
        s, t = q.shape[-2], k.shape[-2]
        scale = 1.0 if s == 1 and switch == "one_query" else 1 / math.sqrt(q.shape[-1])
        p = softmax(q @ swap(k) * scale + bias(s, t).astype(q.dtype))
        return p @ v, (q, k, v, p, scale)

    def backward(dy, cache):
        q, k, v, p, scale = cache
        ds = softmax_back(dy @ swap(v), p) * scale
        if switch == "by_shape":  # whichever fits
            dk = ds @ q if ds.shape[-1] == q.shape[-2] else swap(ds) @ q
        else:
            dk = swap(ds) @ q
        return {"q": ds @ k, "k": dk, "v": swap(p) @ dy}

    return forward, backward


def distances_reference():
    def reference(q, k, v):
        s, t = q.shape[-2], k.shape[-2]
        apart = (torch.arange(s) + t - s)[:, None] - torch.arange(t)
        return (q @ k.mT / math.sqrt(q.shape[-1]) - 0.25 * apart.abs()).softmax(-1) @ v

    return reference


CASES += family(
    "distance_bias", distances, distances_reference,
    {"inputs": {"q": ("b", "s", 8), "k": ("b", "t", 8), "v": ("b", "t", 4)}},
    {
        "more_queries": "With more queries than keys the queries' positions start at 0 where they start below it.",
        "one_query": "For a single query the scores are not divided by √d.",
        "by_shape": "With as many queries as keys dk is ds @ q where dsᵀ @ q belongs.",
    },
)  # fmt: skip


# --- learned relative positions, clipped at a distance -------------------------------------------------------

FAR = 16


def relative(switch):
    def index(t):
        apart = np.arange(t) - np.arange(t)[:, None]
        return (np.minimum(apart, FAR) if switch == "one_sided" else np.clip(apart, -FAR, FAR)) + FAR

    def forward(q, k, v, table):
        t = q.shape[-2]
        p = softmax((q @ swap(k) + np.einsum("bid,ijd->bij", q, table[index(t)])) / math.sqrt(q.shape[-1]))
        return p @ v

    def backward(dy, q, k, v, table):
        t, scale = q.shape[-2], 1 / math.sqrt(q.shape[-1])
        rows = table[index(t)]
        p = softmax((q @ swap(k) + np.einsum("bid,ijd->bij", q, rows)) * scale)
        ds = softmax_back(dy @ swap(v), p) * scale
        each = np.einsum("bij,bid->ijd", ds, q)
        dtable = np.zeros_like(table)
        if switch == "by_diagonals":
            for r in range(-min(FAR, t - 1), min(FAR, t - 1) + 1):
                dtable[r + FAR] = np.trace(each, offset=r)
        elif switch == "by_one_hot":
            hot = (index(t)[..., None] == np.arange(2 * FAR + 1)).astype(each.dtype)
            dtable = np.einsum("ijr,ijd->rd", hot, each)
        else:
            np.add.at(dtable, index(t), each)
        return {"q": ds @ k + np.einsum("bij,ijd->bid", ds, rows), "k": swap(ds) @ q, "v": swap(p) @ dy,
                "table": dtable}  # fmt: skip

    return forward, backward


def relative_reference():
    def reference(q, k, v, table):
        t = q.shape[-2]
        rows = table[(torch.arange(t) - torch.arange(t)[:, None]).clamp(-FAR, FAR) + FAR]
        s = (q @ k.mT + torch.einsum("bid,ijd->bij", q, rows)) / math.sqrt(q.shape[-1])
        return s.softmax(-1) @ v

    return reference


CASES += family(
    "relative_positions", relative, relative_reference,
    {"inputs": {"q": ("b", "t", 4), "k": ("b", "t", 4), "v": ("b", "t", 6)}, "params": {"table": (2 * FAR + 1, 4)}},
    {
        "by_diagonals": "Distances beyond 16 use the table's last row but give it no gradient.",
        "one_sided": "Distances below −16 are not clipped, so that a negative index wraps to the other end.",
    },
    right=("right", "by_one_hot"),
)  # fmt: skip


# --- rotations by position, slower beyond a trained length ---------------------------------------------------

TRAINED = 32


def rotation(switch):
    def angles(t, d, of_backward=False):
        base = 10000.0
        if t > TRAINED and not (of_backward and switch == "backward_unscaled"):
            base *= t / TRAINED if switch == "no_exponent" else (t / TRAINED) ** (d / (d - 2))
        return np.arange(t)[:, None] * base ** (-np.arange(0, d, 2) / d)

    def turn(x, a):
        one, two = x[..., 0::2], x[..., 1::2]
        c, s = np.cos(a).astype(x.dtype), np.sin(a).astype(x.dtype)
        return np.stack([one * c - two * s, one * s + two * c], -1).reshape(x.shape)

    def turn_complex(x, a):
        z = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * a)
        return np.stack([z.real, z.imag], -1).reshape(x.shape).astype(x.dtype)

    turned = turn_complex if switch == "complex_form" else turn
    return (
        lambda x: turned(x, angles(*x.shape[-2:])),
        lambda dy, x: turned(dy, -angles(*x.shape[-2:], of_backward=True)),
    )


def rotation_reference():
    def reference(x):
        t, d = x.shape[-2:]
        base = 10000.0 * ((t / TRAINED) ** (d / (d - 2)) if t > TRAINED else 1.0)
        a = torch.arange(t, dtype=torch.float64)[:, None] * base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
        c, s = a.cos().to(x.dtype), a.sin().to(x.dtype)
        one, two = x[..., 0::2], x[..., 1::2]
        return torch.stack([one * c - two * s, one * s + two * c], -1).flatten(-2)

    return reference


CASES += family(
    "rotary", rotation, rotation_reference, {"x": ("b", "t", 8)},
    {
        "no_exponent": "Beyond the trained length the base grows with t/32 where it grows with its power d/(d − 2).",
        "backward_unscaled": "Beyond the trained length backward turns back by the angles of the old base.",
    },
    right=("right", "complex_form"),
)  # fmt: skip


# --- groups of heads that share keys -------------------------------------------------------------------------


def grouped(switch):
    def forward(q, k, v):
        groups = q.shape[1] // k.shape[1]
        spread = (lambda a: np.tile(a, (1, groups, 1, 1))) if switch == "tiled" else lambda a: np.repeat(a, groups, 1)
        k, v = spread(k), spread(v)
        p = softmax(q @ swap(k) / math.sqrt(q.shape[-1]))
        return p @ v, (q, k, v, p, groups)

    def backward(dy, cache):
        q, k, v, p, groups = cache
        ds = softmax_back(dy @ swap(v), p) / math.sqrt(q.shape[-1])

        def gather(g):
            b, h, *rest = g.shape
            if switch in ("tiled", "summed_across"):
                return g.reshape(b, groups, h // groups, *rest).sum(1)
            return g.reshape(b, h // groups, groups, *rest).sum(2)

        return {"q": ds @ k, "k": gather(swap(ds) @ q), "v": gather(swap(p) @ dy)}

    return forward, backward


CASES += family(
    "grouped_heads", grouped,
    lambda: lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
    {"inputs": {"q": (2, 4, 5, 8), "k": (2, 1, 6, 8), "v": (2, 1, 6, 8)}},
    {
        "tiled": "Head i uses the keys i mod K where heads in a row share keys; alike for one head of keys.",
        "summed_across": "dk and dv are summed over every K-th head where they belong to heads in a row.",
    },
)  # fmt: skip


# --- cosine scores with a learned, clamped temperature -------------------------------------------------------

MOST = math.log(100.0)


def cosine(switch):
    def unit(a):
        n = np.sqrt((a * a).sum(-1, keepdims=True))
        return a / np.maximum(n, 1e-12), n

    def unit_back(d, a, n):
        if switch == "unguarded":
            u = a / n
            return (d - u * (u * d).sum(-1, keepdims=True)) / n
        u = a / np.maximum(n, 1e-12)
        return (d - np.where(n > 1e-12, u * (u * d).sum(-1, keepdims=True), 0)) / np.maximum(n, 1e-12)

    def forward(q, k, v, log_scale):
        (u, nu), (w, nw) = unit(q), unit(k)
        c = u @ swap(w)
        scale = np.exp(np.minimum(log_scale, MOST))
        p = softmax(c * scale)
        return p @ v, (q, k, v, u, nu, w, nw, c, scale, p, log_scale)

    def backward(dy, cache):
        q, k, v, u, nu, w, nw, c, scale, p, log_scale = cache
        ds = softmax_back(dy @ swap(v), p)
        dlog = (ds * c).sum(keepdims=True).reshape(1) * scale
        if switch != "unstopped":
            dlog = np.where(log_scale <= MOST, dlog, 0.0)
        dc = ds * scale
        return {"q": unit_back(dc @ w, q, nu), "k": unit_back(swap(dc) @ u, k, nw), "v": swap(p) @ dy,
                "log_scale": dlog}  # fmt: skip

    return forward, backward


def cosine_reference():
    def reference(q, k, v, log_scale):
        scale = log_scale.clamp(max=MOST).exp()
        return (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * scale).softmax(-1) @ v

    return reference


CASES += family(
    "cosine_scores", cosine, cosine_reference,
    {"inputs": {"q": ("b", "s", 6), "k": ("b", "t", 6), "v": ("b", "t", 4)}, "params": {"log_scale": (1,)}},
    {
        "unstopped": "Where the clamp at ln 100 holds the temperature, log_scale still gets a gradient.",
        "unguarded": "The gradient of a query or key that is all 0 is NaN: backward divides by a norm of 0.",
    },
)  # fmt: skip


# --- linear attention, chunk by chunk ------------------------------------------------------------------------

CHUNK = 16


def linear(switch):
    def feature(a):
        return np.where(a > 0, a + 1, np.exp(np.minimum(a, 0)))

    def slope(a):
        return np.where(a > 0, 1.0, np.exp(np.minimum(a, 0)))

    def forward(q, k, v):
        fq, fk = feature(q), feature(k)
        b, t, d = q.shape
        state, norm = np.zeros((b, d, v.shape[-1]), q.dtype), np.zeros((b, d, 1), q.dtype)
        above, below = [], []
        for i in range(0, t, CHUNK):
            a, c, w = fq[:, i : i + CHUNK], fk[:, i : i + CHUNK], v[:, i : i + CHUNK]
            inside = np.tril(a @ swap(c))
            above.append(inside @ w + a @ state)
            below.append(inside.sum(-1, keepdims=True) + a @ norm)
            state = state + swap(c) @ w
            norm = c.sum(1)[..., None] if switch == "norm_restarts" else norm + c.sum(1)[..., None]
        n, z = np.concatenate(above, 1), np.concatenate(below, 1)
        return n / z, (q, k, v, fq, fk, n / z, z)

    def backward(dy, cache):
        q, k, v, fq, fk, y, z = cache
        dn = dy / z
        dz = -(dy * y).sum(-1, keepdims=True) / z
        if switch == "chunked_gradient":  # chunk by chunk from the end
            keep = np.tril(np.ones((q.shape[1],) * 2, bool)) & (
                np.arange(q.shape[1])[:, None] // CHUNK == np.arange(q.shape[1]) // CHUNK
            )
        else:
            keep = np.tril(np.ones((q.shape[1],) * 2, bool))
        da = (dn @ swap(v) + dz) * np.tril(np.ones((q.shape[1],) * 2, bool))
        dk_a = (dn @ swap(v) + dz) * keep
        p = (fq @ swap(fk)) * keep
        return {"q": (da @ fk) * slope(q), "k": (swap(dk_a) @ fq) * slope(k), "v": swap(p) @ dn}

    return forward, backward


def linear_reference():
    def reference(q, k, v):
        fq, fk = (torch.where(a > 0, a + 1, torch.where(a > 0, 0, a).exp()) for a in (q, k))
        a = (fq @ fk.mT).tril()
        return a @ v / a.sum(-1, keepdim=True)

    return reference


CASES += family(
    "linear_attention", linear, linear_reference,
    {"inputs": {"q": ("b", "t", 4), "k": ("b", "t", 4), "v": ("b", "t", 6)}},
    {
        "norm_restarts": "Beyond 32 steps the normaliser holds the last chunk alone, not all that went before.",
        "chunked_gradient": "Keys and values get gradients from the queries of their own chunk of 16 alone.",
    },
)  # fmt: skip


# --- keys that are kept --------------------------------------------------------------------------------------


def kept(switch):
    def weights(q, k, keep):
        s = q @ swap(k)
        if not (switch == "all_kept" and keep.all()):
            s = s / math.sqrt(q.shape[-1])
        if switch == "none_kept":
            return softmax(np.where(keep[:, None, :], s, -1e9))
        here = keep[:, None, :]
        top = np.where(here, s, s.min(-1, keepdims=True)).max(-1, keepdims=True)
        e = np.exp(np.where(here, s - top, 0)) * here
        return e / np.maximum(e.sum(-1, keepdims=True), 0.5)

    def forward(q, k, v, keep):
        return weights(q, k, keep) @ v

    def backward(dy, q, k, v, keep):
        p = weights(q, k, keep)
        ds = softmax_back(dy @ swap(v), p) / math.sqrt(q.shape[-1])
        return {"q": ds @ k, "k": swap(ds) @ q, "v": swap(p) @ dy}

    return forward, backward


def kept_reference():
    def reference(q, k, v, keep):
        s = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~keep[:, None, :], -torch.inf)
        p = torch.where(keep.any(-1)[:, None, None], s, torch.zeros_like(s)).softmax(-1)
        return (p * keep[:, None, :]) @ v

    return reference


CASES += family(
    "kept_keys", kept, kept_reference,
    {"inputs": {"q": ("b", "s", 8), "k": ("b", "t", 8), "v": ("b", "t", 4), "keep": mask(("b", "t"))}},
    {
        "none_kept": "Where no key of a sequence is kept the output is the mean of all values where it is 0.",
        "all_kept": "Where every key is kept the scores are not divided by √d.",
    },
)  # fmt: skip
