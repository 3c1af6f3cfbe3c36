"""One call that is due later: started, started again, stopped."""

from __future__ import annotations

from twisted.internet.task import Clock

from vmproxy.base.countdown import Countdown


def test_a_countdown_calls_once_and_what_was_due_before_not_at_all() -> None:
    clock, heard = Clock(), list[int]()
    countdown = Countdown(clock)
    countdown.start(1, heard.append, 1)
    countdown.start(2, heard.append, 2)
    clock.advance(1)
    assert (heard, countdown.is_running) == ([], True)
    clock.advance(1)
    assert (heard, countdown.is_running, clock.getDelayedCalls()) == ([2], False, [])


def test_a_stopped_countdown_calls_nothing_and_may_be_started_again_by_what_it_calls() -> None:
    clock, heard = Clock(), list[float]()
    countdown = Countdown(clock)
    countdown.stop()
    countdown.start(1, heard.append, 1)
    countdown.stop()
    countdown.stop()
    assert clock.getDelayedCalls() == []

    def again() -> None:
        heard.append(clock.seconds())
        countdown.start(3, again)

    countdown.start(3, again)
    clock.pump([3, 3])
    assert (heard, countdown.is_running) == ([3, 6], True)
