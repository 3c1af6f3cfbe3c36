"""The menu as a person has it: on a terminal, through the real front, a key at a time."""

from __future__ import annotations

import re
import struct
from typing import Any
from uuid import UUID

from twisted.conch.ssh.common import NS

from tests.support.fakes import FakeLink
from tests.support.ssh import RemoteChannel, SSHWorld
from tests.support.terminal import Terminal
from vmproxy.operators.terminal.menu import Menu

UP, DOWN, PAGE_DOWN, END = b"\x1b[A", b"\x1b[B", b"\x1b[6~", b"\x1b[F"
RIGHT, INSERT = b"\x1b[C", b"\x1b[2~"


class Person:
    """Somebody at a terminal, who has just come."""

    def __init__(
        self,
        w: SSHWorld,
        size: tuple[int, int] = (80, 24),
        term: bytes = b"xterm",
        env: dict[bytes, bytes] | None = None,
        **options: Any,
    ) -> None:
        self.w = w
        self.terminal = Terminal(*size)
        self.channel: RemoteChannel = w.login().open(**options)
        self._seen = 0
        for name, value in (env or {}).items():
            self.channel.request(b"env", NS(name) + NS(value), reply=False)
        wanted = NS(term) + struct.pack(">4L", *size, 0, 0) + NS(b"")
        self.channel.request(b"pty-req", wanted, reply=False)
        self.channel.shell()
        self.look()

    def look(self) -> list[str]:
        """What is on the screen now."""
        self.channel.client.pump()
        sent = self.channel.screen
        self.terminal.feed(sent[self._seen :])
        self._seen = len(sent)
        return self.terminal.lines

    @property
    def menu(self) -> Menu:
        """The menu, of which they see the screen."""
        menu = self.channel.session.router.activity
        assert isinstance(menu, Menu)
        return menu

    def type(self, data: bytes) -> list[str]:
        self.channel.type(data)
        return self.look()

    def wait(self, seconds: float = 1.0) -> list[str]:
        self.w.clock.advance(seconds)
        return self.look()

    def resize(self, width: int, height: int) -> list[str]:
        self.terminal.resize(width, height)
        size = struct.pack(">4L", width, height, 0, 0)
        self.channel.request(b"window-change", size, reply=False)
        return self.look()

    @property
    def names(self) -> list[str]:
        """The first words of the lines with consoles, which all have a state."""
        return [line[1:].split()[0] for line in self.terminal.lines[2:-1] if " up " in line or " down " in line]

    @property
    def top(self) -> str:
        """The first line without the place in the list."""
        return re.sub(r" +[\d,]+/[\d,]+$", "", self.terminal.lines[0])

    @property
    def chosen(self) -> str:
        (line,) = [line for line in self.terminal.lines if line.startswith(">")]
        return line[1:].split()[0]

    @property
    def bytes_since(self) -> int:
        """How much has come since :meth:`look`."""
        self.channel.client.pump()
        return len(self.channel.screen) - self._seen


def vms(w: SSHWorld, *names: str) -> list[FakeLink]:
    return [w.vm(name, UUID(int=(n + 1) << 64)) for n, name in enumerate(names)]
