"""TLS towards far ends: what is made for whom. Who is believed to be whom is shown with real sockets elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from tests.support.fakes import Logged
from tests.support.tls import RawRecords, write_pem
from vmproxy.base.compat import unsent
from vmproxy.base.turns import SPAN, Turns
from vmproxy.vm.outbound.tls import start_tls, tls_creator_for


def connection(host: str, verify: bool = True) -> SSL.Connection:
    made = tls_creator_for(host, verify, None).clientConnectionForTLS(Mock(TLSMemoryBIOProtocol))
    assert isinstance(made, SSL.Connection)
    return made


def test_hosts_that_vms_choose_share_a_context() -> None:
    first, second = connection("a.example.com"), connection("b.example.com")
    assert first.get_context() is second.get_context()
    assert [one.get_servername() for one in (first, second)] == [b"a.example.com", b"b.example.com"]
    assert first.get_verify_mode() & SSL.VERIFY_PEER
    assert connection("10.1.2.3").get_servername() is None
    assert connection("a.example.com", verify=False).get_context() is not first.get_context()


def test_a_name_that_no_certificate_can_be_for() -> None:
    with pytest.raises(ValueError, match="_"):
        tls_creator_for("a_b.example.com", True, None)


class Line(Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.aborted = ""
        self.listening = True

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def abort(self, reason: str) -> None:
        self.aborted = reason


class Far:
    """A far end with TLS, and our connection to it over a pair of sockets."""

    def __init__(self, pem: Path, ours: socket.socket, theirs: socket.socket) -> None:
        self.raw = RawRecords(b"SERVER")
        context = self.raw.watch(SSL.Context(SSL.TLS_SERVER_METHOD))
        context.use_certificate_file(str(pem))
        context.use_privatekey_file(str(pem))
        self._ssl = SSL.Connection(context, None)
        self._ssl.set_accept_state()
        self._socket = theirs
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.line = Line()
        self.tcp = Connection(ours, self.line, MemoryReactor())
        self.tcp.connected = True
        self.line.makeConnection(self.tcp)
        creator = tls_creator_for("far.example.com", False, None)
        start_tls(self.line, self.tcp, creator, self.clock, self.turns, "10.1.2.3")

    def answer(self) -> bytes:
        """What it says to what it was sent."""
        self.tcp.doWrite()
        self._ssl.bio_write(self._socket.recv(65536))
        with suppress(SSL.WantReadError):
            self._ssl.do_handshake()
        return self._ssl.bio_read(65536)

    def say(self, data: bytes) -> None:
        """Have us read something."""
        self.tcp.protocol.dataReceived(data)

    @property
    def read(self) -> bool:
        """Whether we read."""
        return self.tcp in self.tcp.reactor.getReaders()

    def use_up(self) -> None:
        """There is no time left in this turn."""
        assert self.turns.open()
        self.clock.rightNow += SPAN


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Far(write_pem(tmp_path / "far.pem", "far.example.com"), ours, theirs)


def test_a_far_end_that_has_us_take_new_keys_and_reads_nothing_is_cut(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmproxy.vm.outbound.tls.UNSENT_LIMIT", 2000)
    for _ in range(2):
        far.say(far.answer())
    far.say(far.raw.record(b"login: "))
    assert far.line.heard == b"login: "
    for _ in range(70):
        far.say(far.raw.new_keys(True))
    assert not far.line.aborted
    for _ in range(10):
        far.say(far.raw.new_keys(True))
    assert far.line.aborted == "it keeps asking but does not read the answers"


@pytest.mark.parametrize("lost", [False, True])
def test_handshakes_and_records_of_far_ends_have_their_turns_and_keep_their_order(far: Far, lost: bool) -> None:
    far.use_up()
    first = far.answer()
    far.say(first[:100])
    far.say(first[100:])
    assert not far.read
    assert not unsent(far.tcp)
    far.clock.advance(0)
    assert far.read
    assert unsent(far.tcp), "the handshake goes on"
    far.say(far.answer())
    far.use_up()
    far.say(far.raw.record(b"lo"))
    far.say(far.raw.record(b"gin: "))
    assert not far.line.heard
    assert not far.read
    if lost:
        far.tcp.protocol.connectionLost(Failure(ConnectionDone()))
    else:
        far.line.listening = False
    far.clock.advance(0)
    assert far.line.heard == b"login: "
    assert not far.read, "nobody wants more of it"


def test_what_fails_in_its_turn_costs_the_connection(far: Far, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(layer: BufferingTLSTransport, data: bytes) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(BufferingTLSTransport, "dataReceived", fails)
    far.use_up()
    far.say(b"anything")
    far.clock.advance(0)
    assert far.line.aborted
    assert logged.tracebacks
