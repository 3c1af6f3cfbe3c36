"""What is counted of all logs together."""

from __future__ import annotations

import pytest

from tests.support.consoles import World
from tests.support.fakes import Disk
from vmproxy.log.audit import WAITING_LIMIT, Audit


def test_what_vms_say_is_counted_recorded_or_not_and_though_its_log_is_forgotten(world: World) -> None:
    first, second = world.log("a.log"), world.log("b.log")
    first.append(b"one")
    second.pass_over(20)
    second.gap(300, "it came too early")
    world.tick(0.1)
    assert (world.store.received, world.store.dropped, world.writer.written) == (323, 300, 3)
    assert sum(world.writer.durations.counts) == 2
    world.store.forget(first, remove=True)
    first = world.log("a.log")
    first.append(b"more")
    world.tick(0.1)
    assert (world.store.received, world.writer.written) == (327, 7)


def test_what_the_disk_takes_in_parts_is_counted_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, log = Disk(monkeypatch), world.log()
    log.event("up")
    world.tick(0.1)
    disk.refuse = lambda path: path.endswith(".log")
    disk.room = 4
    log.append(b"123456789")
    world.tick(0.1)
    assert (world.writer.written, world.writer.retry.failing, world.writer.retry.waiting) == (4, 1, 5)
    disk.room = None
    world.tick(2)
    assert (world.writer.written, world.writer.retry.failing, world.writer.retry.waiting) == (9, 0, 0)
    assert world.writer.open_files > 0


def test_lines_that_wait_for_the_audit_trail_and_those_that_are_lost(world: World) -> None:
    jobs: list[object] = []
    audit = Audit(world.folder / "audit.jsonl", jobs.append, world.clock)
    for _ in range(WAITING_LIMIT + 3):
        audit.record("login")
    assert (audit.waiting, audit.lost) == (WAITING_LIMIT, 3)
    audit.write()
    assert (audit.waiting, audit.lost) == (0, 3)
