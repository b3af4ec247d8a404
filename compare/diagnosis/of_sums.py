"""The right result and something more, or something done to it: a term added, clipped, a part of the batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate, again
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides, parameters_among

LARGEST_BATCH = 32  # of which single examples are looked at


def of_sum(sides: Sides, case: Case) -> Iterator[Candidate]:
    """All of this room."""
    m, t = case.manual, case.torch
    if m.shape != t.shape or not np.isfinite(m).all():
        return
    yield from _added(case)
    if case.output in ("output", "loss"):
        return
    yield from _clipped(m, t)
    yield Candidate(14, ("it is the square of the right gradient",), t * t)
    yield Candidate(14, ("it is the cube of the right gradient",), t**3)
    yield Candidate(12, ("only the sign of the right gradient is left",), np.sign(t))
    yield from _part_of_the_batch(sides, case)


def _added(case: Case) -> Iterator[Candidate]:
    """Something of the same shape added to it, once or with a round factor."""
    m, t = case.manual, case.torch
    others = {f"the parameter {k}": v for k, v in parameters_among(case.inputs).items()}
    others |= {"the input x": case.inputs.get("x"), "the upstream gradient δ": case.inputs.get("dy")}
    others |= {"the layer's output": case.results.get("output"), "the output ŷ": case.inputs.get("output")}
    others |= {
        f"the {k}": v
        for k, v in case.results.items()
        if "gradient" in k and k != case.output and case.output != "output"
    }
    others["the same number"] = np.ones_like(t)
    for name, v in others.items():
        if isinstance(v, np.ndarray) and v.shape != t.shape and case.output == "output":
            v = _broadcast(v, t.shape)
        if not isinstance(v, np.ndarray) or v.shape != t.shape or not np.abs(v).max(initial=0) > 0:
            continue
        k = int(np.abs(v).argmax())
        factor = float((m.flat[k] - t.flat[k]) / v.flat[k])
        rounded = float(f"{factor:.6g}")
        if not 1e-8 < abs(rounded) < 1e8 or abs(rounded - factor) > 1e-9 * abs(factor):
            continue
        what = {1.0: "added", -1.0: "subtracted"}.get(rounded, f"added, times {rounded:g}")
        if name == "the same number":
            name, what = f"{rounded:g}", "added to every number"
        decay = " (a weight decay)" if name.startswith("the parameter") else ""
        yield Candidate(13, (f"{name} is {what}{decay}",), t + rounded * v)


def _broadcast(v: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        return np.broadcast_to(v, shape)
    except ValueError:
        return None


def _clipped(m: np.ndarray, t: np.ndarray) -> Iterator[Candidate]:
    """Its numbers, or its norm, held at a limit."""
    limit = float(np.abs(m).max(initial=0))
    if 0 < limit < np.abs(t).max(initial=0) and float(f"{limit:.4g}") == limit:
        yield Candidate(11, (f"it is clipped to ±{limit:g}",), np.clip(t, -limit, limit))
    size, norm = (float(np.sqrt((v * v).sum())) for v in (t, m))
    rounded = float(f"{norm:.4g}")
    if 0 < norm < size and abs(rounded - norm) < 1e-12 * norm:
        yield Candidate(11, (f"its norm is clipped, or scaled, to {rounded:g}",), t * (rounded / size))


def _part_of_the_batch(sides: Sides, case: Case) -> Iterator[Candidate]:
    """Only the first examples, or only the last: each example's part is found with its own δ alone."""
    dy = case.inputs.get("dy")
    if not isinstance(dy, np.ndarray) or dy.ndim < 1 or case.output == "input gradient":
        return
    n = len(dy)
    if not 3 <= n <= LARGEST_BATCH:
        return
    for k in range(2, n - 1):
        for which, rows in (("first", slice(0, k)), ("last", slice(n - k, n))):

            def alone(rows: slice = rows) -> np.ndarray | None:
                only = np.zeros_like(dy)
                only[rows] = dy[rows]
                return again(sides, case, dy=only)

            yield Candidate(12, (f"only the {which} {k} examples of the batch count",), alone)
