"""Every name of torch that is private to it, in one file: what a new release may move is mended here.

`tests/foundation/test_torch_internals.py` says what each must do; it runs on the oldest and the newest torch that the
metadata allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = [
    "DispatchMode",
    "announced",
    "arguments",
    "decomposition_table",
    "gradients",
    "is_composite",
    "is_in_place",
    "modes_entered",
    "modes_left",
    "operation_name",
    "out_of_place",
    "tree_leaves",
    "tree_map",
]


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types there
    """While it is entered, each of this thread's operations of torch is handed to `__torch_dispatch__`.

    Torch's own `with` also notes in a variable of the process that some mode is entered, so that its compiler leaves
    the code of every thread alone, and two threads that leave in another order than they entered leave it noted.
    """

    def __enter__(self) -> Any:
        torch._C._push_on_torch_dispatch_stack(self)
        return self

    def __exit__(self, *error: Any) -> None:
        torch._C._pop_torch_dispatch_stack(None)

    def meet(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer of torch was made; see `announced`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler, which takes seconds, only to leave it alone."""
        return False


def announced(made: Any) -> Any:
    """The same, after every mode of this thread has met it and the optimizers that it holds, before their first step.

    Torch's hooks on an optimizer's step would be called in all threads.
    """
    modes = [torch._C._get_dispatch_stack_at(k) for k in range(torch._C._len_torch_dispatch_stack())]
    for mode in modes:
        if isinstance(mode, DispatchMode):
            for optimizer in _optimizers(made):
                mode.meet(optimizer)
    return made


def _optimizers(made: Any) -> Iterator[torch.optim.Optimizer]:
    """It, if it is one, and those that wrappers such as Lookahead keep."""
    if isinstance(made, torch.optim.Optimizer):
        yield made
    held = getattr(made, "__dict__", {}).values()
    yield from (other for other in held if isinstance(other, torch.optim.Optimizer) and other is not made)


def modes_entered() -> tuple[int, int]:
    """How many modes of operations and of functions this thread is in."""
    return torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack()


def modes_left(before: tuple[int, int]) -> None:
    """Leave every mode that was entered since then."""
    while torch._C._len_torch_dispatch_stack() > before[0]:
        torch._C._pop_torch_dispatch_stack(None)
    while torch._C._len_torch_function_stack() > before[1]:
        torch._C._pop_torch_function_stack()


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
