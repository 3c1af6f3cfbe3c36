"""The trace of a host: what is negotiated, in words and hex; no data, no secrets, and an end."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost

from tests.support.vm import COM_PORT, COMPLETE, DO, PEER, WILL, VMWorld, com, session, sub, verb
from vmproxy.base.turns import SPAN
from vmproxy.vm.admission import AdmissionLimits
from vmproxy.vm.settings import VMSettings
from vmproxy.vm.wire_trace import LINES_LIMIT


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
        "trace 10.0.0.1 +0.000 > WILL BINARY",
        "trace 10.0.0.1 +0.250 < WILL AUTHENTICATION",
        '< 70 DO-PROXY "Stelnet://vmproxy:1?port=2" [53 74',
        "> 71 WILL-PROXY",
        '< 82 VM-NAME "w\\x1beb" [77 1b 65 62]',
        "> DO COM-PORT",
        "< COM-PORT 1 SET-BAUDRATE [00 00 00 00]",
        "> COM-PORT 101 SET-BAUDRATE (server) [00 01 c2 00]",
        "< (17 bytes of data)",
        "< 40 VMOTION-BEGIN [01 02 03 04]",
        "> 41 VMOTION-GOAHEAD (12 bytes of sequence and secret)",
        "trace 10.0.0.2 +0.000 < 44 VMOTION-PEER (12 bytes of sequence and secret)",
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
    assert lines(logged)[0].startswith("trace 10.0.0.7 ")
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
    assert [line for line in lines(logged) if " - " in line] == ["trace 10.0.0.1 +0.008 - connection lost to 10.0.0.1"]


def test_it_has_an_end(w: VMWorld, logged: list[str]) -> None:
    traced(w, "10.0.0.1")
    w.connect().feed(verb(DO, 99) * (3 * LINES_LIMIT) + sub(PEER, b"x"))
    told = lines(logged)
    assert len(told) == LINES_LIMIT
    assert told[-1].endswith(f"the trace ends here: {LINES_LIMIT} lines")
