"""A loss whose parts are read as something else is told so: exchanged arguments, log σ for log σ², ≥ for >."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from compare import CheckFailed, check

Function = Callable[[Any, Any], Any]


class Loss:
    """The manual side: the value and the gradient of a function of torch's, with its faults in it."""

    def __init__(self, value: Function, gradient: Function) -> None:
        self.value, self.slope = value, gradient

    def forward(self, output: Any, target: Any) -> Any:
        return self.value(output, target), (output, target)

    def gradient(self, cache: Any) -> Any:
        return self.slope(*cache)


def of(wrong: Function) -> Loss:
    """The loss that is wrong, right in itself."""

    def value(o: Any, t: Any) -> Any:
        return wrong(torch.from_numpy(np.array(o)), torch.from_numpy(np.array(t))).numpy()

    def gradient(o: Any, t: Any) -> Any:
        x = torch.from_numpy(np.array(o)).requires_grad_()
        (g,) = torch.autograd.grad(wrong(x, torch.from_numpy(np.array(t))), x)
        return g.numpy()

    return Loss(value, gradient)


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
    ("wrong", "twin", "words"),
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
def test_it_is_named_in_the_loss_and_in_its_gradient(wrong: Function, twin: Function, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(of(wrong), twin, output=(4, 2), target="class" if twin is torchs else (4, 2))
    found = [f for f in caught.value.report.findings if not f.agrees]
    assert {f.tensor for f in found} == {"loss", "loss gradient"}
    for finding in found:
        assert any(words in cause for cause in finding.causes), finding.causes


def test_a_loss_written_out_for_weighted_classes_is_torchs() -> None:
    assert check(of(on(smoothed, 2)), torchs, output=(4, 2), target="class").agrees


def standard(o: Any, held: bool) -> Any:
    s = torch.sqrt(o.var(0, correction=0) + 1e-3)
    return (o - o.mean(0)) / (s.detach() if held else s)


def correlated(held: bool, weight: float, o: Any, t: Any) -> Any:
    c = standard(o, held).T @ standard(t, False)
    return ((c.diagonal() - 1) ** 2).sum() + weight * (c**2).sum()


def test_a_path_left_out_below_a_lost_factor_is_found_with_it() -> None:
    wrong = of(lambda o, t: correlated(True, 1.0, o, t))
    right = of(lambda o, t: correlated(False, 0.1, o, t))
    with pytest.raises(CheckFailed) as caught:
        check(Loss(right.value, wrong.slope), lambda o, t: correlated(False, 0.1, o, t), output=(6, 3), target=(6, 3))
    (finding,) = [f for f in caught.value.report.findings if not f.agrees]
    assert len(finding.causes) == 2
    assert "the constant 0.1 is left out" in finding.causes[0]
    assert "is held constant" in finding.causes[1]


def test_a_number_without_a_name_on_top_of_a_slip_is_no_cause() -> None:
    def wrong(o: Any, t: Any) -> Any:
        return np.exp(o) * 1.37 + t * np.where(o > 0, 1, 2)

    def twin(o: Any, t: Any) -> Any:
        return (torch.exp(o) * torch.sin(o) + t * o).sum()

    right = of(twin)
    with pytest.raises(CheckFailed) as caught:
        check(Loss(right.value, wrong), twin, output=(4, 2), target=(4, 2))
    (finding,) = [f for f in caught.value.report.findings if not f.agrees]
    assert not any("a constant factor of" in cause for cause in finding.causes)
