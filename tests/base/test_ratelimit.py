"""The limits: what is within them is told, what is beyond is counted, and nothing is forgotten."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.fakes import Logged
from vmproxy.base.ratelimit import (
    LINES_PER_SECOND,
    REFUSALS_EVERY,
    REPEAT_SECONDS,
    REPEATS_TOLD,
    RateLimit,
    RateLimitedLog,
    RefusalLog,
    RepeatSummary,
    TokenBucket,
)


def test_what_happens_now_and_then_is_told() -> None:
    clock = Clock()
    log = RateLimitedLog(clock)
    with Logged() as lines:
        for n in range(3 * LINES_PER_SECOND):
            log.tell("consoles up", "{name}: up", name=f"vm{n}")
            clock.advance(1.01 / LINES_PER_SECOND)
    assert sum(": up" in line for line in lines) == 3 * LINES_PER_SECOND
    assert clock.getDelayedCalls() == []


def test_what_happens_at_once_is_summed_up_by_kind() -> None:
    clock = Clock()
    log = RateLimitedLog(clock)
    with Logged() as lines:
        for n in range(1000):
            log.tell("consoles up", "{name}: up", name=f"vm{n}")
        log.tell("consoles down", "{name}: down", name="db01")
        clock.advance(1)
        log.tell("consoles up", "{name}: up", name="afterwards")
    assert sum(": up" in line for line in lines) == LINES_PER_SECOND + 1
    (summed,) = [line for line in lines if "too many" in line]
    assert f"1 consoles down, {1000 - LINES_PER_SECOND} consoles up" in summed
    assert clock.getDelayedCalls() == []


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    clock = Clock()
    clock.advance(10_000)
    log = RateLimitedLog(clock)
    with Logged() as lines:
        for _ in range(LINES_PER_SECOND):
            log.tell("consoles up", "before")
        clock.rightNow = 5.0
        log.tell("consoles up", "after")
    assert any("after" in line for line in lines)


def test_at_the_stop_what_was_not_told_is_summed_up() -> None:
    clock = Clock()
    log = RateLimitedLog(clock)
    with Logged() as lines:
        for _ in range(LINES_PER_SECOND + 7):
            log.tell("consoles down", "down")
        log.sum_up()
        log.sum_up()
    assert [line for line in lines if "too many" in line and "7 consoles down" in line]
    assert clock.getDelayedCalls() == []


# Pauses between events: mostly none, so that limits are reached; now and then a whole span.
pauses = st.lists(st.sampled_from((0.0, 0.0, 0.0, 0.25, 1.0, 5.0, 59.0, 61.0, 1000.0)), max_size=80)


@given(pauses, st.integers(1, 5))
def test_within_a_span_no_more_than_the_limit_is_allowed_and_all_others_are_counted(
    steps: list[float], limit: int
) -> None:
    clock = Clock()
    skipped: list[int] = []
    rate = RateLimit(clock, limit, 5.0, skipped.append)
    allowed: list[float] = []
    for step in steps:
        clock.advance(step)
        if rate.allow():
            allowed.append(clock.seconds())
    spans = [sum(start <= at < start + 5 for at in allowed) for start in allowed]
    assert all(count <= 2 * limit for count in spans)  # the ends of two spans that touch
    clock.advance(5)
    assert rate.allow()
    assert len(allowed) + sum(skipped) == len(steps)
    assert all(count > 0 for count in skipped)


def test_a_clock_that_is_set_back_begins_a_new_span() -> None:
    clock = Clock()
    clock.advance(10_000)
    rate = RateLimit(clock, 1, 60.0)
    assert rate.allow()
    assert not rate.allow()
    clock.rightNow = 5.0
    assert rate.allow()


@given(pauses, st.integers(1, 50))
def test_a_bucket_gives_its_burst_and_then_its_rate(steps: list[float], burst: int) -> None:
    now = 0.0
    bucket = TokenBucket(burst, now)
    taken = 0
    for step in steps:
        now += step
        taken += bucket.take(now, 2.0, burst)
        assert taken <= burst + 2.0 * now
        assert 0 <= bucket.tokens <= burst
    assert bucket.take(now + burst, 2.0, burst), "a rest fills it"


def test_a_bucket_survives_a_clock_that_is_set_back() -> None:
    bucket = TokenBucket(1, 1000.0)
    assert bucket.take(1000.0, 1.0, 1)
    assert not bucket.take(5.0, 1.0, 1)
    assert bucket.take(6.0, 1.0, 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from((0.0, 1.0, REFUSALS_EVERY)), st.integers(1, 3))))
def test_of_each_kind_of_refusal_one_is_told_in_a_while_with_how_many_there_were(
    refusals: list[tuple[str, float, int]],
) -> None:
    clock = Clock()
    told: list[tuple[str, float, int]] = []
    log = RefusalLog(clock, lambda who, why, n: told.append((why, clock.seconds(), n)))
    for kind, step, times in refusals:
        clock.advance(step)
        log.add(kind, "10.0.0.1", kind, times)
    clock.advance(REFUSALS_EVERY)
    for kind in "abc":
        log.add(kind, "10.0.0.1", kind)
        mine = [(at, n) for why, at, n in told if why == kind]
        assert sum(n for _, n in mine) == log.counts[kind]
        assert all(later - at >= REFUSALS_EVERY for (at, _), (later, _) in itertools.pairwise(mine))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((0.0, 0.0, 0.0, 0.0, 0.5, 30.0, REPEAT_SECONDS)))))
def test_of_what_repeats_the_first_are_told_and_the_others_as_a_number(events: list[tuple[str, float]]) -> None:
    clock = Clock()
    told: list[tuple[str, float]] = []
    sums: list[tuple[str, int]] = []
    repeats: RepeatSummary[str] = RepeatSummary(clock, lambda key, times: sums.append((key, times)))
    for key, step in events:
        clock.advance(step)
        if repeats.again(key):
            told.append((key, clock.seconds()))
        else:
            assert repeats.untold(key)
    repeats.stop()
    repeats.stop()
    assert clock.getDelayedCalls() == []
    assert all(times > 0 for _, times in sums)
    for key in "ab":
        mine = [at for other, at in told if other == key]
        assert len(mine) + sum(times for other, times in sums if other == key) == sum(k == key for k, _ in events)
        assert all(sum(start <= at < start + REPEAT_SECONDS for at in mine) <= 2 * REPEATS_TOLD for start in mine)


@pytest.mark.parametrize("times", [REPEATS_TOLD, REPEATS_TOLD + 1])
def test_a_number_is_told_only_where_something_was_left_out(times: int) -> None:
    clock = Clock()
    sums: list[tuple[str, int]] = []
    repeats: RepeatSummary[str] = RepeatSummary(clock, lambda key, left: sums.append((key, left)))
    for _ in range(times):
        repeats.again("a")
    assert repeats.untold("a") == (times > REPEATS_TOLD)
    clock.advance(REPEAT_SECONDS)
    assert sums == [("a", 1)] * (times - REPEATS_TOLD)
