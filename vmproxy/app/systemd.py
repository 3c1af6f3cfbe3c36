"""What systemd is told of the process, sd_notify(3), and the sockets that it has opened, sd_listen_fds(3).

A notification is a datagram of ``NAME=value`` lines to the socket that ``$NOTIFY_SOCKET`` names, a path or, with ``@``
in front, an abstract name. No notification is worth a VM's connection: what cannot be sent is left out. The socket is
made once, so that a process without descriptors left can still say that it lives.

The descriptors of sockets begin at 3; ``LISTEN_FDS`` says how many there are, ``LISTEN_FDNAMES`` what each is for.
They become the descriptions of Twisted's own ``systemd:`` endpoint, and so take the place of a configured ``listen``.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.base.countdown import Countdown
from vmproxy.base.sanitize import visible
from vmproxy.errors import StartError

STATUS_SECONDS = 10.0
FIRST = 3
_FAMILIES = {socket.AF_INET: "INET", socket.AF_INET6: "INET6", socket.AF_UNIX: "UNIX"}

_log = Logger()


class Notifier:
    """Notifies the service manager, if the environment names one."""

    def __init__(self, clock: IReactorTime, environment: Mapping[str, str], status: Callable[[], str]) -> None:
        """
        :param environment: of the process: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` (microseconds) and ``WATCHDOG_PID``.
        :param status: the line that ``systemctl status`` shows.
        """
        self._status = status
        self._said = ""
        self._beats = Countdown(clock)
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        watchdog = _watchdog_seconds(environment)
        self._watched = watchdog > 0
        self._interval = min(watchdog / 2, STATUS_SECONDS) if self._watched else STATUS_SECONDS
        if self._address:
            try:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            except OSError as error:
                _log.warn("systemd will not be told how this process fares: {error}", error=error)

    def ready(self) -> None:
        """Say that the process is ready, at the start and after a reload; from then on, say regularly that it runs."""
        self._tell("READY=1", *self._changed())
        if not self._beats.is_running and self._socket is not None:
            self._beats.start(self._interval, self._beat)

    def reloading(self) -> None:
        """Say that the configuration is read again; :meth:`ready` follows in any case."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that the process ends."""
        self._beats.stop()
        self._tell("STOPPING=1", "STATUS=writing what has been received")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _beat(self) -> None:
        self._beats.start(self._interval, self._beat)
        self._tell(*(("WATCHDOG=1",) if self._watched else ()), *self._changed())

    def _changed(self) -> tuple[str, ...]:
        line = self._status()
        if line == self._said:
            return ()
        self._said = line
        return (f"STATUS={line}",)

    def _tell(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:  # no process reads there, or not now
            _log.debug("systemd was not told {lines}: {error}", lines=lines, error=error)


def _address(text: str) -> str:
    """The socket's address for Python; empty if there is no valid one."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    if text.startswith("/"):
        return text
    if text:
        _log.warn("NOTIFY_SOCKET is neither a path nor an abstract name, and is left alone: {text!r}", text=text)
    return ""


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """The interval within which the manager expects a notification; 0 for none."""
    pid = environment.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return 0.0
    return int(text) / 1_000_000


# Sockets.


def initial_environment() -> dict[str, str]:
    """The environment as the process got it: Twisted takes these variables out of it as soon as it has seen them."""
    try:
        with open("/proc/self/environ", "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return dict(os.environ)
    return dict(line.split("=", 1) for line in lines if "=" in line)


def has_terminal() -> bool:
    """Whether the process has a controlling terminal now: a daemon has none, nor has one whose terminal was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def activated_sockets(environment: Mapping[str, str], names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The sockets that were handed over to this process.

    :param environment: of the process: ``LISTEN_PID``, ``LISTEN_FDS`` and ``LISTEN_FDNAMES``.
    :param names: what a socket may be for.
    :returns: the descriptions of endpoints, by name; names without a socket are left out.
    :raises StartError: for a socket with another name, and for one that does not accept connections: hosts would wait
        at it for ever.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal() and len(count) < 5):
        raise StartError(f"LISTEN_FDS is not a number: {visible(count)!r}")
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
        raise StartError(f"the descriptor handed over as {name} is not a socket: {error.strerror}") from None
    with handle:
        listening = handle.type == socket.SOCK_STREAM and handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if not listening or handle.family not in _FAMILIES:
            raise StartError(
                f"the descriptor handed over as {name} is not a listening stream socket (Accept=no, ListenStream=)"
            )
        return _FAMILIES[socket.AddressFamily(handle.family)]
