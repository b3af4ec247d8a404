"""Points where a derivative jumps: a draw that holds them, and the words for sides that take different ones there.

At a kink the slope from the left is not that from the right, and any number between them is a subgradient. Torch
takes a certain one (0 for ReLU at 0), and a derivation may take another and still be right; but the two
sides then differ, and training differs with them. So it is said, and said to be a convention.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from handgrad.compare.checking.accept import TIES, subgradient_name
from handgrad.compare.checking.draws import away_from_zero
from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import (
    DY,
    OUTPUT,
    TARGET,
    X,
    differentiated,
    input_symbol,
    is_upstream,
)
from handgrad.compare.judge.objective import objective
from handgrad.compare.judge.sides import Arrays, Sides, is_float

USUAL = (0.0, 1.0, -1.0)  # ReLU, abs and sign; hard-tanh, Huber's δ, the margin of hinges
OF_TORCH = (3.0, -3.0, 6.0)  # Hardswish, Hardsigmoid and ReLU6 bend here, and have no attribute that says so
STEP = 2.0**-14  # of a one-sided difference; extrapolated, its error is a third derivative's 2⁻²⁸
SOME = 256  # elements that are looked at first
SPECIAL = 8  # a convention concerns a few points; elements that differ at more are no matter of one


def points(ours: Any, reference: Any) -> list[float]:
    """Where this layer or loss may have a kink: the usual points, those it declares, and its own constants."""
    fields = [f.name for f in dataclasses.fields(ours)] if dataclasses.is_dataclass(ours) else []
    own = [getattr(ours, name) for name in fields]
    own += [v for k, v in vars(reference).items() if not k.startswith("_")] if isinstance(reference, nn.Module) else []
    sizes = [v for v in own if isinstance(v, float) and 1e-3 < abs(v) < 1e3]
    declared = [float(k) for k in getattr(ours, "kinks", ())]
    return list(dict.fromkeys([*USUAL, *declared, *sizes, *(-v for v in sizes), *OF_TORCH]))


def at_points(rng: np.random.Generator, shape: Any, where: list[float]) -> np.ndarray:
    """Numbers away from zero, half of them replaced by the points, 0 of either sign, and a line's largest by a tie."""
    x = np.array(away_from_zero(rng, shape))
    chosen = rng.permutation(x.size)[: (x.size + 1) // 2]
    if where:
        x.flat[chosen] = np.resize([*where, -0.0] if 0.0 in where else where, len(chosen))
    if x.ndim and x.shape[-1] > 1:
        lines = x.reshape(-1, x.shape[-1])  # a view
        for line in lines[::2]:
            k = int(line.argmax())
            line[k - 1] = line[k]
    return x


def loss_at_points(rng: np.random.Generator, output: Any, target: Any, where: list[float], dtype: Any) -> Arrays:
    """An output at the points, and a target from which a part of it is one of the points away, exactly."""
    values = at_points(rng, output, where).astype(dtype)
    if not is_float(target) or target.shape != values.shape:
        return {OUTPUT: values, TARGET: target}
    near = rng.permutation(values.size)[: (values.size + 1) // 2 if where else 0]
    values.flat[near] = (target.flat[near] + np.resize(where, len(near))).astype(dtype)
    return {OUTPUT: values, TARGET: target}


class Place(NamedTuple):
    """A kink at which the two sides take different derivatives, both per unit of δ, and the slopes beside it."""

    where: str
    manual: float
    torch: float
    left: float
    right: float
    point: str = ""  # the number at which it is; TIES for a tie

    def cause(self) -> Cause:
        """The convention that differs."""
        convention = f"torch's convention there is the subgradient {self.torch:.6g}"
        phrase = f"{self.where}: manual {self.manual:.6g}, torch {self.torch:.6g}; {convention}"
        name = "" if self._outside() else subgradient_name(self.point)  # what is none is not accepted as one
        return Cause("subgradient convention", phrase, self.where, name)

    def _outside(self) -> list[str]:
        """The sides whose derivative does not lie between the slopes."""
        low, high = sorted((self.left, self.right))
        room = 1e-6 * max(abs(low), abs(high))
        sides = (("manual", self.manual), ("torch", self.torch))
        return [name for name, v in sides if not low - room <= v <= high + room]  # NaN is outside

    def advice(self) -> str:
        """Whether both are subgradients, and how to take torch's."""
        slopes = f"the slopes from the left, {self.left:.6g}, and from the right, {self.right:.6g}"
        room = 1e-6 * max(abs(self.left), abs(self.right))
        outside = self._outside()
        if outside:
            return f"{self.where}: {' and '.join(outside)} not between {slopes}: no subgradient"
        taken = {"the slope from the left": self.left, "the slope from the right": self.right,
                 "the mean of the two": (self.left + self.right) / 2}  # fmt: skip
        how = next((name for name, v in taken.items() if abs(v - self.torch) <= room), f"{self.torch:.6g}")
        both = "" if self.point == TIES else " and are subgradients"  # of several that tie, only all together are one
        return (
            f"{self.where}: both lie between {slopes}{both}; to follow torch, take {how}; to keep your own, "
            f'accept={{"{subgradient_name(self.point)}"}}'
        )


def places(sides: Sides, case: Case) -> list[Place]:
    """The kinks that explain all of a difference; none where a part of it lies where the function is smooth."""
    wrt = differentiated(case.output)
    if wrt is None or not _is_argument(sides, wrt) or case.manual.shape != case.torch.shape:
        return []
    if case.manual.shape != np.shape(case.inputs[wrt]):
        return []
    mask = case.where()
    x = case.inputs[wrt]
    _, back, counts = np.unique(x, return_inverse=True, return_counts=True)
    ties = mask & (counts[back].reshape(x.shape) > 1)
    # the numbers of a few elements are enough to see that there are too many of them
    some = np.zeros_like(mask)
    some.flat[np.flatnonzero(mask & ~ties)[:SOME]] = True
    if len(set(_names(case, wrt, some))) > SPECIAL + 1:  # −0 may count once more than among all
        return []
    differing = np.argwhere(mask)
    names = _names(case, wrt, mask)
    tied = {tuple(int(k) for k in i) for i in np.argwhere(ties)}
    firsts: dict[_Spot | None, tuple[int, ...]] = {}
    for row, spot in zip(differing, names, strict=True):
        index = tuple(int(i) for i in row)
        firsts.setdefault(None if index in tied and len(set(names)) > SPECIAL else spot, index)
    if not 0 < len(firsts) <= SPECIAL:
        return []
    found: dict[str, Place] = {}
    for point, index in firsts.items():
        place = _place(sides, case, wrt, index, point)
        if place is None:
            return []
        found.setdefault(place.where, place)
    return list(found.values())


def _is_argument(sides: Sides, name: str) -> bool:
    """Whether an input is an argument, and no parameter, whose numbers are nowhere special."""
    if isinstance(sides, CallSides):
        return input_symbol(name) in sides.arguments
    return name in (X, OUTPUT)


def jumps(case: Case) -> list[Cause]:
    """Forward passes that differ at a few points only, each with both values."""
    x = case.inputs.get(X)
    if case.output != OUTPUT or x is None or x.shape != case.torch.shape or case.manual.shape != x.shape:
        return []
    differing = np.argwhere(case.where())
    firsts = dict(zip(_names(case, X, case.where()), differing, strict=True))
    if not 0 < len(firsts) <= SPECIAL:
        return []
    found = []
    for spot, i in firsts.items():
        manual, torch = (float(side[tuple(i)]) for side in (case.manual, case.torch))
        found.append(Cause("value at a point", f"{spot.words}: manual {manual:.6g}, torch {torch:.6g}", spot.words))
    return found


class _Spot(NamedTuple):
    """Where an element lies: the letter, and its value."""

    symbol: str
    value: str

    @property
    def words(self) -> str:
        return f"at {self.symbol} = {self.value} exactly"


def _names(case: Case, wrt: str, mask: np.ndarray) -> list[_Spot]:
    """Where each masked element is: at which x; in a loss, at which output, or difference to the target."""
    x, target = case.inputs[wrt], case.inputs.get(TARGET)
    said = _at(input_symbol(wrt), x, mask)
    if target is None or not is_float(target) or target.shape != x.shape:
        return said
    apart = _at("ŷ − y", x - target, mask)
    return apart if len(set(apart)) <= len(set(said)) else said


def _at(symbol: str, x: np.ndarray, mask: np.ndarray) -> list[_Spot]:
    """The place of each masked element; −0 is 0 but where the two sides agree at 0."""
    agrees_at_zero = bool((~mask & (x == 0) & ~np.signbit(x)).any())
    shown = [f"{float(v) if v or agrees_at_zero else 0.0:.6g}".replace("-", "−") for v in x[mask]]
    return [_Spot(symbol, text) for text in shown]


def _ties(x: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """The other elements with the same value."""
    same = np.asarray(x == x[index])
    same[index] = False
    return same


def _place(sides: Sides, case: Case, wrt: str, index: tuple[int, ...], spot: _Spot | None) -> Place | None:
    """The kink at one element, at a spot or else at a tie; None where the function is smooth there."""
    name, point = ("", TIES) if spot is None else (spot.words, spot.value.replace("−", "-"))
    try:
        with np.errstate(all="ignore"):
            left, right = _slopes(sides, case.inputs, wrt, index)
            if not _apart(left, right):
                return None
            others = _ties(case.inputs[wrt], index)
            if others.any():  # is it the value, or the tie? Without the tie only the first is left
                moved = np.where(others, case.inputs[wrt] + 0.0625, case.inputs[wrt])
                if spot is None or not _apart(*_slopes(sides, {**case.inputs, wrt: moved}, wrt, index)):
                    name, point = f"where {input_symbol(wrt)} ties with another element", TIES
    except Exception as error:
        swallowed(error, "the look for a kink")
        return None
    unit = 1.0
    dy = case.inputs.get(DY)
    if dy is not None and dy.shape == case.manual.shape and dy[index] and _only_here(sides, case.inputs, wrt, index):
        unit = float(dy[index])
    values = (case.manual[index], case.torch[index], left, right)
    manual, torch, left, right = (float(v) / unit + 0.0 for v in values)  # + 0: no −0
    return Place(name, manual, torch, left, right, point)


def _slopes(sides: Sides, inputs: Arrays, wrt: str, index: tuple[int, ...]) -> tuple[float, float]:
    """The one-sided derivatives of ⟨dy, manual outputs⟩, or of the manual loss, in extended precision."""
    wide = {k: v.astype(np.longdouble) if is_float(v) else v for k, v in inputs.items() if not is_upstream(k)}

    def f(h: float) -> Any:
        moved = wide[wrt].copy()
        moved[index] += np.longdouble(h)
        return objective(sides.manual({**wide, wrt: moved}), inputs)

    here = f(0.0)

    def slope(h: float) -> float:
        """Two one-sided differences, extrapolated to a step of 0."""
        near, far = ((f(step) - here) / step for step in (h / 2, h))
        return float(2 * near - far)

    return slope(-STEP), slope(STEP)


def _apart(left: float, right: float) -> bool:
    """Whether the slopes differ by more than their error. Halfway, in powers of two, from 2⁻²⁸ to 1."""
    return abs(left - right) > 2.0**-14 * max(abs(left), abs(right), 1e-300)


def _only_here(sides: Sides, inputs: Arrays, wrt: str, index: tuple[int, ...]) -> bool:
    """Whether this element of the input moves only the element of the output in its place."""
    x = inputs[wrt].copy()
    x[index] += 0.0625
    plain = {k: v for k, v in inputs.items() if not is_upstream(k)}
    changed = np.asarray(sides.manual({**plain, wrt: x})[OUTPUT] != sides.manual(plain)[OUTPUT])
    changed[index] = False
    return not changed.any()
