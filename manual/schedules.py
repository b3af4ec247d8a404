"""η over time. A schedule is a function of the step, counted from 0, in closed form.

Each has the values of the scheduler of torch.optim.lr_scheduler named beside it; some of those multiply
their way from step to step, which is the same number but for rounding.
"""

from dataclasses import dataclass

import numpy as np

from handgrad.manual.layer import require_positive

__all__ = ["Constant", "Cosine", "Exponential", "OneCycle", "Schedule", "StepDecay"]


@dataclass(frozen=True)
class Schedule:
    """The protocol: `schedule(step)` is the learning rate of that step."""

    learning_rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.learning_rate < np.inf:
            raise ValueError(
                f"{type(self).__name__}: learning_rate must be a finite number of at least 0, "
                f"got {self.learning_rate!r}"
            )

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(step)")


@dataclass(frozen=True)
class Constant(Schedule):
    """η (ConstantLR with factor 1)."""

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """η γ^⌊t/s⌋: times γ after every s steps (StepLR)."""

    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("StepDecay", every=self.every)

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.gamma ** (step // self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """η γᵗ (ExponentialLR)."""

    gamma: float

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.gamma**step


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from η down to η_min in T steps (CosineAnnealingLR; Loshchilov and Hutter 2017, eq. 5)."""

    steps: int
    minimum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("Cosine", steps=self.steps)

    def __call__(self, step: int) -> float:
        return descend_by_cosine(self.learning_rate, self.minimum, step / self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to η and down to almost nothing by cosines (OneCycleLR without momentum cycling; Smith and Topin 2018).

    It starts at η/25, is at η after 30 % of the `steps`, and ends at η/25/10⁴, which are torch's defaults.
    """

    steps: int
    warm_up: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("OneCycle", steps=self.steps)
        if self.steps * self.warm_up <= 1 or self.steps * (1 - self.warm_up) <= 0:
            raise ValueError(
                f"OneCycle: {self.steps} steps leave no room for a warm-up of {self.warm_up:g} of them; use more steps"
            )

    def __call__(self, step: int) -> float:
        start = self.learning_rate / self.start_divisor
        end = start / self.end_divisor
        peak = self.warm_up * self.steps - 1
        if step <= peak:
            return descend_by_cosine(start, self.learning_rate, step / peak)
        return descend_by_cosine(self.learning_rate, end, (step - peak) / (self.steps - 1 - peak))


def descend_by_cosine(start: float, end: float, fraction: float) -> float:
    """From `start` (fraction 0) to `end` (fraction 1) along half a cosine; it may also ascend."""
    value: float = end + (start - end) * (1 + np.cos(np.pi * fraction)) / 2
    return value
