"""What is found or wrong becomes an alert: in the trail, in the record, as a mark, to viewers and hooks; bounded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.alerts import FakeHooks, alert_center
from tests.support.consoles import HOSTILE, World
from tests.support.fakes import EPOCH, VM_B, FakeViewer, Logged
from vmproxy.alerts.alert import LINE_LIMIT, Finding
from vmproxy.alerts.book import last_number
from vmproxy.alerts.center import BURST, SUM_SECONDS, TROUBLE_QUIET, AlertCenter
from vmproxy.alerts.watch_file import parse_watches
from vmproxy.base.troubles import Kind, Trouble, Troubles
from vmproxy.console.alert_marks import NO_ALERTS, AlertMarks
from vmproxy.console.notices import Alerted
from vmproxy.hooks.delivery import environment

(PANIC, CONTEXT, OPERATIONS) = parse_watches(
    b"""
[[watch]]
name = "panic"
match = "Kernel panic"
severity = "critical"
run = ["/bin/true"]
[[watch]]
name = "context"
match = "oops"
context = 2
run = ["/bin/true"]
[[watch]]
name = "operations"
itself = ["log", "hook"]
quiet = "1h"
run = ["/bin/true"]
""",
    "",
)


class AlertWorld(World):
    """A directory with alerts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hooks = FakeHooks()
        self.center: AlertCenter = alert_center(self, self.hooks)
        self.troubles = Troubles()
        self.directory.tell_troubles(self.troubles)
        self.troubles.take(self.center.trouble)

    def acknowledge(self, number: int, who: str, note: str) -> None:
        alert = self.center.book.get(number)
        assert alert is not None
        self.center.acknowledge(alert, who, note)

    @property
    def record(self) -> list[dict[str, Any]]:
        path = self.folder / "state" / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def w(tmp_path: Path) -> AlertWorld:
    return AlertWorld(tmp_path)


def found(w: AlertWorld, line: bytes, watch: Any = PANIC, repeated: int = 0, offset: int = 7) -> None:
    w.center.found([Finding(w.console, watch, EPOCH, offset, line, repeated)], 0, 0)


def test_everybody_who_is_to_know_is_told(w: AlertWorld) -> None:
    console, viewer = w.claim("web01"), FakeViewer()
    console.viewers.attach(viewer, write=False)
    with Logged() as logged:
        found(w, b"  Kernel panic\x1b[2J \xff", repeated=3)
    line = "Kernel panic\\x1b[2J \\xff"
    assert viewer.told(Alerted) == [Alerted("critical", "panic", line)]
    assert console.alerts == console.info().alerts == AlertMarks(1, 0, 0)
    (event,) = w.trail(console, "alert")
    assert (event["alert"], event["watch"], event["severity"], event["line"]) == (1, "panic", "critical", line)
    (told,) = w.record
    assert (told["event"], told["alert"], told["console"], told["uuid"]) == ("alert", 1, "web01", str(console.uuid))
    assert (told["line"], told["offset"], told["repeated"]) == (line, 7, 3)
    assert [(name, alert.number) for name, alert, *_ in w.hooks.told] == [("panic", 1)]
    assert f"alert 1: critical, panic: web01: {line}" in logged


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_vm_says_reaches_a_program_made_harmless(w: AlertWorld, name: str) -> None:
    console = w.claim(name)
    found(w, name.encode("utf-8", "surrogateescape") * 3)
    ((_, alert, *_),) = w.hooks.told
    for text in (*environment(alert).values(), *json.loads(json.dumps(alert.fields())).values()):
        assert str(text).isprintable()
        assert len(str(text)) <= LINE_LIMIT or str(text) in os.environ.values()
    w.trail(console, "alert")
    assert len(w.record) == 1


def test_acknowledging_takes_the_mark_and_is_recorded(w: AlertWorld) -> None:
    console = w.claim("web01")
    found(w, b"Kernel panic")
    w.acknowledge(1, "alice@10.1.2.9", "known")
    assert console.alerts == NO_ALERTS
    (event,) = w.trail(console, "ack")
    assert (event["alert"], event["who"], event["note"]) == (1, "alice@10.1.2.9", "known")
    assert [(line["event"], line["alert"]) for line in w.record] == [("alert", 1), ("ack", 1)]


def test_marks_are_there_after_a_restart(w: AlertWorld) -> None:
    w.claim("web01")
    found(w, b"Kernel panic")
    w.center.stop()
    again = AlertWorld(w.restarted().folder)
    again.center.book.load()
    again.center.mark_all()
    assert again.console.alerts == AlertMarks(1, 0, 0)


def test_the_lines_around_it_come_when_those_behind_it_are_there(w: AlertWorld) -> None:
    console = w.claim("web01")
    before = b"one\r\n\x1b[31mtwo\x1b[m\r\nthree\r\n"
    console.log.gap(1000, "lost")  # so an offset is another place in the file
    console.feed(before + b"oops\r\n")
    found(w, b"oops", CONTEXT, offset=1000 + len(before))
    console.feed(b"four\r\nfi\x00ve\r\nsix\r\n")
    assert w.hooks.told == []
    w.clock.advance(2)
    ((_, _, *around),) = w.hooks.told
    assert around == [("two", "three"), ("four", "five")]


def test_the_first_and_the_last_line_have_no_more_around_them(w: AlertWorld) -> None:
    console = w.claim("web01")
    console.feed(b"oops\r\nhalf a li")
    found(w, b"oops", CONTEXT, offset=0)
    w.clock.advance(2)
    ((_, _, *around),) = w.hooks.told
    assert around == [(), ()]


def test_a_flood_is_bounded_and_said_so(w: AlertWorld) -> None:
    w.claim("web01")
    finding = Finding(w.console, PANIC, EPOCH, 0, b"Kernel panic", 0)
    w.center.found([finding] * 5000, 100, 2000)
    while w.center._found:
        w.clock.advance(0)
    assert (w.center.told, w.center.untold) == (BURST, 4100)
    w.clock.advance(SUM_SECONDS)
    assert w.record[-1]["watch"] == "vmproxy-watch"
    assert w.record[-1]["line"].startswith("4,100 alerts were too many to be told; 2,000 lines were not looked at")
    assert w.console.alerts.total <= 20


def test_a_flood_that_goes_on_is_said_so_and_hides_no_trouble_of_vmproxy_itself(w: AlertWorld) -> None:
    w.claim("web01")
    finding = Finding(w.console, PANIC, EPOCH, 0, b"Kernel panic", 0)

    def flood(seconds: int) -> list[str]:
        before = len(w.record)
        for _ in range(seconds):
            w.center.found([finding] * 200, 0, 0)
            w.clock.advance(1)
            w.center.found([finding] * 200, 0, 0)
        return [line["line"] for line in w.record[before:] if line["console"] is None]

    flood(5)
    w.troubles.tell(Kind.DISK, "cannot write audit.jsonl")
    assert w.record[-1]["line"] == "cannot write audit.jsonl"
    (told,) = flood(15)
    first = int(told.split()[0].replace(",", ""))
    flood(5)
    w.clock.advance(TROUBLE_QUIET)
    rest = w.record[-1]["line"]
    assert first + int(rest.split()[0].replace(",", "")) == w.center.untold
    assert rest.endswith(" alerts were too many to be told")


def test_silence_of_thousands_takes_its_turns(w: AlertWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    console = w.claim("web01")
    monkeypatch.setattr(w.center, "_turns", turns := UsedUp())
    for _ in range(2):
        w.center.silent(CONTEXT, console, "silent for 10m")
    assert (w.center.told, len(turns.waiting)) == (0, 1)
    turns.is_open = True
    turns.waiting.pop()()
    assert [line["line"] for line in w.record] == ["silent for 10m"] * 2
    assert len(w.hooks.told) == 2  # at once: there are no lines around it


def test_one_that_cannot_be_told_does_not_end_the_others(w: AlertWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    w.claim("web01")
    monkeypatch.setattr(w.hooks, "tell", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        w.center.found([Finding(w.console, PANIC, EPOCH, 0, b"Kernel panic", 0)] * 2, 0, 0)
    monkeypatch.undo()
    found(w, b"Kernel panic")
    assert w.center.told == 3


class UsedUp:
    """A turn in which there is no time left."""

    def __init__(self) -> None:
        self.is_open = False
        self.waiting: list[Callable[[], object]] = []

    def open(self) -> bool:
        return self.is_open

    def wait(self, who: str, go_on: Callable[[], object]) -> None:
        self.waiting.append(go_on)


def test_what_is_forgotten_meanwhile_raises_nothing(w: AlertWorld) -> None:
    console = w.claim("web01")
    w.lose(console)
    w.directory.forget(console, "alice")
    w.center.found([Finding(console, PANIC, EPOCH, 0, b"Kernel panic", 0)], 0, 0)
    assert w.center.told == 0


def test_trouble_is_told_once_until_it_is_acknowledged_and_time_has_passed(w: AlertWorld) -> None:
    console, other = w.claim("web01"), w.claim("db01", VM_B)
    for one in (console, console, other):
        one.log_failed("No space left on device")
    assert [(line["watch"], line["console"], line["severity"]) for line in w.record] == [
        ("vmproxy-log", "web01", "critical"),
        ("vmproxy-log", "db01", "critical"),
    ]
    assert console.alerts == AlertMarks(1, 0, 0)
    w.clock.advance(3600)
    console.log_failed("No space left on device")
    assert len(w.record) == 2
    w.acknowledge(1, "alice", "")
    console.log_failed("No space left on device")
    assert len(w.record) == 4


def test_a_watch_of_vmproxy_itself_takes_what_is_wrong_with_it(w: AlertWorld) -> None:
    w.center.use([PANIC, OPERATIONS])
    w.claim("web01").log_failed("No space left on device")
    w.troubles.tell(Kind.HOOK, "a program failed")
    w.troubles.tell(Kind.DISK, "cannot write audit.jsonl")
    assert [(line["watch"], line["severity"]) for line in w.record] == [
        ("operations", "warning"),
        ("operations", "warning"),
        ("vmproxy-disk", "critical"),
    ]
    assert [alert.number for _, alert, *_ in w.hooks.told] == [1]  # the failure of a hook is told by no hook


def test_a_console_that_connects_again_and_again_is_trouble(w: AlertWorld) -> None:
    w.claim("web01").unsteady(17)
    assert (w.record[0]["watch"], w.record[0]["console"]) == ("vmproxy-unsteady", "web01")


def test_trouble_waits_for_somebody_who_takes_it() -> None:
    troubles, told = Troubles(), list[Trouble]()
    for number in range(1000):
        troubles.tell(Kind.DISK, str(number))
    troubles.take(told.append)
    assert len(told) == Troubles.WAITING
    troubles.take(None)
    troubles.tell(Kind.DISK, "x")
    assert len(told) == Troubles.WAITING


def test_a_console_that_was_forgotten_and_comes_back_has_its_mark(w: AlertWorld) -> None:
    w.directory.tell_new(w.center.mark_new)
    console = w.claim("web01")
    found(w, b"Kernel panic")
    w.lose(console)
    w.directory.forget(console, "alice")
    again = w.claim("web01")
    assert again is not console
    assert again.alerts == AlertMarks(1, 0, 0)
    assert w.claim("web01", port="2").alerts == NO_ALERTS


def test_numbers_are_given_once_though_the_process_was_killed(w: AlertWorld) -> None:
    w.claim("web01")
    found(w, b'Kernel panic "alert":9999,')
    found(w, b"Kernel panic", repeated=1)
    w.acknowledge(1, "alice", "x")
    record = w.folder / "state" / "alerts.jsonl"
    assert last_number(record) == 2  # and the book is not written yet
    record.write_bytes(b"torn\n" * 100_000 + record.read_bytes() + b'{"event":"alert","ale')
    assert last_number(record) == 2
    book = w.center.book
    book.go_on_behind(last_number(record))
    assert book.take_number() == 3
    assert last_number(w.folder / "none") == 0
