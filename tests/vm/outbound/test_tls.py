"""TLS towards far ends: what is made for whom. Who is believed to be whom is shown with real sockets elsewhere."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
from OpenSSL import SSL
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.protocols.tls import TLSMemoryBIOProtocol

from tests.support.tls import RawRecords, write_pem
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

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def abort(self, reason: str) -> None:
        self.aborted = reason


def test_a_far_end_that_has_us_take_new_keys_and_reads_nothing_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmproxy.vm.outbound.tls.UNSENT_LIMIT", 2000)
    pem = str(write_pem(tmp_path / "far.pem", "far.example.com"))
    raw = RawRecords(b"SERVER")
    context = raw.watch(SSL.Context(SSL.TLS_SERVER_METHOD))
    context.use_certificate_file(pem)
    context.use_privatekey_file(pem)
    far = SSL.Connection(context, None)
    far.set_accept_state()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Line()
        tcp = Connection(ours, line, MemoryReactor())
        tcp.connected = True
        line.makeConnection(tcp)
        start_tls(line, tcp, tls_creator_for("far.example.com", False, None), Clock())
        for _ in range(2):
            tcp.doWrite()
            far.bio_write(theirs.recv(65536))
            with suppress(SSL.WantReadError):
                far.do_handshake()
            tcp.protocol.dataReceived(far.bio_read(65536))
        tcp.protocol.dataReceived(raw.record(b"login: "))
        assert line.heard == b"login: "
        for _ in range(70):
            tcp.protocol.dataReceived(raw.new_keys(True))
        assert not line.aborted
        for _ in range(10):
            tcp.protocol.dataReceived(raw.new_keys(True))
        assert line.aborted == "it keeps asking but does not read the answers"
