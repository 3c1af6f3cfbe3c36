"""Time marks: as fine as what is printed, the same wherever a time is shown, and bounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmproxy.log.asciicast import cast
from vmproxy.log.file_state import FINE_MARKS, LogFile
from vmproxy.log.reader import open_segments
from vmproxy.log.timeline import Timeline
from vmproxy.log.timing import Stamper, paced
from vmproxy.log.writer import FINE_OF_ALL, FINE_OF_ALL_PER_SECOND, FINE_PER_SECOND, LogWriter

T0 = 1_800_000_000.0


class Nobody:
    def report(self, problem: str, lost: int) -> None:
        raise AssertionError(problem)


@pytest.mark.parametrize("apart", [0.25, 0.04, 0.013])
def test_lines_have_the_times_at_which_they_came_everywhere(tmp_path: Path, apart: float) -> None:
    now = T0
    writer = LogWriter(8, lambda: now, plain=True)
    file = LogFile(str(tmp_path), "vm.log", Nobody())
    for number in range(20):
        now = T0 + number * apart
        writer.write(file, [b"line %d\n" % number], now)
    writer.close()
    wanted = [int((T0 + number * apart) * 1000) % 100_000 for number in range(20)]
    texts = [(tmp_path / "vm.txt").read_text()]
    with open_segments(file.where) as segments:
        timeline = Timeline(segments)
        stamper = Stamper()
        texts.append(b"".join(stamper.feed(data, at) for at, data in timeline.pieces()).decode())
        waits = [wait for wait, _ in paced(timeline.pieces())]
        played = [line for line in cast(timeline.items(), "vm") if b'"o"' in line]
    for text in texts:
        found = [
            int(s) * 1000 + int(ms) for s, ms in re.findall(r":\d\d:(\d\d)\.(\d{3})(?:Z|[+-]\d\d:\d\d)? line", text)
        ]
        assert len(found) == 20
        assert all(abs(at % 60_000 - want % 60_000) <= 1 for at, want in zip(found, wanted, strict=True)), text
    assert waits[1:] == pytest.approx([apart] * 19, abs=0.002)
    assert len(played) == 20


def test_fine_marks_of_a_log_are_bounded(tmp_path: Path) -> None:
    now = T0
    writer = LogWriter(8, lambda: now)
    file = LogFile(str(tmp_path), "vm.log", Nobody())
    trail = tmp_path / "vm.log.events"
    for _ in range(20_000):  # a byte each 20 ms, for 400 s
        writer.write(file, [b"x"], now)
        now += 0.02
    marks = trail.read_bytes().count(b'"time"')
    # The budget, what is added to it in that time, and one a second in any case.
    assert FINE_MARKS + 400 * FINE_PER_SECOND < marks <= FINE_MARKS + 400 * (FINE_PER_SECOND + 1) + 1
    now += 3600  # by then there are some again
    for _ in range(100):
        writer.write(file, [b"y"], now)
        now += 0.25
    assert trail.read_bytes().count(b'"time"') == marks + 100
    writer.close()


def test_fine_marks_of_all_logs_are_bounded_together(tmp_path: Path) -> None:
    now = T0
    writer = LogWriter(400, lambda: now)
    files = [LogFile(str(tmp_path), f"vm{n}.log", Nobody()) for n in range(100)]
    for _ in range(200):  # for 2 s
        for file in files:
            writer.write(file, [b"x" * 2000], now)
        now += 0.01
    marks = sum(path.read_bytes().count(b'"time"') for path in tmp_path.glob("*.events"))
    assert marks <= FINE_OF_ALL + 2 * FINE_OF_ALL_PER_SECOND + 100 * 3
    writer.close()
