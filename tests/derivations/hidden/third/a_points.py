"""Elementwise functions."""

from __future__ import annotations

import math

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []

# --- GELU by tanh, in single precision ------------------------------------------------------------------------


def gelu(switch):
    root = {"root_of_four_digits": 0.7979, "root_of_five_digits": 0.79788}.get(switch, math.sqrt(2 / math.pi))
    cubic = 0.0447 if switch == "cubic_of_four_digits" else 0.044715
    slope = 0.1341 if switch == "slope_of_four_digits" else 3 * cubic

    def forward(x):
        return 0.5 * x * (1 + np.tanh(root * (x + cubic * x**3)))

    def backward(dy, x):
        t = np.tanh(root * (x + cubic * x**3))
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t) * (1 + t) * root * (1 + slope * x**2))

    return forward, backward


CASES += family(
    "gelu_by_tanh", gelu, lambda: lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    {"x": ("n", "d"), "dtype": "float32"},
    {
        "root_of_four_digits": "√(2/π) is rounded to 0.7979.",
        "root_of_five_digits": "√(2/π) is rounded to 0.79788.",
        "cubic_of_four_digits": "The factor of x³ is 0.0447, where it is 0.044715.",
        "slope_of_four_digits": "In the slope the factor of x² is 0.1341, where it is 3 · 0.044715 = 0.134145.",
    },
)  # fmt: skip

# --- SELU, in single precision --------------------------------------------------------------------------------

SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def selu(switch):
    alpha = 1.67326 if switch == "alpha_of_six_digits" else ALPHA
    alpha_back = 1.6733 if switch == "slope_of_five_digits" else alpha

    def forward(x):
        return np.where(x > 0, SCALE * x, SCALE * alpha * np.expm1(np.minimum(x, 0)))

    def backward(dy, x):
        return dy * np.where(x > 0, SCALE, SCALE * alpha_back * np.exp(np.minimum(x, 0)))

    return forward, backward


CASES += family(
    "selu", selu, lambda: torch.nn.functional.selu, {"x": ("n", "d"), "dtype": "float32"},
    {
        "alpha_of_six_digits": "α is rounded to 1.67326.",
        "slope_of_five_digits": "In the gradient α is rounded to 1.6733.",
    },
)  # fmt: skip

# --- softplus with a β of its own -----------------------------------------------------------------------------


def softplus(switch):
    def forward(x):
        limit = x if switch == "threshold_of_x" else x / 2
        return np.where(limit > 20, x, 2 * np.logaddexp(0, x / 2))

    def backward(dy, x):
        limit = x if switch in ("threshold_of_x", "slope_by_threshold_of_x") else x / 2
        half = np.exp(np.minimum(x / 2, 0)) / (1 + np.exp(-np.abs(x / 2)))
        if switch == "by_exponential":
            half = np.exp(x / 2 - np.logaddexp(0, x / 2))
        return dy * np.where(limit > 20, 1, half)

    return forward, backward


CASES += family(
    "flat_softplus", softplus, lambda: lambda x: torch.nn.functional.softplus(x, beta=0.5, threshold=20),
    {"x": ("n", "d")},
    {
        "threshold_of_x": "From x = 20 on it is x itself, where that is so from x/2 = 20 on.",
        "slope_by_threshold_of_x": "From x = 20 on the slope is 1, where that is so from x/2 = 20 on.",
    },
    right=("right", "by_exponential"),
)  # fmt: skip

# --- a smooth step from −20 to 60 -----------------------------------------------------------------------------


def step(switch):
    def share(x):
        t = (x + 20) / 80
        if switch == "goes_on_above":
            return np.maximum(t, 0)
        if switch == "goes_on_below":
            return np.minimum(t, 1)
        return np.clip(t, 0, 1)

    def forward(x):
        t = share(x)
        return t**3 * (t * (6 * t - 15) + 10)

    def backward(dy, x):
        t = share(x)
        if switch == "slope_of_the_cubic":
            return dy * 6 * t * (1 - t) / 80
        if switch == "slope_goes_on":
            t = (x + 20) / 80
        return dy * 30 * (t * (1 - t)) ** 2 / 80

    return forward, backward


def step_reference(x):
    t = ((x + 20) / 80).clamp(0, 1)
    return t**3 * (t * (6 * t - 15) + 10)


CASES += family(
    "smooth_step", step, lambda: step_reference, {"x": ("n",)},
    {
        "goes_on_above": "Above 60 the polynomial goes on, where it is 1.",
        "goes_on_below": "Below −20 the polynomial goes on, where it is 0.",
        "slope_goes_on": "Beyond −20 and 60 the slope is the polynomial's, where it is 0.",
        "slope_of_the_cubic": "The slope is that of the cubic step 3t² − 2t³.",
    },
)  # fmt: skip

# --- the kernel of bicubic interpolation, over 10 pixels ------------------------------------------------------


def bicubic(switch):
    a = -0.75
    a_back = -0.5 if switch == "slope_of_half" else a

    def forward(x):
        s = np.abs(x) / 10
        inner = ((a + 2) * s - (a + 3)) * s * s + 1
        outer = a * (((s - 5) * s + 8) * s - 4)
        if switch == "outer_left_out":
            return np.where(s <= 1, inner, 0)
        return np.where(s <= 1, inner, np.where(s < 2, outer, 0))

    def backward(dy, x):
        s = np.abs(x) / 10
        inner = (3 * (a_back + 2) * s - 2 * (a_back + 3)) * s
        outer = a_back * ((3 * s - 10) * s + 8)
        if switch == "outer_left_out":
            outer = 0 * outer
        side = np.ones_like(x) if switch == "side_lost" else np.sign(x)
        return dy * side * np.where(s <= 1, inner, np.where(s < 2, outer, 0)) / 10

    return forward, backward


def bicubic_reference(x):
    s = x.abs() / 10
    inner = ((-0.75 + 2) * s - (-0.75 + 3)) * s * s + 1
    outer = -0.75 * (((s - 5) * s + 8) * s - 4)
    return torch.where(s <= 1, inner, torch.where(s < 2, outer, 0.0))


CASES += family(
    "bicubic_kernel", bicubic, lambda: bicubic_reference, {"x": ("n", "d")},
    {
        "outer_left_out": "From 10 to 20 pixels the kernel is 0, where it has its negative lobe.",
        "slope_of_half": "The slope is of the kernel with a = −1/2, where a = −3/4.",
        "side_lost": "The slope does not change its sign with the side.",
    },
)  # fmt: skip

# --- an index of heat, by pieces in two variables -------------------------------------------------------------


def chill(switch):
    def both(t, v):
        cold = (t < 10) & (v > 5)
        if switch == "whatever_the_wind":
            cold = t < 10
        w = np.where(v > 5, v, 5.0)
        if switch == "whatever_the_wind":
            w = np.maximum(v, 1e-3)
        p = w**0.16
        y = np.where(cold, 13.12 + 0.6215 * t - 11.37 * p + 0.3965 * t * p, t)
        dt = np.where(cold, 0.6215 + 0.3965 * p, 1)
        dv = np.where(cold, 0.16 * (0.3965 * t - 11.37) * p / w, 0)
        if switch == "cross_term_left_out":
            dv = np.where(cold, -0.16 * 11.37 * p / w, 0)
        if switch == "slope_when_calm":
            dv = np.where(t < 10, 0.16 * (0.3965 * t - 11.37) * p / w, 0)
        return y, dt, dv

    def forward(t, v):
        return both(t, v)[0]

    def backward(dy, t, v):
        _, dt, dv = both(t, v)
        return {"t": dy * dt, "v": dy * dv}

    return forward, backward


def chill_reference(t, v):
    w = torch.where(v > 5, v, 5.0)
    felt = 13.12 + 0.6215 * t - 11.37 * w**0.16 + 0.3965 * t * w**0.16
    return torch.where((t < 10) & (v > 5), felt, t)


CASES += family(
    "wind_chill", chill, lambda: chill_reference, {"inputs": {"t": ("n",), "v": ("n",)}},
    {
        "whatever_the_wind": "The wind's formula is used up to a wind of 5, too, where the air's temperature is felt.",
        "cross_term_left_out": "The gradient of the wind leaves out the term with the temperature.",
        "slope_when_calm": "The wind has a gradient also up to 5, where only the air's temperature counts.",
    },
)  # fmt: skip
