"""Threads beside those of the reactor: none begins once they are stopped, or the process would never end."""

from __future__ import annotations

import threading
from unittest.mock import Mock

from vmproxy.base.threads import OwnThreads, Stops
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
