"""What happens to consoles is told line by line, or summed up."""

from __future__ import annotations

from twisted.internet.task import Clock

from tests.support.consoles import process_log
from vmproxy.base.news import LINES_PER_SECOND, News


def test_what_happens_now_and_then_is_told() -> None:
    clock = Clock()
    news = News(clock)
    with process_log() as lines:
        for n in range(3 * LINES_PER_SECOND):
            news.tell("consoles up", "{name}: up", name=f"vm{n}")
            clock.advance(1.01 / LINES_PER_SECOND)
    assert sum(": up" in line for line in lines) == 3 * LINES_PER_SECOND
    assert clock.getDelayedCalls() == []


def test_what_happens_at_once_is_summed_up_by_kind() -> None:
    clock = Clock()
    news = News(clock)
    with process_log() as lines:
        for n in range(1000):
            news.tell("consoles up", "{name}: up", name=f"vm{n}")
        news.tell("consoles down", "{name}: down", name="db01")
        clock.advance(1)
        news.tell("consoles up", "{name}: up", name="afterwards")
    assert sum(": up" in line for line in lines) == LINES_PER_SECOND + 1
    (summed,) = [line for line in lines if "too many" in line]
    assert f"1 consoles down, {1000 - LINES_PER_SECOND} consoles up" in summed
    assert clock.getDelayedCalls() == []


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    clock = Clock()
    clock.advance(10_000)
    news = News(clock)
    with process_log() as lines:
        for _ in range(LINES_PER_SECOND):
            news.tell("consoles up", "before")
        clock.rightNow = 5.0
        news.tell("consoles up", "after")
    assert any("after" in line for line in lines)


def test_at_the_stop_what_was_not_told_is_summed_up() -> None:
    clock = Clock()
    news = News(clock)
    with process_log() as lines:
        for _ in range(LINES_PER_SECOND + 7):
            news.tell("consoles down", "down")
        news.sum_up()
        news.sum_up()
    assert [line for line in lines if "too many" in line and "7 consoles down" in line]
    assert clock.getDelayedCalls() == []
