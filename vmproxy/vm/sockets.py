"""What a connection asks of its socket beyond what Twisted offers."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from twisted.internet.interfaces import ISystemHandle

from vmproxy.vm.tls import Layer


def socket_of(transport: object) -> socket.socket | None:
    """The socket behind a transport, also below TLS; None where there is none (tests)."""
    if isinstance(transport, Layer):
        transport = transport.transport
    handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
    return handle if isinstance(handle, socket.socket) else None


def unread(transport: object) -> int:
    """How many bytes have been received for a transport that nobody has read.

    That is what the operating system has (FIONREAD), and under TLS what has come of a record that is not complete.
    """
    partial = transport.partial if isinstance(transport, Layer) else 0
    handle = socket_of(transport)
    if handle is None:
        return partial
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.FIONREAD, b"\0\0\0\0"))
    except OSError:  # the reactor will find that too
        return partial
    return int(count) + partial
