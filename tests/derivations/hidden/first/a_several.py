"""Losses of several inputs: one function that returns J and its gradients."""

from __future__ import annotations

import numpy as np
import torch

from handgrad import constant, indices, mask
from tests.derivations.hidden.case import family

CASES = []

# --- Cox's partial likelihood ---------------------------------------------------------------------------------


def cox(switch):
    def at_risk(time):
        if switch == "later_and_self":
            return (time > time[:, None]) | np.eye(len(time), dtype=bool)
        return time >= time[:, None]  # row i: who is at risk when i has its event

    def both(risk, time, event):
        risk_set, happened = at_risk(time), event.astype(float)
        top = risk.max()
        e = np.exp(risk - top)
        sums = risk_set @ e
        n = happened.sum() if switch == "no_event_no_number" else max(happened.sum(), 1.0)
        j = (happened * (np.log(sums) + top - risk)).sum() / n
        g = (e * (risk_set.T @ (happened / sums)) - happened) / n
        return j, {"risk": g}

    def by_order(risk, time, event):
        order = np.argsort(-time, kind="stable")
        r, t, happened = risk[order], time[order], event[order].astype(float)
        top = r.max()
        e = np.exp(r - top)
        sums = np.cumsum(e)
        if switch != "cumulative":
            last = np.searchsorted(-t, -t, side="right") - 1  # ties are at risk together
            sums = sums[last]
        n = max(happened.sum(), 1.0)
        j = (happened * (np.log(sums) + top - r)).sum() / n
        shares = np.cumsum((happened / sums)[::-1])[::-1]
        if switch != "cumulative":
            first = np.searchsorted(-t, -t, side="left")
            shares = shares[first]
        g = np.zeros(len(r))
        g[order] = (e * shares - happened) / n
        return j, {"risk": g}

    return by_order if switch in ("by_order", "cumulative") else both


def cox_reference(risk, time, event):
    happened = event.to(risk.dtype)
    later = torch.where(time >= time[:, None], risk.expand(len(risk), -1), torch.full((), -torch.inf, dtype=risk.dtype))
    return (happened * (torch.logsumexp(later, 1) - risk)).sum() / happened.sum().clamp(min=1)


CASES += family(
    "cox", cox, lambda: cox_reference, {"inputs": {"risk": ("n",), "time": constant(("n",)), "event": mask(("n",))}},
    {
        "cumulative": "With equal times the risk set is whoever was sorted before, not all who share the time.",
        "later_and_self": "Others who have the same time are left out of the risk set.",
        "no_event_no_number": "A batch without an event divides by 0, where torch's has loss 0.",
    },
    right=("right", "by_order"),
)  # fmt: skip

# --- mean over the valid tokens of each row -------------------------------------------------------------------


def rows(switch):
    def both(predicted, wanted, valid):
        v = valid.astype(predicted.dtype)
        count = v.sum(1)
        any_valid = count > 0
        held = count if switch == "empty_rows_divide" else np.maximum(count, 1)
        n = len(v) if switch == "all_rows" else max(int(any_valid.sum()), 1)
        weight = v / held[:, None] / n
        if switch == "empty_rows_whole":
            weight = np.where(any_valid[:, None], weight, 1 / v.shape[1] / n)
        d = predicted - wanted
        return (weight * d * d).sum(), {"predicted": 2 * weight * d}

    def one_row_after_another(predicted, wanted, valid):
        g, losses = np.zeros_like(predicted), []
        n = max(sum(1 for row in valid if row.any()), 1)
        for i, row in enumerate(valid):
            places = [k for k in range(len(row)) if row[k]]
            if places:
                d = predicted[i, places] - wanted[i, places]
                losses.append((d @ d) / len(places))
                g[i, places] = 2 * d / (len(places) * n)
        return sum(losses) / n, {"predicted": g}

    return one_row_after_another if switch == "row_by_row" else both


def rows_reference(predicted, wanted, valid):
    v = valid.to(predicted.dtype)
    each = (v * (predicted - wanted) ** 2).sum(1) / v.sum(1).clamp(min=1)
    return each.sum() / (v.sum(1) > 0).sum().clamp(min=1)


CASES += family(
    "valid_tokens", rows, lambda: rows_reference,
    {"inputs": {"predicted": ("n", "t"), "wanted": constant(("n", "t")), "valid": mask(("n", "t"))}},
    {
        "all_rows": "It is divided by the number of rows, of which those without any valid token do not count.",
        "empty_rows_divide": "A row without any valid token divides 0 by 0.",
        "empty_rows_whole": "A row without any valid token counts as if all its tokens were valid.",
    },
    right=("right", "row_by_row"),
)  # fmt: skip

# --- sequences by their lengths -------------------------------------------------------------------------------


def lengths_loss(switch):
    def valid(length, n, t):
        if switch == "stops_in_the_row":
            stop = np.zeros((n, t))
            stop[np.arange(n), np.minimum(length, t - 1)] = 1
            return 1 - np.cumsum(stop, 1)
        if switch == "wraps":
            stop = np.zeros((n, t))
            stop[np.arange(n), length % t] = 1
            return 1 - np.cumsum(stop, 1)
        return (np.arange(t) < length[:, None]).astype(float)

    def both(predicted, wanted, length):
        v = valid(length, *predicted.shape)
        d, total = predicted - wanted, np.maximum(v.sum(), 1)
        return (v * np.log(np.cosh(d))).sum() / total, {"predicted": v * np.tanh(d) / total}

    def stable(predicted, wanted, length):
        v = valid(length, *predicted.shape)
        d, total = np.abs(predicted - wanted), np.maximum(v.sum(), 1)
        j = (v * (d + np.log1p(np.exp(-2 * d)) - np.log(2))).sum() / total
        return j, {"predicted": v * np.sign(predicted - wanted) * -np.expm1(-2 * d) / (1 + np.exp(-2 * d)) / total}

    return stable if switch == "by_exponentials" else both


def lengths_reference(predicted, wanted, length):
    v = (torch.arange(predicted.shape[1]) < length[:, None]).to(predicted.dtype)
    return (v * torch.log(torch.cosh(predicted - wanted))).sum() / v.sum().clamp(min=1)


CASES += family(
    "lengths", lengths_loss, lambda: lengths_reference,
    {"inputs": {"predicted": ("n", "t"), "wanted": constant(("n", "t")), "length": indices("t", ("n",))}},
    {
        "stops_in_the_row": "A sequence as long as the row loses its last step, as the stop is put there.",
        "wraps": "A sequence as long as the row has no valid step at all, as its stop wraps round to the first.",
    },
    right=("right", "by_exponentials"),
)  # fmt: skip

# --- a distance of spectra ------------------------------------------------------------------------------------


def spectral(switch):
    def both(predicted, wanted):
        t = predicted.shape[-1]
        d = np.fft.rfft(predicted - wanted)
        bins = d.shape[-1]
        j = (d.real**2 + d.imag**2).sum() / (d.size * t)
        weight = np.ones(bins)
        inner = slice(1, None) if switch == "last_bin_twice" else slice(1, (t + 1) // 2)
        if switch != "by_definition":
            weight[inner] = 0.5  # irfft adds each of these and its mirror image
            return j, {"predicted": 2 * np.fft.irfft(d * weight, t) / d.size}
        angle = 2 * np.pi * np.outer(np.arange(bins), np.arange(t)) / t
        return j, {"predicted": 2 * (d.real @ np.cos(angle) - d.imag @ np.sin(angle)) / (d.size * t)}

    return both


def spectral_reference(predicted, wanted):
    return (torch.fft.rfft(predicted - wanted).abs() ** 2).mean() / predicted.shape[-1]


CASES += family(
    "spectra", spectral, lambda: spectral_reference,
    {"inputs": {"predicted": ("b", "c", "t"), "wanted": constant(("b", "c", "t"))}},
    {"last_bin_twice": "Of an even number of samples the last bin has no mirror image, but is halved all the same."},
    right=("right", "by_definition"),
)  # fmt: skip

# --- overlap of segmentations, over the pictures that show something ------------------------------------------


def overlap(switch):
    def both(logit, shown):
        t = shown.astype(logit.dtype)
        p = 0.5 * (1 + np.tanh(0.5 * logit))
        inside, both_sizes = (p * t).sum(1), (p + t).sum(1)
        used = np.ones(len(t)) if switch == "empty_pictures_too" else t.any(1).astype(float)
        if switch == "full_pictures_left_out":
            used = used * (t.min(1) < 1)
        n = max(used.sum(), 1)
        j = (used * (1 - 2 * inside / both_sizes)).sum() / n
        slope = (2 * inside[:, None] / both_sizes[:, None] - 2 * t) / both_sizes[:, None]
        return j, {"logit": used[:, None] / n * slope * p * (1 - p)}

    def by_quotient(logit, shown):
        t = shown.astype(logit.dtype)
        e = np.exp(-np.abs(logit))
        p = np.where(logit >= 0, 1.0, e) / (1 + e)
        inside, sizes = np.einsum("ip,ip->i", p, t), p.sum(1) + t.sum(1)
        used = np.sign(t.sum(1))
        n = np.maximum(used.sum(), 1)
        dice = 2 * inside / sizes
        g = (dice[:, None] - 2 * t) / sizes[:, None] * (e / (1 + e) ** 2)
        return (used - used * dice).sum() / n, {"logit": used[:, None] * g / n}

    return by_quotient if switch == "by_quotient" else both


def overlap_reference(logit, shown):
    t, p = shown.to(logit.dtype), torch.sigmoid(logit)
    used = shown.any(1).to(logit.dtype)
    return (used * (1 - 2 * (p * t).sum(1) / (p + t).sum(1))).sum() / used.sum().clamp(min=1)


CASES += family(
    "overlap", overlap, lambda: overlap_reference, {"inputs": {"logit": ("n", "p"), "shown": mask(("n", "p"))}},
    {
        "empty_pictures_too": "Pictures that show nothing count too, with loss 1, where they are to be left out.",
        "full_pictures_left_out": "Pictures that are shown all over are left out too.",
    },
    right=("right", "by_quotient"),
)  # fmt: skip

# --- a normal distribution with a least variance --------------------------------------------------------------

LEAST = 1e-6


def normal(switch):
    def both(mean, log_variance, value):
        free = np.exp(log_variance)
        variance = free if switch == "no_least" else np.maximum(free, LEAST)
        d, n = value - mean, mean.size
        j = 0.5 * (np.log(variance) + d * d / variance).sum() / n
        by_variance = 0.5 * (1 / variance - d * d / variance**2) / n
        g = by_variance * free
        if switch not in ("no_least", "passes_below"):
            g = g * (free >= LEAST)
        if switch == "held_as_free":
            g = by_variance * variance
        return j, {"mean": -d / variance / n, "log_variance": g}

    def by_precision(mean, log_variance, value):
        held = np.maximum(log_variance, np.log(LEAST))
        z = (value - mean) * np.exp(-held / 2)
        n = mean.size
        g = 0.5 * (1 - z * z) * np.where(log_variance < np.log(LEAST), 0.0, 1.0)
        return 0.5 * (held + z * z).sum() / n, {"mean": -z * np.exp(-held / 2) / n, "log_variance": g / n}

    return by_precision if switch == "by_precision" else both


def normal_reference(mean, log_variance, value):
    variance = torch.exp(log_variance).clamp(min=LEAST)
    return 0.5 * (torch.log(variance) + (value - mean) ** 2 / variance).mean()


CASES += family(
    "normal_likelihood", normal, lambda: normal_reference,
    {"inputs": {"mean": ("n",), "log_variance": ("n",), "value": constant(("n",))}},
    {
        "no_least": "The variance has no least value of 0.000001.",
        "passes_below": "Where the variance is held at its least, its gradient still passes on to the log-variance.",
        "held_as_free": "The gradient by the log-variance takes the held variance as if it were still free.",
    },
    right=("right", "by_precision"),
)  # fmt: skip

# --- pairs that are alike or not, by their cosine -------------------------------------------------------------

MARGIN = 0.8


def cosines(switch):
    def both(a, b, alike):
        la, lb = np.sqrt((a * a).sum(1, keepdims=True)), np.sqrt((b * b).sum(1, keepdims=True))
        ua, ub = a / la, b / lb
        cos = (ua * ub).sum(1)
        over = cos > MARGIN
        j = np.where(alike, 1 - cos, np.where(over, cos - MARGIN, 0.0)).mean()
        slope = np.where(alike, -1.0, np.where(over, 1.0, 0.0))
        if switch == "sign_of_unlike":
            slope = np.where(alike | over, -1.0, 0.0)
        if switch == "slope_of_the_share":
            slope = np.where(alike, -1.0, np.where(over, (cos - MARGIN) / (1 - MARGIN), 0.0))
        if switch == "unlike_shut":
            slope = -alike.astype(a.dtype)
        slope = slope[:, None] / len(a)
        return j, {"a": slope * (ub - cos[:, None] * ua) / la, "b": slope * (ua - cos[:, None] * ub) / lb}

    def by_products(a, b, alike):
        aa, bb, ab = (np.einsum("ij,ij->i", p, q) for p, q in ((a, a), (b, b), (a, b)))
        cos = ab / np.sqrt(aa * bb)
        j = np.where(alike, 1 - cos, np.maximum(cos - MARGIN, 0)).sum() / len(a)
        slope = (np.where(alike, -1.0, (cos > MARGIN) * 1.0) / len(a) / np.sqrt(aa * bb))[:, None]
        return j, {"a": slope * (b - (ab / aa)[:, None] * a), "b": slope * (a - (ab / bb)[:, None] * b)}

    return by_products if switch == "by_products" else both


def cosines_reference(a, b, alike):
    cos = torch.nn.functional.cosine_similarity(a, b)
    return torch.where(alike, 1 - cos, torch.relu(cos - MARGIN)).mean()


CASES += family(
    "cosine_embedding", cosines, lambda: cosines_reference,
    {"inputs": {"a": ("n", 24), "b": ("n", 24), "alike": mask(("n",))}},
    {
        "sign_of_unlike": "Pairs that are not alike, but whose cosine is over the margin, are drawn nearer still.",
        "slope_of_the_share": "The slope of an unlike pair over the margin is its share of the margin, not 1.",
        "unlike_shut": "Unlike pairs have no gradient, even where their cosine is over the margin.",
    },
)  # fmt: skip

# --- triplets within a batch ----------------------------------------------------------------------------------


def triplets(switch):
    def both(x, label):
        n = len(x)
        same = label[:, None] == label
        other = ~same
        apart = x[:, None] - x
        d = (apart * apart).sum(-1)
        pairs = same & ~np.eye(n, dtype=bool)
        valid = pairs[:, :, None] & other[:, None, :]
        over = 1.0 + d[:, :, None] - d[:, None, :]
        active = (valid & (over > 0)).astype(x.dtype)
        count = valid.sum() if switch == "no_triplet_no_number" else max(valid.sum(), 1)
        slope = (active.sum(2) - active.sum(1)) / count
        pull = slope + slope.T
        return (active * over).sum() / count, {"x": 2 * (pull.sum(1)[:, None] * x - pull @ x)}

    return both


def triplets_reference(x, label):
    same = label[:, None] == label
    d = ((x[:, None] - x) ** 2).sum(-1)
    pairs = same & ~torch.eye(len(x), dtype=torch.bool)
    valid = (pairs[:, :, None] & ~same[:, None, :]).to(x.dtype)
    return (valid * torch.relu(1 + d[:, :, None] - d[:, None, :])).sum() / valid.sum().clamp(min=1)


CASES += family(
    "triplets", triplets, lambda: triplets_reference, {"inputs": {"x": ("n", "d"), "label": indices(4, ("n",))}},
    {"no_triplet_no_number": "A batch of one class alone, without a triplet, divides 0 by 0 where the loss is 0."},
)  # fmt: skip
