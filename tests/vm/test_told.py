"""Events that a host can cause without end are told ten times a minute for each console, then summed up."""

from __future__ import annotations

import pytest

from tests.support.vm import ABORT, BEGIN, COMPLETE, GOAHEAD, NOTNOW, VMWorld, sub
from vmproxy.console.migrations import BEGINS_PER_MINUTE


def kinds(w: VMWorld, name: str = "web") -> list[object]:
    console = next(one for one in w.directory if one.name == name)
    return [event["event"] for event in w.trail(console) if str(event["event"]).startswith("vmotion")]


@pytest.mark.parametrize("between", [b"", sub(ABORT), sub(ABORT, b"seq!")])
def test_the_eleventh_begin_of_a_minute_is_answered_with_notnow(w: VMWorld, between: bytes) -> None:
    host, console = w.vm()
    host.feed((sub(BEGIN, b"seq!") + between) * 50)
    answers = [answer[0] for answer in host.subs()]
    assert answers == [GOAHEAD] * BEGINS_PER_MINUTE + [NOTNOW] * (50 - BEGINS_PER_MINUTE)
    assert len(kinds(w)) == BEGINS_PER_MINUTE * (2 if between else 1)
    w.clock.advance(61)
    assert kinds(w)[-1] in ("vmotion-refused", "vmotion-abandoned")
    (summed,) = w.trail(console, "vmotion-refused")
    assert summed["times"] == 50 - BEGINS_PER_MINUTE
    host.feed(sub(BEGIN, b"seq!"))
    assert [answer[0] for answer in host.subs()] == [GOAHEAD]


def test_whole_vmotions_count_as_well_and_the_console_goes_on(w: VMWorld) -> None:
    host, console = w.vm()
    for n in range(BEGINS_PER_MINUTE):
        pair = host.begin(bytes([n] * 4))
        destination = w.destination(pair)
        destination.feed(sub(COMPLETE, bytes([n] * 4)))
        host.lose()
        host = destination
    host.sent()
    host.feed(sub(BEGIN, b"seq!") + b"still heard")
    assert [answer[0] for answer in host.subs()] == [NOTNOW]
    assert w.logged(console).endswith(b"still heard")
    console.send(b"typed", "alice")
    assert host.data() == b"typed"


def test_others_are_not_meant(w: VMWorld) -> None:
    host, _ = w.vm()
    host.feed(sub(BEGIN, b"seq!") * 50)
    from_other = w.connect("10.0.0.2").feed(b"")
    from_other.lose()
    second, _ = w.vm(uri=b"vmproxy?port=2", name=b"web")
    second.begin()


def test_what_was_not_told_is_told_at_the_stop(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(sub(BEGIN, b"seq!") * 12)
    w.front.stop()
    (summed,) = w.trail(console, "vmotion-refused")
    assert summed["times"] == 2
