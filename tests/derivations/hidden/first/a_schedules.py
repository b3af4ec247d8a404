"""Schedules of the learning rate."""

from __future__ import annotations

import math

import torch

from tests.derivations.hidden.case import family

CASES = []
scheduler = torch.optim.lr_scheduler

# --- on a plateau ---------------------------------------------------------------------------------------------

FACTOR, PATIENCE, THRESHOLD, BASE = 0.5, 4, 1e-4, 0.1


def plateau(switch):
    def rate(step, metrics):
        best, bad, eta = math.inf, 0, BASE
        for k, value in enumerate(metrics):
            if switch == "any_decrease":
                better = value < best
            elif switch == "absolute":
                better = value < best - THRESHOLD
            else:
                better = value < best * (1 - THRESHOLD)
            if switch == "previous":
                better = value < (metrics[k - 1] if k else math.inf) * (1 - THRESHOLD)
            if better:
                best, bad = value, 0
            else:
                bad += 1
                best = value if switch == "best_forgets" else best
            if bad > PATIENCE:
                lower = eta * FACTOR
                eta, bad = lower, 0
        return eta

    def by_index(step, metrics):
        """From one improvement to the next: every PATIENCE + 1 values without one are a reduction."""
        marks, best = [], math.inf
        for k, value in enumerate(metrics):
            if value < best * (1 - THRESHOLD):
                best = value
                marks.append(k)
        ends = [*marks[1:], len(metrics)]
        drops = sum((end - mark - 1) // (PATIENCE + 1) for mark, end in zip(marks, ends, strict=False))
        return BASE * FACTOR**drops

    return by_index if switch == "by_index" else rate


CASES += family(
    "plateau", plateau,
    lambda: lambda optimizer: scheduler.ReduceLROnPlateau(
        optimizer, factor=FACTOR, patience=PATIENCE, threshold=THRESHOLD, eps=0.0
    ),
    {"learning_rate": BASE},
    {
        "any_decrease": "Any decrease of the metric counts as an improvement, however small.",
        "absolute": "The metric must fall by 0.0001 itself, where it must by a share of 0.0001 of the best.",
        "previous": "The metric is compared with the one before it, not with the best so far.",
        "best_forgets": "A metric that is no improvement becomes the one to be compared with.",
    },
    right=("right", "by_index"),
)  # fmt: skip

# --- cosine beyond its minimum --------------------------------------------------------------------------------

HALF = 130


def cosine(switch):
    def rate(step):
        if switch == "stays":
            step = min(step, HALF)
        if switch == "restarts":
            step = step % HALF
        return 0.001 + (0.1 - 0.001) * (1 + math.cos(math.pi * step / HALF)) / 2

    def by_square(step):
        return 0.001 + 0.099 * math.cos(math.pi * step / (2 * HALF)) ** 2

    return by_square if switch == "by_square" else rate


CASES += family(
    "cosine", cosine, lambda: lambda optimizer: scheduler.CosineAnnealingLR(optimizer, HALF, eta_min=0.001),
    {"learning_rate": 0.1},
    {
        "stays": "After 130 steps the rate stays at its minimum, where torch's rises again.",
        "restarts": "After 130 steps the rate jumps back to its start, where torch's rises again slowly.",
    },
    right=("right", "by_square"),
)  # fmt: skip

# --- a power of what is left ----------------------------------------------------------------------------------

TOTAL = 140


def power(switch):
    def rate(step):
        left = 1 - step / TOTAL
        if switch != "rises_again":
            left = max(left, 0.02 if switch == "stays_above_zero" else 0.0)
        return 0.1 * left**2

    return rate


CASES += family(
    "polynomial", power, lambda: lambda optimizer: scheduler.PolynomialLR(optimizer, TOTAL, power=2.0),
    {"learning_rate": 0.1},
    {
        "rises_again": "After 140 steps the square of what is left rises again, where the rate is to stay 0.",
        "stays_above_zero": "The rate never falls below that at 2 % of the steps left.",
    },
)  # fmt: skip

# --- triangles of falling height ------------------------------------------------------------------------------

UP, LOW, HIGH = 60, 0.01, 0.1


def triangles(switch):
    def rate(step):
        cycle = step // (2 * UP)
        share = 1 - abs(step / UP - 2 * cycle - 1)
        height = {"same_height": 1.0, "by_number": 1 / (cycle + 1), "thirds": 3.0**-cycle}.get(switch, 0.5**cycle)
        return LOW + (HIGH - LOW) * share * height

    def by_remainder(step):
        cycle, within = divmod(step, 2 * UP)
        return LOW + (HIGH - LOW) * min(within, 2 * UP - within) / (UP * 2**cycle)

    return by_remainder if switch == "by_remainder" else rate


CASES += family(
    "triangles", triangles,
    lambda: lambda optimizer: scheduler.CyclicLR(
        optimizer, LOW, HIGH, step_size_up=UP, mode="triangular2", cycle_momentum=False
    ),
    {"learning_rate": LOW},
    {
        "same_height": "Every triangle has the same height, where each is half as high as the one before.",
        "by_number": "The k-th triangle has 1/k of the height, where it has 1/2^(k − 1).",
        "thirds": "Each triangle has a third of the height of the one before, not a half.",
    },
    right=("right", "by_remainder"),
)  # fmt: skip

# --- a warm-up, and a square root -----------------------------------------------------------------------------

WARM = 400


def warmed(switch):
    def rate(step):
        k = step + 1
        after = {"constant": 1.0, "by_steps": WARM / k, "from_here": (k - WARM + 1) ** -0.5 if k >= WARM else 1.0}
        return 0.5 * min(k / WARM, after.get(switch, math.sqrt(WARM / k)))

    return rate


def warmed_reference(optimizer):
    return scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / WARM, math.sqrt(WARM / (step + 1))))


CASES += family(
    "warm_up", warmed, lambda: warmed_reference, {"learning_rate": 0.5},
    {
        "constant": "After the warm-up of 400 steps the rate stays, where it falls as 1/√k.",
        "by_steps": "After the warm-up of 400 steps the rate falls as 1/k, not as 1/√k.",
        "from_here": "After the warm-up of 400 steps 1/√k counts from its end, not from the start.",
    },
)  # fmt: skip

# --- a table of stages ----------------------------------------------------------------------------------------


def stages(switch):
    ends = (30, 80, 150) if switch != "last_forgotten" else (30, 80)
    factors = (1.0, 0.1, 0.01, 0.001) if switch != "last_factor" else (1.0, 0.1, 0.01, 0.002)

    def rate(step):
        return 0.1 * factors[sum(step >= end for end in ends)]

    return rate


CASES += family(
    "stages", stages, lambda: lambda optimizer: scheduler.MultiStepLR(optimizer, [30, 80, 150]),
    {"learning_rate": 0.1},
    {
        "last_forgotten": "The third milestone, at step 150, is forgotten.",
        "last_factor": "After step 150 the rate is 0.002 of its start, not 0.001.",
    },
)  # fmt: skip
