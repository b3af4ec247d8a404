"""A loss one of whose parts is taken for another is named: arguments in the wrong order, log σ for log σ², ≥ for >."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import check
from tests.diagnosis.diagnosed import Function, LossOf, causes_of


def of(wrong: Function) -> LossOf:
    """The loss that is wrong, right in itself."""

    def value(o: Any, t: Any) -> Any:
        return wrong(torch.from_numpy(np.array(o)), torch.from_numpy(np.array(t))).numpy()

    def gradient(o: Any, t: Any) -> Any:
        x = torch.from_numpy(np.array(o)).requires_grad_()
        (g,) = torch.autograd.grad(wrong(x, torch.from_numpy(np.array(t))), x)
        return g.numpy()

    return LossOf(value, gradient)


def divergence(o: Any, t: Any) -> Any:
    return functional.kl_div(
        torch.log_softmax(o / 3, 1), torch.log_softmax(t / 3, 1), reduction="batchmean", log_target=True
    )


def gaussian(scale: float, o: Any, t: Any) -> Any:
    log = scale * o[:, 1]
    return (log + (t[:, 0] - o[:, 0]) ** 2 * torch.exp(-log)).mean()


def pinball(swapped: bool, o: Any, t: Any) -> Any:
    e, q = t - o, torch.tensor([0.1, 0.6], dtype=o.dtype)
    q = 1 - q if swapped else q
    return torch.where(e > 0, q * e, (q - 1) * e).mean()


def hinge(inside: bool, o: Any, t: Any) -> Any:
    d = torch.exp(o - t)
    return (torch.relu(4 - d**2) if inside else torch.relu(4 - d) ** 2).mean()


def ranked(ties: bool, o: Any, t: Any) -> Any:
    better = t[:, :, None] >= t[:, None, :] if ties else t[:, :, None] > t[:, None, :]
    return (better * functional.softplus(o[:, None, :] - o[:, :, None] + o[:, :, None] ** 2)).sum()


def weighed(whole: bool, o: Any, t: Any) -> Any:
    w = torch.tensor([4.0, 0.5], dtype=o.dtype)
    one, other = torch.sigmoid(t) * functional.softplus(-o), functional.softplus(o)
    return (w * (one + other) if whole else w * one + other).mean()


def halves(once: bool, o: Any, t: Any) -> Any:
    s = o @ t.T
    rows, columns = torch.logsumexp(s, 1).sum(), torch.logsumexp(s.T, 1).sum()
    return rows + rows if once else rows + columns


def smoothed(k: int, o: Any, t: Any) -> Any:
    w = torch.tensor([0.5, 3.0], dtype=o.dtype)
    y = functional.one_hot(t, 2).to(o.dtype)
    q = 0.8 * y + 0.2 / k * (1 if k == 2 else 1 - y)
    return -(q * w * torch.log_softmax(o, 1)).sum() / w[t].sum()


def torchs(o: Any, t: Any) -> Any:
    return functional.cross_entropy(o, t, weight=torch.tensor([0.5, 3.0], dtype=o.dtype), label_smoothing=0.2)


def on(function: Any, choice: Any) -> Function:
    return lambda o, t: function(choice, o, t)


@pytest.mark.parametrize(
    ("wrong", "reference", "words"),
    [
        (lambda o, t: divergence(t, o), divergence, "ŷ and target are exchanged"),
        (on(gaussian, 2), on(gaussian, 1), "2 · ŷ[:, 1] stands for ŷ[:, 1] everywhere (as where log σ is read for"),
        (on(pinball, True), on(pinball, False), "1 − q stands for q everywhere"),
        (on(hinge, True), on(hinge, False), "the square is taken of"),
        (on(hinge, False), on(hinge, True), "the square is taken of the whole of relu"),
        (on(ranked, True), on(ranked, False), "≥ stands for > in target > target"),
        (on(weighed, True), on(weighed, False), "the factor w of"),
        (on(weighed, False), on(weighed, True), "the factor w is left out before softplus(ŷ)"),
        (on(halves, True), on(halves, False), "is taken twice, and"),
        (on(smoothed, 1), torchs, "α / (K − 1) · (1 − y) stands for α / K"),
    ],
)
def test_it_is_named_in_the_loss_and_in_its_gradient(wrong: Function, reference: Function, words: str) -> None:
    found = causes_of(of(wrong), reference, output=(4, 2), target="class" if reference is torchs else (4, 2))
    assert set(found) == {"loss", "loss gradient"}
    for causes in found.values():
        assert any(words in cause for cause in causes), causes


def test_a_loss_written_out_for_weighted_classes_is_torchs() -> None:
    assert check(of(on(smoothed, 2)), torchs, output=(4, 2), target="class").agrees


def unit(held: bool, weight: float, o: Any, t: Any) -> Any:
    norm = torch.sqrt((o * o).sum(1, keepdim=True))
    u = o / (norm.detach() if held else norm)
    return ((u * t).sum(1) - 1).square().sum() + weight * torch.sin(u).sum()


def mixed(o: Any, t: Any) -> Any:
    return -torch.logsumexp(torch.log_softmax(o[:, :2], 1) - (t - o[:, 2:]) ** 2, 1).mean()


def priors_for_posteriors(o: Any, t: Any) -> Any:
    """π − r for the logits, and π where r belongs for the means."""
    x = torch.from_numpy(np.array(o)).requires_grad_()
    t = torch.from_numpy(np.array(t))
    pi = torch.softmax(x[:, :2], 1)
    (right,) = torch.autograd.grad(mixed(x, t), x)
    slope = -2 * pi * (t - x[:, 2:]) / len(o)
    return torch.cat([right[:, :2], slope.detach()], 1).numpy()


@pytest.mark.parametrize(
    ("gradient", "reference", "words"),
    [
        (of(on(partial(unit, True), 1.0)).slope, on(partial(unit, False), 0.1), "the constant 0.1 is left out|held"),
        (priors_for_posteriors, mixed, "exp(log_softmax(ŷ[:, :2], axis 1)) stands for the softmax"),
    ],
)
def test_a_gradient_of_several_edits_is_named(gradient: Function, reference: Function, words: str) -> None:
    target = (5, 1) if gradient is priors_for_posteriors else (5, 4)
    (causes,) = causes_of(LossOf(of(reference).value, gradient), reference, output=(5, 4), target=target).values()
    assert len(causes) == len(words.split("|"))
    assert all(word in cause for word, cause in zip(words.split("|"), causes, strict=True)), causes


def test_a_number_without_a_name_on_top_of_an_edit_is_no_cause() -> None:
    def wrong(o: Any, t: Any) -> Any:
        return np.exp(o) * (np.sin(o) + 1.37) + t  # cos(o) is taken as 1, and 1.37 is nowhere

    def reference(o: Any, t: Any) -> Any:
        return (torch.exp(o) * torch.sin(o) + t * o).sum()

    right = of(reference)
    (causes,) = causes_of(LossOf(right.value, wrong), reference, output=(4, 2), target=(4, 2)).values()
    assert causes == ()
