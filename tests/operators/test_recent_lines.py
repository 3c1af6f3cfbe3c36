"""The lines that were shown last: as many as fit, whatever came before."""

from __future__ import annotations

from pathlib import Path

from tests.support.consoles import World
from vmproxy.operators.recent_lines import LINES_LIMIT, RECENT_LIMIT, RecentLines


def test_a_flood_takes_the_place_of_no_lines_behind_it(tmp_path: Path) -> None:
    console, recent = World(tmp_path).claim("web01"), RecentLines()
    recent.add(console, b"x" * 4 * RECENT_LIMIT)
    recent.add(console, b"first\n")
    recent.add(console, b"second\n")
    assert [line for _, line in recent.lines(lambda _: True)] == ["first", "second"]


def test_of_very_many_the_newest_are_there_in_their_order(tmp_path: Path) -> None:
    console, recent = World(tmp_path).claim("web01"), RecentLines()
    for start in range(0, 2 * LINES_LIMIT, 100):
        recent.add(console, b"".join(b"\x1b[32m%d\x1b[m\r\n" % number for number in range(start, start + 100)))
    found = [line for _, line in recent.lines(lambda _: True)]
    assert found == [str(number) for number in range(LINES_LIMIT, 2 * LINES_LIMIT)]
