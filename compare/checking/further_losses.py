"""Targets and outputs of a loss that only a derivation meets which agrees so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from handgrad.compare.checking.draws import Draw, Kind, away_from_zero
from handgrad.compare.checking.further import FIRST, finite
from handgrad.compare.checking.further_numbers import PEAKED, SCALES, tiny
from handgrad.compare.checking.further_shapes import BATCH, ROWS
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.names import OUTPUT, TARGET
from handgrad.compare.judge.sides import Arrays, LossSides, is_float

IGNORED = -100  # torch's own default of ignore_index
SMALL = 2.0**-12  # times the probabilities of a row, whose rest goes to its last class
Drawn = tuple[str, Kind, Callable[[], Arrays]]


def further_of_losses(
    sides: LossSides, one: Arrays, seed: int, free: bool, make: Callable[[int], Arrays] | None
) -> Iterator[Draw]:
    """The draws, none that the reference refuses or has no finite answer to.

    `free` says whether the outputs are ours to choose, and `make` gives others with so many rows, where it can.
    """
    rng = np.random.default_rng([seed, FIRST])
    plans = [
        *_of_rows(one, make),
        *_of_classes(sides, one, rng, make is not None),
        *_of_targets(one, free),
        *(_of_numbers(one, rng) if free else ()),
    ]
    for label, kind, arrays_of in plans:
        try:
            arrays = arrays_of()
            if finite(sides, arrays):
                yield Draw(label, arrays, kind)
        except (UsageError, ValueError, TypeError):
            continue


def _of_rows(one: Arrays, make: Callable[[int], Arrays] | None) -> Iterator[Drawn]:
    """A batch of one, and where no other batch is drawn, some of the rows that were given."""
    if make is not None:
        yield "a batch of one", Kind.BATCHES, lambda: make(1)
        yield f"a batch of {BATCH}", Kind.BATCHES, lambda: make(BATCH)
        return
    output, target = one[OUTPUT], one[TARGET]
    if output.ndim:
        n = len(output)
        m = ROWS - (n == ROWS)
        rows = np.resize(np.arange(n), m)
        shared = target.ndim and len(target) == n
        cut = {OUTPUT: output[rows], TARGET: target[rows] if shared else target}
        yield f"{m} of the rows that were given", Kind.ROWS, lambda: cut


def _of_classes(sides: LossSides, one: Arrays, rng: np.random.Generator, resized: bool) -> Iterator[Drawn]:
    """One class in every row, each class once, and rows that the reference leaves out."""
    output, target = one[OUTPUT], one[TARGET]
    if target.dtype.kind not in "iu" or not target.size or int(target.min()) < 0:
        return
    classes = output.shape[-1] if output.shape[:-1] == target.shape else int(target.max()) + 1
    last = one | {TARGET: np.full_like(target, classes - 1)}
    yield "one class", Kind.NUMBERS, lambda: last
    if output.shape[:-1] == target.shape and output.ndim == 2:
        every = {
            OUTPUT: away_from_zero(rng, (classes, classes)).astype(output.dtype),
            TARGET: rng.permutation(classes).astype(target.dtype),
        }
        yield "each class once", Kind.NUMBERS if resized else Kind.ROWS, lambda: every
    if target.size > 1:
        own = getattr(sides.module, "ignore_index", IGNORED)
        left_out = target.copy()
        left_out.flat[:: max(2, target.size // 2)] = own
        kind = Kind.UNASKED if own == IGNORED else Kind.NUMBERS  # the default of torch, which nobody may have meant
        yield f"targets of {own}, which torch leaves out", kind, lambda: one | {TARGET: left_out}


def _of_targets(one: Arrays, free: bool) -> Iterator[Drawn]:
    """Outputs that are their targets; targets that tie, 0, 1; probabilities of 0, 1 and small ones; padding."""
    output, target = one[OUTPUT], one[TARGET]
    if is_float(target) and target.shape == output.shape and target.ndim > 1 and free:
        met = output.copy()
        met[0] = target[0]
        yield "a row of outputs that are their targets", Kind.ALIKE, lambda: one | {OUTPUT: met}
    if not is_float(target) or target.size < 2 or np.isin(target, (0, 1)).all():
        return
    if target.min() < 0 or target.max() > 1:
        yield "targets that tie", Kind.ALIKE, lambda: one | {TARGET: np.round(target)}
        yield "targets of 0 and 1", Kind.UNASKED, lambda: one | {TARGET: (target > 0).astype(target.dtype)}
        return
    certain, padded = target.copy(), target.copy()
    lines = certain.reshape(-1, target.shape[-1])
    lines[0] = 0
    lines[0, 0] = 1
    lines[-1] *= SMALL
    lines[-1, -1] += 1 - SMALL if len(lines) > 1 else 0
    yield "probabilities of 0 and 1, and small ones", Kind.ALIKE, lambda: one | {TARGET: certain}
    padded.reshape(-1, target.shape[-1])[0] = 0
    yield "a row of targets that are 0", Kind.UNASKED, lambda: one | {TARGET: padded}


def _of_numbers(one: Arrays, rng: np.random.Generator) -> Iterator[Drawn]:
    """Outputs of mixed scales, peaked in one column, with zeros; tiny ones."""
    output, target = one[OUTPUT], one[TARGET]
    scales = rng.permutation((PEAKED, *SCALES) if output.dtype == np.float64 else SCALES)
    mixed = (output * np.resize(scales, output.shape[-1] if output.ndim else 1)).astype(output.dtype)
    few = slice(ROWS if output.ndim and is_float(target) and target.shape == output.shape else None)
    yield "mixed scales", Kind.SCALES, lambda: {OUTPUT: mixed[few], TARGET: target[few]}
    yield "tiny numbers", Kind.NUMBERS, lambda: {OUTPUT: tiny(output, rng)[few], TARGET: target[few]}
