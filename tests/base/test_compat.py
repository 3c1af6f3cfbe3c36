"""The private names of Twisted that are used: each test fails when Twisted changes one."""

from __future__ import annotations

import socket
from pathlib import Path

from OpenSSL import SSL
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol

from tests.support.tls import TLSHost, use_tls, write_pem
from tests.support.vm import VMWorld
from vmproxy.base.compat import exchanging_keys, handshake_done, has_unsent, tls_connection
from vmproxy.vm.tls import Layer


def test_a_tcp_transport_knows_what_waits_to_be_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = Connection(ours, Protocol(), MemoryReactor())
        transport.connected = True
        assert not has_unsent(transport)
        transport.write(b"later")
        assert has_unsent(transport)  # in the list of new pieces
        transport.doWrite()
        assert not has_unsent(transport)
        assert theirs.recv(100) == b"later"
        transport.dataBuffer = b"rest"  # what a full socket left over
        assert has_unsent(transport)
        transport.dataBuffer = b""
        transport.loseConnection()
        assert has_unsent(transport)


def test_a_tls_transport_knows_its_openssl_connection_and_whether_the_handshake_is_done(tmp_path: Path) -> None:
    world = VMWorld(tmp_path)
    use_tls(world, write_pem(tmp_path / "one.pem", "one.example.com"))
    host = TLSHost(world, shake=False)
    layer = host.transport.protocol
    assert isinstance(layer, TLSMemoryBIOProtocol)
    assert isinstance(tls_connection(layer), SSL.Connection)
    assert not handshake_done(layer)
    host.shake()
    assert handshake_done(layer)
    host.lose()
    assert tls_connection(layer) is None
    world.stop()


def test_twisted_calls_what_the_layer_overrides() -> None:
    for hook in ("_flushSendBIO", "_tlsShutdownFinished"):
        assert callable(getattr(TLSMemoryBIOProtocol, hook))
        assert getattr(Layer, hook) is not getattr(TLSMemoryBIOProtocol, hook)
        assert hook in {name for method in vars(TLSMemoryBIOProtocol).values() for name in names(method)}


def names(method: object) -> tuple[str, ...]:
    return method.__code__.co_names if hasattr(method, "__code__") else ()


def test_an_ssh_transport_knows_that_a_key_exchange_is_under_way() -> None:
    transport = SSHServerTransport()
    transport.factory = SSHFactory()
    assert not exchanging_keys(transport)
    transport.makeConnection(StringTransport())
    assert exchanging_keys(transport)
    assert "_keyExchangeState" in names(SSHServerTransport._newKeys)
