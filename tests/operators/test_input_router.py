"""The input router: whatever activities come and go, input reaches them once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.fakes import one_turn
from vmproxy.operators.input_router import AT_ONCE, InputRouter


class Client:
    over = False
    held = False

    def hold(self, on: bool) -> None:
        self.held = on


class Typist:
    """An activity that writes down what it gets."""

    def __init__(self, seen: bytearray | None = None) -> None:
        self.seen = bytearray() if seen is None else seen
        self.stopped = 0

    def typed(self, data: bytes) -> None:
        self.seen += data

    def drained(self) -> None: ...

    def send_break(self) -> None: ...

    def resized(self, width: int, height: int) -> None: ...

    def stop(self) -> None:
        self.stopped += 1


def router() -> tuple[InputRouter, Client, Clock]:
    client, clock = Client(), Clock()
    return InputRouter(client, lambda go_on: clock.callLater(0, go_on)), client, clock


def test_what_is_typed_ahead_is_for_the_first_activity_once_it_has_started() -> None:
    r, client, _ = router()
    r.feed(b"ab")
    assert client.held
    activity = Typist()
    r.push(activity, lambda: activity.seen.extend(b"<started>"))
    assert activity.seen == b"<started>ab"
    assert not client.held


def test_an_activity_below_is_current_again_when_the_one_above_is_gone() -> None:
    r, _, _ = router()
    below, above = Typist(), Typist()
    r.push(below)
    r.push(above)
    r.feed(b"1")
    r.pop(above, lambda: below.seen.extend(b"<back>"))
    r.feed(b"2")
    assert (bytes(above.seen), bytes(below.seen)) == (b"1", b"<back>2")
    assert r.activity is below


def test_an_activity_that_keeps_input_for_the_next_still_hears_all_of_it() -> None:
    r, client, _ = router()

    class Command(Typist):
        def typed(self, data: bytes) -> None:
            super().typed(data)
            r.keep(data)

    command, console = Command(), Typist()
    r.push(command)
    r.feed(b"a")
    r.feed(b"b")
    assert client.held
    r.push(console)
    assert (bytes(command.seen), bytes(console.seen)) == (b"ab", b"ab")
    assert not client.held


def test_what_is_put_off_comes_in_the_next_turn_in_front_of_what_is_typed_meanwhile() -> None:
    r, client, clock = router()
    activity = Typist()
    r.push(activity)
    r.put_off(b"a")
    r.feed(b"b")
    assert activity.seen == b""
    assert client.held
    clock.advance(0)
    assert activity.seen == b"ab"
    assert not client.held


def test_much_input_is_handed_on_in_pieces_as_long_as_there_is_time() -> None:
    client, clock = Client(), Clock()
    pieces: list[bytes] = []

    class Slow(Typist):
        def typed(self, data: bytes) -> None:
            pieces.append(data)
            super().typed(data)

    r = InputRouter(client, lambda go_on: clock.callLater(0, go_on), lambda: len(pieces) % 3 != 0)
    activity, other = Slow(), Slow()
    r.push(activity)
    data = bytes(range(256)) * 40
    r.feed(data)
    assert [*map(len, pieces)] == [AT_ONCE] * 3
    assert client.held
    r.feed(b"behind")
    one_turn(clock)
    assert len(pieces) == 6
    r.push(other)
    while client.held:
        one_turn(clock)
    assert b"".join(pieces) == data + b"behind"
    assert len(activity.seen) == 6 * AT_ONCE


def test_the_end_of_the_input_is_told_behind_all_of_it() -> None:
    client, clock = Client(), Clock()

    class Reader(Typist):
        def eof(self) -> None:
            self.seen += b"<end>"

    r = InputRouter(client, lambda go_on: clock.callLater(0, go_on), lambda: False)
    r.feed(b"a" * 3 * AT_ONCE)
    reader = Reader()
    r.push(reader)
    r.eof()
    assert reader.seen == b"a" * AT_ONCE
    while client.held:
        one_turn(clock)
    assert reader.seen == b"a" * 3 * AT_ONCE + b"<end>"


def test_a_hold_lasts_until_the_activity_changes() -> None:
    r, client, _ = router()
    r.push(Typist())
    r.hold(True)
    r.put_off(b"a")
    assert client.held
    r.push(Typist())
    assert not client.held


def test_at_the_end_all_activities_are_stopped_and_nothing_is_handed_on() -> None:
    r, client, clock = router()
    activities = [Typist(), Typist()]
    for activity in activities:
        r.push(activity)
    r.put_off(b"a")
    client.over = True
    r.close()
    r.feed(b"b")
    clock.advance(0)
    assert [(a.stopped, bytes(a.seen)) for a in activities] == [(1, b""), (1, b"")]


@given(st.lists(st.sampled_from(["feed", "put_off", "push", "pop", "turn"]), max_size=30))
def test_input_is_handed_on_once_and_in_order(steps: list[str]) -> None:
    r, _, clock = router()
    seen, sent = bytearray(), bytearray()
    stack: list[Typist] = []
    for n, step in enumerate(steps):
        match step:
            case "feed":
                sent.append(n)
                r.feed(bytes([n]))
            case "put_off" if stack and seen == sent:
                sent.append(n)
                r.put_off(bytes([n]))
            case "push":
                stack.append(Typist(seen))
                r.push(stack[-1])
            case "pop" if stack:
                r.pop(stack.pop())
            case "turn":
                clock.advance(0)
    r.push(Typist(seen))
    assert seen == sent
