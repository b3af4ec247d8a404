"""The gradients of torch's losses as books have them: p − y, not the path through every logarithm.

Each takes δ of the loss, the output z and the target t, and the arguments of the call; it is recorded, and each of its
operations is changed in turn; see `recorded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.forms.recorded import Form, recorded
from handgrad.compare.diagnosis.graph.formulas.parts import exponentials
from handgrad.compare.diagnosis.graph.formulas.textbook_losses import one_hot, smoothed_target
from handgrad.compare.diagnosis.graph.labels import UP, decoy, label, number, quantity, weights
from handgrad.compare.diagnosis.graph.record.node import Call, Tensor, is_ref
from handgrad.compare.diagnosis.graph.record.notation import called
from handgrad.compare.diagnosis.graph.record.trace import Trace


def _reduced(dy: Any, g: Any, reduction: str, count: Any) -> Any:
    if reduction == "none":
        return dy * g
    if isinstance(count, int):
        count = quantity(count, "the count of all numbers")
    return dy * (g / count if reduction == "mean" else g)


def _own_weight(weight: Tensor, z: Any, y: Any, axis: int) -> Any:
    """The weight of every row's own class."""
    w = weights(weight.to(z.dtype), (-1, *[1] * (z.dim() - 2)))
    return label((w * y).sum(axis, keepdim=True), "w_y")


def _cross_entropy(spread: bool, dy: Any, z: Any, t: Any, /, **o: Any) -> Any:
    axis, mean = min(1, z.dim() - 1), o["reduction"] == "mean"
    p = exponentials(z, axis)
    dy = dy.unsqueeze(axis) if o["reduction"] == "none" else dy
    if t.is_floating_point():
        return NotImplemented if o["weight"] is not None or o["label_smoothing"] else _reduced(
            dy, p * t.sum(axis, keepdim=True) - t, o["reduction"], t.numel() // t.shape[axis]
        )  # fmt: skip
    y = label(one_hot(t, z.shape[axis], z.dtype), "y")
    if bool((t == o["ignore_index"]).any()):
        keep = label((t != o["ignore_index"]).to(z.dtype).unsqueeze(axis), "the mask of the rows that count")
        if o["weight"] is not None or o["label_smoothing"]:
            return NotImplemented
        decoy(label(y, "y of all rows").sum(), "N, with the rows that do not count,")
        return _reduced(dy, keep * (p - y), o["reduction"], label(keep.sum(), "the number of rows that count"))
    q = smoothed_target(y, o["label_smoothing"], z.shape[axis]) if o["label_smoothing"] else y
    if o["weight"] is None:
        return _reduced(dy, p - q, o["reduction"], label(y.sum(), "N"))
    if o["label_smoothing"]:
        return NotImplemented
    decoy(y.sum(), "N")
    own = _own_weight(o["weight"], z, y, axis)
    g = own * p - own * y if spread else own * (p - y)
    return _reduced(dy, g, o["reduction"], label(own.sum(), "the sum of w_y") if mean else 1.0)


def _nll(dy: Any, z: Any, t: Any, /, **o: Any) -> Any:
    if z.dim() < 2 or bool((t == o["ignore_index"]).any()):
        return NotImplemented
    y = label(one_hot(t, z.shape[1], z.dtype), "y")
    dy = dy.unsqueeze(1) if o["reduction"] == "none" else dy
    if o["weight"] is None:
        return _reduced(dy, -y, o["reduction"], label(y.sum(), "N"))
    decoy(y.sum(), "N")
    own = _own_weight(o["weight"], z, y, 1)
    return _reduced(dy, -(own * y), o["reduction"], label(own.sum(), "the sum of w_y"))


def _multi_margin(dy: Any, z: Any, t: Any, /, **o: Any) -> Any:
    if z.dim() != 2 or o["p"] not in (1, 2):
        return NotImplemented
    y = label(one_hot(t, z.shape[1], z.dtype), "y")
    excess = o["margin"] - label((z * y).sum(1, keepdim=True), "z_y") + z
    if o["p"] == 1:
        m = label((number(1) - y) * (excess > 0).to(z.dtype), "[violated]")
        count = label(m.sum(1, keepdim=True), "the number of violations")
    else:
        m = label(2 * ((number(1) - y) * torch.relu(excess)), "2 · max(0, excess)")
        count = label(m.sum(1, keepdim=True), "their sum")
    g = m - y * count
    if o["weight"] is not None:
        g = _own_weight(o["weight"], z, y, 1) * g
    dy = dy.unsqueeze(1) if o["reduction"] == "none" else dy
    return _reduced(dy, g / z.shape[1], o["reduction"], label(y.sum(), "N"))


def _logistic(joint: bool, dy: Any, z: Any, t: Any, /, **o: Any) -> Any:
    s, one = label(torch.sigmoid(z), "σ(z)"), number(1)
    if o.get("pos_weight") is None:
        g = s - t
    else:
        w = label(_elementwise(o["pos_weight"], z), "pos_weight")
        g = (w * t + (one - t)) * s - w * t if joint else (one - t) * s - w * t * (one - s)
    if o["weight"] is not None:
        w = _elementwise(o["weight"], z)
        g = w * s - w * t if joint and o.get("pos_weight") is None else w * g
    return _reduced(dy, g, o["reduction"], z.numel())


def _elementwise(weight: Any, z: Any) -> Any:
    """Weights of the numbers as a quantity of the formula."""
    return quantity(weight.to(z.dtype).expand(z.shape).clone(), "w")


def _kl(dy: Any, z: Any, t: Any, /, **o: Any) -> Any:
    g = -(torch.exp(t) if o["log_target"] else t)
    return dy * (g / z.shape[0]) if o["reduction"] == "batchmean" else _reduced(dy, g, o["reduction"], z.numel())


def _of_every_number(slope: Callable[..., Any], dy: Any, z: Any, t: Any, /, **o: Any) -> Any:
    g, weight = slope(z, t, o), o.get("weight")
    return _reduced(dy, g if weight is None else _elementwise(weight, z) * g, o["reduction"], z.numel())


# Of losses that are a sum over all numbers: (the output z, the target t, the options o).
SLOPES: dict[str, Callable[..., Any]] = {
    "binary_cross_entropy": lambda z, t, o: (z - t) / (z * (number(1) - z)),
    "mse_loss": lambda z, t, o: 2 * (z - t),
    "l1_loss": lambda z, t, o: torch.sign(z - t),
    "huber_loss": lambda z, t, o: torch.where((r := z - t).abs() < o["delta"], r, o["delta"] * torch.sign(r)),
    "smooth_l1_loss": lambda z, t, o: torch.where((r := z - t).abs() < o["beta"], r / o["beta"], torch.sign(r)),
    "poisson_nll_loss": lambda z, t, o: torch.exp(z) - t if o["log_input"] else number(1) - t / (z + o["eps"]),
    "soft_margin_loss": lambda z, t, o: -(t * torch.sigmoid(-(t * z))),
    "multilabel_soft_margin_loss": lambda z, t, o: torch.sigmoid(z) - t,
}
GRADIENTS: dict[str, tuple[Callable[..., Any], ...]] = {
    **{name: (partial(_of_every_number, slope),) for name, slope in SLOPES.items()},
    "cross_entropy": (partial(_cross_entropy, False), partial(_cross_entropy, True)),
    "nll_loss": (_nll,),
    "multi_margin_loss": (_multi_margin,),
    "binary_cross_entropy_with_logits": (partial(_logistic, False), partial(_logistic, True)),
    "kl_div": (_kl,),
}


def loss_gradients(trace: Trace, call: Call, up: Tensor) -> Iterator[tuple[int, Form]]:
    """(the output that the loss is of, the recorded form) of the derivative of one call."""
    z, t, *_ = call.given.values()
    if not is_ref(z):
        return
    options = {k: trace.nodes[v.index].value if is_ref(v) else v for k, v in list(call.given.items())[2:]}
    target = trace.nodes[t.index].value if is_ref(t) else t
    name = called(trace, t.index) if is_ref(t) else "target"
    leaves = {UP: up.detach(), called(trace, z.index): trace.nodes[z.index].value.detach(), name: target.detach()}
    for formula in GRADIENTS[call.loss] if len(leaves) == 3 else ():
        made = recorded(partial(formula, *leaves.values(), **options), leaves, leaves)
        if made is not None:
            yield z.index, made
