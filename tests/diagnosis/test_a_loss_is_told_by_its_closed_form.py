"""A wrong gradient of a loss is told by the formula that books give for it: p − q, not a path through logarithms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from handgrad.compare.diagnosis.graph.edits.forms.loss_gradients import GRADIENTS, loss_gradients
from handgrad.compare.diagnosis.graph.record.losses import CALLED
from handgrad.compare.diagnosis.graph.record.recorder import record
from tests.diagnosis.diagnosed import LossOf, causes_of

Gradient = Callable[[Any, Any], Any]


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def one_hot(t: Any, z: Any) -> Any:
    return np.eye(z.shape[1])[t]


def causes(value: Gradient, gradient: Gradient, reference: Any, **arguments: Any) -> tuple[str, ...]:
    ((tensor, found),) = causes_of(LossOf(value, gradient), reference, **arguments).items()
    assert tensor == "loss gradient"
    return found


def smoothed(z: Any, t: Any) -> Any:
    return 0.85 * one_hot(t, z) + 0.15 / z.shape[1]


def smoothing(z: Any, t: Any) -> Any:
    return -(smoothed(z, t) * np.log(softmax(z))).sum() / len(z)


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda z, t: softmax(z) - 0.85 * one_hot(t, z), "α / K is left out of (1 − α) · y + α / K"),
        (lambda z, t: softmax(z) - 0.85 * one_hot(t, z) - 0.15 / (z.shape[1] - 1), "K − 1 stands for K in α / K"),
        (lambda z, t: softmax(z) - one_hot(t, z) - 0.15 / z.shape[1], "1 − α is left out of (1 − α) · y"),
    ],
)
def test_of_a_smoothed_target_every_part_is_named(gradient: Gradient, words: str) -> None:
    reference = nn.CrossEntropyLoss(label_smoothing=0.15)
    (cause,) = causes(smoothing, lambda z, t: gradient(z, t) / len(z), reference, output=(4, 5), target="class")
    assert cause == f"in the derivative of cross_entropy by ŷ: {words}"


WEIGHTS = np.array([0.5, 2.0, 1.3])


def weighted(z: Any, t: Any) -> Any:
    return -(WEIGHTS[t] * np.log(softmax(z))[np.arange(len(z)), t]).sum() / WEIGHTS[t].sum()


def weighted_reference(z: Any, t: Any) -> Any:
    return functional.cross_entropy(z, t, torch.from_numpy(WEIGHTS).to(z.dtype))


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda z, t, w, d: w[:, None] * d / len(z), "N stands for the sum of w_y"),
        (lambda z, t, w, d: w[:, None] * d / WEIGHTS.sum(), "the sum of w stands for the sum of w_y"),
        (lambda z, t, w, d: WEIGHTS * d / w.sum(), "w stands for w_y in w_y · (p − y)"),
        (lambda z, t, w, d: (softmax(z) - w[:, None] * one_hot(t, z)) / w.sum(), "w_y is left out of w_y · p"),
    ],
)
def test_of_class_weights_it_is_said_which_and_over_what(gradient: Any, words: str) -> None:
    def wrong(z: Any, t: Any) -> Any:
        return gradient(z, t, WEIGHTS[t], softmax(z) - one_hot(t, z))

    (cause,) = causes(weighted, wrong, weighted_reference, output=(5, 3), target="class")
    assert words in cause


def excess(z: Any, t: Any) -> Any:
    return np.maximum(0, 0.8 - z[np.arange(len(z)), t][:, None] + z) * (1 - one_hot(t, z))


def test_of_a_margin_the_count_of_violations_is_named() -> None:
    def wrong(z: Any, t: Any) -> Any:
        return ((excess(z, t) > 0) - one_hot(t, z)) / z.size  # −1, not −(how many), for the true class

    def value(z: Any, t: Any) -> Any:
        return excess(z, t).sum() / z.size

    (cause,) = causes(value, wrong, nn.MultiMarginLoss(margin=0.8), output=(4, 5), target="class")
    assert cause.endswith("the number of violations is left out of y · the number of violations")


@pytest.mark.parametrize("size", [1e-2, 1e-10])
def test_what_is_almost_an_edit_is_none(size: float) -> None:
    def wrong(z: Any, t: Any) -> Any:
        return (softmax(z) - 0.85 * one_hot(t, z) - size * np.cos(np.arange(z.size)).reshape(z.shape)) / len(z)

    assert causes(smoothing, wrong, nn.CrossEntropyLoss(label_smoothing=0.15), output=(4, 5), target="class") == ()


CALLS: dict[str, list[Callable[[Any, Any], Any]]] = {
    "cross_entropy": [
        lambda z, t: functional.cross_entropy(z, t.argmax(1)),
        lambda z, t: functional.cross_entropy(z, t.argmax(1), torch.tensor([0.3, 2.0, 1.0], dtype=z.dtype)),
        lambda z, t: functional.cross_entropy(z, t.argmax(1), label_smoothing=0.3, reduction="sum"),
        lambda z, t: functional.cross_entropy(z, t.argmax(1), ignore_index=1),
        lambda z, t: functional.cross_entropy(z, t),
    ],
    "nll_loss": [lambda z, t: functional.nll_loss(z, t.argmax(1), torch.tensor([0.3, 2.0, 1.0], dtype=z.dtype))],
    "multi_margin_loss": [
        lambda z, t: functional.multi_margin_loss(z, t.argmax(1), margin=0.7),
        lambda z, t: functional.multi_margin_loss(z, t.argmax(1), p=2),
    ],
    "binary_cross_entropy_with_logits": [
        lambda z, t: functional.binary_cross_entropy_with_logits(z, t, pos_weight=torch.tensor(2.0, dtype=z.dtype)),
        lambda z, t: functional.binary_cross_entropy_with_logits(z, t, torch.tensor([0.3, 2.0, 1.0], dtype=z.dtype)),
    ],
    "binary_cross_entropy": [lambda z, t: functional.binary_cross_entropy(z, t)],
    "mse_loss": [lambda z, t: functional.mse_loss(z, t, reduction="sum")],
    "l1_loss": [lambda z, t: functional.l1_loss(z, t)],
    "huber_loss": [lambda z, t: functional.huber_loss(z, t, delta=0.3)],
    "smooth_l1_loss": [lambda z, t: functional.smooth_l1_loss(z, t, beta=0.3)],
    "kl_div": [lambda z, t: functional.kl_div(z, t, reduction="batchmean")],
    "poisson_nll_loss": [
        lambda z, t: functional.poisson_nll_loss(z, t),
        lambda z, t: functional.poisson_nll_loss(z, t, log_input=False),
    ],
    "soft_margin_loss": [lambda z, t: functional.soft_margin_loss(z, t)],
    "multilabel_soft_margin_loss": [lambda z, t: functional.multilabel_soft_margin_loss(z, t)],
}


def test_every_loss_that_is_written_down_has_a_closed_form_that_is_tried_here() -> None:
    assert set(CALLED.values()) == set(GRADIENTS) == set(CALLS)


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in CALLS.items() for call in calls])
def test_a_closed_form_is_torchs_gradient(name: str, call: Callable[[Any, Any], Any]) -> None:
    rng = np.random.default_rng(0)
    z, t = (torch.from_numpy(rng.uniform(0.1, 0.9, (5, 3))) for _ in range(2))
    z.requires_grad_()
    trace = record(lambda: call(z, t), {"ŷ": z, "target": t}, 0)
    assert trace is not None
    (seen,) = trace.calls
    assert seen.loss == name
    (right,) = torch.autograd.grad(call(z, t), z)
    made = [form.trace for _, form in loss_gradients(trace, seen, torch.ones((), dtype=torch.float64))]
    assert made
    for form in made:
        torch.testing.assert_close(form.nodes[form.output].value, right, rtol=1e-12, atol=1e-14)
