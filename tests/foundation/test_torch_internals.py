"""What `torch_internals` promises of torch's private names; `make oldest` runs this on the oldest torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from handgrad.compare.foundation.torch_internals import (
    DispatchMode,
    arguments,
    decomposition_table,
    is_composite,
    is_in_place,
    operation_name,
    out_of_place,
    tree_leaves,
    tree_map,
)

aten = torch.ops.aten


class Names(DispatchMode):
    """The operations that ran, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(operation_name(op))
        return op(*args, **(kwargs or {}))


def test_a_mode_is_handed_each_operation_of_both_passes() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    with Names() as mode:
        (x.tanh() + 1).sum().backward()
    assert [name for name in mode.names if name in ("tanh", "add", "sum", "tanh_backward")] == [
        "tanh", "add", "sum", "tanh_backward",
    ]  # fmt: skip
    torch.ones(2).exp()
    assert "exp" not in mode.names  # it has been left


def test_a_mode_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from handgrad.compare.foundation.torch_internals import DispatchMode
class Mode(DispatchMode):
    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        return op(*args, **(kwargs or {}))
with Mode():
    torch.ones(2, requires_grad=True).exp().sum().backward()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (aten.add.Tensor, "add"),
        (aten.add_.Tensor, "add_"),
        (aten.native_layer_norm.default, "native_layer_norm"),
        (aten._softmax.default, "_softmax"),
    ],
)
def test_the_name_of_an_operation(op: Any, name: str) -> None:
    assert operation_name(op) == name


def test_the_arguments_of_an_operation() -> None:
    assert [a.name for a in arguments(aten.add.Tensor)] == ["self", "other", "alpha"]
    alpha = arguments(aten.add.Tensor)[2]
    assert alpha.has_default_value()
    assert alpha.default_value == 1
    assert not arguments(aten.add.Tensor)[0].has_default_value()


@pytest.mark.parametrize(
    ("op", "other"),
    [(aten.add_.Tensor, aten.add.Tensor), (aten.mul_.Scalar, aten.mul.Scalar), (aten.exp_.default, aten.exp.default)],
)
def test_the_operation_that_returns_its_result(op: Any, other: Any) -> None:
    assert out_of_place(op) is other


@pytest.mark.parametrize("op", [aten.add_.Tensor, aten.exp_.default, aten.copy_.default, aten.lerp_.Scalar])
def test_an_operation_in_place(op: Any) -> None:
    assert is_in_place(op)


@pytest.mark.parametrize("op", [aten.add.Tensor, aten.add.out, aten.exp.default, aten.native_batch_norm.default])
def test_an_operation_with_a_result_of_its_own(op: Any) -> None:
    assert not is_in_place(op)


def test_what_torch_makes_of_smaller_operations() -> None:
    assert is_composite(aten.matmul.default)
    assert not is_composite(aten.mm.default)


def test_a_fused_operation_taken_apart_computes_the_same() -> None:
    x, op = torch.randn(3, 4, dtype=torch.float64), aten._log_softmax.default
    torch.testing.assert_close(decomposition_table[op](x, 1, False), op(x, 1, False), rtol=1e-14, atol=0)
    fused = (
        aten.gelu.default,
        aten.native_layer_norm.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
    )
    assert all(op in decomposition_table for op in fused)


def test_trees_of_arguments() -> None:
    tree = ([1, (2, {"a": 3})], {"b": 4})
    assert tree_leaves(tree) == [1, 2, 3, 4]
    assert tree_map(lambda n: 10 * n, tree) == ([10, (20, {"a": 30})], {"b": 40})
