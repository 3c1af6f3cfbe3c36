"""Errors of the system and of Twisted as people read them: what happened, and what can be done about it."""

from __future__ import annotations

import errno
import os

from twisted.internet import error as twisted_error
from twisted.internet.error import CannotListenError

from vmproxy.base.sanitize import visible

_TEXTS: tuple[tuple[type[BaseException], str], ...] = (
    (twisted_error.ConnectionRefusedError, "connection refused: nothing listens there"),
    (twisted_error.TCPTimedOutError, "no answer"),
    (twisted_error.TimeoutError, "no answer"),
    (twisted_error.NoRouteError, "no route to it"),
    (twisted_error.DNSLookupError, "no such host name"),
    (twisted_error.UnknownHostError, "no such host name"),
    (twisted_error.ConnectionAborted, "connection aborted"),
    (twisted_error.ConnectionLost, "connection lost"),
    (twisted_error.ConnectionDone, "closed by the other side"),
)
_LISTENING = {
    errno.EADDRINUSE: "another process listens there, `ss -ltnp' shows which",
    errno.EADDRNOTAVAIL: "this machine has no such address, `ip address' shows those that it has",
    errno.EACCES: "ports below 1024 are root's; start as root with twistd's --uid and --gid, or use vmproxy.socket",
    errno.EAFNOSUPPORT: "this machine has no IPv6; listen on tcp: instead of tcp6:",
    errno.ENOENT: "the folder of the socket is not there",
}
_STARTING = {
    errno.EACCES: "the account {account} must be able to write there",
    errno.EPERM: "the account {account} must own it",
    errno.EROFS: "with systemd, name the folder in ReadWritePaths",
    errno.ENOSPC: "make room on the disk",
    errno.ENOTDIR: "a file is in the place of a folder",
    errno.EEXIST: "a file is in the place of a folder",
}


def explain(error: BaseException | None) -> str:
    """Why a connection failed or ended, in a few words."""
    for kind, text in _TEXTS:
        if isinstance(error, kind):
            return text
    number = getattr(error, "osError", None) or getattr(error, "errno", None)
    text = os.strerror(number) if isinstance(number, int) else str(error).rstrip(".")
    return visible(text, 200) or type(error).__name__


def explain_listening(error: BaseException | None) -> str:
    """Why an endpoint cannot be listened on, and the remedy."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    if number is None:
        return explain(cause) if isinstance(cause, BaseException) else visible(str(error), 200)
    remedy = _LISTENING.get(number, "")
    return os.strerror(number) + (f" ({remedy})" if remedy else "")


def explain_start(error: OSError, account: str) -> str:
    """Why a file or a folder cannot be used at the start, and the remedy.

    :param account: the account that needs it.
    """
    name = f"{error.filename}: " if error.filename else ""
    remedy = _STARTING.get(error.errno or 0, "").format(account=account)
    return f"{name}{error.strerror or error}" + (f" ({remedy})" if remedy else "")
