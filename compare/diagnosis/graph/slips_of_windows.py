"""δ of what looks through a window (a convolution, a pool, an enlargement) put back at the wrong places, not added."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any, cast

import torch

from compare.diagnosis.graph.edge import Place, Slip, path
from compare.diagnosis.graph.trace import Edge, Node, Tensor, Trace
from compare.diagnosis.graph.words import formula

POOLS = {1: torch.nn.functional.avg_pool1d, 2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}
MOST_POSITIONS = 64  # of a window, that are put back one by one
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
        yield from _tiling(here, 1 / math.prod(size))
        yield from _counting(here)
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


def _counting(here: Place) -> Iterator[Slip]:
    """δ divided by the whole window also where a part of it is padding, or the reverse."""
    size, step, pads, ceil, counted = [*here.node.args[1:], *(None, [], [0], False, True)[len(here.node.args) - 1 :]][
        :5
    ]
    if not any(pads):
        return
    how = "the numbers there are, not by the whole window" if counted else "the whole window, padding and all"

    def rule(up: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = here.x.detach().clone().requires_grad_()
            y = here.node.op(leaf, size, step, pads, ceil, not counted)
        return torch.autograd.grad(y, leaf, up)[0]

    yield here.slip("counted", 11, f"δ of {here.here} is divided by {how}, at the borders", rule)


def _tiling(here: Place, factor: float) -> Iterator[Slip]:
    times = [m // n for m, n in zip(here.x.shape, here.up.shape, strict=True)]
    exact = all(m == n * t for m, n, t in zip(here.x.shape, here.up.shape, times, strict=True))
    if exact and max(times) > 1:
        words = f"δ of {here.here} is repeated as a whole (tiled) where each of its numbers should be repeated"
        yield here.slip("tiled", 11, words, lambda up: factor * up.repeat(*times))


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


def of_a_pool(trace: Trace, node: Node) -> Iterator[Slip]:
    """δ of a window's largest element spread over the window."""
    edge: Edge = (node.index, 0, node.sources()[0])
    size, rest = node.args[1], node.args[2:4]
    value = trace.nodes[edge[2]].value

    def spread(up: Any, factor: float) -> Tensor:
        with torch.enable_grad():
            leaf = value.detach().clone().requires_grad_()
            y = POOLS[len(size)](leaf, size, *[r for r in rest if r])
        return factor * torch.autograd.grad(y, leaf, up[0])[0]

    def right(up: Any) -> Tensor:
        g = trace.pull(node.index, up)[0]
        return torch.zeros_like(value) if g is None else g

    here = formula(trace, node.index)
    yield Slip(edge, "true", 0, path(trace, edge), right)
    words = f"δ of {here} goes to every element of the window, not only to the largest"
    yield Slip(edge, "all", 11, words, partial(spread, factor=math.prod(size)))
    smallest = trace.at(node.index, {0: -value})
    words = f"δ of {here} goes to the smallest element of the window, not to the largest"
    yield Slip(edge, "min", 11, words, lambda up: cast(Tensor, trace.pull(node.index, up, smallest)[0]))
    for key, text, rule in _routed(node, value):
        yield Slip(edge, key, 11, f"δ of {here} {text}", rule)
    yield Slip(
        edge, "mean", 11, f"δ of {here} is spread evenly over the window, as for a mean", partial(spread, factor=1.0)
    )


def _routed(node: Node, value: Tensor) -> Iterator[tuple[str, str, Any]]:
    """(key, words, rule) of δ of a maximum sent to wrong places; of windows that are not padded or dilated."""
    size = list(node.args[1])
    step = list(node.args[2]) if len(node.args) > 2 and node.args[2] else size
    if any(any(a) for a in node.args[3:4]) or any(d != 1 for a in node.args[4:5] for d in a):
        return
    index, wide = node.value[1], value.shape[-len(size) :]
    # where in its window each maximum is, and where each window starts, along every axis
    flat, at = index, list[Tensor]()
    for n in reversed(wide):
        at.insert(0, flat % n)
        flat = flat // n
    starts = []
    for k, s in enumerate(step):
        shape = [1] * index.dim()
        shape[index.dim() - len(step) + k] = -1
        starts.append((torch.arange(index.shape[index.dim() - len(step) + k]) * s).reshape(shape))

    def sent(places: list[Tensor], up: Any, add: bool) -> Tensor:
        to = torch.zeros_like(index)
        for place, n in zip(places, wide, strict=True):
            to = to * n + (place + torch.zeros_like(index)).clamp(0, n - 1)
        out = torch.zeros_like(value).flatten(-len(size))
        to, up = to.flatten(-len(size)), up[0].flatten(-len(size))
        if add:
            return out.scatter_add(-1, to, up).reshape(value.shape)
        for k in range(to.shape[-1]):
            out = out.scatter(-1, to[..., k : k + 1], up[..., k : k + 1])
        return out.reshape(value.shape)

    text = "goes to the first element of each window, not to its largest"
    yield "first", text, lambda up: sent(starts, up, add=True)
    if any(s < k for s, k in zip(step, size, strict=True)):
        text = "overwrites that of another window where the two should add up"
        yield "overwrite", text, lambda up: sent(at, up, add=False)
    if any(s != 1 for s in step):
        moved = [a - s + s // t for a, s, t in zip(at, starts, step, strict=True)]
        text = f"is put back as if the stride were 1, not {step[-1]}"
        yield "stride", text, lambda up: sent(moved, up, add=True)
