"""What clients of the web do to keep the reactor busy: what costs most to read, and floods of heads and of frames."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
from collections.abc import Callable
from functools import cache, partial

from tests.support.daemon import PATIENCE, eventually
from tests.support.host import FakeVM
from tests.support.operator_attacks import noisy
from tests.support.turns import MeasuredDaemon, Steps, at_once
from tests.support.web_daemon import token_of

WEB = (
    '[web]\nlisten = ["tcp:0:interface=127.0.0.1"]\nconnections-per-operator = 1500\n'
    'console-log-from = ["127.0.0.1"]\nmetrics-from = ["127.0.0.1"]\nmetrics-consoles = ["vm*"]\n'
)
MOST = 1000  # websockets
TEXT, BINARY, CONTINUATION, PING = 1, 2, 0, 9


@cache
def _token(daemon: MeasuredDaemon) -> str:
    return token_of(daemon, "root")


def frame(opcode: int, payload: bytes = b"", fin: bool = True) -> bytes:
    """A frame of a client, whose mask changes nothing."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes((opcode | 0x80 * fin,)) + length + bytes(4) + payload


class WebSocket:
    """A websocket that says what it is told to.

    :ivar got: what came, as it came.
    """

    def __init__(self, daemon: MeasuredDaemon, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", daemon.web_port), daemon.patience)
        self.got = bytearray()
        self.socket.sendall(
            (
                f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{daemon.web_port}\r\n"
                f"Authorization: Bearer {_token(daemon)}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                "Sec-WebSocket-Protocol: vmproxy.v1\r\n\r\n"
            ).encode()
        )

    def until(self, text: bytes) -> None:
        """Read until something has come."""
        while text not in self.got:
            data = self.socket.recv(262_144)
            assert data, bytes(self.got[-300:])
            self.got += data

    def flood(self, data: bytes, times: int) -> None:
        """Send much, and read nothing; the end of the connection ends it."""
        with contextlib.suppress(OSError):
            for _ in range(times):
                self.socket.sendall(data)

    def cut(self) -> None:
        """Lose the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def get(daemon: MeasuredDaemon, path: str) -> tuple[int, bytes]:
    """What is answered."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", daemon.web_port, timeout=daemon.patience)) as http_:
        http_.request("GET", path, headers={"Authorization": f"Bearer {_token(daemon)}"})
        answer = http_.getresponse()
        return answer.status, answer.read()


def asking(path: str, daemon: MeasuredDaemon, size: int) -> Steps:
    """Ask for the same at once, again and again."""
    answers: list[tuple[int, bytes]] = []
    yield
    at_once(3, lambda _: answers.extend(get(daemon, path) for _ in range(size)))
    yield
    assert any(status == 200 and body for status, body in answers), [(status, body[:300]) for status, body in answers]


def reading(path: str, daemon: MeasuredDaemon, size: int) -> Steps:
    """Read what a VM has printed, several at once, while it prints more."""
    with noisy(daemon, "painter", size) as vm:
        path = path.replace("UUID", str(vm.uuid))
        answers: list[tuple[int, bytes]] = []

        def read(number: int) -> None:
            if number:
                answers.append(get(daemon, path))
            else:
                vm.connected.say(b"and on\r\n" * 10_000 * size)

        yield
        at_once(3 * size + 1, read)
        yield
        assert any(status == 200 and body for status, body in answers), [
            (status, body[:300]) for status, body in answers
        ]


def pages(daemon: MeasuredDaemon, size: int) -> Steps:
    """Watch as many consoles as a page may, now these, now those."""
    sockets = [WebSocket(daemon, "live") for _ in range(5 * size)]
    ids = [one["id"] for one in json.loads(get(daemon, "/api/v1/consoles?limit=1000&fields=name")[1])["items"]]
    yield

    def watch(number: int) -> None:
        one = sockets[number]
        for place in range(0, 1000, 200):
            del one.got[:]
            text = json.dumps({"type": "watch", "ids": ids[place : place + 200]}).encode()
            one.socket.sendall(frame(TEXT, text))
            one.until(ids[place + 199].encode())

    at_once(len(sockets), watch)
    yield
    for one in sockets:
        one.cut()


def viewers(daemon: MeasuredDaemon, size: int) -> Steps:
    """Watch one console in hundreds of websockets; its VM prints, the rules change, and all leave at once."""
    vm = FakeVM(daemon.vm_port, "watched").connect()
    count = min(200 * size, MOST)
    sockets: list[WebSocket] = []
    yield

    def enter(_: int) -> None:
        for _ in range(count // 10):
            one = WebSocket(daemon, "consoles/watched/attach?mode=spy&replay=0")
            one.until(b'"cursor"')
            sockets.append(one)

    at_once(10, enter)
    for number in range(50):
        vm.connected.say(b"line %d\r\n" % number)
    for one in sockets:
        one.until(b"line 49\r\n")
    vm.connected.sub(82, b"renamed")
    vm.connected.sub(82, b"watched")
    daemon.reload(daemon.settings + '[[console]]\non = ["watched"]\nmessage = "hello"\n')
    daemon.reload(daemon.settings)
    for one in sockets:
        one.cut()
    eventually(lambda: not daemon.status("watched")["viewers"], "all have left", daemon.patience)
    yield
    vm.close()


def frames(piece: bytes, daemon: MeasuredDaemon, size: int) -> Steps:
    """Flood with frames."""
    vm = FakeVM(daemon.vm_port, "flooded").connect()
    flood = piece * (65536 // len(piece))
    sockets = [WebSocket(daemon, "consoles/flooded/attach?mode=spy&replay=0") for _ in range(4 * size)]
    for one in sockets:
        one.until(b'"hello"')
        one.socket.settimeout(5)  # it is held back at last
    yield
    at_once(len(sockets), lambda number: sockets[number].flood(flood, 8 * size))
    yield
    for one in sockets:
        one.cut()
    vm.close()


def heads(daemon: MeasuredDaemon, size: int) -> Steps:
    """Send many heads byte by byte, and others in one piece that are as large as may be."""
    large = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(
        b"X-%d: %s\r\n" % (n, b"x" * 130) for n in range(90)
    )
    sockets = [socket.create_connection(("127.0.0.1", daemon.web_port), PATIENCE) for _ in range(60 * size)]
    yield

    def say(number: int) -> None:
        with contextlib.suppress(OSError):
            if number:
                for one in sockets[30 * size :]:
                    one.sendall(large + b"\r\n")
                return
            for one in sockets[: 30 * size]:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for place in range(500):
                for one in sockets[: 30 * size]:
                    one.sendall(large[place : place + 1])

    at_once(2, say)
    yield
    for one in sockets:
        one.close()


def pipelines(daemon: MeasuredDaemon, size: int) -> Steps:
    """Send many requests before any of their answers is read."""
    requests = f"GET /api/v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1:{daemon.web_port}\r\n\r\n".encode() * 20
    sockets = [socket.create_connection(("127.0.0.1", daemon.web_port), daemon.patience) for _ in range(20 * size)]
    yield
    for one in sockets:
        one.sendall(requests)

    def read(number: int) -> None:
        with contextlib.suppress(OSError):
            for _ in range(20):
                if not sockets[number].recv(65536):
                    break

    at_once(len(sockets), read)
    yield
    for one in sockets:
        one.close()


CONSOLES = "/api/v1/consoles?limit=1000"
GLOBS = "%20".join(f"*{n}*x?[a-z]" for n in range(20))
ASKED = {
    "consoles, filters": f"{CONSOLES}&on={GLOBS}%20*&q=state:up,down%20host:*1*2*,10%20tag:a,b%20who:a*b*c%20*v*m*",
    "consoles, last output": f"{CONSOLES}&sort=last_output",
    "search": "/api/v1/search?q=error",
    "events": "/api/v1/events?limit=1000",
    "sessions": "/api/v1/sessions",
    "openapi": "/api/v1/openapi.json",
    "metrics": "/metrics",
}
READ = {
    "log, timed": "consoles/painter/log?format=timed",
    "log, text": "consoles/painter/log?format=text",
    "timeline": "consoles/painter/timeline?buckets=1000",
    "recording": "consoles/painter/recording",
    "recording, window": "consoles/painter/recording?window=1048576",
    "events of": "events?on=painter&limit=1000",
}
FRAMES = {
    "pings": frame(PING, b"x" * 125) + frame(PING) + frame(10),
    "parts": frame(TEXT, b"{", False) + frame(CONTINUATION, b"", False) * 100,
    "keys": frame(BINARY, b"x") + frame(BINARY),
    "acknowledgements": frame(TEXT, b'{"type":"ack","bytes":0}'),
}
ATTACKS: dict[str, Callable[[MeasuredDaemon, int], Steps]] = {
    **{name: partial(asking, path) for name, path in ASKED.items()},
    **{name: partial(reading, f"/api/v1/{path}") for name, path in READ.items()},
    "console_log": partial(reading, "/console_log/UUID"),
    "pages": pages,
    "viewers": viewers,
    **{f"frames, {name}": partial(frames, piece) for name, piece in FRAMES.items()},
    "heads": heads,
    "pipelines": pipelines,
}
