"""Operators: OpenSSH clients at a console of vmproxy, plain TCP connections at the reference.

Both are a :class:`Viewer` to the modes: something that is attached, takes keys, and shows what comes.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from bench.loop import Loop
from bench.servers import Daemon, Reference

_ATTACHED = re.compile(rb"\[(attached|spy|no, )")


class Typist:
    """An operator on a terminal who types a key and waits for its echo, again and again.

    :ivar attached: whether the operator is at the console.
    :ivar times: seconds from each key to its echo.
    """

    def __init__(self, loop: Loop, server: Daemon | Reference, name: str) -> None:
        """:param name: the machine's."""
        self._loop = loop
        self._received = b""
        self._waiting = False
        self._count = 0
        self._asked = 0.0
        self.times: list[float] = []
        self._client: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        if isinstance(server, Daemon):
            command = server.ssh(name, ",replay=0", terminal=True)
            self._client = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            assert self._client.stdin is not None
            assert self._client.stdout is not None
            self._in, self._out = self._client.stdin.fileno(), self._client.stdout.fileno()
        else:
            self._socket = socket.create_connection(("127.0.0.1", server.viewer_port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._in = self._out = self._socket.fileno()
        self._set_blocking()
        loop.watch(self._out, self._readable)

    def _set_blocking(self) -> None:
        os.set_blocking(self._out, False)

    @property
    def attached(self) -> bool:
        return self._socket is not None or _ATTACHED.search(self._received) is not None

    @property
    def said(self) -> bytes:
        """What has been shown last."""
        return self._received[-1000:]

    def type(self) -> None:
        """Type the next key."""
        self._key = b"%c" % (97 + self._count % 26)
        self._count += 1
        self._waiting = True
        self._received = b""
        self._asked = time.perf_counter()
        os.write(self._in, self._key)

    @property
    def waiting(self) -> bool:
        """Whether an echo is still to come."""
        return self._waiting

    def _readable(self, _events: int) -> None:
        now = time.perf_counter()
        try:
            data = os.read(self._out, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.forget(self._out)
            return
        self._received += data
        if self._waiting and self._received.endswith(self._key):
            self._waiting = False
            self.times.append(now - self._asked)

    def close(self) -> None:
        """Leave."""
        self._loop.forget(self._out)
        if self._socket is not None:
            self._socket.close()
        if self._client is not None:
            end(self._client)


class SSHViewer:
    """An OpenSSH client that is read-only; its output goes to a file.

    :ivar path: the file.
    """

    def __init__(self, daemon: Daemon, name: str, path: Path, options: str = ",ro,replay=0,quiet") -> None:
        self.path = path
        self._errors = path.with_suffix(".err")
        self.began = time.perf_counter()
        with path.open("wb") as out, self._errors.open("wb") as err:
            self.process = subprocess.Popen(daemon.ssh(name, options), stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    @property
    def attached(self) -> bool:
        """Whether it is at the console."""
        return _ATTACHED.search(self._errors.read_bytes()) is not None

    @property
    def received(self) -> int:
        """How many bytes it has shown."""
        return self.path.stat().st_size

    @property
    def notices(self) -> str:
        """What it was told beside the machine's output."""
        return self._errors.read_text(errors="replace")

    def contents(self) -> bytes:
        """What it has shown."""
        return self.path.read_bytes()

    def halt(self) -> None:
        """Stop reading."""
        self.process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """Leave."""
        end(self.process)


class TailViewer:
    """An OpenSSH client that shows the lines of all machines as they come; its output goes to a file."""

    def __init__(self, daemon: Daemon, path: Path) -> None:
        self._errors = path.with_suffix(".err")
        self._file = path.open("w+b")
        self._reader = path.open("rb")
        self._lines = 0
        with self._errors.open("wb") as err:
            command = [*daemon.ssh(""), "tail"]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._file, stderr=err)

    @property
    def attached(self) -> bool:
        """Whether it has begun."""
        return b"consoles --]" in self._errors.read_bytes()

    @property
    def lines(self) -> int:
        """How many lines it has shown."""
        while data := self._reader.read(1 << 20):
            self._lines += data.count(b"\n")
        return self._lines

    def close(self) -> None:
        """Leave."""
        end(self._process)
        self._file.close()
        self._reader.close()


class PlainViewer:
    """A plain, read-only TCP connection to the reference."""

    def __init__(self, loop: Loop, reference: Reference, path: Path) -> None:
        self._loop = loop
        self._file: BinaryIO = path.open("w+b", buffering=0)
        self._socket = socket.create_connection(("127.0.0.1", reference.viewer_port))
        self._socket.setblocking(False)
        self.attached = True
        self.received = 0
        self.notices = ""
        loop.watch(self._socket.fileno(), self._readable)

    def _readable(self, _events: int) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.forget(self._socket.fileno())
            return
        self._file.write(data)
        self.received += len(data)

    def contents(self) -> bytes:
        """What it has shown."""
        self._file.seek(0)
        return self._file.read()

    def halt(self) -> None:
        """Stop reading."""
        self._loop.forget(self._socket.fileno())

    def close(self) -> None:
        """Leave."""
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._file.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a client, stopped or not, and have it gone."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def attach_all(
    loop: Loop, count: int, make: Callable[[int], SSHViewer | PlainViewer], made: list[SSHViewer | PlainViewer]
) -> bool:
    """Attach viewers, a few at a time.

    :param made: is filled with them, so that they can be closed whatever happens.
    :returns: whether all got to the console.
    """
    for number in range(count):
        made.append(make(number))
        if not loop.run(lambda: sum(not viewer.attached for viewer in made[-8:]) < 4, 30):
            return False
    return loop.run(lambda: all(viewer.attached for viewer in made[-8:]), 30) and all(v.attached for v in made)
