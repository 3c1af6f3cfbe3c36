"""The book of alerts: bounded, with the right ones making place, and found again after a restart."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from twisted.internet.task import Clock

from tests.support.fakes import EPOCH, VM_A, VM_B, Logged, at_once
from vmproxy.alerts import book as book_module
from vmproxy.alerts.alert import LINE_LIMIT, NOTE_LIMIT, Alert, recalled
from vmproxy.alerts.book import OPEN_EACH, AlertBook
from vmproxy.alerts.watch import NAME_LIMIT, Severity
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.log.events import compact

INFO, WARNING, CRITICAL = Severity


def no_space(_fd: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Book(AlertBook):
    """A book on a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.failed: list[Callable[[], object]] = []
        super().__init__(folder / "alerts-kept.json", self.clock, at_once, self.failed.append)
        self.load()

    def new(self, uuid: UUID | None = VM_A, severity: Severity = WARNING, line: str = "text") -> Alert:
        number = self.take_number()
        console = "web01" if uuid else ""
        alert = Alert(number, EPOCH + number, "w", severity, uuid, "1" if uuid else "", console, "10.0.0.1", line)
        self.add(alert)
        return alert

    @property
    def numbers(self) -> list[int]:
        return [alert.number for alert in self]


def test_marks_are_of_what_nobody_has_acknowledged(tmp_path: Path) -> None:
    book = Book(tmp_path)
    followed: list[tuple[int, bool]] = []
    book.followers.add(lambda alert: followed.append((alert.number, alert.acknowledged is not None)))
    alert = book.new(severity=CRITICAL)
    book.new(severity=CRITICAL)
    book.new(severity=INFO)
    book.new(VM_B)
    assert book.marks((VM_A, "1")) == AlertMarks(2, 0, 1)
    assert str(book.marks((VM_A, "1"))) == "2 critical, 1 info"
    book.acknowledge(alert.acknowledge(EPOCH, "alice@x", "known"))
    assert book.marks((VM_A, "1")) == AlertMarks(1, 0, 1)
    assert book.get(1).acknowledged.note == "known"
    assert followed == [(1, False), (2, False), (3, False), (4, False), (1, True)]
    assert set(book.open_keys) == {(VM_A, "1"), (VM_B, "1")}


def test_a_restart_finds_everything(tmp_path: Path) -> None:
    book = Book(tmp_path)
    alert = book.new(None, CRITICAL, "cannot write")
    book.new(line='a "line"')
    book.acknowledge(alert.acknowledge(EPOCH + 5, "alice@10.1.2.9", "it is\nknown"))
    book.clock.advance(1)
    again = Book(tmp_path)
    assert sorted(again, key=lambda one: one.number) == sorted(book, key=lambda one: one.number)
    assert again.take_number() == 3
    book.new()
    book.stop()
    assert len(Book(tmp_path)) == 3


def test_what_makes_no_sense_is_left_out(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.new()
    book.stop()
    path = tmp_path / "alerts-kept.json"
    good = path.read_bytes()
    bad = good.splitlines()[1].replace(b'"severity":"warning"', b'"severity":"x"')
    path.write_bytes(good + bad + b'\n\xff\n[]\n7\n{"alert":1}\n{"next":1e999}\n' + b"[" * 100_000 + b"\n")
    with Logged() as logged:
        assert len(Book(tmp_path)) == 1
    assert "7 lines make no sense" in "".join(logged)
    assert recalled(book.get(1).kept()) == book.get(1)
    assert recalled({**book.get(1).kept(), "line": "\x1b[2J" + 1000 * "x"}).line.startswith("\\x1b[2Jxxx")


def test_the_longest_alerts_fit_the_file() -> None:
    wide = "\U0001f4a9"
    line, name = wide * LINE_LIMIT, wide * 150
    alert = Alert(2**53, EPOCH, "w" * NAME_LIMIT, CRITICAL, VM_A, name, name, name, line, 2**60, 2**60)
    alert = alert.acknowledge(EPOCH, name, wide * NOTE_LIMIT)
    assert len(compact(alert.kept())) * book_module.KEPT < book_module.FILE_LIMIT


def test_acknowledged_ones_make_place_first_then_the_oldest_of_the_lowest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "KEPT", 4)
    book = Book(tmp_path)
    first = book.new(severity=CRITICAL)
    book.new(severity=CRITICAL)
    book.new(VM_B, INFO)
    book.new(VM_B, INFO)
    book.acknowledge(first.acknowledge(EPOCH, "alice", ""))
    book.new()
    assert (sorted(book.numbers), book.displaced) == ([2, 3, 4, 5], 0)
    assert book.add(Alert(6, EPOCH, "w", WARNING, VM_A, "1", "web01", "", "")) == [(VM_A, "1"), (VM_B, "1")]
    assert (sorted(book.numbers), book.displaced) == ([2, 4, 5, 6], 1)
    assert book.marks((VM_B, "1")) == AlertMarks(0, 0, 1)


def test_one_console_has_a_bound_of_its_own(tmp_path: Path) -> None:
    book = Book(tmp_path)
    bad = book.new(severity=CRITICAL)
    for _ in range(3 * OPEN_EACH):
        book.new()
    assert book.marks((VM_A, "1")) == AlertMarks(1, OPEN_EACH - 1, 0)
    assert bad.number in book.numbers
    assert len(book) == OPEN_EACH


def test_the_file_is_written_once_for_many_changes(tmp_path: Path) -> None:
    writes: list[object] = []
    book = Book(tmp_path)
    book._submit = writes.append
    for _ in range(100):
        book.new()
    book.clock.advance(1)
    assert len(writes) == 1


def test_what_has_not_changed_is_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, encoded = Book(tmp_path), list[int]()
    kept = Alert.kept
    monkeypatch.setattr(Alert, "kept", lambda alert: (encoded.append(alert.number), kept(alert))[1])
    first = book.new()
    book.new()
    book.clock.advance(100)
    book.new()
    book.acknowledge(first.acknowledge(EPOCH, "alice", ""))
    book.clock.advance(100)
    assert encoded == [1, 2, 3, 1]
    assert sorted(Book(tmp_path).numbers) == [1, 2, 3]
    assert Book(tmp_path).marks((VM_A, "1")) == AlertMarks(0, 2, 0)


def test_a_file_that_cannot_be_written_is_trouble_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(tmp_path)
    book.new()
    book.clock.advance(1)
    monkeypatch.setattr(os, "fsync", no_space)
    book.new()
    book.clock.advance(60)
    book.new()
    book.clock.advance(60)
    assert "No space left" in book.problem
    assert len(Book(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["alerts-kept.json"]  # no room is taken from others
    monkeypatch.undo()
    book.failed[-1]()
    assert book.problem == ""
    assert len(Book(tmp_path)) == 3


def test_a_link_that_somebody_has_put_there_is_not_followed(tmp_path: Path) -> None:
    book = Book(tmp_path)
    (tmp_path / "alerts-kept.json.new").symlink_to("/etc/passwd")
    book.new()
    book.clock.advance(1)
    assert "cannot write" in book.problem
    (tmp_path / "alerts-kept.json.new").unlink()
    book.failed[-1]()
    assert book.problem == ""


def test_a_disk_that_was_slow_once_does_not_put_it_off_for_long(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book._took = 1000.0
    book.new()
    book.clock.advance(60)
    assert len(Book(tmp_path)) == 1
