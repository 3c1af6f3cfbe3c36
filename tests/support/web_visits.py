"""Clients of the web that come, take some of everything, and go without a word."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable

from tests.support.daemon import PATIENCE

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: vmproxy.v1\r\n"
)
STRANGER = "Authorization: Bearer nobody's\r\n"
INPUT = "Content-Type: application/octet-stream\r\n"
Wrap = Callable[[socket.socket], socket.socket]


def visits(name: str) -> tuple[tuple[str, str, str, bytes], ...]:
    """Requests, more headers of theirs, and what is waited for in the answer before the client goes.

    :param name: of a console that has said ``hello`` often: most of the long answers is not read.
    """
    console = f"/api/v1/consoles/{name}"
    return (
        ("GET", "/api/v1/consoles", "", b"}"),
        ("GET", "/api/v1/consoles/nobody", "", b"}"),
        ("GET", "/api/v1/whoami", STRANGER, b"}"),
        ("POST", "/api/v1/broadcast", f"{STRANGER}Content-Length: 9\r\n", b"}"),
        ("GET", f"{console}/log", "", b"hello"),
        ("GET", f"{console}/log?follow=1", "", b"hello"),
        ("GET", f"{console}/log?follow=1", "Accept: text/event-stream\r\n", b"output"),
        ("GET", "/api/v1/events?follow=1", "", b"}"),
        ("GET", "/api/v1/search?q=hello", "", b"hello"),
        ("POST", f"{console}/input", f"{INPUT}Content-Length: 9\r\n", b""),
        ("POST", f"{console}/input", f"{INPUT}Transfer-Encoding: chunked\r\n", b""),
        ("GET", "/api/v1/live", UPGRADE, b"counts"),
        ("GET", f"{console}/attach?replay=0", UPGRADE, b"hello"),
        ("GET", "/api/v1/consoles/nobody/attach", UPGRADE, b"reject"),
    )


def visit(port: int, token: str, name: str, wrap: Wrap = lambda line: line) -> None:
    """Each of the visits, on a connection of its own."""
    for method, path, more, wait in visits(name):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line, wrap(line) as client:
            head = f"Host: localhost:{port}\r\n{more}Authorization: Bearer {token}\r\n\r\n"
            client.sendall(f"{method} {path} HTTP/1.1\r\n{head}".encode())
            seen = b""
            while wait not in seen.partition(b"\r\n\r\n")[2]:
                data = client.recv(65536)
                assert data, (path, seen)
                seen += data


def log_in_and_out(port: int, operator: str, password: str) -> None:
    """A browser's session, and what is read with its cookie."""
    origin = f"http://127.0.0.1:{port}"

    def ask(method: str, path: str, body: object = None, cookie: str = "") -> http.client.HTTPResponse:
        headers = {"Origin": origin, "Cookie": cookie} | ({"Content-Type": "application/json"} if body else {})
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status in (200, 204), (path, answer.status, said)
        return answer

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        answer = ask("POST", "/api/v1/login", {"operator": operator, "password": password})
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        for path in ("/", "/api/v1/whoami", "/api/v1/consoles", "/api/v1/status"):
            ask("GET", path, cookie=cookie)
        ask("DELETE", "/api/v1/session", cookie=cookie)
    finally:
        connection.close()
