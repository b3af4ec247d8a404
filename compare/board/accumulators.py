"""What a point of a curve says of all steps since the point before it. A checkpoint keeps what they have so far."""

from __future__ import annotations

from collections.abc import Mapping

from handgrad.compare.board import scalars
from handgrad.compare.judge.ledger import StageRow
from handgrad.compare.judge.names import PHASES, phase_of
from handgrad.compare.judge.whole_step import STAGE as WHOLE_STEP
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.progress import SIDES, Progress


class Worst:
    """The worst element of every stage since the last point: fraction, |Δ| and what is allowed there."""

    def __init__(self, stages: Mapping[str, tuple[float, float, float]]) -> None:
        self.stages = dict(stages)

    def add(self, rows: dict[str, StageRow]) -> None:
        """Take in a step."""
        for name, row in rows.items():
            known = self.stages.get(name)
            if name != WHOLE_STEP and (known is None or row.last_fraction > known[0]):
                self.stages[name] = (row.last_fraction, row.last_difference, row.last_allowed)

    def take(self) -> dict[str, float]:
        """The point, by tag; the next one begins afresh."""
        found = {scalars.FRACTION: max((fraction for fraction, _, _ in self.stages.values()), default=0.0)}
        found |= {f"{scalars.STAGES}/{name}": fraction for name, (fraction, _, _) in self.stages.items()}
        for phase in PHASES:
            of_phase = [worst for name, worst in self.stages.items() if phase_of(name) == phase]
            if of_phase:
                # One beyond its bound, if there is one; else the largest: a probability of 1e-30 has little to show.
                _, difference, allowed = max(of_phase, key=lambda worst: (worst[0] > 1, worst[1]))
                found |= _margin(phase, difference, allowed)
        self.stages = {}
        return found


def _margin(phase: str, difference: float, allowed: float) -> dict[str, float]:
    values = (scalars.log10(x, scalars.EQUAL) for x in (0.0, difference, allowed))
    return dict(zip(scalars.margin(phase), values, strict=True))


class Clock:
    """How long a step takes, on the mean since the last point."""

    NAMES = (*SIDES, "compare")

    def __init__(self, before: Mapping[str, float]) -> None:
        self.before = {"step": -1.0, **dict.fromkeys(self.NAMES, 0.0), **before}

    def read(self, now: Progress) -> dict[str, dict[str, float]]:
        """The point, by tag, of each run."""
        steps = now.step - self.before["step"]
        each = {name: (now.seconds[name] - self.before[name]) / steps for name in self.NAMES}
        found = {name: {scalars.SECONDS: 1e3 * seconds} for name, seconds in each.items()}
        if each["manual"] > 0:
            found["compare"][scalars.FASTER] = each["torch_ref"] / each["manual"]
        self.before = {"step": float(now.step), **{name: now.seconds[name] for name in self.NAMES}}
        return found


class EpochCounts:
    """How often something happened since the last epoch's end."""

    def __init__(self, before: Mapping[str, int]) -> None:
        self.before = {scalars.FLIPS: 0, scalars.VACUOUS: 0, **before}

    def take(self, run: Lockstep) -> dict[str, float]:
        """The counts of this epoch, by tag."""
        stages = (row for name, row in run.judge.rows.items() if name != WHOLE_STEP)
        now = {
            scalars.FLIPS: sum(run.progress.branch_flips.values()),
            scalars.VACUOUS: sum(row.vacuous for row in stages),
        }
        found = {tag: float(count - self.before[tag]) for tag, count in now.items()}
        self.before = now
        return found
