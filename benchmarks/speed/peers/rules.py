"""The update rules for libraries that only differentiate, parameter by parameter, in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.speed.peers import ADAM_RATE, RATE, STEPS, Problem
from handgrad.manual.schedules import OneCycle

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
Arrays = list[np.ndarray]


def rule_of(p: Problem) -> Callable[[Arrays, Arrays], Arrays]:
    """The problem's rule: parameters and gradients → new parameters."""
    if p.rule == "sgd":
        return lambda params, grads: [w - RATE * g for w, g in zip(params, grads, strict=True)]
    schedule, k = OneCycle(ADAM_RATE, STEPS), 0
    moments = [(np.zeros_like(part), np.zeros_like(part)) for pair in p.params for part in pair]

    def adam(params: Arrays, grads: Arrays) -> Arrays:
        nonlocal moments, k
        rate, k = float(schedule(k)), k + 1
        moments = [
            (BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g)
            for (m, v), g in zip(moments, grads, strict=True)
        ]
        c1, c2 = 1 - BETA1**k, 1 - BETA2**k
        return [w - rate * (m / c1) / (np.sqrt(v / c2) + EPS) for w, (m, v) in zip(params, moments, strict=True)]

    return adam
