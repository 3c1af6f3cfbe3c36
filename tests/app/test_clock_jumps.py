"""Somebody sets the clock: what waits goes on waiting as long as it should, and what is told has the new time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock

from tests.support.fakes import at_once
from vmproxy.app.service import VMProxyService
from vmproxy.auth.limits import LoginBackoff
from vmproxy.base.clock import make_steady, wall_of
from vmproxy.base.deadlines import Deadlines
from vmproxy.config.settings import Config, load
from vmproxy.log.audit import Audit
from vmproxy.log.retry import RETRY_SECONDS
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.store import LogStore
from vmproxy.log.writer import FOLLOW_SECONDS, LogWriter
from vmproxy.vm.certificates import Credentials

HOUR = 3600.0
EPOCH = 1_700_000_000.0
JUMPS = pytest.mark.parametrize("jump", [-5 * HOUR, 5 * HOUR, -400 * 24 * HOUR])


class Wall:
    """The clock on the wall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 0.0
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.offset)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


@pytest.fixture
def reactor() -> Iterator[EPollReactor]:
    made = EPollReactor()
    yield made
    for reader in made.removeAll():
        reader.connectionLost(None)
    made._poller.close()


def run(reactor: EPollReactor) -> None:
    """One turn."""
    reactor.runUntilCurrent()


@JUMPS
def test_what_is_due_in_a_while_comes_then_and_neither_sooner_nor_later(
    wall: Wall, reactor: EPollReactor, jump: float
) -> None:
    make_steady(reactor)
    assert abs(reactor.seconds() - time.time()) < 60
    called: list[str] = []
    reactor.callLater(0.0, called.append, "now")
    reactor.callLater(HOUR, called.append, "in an hour")
    wall.offset = jump
    run(reactor)
    assert called == ["now"]
    timeout = reactor.timeout()
    assert timeout is not None
    assert HOUR - 60 < timeout <= HOUR
    assert abs(wall_of(reactor)() - time.time()) < 60


@JUMPS
def test_deadlines_of_a_steady_clock_have_their_full_time(wall: Wall, reactor: EPollReactor, jump: float) -> None:
    make_steady(reactor)
    expired: list[str] = []
    deadlines: Deadlines[str] = Deadlines(reactor, HOUR, expired.append)
    at_once: Deadlines[str] = Deadlines(reactor, 0.0, expired.append)
    deadlines.start("waits")
    wall.offset = jump
    at_once.start("due")
    run(reactor)
    assert expired == ["due"]
    deadlines.stop()


@JUMPS
def test_who_failed_to_log_in_is_neither_forgotten_nor_kept_waiting_for_hours(
    wall: Wall, reactor: EPollReactor, jump: float
) -> None:
    make_steady(reactor)
    delays = LoginBackoff(reactor)
    first = delays.failed("10.0.0.1", "bob")
    wall.offset = jump
    second = delays.failed("10.0.0.1", "bob")
    assert first < second < 60


class Split(Clock):
    """A clock that counts, and another one on the wall."""

    def __init__(self) -> None:
        super().__init__()
        self.advance(EPOCH)
        self.offset = 0.0

    def wall(self) -> float:
        return self.seconds() + self.offset


class Here:
    """Has the writer's work done at once."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer

    def start(self) -> None:
        """Nothing has to be started."""

    def submit(self, job: Callable[[], object]) -> None:
        job()

    def stop(self, done: Any) -> None:
        self.writer.close()
        done()


class Logs:
    """A log on a clock and a wall."""

    def __init__(self, folder: Path, policy: RotationPolicy | None = None) -> None:
        self.clock = Split()
        self.writer = LogWriter(16, self.clock.wall, policy)
        inputs = Audit(folder / "input.jsonl", at_once, self.clock)
        self.store = LogStore(folder, self.clock, Here(self.writer), lambda call: call(), inputs)
        self.log = self.store.open("vm.log")
        self.path = folder / "vm.log"

    def say(self, data: bytes) -> None:
        self.log.append(data)
        self.clock.advance(0.02)

    def trail(self) -> list[dict[str, object]]:
        lines = map(json.loads, (self.path.parent / "vm.log.events").read_text().splitlines())
        return [line for line in lines if line["event"] != "format"]


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path)
    yield made
    made.writer.close()


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


@JUMPS
def test_marks_and_events_have_the_new_time_at_once_and_offsets_stay_right(logs: Logs, jump: float) -> None:
    logs.say(b"before\r\n")
    logs.clock.offset = jump
    logs.say(b"after\r\n")
    logs.log.event("note", text="x")
    logs.clock.advance(0.02)
    assert logs.path.read_bytes() == b"before\r\nafter\r\n"
    told = [(str(entry["at"])[:19], entry["offset"], entry["event"]) for entry in logs.trail()]
    assert told == [
        (stamp(EPOCH), 0, "time"),
        (stamp(EPOCH + jump), 8, "time"),
        (stamp(EPOCH + jump), 15, "note"),
    ]


@JUMPS
def test_the_writer_tries_again_and_looks_again_soon(logs: Logs, tmp_path: Path, jump: float) -> None:
    logs.path.mkdir()
    logs.say(b"kept\r\n")
    assert logs.log.problem
    logs.path.rmdir()
    logs.clock.offset = jump
    due = logs.writer.next_tick()
    assert due is not None
    assert due <= RETRY_SECONDS
    logs.clock.advance(RETRY_SECONDS)
    logs.writer.tick()
    assert logs.path.read_bytes() == b"kept\r\n"
    logs.path.rename(tmp_path / "moved")
    logs.clock.offset = -jump
    logs.clock.advance(FOLLOW_SECONDS)
    logs.writer.tick()
    assert logs.path.exists()


def test_a_log_that_was_begun_when_the_clock_was_far_ahead_is_rotated_by_age_all_the_same(tmp_path: Path) -> None:
    logs = Logs(tmp_path, RotationPolicy(age=HOUR))
    logs.clock.offset = 3650 * 24 * HOUR
    logs.say(b"from the future\r\n")
    logs.clock.offset = time.time() - EPOCH  # the file's own times are real
    logs.clock.advance(2)
    logs.say(b"now\r\n")
    for age, segments in ((HOUR / 2, 0), (2 * HOUR, 1)):
        logs.clock.offset = time.time() - EPOCH + age
        for _ in range(3):
            logs.clock.advance(1000)
            logs.writer.tick()
            logs.clock.offset -= 1000
        assert len(list(tmp_path.glob("vm.log.1"))) == segments
    logs.writer.close()


@JUMPS
def test_the_audit_trail_tells_the_new_time(tmp_path: Path, jump: float) -> None:
    clock = Split()
    audit = Audit(tmp_path / "audit.jsonl", at_once, clock)
    clock.offset = jump
    audit.record("login")
    (line,) = audit.path.read_text().splitlines()
    assert json.loads(line)["at"].startswith(stamp(EPOCH + jump))


def test_what_is_good_until_some_date_is_so_by_the_wall(
    tmp_path: Path, wall: Wall, reactor: EPollReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def warnings(config: Config, credentials: Credentials | None, now: float) -> list[str]:
        seen.append(now)
        return []

    monkeypatch.setattr("vmproxy.app.vm_service.tls_warnings", warnings)
    make_steady(reactor)
    file = tmp_path / "vmproxy.toml"
    file.write_text(f"state-dir = {json.dumps(str(tmp_path))}\n")
    config = load(file, {})
    service = VMProxyService(config, reactor)
    wall.offset = 400 * 24 * HOUR
    service.vms.reconfigure(config, None)
    assert abs(seen[0] - time.time()) < 60
