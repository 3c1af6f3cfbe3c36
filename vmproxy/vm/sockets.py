"""What a connection asks of its socket beyond what Twisted offers."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from twisted.internet.interfaces import ISystemHandle


def socket_of(transport: object) -> socket.socket | None:
    """The socket behind a transport; None where there is none (tests), or none of its own (TLS)."""
    handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
    return handle if isinstance(handle, socket.socket) else None


def unread(transport: object) -> int:
    """How many bytes the operating system has received for a transport that have not been read (FIONREAD)."""
    handle = socket_of(transport)
    if handle is None:
        return 0
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.FIONREAD, b"\0\0\0\0"))
    except OSError:  # the reactor will find that too
        return 0
    return int(count)
