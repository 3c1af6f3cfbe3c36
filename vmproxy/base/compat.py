"""Private names of Twisted, the only module that uses them.

Each has a test that fails when Twisted changes it: ``tests/base/test_compat.py``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection


def has_unsent(transport: Connection) -> bool:
    """Whether bytes wait in a TCP transport, or it is being closed: nothing may overtake them."""
    return bool(transport._tempDataBuffer or len(transport.dataBuffer) > transport.offset or transport.disconnecting)


def tls_connection(layer: Any) -> Any:
    """The OpenSSL connection of a TLS transport (``TLSMemoryBIOProtocol``); None when TLS is over."""
    return layer._tlsConnection


def handshake_done(layer: Any) -> bool:
    """Whether the handshake of a TLS transport is complete."""
    return bool(layer._handshakeDone)


def exchanging_keys(transport: Any) -> bool:
    """Whether an SSH transport (``SSHTransportBase``) is amid a key exchange: it queues what is sent, without bound."""
    return bool(transport._keyExchangeState != transport._KEY_EXCHANGE_NONE)
