"""Listening to checks: inside a context, in order, over with it, in this thread alone unless threads are asked for."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import pytest
from torch import nn

from handgrad import CheckFailed, Report, check, manual
from handgrad.compare.checking.listeners import Listener, _threads, listening, listening_to_threads


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


# --- threads without a listener of their own --------------------------------------------------------------------------


def in_a_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_threads_are_heard_by_whoever_began_last_and_has_not_ended() -> None:
    outer: list[Report] = []
    inner: list[Report] = []
    with listening_to_threads(outer.append):
        with listening_to_threads(inner.append):
            in_a_thread(right)
            right()
        assert (len(outer), len(inner)) == (0, 2)
        in_a_thread(right)
        assert (len(outer), len(inner)) == (1, 2)
    in_a_thread(right)
    right()
    assert (len(outer), len(inner)) == (1, 2)


def test_a_thread_that_listens_itself_is_left_alone() -> None:
    outer: list[Report] = []
    own: list[Report] = []

    def work() -> None:
        with listening(own.append, raises=False):
            wrong()

    with listening_to_threads(outer.append):
        in_a_thread(work)
    assert (len(outer), len(own)) == (0, 1)


def test_many_threads_at_once_are_all_heard() -> None:
    heard: list[Report] = []
    with listening_to_threads(heard.append):
        threads = [threading.Thread(target=right) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(heard) == 6


def test_sessions_that_end_in_another_order_take_only_their_own() -> None:
    first: list[Report] = []
    second: list[Report] = []
    one, two = ExitStack(), ExitStack()
    in_a_thread(lambda: one.enter_context(_threads.heard_by(Listener(first.append, True))))
    two.enter_context(_threads.heard_by(Listener(second.append, True)))
    one.close()
    in_a_thread(right)
    two.close()
    in_a_thread(right)
    assert (len(first), len(second)) == (0, 1)
