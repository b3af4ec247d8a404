"""Which of torch's losses a reference calls, with what: their derivatives are in books, however torch computes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from handgrad.compare.diagnosis.graph.formulas.textbook_losses import smoothed_cross_entropy
from handgrad.compare.diagnosis.graph.record.node import Call, Node, Ref, is_ref

LOSSES = (
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "multi_margin_loss", "multilabel_soft_margin_loss", "nll_loss", "poisson_nll_loss", "smooth_l1_loss",
    "soft_margin_loss",
)  # fmt: skip
CALLED: dict[Any, str] = {getattr(functional, name): name for name in LOSSES}
WRITTEN_OUT: dict[Any, Callable[..., Any]] = {functional.cross_entropy: smoothed_cross_entropy}


class Losses(TorchFunctionMode):
    """Writes down every call of a loss; and writes out those that torch puts together from what no book has."""

    def __init__(self, known: Mapping[int, int], written_out: bool) -> None:
        super().__init__()
        self.known, self.written_out = known, written_out
        self.calls: list[Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in CALLED:
            return func(*args, **(kwargs or {}))
        bound = inspect.signature(func).bind(*args, **(kwargs or {}))
        bound.apply_defaults()
        written = WRITTEN_OUT.get(func) if self.written_out else None
        result = written(**bound.arguments) if written is not None else NotImplemented
        if result is NotImplemented:
            result = func(*args, **(kwargs or {}))
        if id(result) in self.known:
            given = {k: Ref(self.known[id(v)]) if id(v) in self.known else v for k, v in bound.arguments.items()}
            self.calls.append(Call(CALLED[func], self.known[id(result)], given))
        return result


def moved(call: Call, nodes: Sequence[Node], order: Mapping[int, int]) -> Call:
    """A call with the new numbers of the operations; an argument that no other operation needs as its value."""

    def there(v: Any) -> Any:
        if not is_ref(v):
            return v.detach() if isinstance(v, torch.Tensor) else v
        return Ref(order[v.index]) if v.index in order else nodes[v.index].value

    return Call(call.loss, order[call.at], {k: there(v) for k, v in call.given.items()})
