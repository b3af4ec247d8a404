"""δ of what looks through a window (a convolution, a pool, an enlargement) put back at the wrong places, not added."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.backward.pools import MOST_POSITIONS, of_an_average
from handgrad.compare.diagnosis.graph.edits.backward.step import Place, Slip
from handgrad.compare.diagnosis.graph.record.trace import Tensor

PLAIN = ((3, "stride"), (4, "padding"), (5, "dilation"))  # a convolution's arguments


def of_a_window(here: Place) -> Iterator[Slip]:
    """All of this room but the largest of a window, whose results are several."""
    if here.name == "convolution" and not here.node.args[6]:
        yield from _of_a_convolution(here)
    elif here.name == "convolution":
        yield from _of_strides(here, ((3, "stride"), (5, "dilation")))
    elif here.name.startswith("avg_pool"):
        size = list(here.node.args[1])
        steps = list(here.node.args[2]) if len(here.node.args) > 2 and here.node.args[2] else size
        if any(s < k for s, k in zip(steps, size, strict=True)):
            yield from _overwriting(here)
        yield from of_an_average(here, size, steps)
    elif here.name.startswith("upsample_nearest"):
        yield from _of_an_enlargement(here)


def _of_a_convolution(here: Place) -> Iterator[Slip]:
    args = here.node.args
    yield from _of_strides(here, PLAIN)
    groups = args[8] if len(args) > 8 else 1
    if groups > 1 and here.place == 0:
        w = here.arguments[1].detach()
        for by in dict.fromkeys((1, groups - 1)):
            words = f"{here.of}, the kernels of another group stand where those of the group belong"
            yield here.slip(("group", by), 12, words, here.with_other(1, w.roll(by * w.shape[0] // groups, 0)))
    kernel = here.arguments[1].shape[2:]
    if here.place == 0:
        reach = [d * (n - 1) + 1 for d, n in zip(args[5], kernel, strict=True)]
        if any(s < n for s, n in zip(args[3], reach, strict=True)):
            yield from _overwriting(here)
    elif math.prod(here.up.shape[2:]) > 1:
        for which in ("last", "first"):
            words = (
                f"{here.of}, what the positions give overwrites each other where it should add up: only the {which} "
                "position is left"
            )
            yield here.slip(f"only the {which}", 11, words, here.before(partial(_only, which)))


def _of_strides(here: Place, settings: tuple[tuple[int, str], ...]) -> Iterator[Slip]:
    args = here.node.args
    for k, what in settings:
        for other in range(3):
            if all(v == other for v in args[k]) or (what != "padding" and other == 0):
                continue
            words = f"δ of {here.here} is put back as if the {what} were {other}, not {args[k][0]}"
            yield here.slip((what, other), 11, words, partial(_as_if, here, k, other, cut=False))
            if here.place == 1 and what == "padding":
                words = f"{here.of}, the input stands with padding {other}, not {args[k][0]}, and δ is cut off to fit"
                yield here.slip((what, other, "cut"), 11, words, partial(_as_if, here, k, other, cut=True))


def _as_if(here: Place, k: int, other: int, up: Tensor, cut: bool) -> Tensor:
    """Put back with another stride, padding or dilation; what then lies beyond the input is cut off."""
    x, w, *rest = [a.detach() for a in here.arguments if isinstance(a, torch.Tensor)]
    others = list(here.node.args[3:])
    others[k - 3] = [other] * len(others[k - 3])
    reach = [
        (n - 1) * s + d * (m - 1) + 1
        for n, s, d, m in zip(up.shape[2:], others[0], others[2], w.shape[2:], strict=True)
    ]
    more = (
        [0 for _ in reach]
        if here.node.args[6] or cut
        else [max(0, r - n) for r, n in zip(reach, x.shape[2:], strict=True)]
    )
    wide = torch.nn.functional.pad(x, [v for m in reversed(more) for v in (0, m)])
    with torch.enable_grad():
        leaves = [wide.requires_grad_(), w.requires_grad_()]
        y = here.node.op(*leaves, rest[0] if rest else None, *others)
    full = torch.zeros_like(y)
    part = tuple(slice(0, min(a, b)) for a, b in zip(y.shape, up.shape, strict=True))
    full[part] = up[part]
    found = torch.autograd.grad(y, leaves[here.place], full)[0]
    return found[tuple(slice(0, n) for n in here.x.shape)]


def _only(which: str, up: Tensor) -> Tensor:
    """δ of the first or the last position of the window."""
    at: tuple[Any, ...] = (..., *(0 if which == "first" else -1 for _ in up.shape[2:]))
    kept = torch.zeros_like(up)
    kept[at] = up[at]
    return kept


def _overwriting(here: Place) -> Iterator[Slip]:
    if math.prod(here.up.shape[2:]) <= MOST_POSITIONS:
        words = f"windows of {here.here} that overlap overwrite each other where they should add up"
        for order, which in ((1, "last"), (-1, "first")):
            yield here.slip(
                f"overwrite {which}", 11, f"{words}: only the {which} is left", partial(_overwritten, here, order)
            )


def _overwritten(here: Place, order: int, up: Tensor) -> Tensor:
    covers = here.with_other(1, torch.ones_like(here.arguments[1])) if here.name == "convolution" else here.right
    out = torch.zeros_like(here.x)
    for place in list(product(*(range(n) for n in up.shape[2:])))[::order]:
        at: tuple[Any, ...] = (..., *place)
        one, alone = torch.zeros_like(up), torch.zeros_like(up)
        one[at], alone[at] = 1, up[at]
        out = torch.where(covers(one) != 0, here.right(alone), out)
    return out


def _of_an_enlargement(here: Place) -> Iterator[Slip]:
    times = [m // n for m, n in zip(here.up.shape, here.x.shape, strict=True)]
    if any(m != n * t for m, n, t in zip(here.up.shape, here.x.shape, times, strict=True)):
        return
    first = tuple(slice(None, None, t) for t in times)
    words = f"of every window of δ of {here.here} only the first number counts, where their sum belongs"
    yield here.slip("first", 11, words, lambda up: up[first])
    words = f"δ of {here.here} is averaged over every window, where the sum belongs"
    yield here.slip("averaged", 11, words, lambda up: here.right(up) / math.prod(times))
    words = f"δ of {here.here} is summed as if it were tiled: over numbers that are far apart, not over a window"
    parts = [n for t, m in zip(times, here.x.shape, strict=True) for n in (t, m)]
    yield here.slip("tiled", 11, words, lambda up: up.reshape(parts).sum(tuple(range(0, len(parts), 2))))
