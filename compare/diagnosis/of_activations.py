"""What may be wrong with an elementwise layer a = g(z): another formula where g'(z) belongs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides


def elementwise(sides: Sides, case: Case) -> bool:
    """Whether every number of torch's output depends on the number in its own place alone."""
    x, y = case.inputs["x"], case.results.get("output")
    if y is None or y.shape != x.shape:
        return False
    rng = np.random.default_rng(0)
    inputs = {k: v for k, v in case.inputs.items() if k != "dy"}
    for _ in range(2):
        moved = rng.integers(0, 2, x.shape).astype(bool)
        there = sides.torch({**inputs, "x": np.where(moved, -0.5 * x, x)})["output"]
        if not np.array_equal(there[~moved], y[~moved], equal_nan=True):
            return False
    return x.size > 1 and all(
        n in ("x", "dy") or not isinstance(v, np.ndarray) or v.size == 1 for n, v in inputs.items()
    )


def of_activation(sides: Sides, case: Case) -> Iterator[Candidate]:
    """δ ⊙ another formula, and the right formula with a factor too much or too few."""
    x, dy, t, y = case.inputs["x"], case.inputs["dy"], case.torch, case.results["output"]
    relu = np.array_equal(y, np.maximum(x, 0))
    missing = "g'(z) is missing: the derivative is taken as 1"
    yield Candidate(9, (missing + (", also where the ReLU is off" if relu else ""),), dy)
    yield Candidate(10, ("g'(z) is applied twice",), sides.torch({**case.inputs, "dy": t})[case.output])
    yield Candidate(10, ("g' is 0 for z ≤ 0 and 1 elsewhere: that of ReLU",), dy * (x > 0))
    yield Candidate(10, ("g' is 1 for z ≤ 0 and 0 elsewhere: the mask is inverted",), dy * (x <= 0))
    yield Candidate(11, ("the mask is taken from the upstream gradient: [δ > 0]",), dy * (dy > 0))
    for formula, f in formulas(x, y):
        if formula.startswith("z(") or formula == "1 − z²":
            words = f"g' = {formula}: the formula in the activation, evaluated at z"
        else:
            words = f"{formula} stands where g'(z) belongs"
        yield Candidate(14, (words,), dy * f)
        yield Candidate(15, (f"a factor {formula} too much",), t * f)
        yield Candidate(15, (f"a factor {formula} is missing",), t / f)


def formulas(z: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What stands in derivatives."""
    s = 1 / (1 + np.exp(-z))
    tanh = np.tanh(z)
    for name, v in (("y", y), ("z", z)):
        yield name, v
        yield f"1 − {name}", 1 - v
        yield f"1 + {name}", 1 + v
        yield f"{name}(1 − {name})", v * (1 - v)
        yield f"1 − {name}²", 1 - v * v
        yield f"1 + {name}²", 1 + v * v
        yield f"{name}²", v * v
    yield "y / z", y / z
    yield "σ(z)", s
    yield "σ(z)(1 − σ(z)), the sigmoid's derivative,", s * (1 - s)
    yield "1 − tanh² z, the derivative of tanh,", 1 - tanh * tanh
