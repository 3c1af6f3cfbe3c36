"""What systemd is told of the process: that it is ready, reads its configuration again, stops, and still turns.

The protocol of sd_notify(3): a datagram of ``NAME=value`` lines to the socket that ``$NOTIFY_SOCKET`` names, a path or,
with ``@`` in front, an abstract name. It needs no library. Nothing here is worth a VM's connection: what cannot be sent
is left out. The socket is made once, so that a process without descriptors left can still say that it lives.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

STATUS_SECONDS = 10.0

_log = Logger()


class Notifier:
    """Tells the service manager, if there is one that wants to know."""

    def __init__(self, clock: IReactorTime, environment: Mapping[str, str], status: Callable[[], str]) -> None:
        """
        :param environment: of the process: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` (microseconds) and ``WATCHDOG_PID``.
        :param status: the line that ``systemctl status`` shows.
        """
        self._clock = clock
        self._status = status
        self._said = ""
        self._call: IDelayedCall | None = None
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
        """Everything listens; or the configuration has been read again. From the first time on, say so regularly."""
        self._tell("READY=1", *self._changed())
        if self._call is None and self._socket is not None:
            self._call = self._clock.callLater(self._interval, self._beat)

    def reloading(self) -> None:
        """The configuration is being read again; :meth:`ready` follows, whatever comes of it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The process is about to end."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._tell("STOPPING=1", "STATUS=writing what has been received")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _beat(self) -> None:
        self._call = self._clock.callLater(self._interval, self._beat)
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
        except OSError as error:  # nobody listens there, or not now
            _log.debug("systemd was not told {lines}: {error}", lines=lines, error=error)


def _address(text: str) -> str:
    """The socket's address as Python wants it; empty where there is none that is understood."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    if text.startswith("/"):
        return text
    if text:
        _log.warn("NOTIFY_SOCKET is neither a path nor an abstract name, and is left alone: {text!r}", text=text)
    return ""


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Within what time the manager wants to hear from this process; 0 if it does not."""
    for_whom = environment.get("WATCHDOG_PID", "")
    if for_whom and for_whom != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return 0.0
    return int(text) / 1_000_000
