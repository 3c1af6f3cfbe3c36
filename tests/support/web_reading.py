"""What the tests of the web's reading half need: consoles that have said something, and what SSH says of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from twisted.internet.testing import StringTransport

from tests.support.plain import PlainSession
from tests.support.web import Got, WebWorld
from vmproxy.alerts.alert import Finding
from vmproxy.alerts.watch_file import parse_watches


def said(web: WebWorld, data: bytes, name: str = "web01", wait: float = 2) -> None:
    """A VM says something, and time goes by."""
    web.console_of(name).feed(data)
    web.store.flush()
    web.tick(wait)


@contextmanager
def writer_busy(web: WebWorld) -> Iterator[list[Callable[[], object]]]:
    """The writer of logs does nothing; behind that it does what is left of the jobs."""
    jobs: list[Callable[[], object]] = []
    with patch.object(web.runner, "submit", jobs.append):
        yield jobs
    for job in jobs:
        job()
    web.settle()


def ssh(web: WebWorld, command: str, user: str = "alice") -> tuple[bytes, int | None]:
    """What a command says to an operator who comes another way, and its status."""
    session = PlainSession(web.services)
    transport = StringTransport()
    session.makeConnection(transport)
    session.dataReceived(f"{user} {command}\n".encode())
    for _ in range(200):
        if session.status is not None:
            break
        web.clock.advance(0)
    answer = transport.value()
    session.connectionLost()
    return answer, session.status


def ndjson(got: Got) -> list[Any]:
    """The objects of a stream of them."""
    return [json.loads(line) for line in got.body.splitlines()]


def stream_events(body: bytes) -> list[tuple[str, str, Any]]:
    """The events of a stream for EventSource: the id, the kind and what they say; output as bytes."""
    found: list[tuple[str, str, Any]] = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            kind, data = fields["event"], fields["data"]
            told = base64.b64decode(data) if kind == "output" else json.loads(data)
            found.append((fields.get("id", ""), kind, told))
    return found


def raise_alerts(web: WebWorld, count: int, name: str = "web01") -> None:
    """A watch finds lines of a console."""
    (watch,) = parse_watches(b'[[watch]]\nname = "panic"\nmatch = "panic"\n', "")
    for number in range(count):
        web.alerts.found([Finding(web.console_of(name), watch, web.clock.seconds(), number, b"panic", 0)], 0, 0)
        web.tick(1)
