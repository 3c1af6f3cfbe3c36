"""The trace of a host: what is negotiated, in words and hex; no data, no secrets, and an end."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost

from tests.support.fakes import VM_B
from tests.support.vm import (
    BIOS,
    COM_PORT,
    COMPLETE,
    DO,
    NAME,
    SPELLED_A,
    SPELLED_B,
    WILL,
    VMWorld,
    com,
    session,
    sub,
    verb,
)
from vmproxy.base.turns import SPAN
from vmproxy.vm.admission import AdmissionLimits
from vmproxy.vm.frontend import TooManyTraces
from vmproxy.vm.settings import VMSettings
from vmproxy.vm.traces import EARLY_CONNECTIONS, EARLY_LIMIT, LINES_LIMIT, OBSERVERS
from vmproxy.vm.wire_trace import TOKENS_AT_ONCE


def traced(w: VMWorld, *what: str) -> None:
    w.front.reconfigure(VMSettings(trace=what, limits=AdmissionLimits(per_second=0)))


def lines(logged: list[str]) -> list[str]:
    return [line for line in logged if line.startswith("trace ")]


def test_a_session_and_a_vmotion_are_told_without_data_and_secrets(w: VMWorld, logged: list[str]) -> None:
    traced(w, "10.0.0.1", "10.0.0.2")
    source = w.connect()
    w.clock.advance(0.25)
    source.feed(session(uri=b"telnet://vmproxy:1?port=2", name=b"w\x1beb") + verb(WILL, COM_PORT) + com(1, bytes(4)))
    source.feed(b"password: hunter2")
    pair = source.begin(b"\x01\x02\x03\x04")
    destination = w.destination(pair)
    destination.feed(sub(COMPLETE, b"\x01\x02\x03\x04"))
    w.console.send(b"secret typing")
    source.lose()
    told = lines(logged)
    text = "\n".join(told)
    for expected in (
        "trace 10.0.0.1#1 +0.000 > WILL BINARY",
        "trace 10.0.0.1#1 +0.250 < WILL AUTHENTICATION",
        '< 70 DO-PROXY "Stelnet://vmproxy:1?port=2" [53 74',
        "> 71 WILL-PROXY",
        '< 82 VM-NAME "w\\x1beb" [77 1b 65 62]',
        "> DO COM-PORT",
        "< COM-PORT 1 SET-BAUDRATE [00 00 00 00]",
        "> COM-PORT 101 SET-BAUDRATE (server) [00 01 c2 00]",
        "< (17 bytes of data)",
        "< 40 VMOTION-BEGIN [01 02 03 04]",
        "> 41 VMOTION-GOAHEAD (12 bytes of sequence and secret)",
        "trace 10.0.0.2#2 +0.000 < 44 VMOTION-PEER (12 bytes of sequence and secret)",
        "> 45 VMOTION-PEER-OK [01 02 03 04]",
        "- closed by 10.0.0.1",
    ):
        assert expected in text, expected
    secret = pair[4:]
    for hidden in (secret.hex(" "), secret.hex(), repr(secret)[2:-1], "hunter2", "typing"):
        assert hidden not in text


def test_a_name_stands_for_the_host_that_its_vm_is_on(w: VMWorld, logged: list[str]) -> None:
    w.vm(address="10.0.0.7")
    traced(w, "web")
    w.connect("10.0.0.8")
    assert lines(logged) == []
    w.connect("10.0.0.7")
    assert lines(logged)[0].startswith("trace 10.0.0.7#2 ")
    traced(w)
    count = len(lines(logged))
    w.connect("10.0.0.7")
    assert len(lines(logged)) == count


def test_the_end_is_told_once_also_where_something_waits_for_its_turn(w: VMWorld, logged: list[str]) -> None:
    traced(w, "10.0.0.1")
    host, _ = w.vm()
    assert w.front.turns.open()
    w.clock.rightNow += SPAN  # the turn has been used up by others
    host.protocol.dataReceived(b"one\xff\xf1two")
    host.transport.lose(ConnectionLost())
    w.turn()
    assert [line for line in lines(logged) if " - " in line] == [
        "trace 10.0.0.1#1 +0.008 - connection lost to 10.0.0.1"
    ]


def test_it_has_an_end(w: VMWorld, logged: list[str]) -> None:
    traced(w, "10.0.0.1")
    host = w.connect()
    for _ in range(3 * LINES_LIMIT):
        host.feed(verb(DO, 99))
    told = lines(logged)
    assert len(told) == LINES_LIMIT
    assert told[-1].endswith(f"the trace ends here: {LINES_LIMIT} lines")


def test_what_a_host_says_at_once_is_put_into_words_up_to_a_bound_and_then_goes_on(w: VMWorld) -> None:
    host, console = w.vm()
    told = traced_console(w)
    host.feed(verb(DO, 99) * 20_000)
    lines = [line for line in told if " < " in line]
    assert len(lines) == TOKENS_AT_ONCE + 1
    assert lines[-1].endswith("(more than 256 commands in one read: the rest of it is left out)")
    w.clock.pump([1] * 30)  # so long it has to wait
    host.feed(b"data" + sub(NAME, b"web") + sub(BIOS, SPELLED_A)[:9])
    host.feed(sub(BIOS, SPELLED_A)[9:])
    words = [line.split(" ", 3)[3] for line in told if " < " in line][TOKENS_AT_ONCE + 1 :]
    assert words[0] == "(4 bytes of data)"
    assert [word[:6] for word in words[1:]] == ["82 VM-", "84 VM-"]
    assert console.bios_uuid is not None


def test_a_beginning_that_is_too_long_is_left_out_in_part_and_then_goes_on(w: VMWorld) -> None:
    w.vm(uuid=VM_B)
    told: list[str] = []
    w.front.trace(told.append, console=w.console)
    host = w.connect("10.0.0.2").feed(b"x" * EARLY_LIMIT + verb(DO, 99)).feed(session(SPELLED_B) + b"data")
    host.feed(sub(NAME, b"other"))
    words = [line.split(" ", 3)[3] for line in told if line.startswith("10.0.0.2") and " < " in line]
    assert words[0] == "(more than was kept before it was known which VM this is: the rest of it is left out)"
    assert words[1].startswith("82 VM-NAME")


# For observers, while they observe.


def traced_console(w: VMWorld) -> list[str]:
    told: list[str] = []
    w.front.trace(told.append, console=w.directory.names.find("web"))
    return told


def test_a_console_is_traced_on_every_connection_from_its_beginning_and_no_other_vm_is(w: VMWorld) -> None:
    source, _ = w.vm()
    told = traced_console(w)
    source.feed(sub(NAME, b"web"))
    other = w.connect("10.0.0.9").feed(session(SPELLED_B, name=b"another"))
    other.feed(sub(NAME, b"other"))
    pair = source.begin(b"\x01\x02\x03\x04")
    destination = w.destination(pair).feed(sub(COMPLETE, pair[:4]))
    source.lose()
    destination.lose()
    w.connect("10.0.0.3").feed(session())
    words = [line.split(" ", 2)[::2] for line in told]
    assert [host for host, what in words if "< 82 VM-NAME" in what] == ["10.0.0.1#1", "10.0.0.3#4"]
    assert ["10.0.0.1#1", "> 41 VMOTION-GOAHEAD (12 bytes of sequence and secret)"] in words
    # Of the destination all is there, also what came before anybody knew whose it is.
    assert [what for host, what in words if host == "10.0.0.2#3"][:1] == ["> WILL BINARY"]
    assert ["10.0.0.2#3", "< 44 VMOTION-PEER (12 bytes of sequence and secret)"] in words
    assert ["10.0.0.2#3", "- closed by 10.0.0.2"] in words
    text = "\n".join(told)
    assert [hidden for hidden in ("10.0.0.9", "other", pair[4:].hex(" ")) if hidden in text] == []


@pytest.mark.parametrize("size", range(9))
def test_it_begins_where_the_host_is_in_what_it_says(w: VMWorld, size: int) -> None:
    # In the middle of a command, and of a doubled IAC, before which data would look like one.
    source, console = w.vm()
    said = sub(BIOS, SPELLED_A) + b"\xff\xff" + b"\xfa password \xf0" + sub(NAME, b"web")
    at = said.index(b"\xff\xff") - 4 + size
    source.feed(said[:at])
    told = traced_console(w)
    source.feed(said[at:])
    assert "password" not in "".join(told)
    assert b"password".hex(" ") not in "".join(told)
    assert told[-1].endswith('< 82 VM-NAME "web" [77 65 62]')
    assert w.logged(console) == b"\xff\xfa password \xf0"


def test_a_connection_that_nobody_kept_is_traced_from_the_next_read_on(w: VMWorld) -> None:
    w.vm()
    late = w.connect("10.0.0.2")
    told = traced_console(w)
    late.feed(session() + b"data")
    assert [line for line in told if " < " in line] == []
    late.feed(sub(NAME, b"web2"))
    assert told[-1].endswith('< 82 VM-NAME "web2" [77 65 62 32]')


def test_who_observes_no_more_costs_nothing(w: VMWorld) -> None:
    w.vm()
    told: list[str] = []
    waiting = w.connect("10.0.0.2")
    ends = [w.front.trace(told.append, ["10.0.0.1", "::ffff:10.0.0.1"]), w.front.trace(told.append, console=w.console)]
    unknown = w.connect("10.0.0.3")
    links = [w.console.link, waiting.protocol, unknown.protocol]
    assert [link.traced is not None for link in links] == [True, False, True]
    for end in ends:
        end()
    assert [link.traced for link in links] == [None] * 3
    assert not w.front.traces.active
    count = len(told)
    w.connect("10.0.0.1").feed(session())
    assert len(told) == count


def test_their_number_is_bounded_and_what_is_kept_for_them(w: VMWorld) -> None:
    w.vm()
    ends = [w.front.trace(lambda line: None, console=w.console) for _ in range(OBSERVERS)]
    with pytest.raises(TooManyTraces):
        w.front.trace(lambda line: None, ["10.0.0.1"])
    hosts = [w.connect("10.0.0.2") for _ in range(EARLY_CONNECTIONS + 5)]
    kept = [host.protocol.traced for host in hosts]
    assert [traced is not None for traced in kept] == [True] * EARLY_CONNECTIONS + [False] * 5
    for _ in range(3):
        hosts[0].feed(b"x" * EARLY_LIMIT)
    assert kept[0] is not None
    assert kept[0].early is not None
    assert sum(len(early.data) for early in kept[0].early) <= EARLY_LIMIT
    ends.pop()()
    w.front.trace(lambda line: None, ["10.0.0.1"])
