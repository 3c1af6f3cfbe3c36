"""What is over on the web is freed at once: the collector, which is next to never called, is not needed for it."""

from __future__ import annotations

import pytest

from tests.support.living import nothing_left
from tests.support.web import WebClient, WebWorld
from tests.support.web_reading import said
from tests.web.test_reading_logs import AS_EVENTS, LOG, token
from vmproxy.log.stream import LogStream
from vmproxy.operators.event_reading import EventStream
from vmproxy.operators.log_follower import LogFollower
from vmproxy.operators.log_reading import BatchReader, OpenedLog
from vmproxy.operators.operator import Operator
from vmproxy.operators.viewer_queue import LateReader
from vmproxy.web.api.reading import Body
from vmproxy.web.attach import Attaching
from vmproxy.web.attachment import Attachment
from vmproxy.web.call import Call
from vmproxy.web.fanout import Fanout
from vmproxy.web.live import LivePage
from vmproxy.web.sender import Flow
from vmproxy.web.server import WebChannel, WebRequest
from vmproxy.web.viewer_output import ViewerOutput
from vmproxy.web.viewer_requests import Requests
from vmproxy.web.websocket import WebSocket

KINDS = (
    Attaching,
    Attachment,
    BatchReader,
    Body,
    Call,
    EventStream,
    Fanout,
    Flow,
    LateReader,
    LivePage,
    LogFollower,
    LogStream,
    OpenedLog,
    Operator,
    Requests,
    ViewerOutput,
    WebChannel,
    WebRequest,
    WebSocket,
)
HANDSHAKE = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "vmproxy.v1"),
]
__all__ = ["token"]


OCTETS = "application/octet-stream"
INPUT = "/api/v1/consoles/web01/input"


def told(client: WebClient, text: bytes) -> None:
    """Send a message of characters over a websocket."""
    client.say(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/v1/consoles", []),
        ("/api/v1/consoles/nobody", []),
        ("/api/v1/whoami", [("Authorization", "Bearer nobody's")]),
        (LOG, []),
        (f"{LOG}?follow=1", []),
        (f"{LOG}?follow=1", AS_EVENTS),
        ("/api/v1/events?follow=1", AS_EVENTS),
        ("/api/v1/consoles/web01/timeline", []),
        ("/api/v1/consoles/web01/segments/0", []),
        ("/api/v1/consoles/web01/recording", []),
        ("/api/v1/search?q=x", []),
        (INPUT, [("Content-Type", OCTETS), ("Content-Length", "9")]),
        (INPUT, [("Content-Type", OCTETS), ("Transfer-Encoding", "chunked")]),
        (INPUT, [("Content-Type", "text/plain"), ("Content-Length", "9")]),
        ("/api/v1/live", HANDSHAKE),
        ("/api/v1/consoles/nobody/attach", HANDSHAKE),
        ("/api/v1/consoles/web01/attach", HANDSHAKE),
    ],
)
def test_nothing_is_left_of_a_connection(web: WebWorld, token: str, path: str, headers: list[tuple[str, str]]) -> None:
    said(web, b"past\r\n")
    with nothing_left(*KINDS):
        client = web.client()
        method = "POST" if path == INPUT else "GET"
        client.say(client.request(method, path, headers=[*headers, ("Authorization", f"Bearer {token}")]))
        if headers is HANDSHAKE:
            assert client.pipe.sent.startswith(b"HTTP/1.1 101 ")
            told(client, b'{"type":"pause","id":1}' if "attach" in path else b'{"type":"watch","ids":["web01"]}')
            told(client, b'{"type":"resume","id":2}')
        said(web, b"more\r\n")
        client.leave()
        del client
        web.tick(120)
