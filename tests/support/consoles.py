"""Consoles, their logs and the directory, without sockets, without a thread, on a clock that a test moves.

:class:`World` holds the real parts. Around them stand a link, a viewer and a listener that write down what they are
told, runners that do the scribe's jobs at once or when the test lets them, and a disk that can be full.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.console.journal import Journal
from vmproxy.console.migration import Migrations
from vmproxy.console.notices import Notice
from vmproxy.console.registry import Directory, Identity
from vmproxy.log.audit import Audit
from vmproxy.log.store import ConsoleLog, LogStore
from vmproxy.log.writer import Scribe

EPOCH = 1_700_000_000.0
VM_A = UUID("01234567-89ab-cdef-fedc-ba9800000000")
VM_B = UUID("5028a5bc-1111-2222-3333-444455556666")
VM_C = UUID("50c0ffee-aaaa-bbbb-cccc-ddddeeeeffff")

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


class InlineRunner:
    """The scribe's thread, without a thread: a job is done at once."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe

    def start(self) -> None: ...

    def submit(self, job: Callable[[], object]) -> None:
        job()

    def stop(self, done: Callable[[], object]) -> None:
        self.scribe.close()
        done()


class HungRunner(InlineRunner):
    """A disk that hangs: jobs wait until the test lets them."""

    def __init__(self, scribe: Scribe) -> None:
        super().__init__(scribe)
        self.jobs: list[Callable[[], object]] = []

    def submit(self, job: Callable[[], object]) -> None:
        self.jobs.append(job)

    def stop(self, done: Callable[[], object]) -> None:
        def last() -> None:
            self.scribe.close()
            done()

        self.jobs.append(last)

    def go_on(self, jobs: int = 1_000_000) -> None:
        while self.jobs and jobs:
            self.jobs.pop(0)()
            jobs -= 1


class Disk:
    """Stands before ``os.write`` and runs full when the test says so.

    :ivar room: how many bytes still fit; None for any number.
    :ivar refuse: which files it holds for, by path.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.error = errno.ENOSPC
        self.refuse: Callable[[str], bool] = lambda path: True
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if self.room is None or ".log" not in path or not self.refuse(path):
            return self._write(fd, data)
        if not self.room and data:
            raise OSError(self.error, os.strerror(self.error))
        written = self._write(fd, data[: self.room])
        self.room -= written
        return written


class Listener:
    """Who is told how a log fares."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def log_failed(self, reason: str) -> None:
        self.told.append(("failed", reason))

    def log_recovered(self, lost: int) -> None:
        self.told.append(("recovered", lost))

    def log_congested(self, on: bool) -> None:
        self.told.append(("congested", on))


class Link:
    """A connection from a host."""

    def __init__(self, peer: str = "10.0.0.1", ready: bool = True) -> None:
        self.peer = peer
        self.ready = ready
        self.encrypted = False
        self.written = b""
        self.calls: list[str] = []
        self.held: list[bool] = []
        self.under_way: Callable[[], object] | None = None
        self.console: Console | None = None
        self.more_to_come = False  # whether retiring takes a while
        self.done: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        assert self.ready, "written to while it takes nothing"
        self.written += data

    def send_break(self) -> None:
        self.calls.append("break")

    def serve(self, console: Console) -> None:
        self.console = console
        self.calls.append("serve")

    def drain(self) -> None:
        self.calls.append("drain")
        if self.under_way is not None:
            self.under_way()

    def wait(self, console: Console) -> None:
        self.console = console
        self.calls.append("wait")

    def retire(self, done: Callable[[], None]) -> None:
        self.calls.append("retire")
        if not self.more_to_come:
            done()
        self.done = done

    def release(self) -> int:
        self.calls.append("release")
        return 0

    def close(self, reason: str) -> None:
        self.calls.append("close")

    def hold_output(self, on: bool) -> None:
        self.held.append(on)


@implementer(IViewer)
class Viewer:
    """Somebody at a console."""

    def __init__(self, who: str = "alice@10.1.2.9") -> None:
        self.who = who
        self.since = self.last_input = EPOCH
        self.skipped = 0
        self.seen = b""
        self.notices: list[Notice] = []
        self.holds: list[bool] = []
        self.calls: list[str] = []

    def output(self, data: bytes) -> None:
        self.seen += data

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    def hold_input(self, on: bool) -> None:
        self.holds.append(on)

    def rules_changed(self) -> None:
        self.calls.append("rules changed")

    @property
    def held(self) -> bool:
        return bool(self.holds) and self.holds[-1]

    def told(self, kind: type[Notice]) -> list[Notice]:
        return [notice for notice in self.notices if isinstance(notice, kind)]


class World:
    """The directory and all below it."""

    def __init__(
        self,
        folder: Path,
        template: str = "{uuid}.log",
        open_files: int = 64,
        runner: type[InlineRunner] = InlineRunner,
    ) -> None:
        self.folder = folder
        self.clock = Clock()
        self.clock.advance(EPOCH)
        self.scribe = Scribe(open_files, self.clock.seconds)
        self.runner = runner(self.scribe)
        self.inputs = Audit(folder / "state" / "input.jsonl", self.runner.submit, self.clock)
        self.store = LogStore(folder / "logs", self.clock, self.runner, lambda call: call(), self.inputs)
        self.journal = Journal(folder / "state" / "consoles.jsonl", self.runner.submit)
        secrets = iter(range(1, 1_000_000))
        self.migrations = Migrations(self.clock, 60, lambda: next(secrets).to_bytes(8, "big"))
        self.directory = Directory(self.clock, self.store, self.journal, self.migrations, template)
        self.loaded = self.directory.load()

    @property
    def hung(self) -> HungRunner:
        assert isinstance(self.runner, HungRunner)
        return self.runner

    def claim(
        self,
        name: str = "web01",
        uuid: UUID = VM_A,
        port: str | None = None,
        uri: str = "vmproxy",
        link: Link | None = None,
    ) -> Console:
        """A connection of a VM has identified itself."""
        return self.directory.claim(Identity(uuid, port, uri, name), link or Link())

    def lose(self, console: Console, reason: str = "connection lost") -> None:
        """The console's connection is gone."""
        assert isinstance(console.link, Link)
        self.directory.lost(console, console.link, reason)

    def log(self, relative: str = "vm.log") -> ConsoleLog:
        """A log that belongs to no console."""
        return self.store.open(relative)

    def tick(self, seconds: float) -> None:
        """Time passes, for the reactor and then for the scribe."""
        self.clock.advance(seconds)
        self.scribe.tick()

    def restarted(self, template: str = "{uuid}.log") -> World:
        """What a new process finds in the same folder."""
        self.store.flush()
        self.scribe.close()
        return World(self.folder, template)


def trail(log: ConsoleLog, *kinds: str) -> list[dict[str, object]]:
    """The event trail without its format lines, or what of it is of these kinds. Every line must be whole."""
    path = Path(log.file.trail_path)
    data = path.read_bytes() if path.exists() else b""
    assert not data or data.endswith(b"\n"), "a torn line"
    events = [json.loads(line) for line in data.splitlines()]
    return [e for e in events if (e["event"] in kinds if kinds else e["event"] != "format")]


@contextmanager
def process_log() -> Iterator[list[str]]:
    """What the process's own log says, line by line."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)
