"""Another quantity where the other factor of a product or quotient belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from compare.diagnosis.graph.edge import Place, Slip
from compare.diagnosis.graph.trace import Tensor
from compare.diagnosis.graph.words import called


def of_a_product(here: Place) -> Iterator[Slip]:
    """Of a product, a quotient, a matrix product, a convolution."""
    for p, b in enumerate(here.arguments):
        if not (isinstance(b, torch.Tensor) and b.is_floating_point()) or (p == here.place and here.name != "div"):
            continue
        b = b.detach()
        source = here.node.sources()[p]
        what = called(here.trace, source)
        if here.name in ("mul", "div"):
            yield from _of_a_factor(here, p, b, what)
        elif here.name != "convolution":
            words = f"{here.of}, the factor {what} is left out (taken as 1)"
            yield here.slip(("one", p), 11, words, here.with_other(p, torch.ones_like(b)))
        yield from _even(here, p, b, what)
        if b.dim() >= 2 and b.shape[-1] == b.shape[-2]:
            words = f"{here.of}, {what} is not transposed as it should be"
            yield here.slip(("transposed", p), 12, words, here.with_other(p, b.transpose(-1, -2)))
        if here.name == "convolution" and b.dim() >= 3:
            words = f"{here.of}, {what} is flipped (reversed along its taps) where it should not be, or the reverse"
            yield here.slip(("flipped", p), 11, words, here.with_other(p, b.flip(tuple(range(2, b.dim())))))
        for other in here.others_like(b, source):
            name = called(here.trace, other.index)
            if name == what:
                continue
            words = f"{here.of}, {name} stands where {what} belongs"
            yield here.slip(("instead", p, other.index), 13, words, here.with_other(p, other.value))


def _of_a_factor(here: Place, p: int, b: Tensor, what: str) -> Iterator[Slip]:
    divides = here.name == "div" and p == 1
    which = "the division by" if divides else "the factor"
    changes: list[tuple[str, int, str, Callable[[Tensor], Tensor]]] = [
        ("one", 11, f"{which} {what} is left out", torch.ones_like),
        ("twice", 12, f"{which} {what} is applied twice", torch.square),
        ("inverse", 13, f"{what} is divided by where it should be multiplied with, or the reverse", torch.reciprocal),
        (
            "root",
            13,
            f"the division is by the root of {what}, not by {what}"
            if divides
            else f"the root of {what} stands for {what}",
            lambda v: v.abs().sqrt(),
        ),
        ("absolute", 13, f"|{what}| stands for {what}", torch.abs),
        ("sign of", 13, f"the sign of {what} stands for {what}", torch.sign),
        ("complement", 13, f"1 − {what} stands for {what}", lambda v: 1 - v),
    ]
    for key, complexity, words, change in changes:
        yield here.slip((key, p), complexity, f"{here.of}, {words}", here.with_other(p, change(b)))


def _even(here: Place, p: int, b: Tensor, what: str) -> Iterator[Slip]:
    """Weights that add up to 1, as those of a softmax, all taken as the same."""
    for axis, size in enumerate(b.shape):
        if size > 1 and bool((b.sum(axis) - 1).abs().max() < 1e-9):
            words = f"{here.of}, 1 / {size} stands for {what}"
            yield here.slip(("even", p, axis), 12, words, here.with_other(p, torch.full_like(b, 1 / size)))


def of_a_stride(here: Place) -> Iterator[Slip]:
    """δ of a convolution put back as if it had another stride or padding."""
    args = list(here.node.args)
    for k, what in ((3, "stride"), (4, "padding")):
        if len(args) <= k or args[6:7] == [True]:
            continue
        for other in range(3):
            if all(v == other for v in args[k]) or (k == 3 and other == 0):
                continue
            words = f"δ of {here.here} is put back as if the {what} were {other}, not {args[k][0]}"
            yield here.slip((what, other), 11, words, partial(_restrided, here, k, other))


def _restrided(here: Place, k: int, other: int, up: Tensor) -> Tensor:
    with torch.enable_grad():
        given = [a.detach() for a in here.arguments if isinstance(a, torch.Tensor)]
        leaves = [a.requires_grad_(a.is_floating_point()) for a in given]
        rest = list(here.node.args[3:])
        rest[k - 3] = [other] * len(rest[k - 3])
        y = here.node.op(leaves[0], leaves[1], leaves[2] if len(leaves) > 2 else None, *rest)
    wide = torch.zeros_like(y)
    part = tuple(slice(0, min(a, b)) for a, b in zip(y.shape, up.shape, strict=True))
    wide[part] = up[part]
    return torch.autograd.grad(y, leaves[here.place], wide)[0]
