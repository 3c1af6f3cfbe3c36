"""What went wrong, for people: no class names, no numbers of errors, and a remedy where there is one."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from OpenSSL import SSL
from twisted.internet import error

from tests.support.cases import each
from vmproxy.base.failures import explain, explain_listening, explain_start


@each(
    ("failure", "text"),
    [
        (error.ConnectionRefusedError(111, "Connection refused"), "connection refused: nothing listens there"),
        (error.ConnectionLost(), "connection lost"),
        (error.ConnectionDone(), "closed by the other side"),
        (error.TimeoutError(), "no answer"),
        (error.TCPTimedOutError(110, "x"), "no answer"),
        (error.NoRouteError(113, "x"), "no route to it"),
        (error.DNSLookupError("x"), "no such host name"),
        (error.ConnectError(errno.ENETUNREACH, "x"), "Network is unreachable"),
        (OSError(errno.EPIPE, "Broken pipe"), "Broken pipe"),
        (ValueError("bad\x1b[2J."), "bad\\x1b[2J"),
        (SSL.Error(), "Error"),
    ],
)
def test_connections(failure: BaseException, text: str) -> None:
    assert explain(failure) == text


@pytest.mark.parametrize("number", [errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_listening(number: int) -> None:
    cause = OSError(number, os.strerror(number))
    text = explain_listening(error.CannotListenError("any", 80, cause))
    assert text.startswith(f"{os.strerror(number)} (")
    assert "Errno" not in text


def test_listening_where_the_cause_is_a_text_or_a_name() -> None:
    lock = error.CannotListenError("", "/run/x", "Cannot acquire lock")
    assert "Cannot acquire lock" in explain_listening(lock)
    name = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert "Errno" not in explain_listening(error.CannotListenError("nosuch", 1, name))


def test_the_start() -> None:
    failure = PermissionError(errno.EACCES, "Permission denied", "/var/lib/vmproxy")
    assert (
        explain_start(failure, "vmproxy")
        == "/var/lib/vmproxy: Permission denied (the account vmproxy must be able to write there)"
    )
    assert explain_start(OSError(errno.EIO, "Input/output error"), "x") == "Input/output error"
