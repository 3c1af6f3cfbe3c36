"""Sockets that somebody else has opened for us and handed over: systemd's socket activation, sd_listen_fds(3).

The descriptors begin at 3; ``LISTEN_FDS`` says how many there are, ``LISTEN_FDNAMES`` what each is for. Here they
become the descriptions of Twisted's own ``systemd:`` endpoint, and so take the place of a configured ``listen``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping

from vmproxy.base.sanitize import visible
from vmproxy.errors import StartError

FIRST = 3
_FAMILIES = {socket.AF_INET: "INET", socket.AF_INET6: "INET6", socket.AF_UNIX: "UNIX"}


def initial_environment() -> dict[str, str]:
    """The environment as the process got it: Twisted takes these variables out of it as soon as it has seen them."""
    try:
        with open("/proc/self/environ", "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return dict(os.environ)
    return dict(line.split("=", 1) for line in lines if "=" in line)


def handed_over(environment: Mapping[str, str], names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What was handed over to this process.

    :param environment: of the process: ``LISTEN_PID``, ``LISTEN_FDS`` and ``LISTEN_FDNAMES``.
    :param names: what a socket may be for.
    :returns: the endpoints' descriptions, by what they are for; a name for which there is none is left out.
    :raises StartError: for a socket with another name, or that is none to accept connections from. A socket that
        nobody serves would let hosts wait for ever.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal() and len(count) < 5):
        raise StartError(f"LISTEN_FDS is no number: {visible(count)!r}")
    labels = environment.get("LISTEN_FDNAMES", "").split(":") if int(count) else []
    if len(labels) != int(count):
        raise StartError(f"{count} sockets were handed over with {len(labels)} names (LISTEN_FDNAMES)")
    found: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(labels):
        if name not in names:
            raise StartError(
                f"a socket named {visible(name)!r} was handed over; in the .socket unit,"
                f" FileDescriptorName= must be one of {', '.join(names)}"
            )
        description = f"systemd:domain={_family(FIRST + index, name)}:index={index}"
        found[name] = (*found.get(name, ()), description)
    return found


def _family(descriptor: int, name: str) -> str:
    try:
        handle = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise StartError(f"what was handed over as {name} is no socket: {error.strerror}") from None
    with handle:
        listening = handle.type == socket.SOCK_STREAM and handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if not listening or handle.family not in _FAMILIES:
            raise StartError(f"what was handed over as {name} is no listening stream socket (Accept=no, ListenStream=)")
        return _FAMILIES[socket.AddressFamily(handle.family)]
