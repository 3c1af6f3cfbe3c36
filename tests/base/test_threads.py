"""Threads beside those of the reactor: none begins once they are stopped, or the process would never end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from unittest.mock import Mock

from twisted.internet.defer import CancelledError, Deferred

from vmproxy.base.threads import OneAtATime, OwnThreads, Stops
from vmproxy.hooks.action_programs import ActionPrograms


def test_no_thread_for_passwords_begins_once_they_are_stopped() -> None:
    before, ran = threading.active_count(), list[object]()
    threads = OwnThreads(Mock(), "test", 1)
    threads.stop()
    try:
        threads(lambda: ran.append("ran")).addErrback(lambda failure: ran.append(failure.check(Stops)))
        assert ran == [Stops]
        assert threading.active_count() == before
    finally:
        threads.stop()


def test_no_thread_for_actions_begins_once_they_are_stopped() -> None:
    before, ended = threading.active_count(), list[object]()
    programs = ActionPrograms(Mock())
    programs.stop()
    try:
        programs.run(["/bin/true"], b"", {}, 1.0).addCallback(lambda outcome: ended.append(outcome.problem))
        assert ended == ["vmproxy stops"]
        assert threading.active_count() == before
    finally:
        programs.stop()


def test_the_end_does_not_wait_for_a_call_that_hangs() -> None:
    threads = OwnThreads(Mock(), "test", 1)
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(10)
        over.set()

    threads(hang)
    assert begun.wait(10)
    threads.stop()
    assert not over.is_set()
    go_on.set()
    assert over.wait(10)


def test_calls_go_one_after_the_other_whoever_has_stopped_waiting() -> None:
    begun, ends, heard = list[str](), list[Deferred[str]](), list[object]()

    def in_thread(call: Callable[[], str]) -> Deferred[str]:
        begun.append(call())
        ends.append(Deferred())
        return ends[-1]

    one_at_a_time = OneAtATime(in_thread)
    first = one_at_a_time(lambda: "first").addErrback(lambda failure: heard.append(failure.check(CancelledError)))
    for name in ("second", "third"):
        one_at_a_time(lambda name=name: name).addBoth(heard.append)
    first.cancel()
    assert (begun, heard) == (["first"], [CancelledError])
    ends[0].callback("one")
    assert begun == ["first", "second"]
    ends[1].errback(OSError("no"))
    ends[2].callback("three")
    assert begun == ["first", "second", "third"]
    assert [getattr(one, "type", one) for one in heard[1:]] == [OSError, "three"]
