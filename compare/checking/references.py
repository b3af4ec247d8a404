"""What a check is given by name: how reports describe it, and what an optimizer of torch is made with."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.stateful import Stateful


def describe(thing: Any) -> str:
    """A short name for a layer, module, function or pair of functions."""
    if isinstance(thing, tuple):
        return describe(thing[0])
    if isinstance(thing, Stateful):
        return thing.kind
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        given = [f for f in dataclasses.fields(thing) if getattr(thing, f.name) != f.default]
        return f"{type(thing).__name__}({', '.join(f'{f.name}={getattr(thing, f.name)!r}' for f in given)})"
    if isinstance(thing, nn.Module):
        return f"torch {module_in_python(thing)}"
    return getattr(thing, "__name__", type(thing).__name__)


def module_in_python(module: nn.Module) -> str:
    """How torch shows a module; one that shows none of its options, as a loss, with those that are not the defaults."""
    shown = " ".join(str(module).split())
    if not shown.endswith("()") or not type(module).__module__.startswith("torch.nn"):
        return shown
    options = []
    for name, parameter in inspect.signature(type(module)).parameters.items():
        value = getattr(module, name, parameter.default)
        if isinstance(value, torch.Tensor):
            options.append(f"{name}=torch.tensor({value.tolist()})")
        elif isinstance(value, (bool, int, float, str)) and value != parameter.default:
            options.append(f"{name}={value!r}")
    return f"{shown[:-1]}{', '.join(options)})"


def require_reference(kind: str, ours: Any, reference: Any) -> None:
    """UsageError for a class where an instance belongs, and for a reference that cannot be called."""
    if isinstance(ours, type) and not issubclass(ours, torch.optim.Optimizer):
        raise UsageError(f"check takes an instance of {kind}, got the class {ours.__name__}: write {ours.__name__}(…)")
    if isinstance(reference, type) and kind == "a schedule":
        raise UsageError(
            "the torch reference of a schedule must be a function of an optimizer, got the class "
            f"{reference.__name__}: write lambda optimizer: {reference.__name__}(optimizer)"
        )
    if isinstance(reference, type) and kind != "an update rule":
        raise UsageError(
            f"the torch reference must be an instance, got the class {reference.__name__}: "
            f"write {reference.__name__}(…)"
        )
    if not callable(reference):
        raise UsageError(
            "the torch reference must be a module, a function of tensors or, for an update rule, a class of "
            "torch.optim, "
            f"got {describe(reference)}: give one of these"
        )


def optimizer_factory(ours: Any, reference: Any) -> Callable[..., torch.optim.Optimizer]:
    """A function (parameters, learning rate) that makes the torch optimizer; `hyperparameters` are given to it."""
    if not isinstance(reference, type):
        return reference
    given = hyperparameters(ours, reference)
    return lambda parameters, lr: reference(parameters, lr=lr, **given)


def hyperparameters(ours: Any, reference: type) -> dict[str, Any]:
    """Those of the manual rule that a class of torch.optim knows by the same name, but for the learning rate.

    The fields of a dataclass, or public numbers of a plain class or its instance; beta1 and beta2 together are betas.
    """
    if isinstance(ours, type) and issubclass(ours, torch.optim.Optimizer):
        kind: Any = ours
        options = dict(kind([torch.zeros(1, requires_grad=True)], lr=0.1).defaults)
    elif dataclasses.is_dataclass(ours):
        options = {f.name: getattr(ours, f.name) for f in dataclasses.fields(ours)}
    else:
        names = [n for n in (*dir(type(ours)), *getattr(ours, "__dict__", {})) if not n.startswith("_")]
        options = {n: v for n in names if _is_plain(v := inspect.getattr_static(ours, n))}
    known = inspect.signature(reference).parameters
    if "betas" in known and {"beta1", "beta2"} <= options.keys():
        options["betas"] = (options.pop("beta1"), options.pop("beta2"))
    return {k: v for k, v in options.items() if k in known and k not in ("lr", "params")}


def _is_plain(value: Any) -> bool:
    pair = value if isinstance(value, tuple) and value else (value,)
    return all(isinstance(v, (bool, int, float, np.integer, np.floating)) for v in pair)


def describe_reference(ours: Any, reference: Any) -> str:
    """A short name for a reference; for a class of torch.optim with what it is given: torch SGD(momentum=0.9)."""
    if not (isinstance(reference, type) and issubclass(reference, torch.optim.Optimizer)):
        return describe(reference)
    given = ", ".join(f"{k}={v!r}" for k, v in hyperparameters(ours, reference).items())
    return f"torch {reference.__name__}({given})"


def is_torchs_own(reference: Any) -> bool:
    """Whether a reference is one of the modules of torch.nn."""
    return isinstance(reference, nn.Module) and getattr(nn, type(reference).__name__, None) is type(reference)
