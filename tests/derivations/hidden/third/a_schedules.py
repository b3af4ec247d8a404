"""Schedules of the learning rate."""

from __future__ import annotations

import math

import torch

from tests.derivations.hidden.case import family

CASES = []
scheduler = torch.optim.lr_scheduler

# --- by the percentage of the run -----------------------------------------------------------------------------


def percentages(switch):
    def rate(step):
        percent = step * 100 // 200
        if switch == "by_float":
            percent = int(step / 200 * 100)
        elif switch == "rounded":
            percent = round(step / 2)
        return 0.05 * (1 - percent / 101)

    def by_halves(step):
        return 0.05 * (101 - (step >> 1)) / 101

    return by_halves if switch == "by_halves" else rate


CASES += family(
    "by_percentage", percentages,
    lambda: lambda optimizer: scheduler.LambdaLR(optimizer, lambda step: 1 - (step * 100 // 200) / 101),
    {"learning_rate": 0.05, "steps": 200},
    {
        "by_float": "The percentage is cut off from a rounded quotient: after 58 steps of 200 it is 28, not 29.",
        "rounded": "The percentage is rounded, where it is cut off.",
    },
    right=("right", "by_halves"),
)  # fmt: skip

# --- once for every doubling ----------------------------------------------------------------------------------


def doublings(switch):
    def rate(step):
        n = step.bit_length()
        if switch == "seven_doublings":
            n = min(n, 7)
        elif switch == "by_logarithm_up":
            n = math.ceil(math.log2(step)) + 1 if step > 0 else 0
        return 0.3 * 0.7**n

    def by_logarithm(step):
        n = 0 if step == 0 else math.frexp(step)[1]
        return 0.3 * 0.7**n

    return by_logarithm if switch == "by_logarithm" else rate


CASES += family(
    "at_doublings", doublings,
    lambda: lambda optimizer: scheduler.LambdaLR(optimizer, lambda step: 0.7 ** int(step).bit_length()),
    {"learning_rate": 0.3},
    {
        "seven_doublings": "From step 128 on the rate stays, where every doubling lowers it.",
        "by_logarithm_up": "Between powers of two the rate has fallen once more already.",
    },
    right=("right", "by_logarithm"),
)  # fmt: skip

# --- after epochs that grow longer ----------------------------------------------------------------------------


def squares(switch):
    def rate(step):
        n = math.isqrt(step)
        if switch == "twelve_stages":
            n = min(n, 12)
        elif switch == "nearest_square":
            n = round(math.sqrt(step))
        return 0.1 / (1 + 0.2 * n)

    return rate


CASES += family(
    "stages_of_squares", squares,
    lambda: lambda optimizer: scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + 0.2 * math.floor(step**0.5))),
    {"learning_rate": 0.1},
    {
        "twelve_stages": "After the twelfth stage, at step 169, the rate stays.",
        "nearest_square": "The root of the step is rounded, where it is cut off.",
    },
)  # fmt: skip

# --- warm-up, level, and a cosine, in shares of 180 steps -----------------------------------------------------


def shares(switch):
    total = 180
    up, down = total // 20, total * 4 // 5

    def rate(step):
        if step < up:
            return 0.02 * (step + 1) / up
        if step < down:
            return 0.02
        if switch == "over_all_steps":
            return 0.01 * (1 + math.cos(math.pi * (step - down) / total))
        if switch == "level_to_the_end":
            return 0.02
        t = (step - down) / (total - down)
        if switch != "rises_again":
            t = min(t, 1.0)
        return 0.01 * (1 + math.cos(math.pi * t))

    return rate


def shares_of_torch(optimizer):
    def share(step):
        if step < 9:
            return (step + 1) / 9
        return 0.5 * (1 + math.cos(math.pi * min(max(step - 144, 0) / 36, 1.0)))

    return scheduler.LambdaLR(optimizer, share)


CASES += family(
    "shares_of_a_run", shares, lambda: shares_of_torch, {"learning_rate": 0.02, "steps": 200},
    {
        "over_all_steps": "The cosine runs over all 180 steps, where it runs over the last fifth.",
        "level_to_the_end": "The last fifth is left out.",
        "rises_again": "After 180 steps the cosine rises again, where the rate stays 0.",
    },
)  # fmt: skip

# --- chained: a constant share, then exponential decay --------------------------------------------------------


def chained(switch):
    def rate(step):
        early = 0.25 if step < 130 else 1.0
        if switch == "one_more_step":
            early = 0.25 if step <= 130 else 1.0
        if switch == "kept_low":
            early = 0.25
        return 0.4 * early * 0.99**step

    def from_the_end(step):
        share = 0.25 if step < 130 else 1.0
        decay = 0.99 ** max(step - 130, 0) if switch == "decays_afterwards" else 0.99**step
        return 0.4 * share * decay

    return from_the_end if switch == "decays_afterwards" else rate


def chained_of_torch(optimizer):
    first = scheduler.ConstantLR(optimizer, factor=0.25, total_iters=130)
    second = scheduler.ExponentialLR(optimizer, gamma=0.99)
    return scheduler.ChainedScheduler([first, second])


CASES += family(
    "low_at_first", chained, lambda: chained_of_torch, {"learning_rate": 0.4},
    {
        "one_more_step": "The low share lasts for 131 steps, where it ends at step 130.",
        "kept_low": "After 130 steps the share stays at a quarter.",
        "decays_afterwards": "The decay begins after 130 steps, where it begins at once.",
    },
)  # fmt: skip
