"""A wait that is ended by somebody, by the clock, or by whoever waits."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from vmproxy.base.wakeup import Wakeup


def test_whoever_waits_is_woken_or_the_time_is_over() -> None:
    clock, ended, wakeup = Clock(), list[bool](), Wakeup()
    wakeup.wake()  # nobody waits
    wakeup.wait(clock, 5).addCallback(ended.append)
    wakeup.wake()
    wakeup.wake()
    assert (ended, clock.getDelayedCalls()) == ([True], [])
    wakeup.wait(clock, 5).addCallback(ended.append)
    clock.advance(5)
    wakeup.wake()
    assert (ended, clock.getDelayedCalls()) == ([True, False], [])
    wakeup.wait().addCallback(ended.append)
    assert clock.getDelayedCalls() == []
    wakeup.wake()
    assert ended == [True, False, True]


def test_a_wait_that_was_cancelled_is_not_woken() -> None:
    clock, ended, wakeup = Clock(), list[object](), Wakeup()
    waiting = wakeup.wait(clock, 5).addErrback(lambda failure: ended.append(failure.check(CancelledError)))
    waiting.cancel()
    wakeup.wake()
    assert (ended, clock.getDelayedCalls()) == ([CancelledError], [])
