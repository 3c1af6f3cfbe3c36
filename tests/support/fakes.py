"""What stands in for threads, connections, viewers, the disk and the process's own log: one fake of each.

They write down what they are told. A test asks them afterwards.
"""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from vmproxy.access.idle_times import NO_LIMITS, IdleTimes
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IRemoteEnd, IViewer
from vmproxy.console.notices import Notice
from vmproxy.log.writer import LogWriter

N = TypeVar("N", bound=Notice)

EPOCH = 1_700_000_000.0
VM_A = UUID("01234567-89ab-cdef-fedc-ba9800000000")
VM_B = UUID("5028a5bc-1111-2222-3333-444455556666")
VM_C = UUID("50c0ffee-aaaa-bbbb-cccc-ddddeeeeffff")


def at_once(job: Callable[[], object]) -> None:
    """Do a job of the log writer here and now."""
    job()


class InlineRunner:
    """The log writer's thread, without a thread: a job is done at once, or, while ``held``, when the test says so."""

    def __init__(self, writer: LogWriter, held: bool = False) -> None:
        self.writer = writer
        self.held = held
        self.jobs: list[Callable[[], object]] = []
        writer.lines.wake_with(self._make_lines)

    def _make_lines(self) -> None:
        while self.writer.lines.wait() == 0:
            self.writer.lines.work()

    def start(self) -> None: ...

    def submit(self, job: Callable[[], object]) -> None:
        self.jobs.append(job)
        if not self.held:
            self.go_on()

    def stop(self, done: Callable[[], object]) -> None:
        def last() -> None:
            self.writer.close()
            done()

        self.submit(last)

    def release(self) -> None:
        self.held = False
        self.go_on()

    def go_on(self, jobs: int = 1_000_000) -> None:
        """Do the jobs that wait, or the first of them."""
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


class FakeLink:
    """A connection from a host.

    :ivar more_to_come: whether retiring takes a while.
    """

    def __init__(self, peer: str = "10.0.0.1", ready: bool = True) -> None:
        self.peer = peer
        self.ready = ready
        self.encrypted = False
        self.written = b""
        self.calls: list[str] = []
        self.held: list[bool] = []
        self.under_way: Callable[[], object] | None = None
        self.console: Console | None = None
        self.more_to_come = False
        self.done: Callable[[], None] | None = None

    @property
    def breaks(self) -> int:
        return self.calls.count("break")

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

    def release(self, reason: str) -> int:
        self.calls.append("release")
        return 0

    def close(self, reason: str) -> None:
        self.calls.append("close")

    def hold_output(self, on: bool) -> None:
        self.held.append(on)


@implementer(IViewer)
class FakeViewer:
    """Somebody at a console."""

    def __init__(self, who: str = "alice@10.1.2.9", at: float = EPOCH, front: str = "ssh") -> None:
        self.who = who
        self.front = front
        self.since = self.last_input = at
        self.skipped = 0
        self.seen = b""
        self.notices: list[Notice] = []
        self.holds: list[bool] = []
        self.calls: list[str] = []
        self.idle: IdleTimes | None = NO_LIMITS

    def output(self, data: bytes) -> None:
        self.seen += data

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    def hold_input(self, on: bool) -> None:
        self.holds.append(on)

    def idle_times(self) -> IdleTimes | None:
        return self.idle

    def rules_changed(self) -> None:
        self.calls.append("rules changed")

    @property
    def held(self) -> bool:
        return bool(self.holds) and self.holds[-1]

    def told(self, kind: type[N]) -> list[N]:
        return [notice for notice in self.notices if isinstance(notice, kind)]


def one_turn(clock: Clock) -> None:
    """Make the calls that are due, and not those that they ask for: these come in the next turn of a reactor."""
    now = clock.seconds()
    due = [call for call in clock.calls if call.getTime() <= now]
    clock.calls = [call for call in clock.calls if call.getTime() > now]
    for call in due:
        call.called = 1
        call.func(*call.args, **call.kw)


@implementer(IRemoteEnd)
class FakeRemoteEnd(FakeViewer):
    """The remote end of a VM of direction "client"."""

    def __init__(self, place: str = "tcp://far:1", address: str = "10.1.2.4", since: float = EPOCH) -> None:
        super().__init__(place, since, "far-end")
        self.place = place
        self.address = address
        self.state, self.reason, self.again = "up", "", 0.0

    def hang_up(self, reason: str) -> None:
        self.calls.append("hang up")


class Logged(list[str]):
    """The lines of the process's own log, from ``with Logged() as lines`` or the fixture ``logged``."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[LogEvent] = []

    def __enter__(self) -> Logged:
        globalLogPublisher.addObserver(self._observe)  # type: ignore[arg-type]  # any callable will do
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        globalLogPublisher.removeObserver(self._observe)  # type: ignore[arg-type]  # as above

    def _observe(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.append(formatEvent(event))

    @property
    def tracebacks(self) -> list[str]:
        """Events that carry a failure: noise that a client must not be able to make."""
        gc.collect()  # a Deferred's unhandled error is logged when it is collected
        return [
            formatEvent(e) + str(e["log_failure"].value) for e in self.events if e.get("log_failure") is not None
        ] + [formatEvent(e) for e in self.events if e["log_level"] is LogLevel.critical and "log_failure" not in e]

    @property
    def size(self) -> int:
        """Bytes that would have been written above the debug level."""
        return sum(len(formatEvent(e)) for e in self.events if e["log_level"] > LogLevel.debug)
