"""What each name that is private to torch must do here: a release that moves one of them fails in this file."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from handgrad.compare.foundation import torch_internals as internals
from handgrad.compare.judge.parts import ATTENTION, FUSED

aten = torch.ops.aten


class Heard(internals.DispatchMode):
    """Notes the operations that reach it, and runs them; those in `answers` are answered instead."""

    def __init__(self, answers: dict[Any, Any] | None = None) -> None:
        super().__init__()
        self.operations: list[Any] = []
        self.answers = answers or {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations.append(func)
        return self.answers[func] if func in self.answers else func(*args, **(kwargs or {}))

    @property
    def names(self) -> list[str]:
        return [internals.operation_name(op) for op in self.operations]


# --- the dispatch mode ------------------------------------------------------------------------------------------------


def test_every_operation_is_handed_to_the_mode_and_none_outside_it() -> None:
    x = torch.ones(2, 3)
    with Heard() as heard:
        y = (x * 2).relu().sum()
    assert heard.names == ["mul", "relu", "sum"]
    assert y.item() == 12
    x.exp()
    assert heard.names == ["mul", "relu", "sum"]


def test_the_backward_pass_is_handed_to_it_too() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with Heard() as heard:
        x.tanh().sum().backward()
    assert heard.names.index("tanh") < heard.names.index("tanh_backward")


def test_what_the_mode_returns_is_the_result() -> None:
    with Heard({aten.exp.default: torch.tensor(7.0)}):
        assert torch.zeros(()).exp().item() == 7


def test_modes_are_entered_one_inside_the_other_and_again() -> None:
    outer, inner = Heard(), Heard()
    with outer:
        with inner:
            torch.ones(1).exp()
        with inner:
            torch.ones(1).sin()
    assert [name for name in inner.names if name != "ones"] == ["exp", "sin"]
    assert {"exp", "sin"} <= set(outer.names)  # the inner one ran them while the outer one was entered


def test_an_operation_in_a_mode_does_not_import_torch_s_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from handgrad.compare.foundation.torch_internals import DispatchMode\n"
        "class Mode(DispatchMode):\n"
        "    def __torch_dispatch__(self, func, types, args=(), kwargs=None):\n"
        "        return func(*args, **(kwargs or {}))\n"
        "with Mode():\n"
        "    torch.ones(2).exp()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# --- operations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (aten.add.Tensor, "add"),
        (aten.add_.Tensor, "add_"),
        (aten.native_layer_norm.default, "native_layer_norm"),
        (aten._log_softmax.default, "_log_softmax"),
        (aten.sum.dim_IntList, "sum"),
    ],
)
def test_an_operation_s_name_has_neither_namespace_nor_overload(op: Any, name: str) -> None:
    assert internals.operation_name(op) == name


def test_the_formal_arguments_have_names_types_and_defaults() -> None:
    found = internals.arguments(aten.add.Tensor)
    assert [a.name for a in found] == ["self", "other", "alpha"]
    assert [a.has_default_value() for a in found] == [False, False, True]
    assert found[2].default_value == 1
    assert [str(a.type) for a in found[:2]] == ["Tensor", "Tensor"]
    (threshold,) = [a for a in internals.arguments(aten.softplus.default) if a.name == "threshold"]
    assert threshold.default_value == 20


@pytest.mark.parametrize(
    ("in_place", "other"),
    [
        (aten.add_.Tensor, aten.add.Tensor),
        (aten.mul_.Scalar, aten.mul.Scalar),
        (aten.relu_.default, aten.relu.default),
        (aten.addcmul_.default, aten.addcmul.default),
    ],
)
def test_out_of_place_is_the_overload_that_returns_its_result(in_place: Any, other: Any) -> None:
    assert internals.out_of_place(in_place) is other


def test_out_of_place_leaves_its_operand_alone() -> None:
    x = torch.ones(3)
    y = internals.out_of_place(aten.add_.Tensor)(x, x)
    assert x.tolist() == [1, 1, 1]
    assert y.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("op", "composite"),
    [
        (aten.matmul.default, True),
        (aten.cross_entropy_loss.default, True),
        (aten.mm.default, False),
        (aten.add.Tensor, False),
        (aten.native_layer_norm.default, False),
    ],
)
def test_what_torch_makes_of_smaller_operations_is_composite(op: Any, composite: bool) -> None:
    assert internals.is_composite(op) is composite


# --- nested arguments -------------------------------------------------------------------------------------------------

TREE = ([1, (2, 3)], {"a": 4, "b": [5]})


def test_a_tree_s_leaves_come_in_order() -> None:
    assert internals.tree_leaves(TREE) == [1, 2, 3, 4, 5]
    assert internals.tree_leaves((None, "word", 0.5)) == [None, "word", 0.5]


def test_a_map_over_a_tree_keeps_its_form() -> None:
    assert internals.tree_map(lambda n: 10 * n, TREE) == ([10, (20, 30)], {"a": 40, "b": [50]})


def test_a_map_may_be_told_what_a_leaf_is() -> None:
    assert internals.tree_map(sum, [(1, 2), (3, 4)], is_leaf=lambda node: isinstance(node, tuple)) == [3, 7]


# --- fused operations taken apart -------------------------------------------------------------------------------------


def test_the_table_takes_every_operation_apart_that_rounding_is_measured_in() -> None:
    """`judge.parts` needs the parts of the fused operations."""
    known = {internals.operation_name(op) for op in internals.decomposition_table if str(op).startswith("aten.")}
    assert set(FUSED) <= known
    assert ATTENTION in internals.decomposition_table


x = torch.linspace(-2, 3, 24, dtype=torch.float64).reshape(4, 6)


@pytest.mark.parametrize(
    ("op", "args"),
    [
        (aten.gelu.default, (x,)),
        (aten._softmax.default, (x, 1, False)),
        (aten._log_softmax.default, (x, 1, False)),
        (aten.native_layer_norm.default, (x, [6], x[0], x[1], 1e-5)),
    ],
    ids=str,
)
def test_the_parts_compute_what_the_operation_does(op: Any, args: tuple[Any, ...]) -> None:
    with Heard() as heard:
        parts = internals.decomposition_table[op](*args)
    assert op not in heard.operations
    assert len(heard.operations) > 2
    for mine, torchs in zip(internals.tree_leaves(parts), internals.tree_leaves(op(*args)), strict=True):
        torch.testing.assert_close(mine.reshape(torchs.shape), torchs)


def test_attention_s_parts_compute_its_output() -> None:
    q, k, v = (
        torch.randn(1, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in (0, 1, 2)
    )
    mine, _ = internals.decomposition_table[ATTENTION](q, k, v, 0.0, True)
    torch.testing.assert_close(mine, ATTENTION(q, k, v, 0.0, True)[0])


@pytest.mark.parametrize("op", [aten.add_.Tensor, aten.exp_.default, aten.copy_.default, aten.lerp_.Scalar])
def test_an_operation_in_place(op: Any) -> None:
    assert internals.is_in_place(op)


@pytest.mark.parametrize("op", [aten.add.Tensor, aten.add.out, aten.exp.default, aten.native_batch_norm.default])
def test_an_operation_with_a_result_of_its_own(op: Any) -> None:
    assert not internals.is_in_place(op)


# --- derivatives ------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_autograd_and_the_graph_is_kept() -> None:
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([1.0, 2.0], [3.0, 5.0]))
    product, up = x * y, torch.tensor([1.0, 10.0], dtype=torch.float64)
    for _ in range(2):
        dx, none = internals.gradients((product,), (up,), (x, torch.ones(1, requires_grad=True)))
        assert dx.tolist() == [3, 50]
        assert none is None
    assert not dx.requires_grad
    assert x.grad is None


def test_gradients_can_be_differentiated() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    (first,) = internals.gradients((x**3,), (torch.tensor(1.0),), (x,), differentiable=True)
    (second,) = internals.gradients((first,), (torch.tensor(1.0),), (x,))
    assert (first.item(), second.item()) == (12, 12)


def test_what_does_not_fit_is_refused() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError):
        internals.gradients((x * 2,), (torch.ones(3),), (x,))
