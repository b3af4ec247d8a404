"""A new activation, loss, optimizer, schedule or initialization is one file in manual/ and one row of the table.

They are added to a copy of the project, which then knows them everywhere: --help, the shipped checks, a run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handgrad import ROOMS
from handgrad.compare.pairs import table
from tests import ROOT
from tests.house.environments import laid_out

TABLE = "compare/pairs/table.py"

# file of manual/, what its __all__ gains, the derivation, the table and its new row
NEW = [
    (
        "activations.py",
        '"Softsign"',
        '''
@dataclass(frozen=True)
class Softsign(Layer):
    """g(z) = z / (1 + |z|), g'(z) = 1 / (1 + |z|)²."""

    def forward(self, params, x):
        return x / (1 + np.abs(x)), x

    def input_gradient(self, params, cache, dy):
        return dy / (1 + np.abs(cache)) ** 2
''',
        "ACTIVATIONS",
        '"softsign": Layer(lambda: manual.Softsign(), lambda: nn.Softsign()),',
    ),
    (
        "losses.py",
        '"MeanAbsoluteError"',
        '''
@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """mean |ŷ − y|."""

    def forward(self, output, target):
        return np.mean(np.abs(output - target)), output - target

    def gradient(self, cache):
        return np.sign(cache) / cache.size
''',
        "LOSSES",
        '"mae": Loss(lambda: manual.MeanAbsoluteError(), lambda: nn.L1Loss()),',
    ),
    (
        "optimizers.py",
        '"Adagrad"',
        '''
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """θ ← θ − η_t ∇ / (√Σ∇² + ε), η_t = η / (1 + t d)."""

    eps: float = 1e-10
    lr_decay: float = 0.0

    def init(self, theta):
        return {"step": 0, "sum": np.zeros_like(theta)}

    def update(self, theta, grad, state, learning_rate):
        t, s = state["step"], state["sum"] + grad * grad
        rate = learning_rate / (1 + t * self.lr_decay)
        return theta - rate * grad / (np.sqrt(s) + self.eps), {"step": t + 1, "sum": s}
''',
        "OPTIMIZERS",
        '"adagrad": Optimizer(lambda **o: manual.Adagrad(**o), '
        'lambda params, rate, **o: optim.Adagrad(params, lr=rate, **o), ({"eps": 1e-4, "lr_decay": 0.1},)),',
    ),
    (
        "schedules.py",
        '"Falling"',
        '''
@dataclass(frozen=True)
class Falling(Schedule):
    """η (1 − 0.9 t/T), and η/10 from T on."""

    steps: int = 1

    def __call__(self, step):
        return self.learning_rate * (1 - 0.9 * np.minimum(step, self.steps) / self.steps)
''',
        "SCHEDULES",
        '"linear": Schedule(lambda rate, steps, per_epoch: manual.Falling(rate, steps), '
        "lambda opt, rate, steps, per_epoch: lr_scheduler.LinearLR(opt, 1.0, 0.1, steps)),",
    ),
    (
        "initialization.py",
        "",
        '''

def lecun_normal(rng, shape):
    """N(0, 1 / fan_in)."""
    return rng.normal(0, np.sqrt(1 / shape[1]), shape)
''',
        "INITIALIZATIONS",
        '"lecun-normal": lambda: initialization.lecun_normal,',
    ),
]
NAMES = {"activation": "softsign", "loss": "mae", "optimizer": "adagrad", "schedule": "linear",
         "initialization": "lecun-normal"}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages as they are installed, in which everything of NEW is added."""
    top = laid_out(tmp_path_factory.mktemp("house"))
    for file, name, derivation, rows, row in NEW:
        path = top / "handgrad" / "manual" / file
        text = path.read_text(encoding="utf-8")
        if name:
            assert text.count("__all__ = [") == 1
            text = text.replace("__all__ = [", f"__all__ = [{name}, ")
        path.write_text(text + derivation, encoding="utf-8")
        path = top / "handgrad" / TABLE
        lines = path.read_text(encoding="utf-8").splitlines()
        (head,) = (i for i, line in enumerate(lines) if line.startswith((f"{rows} = {{", f"{rows}: ")))
        path.write_text("\n".join([*lines[: head + 1], f"    {row}", *lines[head + 1 :]]) + "\n", encoding="utf-8")
    return top / "handgrad"


def run(house: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python in the folder beside the copy, with the copy's packages."""
    environment = os.environ | {"PYTHONPATH": str(house.parent)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=house.parent, env=environment
    )


def test_one_file_of_manual_and_one_row_each_are_all_that_is_touched(house: Path) -> None:
    files = [file for room in ROOMS for file in (house / room).rglob("*.py")]
    there = {file: ROOT / file.relative_to(house) for file in files}
    changed = {file.relative_to(house).as_posix() for file in files if file.read_bytes() != there[file].read_bytes()}
    assert changed == {TABLE, *(f"manual/{file}" for file, *_ in NEW)}
    before, after = ((folder / TABLE).read_text(encoding="utf-8").splitlines() for folder in (ROOT, house))
    assert sorted(set(after) - set(before)) == sorted(f"    {row}" for *_, row in NEW)
    assert len(after) == len(before) + len(NEW)


def test_help_offers_it(house: Path) -> None:
    shown = run(house, "-m", "handgrad", "mnist", "--help")
    words = " ".join(shown.stdout.split())
    for option, name in NAMES.items():
        assert f"--{option} NAME {name}, " in words
    assert "--lr-decay X of adagrad " in words
    assert "--eps X of adagrad, adam, adamw, rmsprop " in words


def test_it_is_among_the_shipped_checks_and_agrees(house: Path) -> None:
    code = """
from handgrad import check
from handgrad.compare.pairs.shipped import shipped
for name, ours, reference, arguments in shipped():
    print(name, check(ours, reference, **arguments).agrees)
"""
    shown = run(house, "-c", code).stdout.splitlines()
    for name in ("softsign", "mae", "adagrad", "adagrad eps=0.0001 lr_decay=0.1", "schedule linear"):
        assert f"{name} True" in shown


def test_a_run_trains_with_it(house: Path, few_digits: Path, tmp_path: Path) -> None:
    options = [word for option, name in NAMES.items() for word in (f"--{option}", name)]
    shown = run(
        house, "-m", "handgrad", "mnist", *options, "--eps", 1e-4, "--max-steps", 2, "--no-log",
        "--data-dir", few_digits, "--logdir", tmp_path,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "784-16-16-10, 13,002 parameters · softsign · mae · adagrad eps=0.0001 η=0.1 linear" in shown.stdout
    assert "2 steps" in shown.stdout
    assert "all agree" in shown.stdout


# --- rows that are wrong --------------------------------------------------------------------------------------------


def every_side() -> dict[str, Callable[[], Any]]:
    """Both sides of each row, as functions of nothing."""
    sides: dict[str, Callable[[], Any]] = {}
    for name, row in {**table.ACTIVATIONS, **table.LAYERS, **table.LOSSES}.items():
        sides |= {f"{name}, manual": row.manual, f"{name}, torch": row.torch}
    sides |= table.INITIALIZATIONS
    for name, rule in table.OPTIMIZERS.items():
        sides[f"{name}, manual"] = rule.manual
    for name, model in table.MODELS.items():
        sides[f"{name}, manual"] = lambda model=model: model.manual(model.sizes)
        sides[f"{name}, torch"] = lambda model=model: model.torch(model.sizes)
    for name, schedule in table.SCHEDULES.items():
        sides[f"{name}, manual"] = lambda schedule=schedule: schedule.manual(0.1, 100, 10)
    return sides


@pytest.mark.parametrize("side", every_side())
def test_every_row_names_what_exists(side: str) -> None:
    assert every_side()[side]() is not None


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        (table.Layer(lambda: table.manual.Softsine(), lambda: table.nn.ReLU()), "handgrad.manual has no Softsine"),
        (table.Layer(lambda: table.manual.ReLU(), lambda: table.nn.RELU()), "torch.nn has no RELU"),
    ],
)
def test_a_row_that_names_nothing_is_answered_in_one_sentence(
    row: table.Layer, missing: str, monkeypatch: pytest.MonkeyPatch, handgrad: Any, few_digits: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(table.ACTIVATIONS, "new", row)
    outcome = handgrad("mnist", "--activation", "new", "--data-dir", few_digits, "--logdir", tmp_path / "runs")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"handgrad mnist: a row of compare/pairs/table.py must name what exists, but {missing}: add it there, "
        "or correct the row\n"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", table.OPTIMIZERS)
def test_every_option_of_a_rule_is_in_its_settings(name: str) -> None:
    rule = table.OPTIMIZERS[name]
    assert {option for setting in rule.settings for option in setting} == set(rule.options)
    for setting in rule.settings:
        assert all(isinstance(value, bool) == isinstance(rule.options[k], bool) for k, value in setting.items())
