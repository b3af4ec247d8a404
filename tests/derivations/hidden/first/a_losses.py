"""Losses of an output and a target."""

from __future__ import annotations

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []

# --- pairs of a ranking ---------------------------------------------------------------------------------------


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def ranked(switch):
    def pairs(target):
        above = target[:, None] > target
        if switch == "ties_too":
            above = target[:, None] >= target
            np.fill_diagonal(above, False)
        return above.astype(float)

    def count(target):
        n = len(target)
        return n * (n - 1) / 2 if switch == "all_pairs_counted" else pairs(target).sum()

    def loss(output, target):
        apart = output[:, None] - output
        return (pairs(target) * softplus(-apart)).sum() / count(target)

    def gradient(output, target):
        pull = -pairs(target) * sigmoid(output - output[:, None]) / count(target)
        return pull.sum(1) - pull.sum(0)

    def both_by_order(output, target):
        order = np.argsort(target, kind="stable")
        s, t = output[order], target[order]
        below = np.searchsorted(t, t, side="left")  # so many lie below each
        g, total, n = np.zeros(len(s)), 0.0, 0
        for i in range(len(s)):
            apart = s[i] - s[: below[i]]
            total = total + softplus(-apart).sum()
            pull = sigmoid(-apart)
            g[i] -= pull.sum()
            g[: below[i]] += pull
            n += int(below[i])
        back = np.argsort(order, kind="stable")
        return total / n, g[back] / n

    def both_by_rank(output, target):
        order = np.argsort(target)
        s, n = output[order], len(output)
        weight = np.tri(n, k=-1)
        pull = weight * sigmoid(s - s[:, None])
        g = np.zeros(n)
        g[order] = (pull.sum(0) - pull.sum(1)) * 2 / (n * (n - 1))
        return (weight * softplus(s - s[:, None])).sum() * 2 / (n * (n - 1)), g

    return {"by_order": both_by_order, "by_rank": both_by_rank}.get(switch, (loss, gradient))


def ranked_reference(output, target):
    above = (target[:, None] > target).to(output.dtype)
    return (above * torch.nn.functional.softplus(output - output[:, None])).sum() / above.sum()


CASES += family(
    "pairwise_ranking", ranked, lambda: ranked_reference, {"output": ("n",), "target": ("n",)},
    {
        "ties_too": "Pairs of equal relevance are taken as ordered, both ways round.",
        "all_pairs_counted": "It is divided by all pairs, those of equal relevance among them, which have no loss.",
        "by_rank": "Whatever is sorted after another one of equal relevance is ranked above it.",
    },
    right=("right", "by_order"),
)  # fmt: skip

# --- Kullback–Leibler from a distribution ---------------------------------------------------------------------


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def divergence(switch):
    def own(target):
        if switch == "log_of_zero":
            return target * np.log(target)
        if switch == "small_dropped":
            kept = target > 1e-3
            return np.where(kept, target * np.log(np.where(kept, target, 1.0)), 0.0)
        return np.where(target > 0, target * np.log(np.where(target > 0, target, 1.0)), 0.0)

    def loss(output, target):
        return (own(target) - target * log_softmax(output)).sum() / len(output)

    def gradient(output, target):
        p = np.exp(log_softmax(output))
        if switch == "rows_sum_to_one":
            return (p - target) / len(output)
        return (p * target.sum(-1, keepdims=True) - target) / len(output)

    return loss, gradient


def divergence_reference(output, target):
    return torch.nn.functional.kl_div(output.log_softmax(-1), target, reduction="batchmean")


def distributions(rng):
    return rng.dirichlet(np.full(5, 8.0), 6)


CASES += family(
    "divergence", divergence, lambda: divergence_reference, {"output": (6, 5), "target": distributions},
    {
        "log_of_zero": "A class of probability 0 in the target gives NaN, where t·log t is 0.",
        "small_dropped": "Probabilities of the target up to 0.001 are left out of its entropy.",
        "rows_sum_to_one": "A target's row is taken to sum to 1: rows of padding, all 0, are given a gradient.",
    },
)  # fmt: skip

# --- cross-entropy over classes in chunks ---------------------------------------------------------------------

CHUNK = 16


def chunked(switch):
    def normaliser(z):
        top, total = np.full(len(z), -1e30, z.dtype), np.zeros(len(z), z.dtype)
        for start in range(0, z.shape[1], CHUNK):
            part = z[:, start : start + CHUNK]
            higher = np.maximum(top, part.max(1))
            kept = total if switch == "not_rescaled" else total * np.exp(top - higher)
            if switch == "top_of_the_chunk":
                higher = part.max(1)
            total = kept + np.exp(part - higher[:, None]).sum(1)
            top = higher
        return top + np.log(total)

    def loss(output, target):
        return (normaliser(output) - output[np.arange(len(output)), target]).mean()

    def gradient(output, target):
        p = np.exp(output - normaliser(output)[:, None])
        if switch == "each_chunk_its_own":
            for start in range(0, output.shape[1], CHUNK):
                part = output[:, start : start + CHUNK]
                p[:, start : start + CHUNK] = np.exp(log_softmax(part))
        p[np.arange(len(p)), target] -= 1
        return p / len(p)

    return loss, gradient


CASES += family(
    "cross_entropy_in_chunks", chunked, lambda: torch.nn.CrossEntropyLoss(), {"output": (6, 10), "target": "class"},
    {
        "not_rescaled": "Where a later chunk of classes has a higher maximum, the sum so far is not rescaled to it.",
        "top_of_the_chunk": "The sum is kept relative to each chunk's own maximum, but rescaled to the running one.",
        "each_chunk_its_own": "In the gradient each chunk of classes has a softmax of its own.",
    },
)  # fmt: skip

# --- cross-entropy of rows or of pictures ---------------------------------------------------------------------


def pictured(switch):
    def parts(output, target):
        axis = -1 if switch == "last_axis" else 1
        z = output - output.max(axis, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis, keepdims=True))
        shape = [1] * output.ndim
        shape[axis] = -1
        classes = np.arange(output.shape[axis]).reshape(shape)
        return log_p, (np.expand_dims(target, axis) == classes).astype(float)

    def count(target):
        return len(target) if switch == "examples_counted" else target.size

    def loss(output, target):
        log_p, one_hot = parts(output, target)
        return -(one_hot * log_p).sum() / count(target)

    def gradient(output, target):
        log_p, one_hot = parts(output, target)
        return (np.exp(log_p) - one_hot) / count(target)

    return loss, gradient


CASES += family(
    "cross_entropy_of_pictures", pictured, lambda: torch.nn.CrossEntropyLoss(), {"output": (4, 5), "target": "class"},
    {
        "last_axis": "The classes are taken along the last axis: in pictures (N, C, H, W) they lie along the second.",
        "examples_counted": "The mean is over examples: of pictures it is over all their pixels.",
    },
)  # fmt: skip

# --- minutes of the day, as a regression ----------------------------------------------------------------------

DAY = 1440.0


def of_the_day(switch):
    def apart(output, target):
        d = output - target
        if switch == "unwrapped":
            return d
        if switch == "once":
            return d - DAY * (d >= DAY / 2) + DAY * (d < -DAY / 2)
        return d - DAY * np.floor(d / DAY + 0.5)

    def loss(output, target):
        return (apart(output, target) ** 2).mean()

    def gradient(output, target):
        d = output - target if switch == "gradient_unwrapped" else apart(output, target)
        return 2 * d / d.size

    return loss, gradient


def of_the_day_reference(output, target):
    return ((torch.remainder(output - target + DAY / 2, DAY) - DAY / 2) ** 2).mean()


CASES += family(
    "time_of_day", of_the_day, lambda: of_the_day_reference, {"output": (5, 3), "target": (5, 3)},
    {
        "unwrapped": "23:59 and 0:01 are taken to be a day apart.",
        "gradient_unwrapped": "The gradient takes the difference as it is before it is wrapped to half a day.",
        "once": "Differences of more than one and a half days are wrapped once only.",
    },
)  # fmt: skip

# --- relative errors ------------------------------------------------------------------------------------------

LEAST = 1e-4


def relative(switch):
    def size(target):
        if switch == "no_least":
            return np.abs(target)
        if switch == "least_of_the_mean":
            return np.maximum(np.abs(target), LEAST * np.abs(target).mean())
        return np.maximum(np.abs(target), LEAST)

    def weight(target):
        if switch == "small_left_out":
            return 1 / np.maximum(np.abs(target), LEAST) * (np.abs(target) > LEAST)
        return 1 / size(target)

    def loss(output, target):
        return (np.abs(output - target) * weight(target)).mean()

    def gradient(output, target):
        return np.sign(output - target) * weight(target) / output.size

    return loss, gradient


def relative_reference(output, target):
    return ((output - target).abs() / target.abs().clamp(min=LEAST)).mean()


CASES += family(
    "relative_error", relative, lambda: relative_reference, {"output": (6, 3), "target": (6, 3)},
    {
        "no_least": "A target of 0 divides by 0, where the divisor is at least 0.0001.",
        "least_of_the_mean": "The least divisor is a share of the mean target, not 0.0001 itself.",
        "small_left_out": "Targets nearer to 0 than 0.0001 have no loss, where they have one over 0.0001.",
    },
)  # fmt: skip

# --- Huber with a δ for every column --------------------------------------------------------------------------

DELTA = np.array([1.0, 60.0, 90.0])  # in the units of each column


def columns(switch):
    def loss(output, target):
        d = np.abs(output - target)
        if switch == "no_delta":
            return (0.5 * d * d).mean()
        start = 0.5 if switch == "slope_one" else 0.5 * DELTA**2
        slope = 1.0 if switch == "slope_one" else DELTA
        return np.where(d <= DELTA, 0.5 * d * d, slope * d - start).mean()

    def gradient(output, target):
        d = output - target
        if switch == "slope_one":
            return np.where(np.abs(d) <= DELTA, d, np.sign(d)) / d.size
        if switch == "root_of_delta":
            return np.where(np.abs(d) <= DELTA, d, np.sqrt(DELTA) * np.sign(d)) / d.size
        if switch == "first_delta":
            return np.where(np.abs(d) <= DELTA, d, DELTA[0] * np.sign(d)) / d.size
        return np.clip(d, -DELTA, DELTA) / d.size

    def loss_by_clip(output, target):
        d = output - target
        c = np.clip(d, -DELTA, DELTA)
        return (c * (d - 0.5 * c)).mean()

    return (loss_by_clip if switch == "by_clip" else loss), gradient


def columns_reference(output, target):
    d, delta = (output - target).abs(), torch.as_tensor(DELTA, dtype=output.dtype)
    return torch.where(d <= delta, 0.5 * d * d, delta * d - 0.5 * delta**2).mean()


CASES += family(
    "huber_by_column", columns, lambda: columns_reference, {"output": (6, 3), "target": (6, 3)},
    {
        "slope_one": "Beyond δ the loss rises with slope 1, and not with δ, which is 1 for the first column alone.",
        "root_of_delta": "Beyond δ the gradient is √δ, not δ.",
        "first_delta": "Beyond δ the gradient is the first column's δ in every column.",
    },
    right=("right", "by_clip"),
)  # fmt: skip

# --- an ensemble's score --------------------------------------------------------------------------------------


def ensemble(switch):
    """The continuous ranked probability score of an ensemble, whose members stand in a row."""

    def both(output, target):
        n, m = output.shape
        lines = np.sort(output, axis=1)
        below = np.array([np.searchsorted(line, row, "left") for line, row in zip(lines, output, strict=True)])
        above = m - np.array([np.searchsorted(line, row, "right") for line, row in zip(lines, output, strict=True)])
        d, lead = output - target[:, None], below - above
        spread = (lead * output).sum(1) / m**2
        return (np.abs(d).mean(1) - spread).mean(), (np.sign(d) / m - lead / m**2) / n

    def both_by_pairs(output, target):
        n, m = output.shape
        d, apart = output - target[:, None], output[:, :, None] - output[:, None, :]
        j = np.abs(d).sum() / (n * m) - np.abs(apart).sum() / (2 * n * m * m)
        return j, np.sign(d) / (n * m) - np.sign(apart).sum(2) / (n * m * m)

    return both if switch == "by_rank" else both_by_pairs


def ensemble_reference(output, target):
    apart = (output[:, :, None] - output[:, None, :]).abs().mean((1, 2)) / 2
    return ((output - target[:, None]).abs().mean(1) - apart).mean()


CASES += family("ensemble_score", ensemble, lambda: ensemble_reference, {"output": (5, 7), "target": (5,)}, {},
                right=("right", "by_rank"))  # fmt: skip
