"""Losses: of an output and a target, and of several inputs."""

from __future__ import annotations

import numpy as np
import torch

from handgrad import constant, indices, mask
from tests.derivations.hidden.case import family

CASES = []

# --- how far a predicted flow ends from the true one ----------------------------------------------------------


def endpoint(switch):
    def parts(output, target):
        d = output - target
        return d, np.sqrt((d * d).sum(-1))

    def loss(output, target):
        d, size = parts(output, target)
        return np.abs(d).sum(-1).mean() if switch == "blocks" else size.mean()

    def gradient(output, target):
        d, size = parts(output, target)
        if switch == "blocks":
            return np.sign(d) / len(d)
        if switch == "no_zero":
            return d / size[:, None] / len(d)
        if switch == "held_above_a_tenth":
            return d / np.maximum(size, 0.1)[:, None] / len(d)
        return d / np.where(size > 0, size, 1.0)[:, None] / len(d)

    def both(output, target):
        d = output - target
        size = np.hypot(d[:, 0], d[:, 1])
        unit = np.divide(d, size[:, None], out=np.zeros_like(d), where=size[:, None] > 0)
        return np.add.reduce(size) / len(d), unit / len(d)

    return both if switch == "by_hypot" else (loss, gradient)


def endpoint_reference(output, target):
    return torch.linalg.vector_norm(output - target, dim=-1).mean()


CASES += family(
    "endpoint_error", endpoint, lambda: endpoint_reference, {"output": ("n", 2), "target": ("n", 2)},
    {
        "no_zero": "Where a flow is predicted exactly, as for a still background, it is 0/0, NaN, and not 0.",
        "held_above_a_tenth": "The gradient of an error below 0.1 shrinks with it, where it has length 1/n.",
        "blocks": "The errors of the two coordinates are added, where the length of the error is wanted.",
    },
    right=("right", "by_hypot"),
)  # fmt: skip

# --- counts -------------------------------------------------------------------------------------------------


def poisson(switch):
    def stirling(count):
        big = count >= 1 if switch == "from_one_on" else count > 1
        n = np.where(big, count, 1.0)
        factor = 1.0 if switch == "root_of_pi" else 2.0
        return np.where(big, n * np.log(n) - n + 0.5 * np.log(factor * np.pi * n), 0.0)

    def both(rate, count):
        e = np.exp(rate)
        n = count.astype(rate.dtype)
        return (e - n * rate + stirling(n)).mean(), {"rate": (e - n) / rate.size}

    return both


def poisson_reference(rate, count):
    return torch.nn.functional.poisson_nll_loss(rate, count.to(rate.dtype), full=True)


CASES += family(
    "poisson_of_counts", poisson, lambda: poisson_reference,
    {"inputs": {"rate": ("n", "d"), "count": indices(9, ("n", "d"))}},
    {
        "from_one_on": "A count of 1 has the approximation of its factorial added, which is for counts above 1.",
        "root_of_pi": "The approximation of log n! has log √(πn), where it is log √(2πn).",
    },
)  # fmt: skip

# --- a detector: most places are background, class 0 ----------------------------------------------------------


def detector(switch):
    def both(logit, label):
        things = (label > 0).sum()
        n = things if switch == "nothing_shown" else max(int(things), 1)
        if switch == "one_more":
            n = things + 1
        t = (label[:, None] == np.arange(1, logit.shape[1] + 1)).astype(logit.dtype)
        p = 1 / (1 + np.exp(-logit))
        alpha = np.where(t > 0, 0.25, 0.75)
        log_p, log_q = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
        each = np.where(t > 0, -((1 - p) ** 2) * log_p, -(p**2) * log_q)
        slope = np.where(
            t > 0, (1 - p) ** 2 * (2 * p * log_p - (1 - p)), p**2 * (p - 2 * (1 - p) * log_q)
        )
        if switch == "weight_constant":
            slope = np.where(t > 0, -((1 - p) ** 3), p**3)
        return (alpha * each).sum() / n, {"logit": alpha * slope / n}

    def by_sign(logit, label):
        n = np.maximum(np.count_nonzero(label), 1)
        sign = -np.ones_like(logit)
        rows = np.flatnonzero(label)
        sign[rows, label[rows] - 1] = 1.0
        z = sign * logit
        q = np.exp(-np.logaddexp(0, z))  # 1 − the probability of what is so
        each = q * q * np.logaddexp(0, -z)
        slope = -sign * q * q * (2 * (1 - q) * np.logaddexp(0, -z) + q)
        alpha = 0.5 - 0.25 * sign
        return np.vdot(alpha, each) / n, {"logit": alpha * slope / n}

    return by_sign if switch == "by_sign" else both


def detector_reference(logit, label):
    t = (label[:, None] == torch.arange(1, logit.shape[1] + 1)).to(logit.dtype)
    p = torch.sigmoid(logit)
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logit, t, reduction="none")
    each = (0.25 * t + 0.75 * (1 - t)) * (t * (1 - p) + (1 - t) * p) ** 2 * cross
    return each.sum() / max(int((label > 0).sum()), 1)


CASES += family(
    "detector", detector, lambda: detector_reference, {"inputs": {"logit": ("n", 3), "label": indices(4, ("n",))}},
    {
        "nothing_shown": "A picture of background alone divides by 0 things, where it divides by 1.",
        "one_more": "It is divided by one more than the number of things.",
        "weight_constant": "The focal weight is held constant in the gradient.",
    },
    right=("right", "by_sign"),
)  # fmt: skip

# --- documents of graded relevance ----------------------------------------------------------------------------


def listwise(switch):
    def shares(grade, kind):
        total = grade.sum()
        if switch == "none_relevant":
            return grade / total
        if total == 0:
            return np.full(len(grade), 1 / len(grade), kind) if switch == "uniform" else np.zeros(len(grade), kind)
        return grade.astype(kind) / total

    def both(score, grade):
        share = shares(grade, score.dtype)
        top = score.max()
        e = np.exp(score - top)
        log_p = score - top - np.log(e.sum())
        return -(share * log_p).sum(), {"score": e / e.sum() * share.sum() - share}

    def shares_of_one(score, grade):
        share = shares(grade, score.dtype)
        log_p = score - np.logaddexp.reduce(score)
        g = np.exp(log_p) - share
        return -share @ log_p, {"score": g if switch == "shares_of_one" or grade.any() else 0 * g}

    return shares_of_one if switch in ("shares_of_one", "by_logaddexp") else both


def listwise_reference(score, grade):
    return -(grade / max(int(grade.sum()), 1) * score.log_softmax(0)).sum()


CASES += family(
    "graded_documents", listwise, lambda: listwise_reference,
    {"inputs": {"score": ("n",), "grade": indices(4, ("n",))}},
    {
        "none_relevant": "A query without a relevant document, all grades 0, gives 0/0, NaN, where its loss is 0.",
        "uniform": "A query without a relevant document is drawn to equal scores, where its loss is 0.",
        "shares_of_one": "The shares are taken to sum to 1 in the gradient: where all grades are 0 they do not.",
    },
    right=("right", "by_logaddexp"),
)  # fmt: skip

# --- rows that stand for several --------------------------------------------------------------------------


def repeated(switch):
    def both(predicted, wanted, times):
        d = predicted - wanted
        w = times.astype(d.dtype)
        total = times.sum()
        n = total if switch == "all_left_out" else max(int(total), 1)
        if switch == "rows_counted":
            n = max(int((times > 0).sum()), 1)
        mean = (w * predicted).sum() / n
        j = (w * d * d).sum() / n + mean * mean
        g = 2 * w * d / n
        return j, {"predicted": g if switch == "mean_constant" else g + 2 * w * mean / n}

    def by_repeating(predicted, wanted, times):
        rows = np.repeat(np.arange(len(times)), times)
        if not len(rows):
            return 0.0 * predicted.sum(), {"predicted": np.zeros_like(predicted)}
        d, mean = (predicted - wanted)[rows], predicted[rows].mean()
        g = np.bincount(rows, 2 * (d + mean) / len(rows), len(times))
        return (d * d).mean() + mean**2, {"predicted": g}

    return by_repeating if switch == "by_repeating" else both


def repeated_reference(predicted, wanted, times):
    n = max(int(times.sum()), 1)
    return (times * (predicted - wanted) ** 2).sum() / n + ((times * predicted).sum() / n) ** 2


CASES += family(
    "repeated_rows", repeated, lambda: repeated_reference,
    {"inputs": {"predicted": ("n",), "wanted": constant(("n",)), "times": indices(3, ("n",))}},
    {
        "all_left_out": "Where every row is to count 0 times it is 0/0, NaN, where the loss is 0.",
        "rows_counted": "It is divided by the number of rows, not by how often they count altogether.",
        "mean_constant": "The mean in the penalty is held constant in the gradient.",
    },
    right=("right", "by_repeating"),
)  # fmt: skip

# --- boxes that overlap -----------------------------------------------------------------------------------


def boxes(switch):
    def both(box, truth):
        half, full = np.exp(box[:, 2:]) / 2, np.exp(truth[:, 2:]) / 2
        low = np.maximum(box[:, :2] - half, truth[:, :2] - full)
        high = np.minimum(box[:, :2] + half, truth[:, :2] + full)
        by_low = np.heaviside(box[:, :2] - half - (truth[:, :2] - full), 0.5)
        by_high = np.heaviside(truth[:, :2] + full - (box[:, :2] + half), 0.5)
        side = high - low
        if switch == "product_clamped":
            raw = side[:, 0] * side[:, 1]
            on = (raw > 0)[:, None].astype(box.dtype)
            inside, pull = np.maximum(raw, 0), on * side[:, ::-1]
        else:
            held = np.maximum(side, 0)
            inside = held[:, 0] * held[:, 1]
            pull = (side > 0) * held[:, ::-1]
        area, other = 4 * half[:, 0] * half[:, 1], 4 * full[:, 0] * full[:, 1]
        union = area + other - inside
        n = len(box)
        by_inside = -(1 / union + inside / union**2) / n
        by_area = inside / union**2 / n
        if switch == "union_constant":
            by_inside, by_area = -1 / union / n, 0 * by_area
        centre = by_inside[:, None] * pull * (by_high - by_low)
        size = by_inside[:, None] * pull * (by_high + by_low) * half + (by_area * area)[:, None]
        return (1 - inside / union).mean(), {"box": np.concatenate([centre, size], 1)}

    return both


def boxes_reference(box, truth):
    half, full = box[:, 2:].exp() / 2, truth[:, 2:].exp() / 2
    low = torch.maximum(box[:, :2] - half, truth[:, :2] - full)
    high = torch.minimum(box[:, :2] + half, truth[:, :2] + full)
    inside = (high - low).clamp(min=0).prod(1)
    union = 4 * half.prod(1) + 4 * full.prod(1) - inside
    return (1 - inside / union).mean()


CASES += family(
    "boxes", boxes, lambda: boxes_reference, {"inputs": {"box": ("n", 4), "truth": constant(("n", 4))}},
    {
        "product_clamped": "Boxes that are apart in both directions overlap, as two negative sides are multiplied.",
        "union_constant": "The union is held constant in the gradient.",
    },
)  # fmt: skip

# --- grades in their order ------------------------------------------------------------------------------------


def graded(switch):
    """Logits of grade > 0, grade > 1, …; the mean is over those of a known grade: 0 is unknown."""

    def both(logit, grade):
        known = grade > 0
        k = np.arange(1, logit.shape[1] + 1)
        above = (grade[:, None] > k).astype(logit.dtype)
        n = known.sum() if switch == "none_known" else max(int(known.sum()), 1)
        w = known[:, None].astype(logit.dtype)
        if switch == "unknown_is_lowest":
            w, n = np.ones_like(w), len(w)
        each = np.logaddexp(0, logit) - above * logit
        g = np.exp(-np.logaddexp(0, -logit)) - above
        return (w * each).sum() / n, {"logit": w * g / n}

    def by_rows(logit, grade):
        rows = np.flatnonzero(grade)
        g, j = np.zeros_like(logit), 0.0
        for i in rows.tolist():
            sign = np.where(np.arange(logit.shape[1]) < grade[i] - 1, 1.0, -1.0)
            j = j + np.logaddexp(0, -sign * logit[i]).sum()
            g[i] = -sign * np.exp(-np.logaddexp(0, sign * logit[i])) / len(rows)
        return j / max(len(rows), 1), {"logit": g}

    return by_rows if switch == "by_rows" else both


def graded_reference(logit, grade):
    known = (grade > 0)[:, None].to(logit.dtype)
    above = (grade[:, None] > torch.arange(1, logit.shape[1] + 1)).to(logit.dtype)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logit, above, reduction="none")
    return (known * each).sum() / max(int(known.sum()), 1)


CASES += family(
    "ordered_grades", graded, lambda: graded_reference, {"inputs": {"logit": ("n", 3), "grade": indices(5, ("n",))}},
    {
        "none_known": "A batch without a known grade, all of them 0, divides 0 by 0, where its loss is 0.",
        "unknown_is_lowest": "Rows of unknown grade count as of the lowest one.",
    },
    right=("right", "by_rows"),
)  # fmt: skip

# --- changes within a recording -----------------------------------------------------------------------------


def changes(switch):
    def both(value, recording):
        same = recording[1:] == recording[:-1]
        step = value[1:] - value[:-1]
        n = same.sum() if switch == "no_pair" else max(int(same.sum()), 1)
        if switch == "pairs_of_all":
            n = max(len(step), 1)
        w = same.astype(value.dtype) / n
        g = np.zeros_like(value)
        g[1:] += w * np.tanh(step)
        g[:-1] -= w * np.tanh(step)
        return (w * np.log(np.cosh(step))).sum(), {"value": g}

    def by_padding(value, recording):
        same = np.flatnonzero(np.diff(recording) == 0)
        step = np.abs(np.diff(value))
        n = max(same.size, 1)
        pull = np.zeros(len(value) + 1)
        pull[same + 1] = np.tanh(np.diff(value)[same]) / n
        j = (step[same] + np.log1p(np.exp(-2 * step[same])) - np.log(2)).sum() / n
        return j, {"value": -np.diff(pull)}

    return by_padding if switch == "by_padding" else both


def changes_reference(value, recording):
    same = (recording[1:] == recording[:-1]).to(value.dtype)
    step = value[1:] - value[:-1]
    return (same * torch.log(torch.cosh(step))).sum() / max(int(same.sum()), 1)


CASES += family(
    "changes_in_a_recording", changes, lambda: changes_reference,
    {"inputs": {"value": ("n",), "recording": indices(4, ("n",))}},
    {
        "no_pair": "Where no two neighbours are of one recording it is 0/0, NaN, where the loss is 0.",
        "pairs_of_all": "It is divided by all neighbours, not by those of one recording.",
    },
    right=("right", "by_padding"),
)  # fmt: skip

# --- the best of several guesses ------------------------------------------------------------------------------


def guesses(switch):
    def both(guess, wanted, seen):
        d = guess - wanted[:, None]
        w = seen.astype(d.dtype)
        each = (d * d * w[:, None]).sum(-1)
        best = np.argmin((d * d).sum(-1) if switch == "chosen_by_all" else each, 1)
        rows = np.arange(len(best))
        n = len(best) if switch == "rows_counted" else max(int(seen.sum()), 1)
        g = np.zeros_like(guess)
        g[rows, best] = 2 * d[rows, best] * w / n
        return each[rows, best].sum() / n, {"guess": g}

    return both


def guesses_reference(guess, wanted, seen):
    each = ((guess - wanted[:, None]) ** 2 * seen[:, None]).sum(-1)
    best = each.argmin(1)
    return each[torch.arange(len(best)), best].sum() / max(int(seen.sum()), 1)


CASES += family(
    "best_guess", guesses, lambda: guesses_reference,
    {"inputs": {"guess": ("n", "k", 3), "wanted": constant(("n", 3)), "seen": mask(("n", 3))}},
    {
        "chosen_by_all": "The best guess is chosen by all coordinates, those too that were not seen.",
        "rows_counted": "It is divided by the number of rows, not by that of the coordinates that were seen.",
    },
)  # fmt: skip
