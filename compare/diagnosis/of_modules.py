"""A reference that is a module, with one of its own settings changed: ε, a smoothing, a reduction, class weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from handgrad.compare.diagnosis.causes import Candidate, again_with
from handgrad.compare.diagnosis.graph.sentences import OF_ANOTHER
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import FunctionSides, LayerSides, LossSides, Sides

WORDS = {
    "eps": "ε",
    "weight": "the weight of the classes or examples",
    "pos_weight": "the weight of the positive class",
}
OWN = {"training", "inplace", "in_features", "out_features", "in_channels", "out_channels", "normalized_shape"}


def of_module(sides: Sides, case: Case) -> Iterator[Candidate]:
    """Torch's result with one attribute or buffer of the reference, or of a part of it, left out or changed."""
    reference = _reference(sides)
    if not isinstance(reference, nn.Module):
        return
    prefix = "" if case.output in ("output", "loss") else OF_ANOTHER
    for path, part in reference.named_modules():
        where = f" of {path}" if path else ""
        for name, words, value in _changes(part):
            what = f"{prefix}{WORDS.get(name, name)}{where} {words}"
            yield Candidate(
                13 if name == "reduction" else 11, (what,), partial(_changed, sides, case, path, name, value)
            )


def _changes(part: nn.Module) -> Iterator[tuple[str, str, Any]]:
    """(attribute, words, other value)."""
    known = inspect.signature(type(part).__init__).parameters
    for name, value in {**vars(part), **dict(part.named_buffers(recurse=False))}.items():
        if name.startswith("_") or name in OWN:
            continue
        default = known[name].default if name in known else inspect.Parameter.empty
        tried: list[Any] = [value]
        if isinstance(value, torch.Tensor):
            if value.is_floating_point():
                yield name, "is left out (taken as 1)", torch.ones_like(value)
            continue
        if isinstance(value, bool):
            yield name, f"is {not value}", not value
            continue
        if name == "reduction" and isinstance(value, str):
            for other in ("mean", "sum"):
                if other != value:
                    yield name, f"is {other!r}, not {value!r}", other
            continue
        if not isinstance(value, (int, float)):
            continue
        others: list[tuple[Any, str]] = [
            (0.0, "is left out (taken as 0)"),
            (default, "is {}, its default, not {}"),
            (1.0, "is left out (taken as 1)"),
            (2 * value, "is doubled"),
            (value / 2, "is halved"),
            (1 - value, "is one minus itself"),
        ]
        for other, words in others:
            if isinstance(other, (int, float)) and not isinstance(other, bool) and other not in tried:
                tried.append(other)
                yield name, words.format(other, value), type(value)(other)


def _changed(sides: Sides, case: Case, path: str, name: str, value: Any) -> np.ndarray | None:
    """Torch's result; None where the reference does not work like that."""
    reference: Any = copy.deepcopy(_reference(sides))
    setattr(reference.get_submodule(path), name, value)
    try:
        if isinstance(sides, LossSides):
            return again_with(replace(sides, module=reference), case, {})
        return (
            again_with(replace(sides, reference=reference), case, {})
            if isinstance(sides, (LayerSides, FunctionSides))
            else None
        )
    except (AttributeError, AssertionError, NotImplementedError):
        return None


def _reference(sides: Sides) -> Any:
    return sides.module if isinstance(sides, LossSides) else getattr(sides, "reference", None)
