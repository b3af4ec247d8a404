"""Functions of every element, or of pairs of elements."""

from __future__ import annotations

import numpy as np
import torch

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []

# --- a tax with a credit that is phased out -------------------------------------------------------------------

EDGES, RATES = (10_000.0, 40_000.0, 90_000.0), (0.1, 0.22, 0.35)
CREDIT, START, PHASE = 2_000.0, 30_000.0, 0.05


def tax(switch):
    def brackets(income):
        ends = (*EDGES[1:], EDGES[2] if switch == "no_top_bracket" else np.inf)
        return [(np.clip(income, low, high) - low, (income > low) & (income < high))
                for low, high in zip(EDGES, ends, strict=True)]  # fmt: skip

    def credit(income):
        left = CREDIT - PHASE * np.maximum(income - START, 0)
        return left if switch == "credit_below_zero" else np.maximum(left, 0)

    def forward(income):
        return sum(rate * part for rate, (part, _) in zip(RATES, brackets(income), strict=True)) - credit(income)

    def backward(dy, income):
        slope = sum(rate * inside for rate, (_, inside) in zip(RATES, brackets(income), strict=True))
        end = np.inf if switch in ("credit_below_zero", "credit_slope_goes_on") else START + CREDIT / PHASE
        return dy * (slope + PHASE * ((income > START) & (income < end)))

    def by_kinks(income):
        steps = np.diff(RATES, prepend=0.0)
        over = [np.maximum(income - edge, 0) for edge in EDGES]
        return sum(step * part for step, part in zip(steps, over, strict=True)) - credit(income)

    return (by_kinks if switch == "by_kinks" else forward), backward


def tax_reference(income):
    ends = (*EDGES[1:], float("inf"))
    due = sum(r * (torch.clamp(income, a, b) - a) for r, a, b in zip(RATES, EDGES, ends, strict=True))
    return due - torch.relu(CREDIT - PHASE * torch.relu(income - START))


CASES += family(
    "tax", tax, lambda: tax_reference, {"x": (4, 6)},
    {
        "no_top_bracket": "Above 90,000 nothing more is due, where the rate is 0.35.",
        "credit_below_zero": "The credit goes on to fall below 0, where it stays from 70,000 on.",
        "credit_slope_goes_on": "The slope of the phase-out goes on above 70,000, where the credit is used up.",
    },
    right=("right", "by_kinks"),
)  # fmt: skip

# --- x times its nearest whole number -------------------------------------------------------------------------


def nearest(switch):
    def rounded(x):
        if switch == "half_up":
            return np.floor(x + 0.5)
        if switch == "half_away":
            return np.sign(x) * np.floor(np.abs(x) + 0.5)
        if switch == "by_floor":
            low = np.floor(x)
            rest = x - low
            return low + np.where(rest == 0.5, low % 2, rest > 0.5)
        return np.round(x)

    def forward(x):
        return x * rounded(x)

    def backward(dy, x):
        return dy * rounded(x)

    return forward, backward


CASES += family(
    "times_nearest", nearest, lambda: lambda x: x * torch.round(x).detach(), {"x": (4, 5)},
    {
        "half_up": "Halves are rounded up, where they are rounded to the even neighbour.",
        "half_away": "Halves are rounded away from 0, where they are rounded to the even neighbour.",
    },
    right=("right", "by_floor"),
)  # fmt: skip

# --- straight up to ±60, logarithmic beyond -------------------------------------------------------------------

KNEE, WIDTH = 60.0, 40.0


def compressed(switch):
    def over(x):
        if switch == "above_alone":
            return np.maximum(x - KNEE, 0)
        return np.maximum(np.abs(x) - KNEE, 0)

    def forward(x):
        beyond = np.abs(x) > KNEE if switch != "above_alone" else x > KNEE
        return np.where(beyond, np.sign(x) * (KNEE + WIDTH * np.log1p(over(x) / WIDTH)), x)

    def backward(dy, x):
        if switch == "width_lost":
            return dy / (1 + over(x))
        if switch == "slope_of_raw":
            return dy * np.where(np.abs(x) > KNEE, WIDTH / np.abs(x), 1.0)
        return dy / (1 + over(x) / WIDTH)

    def by_clip(x):
        inside = np.clip(x, -KNEE, KNEE)
        rest = x - inside
        return inside + np.sign(rest) * WIDTH * np.log1p(np.abs(rest) / WIDTH)

    return (by_clip if switch == "by_clip" else forward), backward


def compressed_reference(x):
    inside = torch.clamp(x, -KNEE, KNEE).detach()
    rest = x - inside
    near = x.abs() <= KNEE
    beyond = inside + torch.sign(rest) * WIDTH * torch.log1p(torch.where(near, 0.0, rest.abs()) / WIDTH)
    return torch.where(near, x, beyond)


CASES += family(
    "compressor", compressed, lambda: compressed_reference, {"x": (4, 5)},
    {
        "above_alone": "Numbers below −60 are not compressed.",
        "width_lost": "Beyond the knee the slope is 1/(1 + r), where it is 1/(1 + r/40).",
        "slope_of_raw": "Beyond the knee the slope is 40/|x|, not 40/(|x| − 20).",
    },
    right=("right", "by_clip"),
)  # fmt: skip

# --- columns to whole powers ----------------------------------------------------------------------------------


def monomials(switch):
    def forward(x, power):
        return x**power

    def backward(dy, x, power):
        if switch == "over_x":
            return {"x": dy * power * x**power / x}
        if switch == "no_constant_column":
            with np.errstate(divide="ignore", invalid="ignore"):
                return {"x": dy * power * x ** (power - 1.0)}
        if switch == "power_at_least_one":
            return {"x": dy * np.maximum(power, 1) * x ** np.maximum(power - 1, 0)}
        return {"x": dy * power * x ** np.maximum(power - 1, 0)}

    def by_products(dy, x, power):
        g = np.zeros_like(x)
        for j, p in enumerate(power.tolist()):
            column = np.ones(len(x), x.dtype)
            for _ in range(p - 1):
                column = column * x[:, j]
            if p:
                g[:, j] = p * column * dy[:, j]
        return {"x": g}

    return forward, by_products if switch == "by_products" else backward


CASES += family(
    "monomials", monomials, lambda: torch.pow, {"inputs": {"x": ("n", "d"), "power": indices(5, ("d",))}},
    {
        "over_x": "The slope is taken as n xⁿ / x: 0/0 where x is 0.",
        "no_constant_column": "With power 0 the slope at x = 0 is 0 times infinity, NaN, where it is 0.",
        "power_at_least_one": "A column of power 0 has slope 1, where it is constant.",
    },
    right=("right", "by_products"),
)  # fmt: skip

# --- a thin plate over centres --------------------------------------------------------------------------------


def plate(switch):
    def parts(x, centres):
        d = x[:, None] - centres
        return d, (d * d).sum(-1)

    def forward(x, centres):
        _, s = parts(x, centres)
        if switch == "no_zero":
            return 0.5 * s * np.log(s)
        return 0.5 * s * np.log(np.where(s > 0, s, 1.0))

    def backward(dy, x, centres):
        d, s = parts(x, centres)
        safe = s if switch == "no_zero" else np.where(s > 0, s, 1.0)
        slope = np.log(safe) + 1
        if switch == "product_rule_when_far":
            slope = np.log(safe) + (s > 1)
        g = (dy * slope)[..., None] * d
        return g.sum(1), -g.sum(0)

    def by_products(dy, x, centres):
        _, s = parts(x, centres)
        pull = dy * (1 + np.log(s + (s == 0)))
        return pull.sum(1)[:, None] * x - pull @ centres, pull.sum(0)[:, None] * centres - pull.T @ x

    return forward, by_products if switch == "by_products" else backward


def plate_reference(x, centres):
    s = ((x[:, None] - centres) ** 2).sum(-1)
    return 0.5 * s * torch.log(torch.where(s > 0, s, 1.0))


CASES += family(
    "thin_plate", plate, lambda: plate_reference, {"inputs": {"x": ("n", 2), "centres": ("m", 2)}},
    {
        "no_zero": "A point on a centre, as where the centres are some of the points, gives 0 times infinity, NaN.",
        "product_rule_when_far": "The second term of the product rule is left out within distance 1.",
    },
    right=("right", "by_products"),
)  # fmt: skip

# --- a day's profile: between the hours, round the clock ------------------------------------------------------

HOURS = 24


def profile(switch):
    def parts(x):
        low = np.floor(x)
        k = low.astype(int)
        if switch == "clipped":
            k = np.clip(k, 0, HOURS - 1)
        elif switch == "truncated":
            k = np.trunc(x).astype(int) % HOURS
        else:
            k = k % HOURS
        after = np.minimum(k + 1, HOURS - 1) if switch == "flat_before_midnight" else (k + 1) % HOURS
        return k, after, x - low

    def forward(x, level):
        k, after, share = parts(x)
        return (1 - share) * level[k] + share * level[after]

    def backward(dy, x, level):
        k, after, share = parts(x)
        g = np.zeros_like(level)
        np.add.at(g, k.ravel(), ((1 - share) * dy).ravel())
        np.add.at(g, after.ravel(), (share * dy).ravel())
        return {"x": dy * (level[after] - level[k]), "level": g}

    def by_counting(dy, x, level):
        k, after, share = parts(x)
        g = np.bincount(k.ravel(), ((1 - share) * dy).ravel(), HOURS)
        g = g + np.bincount(after.ravel(), (share * dy).ravel(), HOURS)
        return {"x": dy * np.diff(level, append=level[:1])[k], "level": g}

    return forward, by_counting if switch == "by_counting" else backward


def profile_reference(x, level):
    low = torch.floor(x.detach())
    k = low.long() % HOURS
    share = x - low
    return (1 - share) * level[k] + share * level[(k + 1) % HOURS]


CASES += family(
    "day_profile", profile, lambda: profile_reference, {"x": (5, 6), "params": {"level": (HOURS,)}},
    {
        "clipped": "Hours of another day are held at the first and last hour, where they go round.",
        "truncated": "Hours before 0 are cut towards 0, so that they belong to the hour after.",
        "flat_before_midnight": "From 23 to 24 the level stays, where it goes on to that of hour 0.",
    },
    right=("right", "by_counting"),
)  # fmt: skip

# --- a heading ------------------------------------------------------------------------------------------------


def heading(switch):
    def forward(y, x):
        if switch == "quotient":
            return np.arctan(y / x)
        if switch == "half_turn":
            return np.arctan(y / x) + np.pi * (x < 0)
        return np.arctan2(y, x)

    def backward(dy, y, x):
        s = x * x + y * y
        s = np.where(s > 0, s, 1.0)
        return dy * x / s, -dy * y / s

    return forward, backward


CASES += family(
    "heading", heading, lambda: torch.atan2, {"inputs": {"y": ("n", "d"), "x": ("n", "d")}},
    {
        "quotient": "Headings to the left, x < 0, are taken as their opposite.",
        "half_turn": "To the left and below half a turn is added where it is taken off.",
    },
)  # fmt: skip
