"""Which line of the rule is wrong? Every edit of its recipe, and every two, run over the whole trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.bisection import crossing
from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.diagnosis.residual import gap
from handgrad.compare.diagnosis.rules.edit import LineEdit, Units, earlier, starting
from handgrad.compare.diagnosis.rules.lines import edited, edits, numbers, units, with_number
from handgrad.compare.diagnosis.rules.read_off import read_off
from handgrad.compare.diagnosis.rules.recipes import ROUNDED, Recipe, narrowed, recipe_of
from handgrad.compare.diagnosis.rules.sentences import sentence
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import steps_of, theta_after
from handgrad.compare.judge.sides import Arrays
from handgrad.compare.judge.trajectories import rates

FUNCTIONS: dict[str, Any] = {
    ROUNDED: lambda v: float(np.float32(v)),
    "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign, "maximum": np.maximum, "where": np.where, "clip": np.clip,
    "tanh": np.tanh, "exp": np.exp, "log": np.log, "minimum": np.minimum,
}  # fmt: skip
LINE, STATE = "line of the rule", "precision of the state"
MIXING = {"sum", "mean", "size"}  # a line with one of these is another one for a few of the elements
ALSO = 1  # other names for the same numbers are listed up to so much more complexity
PAIRED = 40000  # pairs that are tried
Edits = tuple[LineEdit, ...]
Causes = Callable[[Case], tuple[Cause, ...]]  # of one output
Fitting = tuple[int, float, Edits]  # the complexity, what is left, and what is edited


class Trajectory:
    """One draw: the manual numbers of every step, and the bounds."""

    def __init__(self, recipe: Recipe, case: Case) -> None:
        self.inputs: Arrays = case.inputs
        self.names = {torch_name: k for k, torch_name in recipe.state.items() if torch_name}
        self.wanted = [
            (name, out)
            for name, out in {**case.beside, case.output: case.beside.get(case.output, case)}.items()
            if steps_of(name) or name in self.names
        ]
        self.state = {name: case.inputs.get(recipe.state.get(name, ""), v) for name, v in recipe.starts.items()}
        self.done = int(case.inputs.get("step", case.inputs.get("previous") is not None))  # steps before the first

    def run(self, lines: Units, hyper: dict[str, Any], steps: int | None = None, few: Any = slice(None)) -> Any:
        """θ after every step, and the state at the end; of a few elements only, if so asked."""
        starts = {name: hyper.get(starting(name), v) for name, v in self.state.items()}
        starts = {name: v[few] if isinstance(v, np.ndarray) else v for name, v in starts.items()}
        before = {} if self.inputs.get("previous") is None else {"total": self.inputs["previous"][few]}
        space: dict[str, Any] = {**FUNCTIONS, **hyper, **starts, "theta": self.inputs["theta"][few], **before}
        space["last"] = before.get("total")
        eta = rates(self.inputs)
        code = [line for line in lines if line is not None]
        thetas = []
        for t, g in enumerate(self.inputs["grads"][:steps, few], self.done + 1):
            if "lr" in hyper:  # which may change from step to step
                space["lr"] = hyper["lr"] * (eta[t - self.done - 1] / eta[0])
            space |= {"g": g, "t": t, **{earlier(name): space[name] for name in starts}}
            for line in code:
                exec(line, space)
            thetas.append(space["theta"])
        return thetas, space

    def output(self, name: str, thetas: list[Any], space: dict[str, Any]) -> Any:
        """One output of a run."""
        steps = steps_of(name)
        return space.get(self.names.get(name, "")) if steps is None else thetas[steps - 1]

    def may_be(self, lines: Units, hyper: dict[str, Any]) -> bool:
        """Whether the first two steps of a few elements are about the manual side's, which rules most edits out."""
        mixed = any(line is not None and MIXING & set(line.co_names) for line in lines)
        few = slice(None) if mixed else slice(0, 6)
        for steps in (1, 2):
            out = next((out for name, out in self.wanted if name == theta_after(steps)), None)
            if out is not None:
                made = self.run(lines, hyper, steps, few)[0][-1]
                if np.shape(made) != out.manual[few].shape:
                    return False
                if not np.abs(made - out.manual[few]).max() <= 1e-6 * np.abs(out.manual[few]).max():
                    return False
        return True

    def left(self, lines: Units, hyper: dict[str, Any]) -> float:
        """The largest difference that is left, as a fraction of the bound."""
        thetas, space = self.run(lines, hyper)
        worst = 0.0 if self.wanted else np.inf
        for name, out in self.wanted:
            made = self.output(name, thetas, space)
            if made is not None and np.ndim(made) == 0:  # a state that no line changes
                made = np.full(out.manual.shape, made)
            if made is None or np.shape(made) != out.manual.shape:
                return np.inf
            worst = max(worst, gap(out, made, 2.0))  # the change of the rule rounds as much as the manual side
            if worst > 1:
                return np.inf
        return worst


class _Trajectories:
    """What is searched for one cause: equal where the evaluations are the same ones, which the cache keeps alive.

    All outputs of an evaluation have the same trajectories, a step each.
    """

    def __init__(self, sides: Any, cases: Sequence[Case]) -> None:
        self.sides, self.cases = sides, tuple(cases)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Trajectories) or len(self.cases) != len(other.cases):
            return False
        return all(a.beside is b.beside for a, b in zip(self.cases, other.cases, strict=True))

    def __hash__(self) -> int:
        return hash(len(self.cases))


def wrong_lines(sides: Any, cases: Sequence[Case], most: int) -> tuple[Cause, ...]:
    """The edit of the recipe, or with most = 2 the two edits, that give the manual numbers on every draw."""
    return _searched(_Trajectories(sides, cases), most)(cases[0])


@lru_cache(maxsize=2)  # with one edit and with two
def _searched(of: _Trajectories, most: int) -> Causes:
    try:
        return _wrong_lines(of.sides, of.cases, most)
    except Exception as error:  # a rule that a recipe does not fit costs a name, not the check
        swallowed(error, "the search for a wrong line")
        return _nothing


def _wrong_lines(sides: Any, cases: Sequence[Case], most: int) -> Causes:
    optimizer = sides.optimizer([torch.nn.Parameter(torch.zeros(1))], rates(cases[0].inputs)[0])
    recipe = recipe_of(optimizer)
    if recipe is None and not type(optimizer).__module__.startswith("torch.optim"):
        recipe = read_off(sides.optimizer, cases[0].inputs["theta"], rates(cases[0].inputs)[0])
    if recipe is None:
        return _nothing
    with np.errstate(all="ignore"):
        if not _sound(recipe, cases):
            return _nothing
        right = [Trajectory(recipe, case).left(units(recipe), recipe.hyper) for case in cases]
        if max(right) <= 1:  # nothing is wrong with any line; an edit that does nothing would fit as well
            narrow = tuple(
                Cause(STATE, f"torch keeps {name} in float32; this rule keeps it in float64", name, residual=max(right))
                for name in _narrow_state(sides, cases[0])
                if cases[0].manual.dtype == np.float64
            )
            return lambda case: narrow
        for version in _versions(recipe):
            if found := _changed(version, cases, most):
                return partial(_causes, version, sorted(found, key=lambda f: f[0]))
    return _nothing


def _nothing(case: Case) -> tuple[Cause, ...]:
    return ()


def _causes(recipe: Recipe, found: list[Fitting], case: Case) -> tuple[Cause, ...]:
    """The likeliest edits, as causes of one output, and others that give the same numbers."""
    complexity, residual, likeliest = found[0]
    named = [(c, r, " and ".join(sentence(edit, recipe) for edit in together)) for c, r, together in found]
    others = {phrase: r for c, r, phrase in named[1:] if c <= complexity + ALSO and phrase != named[0][2]}
    also = tuple(Cause(LINE, phrase, residual=r) for phrase, r in others.items())[:3]
    felt = _felt(recipe, Trajectory(recipe, case), case.output, likeliest)
    return tuple(Cause(edit.kind, sentence(edit, recipe), residual=residual, alternatives=also) for edit in felt)


def _felt(recipe: Recipe, draw: Trajectory, output: str, together: Edits) -> Edits:
    """Those of the edits without which this output would be another one."""

    def made(some: Edits) -> Any:
        lines, hyper = edited(recipe, some)
        return draw.output(output, *draw.run(lines, hyper))

    whole = made(together)
    kept = tuple(c for c in together if not np.array_equal(made(tuple(o for o in together if o is not c)), whole))
    return kept or together


def _sound(recipe: Recipe, cases: Sequence[Case]) -> bool:
    """Whether the recipe, unchanged, is torch's rule."""
    for case in cases:
        thetas, _ = Trajectory(recipe, case).run(units(recipe), recipe.hyper)
        for name, out in case.beside.items():
            near = 1e-9 if out.torch.dtype == np.float64 else 1e-4
            if (steps := steps_of(name)) and not np.allclose(thetas[steps - 1], out.torch, near):
                return False
    return True


def _versions(recipe: Recipe) -> list[Recipe]:
    """The rule in float64, and with those numbers in float32 that torch keeps so."""
    narrow = narrowed(recipe)
    return [recipe] if narrow.lines == recipe.lines else [recipe, narrow]


def _changed(recipe: Recipe, cases: Sequence[Case], most: int) -> list[Fitting]:
    """One edit of the recipe that gives the manual numbers, or one hyperparameter, or with most = 2 two edits."""
    draws = [Trajectory(recipe, case) for case in cases]
    singles = list(edits(recipe))
    found = _fitting(recipe, draws, [(c,) for c in singles], screened=False)
    if not found:
        found = _fitting(recipe, draws, [(c,) for c in _fitted(recipe, draws[0])])
    if not found and most > 1:
        pairs = [(a, b) for a, b in combinations(singles, 2) if not a.touches & b.touches]
        pairs = sorted(pairs, key=lambda p: p[0].complexity + p[1].complexity)[:PAIRED]
        found = _fitting(recipe, draws, pairs)
    return found


def _narrow_state(sides: Any, case: Case) -> list[str]:
    """The numbers of its own that torch's rule keeps in float32 beside float64 parameters, but for the step count."""
    theta = torch.nn.Parameter(torch.from_numpy(case.inputs["theta"].copy()))
    optimizer = sides.optimizer([theta], rates(case.inputs)[0])
    theta.grad = torch.ones_like(theta)
    optimizer.step()
    return [
        name
        for name, v in optimizer.state[theta].items()
        if isinstance(v, torch.Tensor) and v.dtype == torch.float32 and name != "step" and float(v) != 1
    ]


def _fitting(recipe: Recipe, draws: list[Trajectory], tried: Iterable[Edits], screened: bool = True) -> list[Fitting]:
    found = []
    for together in tried:
        worst = 0.0
        lines, hyper = edited(recipe, together)
        try:
            if screened and not draws[0].may_be(lines, hyper):
                continue
            for draw in draws:
                worst = max(worst, draw.left(lines, hyper))
                if not worst <= 1:
                    break
        except (NameError, ValueError, ArithmeticError, TypeError, AttributeError):
            continue
        if worst <= 1:
            found.append((sum(c.complexity for c in together), worst, together))
    return found


def _fitted(recipe: Recipe, draw: Trajectory) -> list[LineEdit]:
    """Every hyperparameter with the round value, if there is one, that gives the manual numbers of the last step."""
    found = []
    code = units(recipe)
    name, out = next(w for w in reversed(draw.wanted) if steps_of(w[0]))
    step = steps_of(name) or 0

    def over(hyper: str, k: int, value: float) -> float:
        return float(draw.run(code, {**recipe.hyper, hyper: value}, step)[0][-1].flat[k] - out.manual.flat[k])

    for hyper in numbers(recipe):
        right = recipe.hyper[hyper]
        near_right = {right * 10.0**e for e in (-4, -2, -1, -0.5, 0.0, 0.5, 1, 2)}
        near_one = {1 - (1 - right) * 10.0**e for e in (-2, -1, 0.5, 1)}
        grid = sorted(near_right | near_one) if right else [1e-6, 1e-4, 1e-2, 0.1, 0.5, 1.0]
        last = draw.run(code, {**recipe.hyper, hyper: grid[-1]}, step)[0][-1]
        moved = last - draw.run(code, recipe.hyper, step)[0][-1]
        if not np.isfinite(moved).any():
            continue
        k = int(np.nan_to_num(np.abs(moved)).argmax())
        values = [over(hyper, k, v) for v in grid]
        for a, b, low, high in zip(values, values[1:], grid, grid[1:], strict=False):
            if np.isfinite(a) and np.isfinite(b) and a * b <= 0 and a != b:
                snapped = float(f"{crossing(partial(over, hyper, k), low, high):.5g}")
                if abs(snapped - right) > 1e-3 * abs(right):
                    found.append(with_number(hyper, snapped, right))
    return found
