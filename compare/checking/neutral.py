"""What a reference module keeps that no draw changes: running statistics of 0 and 1, factors of 1, weights of 1.

A derivation that leaves them out agrees. So they are changed on a copy: what changes the output then is said.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.names import OUTPUT, is_forward, part_of
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides, Sides, as_array

OTHER = 0.5  # what stands in the place of a 1; a weight and a variance must stay positive
WEIGHT = "weight"  # of the classes of a loss, which is a choice as alpha is


def neutral(
    sides: Sides, inputs: Arrays, moved: frozenset[str] = frozenset()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(notes, gaps): numbers of a module that change its output, and stand at 0 or 1 on every draw.

    `moved` names buffers that had other numbers in a later call, which was compared.
    """
    if not isinstance(sides, (CallSides, LayerSides, LossSides)):
        return (), ()
    module = sides.module if isinstance(sides, LossSides) else sides.reference
    if not isinstance(module, nn.Module):
        return (), ()
    with_module: Callable[[Any], Sides] = (
        (lambda m: replace(sides, module=m))
        if isinstance(sides, LossSides)
        else (lambda m: replace(sides, reference=m))
    )
    state = sides.state if isinstance(sides, CallSides) else ()
    try:
        first = sides.torch(inputs)
        kept = {
            name: (words, is_gap)
            for name, words, is_gap, changed in _changed(module)
            if name not in moved and _matters(with_module(changed), inputs, first, state)
        }
    except Exception as problem:  # a module that cannot be copied, say
        swallowed(problem, "the look for what is neutral")
        return (), ()
    notes = [words for words, is_gap in kept.values() if not is_gap]
    gaps = [words for words, is_gap in kept.values() if is_gap]
    return tuple(notes), tuple(gaps)


def _changed(module: nn.Module) -> Iterator[tuple[str, str, bool, nn.Module]]:
    """(name, words, whether it is a gap, a copy with another number there) of all that is 0 or 1."""
    for name, buffer in module.named_buffers():
        if not buffer.is_floating_point() or not buffer.numel():
            continue
        for value in (0, 1):
            if bool((buffer == value).all()):
                other = copy.deepcopy(module)
                with torch.no_grad():
                    tensor = dict(other.named_buffers())[name]
                    tensor.copy_(_others(tensor.shape, tensor.dtype))
                words = f"{name} is {value} everywhere: give a module that has other values"
                yield name, words, name != WEIGHT, other
    for path, part in module.named_modules():
        for name, number in vars(part).items():
            if isinstance(number, float) and number == 1.0 and not name.startswith("_"):
                other = copy.deepcopy(module)
                setattr(other.get_submodule(path), name, OTHER)
                full = f"{path}.{name}" if path else name
                yield (
                    full,
                    f"{full} is 1: a derivation that leaves this factor out, or has a 1 there, agrees",
                    False,
                    other,
                )


def _others(shape: Any, dtype: torch.dtype) -> torch.Tensor:
    """Positive numbers that are neither 0 nor 1, all of them different."""
    count = int(np.prod(shape))
    return torch.linspace(OTHER, 2 * OTHER - OTHER / 4, count, dtype=dtype).reshape(shape)


def _matters(sides: Sides, inputs: Arrays, first: Arrays, state: tuple[str, ...]) -> bool:
    """Whether the reference now gives another output, or other gradients; not where it no longer works."""
    try:
        found = sides.torch(inputs)
    except Exception as problem:
        swallowed(problem, "a reference with another number")
        return False
    compared = [k for k in first if not (is_forward(k) and k != OUTPUT and part_of(k) in state)]
    return any(not np.array_equal(as_array(found[k]), first[k], equal_nan=True) for k in compared if k in found)
