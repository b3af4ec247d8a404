"""Every name of torch that is private to it, in one file: what a new release may move is mended here.

`tests/foundation/test_torch_internals.py` says what each must do; it runs on the oldest and the newest torch that the
metadata allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = [
    "DispatchMode",
    "arguments",
    "decomposition_table",
    "gradients",
    "is_composite",
    "is_in_place",
    "operation_name",
    "out_of_place",
    "tree_leaves",
    "tree_map",
]


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types there
    """While it is entered, each of torch's operations is handed to `__torch_dispatch__`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler, which takes seconds, only to leave it alone."""
        return False


def gradients(
    outputs: Sequence[Any], upstream: Sequence[Any], inputs: Sequence[Any], differentiable: bool = False
) -> tuple[Any, ...]:
    """What torch.autograd.grad gives, without its checks, which take several times as long as a small operation.

    None where an input has no part. The graph is kept; where the result is to be `differentiable`, it gets its own.
    """
    run = torch.autograd.Variable._execution_engine.run_backward
    given = tuple(outputs), tuple(upstream), True, differentiable, tuple(inputs)
    found: tuple[Any, ...] = run(*given, allow_unreachable=True, accumulate_grad=False)
    return found


def operation_name(op: Any) -> str:
    """An operation's name without namespace and overload: add, add_, native_layer_norm."""
    return str(op._schema.name).partition("::")[2]


def arguments(op: Any) -> list[Any]:
    """An operation's formal arguments, each with `name`, `type`, `default_value` and `has_default_value()`."""
    return list(op._schema.arguments)


def out_of_place(op: Any) -> Any:
    """The overload of an operation in place (add_.Tensor) that returns its result instead (add.Tensor)."""
    return getattr(getattr(torch.ops.aten, operation_name(op)[:-1]), op._overloadname)


def is_in_place(op: Any) -> bool:
    """Whether the operation writes its result into its first argument; only a newer torch has a tag for that."""
    first = next(iter(op._schema.arguments), None)
    return first is not None and first.alias_info is not None and bool(first.alias_info.is_write)


def is_composite(op: Any) -> bool:
    """Whether torch itself makes the operation of smaller ones before autograd sees it, as matmul of mm."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd"))
