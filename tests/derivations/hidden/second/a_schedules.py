"""Schedules of the learning rate."""

from __future__ import annotations

import math

import torch

from tests.derivations.hidden.case import family

CASES = []
scheduler = torch.optim.lr_scheduler

# --- a cosine that restarts, each time for twice as long ------------------------------------------------------


def restarts(switch):
    def rate(step):
        n = int(math.log2(step / 10 + 1) + 1e-9)
        if switch == "doubles_three_times":
            n = min(n, 3)
        start, period = 10 * (2**n - 1), 10 * 2**n
        if switch == "doubles_three_times":
            start, period = start + (step - start) // period * period, period
        if switch == "lower_each_time":
            return 0.1 * 0.9 ** max(n - 3, 0) * (1 + math.cos(math.pi * (step - start) / period)) / 2
        return 0.1 * (1 + math.cos(math.pi * (step - start) / period)) / 2

    def by_turns(step):
        period, left = 10, step
        while left >= period:
            left, period = left - period, 2 * period
        return 0.1 * math.cos(math.pi * left / (2 * period)) ** 2

    return by_turns if switch == "by_turns" else rate


CASES += family(
    "warm_restarts", restarts,
    lambda: lambda optimizer: scheduler.CosineAnnealingWarmRestarts(optimizer, 10, T_mult=2), {"learning_rate": 0.1},
    {
        "doubles_three_times": "From the fourth period on all are 80 steps long, where each is twice as long.",
        "lower_each_time": "From the fifth period on each starts lower, where all start from the same rate.",
    },
    right=("right", "by_turns"),
)  # fmt: skip

# --- on a plateau, with a pause after each cut ----------------------------------------------------------------

BASE, FACTOR, PATIENCE, PAUSE, LEAST = 0.1, 0.2, 3, 4, 1e-3


def paused(switch):
    def rate(step, metrics):
        best, bad, pause, eta = -math.inf, 0, 0, BASE
        for value in metrics:
            if value > best + 0.01:
                best, bad = value, 0
                if switch == "pause_ends_early":
                    pause = 0
            else:
                bad += 1
            if pause > 0 and switch != "no_pause":
                pause, bad = pause - 1, bad if switch == "pause_counts" else 0
            if bad > PATIENCE:
                lower = FACTOR * eta
                eta, pause, bad = max(lower, LEAST) if switch != "no_least" else lower, PAUSE, 0
        return eta

    return rate


CASES += family(
    "paused_plateau", paused,
    lambda: lambda optimizer: scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=FACTOR, patience=PATIENCE, threshold=0.01, threshold_mode="abs", cooldown=PAUSE,
        min_lr=LEAST,
    ),
    {"learning_rate": BASE},
    {
        "no_pause": "After a cut bad steps count at once, where they are passed over for four steps.",
        "pause_counts": "Bad steps during the pause are counted, so that the next cut comes when it ends.",
        "pause_ends_early": "An improvement ends the pause, where it goes on to its end.",
        "no_least": "The rate falls below 0.001.",
    },
)  # fmt: skip

# --- up, level, and down by stairs ----------------------------------------------------------------------------


def stairs(switch):
    def rate(step):
        if step < 20:
            return 0.2 * (0.1 + 0.9 * step / 20)
        since = step if switch == "from_the_start" else step - 20
        if switch == "one_late":
            since = since - 1
        return 0.2 * 0.5 ** (since // 25)

    def by_halving(step):
        eta = 0.2 * (0.1 + 0.045 * min(step, 20))
        for _ in range(max(step - 20, 0) // 25):
            eta = eta / 2
        return eta

    return by_halving if switch == "by_halving" else rate


def stairs_of_torch(optimizer):
    up = scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=20)
    down = scheduler.StepLR(optimizer, 25, gamma=0.5)
    return scheduler.SequentialLR(optimizer, [up, down], milestones=[20])


CASES += family(
    "warm_up_and_stairs", stairs, lambda: stairs_of_torch, {"learning_rate": 0.2},
    {
        "from_the_start": "The stairs count from the first step, not from the end of the warm-up.",
        "one_late": "Every stair comes one step late.",
    },
    right=("right", "by_halving"),
)  # fmt: skip

# --- between two rates, with a peak that decays ---------------------------------------------------------------


def cyclic(switch):
    def rate(step):
        cycle = math.floor(1 + step / 60)
        x = abs(step / 30 - 2 * cycle + 1)
        height = 0.09 * max(0.0, 1 - x)
        if switch == "decays_by_cycle":
            return 0.01 + height * 0.995 ** (60 * (cycle - 1))
        if switch == "all_decays":
            return (0.01 + height) * 0.995**step
        if switch == "decay_ends":
            return 0.01 + height * max(0.995**step, 0.2)
        return 0.01 + height * 0.995**step

    def by_remainder(step):
        left = step % 60
        return 0.01 + 0.003 * min(left, 60 - left) * math.exp(step * math.log(0.995))

    return by_remainder if switch == "by_remainder" else rate


CASES += family(
    "cyclic", cyclic,
    lambda: lambda optimizer: scheduler.CyclicLR(
        optimizer, 0.01, 0.1, step_size_up=30, mode="exp_range", gamma=0.995, cycle_momentum=False
    ),
    {"learning_rate": 0.01},
    {
        "decays_by_cycle": "The peak decays from cycle to cycle, not from step to step.",
        "all_decays": "The lower rate decays too, where it stays at 0.01.",
        "decay_ends": "The peak stays at a fifth in the end, after 320 steps, where it goes on to fall.",
    },
    right=("right", "by_remainder"),
)  # fmt: skip

# --- one cycle ------------------------------------------------------------------------------------------------


def one_cycle(switch):
    def rate(step):
        top, first, last = 0.5, 0.02, 2e-6
        up = 0.3 * 150 - 1
        if switch == "one_later":
            up = 0.3 * 150
        if step <= up:
            share = step / up
            if switch == "straight_up":
                return first + (top - first) * share
            return first + (top - first) * (1 - math.cos(math.pi * share)) / 2
        share = (step - up) / (149 - up)
        if switch == "ends_at_first":
            last = first * 1e-2
        return last + (top - last) * (1 + math.cos(math.pi * share)) / 2

    return rate


CASES += family(
    "one_cycle", one_cycle,
    lambda: lambda optimizer: scheduler.OneCycleLR(optimizer, 0.5, total_steps=150, cycle_momentum=False),
    {"steps": 150, "learning_rate": 0.02},
    {
        "one_later": "The peak is at step 45, where it is at step 44.",
        "straight_up": "The rate rises in a straight line, where it rises by a cosine.",
        "ends_at_first": "The end is a hundredth of the first rate, not a ten-thousandth.",
    },
)  # fmt: skip

# --- by epochs of 391 steps -----------------------------------------------------------------------------------

EPOCH = 391


def by_epoch(switch):
    def rate(step):
        epoch = step // EPOCH
        if switch == "by_step":
            return 0.1 * 0.97 ** (step / EPOCH)
        if switch == "rounded":
            epoch = round(step / EPOCH)
        if switch == "four_epochs":
            return 0.1 * (0.97**epoch if epoch < 4 else 0.97**4)
        return 0.1 * 0.97**epoch

    return rate


CASES += family(
    "by_epoch", by_epoch,
    lambda: lambda optimizer: scheduler.LambdaLR(optimizer, lambda step: 0.97 ** (step // EPOCH)),
    {"learning_rate": 0.1},
    {
        "by_step": "The rate falls at every step, where it falls once an epoch.",
        "rounded": "The rate falls in the middle of an epoch, where it falls at its end.",
        "four_epochs": "From the fifth epoch on the rate stays.",
    },
)  # fmt: skip
