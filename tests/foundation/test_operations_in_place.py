"""An operation in place is known on every torch: without a tag for it, random rounding was silently left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from handgrad.compare.foundation.torch_internals import is_in_place

aten = torch.ops.aten


@pytest.mark.parametrize("op", [aten.add_.Tensor, aten.exp_.default, aten.copy_.default, aten.lerp_.Scalar])
def test_an_operation_in_place(op: Any) -> None:
    assert is_in_place(op)


@pytest.mark.parametrize("op", [aten.add.Tensor, aten.add.out, aten.exp.default, aten.native_batch_norm.default])
def test_an_operation_with_a_result_of_its_own(op: Any) -> None:
    assert not is_in_place(op)
