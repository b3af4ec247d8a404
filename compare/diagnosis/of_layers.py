"""What may be wrong with a layer: torch's own layer at changed parameters, inputs and upstream gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate, again, again_with
from handgrad.compare.diagnosis.of_activations import elementwise
from handgrad.compare.diagnosis.of_places import misused, of_pairs
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides, parameter, parameters_among

LARGEST_BATCH = 64  # of which single examples are looked at


def of_forward(sides: Sides, case: Case) -> Iterator[Candidate]:
    """The forward pass with a parameter or the input misused."""
    x = case.inputs["x"]
    yield Candidate(10, ("the input comes out unchanged",), x)
    y = case.results.get("output")
    if y is not None and y.shape == x.shape:
        yield from of_pairs(sides, case)
    yield from _misused_parameters(sides, case, forward=True)
    yield from misused(sides, case, "x", "x", 12)
    yield from _again(sides, case, 12, "the sign of the input is flipped", {"x": -x})
    yield from _without_eps(sides, case)


def of_any_gradient(sides: Sides, case: Case) -> Iterator[Candidate]:
    """A gradient with a parameter, the input or the upstream gradient misused."""
    x, dy, y = case.inputs["x"], case.inputs["dy"], case.results.get("output")
    yield from _again(sides, case, 10, "the upstream gradient is left out (taken as 1)", {"dy": np.ones_like(dy)})
    if y is not None and y.shape == x.shape:
        at_activation = "g' is evaluated at the activation instead of z"
        own = "the layer's own output stands where its input belongs"
        simple = elementwise(sides, case)
        yield from _again(sides, case, 10 if simple else 14, at_activation if simple else own, {"x": y})
    yield from _of_another(case)
    if case.output == "input gradient" and y is not None and y.shape == x.shape:
        words = "δ is put through the layer as in the forward pass, where its transpose belongs"
        yield Candidate(11, (words,), partial(_put_through, sides, case))
        yield from of_pairs(sides, case)
    yield from _misused_parameters(sides, case, forward=False)
    yield from misused(sides, case, "x", "x", 12)
    yield from misused(sides, case, "dy", "the upstream gradient", 12)
    for name, value in case.parameters_after.items():
        what = f"{name} was updated before it was used to propagate"
        yield from _again(sides, case, 10, what, {parameter(name): value})
    yield from _without_eps(sides, case)


def _of_another(case: Case) -> Iterator[Candidate]:
    """The gradient of something else of the layer: two of them changed places, where the other one is wrong too."""
    for name, value in case.results.items():
        if "gradient" in name and name != case.output:
            other = case.beside.get(name)
            right = other is not None and bool((np.abs(other.manual - other.torch) <= other.allowed).all())
            yield Candidate(14 if right else 11, (f"it is the {name}",), value)
            if value.ndim == 2 and value.shape[0] != value.shape[1]:
                yield Candidate(12, (f"it is the {name}", "it is transposed"), value.T)


def _put_through(sides: Sides, case: Case) -> np.ndarray | None:
    """The layer itself of the upstream gradient, where it is linear; None where it is not."""
    forward = replace(case, output="output")
    x, dy, once = case.inputs["x"], case.inputs["dy"], case.results["output"]
    zero, of_dy, both = (again_with(sides, forward, {"x": v}) for v in (0 * x, dy, x + dy))
    if zero is None or of_dy is None or both is None:
        return None
    near = float(np.sqrt(np.finfo(once.dtype).eps)) * max(np.abs(v).max(initial=0) for v in (once, of_dy))
    linear = np.abs(both - once - of_dy + zero).max(initial=0) <= near
    return of_dy - zero if linear else None


def of_parameter_gradient(sides: Sides, case: Case) -> Iterator[Candidate]:
    """A parameter's gradient with its sum over the batch, or its factors, gone wrong."""
    x, dy = case.inputs["x"], case.inputs["dy"]
    y, N = case.results.get("output"), case.batch
    if x.ndim >= 2 and dy.ndim >= 1 and dy.shape[0] == N > 1:
        total = {"x": x.sum(axis=0, keepdims=True), "dy": dy.sum(axis=0, keepdims=True)}
        yield from _again(sides, case, 12, "the batch is summed before the product: errors, activations apart", total)
        mean = {k: v / N for k, v in total.items()}
        yield from _again(sides, case, 12, "the batch is averaged before the product: errors, activations apart", mean)
        yield from _of_single_examples(sides, case)
    shape = case.manual.shape
    for axes in [*((a,) for a in range(dy.ndim)), *_all_but_one(dy.ndim), tuple(range(dy.ndim)), ()]:
        where = f"over axis {', '.join(map(str, axes))}" if axes else "over nothing"
        factors = [(11, "it is the upstream gradient", dy)]
        factors += [(15, "it is δ·x", dy * x)] if x.shape == dy.shape else []
        factors += [(15, "it is δ·y", dy * y)] if y is not None and y.shape == dy.shape else []
        for complexity, what, product in factors:
            reduced = np.asarray(product.sum(axis=axes)) if axes else product
            yield Candidate(complexity, (f"{what}, summed {where}",), reduced)
            if reduced.ndim == 0 and shape:
                yield Candidate(complexity, (f"{what}, summed {where}",), np.full(shape, reduced))
    yield from _again(sides, case, 10, "the input x is left out (taken as 1)", {"x": np.ones_like(x)})
    if x.ndim == 2 and dy.ndim == 2 and y is not None:
        yield Candidate(12, ("the layer's own output stands where its input belongs",), dy.T @ y)


def _all_but_one(ndim: int) -> list[tuple[int, ...]]:
    return [tuple(a for a in range(ndim) if a != kept) for kept in range(ndim)] if ndim > 2 else []


def _of_single_examples(sides: Sides, case: Case) -> Iterator[Candidate]:
    """One example only, one left out, and examples that overwrite each other where they should add up."""
    dy, N = case.inputs["dy"], case.batch
    if N > LARGEST_BATCH:
        return

    @cache
    def alone(k: int) -> np.ndarray:
        only = np.zeros_like(dy)
        only[k] = dy[k]
        result = again(sides, case, dy=only)
        return np.full_like(case.torch, np.nan) if result is None else result

    def left_out(k: int) -> np.ndarray:
        return case.torch - alone(k)

    def overwritten(order: range) -> np.ndarray:
        left = np.zeros_like(case.torch)
        for k in order:
            left = np.where(alone(k) != 0, alone(k), left)
        return left

    for k, which in ((0, "first"), (N - 1, "last")):
        yield Candidate(11, (f"only the {which} example of the batch counts",), partial(alone, k))
        words = f"the {which} example of the batch is left out"
        yield Candidate(11, (words,), partial(left_out, k))
    for order, which in ((range(N), "last"), (range(N)[::-1], "first")):
        words = f"the examples overwrite each other where they should add up: only the {which} one is left"
        yield Candidate(12, (words,), partial(overwritten, order))


def _misused_parameters(sides: Sides, case: Case, forward: bool) -> Iterator[Candidate]:
    for name, value in parameters_among(case.inputs).items():
        key = parameter(name)
        if forward:
            yield from _again(sides, case, 10, f"{name} is left out (taken as 0)", {key: np.zeros_like(value)})
            yield from _again(sides, case, 10, f"{name} is subtracted or negated", {key: -value})
            yield from _again(sides, case, 11, f"{name} is doubled (added twice)", {key: 2 * value})
            yield from _again(sides, case, 11, f"{name} is halved", {key: value / 2})
        unlikely = 10 if _is_factor(sides, case, key, value) else 15
        unlikely += 3 * (np.ndim(value) > 1)  # ones are no identity of a matrix: something else is likelier
        yield from _again(sides, case, unlikely, f"{name} is left out (taken as 1)", {key: np.ones_like(value)})
        yield from _again(sides, case, 11, f"{name} is applied twice", {key: value * value})
        if (value != 0).all():
            yield from _again(
                sides, case, 12, f"{name} is divided by where it should be multiplied with", {key: 1 / value}
            )
        yield from misused(sides, case, key, name, 10)


def _is_factor(sides: Sides, case: Case, key: str, value: np.ndarray) -> bool:
    """Whether the output, but for what does not depend on it, grows as the parameter does: only a factor can be 1."""
    forward = replace(case, output="output")
    zero, double = (again_with(sides, forward, {key: v}) for v in (0 * value, 2 * value))
    once = case.results.get("output")
    if once is None:
        return True
    if zero is None or double is None:
        return zero is None and double is not None and value.size > 0
    near = float(np.sqrt(np.finfo(once.dtype).eps)) * np.abs(once).max(initial=0)
    return bool(np.abs(double - 2 * once + zero).max(initial=0) <= near)


def _without_eps(sides: Sides, case: Case) -> Iterator[Candidate]:
    """The result with another ε, for a layer that would not change with the scale of its input but for an ε.

    Such a layer with ε/s² in place of ε is the layer at s·x; the gradient by x is then s times as large.
    """
    x, here = case.inputs["x"], case.results.get("output")
    if here is None or case.manual.shape != case.torch.shape or here.shape != x.shape:
        return

    def at(s: float, output: str = case.output) -> np.ndarray | None:
        found = again_with(sides, replace(case, output=output), {"x": s * x})
        return found * s if found is not None and output == "input gradient" else found

    far, near = (sides.torch({**case.inputs, "x": s * x})["output"] for s in (2.0**40, 2.0))
    size = np.abs(here).max(initial=0)
    if np.array_equal(near, here) or not np.abs(far - here).max(initial=0) < 1e-2 * size:
        return
    limit = at(2.0**40)
    if limit is None:
        return
    yield Candidate(11, ("ε is missing",), limit)
    # where the outputs differ already, they tell the scale; their elements only grow with it
    seen = case.beside.get("output")
    forward = seen is not None and not (np.abs(seen.manual - seen.torch) <= seen.allowed).all()
    shown = "output" if forward else case.output
    m, t = (seen.manual, seen.torch) if forward and seen is not None else (case.manual, case.torch)
    s = _fitted_scale(lambda s: at(s, shown), m, t, far if forward else limit)
    array = at(s) if s else None
    if array is not None:
        yield Candidate(21, (f"ε is {1 / s**2:.4g} times torch's",), array)


def _fitted_scale(at: Callable[[float], Any], m: np.ndarray, t: np.ndarray, limit: np.ndarray) -> float:
    """The scale at which the element that ε moves most is the manual side's; 0 for none between 1e-6 and 1e6."""
    k = int(np.abs(limit - t).argmax())
    low, high = -6.0, 6.0
    ends = [at(10.0**e) for e in (low, high)]
    if any(end is None for end in ends) or (ends[0].flat[k] - m.flat[k]) * (ends[1].flat[k] - m.flat[k]) > 0:
        return 0.0
    rising = ends[1].flat[k] > ends[0].flat[k]
    for _ in range(60):
        middle = (low + high) / 2
        array = at(10.0**middle)
        if array is None:
            return 0.0
        low, high = (low, middle) if (array.flat[k] > m.flat[k]) == rising else (middle, high)
    return float(10.0**low)


def _again(sides: Sides, case: Case, complexity: int, name: str, changes: Any) -> Iterator[Candidate]:
    """The candidate of torch's own layer at changed inputs, if these fit."""
    yield Candidate(complexity, (name,), lambda: again_with(sides, case, changes))
