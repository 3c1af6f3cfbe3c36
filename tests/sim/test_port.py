"""One connection's protocol: the opening, serial data, what a proxy may do wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.sim import LISTED, SALVO, WHO, Transport, ext
from vmproxy.sim.interfaces import ProxyRefusedError, State
from vmproxy.sim.link import HostProtocol
from vmproxy.sim.output import BACKLOG_LIMIT
from vmproxy.sim.port import KNOWN, HostPort
from vmproxy.wire import telnet as t
from vmproxy.wire.comport import Com
from vmproxy.wire.vmware import Sub, format_uuid


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.data = b""
        self.reason: str | None = None

    def port_opened(self, port: HostPort) -> None:
        self.events.append(("opened",))

    def port_received(self, port: HostPort, data: bytes) -> None:
        assert data
        self.data += data

    def port_break(self, port: HostPort) -> None:
        self.events.append(("break",))

    def port_answered(self, port: HostPort, code: int, parameters: bytes) -> None:
        self.events.append((code, parameters))

    def port_paused(self, port: HostPort, paused: bool) -> None:
        self.events.append(("paused", paused))

    def port_closed(self, port: HostPort, reason: str) -> None:
        assert self.reason is None
        self.reason = reason


class Host:
    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.log = Log()
        self.port = HostPort(WHO, "vmproxy?port=1", self.log, self.clock, **options)  # type: ignore[arg-type]  # a fake
        self.protocol = HostProtocol(self.port)
        self.transport = Transport()
        self.protocol.makeConnection(self.transport)

    def tell(self, data: bytes) -> bytes:
        self.transport.clear()
        self.protocol.dataReceived(data)
        said: bytes = self.transport.value()
        return said

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def open(self) -> Host:
        self.tell(SALVO + LISTED + ext(Sub.WILL_PROXY))
        self.transport.clear()
        assert self.port.open
        return self


def test_the_captured_opening() -> None:
    host = Host()
    assert host.transport.value() == t.negotiation(t.WILL, t.AUTHENTICATION)
    answer = host.tell(SALVO)
    for verb, option in (
        (t.DO, t.BINARY),
        (t.DO, t.SGA),
        (t.DO, t.ECHO),
        (t.WILL, t.BINARY),
        (t.WILL, t.SGA),
        (t.WILL, t.VMWARE_EXT),
    ):
        assert t.negotiation(verb, option) in answer
    assert len(answer) == 18
    assert host.tell(LISTED) == ext(Sub.KNOWN_SUBOPTIONS_1, KNOWN) + ext(Sub.DO_PROXY, b"Svmproxy?port=1")
    assert host.tell(ext(Sub.GET_VM_VC_UUID)) == ext(Sub.VM_VC_UUID, format_uuid(WHO.vc_uuid))
    assert host.log.events == []
    assert host.tell(ext(Sub.WILL_PROXY)) == t.negotiation(t.WILL, t.COM_PORT)
    assert host.log.events == [("opened",)]
    assert host.tell(ext(Sub.GET_VM_NAME)) == ext(Sub.VM_NAME, b"web01")
    assert host.tell(ext(Sub.GET_VM_BIOS_UUID)) == ext(Sub.VM_BIOS_UUID, format_uuid(WHO.bios_uuid))
    assert host.tell(ext(Sub.GET_VM_LOCATION_UUID)) == ext(Sub.VM_LOCATION_UUID, format_uuid(WHO.location_uuid))
    assert host.tell(ext(99)) == ext(Sub.UNKNOWN_SUBOPTION_RCVD_1, b"c")
    answer = host.tell(t.negotiation(t.DO, t.COM_PORT))
    assert t.subnegotiation(t.COM_PORT, bytes((Com.SET_BAUDRATE, 0, 1, 0xC2, 0))) in answer
    host.tell(t.subnegotiation(t.COM_PORT, bytes((107, 176))))
    assert host.port.modem_state == 176
    host.port.com(Com.SET_CONTROL, b"\x05")
    assert host.transport.value().endswith(t.subnegotiation(t.COM_PORT, b"\x05\x05"))
    assert host.port.oddities == 0


def test_a_vm_that_wants_to_be_connected_says_so() -> None:
    host = Host(direction="C")
    host.tell(SALVO)
    assert host.tell(LISTED).endswith(ext(Sub.DO_PROXY, b"Cvmproxy?port=1"))


def test_a_silent_proxy_is_spoken_to_first() -> None:
    host = Host()
    host.clock.advance(1)
    assert t.negotiation(t.WILL, t.VMWARE_EXT) in host.transport.value()
    answer = host.tell(t.negotiation(t.DO, t.VMWARE_EXT))
    assert answer == ext(Sub.KNOWN_SUBOPTIONS_1, KNOWN) + ext(Sub.DO_PROXY, b"Svmproxy?port=1")
    assert host.tell(LISTED) == b""
    host.tell(ext(Sub.WILL_PROXY))
    assert host.port.open
    assert host.clock.getDelayedCalls() == []


def test_a_proxy_that_never_lists_its_suboptions_is_not_waited_for() -> None:
    host = Host()
    host.tell(SALVO)
    host.transport.clear()
    host.clock.advance(1)
    assert ext(Sub.DO_PROXY, b"Svmproxy?port=1") in host.transport.value()


def test_without_binary_a_cr_travels_as_telnet_has_it() -> None:
    host = Host(grace=0)
    host.tell(t.negotiation(t.DO, t.VMWARE_EXT) + t.negotiation(t.DONT, t.BINARY) + t.negotiation(t.WONT, t.BINARY))
    host.tell(ext(Sub.WILL_PROXY))
    host.transport.clear()
    host.port.send(b"a\r\nb\rc\xff")
    assert host.transport.value() == b"a\r\nb\r\0c\xff\xff"
    host.tell(b"x\r\0y")
    assert host.log.data == b"x\ry"


def test_all_bytes_pass_both_ways() -> None:
    host = Host().open()
    every = bytes(range(256)) + b"\r\0\r\n\xff\xff"
    host.port.send(every)
    assert host.transport.value() == t.escape(every)
    host.tell(t.escape(every))
    assert host.log.data == every


CONVERSATION = (
    SALVO
    + LISTED
    + ext(Sub.GET_VM_VC_UUID)
    + ext(Sub.GET_VM_NAME)
    + ext(Sub.WILL_PROXY)
    + b"typed\xff\xff\r"
    + bytes((t.IAC, t.BRK))
    + ext(Sub.VMOTION_GOAHEAD, b"\xff\x01\x02\x03secret")
    + ext(Sub.VMOTION_NOTNOW, b"\x01\xff\xff\x03")
    + b"more"
)


@given(st.sets(st.integers(1, len(CONVERSATION) - 1)))
def test_cuts_do_not_matter(cuts: set[int]) -> None:
    check_cuts(sorted(cuts))


def test_byte_by_byte_and_whole() -> None:
    check_cuts([])
    check_cuts(list(range(1, len(CONVERSATION))))


def check_cuts(cuts: list[int]) -> None:
    host = Host()
    sent = host.transport.value()
    for start, end in zip([0, *cuts], [*cuts, len(CONVERSATION)], strict=True):
        sent += host.tell(CONVERSATION[start:end])
    assert host.log.data == b"typed\xff\rmore"
    assert host.log.events == [
        ("opened",),
        ("break",),
        (Sub.VMOTION_GOAHEAD, b"\xff\x01\x02\x03secret"),
        (Sub.VMOTION_NOTNOW, b"\x01\xff\xff\x03"),
    ]
    assert sent.count(ext(Sub.DO_PROXY, b"Svmproxy?port=1")) == 1
    assert sent.endswith(t.negotiation(t.WILL, t.COM_PORT))


@given(st.lists(st.binary(max_size=60), max_size=10), st.booleans())
def test_nothing_received_raises(pieces: list[bytes], opened: bool) -> None:
    host = Host().open() if opened else Host()
    for piece in pieces:
        host.tell(piece)
        host.tell(bytes((t.IAC, t.SB)) + piece + bytes((t.IAC, t.SE)))
        host.tell(bytes((t.IAC, t.SB, t.VMWARE_EXT)) + piece + bytes((t.IAC, t.SE)))
        host.tell(bytes((t.IAC, t.SB, t.AUTHENTICATION)) + piece + bytes((t.IAC, t.SE)))


def test_wont_proxy_is_a_clear_error() -> None:
    host = Host()
    host.tell(SALVO + LISTED + ext(Sub.WONT_PROXY) + b"ignored")
    assert host.transport.closed == "aborted"
    host.lose()
    assert isinstance(host.log.reason, ProxyRefusedError)
    assert "WONT-PROXY" in str(host.log.reason)
    assert "vmproxy?port=1" in str(host.log.reason)
    assert host.log.data == b""


def test_a_proxy_without_the_extension_is_a_clear_error() -> None:
    host = Host()
    host.clock.advance(1)
    host.tell(t.negotiation(t.DONT, t.VMWARE_EXT))
    host.lose()
    assert "option 232" in str(host.log.reason)


@pytest.mark.parametrize(("told", "words"), [(b"", "negotiated"), (SALVO + LISTED, "answered")])
def test_patience_ends(told: bytes, words: str) -> None:
    host = Host()
    host.tell(told)
    host.clock.advance(1)
    host.clock.advance(29)
    host.lose()
    assert words in str(host.log.reason)
    assert host.clock.getDelayedCalls() == []


def test_a_proxy_that_hangs_up_instead_of_answering() -> None:
    host = Host()
    host.tell(SALVO + LISTED)
    host.lose()
    assert "instead of answering DO-PROXY" in str(host.log.reason)


def test_a_subnegotiation_without_end_ends_the_connection() -> None:
    host = Host().open()
    host.tell(bytes((t.IAC, t.SB, 232)) + b"x" * 5000)
    assert host.transport.closed == "aborted"


def test_peer_says_peer_and_nothing_else() -> None:
    host = Host(peer=b"\xff234secret")
    answer = host.tell(SALVO + LISTED)
    assert answer.endswith(ext(Sub.KNOWN_SUBOPTIONS_1, KNOWN) + ext(Sub.VMOTION_PEER, b"\xff234secret"))
    host.tell(ext(Sub.WILL_PROXY) + ext(Sub.VMOTION_PEER_OK, b"other"))
    assert host.port.state is State.ASKED
    assert host.tell(ext(Sub.VMOTION_PEER_OK, b"\xff234")) == b""
    assert host.port.open


def test_pausing_and_a_proxy_that_never_reads() -> None:
    host = Host().open()
    host.protocol.pauseProducing()
    host.tell(t.subnegotiation(t.COM_PORT, bytes((108,))))
    host.protocol.resumeProducing()
    assert host.port.paused
    host.tell(t.subnegotiation(t.COM_PORT, bytes((109,))))
    assert host.log.events == [("opened",), ("paused", True), ("paused", False)]
    host.protocol.pauseProducing()
    for _ in range(BACKLOG_LIMIT // 50):
        host.tell(ext(Sub.GET_VM_VC_UUID))
    host.lose()
    assert "does not read" in str(host.log.reason)


def test_closing_is_not_waited_for_for_ever() -> None:
    host = Host().open()
    host.port.close()
    assert host.transport.closed == "lost"
    assert host.tell(b"late") == b""
    host.clock.advance(5)
    assert host.transport.closed == "aborted"
    host.lose()
    assert host.log.data == b""
    assert host.clock.getDelayedCalls() == []


AUTH_SALVO = SALVO.replace(t.negotiation(t.DONT, t.AUTHENTICATION), t.negotiation(t.DO, t.AUTHENTICATION))


class Wire:
    def __init__(self) -> None:
        self.log: list[object] = []

    def write(self, data: bytes) -> None:
        self.log.append(data)

    def close(self) -> None:
        self.log.append("close")

    def abort(self) -> None:
        self.log.append("abort")

    def start_tls(self) -> None:
        self.log.append("tls")


@pytest.mark.parametrize("accepted", [True, False])
def test_inband_tls(accepted: bool) -> None:
    port = HostPort(WHO, "vmproxy", Log(), Clock())  # type: ignore[arg-type]  # a fake
    wire = Wire()
    port.connected(wire)
    port.received(AUTH_SALVO + LISTED)
    assert not any(isinstance(data, bytes) and b"vmproxy" in data for data in wire.log)
    wire.log.clear()
    port.received(t.subnegotiation(t.AUTHENTICATION, b"\x01\x07\x00"))
    assert wire.log == [t.subnegotiation(t.AUTHENTICATION, b"\x00\x07\x00\x01")]
    port.received(ext(Sub.GET_VM_NAME))
    assert len(wire.log) == 1
    wire.log.clear()
    verdict = t.subnegotiation(t.AUTHENTICATION, b"\x02\x07\x00" + (b"\x02" if accepted else b"\x01"))
    port.received(verdict + (ext(Sub.GET_VM_VC_UUID) if accepted else b""))
    assert wire.log == ["tls"] * accepted + [
        ext(Sub.VM_NAME, b"web01"),
        ext(Sub.KNOWN_SUBOPTIONS_1, KNOWN),
        ext(Sub.DO_PROXY, b"Svmproxy"),
    ]


def test_other_authentication_is_declined() -> None:
    host = Host()
    host.tell(AUTH_SALVO + LISTED)
    answer = host.tell(t.subnegotiation(t.AUTHENTICATION, b"\x01\x02\x00"))
    assert answer.startswith(t.subnegotiation(t.AUTHENTICATION, b"\x00\x00\x00"))
    assert ext(Sub.DO_PROXY, b"Svmproxy?port=1") in answer


def test_tls_where_there_is_none() -> None:
    host = Host()
    host.tell(AUTH_SALVO + t.subnegotiation(t.AUTHENTICATION, b"\x01\x07\x00"))
    host.tell(t.subnegotiation(t.AUTHENTICATION, b"\x02\x07\x00\x02"))
    host.lose()
    assert "TLS" in str(host.log.reason)
