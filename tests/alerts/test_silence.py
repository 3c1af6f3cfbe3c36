"""Consoles that should talk and do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.consoles import World
from tests.support.fakes import VM_B, FakeLink
from vmproxy.alerts.silence import SilenceWatcher
from vmproxy.alerts.watch_file import parse_watches

(SILENT,) = parse_watches(b'[[watch]]\nname = "dead"\non = "web*"\nsilent = "10m"', "")


class Silence:
    """A watcher of a world."""

    def __init__(self, folder: Path) -> None:
        self.w = World(folder)
        self.told: list[tuple[str, str]] = []
        self.watcher = SilenceWatcher(
            self.w.clock, lambda: self.w.directory, lambda watch, console, text: self.told.append((console.title, text))
        )

    def minutes(self, number: float) -> None:
        for _ in range(int(number * 60)):
            self.w.clock.advance(1)


@pytest.fixture
def s(tmp_path: Path) -> Silence:
    return Silence(tmp_path)


def test_silence_is_told_once_and_again_after_it_was_broken(s: Silence) -> None:
    console, _other = s.w.claim("web01"), s.w.claim("db01", VM_B)
    s.watcher.use([SILENT])
    s.minutes(9)
    assert s.told == []
    s.minutes(2.1)
    assert [name for name, _ in s.told] == ["web01"]
    s.minutes(30)
    console.feed(b"alive\n")
    s.minutes(9)
    assert len(s.told) == 1
    s.minutes(3)
    assert len(s.told) == 2
    assert s.told[1][1].startswith("silent for 10m")


def test_a_console_that_talks_or_is_down_is_not_silent(s: Silence) -> None:
    console = s.w.claim("web01")
    s.watcher.use([SILENT])
    for _ in range(20):
        console.feed(b".")
        s.minutes(5)
    s.w.lose(console)
    s.minutes(60)
    s.w.claim("web01", link=FakeLink())
    s.minutes(9)
    assert s.told == []
    s.minutes(3)
    assert len(s.told) == 1


def test_nothing_is_done_while_nobody_wants_it(s: Silence) -> None:
    s.w.claim("web01")
    s.watcher.use([])
    s.w.tick(60)
    assert s.w.clock.getDelayedCalls() == []
    s.watcher.use([SILENT])
    s.minutes(5)
    s.watcher.use([])
    assert s.w.clock.getDelayedCalls() == []
    s.watcher.use([SILENT])
    s.minutes(9)
    assert s.told == []
    s.watcher.stop()


def test_a_console_that_speaks_now_and_then_is_told_once_in_the_quiet_time(s: Silence) -> None:
    (watch,) = parse_watches(b'[[watch]]\nname = "dead"\nsilent = "10s"\nquiet = "10m"', "")
    console = s.w.claim("web01")
    s.watcher.use([watch])
    for _ in range(19):
        s.minutes(0.5)
        console.feed(b".")
    assert len(s.told) == 1
    s.minutes(2)
    assert len(s.told) == 2  # it has been silent since then, and is when that is over
    s.minutes(20)
    assert len(s.told) == 2
    console.feed(b".")
    s.minutes(1)
    for _ in range(3):
        s.w.lose(console)
        s.minutes(1)
        s.w.claim("web01", link=FakeLink())
        s.minutes(1)
    assert len(s.told) == 3
    s.w.lose(console)
    s.minutes(11)
    assert s.watcher._heard == {}
