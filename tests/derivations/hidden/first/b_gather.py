"""Tables, gathers, scatters, sorting, experts, means over what is kept."""

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import constant, indices, mask
from tests.derivations.hidden.case import family

CASES = []


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_back(dp, p):
    return p * (dp - (dp * p).sum(-1, keepdims=True))


# --- a table with a row for padding --------------------------------------------------------------------------

PADDING = 1


def padded_table(switch):
    def forward(ids, table):
        return table[ids]

    def backward(dy, ids, table):
        dtable = np.zeros_like(table)
        if switch == "sorted":
            flat, rows = ids.ravel(), dy.reshape(-1, dy.shape[-1])
            order = np.argsort(flat, kind="stable")
            firsts = np.flatnonzero(np.r_[True, np.diff(flat[order]) > 0])
            dtable[flat[order][firsts]] = np.add.reduceat(rows[order], firsts, 0)
        else:
            np.add.at(dtable, ids, dy)
        if switch != "padding_learns":
            dtable[PADDING] = 0
        return {"table": dtable}

    return forward, backward


CASES += family(
    "padded_table", padded_table, lambda: lambda ids, table: F.embedding(ids, table, padding_idx=PADDING),
    {"inputs": {"ids": indices(2000, ("b", "t")), "table": (2000, 4)}},
    {"padding_learns": "The padding token's row, 1, gets a gradient; among 2000 tokens it is seldom drawn."},
    right=("right", "sorted"),
)  # fmt: skip


# --- rows by index, counted from the end where it is negative ------------------------------------------------


def rows(switch):
    def forward(ids, table):
        return table[ids]

    def backward(dy, ids, table):
        if switch == "one_hot":
            hot = (ids[..., None] == np.arange(len(table))).astype(dy.dtype)
            return {"table": np.einsum("btv,btd->vd", hot, dy)}
        if switch == "unique":
            found, back = np.unique(ids, return_inverse=True)
            sums = np.zeros((len(found), table.shape[1]), dy.dtype)
            np.add.at(sums, back.reshape(ids.shape), dy)
            dtable = np.zeros_like(table)
            dtable[found] = sums
            return {"table": dtable}
        if switch == "by_column":
            at = (ids % len(table)).ravel()
            columns = [np.bincount(at, dy[..., j].ravel(), len(table)) for j in range(table.shape[1])]
            return {"table": np.stack(columns, -1).astype(table.dtype)}
        dtable = np.zeros_like(table)
        np.add.at(dtable, ids, dy)
        return {"table": dtable}

    return forward, backward


CASES += family(
    "rows_by_index", rows, lambda: lambda ids, table: table[ids],
    {"inputs": {"ids": indices("v", ("b", "t")), "table": ("v", 4)}},
    {
        "one_hot": "A negative index, which counts from the end, gives its row no gradient.",
        "unique": "Where −1 and the last index both occur, the row has the gradient of one of them alone.",
    },
    right=("right", "by_column"),
)  # fmt: skip


# --- means of sorted groups ----------------------------------------------------------------------------------

GROUPS = 4


def sorted_ids(rng):
    return np.sort(np.concatenate([np.arange(GROUPS), rng.integers(0, GROUPS, 6)]))


def grouped_means(switch):
    def counts(ids, dtype):
        return np.bincount(ids, minlength=GROUPS)[:, None].astype(dtype)

    def forward(x, ids):
        starts = np.searchsorted(ids, np.arange(GROUPS))
        if switch == "reduced_at":
            sums = np.add.reduceat(x, starts, 0)
        elif switch == "running":
            total = np.concatenate([np.zeros_like(x[:1]), np.cumsum(x, 0)])
            sums = total[np.searchsorted(ids, np.arange(GROUPS), "right")] - total[starts]
        else:
            sums = np.zeros((GROUPS, x.shape[1]), x.dtype)
            np.add.at(sums, ids, x)
        number = counts(ids, x.dtype)
        return sums / (number if switch == "unguarded" else np.maximum(number, 1)), (ids, x.shape)

    def backward(dy, cache):
        ids, shape = cache
        return (dy / np.maximum(counts(ids, dy.dtype), 1))[ids]

    return forward, backward


def grouped_means_reference():
    def reference(x, ids):
        sums = torch.zeros(GROUPS, x.shape[1], dtype=x.dtype).index_add(0, ids, x)
        return sums / torch.bincount(ids, minlength=GROUPS).clamp(min=1)[:, None]

    return reference


CASES += family(
    "grouped_means", grouped_means, grouped_means_reference,
    {"inputs": {"x": (10, 5), "ids": constant(sorted_ids)}},
    {
        "reduced_at": "A group without elements gets the next group's first element as its sum, not 0.",
        "unguarded": "A group without elements is 0/0, NaN, where it is 0.",
    },
    right=("right", "running"),
)  # fmt: skip


# --- a layer on an undirected graph --------------------------------------------------------------------------


def undirected(rng):
    a = np.triu(rng.random((6, 6)) < 0.4, 1)
    a[np.arange(5), np.arange(1, 6)] = True
    return (a | a.T).astype(float)


def graph(switch):
    def normalised(a):
        if switch == "isolated":
            s = 1 / np.sqrt(a.sum(1))
        else:
            s = 1 / np.sqrt(np.maximum(a.sum(1), 1))
        return s[:, None] * a * s

    def forward(x, edges, weight):
        m = normalised(edges)
        z = m @ (x @ weight)
        return np.maximum(z, 0), (x, m, weight, z)

    def backward(dy, cache):
        x, m, weight, z = cache
        dz = dy * (z > 0)
        dh = m @ dz if switch == "same_matrix" else m.T @ dz
        return {"x": dh @ weight.T, "weight": x.T @ dh}

    return forward, backward


def graph_reference():
    def reference(x, edges, weight):
        s = edges.sum(1).clamp(min=1).rsqrt()
        return (s[:, None] * edges * s @ (x @ weight)).relu()

    return reference


CASES += family(
    "graph_layer", graph, graph_reference,
    {"inputs": {"x": (6, 4), "edges": constant(undirected)}, "params": {"weight": (4, 3)}},
    {
        "same_matrix": "Backward multiplies by the matrix where its transpose belongs: apart on directed graphs.",
        "isolated": "A node without edges makes every output NaN: its degree 0 is not raised to 1.",
    },
)  # fmt: skip


# --- the middle one ------------------------------------------------------------------------------------------


def middle(switch):
    def forward(x):
        t = x.shape[-1]
        order = np.argsort(x, -1, kind="stable")
        at = order[..., (t - 1) // 2 : t // 2 + 1 if switch == "mean_of_two" else (t - 1) // 2 + 1]
        if switch == "upper":
            at = order[..., t // 2 : t // 2 + 1]
        return np.take_along_axis(x, at, -1).mean(-1), (x.shape, at)

    def backward(dy, cache):
        shape, at = cache
        dx = np.zeros(shape, dy.dtype)
        np.put_along_axis(dx, at, np.repeat(dy[..., None], at.shape[-1], -1) / at.shape[-1], -1)
        return dx

    return forward, backward


CASES += family(
    "median", middle, lambda: lambda x: x.sort(stable=True, dim=-1).values[..., (x.shape[-1] - 1) // 2],
    {"x": ("b", "c", "t")},
    {
        "mean_of_two": "Of an even number the two in the middle are averaged where the lower one is wanted.",
        "upper": "Of an even number the upper one of the two in the middle is taken where the lower is wanted.",
    },
)  # fmt: skip


# --- experts with room for so many tokens --------------------------------------------------------------------

ROOM = 16


def experts(switch):
    def route(x, router):
        p = softmax(x @ router)
        e = p.argmax(-1)
        hot = e[:, None] == np.arange(router.shape[1])
        if switch == "last_come":
            place = np.cumsum(hot[::-1], 0)[::-1]
        else:
            place = np.cumsum(hot, 0)
        if switch == "all_have_room":
            return p, e, np.ones(len(e), bool)
        return p, e, place[np.arange(len(e)), e] <= ROOM

    def forward(x, router, weight):
        p, e, fits = route(x, router)
        y = np.einsum("nd,ndk->nk", x, weight[e])
        return fits[:, None] * p[np.arange(len(e)), e][:, None] * y

    def backward(dy, x, router, weight):
        p, e, fits = route(x, router)
        n = np.arange(len(e))
        y, g = np.einsum("nd,ndk->nk", x, weight[e]), p[n, e]
        dg = (dy * y).sum(-1)
        if switch != "gate_of_dropped":
            dg = dg * fits
        dp = np.zeros_like(p)
        dp[n, e] = dg
        ds = softmax_back(dp, p)
        dyy = dy * (g * fits)[:, None]
        dweight = np.zeros_like(weight)
        np.add.at(dweight, e, x[:, :, None] * dyy[:, None, :])
        return {"x": ds @ router.T + np.einsum("nk,ndk->nd", dyy, weight[e]), "router": x.T @ ds, "weight": dweight}

    return forward, backward


def experts_reference():
    def reference(x, router, weight):
        p = (x @ router).softmax(-1)
        g, e = p.max(-1)
        hot = F.one_hot(e, router.shape[1])
        fits = (hot.cumsum(0) * hot).sum(-1) <= ROOM
        return (fits * g)[:, None] * torch.einsum("nd,ndk->nk", x, weight[e])

    return reference


CASES += family(
    "experts_with_room", experts, experts_reference,
    {"inputs": {"x": ("n", 6)}, "params": {"router": (6, 3), "weight": (3, 6, 4)}},
    {
        "all_have_room": "Tokens beyond an expert's room of 16 are not dropped.",
        "last_come": "Of more than 16 tokens the last are kept where the first to come are.",
        "gate_of_dropped": "The router gets gradients from tokens that were dropped.",
    },
)  # fmt: skip


# --- two experts of four -------------------------------------------------------------------------------------


def two_experts(switch):
    def chosen(s):
        if switch in ("threshold", "at_least"):
            second = np.sort(s, -1)[:, -2:-1]
            if switch == "at_least":
                return s >= second
            above, same = s > second, s == second
            return above | (same & (np.cumsum(same, -1) <= 2 - above.sum(-1, keepdims=True)))
        order = np.argsort(-s, -1, kind="stable")[:, :2]
        picked = np.zeros(s.shape, bool)
        np.put_along_axis(picked, order, True, -1)
        return picked

    def gates(x, router):
        s = x @ router
        picked = chosen(s)
        e = np.exp(s - s.max(-1, keepdims=True)) * picked
        return e / e.sum(-1, keepdims=True)

    def forward(x, router, weight, bias):
        h = np.tanh(np.einsum("nd,edk->nek", x, weight) + bias)
        return np.einsum("ne,nek->nk", gates(x, router), h)

    def backward(dy, x, router, weight, bias):
        h, g = np.tanh(np.einsum("nd,edk->nek", x, weight) + bias), gates(x, router)
        ds = softmax_back(np.einsum("nk,nek->ne", dy, h), g)
        da = g[..., None] * dy[:, None] * (1 - h * h)
        return {"x": ds @ router.T + np.einsum("nek,edk->nd", da, weight), "router": x.T @ ds,
                "weight": np.einsum("nd,nek->edk", x, da), "bias": da.sum(0)}  # fmt: skip

    return forward, backward


def two_experts_reference():
    def reference(x, router, weight, bias):
        s = x @ router
        e = s.argsort(dim=-1, descending=True, stable=True)[:, :2]
        g = torch.zeros_like(s).scatter(-1, e, s.gather(-1, e).softmax(-1))
        return torch.einsum("ne,nek->nk", g, (torch.einsum("nd,edk->nek", x, weight) + bias).tanh())

    return reference


CASES += family(
    "two_experts", two_experts, two_experts_reference,
    {"inputs": {"x": ("n", 6)}, "params": {"router": (6, 4), "weight": (4, 6, 3), "bias": (4, 3)}},
    {"at_least": "A token of zeros, as of padding, ties all scores and is given to all four experts, not to two."},
    right=("right", "threshold"),
)  # fmt: skip


# --- means over what is kept ---------------------------------------------------------------------------------


def kept_mean(switch):
    def forward(x, keep):
        if switch == "all_kept" and keep.all():
            return x.mean(1)
        count = keep.sum(-1)[:, None].astype(x.dtype)
        mean = np.where(keep[..., None], x, 0).sum(1) / np.maximum(count, 1)
        return np.where(count > 0, mean, x.mean(1)) if switch == "none_kept" else mean

    def backward(dy, x, keep):
        if switch == "all_kept" and keep.all():
            return np.repeat(dy[:, None], x.shape[1], 1)
        dx = (dy / np.maximum(keep.sum(-1), 1)[:, None].astype(x.dtype))[:, None] * keep[..., None]
        if switch == "none_kept":
            dx = dx + (~keep.any(-1))[:, None, None] * dy[:, None] / x.shape[1]
        return dx

    return forward, backward


def kept_mean_reference():
    return lambda x, keep: (x * keep[..., None]).sum(1) / keep.sum(1, keepdim=True).clamp(min=1)


CASES += family(
    "kept_mean", kept_mean, kept_mean_reference, {"inputs": {"x": ("b", "t", 4), "keep": mask(("b", "t"))}},
    {
        "none_kept": "A sequence of which nothing is kept gives the mean of all where it gives 0.",
        "all_kept": "Where everything is kept the gradient is not divided by the number of steps.",
    },
)  # fmt: skip


# --- a product of two arrays that are broadcast --------------------------------------------------------------


def product(switch):
    def to_shape(g, shape):
        if g.ndim > len(shape):
            g = g.sum(tuple(range(g.ndim - len(shape))))
        if switch == "leading_axes":
            return g
        ones = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
        if switch == "first_slice":
            return g[tuple(slice(0, 1) if i in ones else slice(None) for i in range(g.ndim))]
        return g.sum(ones, keepdims=True) if ones else g

    def forward(a, b):
        return a * b

    def backward(dy, a, b):
        return {"a": to_shape(dy * b, a.shape), "b": to_shape(dy * a, b.shape)}

    return forward, backward


CASES += family(
    "broadcast_product", product, lambda: torch.mul, {"inputs": {"a": ("n", "m", "d"), "b": ("m", "d")}},
    {
        "leading_axes": "An axis of one element that was broadcast is not summed over; only leading axes are.",
        "first_slice": "Of an axis of one element that was broadcast the gradient is the first slice, not the sum.",
    },
)  # fmt: skip
