"""Losses: of an output and a target, and of several inputs."""

from __future__ import annotations

import math

import numpy as np
import torch

from handgrad import constant, indices, mask
from tests.derivations.hidden.case import family

CASES = []


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# --- a margin on the angle, where angles to the classes are given ------------------------------------------

COS, SIN = math.cos(0.5), math.sin(0.5)


def angles(switch):
    def both(angle, label):
        n = len(angle)
        rows = np.arange(n)
        c = np.cos(angle)
        own = c[rows, label]
        s = np.sqrt(1 - own * own + 1e-3)
        near = own > -COS
        if switch == "no_easy_branch":
            near = np.ones_like(near)
        z = 8 * c
        far_value = own - (1 - COS) if switch == "other_margin" else own - 0.5 * SIN
        z[rows, label] = 8 * np.where(near, own * COS - s * SIN, far_value)
        top = z.max(-1, keepdims=True)
        lse = np.log(np.exp(z - top).sum(-1)) + top[:, 0]
        dz = softmax(z)
        dz[rows, label] -= 1
        dc = 8 * dz / n
        slope = COS + SIN * own / s
        if switch == "slope_of_sine_lost":
            slope = np.full_like(slope, COS)
        if switch != "slope_when_far":
            slope = np.where(near, slope, 1)
        dc[rows, label] *= slope
        return (lse - z[rows, label]).mean(), {"angle": -dc * np.sin(angle)}

    return both


def angles_reference(angle, label):
    c = torch.cos(angle)
    own = c.gather(1, label[:, None])
    s = torch.sqrt(1 - own * own + 1e-3)
    moved = torch.where(own > -COS, own * COS - s * SIN, own - 0.5 * SIN)
    return torch.nn.functional.cross_entropy(8 * c.scatter(1, label[:, None], moved), label)


CASES += family(
    "margin_of_angles", angles, lambda: angles_reference,
    {"inputs": {"angle": ("n", "k"), "label": indices("k", ("n",))}},
    {
        "no_easy_branch": "Beyond the angle π − 0.5 the margin is added to the angle, where the cosine is lowered.",
        "slope_when_far": "Beyond that angle the slope is that of the moved angle, where it is 1.",
        "other_margin": "Beyond that angle 1 − cos m is taken off, where m sin m is.",
        "slope_of_sine_lost": "The slope leaves out the derivative of the sine.",
    },
)  # fmt: skip

# --- a policy's clipped objective, with a clip of the value ---------------------------------------------------


def policy(switch):
    def both(log_p, old, gain):
        n = log_p.size
        ratio = np.exp(np.clip(log_p - old, -20, 20))
        free = np.abs(log_p - old) < 20
        if switch == "ratio_not_held":
            ratio, free = np.exp(log_p - old), np.ones_like(free)
        held = np.clip(ratio, 0.8, 1.2)
        a, b = ratio * gain, held * gain
        inside = (ratio > 0.8) & (ratio < 1.2)
        passes = np.where(a < b, 1.0, np.where(a > b, inside, 0.5 + 0.5 * inside))
        if switch == "clipped_is_shut":
            passes = inside.astype(ratio.dtype)
        elif switch == "sign_of_gain_lost":
            passes = (ratio <= 1.2).astype(ratio.dtype)
        return -np.minimum(a, b).sum() / n, {"log_p": -passes * gain * ratio * free / n}

    return both


def policy_reference(log_p, old, gain):
    ratio = (log_p - old).clamp(-20, 20).exp()
    return -torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()


CASES += family(
    "clipped_policy", policy, lambda: policy_reference,
    {"inputs": {"log_p": ("n",), "old": constant(("n",)), "gain": constant(("n",))}},
    {
        "ratio_not_held": "The logarithm of the ratio is not held within ±20.",
        "clipped_is_shut": "Outside of the clip there is no gradient even where the unclipped term is the smaller one.",
        "sign_of_gain_lost": "Whatever the sign of the gain the gradient is shut above the clip and open below it.",
    },
)  # fmt: skip

# --- a value that may move by 0.2 at most ---------------------------------------------------------------------


def values(switch):
    def both(value, old, aim):
        d = value - old
        held = old + np.clip(d, -0.2, 0.2)
        a, b = (value - aim) ** 2, (held - aim) ** 2
        inside = np.abs(d) < 0.2
        larger = np.minimum(a, b) if switch == "smaller" else np.maximum(a, b)
        by_a = np.where(a > b, 1.0, np.where(a < b, 0.0, 0.5))
        if switch == "smaller":
            by_a = np.where(inside, by_a, 1 - by_a)
        g = by_a * (value - aim) + (1 - by_a) * inside * (held - aim)
        if switch == "held_passes":
            g = by_a * (value - aim) + (1 - by_a) * (held - aim)
        return 0.5 * larger.mean(), {"value": g / value.size}

    return both


def values_reference(value, old, aim):
    held = old + (value - old).clamp(-0.2, 0.2)
    return 0.5 * torch.maximum((value - aim) ** 2, (held - aim) ** 2).mean()


CASES += family(
    "clipped_value", values, lambda: values_reference,
    {"inputs": {"value": ("n",), "old": constant(("n",)), "aim": constant(("n",))}},
    {
        "smaller": "The smaller of the two errors is taken, not the larger.",
        "held_passes": "Where the clipped error is the larger the gradient passes, though the value is held.",
    },
)  # fmt: skip

# --- overlap of two masks, as a weight of a loss --------------------------------------------------------------


def overlaps(switch):
    kind = {"in_bytes": np.uint8, "in_signed_bytes": np.int8}.get(switch, np.int64)

    def both(score, true, seen):
        a, b = true.ravel().astype(kind), seen.ravel().astype(kind)
        both_seen = int(a @ b)
        weight = 1 + both_seen / max(int(np.count_nonzero(seen)), 1)
        if switch == "of_the_true":
            weight = 1 + both_seen / max(int(np.count_nonzero(true)), 1)
        d = (score - true) * seen
        return weight * 0.5 * (d * d).sum() / score.size, {"score": weight * d / score.size}

    return both


def overlaps_reference(score, true, seen):
    weight = 1 + (true & seen).sum().to(score.dtype) / seen.sum().clamp(min=1)
    return weight * 0.5 * (((score - true.to(score.dtype)) * seen) ** 2).mean()


CASES += family(
    "weighted_by_overlap", overlaps, lambda: overlaps_reference,
    {"inputs": {"score": ("n", "h", "w"), "true": mask(("n", "h", "w")), "seen": mask(("n", "h", "w"))}},
    {
        "in_bytes": "The overlap is counted in bytes: beyond 255 it begins from 0 again.",
        "in_signed_bytes": "The overlap is counted in signed bytes: beyond 127 it becomes negative.",
        "of_the_true": "The overlap is divided by the true pixels, where it is by those that are seen.",
    },
)  # fmt: skip

# --- the wing of landmarks ------------------------------------------------------------------------------------


def wing(switch):
    w, e = 15.0, 3.0
    c = w - w * math.log(1 + w / e)
    if switch == "offset_rounded":
        c = -11.88
    elif switch == "offset_of_ten":
        c = 10 - 10 * math.log(1 + 10 / 3.0)

    def loss(output, target):
        d = np.abs(output - target)
        return np.where(d < w, w * np.log1p(d / e), d - c).mean()

    def gradient(output, target):
        d = output - target
        a = np.abs(d)
        inner = w / (e + a)
        if switch == "inner_without_e":
            inner = w / (1 + a / e)
        return np.sign(d) * np.where(a < w, inner, 1) / d.size

    return loss, gradient


def wing_reference(output, target):
    d = (output - target).abs()
    c = 15 - 15 * math.log(1 + 15 / 3)
    return torch.where(d < 15, 15 * torch.log1p(d / 3), d - c).mean()


CASES += family(
    "wing", wing, lambda: wing_reference, {"output": ("n", "d"), "target": ("n", "d")},
    {
        "offset_rounded": "Beyond 15 the offset is −11.88, where it is 15 − 15 log 6 = −11.876….",
        "offset_of_ten": "Beyond 15 the offset is that of a wing of 10, so that the loss jumps.",
        "inner_without_e": "Within 15 the slope is not divided by ε = 3.",
    },
)  # fmt: skip

# --- the surrogate of the Jaccard index by sorting ------------------------------------------------------------


def lovasz(switch):
    def weights(true):
        left = true.sum() - np.cumsum(true)
        union = true.sum() + np.cumsum(1 - true)
        if switch == "not_counted_in_union":
            union = true.sum() + np.cumsum(1 - true) - (1 - true)
        index = 1 - left / np.maximum(union, 1)
        if switch != "index_not_differenced":
            index[1:] = index[1:] - index[:-1]
        return index

    def both(logit, true):
        t = true.astype(logit.dtype)
        sign = 2 * t - 1
        error = 1 - logit * sign
        order = np.argsort(-error, kind="stable")
        if switch == "by_size_of_logit":
            order = np.argsort(-np.abs(logit), kind="stable")
        g = weights(t[order])
        sorted_error = error[order]
        back = np.zeros_like(logit)
        back[order] = g * (sorted_error > 0)
        if switch == "negative_errors_pass":
            back[order] = g
        return (np.maximum(sorted_error, 0) * g).sum(), {"logit": -sign * back}

    return both


def lovasz_reference(logit, true):
    t = true.to(logit.dtype)
    error = 1 - logit * (2 * t - 1)
    error, order = torch.sort(error, descending=True, stable=True)
    t = t[order]
    index = 1 - (t.sum() - t.cumsum(0)) / (t.sum() + (1 - t).cumsum(0)).clamp(min=1)
    return torch.relu(error) @ torch.cat([index[:1], index[1:] - index[:-1]])


CASES += family(
    "lovasz_hinge", lovasz, lambda: lovasz_reference, {"inputs": {"logit": ("n",), "true": mask(("n",))}},
    {
        "not_counted_in_union": "The union leaves out the pixel itself.",
        "index_not_differenced": "The index itself weighs the errors, not its differences.",
        "by_size_of_logit": "The errors are sorted by the size of the logit, not by themselves.",
        "negative_errors_pass": "Negative errors have a gradient, where the hinge is 0.",
    },
)  # fmt: skip

# --- contrast of two views, each against both -----------------------------------------------------------------


def contrast(switch):
    def both(a, b):
        z = np.concatenate([a, b])
        n = len(a)
        length = np.maximum(np.sqrt((z * z).sum(-1, keepdims=True)), 1e-3)
        u = z / length
        s = u @ u.T / 0.2
        if switch != "itself_counted":
            np.fill_diagonal(s, -np.inf)
        pair = (np.arange(2 * n) + n) % (2 * n)
        if switch == "pair_is_neighbour":
            pair = np.arange(2 * n) ^ 1
        rows = np.arange(2 * n)
        top = s.max(-1, keepdims=True)
        e = np.exp(s - top)
        total = e.sum(-1, keepdims=True)
        loss = (np.log(total[:, 0]) + top[:, 0] - s[rows, pair]).mean()
        ds = e / total
        ds[rows, pair] -= 1
        ds /= 2 * n
        du = (ds @ u if switch == "one_side" else (ds + ds.T) @ u) / 0.2
        radial = (du * u).sum(-1, keepdims=True) * u
        if switch != "projected_when_short":
            radial = radial * (length > 1e-3)
        dz = (du - radial) / length
        return loss, {"a": dz[:n], "b": dz[n:]}

    return both


def contrast_reference(a, b):
    z = torch.nn.functional.normalize(torch.cat([a, b]), eps=1e-3)
    s = (z @ z.T / 0.2).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(s, torch.arange(len(z)).roll(len(a)))


CASES += family(
    "two_views", contrast, lambda: contrast_reference, {"inputs": {"a": ("n", "d"), "b": ("n", "d")}},
    {
        "itself_counted": "Each view is contrasted with itself, too.",
        "one_side": "The gradient of the similarities goes to their first argument alone.",
        "projected_when_short": "A row shorter than 0.001 loses a part along itself, though its divisor is fixed.",
    },
)  # fmt: skip

# --- quantiles of a return, by the Huber loss -----------------------------------------------------------------


def quantiles(switch):
    def both(q, target):
        k = q.shape[1]
        tau = (np.arange(k) + (0.0 if switch == "lower_ends" else 0.5)) / k
        d = target[:, None, :] - q[:, :, None]
        below = d <= 0 if switch == "never" else d < 0
        w = np.abs(tau[None, :, None] - below)
        if switch == "wrong_side":
            w = np.abs(tau[None, :, None] - (d > 0))
        small = np.abs(d) <= 2
        huber = np.where(small, 0.5 * d * d, 2 * (np.abs(d) - 1)) / 2
        slope = np.clip(d, -2, 2) / 2
        if switch == "kappa_not_divided":
            slope = np.clip(d, -2, 2)
        scale = q.shape[0] * (k if switch == "mean_over_own" else target.shape[1])
        return (w * huber).sum() / scale, {"q": -(w * slope).sum(2) / scale}

    return both


def quantiles_reference(q, target):
    k = q.shape[1]
    tau = (torch.arange(k, dtype=q.dtype) + 0.5) / k
    d = target[:, None, :] - q[:, :, None]
    huber = torch.where(d.abs() <= 2, 0.5 * d * d, 2 * (d.abs() - 1)) / 2
    return ((tau[:, None] - (d < 0).to(q.dtype)).abs() * huber).sum(1).mean()


CASES += family(
    "quantiles_of_returns", quantiles, lambda: quantiles_reference,
    {"inputs": {"q": ("n", "k"), "target": constant(("n", "m"))}},
    {
        "lower_ends": "Each quantile is taken at the lower end of its interval, not in the middle.",
        "wrong_side": "The quantiles are mirrored: the weight is of the other side.",
        "kappa_not_divided": "The gradient is not divided by κ = 2.",
        "mean_over_own": "The mean is over the own quantiles, where it is over the target's.",
    },
)  # fmt: skip
