"""Listening to checks: inside a context, in order, in this thread alone, and over with it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from torch import nn

from handgrad import CheckFailed, Report, check, manual
from handgrad.compare.checking.listeners import listening


class Doubled(manual.Tanh):
    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return 2 * super().input_gradient(params, cache, dy)


def right() -> Report:
    return check(manual.Tanh(), nn.Tanh(), x=(2, 3))


def wrong() -> Report:
    return check(Doubled(), nn.Tanh(), x=(2, 3))


def test_reports_are_heard_in_order_and_differences_are_raised() -> None:
    heard: list[bool] = []
    with listening(lambda report: heard.append(report.agrees)):
        right()
        with pytest.raises(CheckFailed):
            wrong()
    right()
    assert heard == [True, False]


def test_one_who_listens_may_keep_differences_from_being_raised() -> None:
    outer: list[Report] = []
    inner: list[Report] = []
    with listening(outer.append):
        with listening(inner.append, raises=False):
            assert not wrong().agrees
        with pytest.raises(CheckFailed):
            wrong()
    assert (len(outer), len(inner)) == (2, 1)


def test_it_is_over_when_the_context_is_left_by_an_exception() -> None:
    heard: list[Report] = []
    with pytest.raises(ZeroDivisionError), listening(heard.append, raises=False):
        raise ZeroDivisionError
    with pytest.raises(CheckFailed):
        wrong()
    assert heard == []


def test_another_thread_is_not_heard_and_raises() -> None:
    heard: list[Report] = []
    raised: list[type[BaseException]] = []

    def run() -> None:
        try:
            wrong()
        except CheckFailed as failed:
            raised.append(type(failed))

    with listening(heard.append, raises=False):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert raised == [CheckFailed]
    assert heard == []
