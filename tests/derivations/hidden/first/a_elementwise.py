"""Functions of every element: what wraps, saturates, has a series near 0, or is broadcast."""

from __future__ import annotations

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []

# --- minutes of the day, squared distance from midnight -------------------------------------------------------

DAY = 1440.0


def offset(switch):
    def wrapped(x):
        if switch == "unwrapped":
            return x
        if switch == "wraps_once":
            return x - DAY * (x >= DAY / 2) + DAY * (x < -DAY / 2)
        if switch == "by_fmod":
            rest = np.fmod(x + DAY / 2, DAY)
            return np.where(rest < 0, rest + DAY, rest) - DAY / 2
        return x - DAY * np.floor((x + DAY / 2) / DAY)

    def forward(x):
        return wrapped(x) ** 2

    def backward(dy, x):
        return 2 * wrapped(x) * dy

    return forward, backward


def offset_reference(x):
    return (torch.remainder(x + DAY / 2, DAY) - DAY / 2) ** 2


CASES += family(
    "offset_from_midnight", offset, lambda: offset_reference, {"x": (4, 5)},
    {
        "unwrapped": "Minutes beyond half a day are not wrapped round to the nearest midnight.",
        "wraps_once": "Beyond one and a half days the offset is wrapped once only, where it takes several days off.",
    },
    right=("right", "by_fmod"),
)  # fmt: skip

# --- fake quantisation, straight through ----------------------------------------------------------------------

SCALE, ZERO, LOW, HIGH = 16.0, 12, -128, 127


def quantised(switch):
    low = -HIGH if switch == "symmetric" else LOW

    def forward(x):
        q = np.rint(x / SCALE) + ZERO
        return (np.clip(q, low, HIGH) - ZERO) * SCALE

    def backward(dy, x):
        q = np.rint(x / SCALE) + ZERO
        if switch == "straight_through":
            return dy * np.ones_like(x)
        if switch == "mask_without_zero_point":
            q = q - ZERO
        return dy * ((q >= low) & (q <= HIGH))

    def by_edges(dy, x):
        code = np.rint(x / SCALE)
        outside = np.maximum(code - (HIGH - ZERO), 0) + np.maximum((LOW - ZERO) - code, 0)
        return dy * (1 - np.sign(outside))

    return forward, by_edges if switch == "by_edges" else backward


class Rounded(torch.autograd.Function):
    """Rounds, with the derivative of the clipped identity."""

    @staticmethod
    def forward(ctx, x):
        q = torch.round(x / SCALE) + ZERO
        ctx.save_for_backward((q >= LOW) & (q <= HIGH))
        return (torch.clamp(q, LOW, HIGH) - ZERO) * SCALE

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0]


CASES += family(
    "fake_quantise", quantised, lambda: Rounded.apply, {"x": (4, 6)},
    {
        "straight_through": "The gradient passes also where the code was clipped to −128 or 127.",
        "mask_without_zero_point": "The mask of the gradient compares the code without its zero point.",
        "symmetric": "Codes are clipped at −127 where −128 is still a code.",
    },
    right=("right", "by_edges"),
)  # fmt: skip

# --- a logarithm of the magnitude, with a cap -----------------------------------------------------------------

CAP = 8.0


def symlog(switch):
    def size(x):
        if switch == "by_arctanh":
            return 2 * np.arctanh(np.abs(x) / (2 + np.abs(x)))
        return np.log1p(np.abs(x))

    def forward(x):
        if switch == "no_cap":
            return np.sign(x) * size(x)
        return np.sign(x) * np.minimum(size(x), CAP)

    def backward(dy, x):
        slope = 1 / (1 + np.abs(x))
        if switch in ("no_cap", "slope_goes_on"):
            return dy * slope * np.sign(x) ** 2
        inside = size(x) <= CAP
        if switch == "slope_at_the_cap":
            return dy * np.where(inside, slope, np.exp(-CAP)) * np.sign(x) ** 2
        return dy * slope * inside * np.sign(x) ** 2

    return forward, backward


def symlog_reference(x):
    return torch.sign(x) * torch.clamp(torch.log1p(torch.abs(x)), max=CAP)


CASES += family(
    "symlog", symlog, lambda: symlog_reference, {"x": (4, 5)},
    {
        "no_cap": "Magnitudes whose logarithm is beyond 8 are not capped.",
        "slope_goes_on": "Beyond the cap the gradient is that of the logarithm, not 0.",
        "slope_at_the_cap": "Beyond the cap the gradient is the slope at the cap, not 0.",
    },
    right=("right", "by_arctanh"),
)  # fmt: skip

# --- x / (exp(x) − 1), with a series near 0 -------------------------------------------------------------------

NEAR = 5e-4  # of x²


def bernoulli(switch):
    def forward(x):
        near = x * x < NEAR
        safe = np.where(near, 1.0, x)
        series = 1 - x / 2 + x * x / 12 - x**4 / 720 + x**6 / 30240
        return np.where(near, series, safe / np.expm1(safe))

    def backward(dy, x):
        near = x * x < NEAR
        safe = np.where(near, 1.0, x)
        e = np.expm1(safe)
        far = (1 - safe - safe / e) / e
        third = x**3 / 180 - x**5 / 5040
        series = -1 / 2 + x / 12 if switch == "half_the_square" else -1 / 2 + x / 6 - third
        if switch == "sign_of_the_square":
            series = -1 / 2 - x / 6 - third
        return dy * np.where(near, series, far)

    def by_halves(dy, x):
        near = x * x < NEAR
        safe = np.where(near, 1.0, x)
        h = safe / 2
        far = (1 - safe - safe / np.expm1(safe)) * np.exp(-h) / (2 * np.sinh(h))
        return dy * np.where(near, -1 / 2 + x / 6 - x**3 / 180 + x**5 / 5040, far)

    return forward, by_halves if switch == "by_halves" else backward


def bernoulli_reference(x):
    near = x * x < NEAR
    safe = torch.where(near, torch.ones_like(x), x)
    return torch.where(near, 1 - x / 2 + x * x / 12 - x**4 / 720 + x**6 / 30240, safe / torch.expm1(safe))


CASES += family(
    "x_over_expm1", bernoulli, lambda: bernoulli_reference, {"x": (5, 6)},
    {
        "sign_of_the_square": "In the series near 0 the slope of x²/12 has the wrong sign.",
        "half_the_square": "In the series near 0 the slope of x²/12 is taken as x/12, the factor 2 is lost.",
    },
    right=("right", "by_halves"),
)  # fmt: skip

# --- a weighted mean of two, of any shapes that go together ---------------------------------------------------


def lerp(switch):
    def forward(a, b, w):
        return a + w * (b - a)

    def reduced(g, like):
        if switch == "not_summed":
            return g
        extra = tuple(range(g.ndim - like.ndim))
        g = g.sum(axis=extra) if extra else g
        if switch == "leading_axes_only":
            return g
        ones = tuple(i for i, n in enumerate(like.shape) if n == 1 and g.shape[i] != 1)
        return g.sum(axis=ones, keepdims=True) if ones else g

    def backward(dy, a, b, w):
        return reduced(dy * (1 - w), a), reduced(dy * w, b), reduced(dy * (b - a), w)

    return forward, backward


CASES += family(
    "lerp", lerp, lambda: torch.lerp, {"inputs": {"a": ("n", "d"), "b": ("n", "d"), "w": ("n", "d")}},
    {
        "not_summed": "The gradient of an input that is broadcast is not summed over what it was repeated along.",
        "leading_axes_only": "The gradient is not summed over an axis of length 1 along which an input is broadcast.",
    },
)  # fmt: skip

# --- decibels, cut off at both ends ---------------------------------------------------------------------------

FLOOR, TOP = -80.0, 100.0  # decibels


def decibels(switch):
    def forward(x):
        level = 10 * np.log10(x * x + 1e-10)
        return np.minimum(np.maximum(level, FLOOR), TOP if switch != "no_top" else np.inf)

    def backward(dy, x):
        power = x * x + 1e-10
        level = 10 * np.log10(power)
        inside = level >= FLOOR
        if switch not in ("no_top", "passes_above"):
            inside = inside & (level <= TOP)
        if switch == "small_is_shut":
            inside = inside & (level > FLOOR + 20)
        return dy * inside * 20 * x / (power * np.log(10))

    return forward, backward


def decibels_reference(x):
    return torch.clamp(10 * torch.log10(x * x + 1e-10), FLOOR, TOP)


CASES += family(
    "decibels", decibels, lambda: decibels_reference, {"x": (4, 5)},
    {
        "no_top": "Levels above 100 decibels are not cut off.",
        "passes_above": "The gradient passes also above 100 decibels, where the level is cut off.",
        "small_is_shut": "The gradient is 0 already 20 decibels above the floor.",
    },
)  # fmt: skip
