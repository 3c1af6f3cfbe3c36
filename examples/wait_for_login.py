#!/usr/bin/env python3
"""Wait until VMs ask for a login: watch many consoles at once over vmproxy's websockets.

    VMPROXY_TOKEN=vmp_... wait_for_login.py https://console.example.com web01 web02 db01

Prints each VM as it is ready. Exit status 0 when all are, 1 when the time is over, 2 when a console cannot be watched.
It needs Python 3.11 and wsproto, nothing else. The protocol is in docs/websocket.rst.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import re
import ssl
import sys
from urllib.parse import quote, urlsplit

from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

LINES = 5  # of the past that are looked at: a VM may be waiting already
LONGEST_PAUSE = 15.0
KEPT = 4096  # bytes of output in which the prompt is looked for
SEQUENCES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()*+].|[^\[])|[\x0e\x0f]")
NEVER = {4401: "the token has ended", 4403: "no right to read it", 4404: "there is no such console"}


class NotPossible(Exception):
    """A console that cannot be watched, however often it is tried."""


class Watched:
    """One console."""

    def __init__(self, server: str, token: str, name: str, prompt: re.Pattern[bytes]) -> None:
        self.name = name
        self._url = urlsplit(server)
        self._token = token
        self._prompt = prompt
        self._seen = b""
        self._cursor = ""

    async def ready(self) -> None:
        """Return when the prompt has been seen; a connection that is lost is made again, at the same place."""
        pause = 0.5
        while True:
            try:
                if await self._watch():
                    return
            except (OSError, asyncio.IncompleteReadError, ssl.SSLError) as error:
                print(f"{self.name}: {error or 'the connection is lost'}, again in {pause:.1f} s", file=sys.stderr)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _watch(self) -> bool:
        secure = self._url.scheme == "https"
        port = self._url.port or (443 if secure else 80)
        context = ssl.create_default_context() if secure else None
        reader, writer = await asyncio.open_connection(self._url.hostname, port, ssl=context)
        try:
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status in (401, 403):
                raise NotPossible(f"{self.name}: the token is not accepted")
            if status != 101:
                raise OSError(f"HTTP status {status}")
            return await self._read(reader, writer)
        finally:
            writer.close()

    def _request(self) -> bytes:
        place = f"&from={quote(self._cursor)}" if self._cursor else ""
        lines = (
            f"GET /api/v1/consoles/{quote(self.name, safe='')}/attach?mode=spy&replay={LINES}{place} HTTP/1.1",
            f"Host: {self._url.netloc}",
            f"Authorization: Bearer {self._token}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Protocol: vmproxy.v1",
        )
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        wire, text = Connection(ConnectionType.CLIENT), ""
        while data := await reader.read(65536):
            wire.receive_data(data)
            for event in wire.events():
                if isinstance(event, BytesMessage):
                    writer.write(wire.send(TextMessage(json.dumps({"type": "ack", "bytes": len(event.data)}))))
                    self._seen = (self._seen + bytes(event.data))[-KEPT:]
                    if self._prompt.search(SEQUENCES.sub(b"", self._seen)):
                        writer.write(wire.send(CloseConnection(1000)))
                        await writer.drain()
                        return True
                elif isinstance(event, TextMessage):
                    text += event.data
                    if event.message_finished:
                        self._told(json.loads(text))
                        text = ""
                elif isinstance(event, Ping):
                    writer.write(wire.send(event.response()))
                elif isinstance(event, CloseConnection):
                    if event.code in NEVER:
                        raise NotPossible(f"{self.name}: {NEVER[event.code]}")
                    raise OSError(event.reason or f"closed with {event.code}")
            await writer.drain()
        raise OSError("the connection is lost")

    def _told(self, message: dict[str, object]) -> None:
        if message["type"] == "cursor":
            self._cursor = str(message["cursor"])


async def main() -> int:
    parser = argparse.ArgumentParser(description="Wait until VMs ask for a login.")
    parser.add_argument("server", help="https://console.example.com")
    parser.add_argument("names", nargs="+", metavar="NAME", help="a console")
    parser.add_argument("--prompt", default=r"login: *$", help="a regular expression (%(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds (%(default)s)")
    args = parser.parse_args()
    prompt, token = re.compile(args.prompt.encode(), re.IGNORECASE), os.environ.get("VMPROXY_TOKEN", "")

    async def one(name: str) -> None:
        await Watched(args.server, token, name, prompt).ready()
        print(f"{name}: ready", flush=True)

    try:
        async with asyncio.timeout(args.timeout):
            await asyncio.gather(*map(one, args.names))
    except TimeoutError:
        print("the time is over", file=sys.stderr)
        return 1
    except NotPossible as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
