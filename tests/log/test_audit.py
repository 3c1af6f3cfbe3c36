"""The audit trail: whole lines, in order, and what happens when they cannot be written."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.support.fakes import EPOCH, Logged
from vmproxy.log import audit as module
from vmproxy.log.audit import Audit


class Jobs:
    """The writer's thread, that works when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], object]] = []

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def audit(tmp_path: Path, jobs: Jobs) -> Audit:
    clock = Clock()
    clock.advance(EPOCH)
    return Audit(tmp_path / "new" / "audit.jsonl", jobs.jobs.append, clock)


def lines(audit: Audit) -> list[dict[str, object]]:
    return [json.loads(line) for line in audit.path.read_text().splitlines()]


def test_a_line_for_each_event_in_one_batch(audit: Audit, jobs: Jobs) -> None:
    audit.record("login", who="alice", **{"from": "10.1.2.3"})
    audit.record("attach", who="alice", console="web\n\x1b01")
    assert len(jobs.jobs) == 1
    jobs.run()
    assert lines(audit) == [
        {"at": "2023-11-14T22:13:20.000Z", "event": "login", "who": "alice", "from": "10.1.2.3"},
        {"at": "2023-11-14T22:13:20.000Z", "event": "attach", "who": "alice", "console": "web\n\x1b01"},
    ]
    assert "\x1b" not in audit.path.read_text()


def test_nobody_else_may_read_it(audit: Audit, jobs: Jobs) -> None:
    audit.record("login")
    jobs.run()
    assert audit.path.stat().st_mode & 0o007 == 0


def test_after_a_rotation_it_goes_on_in_a_new_file(audit: Audit, jobs: Jobs) -> None:
    audit.record("one")
    jobs.run()
    audit.path.rename(audit.path.with_name("old"))
    audit.record("two")
    jobs.run()
    assert [line["event"] for line in lines(audit)] == ["two"]


def test_a_torn_last_line_is_removed_and_costs_only_itself(audit: Audit, jobs: Jobs) -> None:
    audit.path.parent.mkdir()
    audit.path.write_text('{"event":"zero"}\n{"at":"2023')
    audit.record("one")
    jobs.run()
    assert [line["event"] for line in lines(audit)] == ["zero", "one"]


def test_what_cannot_be_written_is_written_later(audit: Audit, jobs: Jobs) -> None:
    audit.path.parent.write_text("a file where the folder should be")
    with Logged() as said:
        audit.record("one")
        jobs.run()
        audit.record("two")
        jobs.run()
        assert len([line for line in said if "cannot write" in line]) == 1  # told once
        audit.path.parent.unlink()
        audit.record("three")
        jobs.run()
        assert [line for line in said if "writing" in line and "again" in line]
    assert [line["event"] for line in lines(audit)] == ["one", "two", "three"]


def test_what_is_too_much_is_counted(audit: Audit, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT", 3)
    for _ in range(5):
        audit.record("x")
    jobs.run()
    assert [line["event"] for line in lines(audit)] == ["x", "x", "x", "lost"]
    assert lines(audit)[-1]["events"] == 2
    audit.record("y")
    jobs.run()
    assert [line["event"] for line in lines(audit)][4:] == ["y"]


def test_a_full_disk_leaves_no_half_line(audit: Audit, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    audit.record("one")
    jobs.run()
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
    audit.record("two")
    jobs.run()
    assert [line["event"] for line in lines(audit)] == ["one"]

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    audit.record("three")
    jobs.run()
    monkeypatch.setattr(os, "write", write)
    audit.record("four")
    jobs.run()
    assert [line["event"] for line in lines(audit)] == ["one", "two", "three", "four"]


def test_it_follows_no_link(audit: Audit, jobs: Jobs, tmp_path: Path) -> None:
    audit.path.parent.mkdir()
    (tmp_path / "elsewhere").write_text("")
    audit.path.symlink_to(tmp_path / "elsewhere")
    audit.record("one")
    jobs.run()
    assert (tmp_path / "elsewhere").read_text() == ""
