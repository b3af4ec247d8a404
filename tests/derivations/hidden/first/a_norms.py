"""Normalisations: clipped, of small variance, in blocks, in groups, with running statistics."""

from __future__ import annotations

import numpy as np
import torch

from handgrad import stateful
from tests.derivations.hidden.case import family

CASES = []

# --- z-scores cut at ±5 ---------------------------------------------------------------------------------------

CUT, EPS = 5.0, 1e-5


def clipped(switch):
    def scores(x):
        centred = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + EPS)
        return centred * scale, scale

    def forward(x):
        z, _ = scores(x)
        return z if switch == "not_cut" else np.clip(z, -CUT, CUT)

    def through(dz, z, scale):
        return scale * (dz - dz.mean(-1, keepdims=True) - z * (dz * z).mean(-1, keepdims=True))

    def backward(dy, x):
        z, scale = scores(x)
        inside = np.abs(z) <= CUT
        if switch in ("not_cut", "passes_where_cut"):
            return through(dy, z, scale)
        if switch == "mask_comes_last":
            return through(dy, z, scale) * inside
        if switch == "cut_scores_projected":
            return through(dy * inside, np.clip(z, -CUT, CUT), scale)
        return through(dy * inside, z, scale)

    def by_jacobian(dy, x):
        z, scale = scores(x)
        d = x.shape[-1]
        jacobian = np.eye(d) - 1 / d - z[..., :, None] * z[..., None, :] / d
        return scale * np.einsum("...i,...ij->...j", np.where(np.abs(z) > CUT, 0.0, dy), jacobian)

    return forward, by_jacobian if switch == "by_jacobian" else backward


def clipped_reference(x):
    return torch.clamp(torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPS), -CUT, CUT)


CASES += family(
    "clipped_z_scores", clipped, lambda: clipped_reference, {"x": (4, 48)},
    {
        "not_cut": "Scores beyond ±5 are not cut.",
        "passes_where_cut": "The gradient passes also through scores that were cut at ±5.",
        "mask_comes_last": "The mask is applied after the normalisation's backward pass, where it belongs before it.",
        "cut_scores_projected": "The projection uses the scores as they are after the cut.",
    },
    right=("right", "by_jacobian"),
)  # fmt: skip

# --- layer normalisation in float32 with a small ε ------------------------------------------------------------

TINY = 1e-8


def fine(switch):
    def parts(x):
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        if switch == "beside_the_root":
            return centred, 1 / (np.sqrt(variance) + x.dtype.type(TINY))
        if switch == "none":
            return centred, 1 / np.sqrt(variance)
        if switch == "squared":
            return centred, 1 / np.sqrt(variance + x.dtype.type(TINY**2))
        return centred, 1 / np.sqrt(variance + x.dtype.type(TINY))

    def forward(x):
        centred, scale = parts(x)
        return centred * scale

    def backward(dy, x):
        centred, scale = parts(x)
        y = centred * scale
        return scale * (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True))

    return forward, backward


CASES += family(
    "layer_norm_float32", fine, lambda: lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], eps=TINY),
    {"x": (4, 8), "dtype": "float32"},
    {
        "beside_the_root": "ε is added to the standard deviation, not to the variance.",
        "none": "There is no ε: rows of little variance are scaled up too far, and a constant row gives NaN.",
        "squared": "ε is squared before it is added to the variance.",
    },
)  # fmt: skip

# --- group normalisation of a feature map ---------------------------------------------------------------------

GROUPS, CHANNELS = 2, 4


def grouped(switch):
    def parts(x):
        n, c, h, w = x.shape
        each = {"groups_for_channels": GROUPS * h * w, "square": c // GROUPS * h * h}.get(switch, c // GROUPS * h * w)
        g = x.reshape(n, GROUPS, -1)
        mean = g.sum(-1, keepdims=True) / each
        variance = ((g - mean) ** 2).sum(-1, keepdims=True) / each
        scale = 1 / np.sqrt(variance + EPS)
        return (g - mean) * scale, scale, each

    def forward(x, weight, bias):
        z, _, _ = parts(x)
        return z.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]

    def backward(dy, x, weight, bias):
        z, scale, each = parts(x)
        dz = (dy * weight[:, None, None]).reshape(z.shape)
        means = (dz.sum(-1, keepdims=True) + z * (dz * z).sum(-1, keepdims=True)) / each
        dx = (scale * (dz - means)).reshape(x.shape)
        return dx, {"weight": (dy * z.reshape(x.shape)).sum((0, 2, 3)), "bias": dy.sum((0, 2, 3))}

    def by_name(dy, x, weight, bias):
        dx, others = backward(dy, x, weight, bias)
        return {"x": dx, **others}

    def by_einsum(dy, x, weight, bias):
        n, c, h, w = x.shape
        z, scale, each = parts(x)
        dz = np.einsum("nchw,c->nchw", dy, weight).reshape(z.shape)
        inner = np.einsum("ngk,ngk->ng", dz, z)[..., None]
        dx = np.einsum("ngk,ngl->ngk", dz - (dz.mean(-1, keepdims=True) + z * inner / each), scale)
        full = z.reshape(x.shape)
        return {"x": dx.reshape(x.shape), "weight": np.einsum("nchw,nchw->c", dy, full),
                "bias": np.einsum("nchw->c", dy)}  # fmt: skip

    return forward, by_einsum if switch == "by_einsum" else by_name


CASES += family(
    "group_norm", grouped, lambda: lambda x, weight, bias: torch.nn.functional.group_norm(x, GROUPS, weight, bias, EPS),
    {"x": (3, CHANNELS, 5, 5), "params": {"weight": (CHANNELS,), "bias": (CHANNELS,)}},
    {
        "square": "The count of a group is taken as channels × height², which is wrong where the image is not square.",
        "groups_for_channels": "The count of a group has the number of groups in the place of the channels in each.",
    },
    right=("right", "by_einsum"),
)  # fmt: skip

# --- batch normalisation with running statistics --------------------------------------------------------------


class BatchNorm:
    """Normalises over the batch, and keeps running statistics, the average of all batches so far."""

    def __init__(self, switch, size):
        self.switch = switch
        self.weight, self.bias = np.ones(size), np.zeros(size)
        self.running_mean, self.running_var = np.zeros(size), np.ones(size)
        self.batches = 0

    def forward(self, x):
        n = len(x)
        mean, self.centred = x.mean(0), x - x.mean(0)
        variance = (self.centred**2).mean(0)
        self.scale = 1 / np.sqrt(variance + EPS)
        unbiased = variance * n / (n - 1)
        self.batches += 1
        share = 1 / self.batches
        if self.switch == "last_batch":
            self.running_mean, self.running_var = mean, unbiased
        elif self.switch == "halves":
            share = 1 / 2 if self.batches > 1 else 1.0
            self.running_mean = self.running_mean + share * (mean - self.running_mean)
            self.running_var = self.running_var + share * (unbiased - self.running_var)
        elif self.switch == "sum_over_batches":
            self.running_mean = self.running_mean * (self.batches - 1) + mean
            self.running_var = self.running_var * (self.batches - 1) + unbiased
        else:
            self.running_mean = self.running_mean + share * (mean - self.running_mean)
            self.running_var = self.running_var + share * (unbiased - self.running_var)
        return self.centred * self.scale * self.weight + self.bias

    def backward(self, dy):
        z = self.centred * self.scale
        self.dweight, self.dbias = (dy * z).sum(0), dy.sum(0)
        dz = dy * self.weight
        return self.scale * (dz - dz.mean(0) - z * (dz * z).mean(0))


def averaged(switch):
    return stateful(
        lambda: BatchNorm(switch, 5), {"weight": "dweight", "bias": "dbias"}, state=["running_mean", "running_var"]
    )


CASES += family(
    "batch_norm_of_all_batches", averaged, lambda: torch.nn.BatchNorm1d(5, momentum=None), {"x": (6, 5)},
    {
        "last_batch": "The running statistics are those of the last batch, not the average of all batches.",
        "halves": "From the second batch on it is averaged with weight a half, not 1/k for the k-th batch.",
        "sum_over_batches": "The average so far is multiplied by the number of batches, and never divided again.",
    },
)  # fmt: skip


class MovingBatchNorm(BatchNorm):
    """Running statistics that decay by 0.9 a batch."""

    def forward(self, x):
        before = self.running_mean, self.running_var
        y = super().forward(x)
        mean, unbiased = x.mean(0), x.var(0, ddof=1)
        self.running_mean = (before[0] if self.switch == "mean_kept" else 0.9 * before[0]) + 0.1 * mean
        kept = 0.9 if self.switch == "variance_from_one" else 0.9 * before[1]
        self.running_var = kept + 0.1 * unbiased
        return y


def moving(switch):
    return stateful(
        lambda: MovingBatchNorm(switch, 5), {"weight": "dweight", "bias": "dbias"},
        state=["running_mean", "running_var"],
    )  # fmt: skip


CASES += family(
    "batch_norm_moving", moving, lambda: torch.nn.BatchNorm1d(5, momentum=0.1), {"x": (6, 5)},
    {
        "mean_kept": "The running mean is not multiplied by 0.9 before a tenth of the batch's mean is added.",
        "variance_from_one": "The running variance starts from 1 at every batch, what was gathered is lost.",
    },
)  # fmt: skip

# --- standardised, with a least variance ----------------------------------------------------------------------

LEAST = 1e-6


def standardised(switch):
    def parts(x):
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True)
        scale = 1 / np.sqrt(variance if switch == "no_least" else np.maximum(variance, LEAST))
        return centred, variance, scale

    def forward(x):
        centred, _, scale = parts(x)
        return centred * scale

    def backward(dy, x):
        centred, variance, scale = parts(x)
        z = centred * scale
        along = z * (dy * z).mean(-1, keepdims=True)
        if switch == "zero_below":
            return scale * (dy - dy.mean(-1, keepdims=True) - along) * (variance >= LEAST)
        if switch not in ("projects_below", "no_least"):
            along = along * (variance >= LEAST)
        return scale * (dy - dy.mean(-1, keepdims=True) - along)

    return forward, backward


def standardised_reference(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(torch.clamp((centred**2).mean(-1, keepdim=True), min=LEAST))


CASES += family(
    "standardised_rows", standardised, lambda: standardised_reference, {"x": (4, 6)},
    {
        "projects_below": "Where the variance is held at its least, the gradient still has the term through it.",
        "zero_below": "Where the variance is held at its least, there is no gradient at all.",
        "no_least": "The variance has no least value: rows of little variance are scaled up too far.",
    },
)  # fmt: skip

# --- layer normalisation whose statistics are merged from blocks of 32 ----------------------------------------

BLOCK = 32


def blockwise(switch):
    def statistics(x):
        count, mean, squares = 0, np.zeros(x.shape[:-1], x.dtype), np.zeros(x.shape[:-1], x.dtype)
        for start in range(0, x.shape[-1], BLOCK):
            part = x[..., start : start + BLOCK]
            size = part.shape[-1]
            apart = part.mean(-1) - mean
            squares = squares + ((part - part.mean(-1, keepdims=True)) ** 2).sum(-1)
            if switch != "spread_of_means_lost":
                squares = squares + apart**2 * count * size / (count + size)
            if switch == "means_averaged":
                mean = (mean * (start > 0) + part.mean(-1)) / (1 + (start > 0))
            else:
                mean = mean + apart * size / (count + size)
            count += BLOCK if switch == "full_blocks" and start > 0 else size
        return mean[..., None], 1 / np.sqrt(squares / count + EPS)[..., None]

    def forward(x):
        mean, scale = statistics(x)
        return (x - mean) * scale

    def backward(dy, x):
        mean, scale = statistics(x)
        z = (x - mean) * scale
        return scale * (dy - dy.mean(-1, keepdims=True) - z * (dy * z).mean(-1, keepdims=True))

    return forward, backward


CASES += family(
    "layer_norm_in_blocks", blockwise,
    lambda: lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPS), {"inputs": {"x": ("n", 12)}},
    {
        "spread_of_means_lost": "Where blocks of 32 are merged, the squares of the distance of their means are lost.",
        "means_averaged": "The means of blocks are averaged pairwise, whatever number of elements each stands for.",
        "full_blocks": "Every block after the first counts as 32 elements, the last one too.",
    },
)  # fmt: skip

# --- local response normalisation over channels of a picture --------------------------------------------------

ALPHA, BETA, WIDTH = 0.1, 0.75, 5


def response(switch):
    def window(c):
        i = np.arange(c)
        reach = WIDTH if switch == "whole_width_each_way" else WIDTH // 2
        return (np.abs(i[:, None] - i) <= (c if switch == "all_channels" else reach)).astype(float)

    def base(x):
        return 1 + ALPHA / WIDTH * np.einsum("ij,njhw->nihw", window(x.shape[1]), x * x)

    def forward(x):
        return x * base(x) ** -BETA

    def backward(dy, x):
        k = base(x)
        inner = np.einsum("ij,nihw->njhw", window(x.shape[1]), dy * x * k ** (-BETA - 1))
        return dy * k**-BETA - 2 * ALPHA * BETA / WIDTH * x * inner

    def neighbours(v):
        padded = np.pad(v, ((0, 0), (WIDTH // 2, WIDTH // 2), (0, 0), (0, 0)))
        return sum(padded[:, k : k + v.shape[1]] for k in range(WIDTH))

    def forward_by_shifts(x):
        return x / np.exp(BETA * np.log1p(ALPHA / WIDTH * neighbours(x * x)))

    def backward_by_shifts(dy, x):
        rest = np.log1p(ALPHA / WIDTH * neighbours(x * x))
        inner = neighbours(dy * x * np.exp(-(BETA + 1) * rest))
        return dy * np.exp(-BETA * rest) - 2 * ALPHA * BETA / WIDTH * x * inner

    return (forward_by_shifts, backward_by_shifts) if switch == "by_shifts" else (forward, backward)


CASES += family(
    "local_response_norm", response,
    lambda: lambda x: torch.nn.functional.local_response_norm(x, WIDTH, ALPHA, BETA, 1.0), {"x": (2, 3, 4, 3)},
    {
        "all_channels": "The squares are summed over all channels, not over the five nearest.",
        "whole_width_each_way": "The window reaches five channels to either side, not two.",
    },
    right=("right", "by_shifts"),
)  # fmt: skip
