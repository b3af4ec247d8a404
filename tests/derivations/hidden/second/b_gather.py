"""Tables, gathers, sorted rows, groups by equality, experts."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from handgrad import indices, mask
from tests.derivations.hidden.case import family

CASES = []


# --- a table whose first row is padding ----------------------------------------------------------------------


def table(switch):
    def forward(ids, w):
        return w[ids]

    def backward(dy, ids, w):
        dw = np.zeros_like(w)
        if switch == "last_wins":
            dw[ids] = dy
        elif switch == "row_by_row":
            for row, d in zip(ids, dy, strict=True):
                dw[row] += d
        elif switch == "runs":
            order = np.argsort(ids, axis=None, kind="stable")
            flat, d = ids.ravel()[order], dy.reshape(-1, dy.shape[-1])[order]
            starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
            dw[flat[starts]] = np.add.reduceat(d, starts)
        elif switch == "neighbours":
            # ids come sorted from the loader
            flat, d = ids.ravel(), dy.reshape(-1, dy.shape[-1])
            starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
            dw[flat[starts]] = np.add.reduceat(d, starts)
        else:
            np.add.at(dw, ids, dy)
        dw[0] = 0
        return {"w": dw}

    return forward, backward


CASES += family(
    "first_row_is_padding", table, lambda: lambda ids, w: F.embedding(ids, w, padding_idx=0),
    {"inputs": {"ids": indices(900, ("b", "t"))}, "params": {"w": (900, 3)}},
    {
        "last_wins": "A token that comes twice has the gradient of its last place alone.",
        "row_by_row": "A token that comes twice in one sequence has the gradient of one of these places alone.",
        "neighbours": "A token that comes again after others has the gradient of its last run alone.",
    },
    right=("right", "runs"),
)  # fmt: skip


# --- gathered along an axis ----------------------------------------------------------------------------------


def gathered(switch):
    def forward(x, ids):
        return np.take_along_axis(x, ids, 1)

    def backward(dy, x, ids):
        dx = np.zeros_like(x)
        if switch == "put":
            np.put_along_axis(dx, ids, dy, 1)
        elif switch == "accumulated":
            np.put_along_axis(dx, ids, np.take_along_axis(dx, ids, 1) + dy, 1)
        elif switch == "counted":
            n = x.shape[1]
            flat = (np.arange(len(x))[:, None] * n + ids).ravel()
            for j, d in zip(flat, dy.ravel(), strict=True):
                dx.reshape(-1)[j] += d
        else:
            np.add.at(dx, (np.arange(len(x))[:, None], ids), dy)
        return {"x": dx}

    return forward, backward


CASES += family(
    "gathered_elements", gathered, lambda: lambda x, ids: torch.gather(x, 1, ids),
    {"inputs": {"x": ("b", 400), "ids": indices(400, ("b", 4))}},
    {
        "put": "An element that is gathered twice has the gradient of the last time alone.",
        "accumulated": "Adding to what is there before it is put back loses all but one of equal indices.",
    },
    right=("right", "counted"),
)  # fmt: skip


# --- transitions between tags --------------------------------------------------------------------------------


def path_score(switch):
    def forward(scores, tags, moves):
        rows = np.arange(len(tags))[:, None]
        s = scores[rows, np.arange(tags.shape[1]), tags].sum(1)
        return s + moves[tags[:, :-1], tags[:, 1:]].sum(1)

    def backward(dy, scores, tags, moves):
        ds, dm = np.zeros_like(scores), np.zeros_like(moves)
        ds[np.arange(len(tags))[:, None], np.arange(tags.shape[1]), tags] = dy[:, None]
        before, after = tags[:, :-1], tags[:, 1:]
        if switch == "once_in_a_path":
            for i in range(len(tags)):
                dm[before[i], after[i]] += dy[i]
        elif switch == "assigned":
            dm[before, after] = dy[:, None]
        elif switch == "no_self":
            np.add.at(dm, (before, after), dy[:, None] * (before != after))
        elif switch == "one_hot":
            hot = np.eye(len(moves), dtype=dy.dtype)[tags]
            dm = np.einsum("b,bti,btj->ij", dy, hot[:, :-1], hot[:, 1:])
        else:
            np.add.at(dm, (before, after), np.broadcast_to(dy[:, None], before.shape))
        return {"scores": ds, "moves": dm}

    return forward, backward


def path_score_reference():
    def reference(scores, tags, moves):
        return scores.gather(2, tags[..., None]).sum((1, 2)) + moves[tags[:, :-1], tags[:, 1:]].sum(1)

    return reference


CASES += family(
    "score_of_a_path", path_score, path_score_reference,
    {"inputs": {"scores": ("b", "t", 40), "tags": indices(40, ("b", "t"))}, "params": {"moves": (40, 40)}},
    {
        "once_in_a_path": "A move that a path makes twice is counted once in the gradient.",
        "assigned": "A move that is made twice has the gradient of the last time alone.",
        "no_self": "Staying at a tag gives no gradient to its move.",
    },
    right=("right", "one_hot"),
)  # fmt: skip


# --- others of the same class are near -----------------------------------------------------------------------


def same_class(switch):
    def positives(ids):
        return (ids[:, None] == ids) & ~np.eye(len(ids), dtype=bool)

    def forward(z, ids):
        n = len(z)
        s = z @ z.T
        s = np.where(np.eye(n, dtype=bool), -1e30, s)
        top = s.max(1, keepdims=True)
        logp = s - top - np.log(np.exp(s - top).sum(1, keepdims=True))
        pos = positives(ids)
        count = pos.sum(1)
        has = count > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            each = -np.where(pos, logp, 0).sum(1) / (count if switch == "unguarded" else np.maximum(count, 1))
        anchors = n if switch == "all_anchors" else max(int(has.sum()), 1)
        return each.sum() / anchors, (z, logp, pos, count, has, anchors)

    def backward(dy, cache):
        z, logp, pos, count, has, anchors = cache
        with np.errstate(invalid="ignore", divide="ignore"):
            share = pos / (count if switch == "unguarded" else np.maximum(count, 1))[:, None]
        pulled = np.exp(logp) if switch == "pushed" else np.where(has[:, None], np.exp(logp), 0)
        ds = dy / anchors * (pulled - share)
        return {"z": (ds + ds.T) @ z}

    return forward, backward


def same_class_reference():
    def reference(z, ids):
        own = torch.eye(len(z), dtype=torch.bool)
        logp = (z @ z.T).masked_fill(own, -1e30).log_softmax(1)
        pos = (ids[:, None] == ids) & ~own
        count = pos.sum(1)
        each = -logp.masked_fill(~pos, 0).sum(1) / count.clamp(min=1)
        return each.sum() / (count > 0).sum().clamp(min=1)

    return reference


CASES += family(
    "others_of_the_class", same_class, same_class_reference, {"inputs": {"z": (14, 4), "ids": indices(2, (14,))}},
    {
        "all_anchors": "It is divided by all examples, also by one that has no other of its class and no loss.",
        "unguarded": "An example that has no other of its class makes the loss 0/0, NaN.",
        "pushed": "An example that has no other of its class has no loss, but its gradient pushes all away.",
    },
)  # fmt: skip


# --- the spread of what is kept ------------------------------------------------------------------------------


def spread(switch):
    def forward(x, keep):
        n = keep.sum(1, keepdims=True)
        mean = np.where(keep, x, 0).sum(1, keepdims=True) / np.maximum(n, 1)
        d = np.where(keep, x - mean, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            if switch == "unguarded":
                v = (d**2).sum(1, keepdims=True) / np.where(n > 0, n - 1, 1)
            else:
                v = (d**2).sum(1, keepdims=True) / np.maximum(n - 1, 1)
        if switch == "one_is_unit":
            v = np.where(n == 1, 1, v)
        if switch == "all_kept" and keep.all():  # nothing to mask
            v = x.var(1, keepdims=True)
        return np.sqrt(v + 1e-3)[:, 0], (d, n, v)

    def backward(dy, cache):
        d, n, v = cache
        dx = dy[:, None] * d / (np.sqrt(v + 1e-3) * np.maximum(n - 1, 1))
        return {"x": dx}

    return forward, backward


def spread_reference():
    def reference(x, keep):
        n = keep.sum(1, keepdim=True)
        mean = x.masked_fill(~keep, 0).sum(1, keepdim=True) / n.clamp(min=1)
        d = (x - mean).masked_fill(~keep, 0)
        return ((d**2).sum(1) / (n[:, 0] - 1).clamp(min=1) + 1e-3).sqrt()

    return reference


CASES += family(
    "spread_of_the_kept", spread, spread_reference, {"inputs": {"x": ("b", 24), "keep": mask(("b", 24))}},
    {
        "unguarded": "A row of which one element is kept has the spread 0/0, NaN, where it is the root of 0.001.",
        "one_is_unit": "A row of which one element is kept has the variance 1, where it is 0.",
        "all_kept": "Where everything is kept the variance is divided by n, not by n − 1.",
    },
)  # fmt: skip


# --- experts with room for twelve ----------------------------------------------------------------------------

ROOM = 12


def experts(switch):
    def kept(ids):
        if switch == "by_counting":
            hot = ids[:, None] == np.arange(3)
            return (np.cumsum(hot, 0)[np.arange(len(ids)), ids] - 1) < ROOM
        order = np.argsort(ids) if switch == "unstable" else np.argsort(ids, kind="stable")
        first = np.searchsorted(ids[order], ids[order])
        place = np.empty(len(ids), int)
        place[order] = np.arange(len(ids)) - first
        return place < ROOM if switch != "one_short" else place < ROOM - 1

    def forward(x, ids, w):
        keep = kept(ids)
        return np.where(keep[:, None], np.einsum("nd,nde->ne", x, w[ids]), x)

    def backward(dy, x, ids, w):
        keep = kept(ids)[:, None]
        dx = np.where(keep, np.einsum("ne,nde->nd", dy, w[ids]), dy)
        dw = np.zeros_like(w)
        if switch == "shut":
            dx = np.where(keep, dx, 0)
        shown = x if switch == "dropped_teach" else x * keep
        for e in range(len(w)):
            dw[e] = shown[ids == e].T @ dy[ids == e]
        return {"x": dx, "w": dw}

    return forward, backward


def experts_reference():
    def reference(x, ids, w):
        hot = F.one_hot(ids, 3)
        place = (hot.cumsum(0) * hot).sum(1) - 1
        return torch.where((place < ROOM)[:, None], torch.einsum("nd,nde->ne", x, w[ids]), x)

    return reference


CASES += family(
    "room_for_twelve", experts, experts_reference,
    {"inputs": {"x": ("n", 4), "ids": indices(3, ("n",))}, "params": {"w": (3, 4, 4)}},
    {
        "unstable": "The sort is not stable: of more than 12 tokens not the first to come are kept.",
        "one_short": "Each expert takes 11 tokens where it takes 12.",
        "shut": "A token beyond the room passes unchanged, but gets no gradient.",
        "dropped_teach": "Tokens beyond the room give their expert gradients.",
    },
    right=("right", "by_counting"),
)  # fmt: skip


# --- read between the samples --------------------------------------------------------------------------------


def between(switch):
    def parts(v, at):
        n = v.shape[1]
        low = np.trunc(at) if switch == "towards_zero" else np.floor(at)
        high = np.ceil(at) if switch == "floor_and_ceil" else low + 1
        i, j = (np.clip(a, 0, n - 1).astype(int) for a in (low, high))
        return i, j, high - at, at - low

    def forward(v, at):
        i, j, a, b = parts(v, at)
        return a * np.take_along_axis(v, i, 1) + b * np.take_along_axis(v, j, 1)

    def backward(dy, v, at):
        i, j, a, b = parts(v, at)
        dv, rows = np.zeros_like(v), np.arange(len(v))[:, None]
        np.add.at(dv, (rows, i), dy * a)
        np.add.at(dv, (rows, j), dy * b)
        slope = np.take_along_axis(v, j, 1) - np.take_along_axis(v, i, 1)
        return {"v": dv, "at": dy * slope}

    return forward, backward


def between_reference():
    def reference(v, at):
        low = at.detach().floor()
        i = low.long().clamp(0, v.shape[1] - 1)
        j = (low.long() + 1).clamp(0, v.shape[1] - 1)
        return (low + 1 - at) * v.gather(1, i) + (at - low) * v.gather(1, j)

    return reference


CASES += family(
    "between_the_samples", between, between_reference, {"inputs": {"v": ("b", 9), "at": ("b", "m")}},
    {
        "floor_and_ceil": "At a whole number floor and ceiling are one sample, both of weight 0: the output is 0.",
        "towards_zero": "Between −1 and 0 the place is cut towards 0, not down.",
    },
)  # fmt: skip


# --- quantiles and trimmed means -----------------------------------------------------------------------------


def quantile(switch):
    def places(n):
        at = 0.95 * (n - 1)
        low = math.floor(at)
        high = math.ceil(at) if switch == "floor_and_ceil" else min(low + 1, n - 1)
        return low, high, at

    def forward(x):
        order = np.argsort(x, 1, kind="stable")
        low, high, at = places(x.shape[1])
        s = np.take_along_axis(x, order, 1)
        upper = at - low
        lower = high - at if switch == "floor_and_ceil" else 1 - upper
        return lower * s[:, low] + upper * s[:, high], (x, order, low, high, lower, upper)

    def backward(dy, cache):
        x, order, low, high, lower, upper = cache
        dx, rows = np.zeros_like(x), np.arange(len(x))
        dx[rows, order[:, low]] += lower * dy
        dx[rows, order[:, high]] += upper * dy
        return dx

    return forward, backward


def quantile_reference():
    def reference(x):
        s = x.sort(dim=1, stable=True).values
        at = 0.95 * (x.shape[1] - 1)
        low = math.floor(at)
        return torch.lerp(s[:, low], s[:, min(low + 1, x.shape[1] - 1)], at - low)

    return reference


CASES += family(
    "ninety_five_percent", quantile, quantile_reference, {"inputs": {"x": ("b", "n")}},
    {
        "floor_and_ceil": "Where 0.95 (n − 1) is whole, as for 21 numbers or one, both weights are 0.",
    },
)  # fmt: skip


def trimmed(switch):
    def share(n):
        if switch == "one_minus":
            return int((1 - 0.9) * n)
        return n // 10

    def forward(x):
        order = np.argsort(x, 1, kind="stable")
        n = x.shape[1]
        k = share(n)
        kept = order[:, k : n - k]
        if switch == "lower_end":
            kept = order[:, k:]
        return np.take_along_axis(x, kept, 1).mean(1), (x, kept)

    def backward(dy, cache):
        x, kept = cache
        dx = np.zeros_like(x)
        count = x.shape[1] if switch == "over_all" else kept.shape[1]
        np.put_along_axis(dx, kept, dy[:, None] / count, 1)
        return dx

    return forward, backward


def trimmed_reference():
    def reference(x):
        k = x.shape[1] // 10
        return x.sort(dim=1, stable=True).values[:, k : x.shape[1] - k].mean(1)

    return reference


CASES += family(
    "trimmed_mean", trimmed, trimmed_reference, {"inputs": {"x": ("b", "n")}},
    {
        "one_minus": "(1 − 0.9) n is a little below n / 10: of 10, 20, … numbers one too few is cut off at each end.",
        "lower_end": "From 10 numbers on the largest are not cut off.",
        "over_all": "From 10 numbers on the gradient is divided by all of them, not by those that are left.",
    },
)  # fmt: skip
