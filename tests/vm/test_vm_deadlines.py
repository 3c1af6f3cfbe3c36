"""Many deadlines, one timer: everyone gets called at his own time, also when a call changes who waits."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from vmproxy.deadlines import Deadlines


def test_an_item_that_is_discarded_by_the_expiry_of_another_is_not_called() -> None:
    clock = Clock()
    called: list[str] = []

    def expired(item: str) -> None:
        called.append(item)
        deadlines.discard("second")

    deadlines = Deadlines(clock, 10, expired)
    deadlines.start("first")
    deadlines.start("second")
    clock.advance(10)
    assert called == ["first"]
    assert clock.getDelayedCalls() == []


def test_an_item_that_is_started_again_by_the_expiry_of_another_gets_its_full_time() -> None:
    clock = Clock()
    called: list[tuple[str, float]] = []

    def expired(item: str) -> None:
        called.append((item, clock.seconds()))
        if item == "first":
            deadlines.start("second")

    deadlines = Deadlines(clock, 10, expired)
    deadlines.start("first")
    deadlines.start("second")
    clock.advance(10)
    clock.advance(10)
    assert called == [("first", 10), ("second", 20)]


def test_an_expiry_that_starts_something_does_not_put_off_what_is_due_before() -> None:
    clock = Clock()
    called: list[tuple[str, float]] = []

    def expired(item: str) -> None:
        called.append((item, clock.seconds()))
        if item == "first":
            deadlines.start("third")

    deadlines = Deadlines(clock, 10, expired)
    deadlines.start("first")
    clock.advance(1)
    deadlines.start("second")
    for _ in range(30):
        clock.advance(1)
    assert called == [("first", 10), ("second", 11), ("third", 20)]


def test_an_expiry_that_fails_does_not_silence_the_others() -> None:
    clock = Clock()
    called: list[str] = []

    def expired(item: str) -> None:
        called.append(item)
        if item == "first":
            raise RuntimeError("a fault of whoever is called")

    deadlines = Deadlines(clock, 10, expired)
    deadlines.start("first")
    clock.advance(1)
    deadlines.start("second")
    for _ in range(12):
        try:
            clock.advance(1)
        except RuntimeError:  # Clock hands it to us; a reactor logs it and goes on
            continue
    assert called == ["first", "second"]


def test_stop_in_an_expiry_calls_nobody_else() -> None:
    clock = Clock()
    called: list[str] = []

    def expired(item: str) -> None:
        called.append(item)
        deadlines.stop()

    deadlines = Deadlines(clock, 10, expired)
    deadlines.start("first")
    deadlines.start("second")
    clock.advance(10)
    assert called == ["first"]
    assert clock.getDelayedCalls() == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["start", "discard"]), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 3.0, 9.5, 10.0])),
        ),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=200)
def test_everyone_is_called_exactly_at_his_time_and_the_timer_stops_when_nobody_waits(
    steps: list[tuple[str, float]],
) -> None:
    clock = Clock()
    due: dict[float, float] = {}
    called: list[tuple[float, float]] = []
    should: list[tuple[float, float]] = []
    record: Callable[[float], None] = lambda item: called.append((item, clock.seconds()))  # noqa: E731
    deadlines = Deadlines(clock, 10, record)
    for what, value in steps:
        if what == "start":
            deadlines.start(value)
            due.pop(value, None)
            due[value] = clock.seconds() + 10
        elif what == "discard":
            deadlines.discard(value)
            due.pop(value, None)
        else:
            # In half seconds, all times are multiples of it: so that the moment of the call can be compared.
            for _ in range(int(value * 2)):
                clock.advance(0.5)
                for item in [i for i, at in due.items() if at <= clock.seconds()]:
                    should.append((item, due.pop(item)))
        assert len(deadlines) == len(due)
        assert len(clock.getDelayedCalls()) == (1 if due else 0)
    assert called == should
