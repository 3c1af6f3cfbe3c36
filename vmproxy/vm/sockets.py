"""What Twisted does not offer of a socket: itself, unread bytes, sending at once.

Twisted sends in the reactor's next turn: ``write`` asks the poller to say when the socket can take data, which it
nearly always can, and then has to ask it to be silent again. Measured in a storm of 4,000 VMs, these two system calls
and the turn cost a tenth of all that a VM's arrival costs; and an answer to a host in vMotion waits behind whatever
else the turn brings. So what fits the socket's buffer goes there directly.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from twisted.internet.interfaces import ISystemHandle
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOProtocol

from vmproxy.base.compat import QuickServer, has_unsent
from vmproxy.vm.tls import Layer


def socket_of(transport: object) -> socket.socket | None:
    """The socket behind a transport, also below TLS; None where there is none (tests), or none any more."""
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    if not ISystemHandle.providedBy(transport) or not getattr(transport, "connected", True):
        return None
    handle = transport.getHandle()
    return handle if isinstance(handle, socket.socket) else None


def unread(transport: object) -> int:
    """The number of bytes received for a transport and not read.

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


def send(transport: Connection, data: bytes) -> None:
    """Send data now, if nothing waits before it; else as ``transport.write`` does.

    :param transport: of any kind; only TCP's own is treated so.
    """
    if type(transport) is QuickServer and not transport.TLS:
        transport.send(data)
        return
    # What TLS encrypts must not be overtaken, and anything else knows best itself.
    if isinstance(transport, Connection) and not transport.TLS and transport.connected and not has_unsent(transport):
        sent = transport.writeSomeData(data)
        if sent == len(data):
            return
        if isinstance(sent, int):
            data = data[sent:]
        # If it failed, the reactor finds the same when it tries, and ends the connection in order.
    transport.write(data)
