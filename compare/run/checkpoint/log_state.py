"""What an event log needs to go on where a checkpoint was taken, and what its files held then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LogState:
    """All that a log keeps between two points of its curves."""

    worst: dict[str, tuple[float, float, float]]  # by stage: the largest fraction, |Δ| and what is allowed there
    clock: dict[str, float]  # the last point's step and seconds
    epoch: dict[str, int]  # the counts at the last epoch's end, by tag
    drawn: int | None  # the step of the last pictures
    summed: int | None  # the step of the last row of the HParams table
    told: int  # the disagreements that have been written


@dataclass(frozen=True)
class Logged:
    """The log at a checkpoint."""

    state: LogState
    files: dict[str, tuple[int, int]]  # bytes and CRC-32 of each event file, by its path in the run's folder
