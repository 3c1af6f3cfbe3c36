"""Reading over HTTP from a real daemon: rotation, slow clients, clients that go, and the processor they cost."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import ROOT, Daemon, eventually
from tests.support.host import FakeVM
from tests.support.requirements import require
from tests.support.web_daemon import token_of, web_settings
from vmproxy.operators.readings import READINGS_PER_OPERATOR

SIZE = 64 * 1024  # of a file of the log
LOG = "/api/v1/consoles/web01/log"
GROWTH = 24 * 1024 * 1024


class Reader:
    """A client of the daemon's API."""

    def __init__(self, daemon: Daemon, token: str) -> None:
        self._daemon = daemon
        self.token = token

    def open(
        self, path: str, window: int = 0, **headers: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A request, and the head of its answer.

        :param window: how much the socket takes of what nobody reads; 0: as usual, which may be megabytes.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.web_port, timeout=60)
        if window:
            connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}", **named})
        return connection, connection.getresponse()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection, answer = self.open(path, 0, **headers)
        try:
            body = answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body
        finally:
            connection.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Daemon]:
    """A daemon for all of this, whose logs are put aside often."""
    settings = web_settings(keys).replace("[ssh]", f'[log]\nrotate-size = "{SIZE}"\nkeep = 60\n[ssh]')
    daemon = Daemon(tmp_path_factory.mktemp("reading") / "daemon", keys, settings)
    daemon.start()
    yield daemon
    if daemon.running:
        daemon.stop(signal.SIGTERM)
    assert "Traceback" not in daemon.said(), daemon.said()


@pytest.fixture(scope="module")
def reader(daemon: Daemon) -> Reader:
    return Reader(daemon, token_of(daemon))


@pytest.fixture
def vm(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[FakeVM]:
    vm = FakeVM(daemon.vm_port, "web01").connect()
    yield vm
    vm.close()


def said(vm: FakeVM, first: int, count: int) -> bytes:
    """The VM says numbered lines."""
    data = b"".join(b"line %07d %s\n" % (number, b"." * 80) for number in range(first, first + count))
    vm.connected.say(data)
    return data


def events_of(answer: http.client.HTTPResponse, size: int) -> tuple[bytes, str]:
    """Output as events, until so many bytes have come; and the last id."""
    data, last, fields = b"", "", dict[str, str]()
    while len(data) < size:
        line = answer.readline().decode().rstrip("\n")
        assert line or fields, "the stream has ended"
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if fields.get("event") == "output":
                data += base64.b64decode(fields["data"])
                last = fields["id"]
            fields = {}
    return data, last


def resident(daemon: Daemon) -> int:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_what_is_followed_is_every_byte_across_rotation_and_requests(daemon: Daemon, reader: Reader) -> None:
    vm, path = FakeVM(daemon.vm_port, "web02").connect(), "/api/v1/consoles/web02"  # whose log is empty
    before = said(vm, 0, 500)
    eventually(lambda: len(reader.get(f"{path}/log")[2]) == len(before), "the log has it")
    raw_connection, raw = reader.open(f"{path}/log?follow=1")
    connection, events = reader.open(f"{path}/log?follow=1", Accept="text/event-stream")
    got, last = events_of(events, len(before))
    everything = before
    for part in range(1, 6):
        everything += said(vm, part * 1000, 1000)
        if part == 3:
            connection.close()  # and goes on with what it had
            connection, events = reader.open(f"{path}/log?follow=1", Accept="text/event-stream", Last_Event_ID=last)
        more, last = events_of(events, len(everything) - len(got) if part % 2 else 30_000)
        got += more
    more, last = events_of(events, len(everything) - len(got)) if len(got) < len(everything) else (b"", last)
    assert got + more == everything
    assert raw.read(len(everything)) == everything
    status, headers, rest = reader.get(f"{path}/log?from={last}")
    assert (status, rest, headers["vmproxy-cursor"]) == (200, b"", last)
    raw_connection.close()
    connection.close()

    def whole() -> bytes:
        items = json.loads(reader.get(f"{path}/segments")[2])["items"]
        assert len(items) > 5
        return b"".join(reader.get(f"{path}/segments/{one['segment']}")[2] for one in reversed(items))

    eventually(lambda: whole() == everything, "its files have all of it")  # the last may be put aside between two looks
    status, headers, part_of = reader.get(f"{path}/segments/2", Range="bytes=100-199")
    whole_two = reader.get(f"{path}/segments/2")[2]
    assert (status, part_of) == (206, whole_two[100:200])
    eventually(lambda: _watchers(reader) == [], "nobody is on the console")
    vm.close()


def _watchers(reader: Reader) -> list[Any]:
    return [one for one in json.loads(reader.get("/api/v1/sessions")[2])["items"] if one["console"]]


def test_a_client_that_does_not_read_costs_no_memory_and_nobody_anything(
    daemon: Daemon, reader: Reader, vm: FakeVM
) -> None:
    slow = socket.create_connection(("127.0.0.1", daemon.web_port))
    request = f"GET {LOG}?follow=1&lines=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {reader.token}\r\n\r\n"
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(request.replace("127.0.0.1\r\n", f"127.0.0.1:{daemon.web_port}\r\n", 1).encode())
    eventually(lambda: _watchers(reader), "it is on the console")
    before = resident(daemon)
    start = int(json.loads(reader.get("/api/v1/consoles/web01")[2])["bytes_out"])
    size = 0
    for part in range(20):
        size += len(said(vm, 100_000 + part * 10_000, 10_000))
    eventually(
        lambda: json.loads(reader.get("/api/v1/consoles/web01")[2])["bytes_out"] == start + size, "the VM was heard"
    )
    assert resident(daemon) - before < GROWTH
    slow.close()
    eventually(lambda: _watchers(reader) == [], "it is gone")


def test_clients_that_go_give_their_places_back(daemon: Daemon, reader: Reader, vm: FakeVM) -> None:
    said(vm, 0, 40_000)
    eventually(lambda: b"line 0039999" in reader.get(f"{LOG}?lines=2")[2], "the log has it")
    held = [reader.open(LOG, window=2048)[0] for _ in range(READINGS_PER_OPERATOR)]
    status, headers, body = reader.get(LOG)
    assert (status, headers["retry-after"]) == (429, "5"), body
    for connection in held:
        connection.close()
    eventually(lambda: reader.get(f"{LOG}?lines=1")[0] == 200, "there is a place again")
    assert daemon.audited("log-read", count=1)[-1]["front"] == "api"


def examples() -> list[str]:
    """The commands in the description of the API."""
    text = (ROOT / "docs" / "api.rst").read_text("utf-8")
    blocks = re.findall(r"^\.\. code-block:: sh\n\n((?:   .*\n)+)", text, re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines()]


def test_the_examples_of_the_description_work(daemon: Daemon, reader: Reader, vm: FakeVM, tmp_path: Path) -> None:
    require("curl")
    said(vm, 0, 30)
    eventually(lambda: b"line 0000029" in reader.get(f"{LOG}?lines=2")[2], "the log has it")
    api = f"http://127.0.0.1:{daemon.web_port}/api/v1"
    variables = {**os.environ, "API": api, "AUTH": f"Authorization: Bearer {reader.token}"}
    commands = examples()
    assert len(commands) > 15
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command.replace("curl ", "curl -f ")],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout or " -o " in command or "from=" in command or "follow" in command, command
    assert (tmp_path / "web01.cast").read_text().startswith('{"version": 2')
    assert b"line 0000029" in (tmp_path / "web01.log.0").read_bytes()
    assert "line 0000029" in (tmp_path / "web01.txt").read_text()
