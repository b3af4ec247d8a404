"""How many steps of a schedule must be compared: beyond every whole number that either side counts to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking.step_constants import Heard, counting, steps_among, whole_numbers
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.signatures import required

LEAST, MOST = 300, 10_000  # steps: a count of eight bits is passed
BEYOND = 5  # steps beyond a constant
OFTEN = 2_000  # steps in which what happens every so many steps should happen several times


class Constants(NamedTuple):
    """Whole numbers: those that steps are counted to, and those that stand in a schedule for whatever purpose."""

    heard: set[int]
    guessed: set[int]
    of_torch: set[int]


def counted_to(schedule: Callable[..., Any], scheduler: Any) -> Constants:
    """What a schedule and torch's scheduler count to."""
    theirs = whole_numbers(scheduler)
    return Constants(_heard(schedule) | theirs, whole_numbers(schedule), theirs)


def _heard(schedule: Callable[..., Any]) -> set[int]:
    """What the schedule compares its step with, divides it by in whole numbers, or has a whole number of."""
    heard: Heard = set()
    tried: set[int] = set()
    for _ in range(4):  # behind a branch may be another
        known = steps_among(heard)
        todo = {0, 1, 10, *(c + j for c in known if c <= MOST for j in (-1, 0, 1))} - tried
        for step in sorted(todo):
            tried.add(step)
            try:
                with np.errstate(all="ignore"):
                    arguments = (counting(step, heard),) if required(schedule) != 2 else (step, [1.0] * min(step, 100))
                    schedule(*arguments)
            except Exception as problem:  # which is judged elsewhere
                swallowed(problem, "the look for what a schedule counts to")
    return set(steps_among(heard))


def steps_beyond(constants: Constants) -> int:
    """The steps to be compared: several times each constant, or twice, or at least beyond it."""
    found = LEAST
    for c in constants.heard | constants.guessed:
        for wanted, most in ((4 * c + BEYOND, OFTEN), (2 * c + BEYOND, MOST), (c + BEYOND, MOST)):
            if wanted <= most:
                found = max(found, wanted)
                break
    return found


def metrics_for(constants: Constants) -> list[float]:
    """A loss that falls, rises and falls to above its best, falls by too little, stands still, and so on, for long.

    Each of these lasts for longer than the patience and the rest of a scheduler.
    """
    long = 3 + max((c for c in constants.of_torch if 40 * c <= MOST), default=10)
    # first worse than the best, but better each time than the one before, while the rate may still be lowered
    found = [1.0, *np.linspace(1.2, 1.1, long).tolist(), 0.9, 0.8]
    found += [0.8 * (1 - 5e-5)] * long  # less than the usual threshold, 1e-4
    found += [0.8 * (1 - 2e-4)] * long  # more, and it stands still
    found += [0.8 * (1 - 2e-4) - 9e-5] * long  # more than it of the level, and less than it of 1
    found += [1.2] * (long // 2) + [0.7] * 2  # worse, but soon better
    found += [1.5] * long  # worse
    found += np.linspace(1.6, 2.6, long).tolist()  # worse and worse
    found += np.linspace(0.6, 0.5, long).tolist()
    found += [0.5] * (2 * long) + [0.4, 0.4]
    return found + [0.45] * (9 * long)
