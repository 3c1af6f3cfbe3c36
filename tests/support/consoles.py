"""Consoles, their logs and the directory, without sockets, without a thread, on a clock that a test moves.

:class:`World` holds the real parts among the fakes of :mod:`tests.support.fakes`; the worlds of the fronts extend it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from twisted.internet.task import Clock

from tests.support.fakes import EPOCH, VM_A, FakeLink, InlineRunner
from vmproxy.console.console import Console
from vmproxy.console.journal import Journal
from vmproxy.console.migrations import Migrations
from vmproxy.console.registry import ConsoleIdentity, ConsoleRegistry
from vmproxy.log.audit import Audit
from vmproxy.log.store import ConsoleLog, LogStore
from vmproxy.log.writer import LogWriter

HOSTILE_NAMES = (
    "../x",
    "../../../../etc/cron.d/x",
    "/etc/passwd",
    "..",
    ".",
    "a\nb",
    "a\r\nb",
    "a\0b",
    "\x1b[31;1mred\x1b]0;title\x07",
    "\x9b31m",
    "x" * 10_000,
    "ä" * 10_000,
    "../" * 4_000,
    b"caf\xe9\xff".decode("utf-8", "backslashreplace"),
    b"caf\xe9\xff".decode("utf-8", "surrogateescape"),
    "‮gnp.exe",
    "\u2028\u2029\x85",
    "-rf",
    "$(reboot); `reboot` | 'x' \"y\" %n {uuid}",
    "~",
    " ",
    "\U0001f4a9",
)

HOSTILE = [pytest.param(name, id=ascii(name)[1:20]) for name in HOSTILE_NAMES]


class World:
    """The directory and all below it.

    :param held: whether the log writer waits until the test says so.
    :param secret: makes the secrets of migrations.
    """

    def __init__(
        self,
        folder: Path,
        template: str = "{uuid}.log",
        open_files: int = 64,
        held: bool = False,
        secret: Callable[[], bytes] | None = None,
    ) -> None:
        self.folder = folder
        self.clock = Clock()
        self.clock.advance(EPOCH)
        self.writer = LogWriter(open_files, self.clock.seconds)
        self.runner = InlineRunner(self.writer, held)
        self.inputs = Audit(folder / "state" / "input.jsonl", self.runner.submit, self.clock)
        self.store = LogStore(folder / "logs", self.clock, self.runner, lambda call: call(), self.inputs)
        self.journal = Journal(folder / "state" / "consoles.jsonl", self.runner.submit)
        secrets = count(1)
        self.migrations = Migrations(self.clock, 60, secret or (lambda: next(secrets).to_bytes(8, "big")))
        self.directory = ConsoleRegistry(self.clock, self.store, self.journal, self.migrations, template)
        self.loaded = self.directory.load()

    def stop(self) -> None:
        self.check_totals()
        self.writer.close()

    def check_totals(self) -> None:
        """What is counted as it changes must be what one finds who looks: at the end of every test of a world."""
        totals, consoles = self.directory.totals, list(self.directory)
        assert totals.states(len(consoles)) == {
            state: sum(console.state == state for console in consoles) for state in ("up", "down", "migrating")
        }
        assert totals.off == sum(not console.logging for console in consoles)
        assert totals.held == sum(console.undelivered for console in consoles)
        assert set(totals.watched) == {console.viewers for console in consoles if console.watchers}

    def claim(
        self,
        name: str = "web01",
        uuid: UUID = VM_A,
        port: str | None = None,
        uri: str = "vmproxy",
        link: FakeLink | None = None,
    ) -> Console:
        """A connection of a VM has identified itself."""
        return self.directory.claim(ConsoleIdentity(uuid, port, uri, name), link or FakeLink())

    def lose(self, console: Console, reason: str = "connection lost") -> None:
        """The console's connection is gone."""
        assert isinstance(console.link, FakeLink)
        self.directory.lost(console, console.link, reason)

    def log(self, relative: str = "vm.log") -> ConsoleLog:
        """A log that belongs to no console."""
        return self.store.open(relative)

    def tick(self, seconds: float) -> None:
        """Time passes, for the reactor and then for the writer."""
        self.clock.advance(seconds)
        self.writer.tick()

    def trail(self, console: Console, *kinds: str) -> list[dict[str, Any]]:
        """The event trail as it is on the disk now, or what of it is of these kinds."""
        self.store.flush()
        return trail(console.log, *kinds)

    @property
    def console(self) -> Console:
        """The only console."""
        (console,) = self.directory
        return console

    def restarted(self, template: str = "{uuid}.log") -> World:
        """What a new process finds in the same folder."""
        self.store.flush()
        self.writer.close()
        return World(self.folder, template)


def trail(log: ConsoleLog, *kinds: str) -> list[dict[str, Any]]:
    """The event trail without its format lines, or what of it is of these kinds. Every line must be whole."""
    path = Path(log.file.trail_path)
    data = path.read_bytes() if path.exists() else b""
    assert not data or data.endswith(b"\n"), "a torn line"
    events = [json.loads(line) for line in data.splitlines()]
    return [e for e in events if (e["event"] in kinds if kinds else e["event"] != "format")]
