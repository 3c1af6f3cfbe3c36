"""An SFTP client, packet by packet."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from twisted.conch.ssh.common import NS, getNS

from tests.support.ssh import DATA, RemoteChannel, SSHWorld

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = range(1, 13)


REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(13, 21)


STATUS, HANDLE, SENT, NAME, ATTRS = range(101, 106)


EXTENDED = 200


OK, END, NO_SUCH_FILE, DENIED, FAILED, BAD_MESSAGE, NO_CONNECTION, LOST, UNSUPPORTED = range(9)


NO_ATTRS = struct.pack(">L", 0)


def packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">LB", len(body) + 1, kind) + body


class Session:
    """An SFTP client that says each packet."""

    def __init__(self, w: SSHWorld, user: str = "alice", greet: bool = True, **options: Any) -> None:
        self.channel: RemoteChannel = w.login(user).open(**options)
        self.channel.request(b"subsystem", NS(b"sftp"))
        self._number = 0
        if greet:
            self.say(INIT, struct.pack(">L", 3))
            assert self.answers() == [(VERSION, struct.pack(">L", 3))]

    def say(self, kind: int, body: bytes) -> None:
        self.raw(packet(kind, body))

    def raw(self, data: bytes) -> None:
        for at in range(0, len(data), 32_000):
            self.channel.send(DATA, NS(data[at : at + 32_000]))

    def answers(self) -> list[tuple[int, bytes]]:
        """The packets that came since the last look."""
        self.channel.client.pump()
        data = self.channel.out
        self.channel.clear()
        found: list[Any] = []
        while data:
            (length,) = struct.unpack_from(">L", data)
            assert len(data) >= 4 + length, "a packet that is not whole"
            found.append((data[4], data[5 : 4 + length]))
            data = data[4 + length :]
        return found

    def request(self, kind: int, body: bytes) -> bytes:
        """A whole request packet."""
        self._number += 1
        return packet(kind, struct.pack(">L", self._number) + body)

    def ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """Ask; the answer must be one, and to this."""
        self.raw(self.request(kind, body))
        ((answer, rest),) = self.answers()
        assert rest[:4] == struct.pack(">L", self._number)
        return answer, rest[4:]

    def status(self, kind: int, body: bytes) -> int:
        answer, rest = self.ask(kind, body)
        assert answer == STATUS
        return int.from_bytes(rest[:4], "big")

    def open(self, name: str, flags: int = 1) -> bytes:
        answer, rest = self.ask(OPEN, NS(name.encode()) + struct.pack(">L", flags) + NO_ATTRS)
        assert answer == HANDLE, rest
        return getNS(rest)[0]

    def cannot_open(self, name: str | bytes, flags: int = 1) -> int:
        name = name.encode() if isinstance(name, str) else name
        return self.status(OPEN, NS(name) + struct.pack(">L", flags) + NO_ATTRS)

    def read(self, handle: bytes, offset: int = 0, size: int = 32_768) -> bytes | int:
        answer, rest = self.ask(READ, NS(handle) + struct.pack(">QL", offset, size))
        return getNS(rest)[0] if answer == SENT else int.from_bytes(rest[:4], "big")

    def fetch(self, name: str) -> bytes:
        handle, data = self.open(name), b""
        while isinstance(piece := self.read(handle, len(data)), bytes):
            data += piece
        assert piece == END
        assert self.status(CLOSE, NS(handle)) == OK
        return data

    def size(self, name: str) -> int:
        answer, rest = self.ask(STAT, NS(name.encode()))
        assert answer == ATTRS, rest
        return int(struct.unpack(">LQ", rest[:12])[1])

    def listing(self) -> dict[str, int]:
        """Names and sizes."""
        answer, rest = self.ask(OPENDIR, NS(b"/"))
        assert answer == HANDLE
        handle = getNS(rest)[0]
        found: dict[str, int] = {}
        while True:
            answer, rest = self.ask(READDIR, NS(handle))
            if answer == STATUS:
                assert rest[:4] == struct.pack(">L", END)
                assert self.status(CLOSE, NS(handle)) == OK
                return found
            assert len(rest) < 64 * 1024
            (count,) = struct.unpack(">L", rest[:4])
            rest = rest[4:]
            for _ in range(count):
                name, line, rest = getNS(rest, 2)
                flags, size = struct.unpack(">LQ", rest[:12])
                assert flags == 0x1 | 0x4 | 0x8
                assert name in line
                assert name.decode() not in found
                found[name.decode()] = size
                rest = rest[12 + 4 + 8 :]
            assert rest == b""


@pytest.fixture
def sftp(w: SSHWorld) -> Session:
    """A session, and web01 with something in its log."""
    w.vm()
    w.console().feed(b"hello\n")
    w.settle()
    return Session(w)
