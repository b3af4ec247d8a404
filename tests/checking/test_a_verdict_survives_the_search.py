"""Whatever the search for a cause does, the verdict is told; and what was not searched is said."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, Report, UsageError, check
from handgrad.compare.foundation.apart import can_fork

apart = pytest.mark.skipif(not can_fork(), reason="nothing runs apart here")
GIVEN = [(4, 5), (7, 5)]  # the shape below, and the check's other batch
PARENT = os.getpid()


def failed(*arguments: Any, **options: Any) -> Report:
    with pytest.raises(CheckFailed) as caught:
        check(*arguments, **options)
    return caught.value.report


def tanh(x: Any) -> Any:
    return np.tanh(x)


def wrong(dy: Any, x: Any) -> Any:
    return dy * (1 - np.tanh(x) ** 2) * np.cos(np.arange(x.size).reshape(x.shape))


def only_as_given(then: Callable[[], Any]) -> Callable[[Any], Any]:
    def reference(x: Any) -> Any:
        if tuple(x.shape) not in GIVEN:
            assert os.getpid() != PARENT  # a search is no business of this process
            then()
        return torch.tanh(x)

    return reference


@apart
def test_a_reference_that_aborts_at_other_sizes() -> None:
    report = failed((tanh, wrong), only_as_given(os.abort), x=(4, 5))
    (finding,) = (f for f in report.findings if f.differs)
    assert finding.tensor == "input gradient"
    assert any("SIGABRT (on further inputs)" in note for note in finding.notes)
    assert any("elements" in note or "ratio" in note for note in finding.notes)  # and what is known all the same
    assert "x = np.array(" in report.reproducer


@apart
def test_a_cause_is_found_beside_an_abort() -> None:
    report = failed((tanh, lambda dy, x: 2 * dy * (1 - np.tanh(x) ** 2)), only_as_given(os.abort), x=(4, 5))
    (cause,) = report.causes
    assert cause.startswith("input gradient: a factor 2 too much")


def spin() -> None:
    while True:
        pass


@apart
def test_a_reference_that_never_returns_at_other_sizes() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = failed((tanh, wrong), only_as_given(spin), x=(4, 5), explain="quick")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 2.5  # 0.75 s and more for the causes, a half for the reproducer
    assert [f.tensor for f in report.findings if f.differs] == ["input gradient"]


@apart
def test_a_search_that_is_stopped_says_so() -> None:
    def reference(x: Any) -> Any:
        for _ in range(6):
            x = torch.tanh(x) * x + torch.sin(x)
        return x

    def forward(x: Any) -> Any:
        for _ in range(6):
            x = np.tanh(x) * x + np.sin(x)
        return x

    report = failed((forward, wrong), reference, x=(2, 3), explain="quick")
    (finding,) = (f for f in report.findings if f.differs)
    assert not finding.causes
    assert any(
        re.search("was stopped after its share of 0.* s of CPU", n) and 'explain="full"' in n for n in finding.notes
    )
    assert not any("none of the known ones" in n for n in finding.notes)  # they were not all tried


@apart
def test_ctrl_c_during_the_search_keeps_the_verdict() -> None:
    def interrupted() -> None:
        os.kill(PARENT, signal.SIGINT)
        spin()

    report = failed((tanh, wrong), only_as_given(interrupted), x=(4, 5))
    (finding,) = (f for f in report.findings if f.differs)
    assert "the search for a cause was interrupted" in finding.notes


def test_without_an_explanation_there_is_a_verdict() -> None:
    def reference(x: Any) -> Any:
        assert tuple(x.shape) in GIVEN  # no other inputs
        return torch.tanh(x)

    report = failed((tanh, wrong), reference, x=(4, 5), explain="off")
    assert [f.agrees for f in report.findings] == [True, False]
    assert not report.causes
    assert not report.reproducer
    with pytest.raises(UsageError, match="explain must be one of off, quick, full, got 'a lot'"):
        check((tanh, wrong), reference, x=(4, 5), explain="a lot")


LABELS = (1, 2)


def ctc(x: Any) -> Any:
    t = torch.tensor([LABELS] * len(x))
    lengths = [torch.full((len(x),), n) for n in (x.shape[1], len(LABELS))]
    return nn.functional.ctc_loss(torch.log_softmax(x, 2).transpose(0, 1), t, *lengths, blank=0, reduction="none")


def losses(x: Any) -> Any:
    """By the definition: over all paths."""
    log_p = x - np.log(np.exp(x).sum(2, keepdims=True))
    steps, classes = x.shape[1:]
    total = np.zeros(len(x))
    for path in np.ndindex(*[classes] * steps):
        kept = [k for i, k in enumerate(path) if k and (i == 0 or k != path[i - 1])]
        if kept == list(LABELS):
            total = total + np.exp(sum(log_p[:, i, k] for i, k in enumerate(path)))
    return -np.log(total)


def of_ctc(dy: Any, x: Any) -> Any:
    return dy[:, None, None] * np.exp(x) / np.exp(x).sum(2, keepdims=True)


@apart
def test_labels_stay_valid_or_die_apart() -> None:
    report = failed((losses, of_ctc), ctc, x=(2, 3, 3))
    assert [f.tensor for f in report.findings if f.differs] == ["input gradient"]
    assert len(report.reproducer) < 4000


class CrossEntropy:
    def forward(self, output: Any, target: Any) -> Any:
        p = np.exp(output) / np.exp(output).sum(1, keepdims=True)
        return -np.log(p[np.arange(len(p)), target]).mean(), (p, target)

    def gradient(self, cache: Any) -> Any:
        p, target = cache
        return (p - np.eye(p.shape[1])[target]) / len(p) * (1 + p)


def test_a_reproducer_keeps_labels_below_the_number_of_classes() -> None:
    report = failed(CrossEntropy(), nn.CrossEntropyLoss(), output=(6, 7), target="class")
    made: dict[str, Any] = {"np": np}
    exec("\n".join(line for line in report.reproducer.splitlines() if line.startswith(("output =", "target ="))), made)
    assert made["target"].max() < made["output"].shape[1]
