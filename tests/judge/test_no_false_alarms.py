"""A right derivation is never called wrong: a thinned grid of everything with everything, on real digits.

The whole grid, 1,300 runs of 200 steps, is `python -m benchmarks.robustness.false_alarms`.
"""

from collections import Counter

import pytest

from benchmarks.robustness.false_alarms import digits, grid
from handgrad import data
from handgrad.compare.judge.whole_step import STAGE
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.lockstep import Lockstep

STEPS = 30
EVERY = 17  # has no factor in common with the length of any axis, so each value of each is met


RUNS = list(grid(STEPS))
THINNED = RUNS[::EVERY]


def test_the_grid_is_whole() -> None:
    assert len(RUNS) == 5 * 6 * 13 * 2 * 2
    assert len({names[:5] for names, _ in RUNS}) == len(RUNS)
    assert len({names[:3] + names[5:] for names, _ in RUNS}) == 5 * 6 * 13


def test_the_thinned_grid_meets_every_value() -> None:
    for axis in range(6):
        met = Counter(names[axis] for names, _ in THINNED)
        assert set(met) == {names[axis] for names, _ in RUNS}
        assert min(met.values()) >= 2


@pytest.mark.parametrize(("names", "experiment"), THINNED, ids=[" · ".join(names) for names, _ in THINNED])
def test_no_false_alarm(names: tuple[str, ...], experiment: Experiment, mnist: data.Dataset) -> None:
    run = Lockstep(experiment, digits(STEPS, mnist))
    run.run()
    rows = [row for row in run.judge.rows.values() if row.name != STAGE]
    assert run.judge.disagreements == []
    assert run.progress.step == STEPS - 1
    assert sum(r.numbers for r in rows) > 30 * 13002
    assert sum(r.vacuous for r in rows) == 0
    assert max(r.closest for r in rows) <= 1
    # Every layer forward, and backward but for the first; three times parameters; loss, its gradient, update; η.
    layers = len(run.sides.network.layers)
    assert len(rows) == layers + (layers - 1) + 3 + 3 + (names[5] != "constant")
