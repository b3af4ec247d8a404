"""Places in a sequence: learned ones, sequences in order of their length, buckets of pairs."""

import numpy as np
import torch

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []


# --- a learned vector for each of 64 places, the last one for all that come later ----------------------------

PLACES = 64


def places(switch):
    def rows(t):
        return np.arange(t) % PLACES if switch == "again" else np.minimum(np.arange(t), PLACES - 1)

    def forward(x, table):
        return x + table[rows(x.shape[1])]

    def backward(dy, x, table):
        dtable, each = np.zeros_like(table), dy.sum(0)
        if switch == "assigned":
            dtable[rows(len(each))] = each
        elif switch == "first_64":
            dtable[: len(each)] = each[:PLACES]
        elif switch == "split":
            few = min(len(each), PLACES)
            dtable[:few] = each[:few]
            dtable[-1] += each[PLACES:].sum(0)
        else:
            np.add.at(dtable, rows(len(each)), each)
        return {"x": dy, "table": dtable}

    return forward, backward


def places_reference():
    return lambda x, table: x + table[torch.arange(x.shape[1]).clamp(max=PLACES - 1)]


CASES += family(
    "learned_places", places, places_reference, {"inputs": {"x": ("b", "t", 4)}, "params": {"table": (PLACES, 4)}},
    {
        "again": "After 64 places the first ones come again, where the last one stays.",
        "assigned": "The last place has the gradient of the last step alone, where all steps from 64 on use it.",
        "first_64": "Steps after the 64th give no gradient to the last place.",
    },
    right=("right", "split"),
)  # fmt: skip


# --- a vector for each pair of neighbours, by a bucket that pairs share --------------------------------------

BUCKETS = 997


def pairs(switch):
    def bucket(ids):
        return (31 * ids[:, :-1] + ids[:, 1:]) % BUCKETS

    def forward(ids, w):
        return w[bucket(ids)].sum(1)

    def backward(dy, ids, w):
        dw, at = np.zeros_like(w), bucket(ids)
        if switch == "by_pair":  # each different pair once
            pair = ids[:, :-1] * 10_000 + ids[:, 1:]
            _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
            d = np.zeros((len(first), dy.shape[1]), dy.dtype)
            np.add.at(d, inverse.ravel(), np.repeat(dy, at.shape[1], 0))
            dw[at.ravel()[first]] = d
        elif switch == "once_in_a_text":
            for i, row in enumerate(at):
                dw[np.unique(row)] += dy[i]
        else:
            np.add.at(dw, at, np.broadcast_to(dy[:, None], (*at.shape, dy.shape[1])))
        return {"w": dw}

    def counted(ids, w):
        counts = np.stack([np.bincount(row, minlength=BUCKETS) for row in bucket(ids)])
        return counts @ w, (counts,)

    def counted_back(dy, cache):
        return {"w": cache[0].T @ dy}

    return (counted, counted_back) if switch == "by_counts" else (forward, backward)


CASES += family(
    "buckets_of_pairs", pairs, lambda: lambda ids, w: w[(31 * ids[:, :-1] + ids[:, 1:]) % BUCKETS].sum(1),
    {"inputs": {"ids": indices(5000, ("b", 6))}, "params": {"w": (BUCKETS, 3)}},
    {
        "by_pair": "Two pairs that share a bucket: it has the gradient of one of them alone.",
        "once_in_a_text": "A pair that comes twice in a text is counted once in the gradient.",
    },
    right=("right", "by_counts"),
)  # fmt: skip


# --- texts in order of their length, and back ----------------------------------------------------------------


def by_length(switch):
    def forward(x, last, w):
        order = np.argsort(-last, kind="stable")
        back = order if switch == "same_order" else np.argsort(order, kind="stable")
        h = np.zeros((len(x), w.shape[1]), x.dtype)
        xs, ls = x[order], last[order]
        hs = [h]
        for t in range(x.shape[1]):
            n = int((ls >= t).sum())  # those that are not over
            h = h.copy()
            h[:n] = np.tanh(xs[:n, t] + h[:n] @ w)
            hs.append(h)
        return h[back], (xs, ls, hs, w, order, back)

    def backward(dy, cache):
        xs, ls, hs, w, order, back = cache
        dxs, dw = np.zeros_like(xs), np.zeros_like(w)
        dh = dy[back] if switch == "sorted_by_back" else dy[order]
        for t in reversed(range(xs.shape[1])):
            n = int((ls >= t).sum())
            da = dh[:n] * (1 - hs[t + 1][:n] ** 2)
            dxs[:n, t] = da
            dw += hs[t][:n].T @ da
            dh = np.concatenate([da @ w.T, dh[n:]])
        return {"x": dxs[order] if switch == "unsorted_by_order" else dxs[np.argsort(order)], "w": dw}

    return forward, backward


def by_length_reference():
    def reference(x, last, w):
        h = torch.zeros(len(x), w.shape[1], dtype=x.dtype)
        for t in range(x.shape[1]):
            h = torch.where((last >= t)[:, None], torch.tanh(x[:, t] + h @ w), h)
        return h

    return reference


CASES += family(
    "in_order_of_length", by_length, by_length_reference,
    {"inputs": {"x": (3, "t", 4), "last": indices("t", (3,))}, "params": {"w": (4, 4)}},
    {
        "same_order": "Sorting again by the same order undoes an exchange of two, not a turn of three or more.",
        "sorted_by_back": "dy is sorted by the inverse order, the same for an exchange, not for a turn of three.",
        "unsorted_by_order": "dx is put back by the order itself, right for an exchange, not for a turn of three.",
    },
)  # fmt: skip
