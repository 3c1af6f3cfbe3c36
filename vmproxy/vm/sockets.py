"""What Twisted does not offer of a socket: itself, and how many bytes are unread."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from twisted.internet.interfaces import ISystemHandle
from twisted.protocols.tls import TLSMemoryBIOProtocol

from vmproxy.base.compat import QuickServer
from vmproxy.vm.tls import Layer


def socket_of(transport: object) -> socket.socket | None:
    """The socket behind a transport, also below TLS; None where there is none (tests), or none any more."""
    if isinstance(transport, Layer):
        transport = transport.tcp
    elif isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    if type(transport) is QuickServer:
        return transport.socket if transport.connected else None
    if not ISystemHandle.providedBy(transport) or not getattr(transport, "connected", True):
        return None
    handle = transport.getHandle()
    return handle if isinstance(handle, socket.socket) else None


def unread(transport: object) -> int:
    """The number of bytes received for a transport and not read.

    That is what the operating system has (FIONREAD), and under TLS what waits for its turn, or for the
    rest of its record.
    """
    partial = transport.partial + transport.waiting if isinstance(transport, Layer) else 0
    handle = socket_of(transport)
    if handle is None:
        return partial
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.FIONREAD, b"\0\0\0\0"))
    except OSError:  # the reactor will find that too
        return partial
    return int(count) + partial
