"""What the reference gives where one of its inputs is another than the right one, or for another of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.diagnosis.whole.hypothesis import Change, Edit, Hypothesis
from handgrad.compare.diagnosis.whole.own_numbers import moves
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import parameter, parameters_among
from handgrad.compare.judge.sides import Arrays, Sides, is_float

SOURCES = {"input gradient": "x", "loss gradient": "output"}  # of which input an output is the gradient
EXAMPLES: tuple[tuple[str, Callable[[int], slice]], ...] = (
    ("only the first example of the batch counts", lambda n: slice(0, 1)),
    ("only the last example of the batch counts", lambda n: slice(n - 1, n)),
    ("the first example of the batch is left out", lambda n: slice(1, n)),
    ("the last example of the batch is left out", lambda n: slice(0, n - 1)),
    ("only the first half of the examples counts", lambda n: slice(0, n // 2)),
    ("only the last half of the examples counts", lambda n: slice(n // 2, n)),
)
NAMES = {"x": "x", "dy": "the upstream gradient", "output": "ŷ", "target": "the target"}
FACTORS = (
    ("δ summed", "the upstream gradient", ""),
    ("product summed", "δ·x", "x"),
    ("product summed", "δ·y", "output"),
)


def of_another_output(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """The gradient of something else of the layer: likelier where that one is wrong too, and the two changed places."""
    for name, value in case.results.items():
        if name in case.gradients and name != case.output and value.shape == case.torch.shape:
            right = name in case.beside and case.beside[name].agrees()
            cause = Cause("another output" if right else "outputs exchanged", f"it is the {name}", name)
            yield Hypothesis(cause, partial(_result, name))


def _result(name: str, case: Case) -> np.ndarray | None:
    return case.results.get(name)


def of_other_inputs(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """The reference at another input."""
    names = {parameter(name): name for name in parameters_among(case.inputs)} | NAMES
    # where the output is right, the numbers are where they belong in the forward pass
    wrong = "output" in case.beside and not case.beside["output"].agrees()
    own = parameter(case.parameter) if case.parameter else SOURCES.get(case.output)
    for key, name in names.items():
        value = case.inputs.get(key)
        for edit in _edits_of(value, key) if isinstance(value, np.ndarray) and is_float(value) else ():
            words = f"{name} is {edit.words} where it is used"
            yield Hypothesis(Cause(f"input {edit.name}", words, name), partial(_moved, sides, key, edit.change, None))
            if wrong and key == own and edit.back is not None:
                both = Cause("own input moved", f"{words}, and its gradient with it", name)
                yield Hypothesis(both, partial(_moved, sides, key, edit.change, edit.back))
    for name in case.parameters_after:
        early = Cause("updated too early", f"{name} was updated before it was used to propagate", name)
        yield Hypothesis(early, partial(_with_parameter_after, sides, name))


def of_some_examples(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """A parameter's gradient of a part of the batch: the reference where δ of the others is 0."""
    dy = case.inputs.get("dy")
    if case.parameter and dy is not None and dy.ndim and case.batch == len(dy) > 1:
        for words, rows in EXAMPLES:
            yield Hypothesis(Cause("some examples", words), partial(_with_examples, sides, rows))


def _with_examples(sides: Sides, rows: Callable[[int], slice], case: Case) -> np.ndarray | None:
    kept = np.zeros_like(case.inputs["dy"])
    kept[rows(case.batch)] = case.inputs["dy"][rows(case.batch)]
    return rerun(sides, case, {"dy": kept})


def _edits_of(value: np.ndarray, key: str) -> Iterator[Edit]:
    yield Edit("as 1", "left out (taken as 1)", np.ones_like)
    if key != "dy":  # a factor of the upstream gradient is one of the result, and named as such
        yield Edit("as 0", "left out (taken as 0)", np.zeros_like)
        yield Edit("negated", "negated", np.negative)
        yield Edit("doubled", "doubled", lambda v: 2 * v)
        yield Edit("halved", "halved", lambda v: v / 2)
    if value.ndim == 2 and value.shape[0] == value.shape[1]:
        yield Edit("transposed", "transposed", np.transpose, np.transpose)
    for axis, size in enumerate(value.shape):
        yield from moves(axis, size)
    for low in (np.float32, np.float16):
        if np.dtype(low).itemsize < value.dtype.itemsize:
            yield Edit("rounded", f"rounded to {np.dtype(low).name}", partial(_rounded, low))


def _rounded(low: type, value: np.ndarray) -> np.ndarray:
    return value.astype(low).astype(value.dtype)


def of_the_same_shape(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """Of a layer whose output has the shape of its input: the two taken for one another."""
    y = case.results.get("output")
    if y is None or "x" not in case.inputs or y.shape != case.inputs["x"].shape:
        return
    yield from _pairs(sides, case)
    if case.output != "output":
        cause = Cause("its own output", "the layer's own output stands where its input belongs", "x")
        yield Hypothesis(cause, lambda c: rerun(sides, c, {"x": c.results["output"]}))
    if case.output == "input gradient":
        twice = Cause("derivative twice", "the layer's derivative is applied twice")
        yield Hypothesis(twice, lambda c: rerun(sides, c, {"dy": c.torch}))


def as_in_the_forward_pass(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """The gradient of a linear layer that is put through the layer, not through its transpose."""
    y = case.results.get("output")
    if case.output == "input gradient" and y is not None and y.shape == case.inputs["x"].shape:
        words = "δ is put through the layer as in the forward pass, where its transpose belongs"
        yield Hypothesis(Cause("not transposed", words), partial(_put_through, sides))


def _pairs(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """Pairs of neighbours along an axis taken for pairs of its two halves, on both ends of the layer."""
    key = {"output": "x", "input gradient": "dy"}.get(case.output, "")
    for axis, size in enumerate(case.torch.shape if key else ()):
        if size < 4 or size % 2:
            continue
        words = f"pairs of neighbours and pairs of halves (i and i + n/2) are taken for each other along axis {axis}"
        halves = np.arange(size).reshape(-1, 2).T.ravel()
        for order in (halves, np.argsort(halves)):
            there, back = (partial(np.take, indices=o, axis=axis) for o in (order, np.argsort(order)))
            yield Hypothesis(Cause("other pairs", words, f"axis {axis}"), partial(_moved, sides, key, there, back))


def _put_through(sides: Sides, case: Case) -> np.ndarray | None:
    """The layer itself of the upstream gradient, where it is linear; None where it is not."""
    forward = replace(case, output="output")
    x, dy, once = case.inputs["x"], case.inputs["dy"], case.results["output"]
    zero, of_dy, both = (rerun(sides, forward, {"x": v}) for v in (0 * x, dy, x + dy))
    if zero is None or of_dy is None or both is None:
        return None
    near = float(np.sqrt(np.finfo(once.dtype).eps)) * max(np.abs(v).max(initial=0) for v in (once, of_dy))
    linear = np.abs(both - once - of_dy + zero).max(initial=0) <= near
    return of_dy - zero if linear else None


def _moved(sides: Sides, key: str, change: Change, back: Change | None, case: Case) -> np.ndarray | None:
    made = rerun(sides, case, {key: np.ascontiguousarray(change(case.inputs[key]))})
    return made if made is None or back is None else back(made)


def _with_parameter_after(sides: Sides, name: str, case: Case) -> np.ndarray | None:
    return rerun(sides, case, {parameter(name): case.parameters_after[name]})


def rerun(sides: Sides, case: Case, changes: Arrays) -> np.ndarray | None:
    """The reference's result for this output at changed inputs; None where these do not fit."""
    try:
        with np.errstate(all="ignore"):
            result = sides.torch({**case.inputs, **changes}).get(case.output)
    except Exception as error:  # a reference may refuse other inputs in any way
        swallowed(error, "the reference on other inputs")
        return None
    return result if isinstance(result, np.ndarray) else None


def of_reductions(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """A parameter's gradient as a plain sum of δ, δ · x or δ · y over some axes."""
    dy = case.inputs.get("dy")
    if not case.parameter or dy is None:
        return
    for n in range(dy.ndim + 1):
        for axes in combinations(range(dy.ndim), n):
            if np.sum(dy, axis=axes).shape in (case.manual.shape, ()):
                where = f"over axis {', '.join(map(str, axes))}" if axes else "over nothing"
                for edit, what, factor in FACTORS:
                    yield Hypothesis(Cause(edit, f"it is {what}, summed {where}"), partial(_summed, factor, axes))


def _summed(factor: str, axes: tuple[int, ...], case: Case) -> np.ndarray | None:
    dy = case.inputs["dy"]
    other = {"": np.ones_like(dy), "x": case.inputs.get("x"), "output": case.results.get("output")}[factor]
    if other is None or other.shape != dy.shape:
        return None
    made = np.sum(dy * other, axis=axes)
    return np.broadcast_to(made, case.manual.shape) if made.shape in (case.manual.shape, ()) else None
