"""Where a run is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SIDES = ("manual", "torch_ref")
SHARED = ("compare", "test", "log", "checkpoint")


@dataclass
class Progress:
    """What observers look at after each step and each epoch."""

    step: int = -1  # of the step just made, counted from 0
    epoch: int = 0
    learning_rate: float = 0.0
    drift: float = 0.0  # max |θ_manual − θ_torch|
    records: dict[str, Any] = field(default_factory=dict)  # StepRecord by side
    branch_flips: dict[str, int] = field(default_factory=dict)  # units on different branches on the two sides, by layer
    correct: dict[str, int] = field(default_factory=dict)  # test digits, by side
    test_loss: dict[str, float] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)  # of the step just made, by side
    notes: list[str] = field(default_factory=list)  # what a reader of the report must know of how the run went on
    # Time spent by each side's training, by the judge, by the test digits, by observers such as the event log, and
    # by the checkpoints.
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*SIDES, *SHARED), 0.0))
