"""Logs by time: files in any state of rotation, and what is found in them."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.archive import T0, Archive, descriptors
from vmproxy.log.events import event, time_mark
from vmproxy.log.file_state import LogFile
from vmproxy.log.reader import CHUNK, Source, open_segments
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.time_index import LINE_LIMIT, TimeIndex
from vmproxy.log.timeline import Timeline
from vmproxy.log.writer import LogWriter

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"), st.sampled_from([0.0, 0.02, 0.4, 1.0, 3.5, 7200.0]), st.binary(min_size=1, max_size=9)
        ),
        st.tuples(st.just("flood"), st.just(0.1), st.sampled_from([70_000, 500])),
        st.tuples(st.just("happen"), st.sampled_from([0.0, 0.3, 100.0]), st.just("up")),
        st.tuples(st.just("rotate"), st.just(0.0), st.booleans()),
    ),
    max_size=25,
)


def build(folder: str | Path, steps: list[Any]) -> Archive:
    archive = Archive(Path(folder))
    at = T0
    for what, delay, value in steps:
        at = round(at + delay, 3)
        if what == "say":
            archive.say(at, value)
        elif what == "flood":
            archive.say(at, b"flood\n" * value)
        elif what == "happen":
            archive.happen(at, value)
        else:
            archive.rotate(value)
    return archive


def joined(pieces: Iterable[Any]) -> bytes:
    return b"".join(data for _, data in pieces)


def by_time(pieces: Iterable[Any]) -> list[tuple[float, int]]:
    """The times, in their order, and how many bytes have each."""
    return [
        (at, sum(len(data) for _, data in group)) for at, group in groupby(pieces, lambda piece: round(piece[0], 3))
    ]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


@given(STEPS)
def test_the_bytes_are_those_of_the_vm_and_the_times_go_one_way(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = build(folder, steps)
        before = descriptors()
        with open_segments(archive.path) as segments:
            pieces = list(Timeline(segments).pieces())
            items = list(Timeline(segments).items())
            events = list(Timeline(segments).events())
            assert segments.problems == []
        assert descriptors() == before
    assert joined(pieces) == joined(archive.said)
    assert all(0 < len(data) <= CHUNK for _, data in pieces)
    assert [at for at, _ in pieces] == sorted(at for at, _ in pieces)
    assert [(round(at, 3), fields["event"]) for at, fields in events] == archive.happened
    assert [at for at, _ in items] == sorted(at for at, _ in items)
    assert joined(item for item in items if isinstance(item[1], bytes)) == joined(pieces)
    assert [item for item in items if not isinstance(item[1], bytes)] == events


@given(STEPS, st.floats(-5, 15_000), st.floats(0, 15_000))
def test_a_range_is_exact_to_a_second(steps: list[Any], start: float, length: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = build(folder, steps)
        since, until = T0 + start, T0 + start + length
        with open_segments(archive.path, since) as segments:
            found = joined(Timeline(segments, since, until).pieces())
            events = list(Timeline(segments, since, until).events())
    # All that must be there, and no more than may be: a mark holds for a second.
    least = joined((at, data) for at, data in archive.said if since <= at < until)
    most = joined((at, data) for at, data in archive.said if since - 1 <= at < until)
    assert least in found
    assert found in most
    assert [round(at, 3) for at, _ in events] == [at for at, _ in archive.happened if since <= at < until]


@given(STEPS)
def test_every_byte_has_the_time_of_its_mark(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = build(folder, [step for step in steps if step[0] != "happen"])
        with open_segments(archive.path) as segments:
            pieces = list(Timeline(segments).pieces())
    assert by_time(pieces) == by_time(archive.said)


@given(st.integers(0, 3), st.sampled_from([0, 1, 3, 40]), st.booleans(), st.booleans())
def test_a_long_trail_is_entered_near_the_moment(rotations: int, minutes: int, compress: bool, early: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder))
        lines = []
        for n in range(4000):
            lines.append(time_mark(T0 + n, n * 3))
            if n % 50 == 0:
                lines.append(event(T0 + n + 0.5, "note", {"text": "x" * n}).line(n * 3 + 3))
        archive.trail.write_bytes(b"".join(lines))
        archive.path.write_bytes(b"".join(b"%03d" % (n % 1000) for n in range(4000)))
        for _ in range(rotations):
            archive.rotate(compress)
        since = T0 + (30 if early else 3600) + minutes * 7
        with open_segments(archive.path) as segments:
            at, data = next(Timeline(segments, since).pieces())
        assert (round(at, 3), data) == (since - 1, b"%03d" % ((since - 1 - T0) % 1000))


def test_what_is_appended_later_is_not_read(archive: Archive) -> None:
    archive.say(T0, b"before")
    with open_segments(archive.path) as segments:
        archive.say(T0, b"after")
        assert joined(Timeline(segments).pieces()) == b"before"


def test_what_is_open_stays_whatever_happens_to_the_files(archive: Archive) -> None:
    archive.say(T0, b"one ")
    archive.rotate()
    archive.say(T0 + 5, b"two ")
    archive.rotate()
    archive.say(T0 + 9, b"three")
    with open_segments(archive.path) as segments:
        archive.rotate()
        archive.compress(2)
        Path(f"{archive.path}.3").unlink()
        archive.say(T0 + 12, b" four")
        assert joined(Timeline(segments).pieces()) == b"one two three"


def test_no_log_at_all(tmp_path: Path) -> None:
    with open_segments(tmp_path / "none.log") as segments:
        assert (len(segments), list(Timeline(segments).items())) == (0, [])


def test_events_before_the_first_byte(archive: Archive) -> None:
    archive.happen(T0, "up")
    with open_segments(archive.path) as segments:
        ((at, fields),) = Timeline(segments).events()
    assert (at, fields["event"], fields["who"], fields["offset"]) == (T0, "up", "alice", 0)


def test_without_a_trail_the_time_is_that_of_the_file(archive: Archive) -> None:
    archive.say(T0, b"old")
    archive.rotate()
    archive.trail.with_name("vm.log.events.1").unlink()
    archive.say(T0 + 100, b"new")
    with open_segments(archive.path) as segments:
        assert list(Timeline(segments).pieces()) == [(T0, b"old"), (T0 + 100, b"new")]
        assert list(Timeline(segments, T0 + 1).pieces()) == [(T0 + 100, b"new")]
        assert list(Timeline(segments, T0, T0 + 1).pieces()) == [(T0, b"old")]


def test_bytes_before_the_first_mark_get_its_time(tmp_path: Path) -> None:
    path = tmp_path / "vm.log"
    path.write_bytes(b"earlylate")
    Path(f"{path}.events").write_bytes(time_mark(T0, 5))
    with open_segments(path) as segments:
        assert list(Timeline(segments).pieces()) == [(T0, b"early"), (T0, b"late")]


def test_files_older_than_the_moment_are_not_opened(archive: Archive) -> None:
    for n in range(5):
        archive.say(T0 + 100 * n, b"%d" % n)
        archive.rotate(n % 2 == 0)
    archive.say(T0 + 500, b"5")
    with open_segments(archive.path, T0 + 250) as segments:
        assert [segment.number for segment in segments] == [2, 1, 0]
        assert joined(Timeline(segments, T0 + 250).pieces()) == b"345"


def test_only_so_many_files_are_opened(archive: Archive) -> None:
    for n in range(6):
        archive.say(T0 + n, b"%d" % n)
        archive.rotate()
    archive.say(T0 + 6, b"6")
    before = descriptors()
    with open_segments(archive.path, limit=3) as segments:
        assert len(descriptors() - before) == 6
        assert joined(Timeline(segments).pieces()) == b"456"
        assert segments.problems == ["vm.log: only the newest 3 files of it are read"]
    assert descriptors() == before
    with open_segments(archive.path, enough=2, trails=False) as segments:
        assert len(descriptors() - before) == 2
        assert joined(Timeline(segments).pieces()) == b"56"


def test_a_number_that_is_missing_for_a_moment(archive: Archive) -> None:
    for n in range(4):
        archive.say(T0 + n, b"%d" % n)
        archive.rotate()
    for path in (archive.path, archive.trail):
        Path(f"{path}.1").unlink()
    with open_segments(archive.path) as segments:
        assert joined(Timeline(segments).pieces()) == b"012"


def test_a_file_that_is_being_compressed_counts_once(archive: Archive) -> None:
    archive.say(T0, b"once")
    archive.rotate()
    for path in (archive.path, archive.trail):
        Path(f"{path}.1.gz").write_bytes(gzip.compress(Path(f"{path}.1").read_bytes())[:-9])
    with open_segments(archive.path) as segments:
        assert joined(Timeline(segments).pieces()) == b"once"
        assert segments.problems == []


def test_a_file_that_has_two_names_counts_once(archive: Archive) -> None:
    # What somebody sees who opens the live file before a rename, and number 1 behind it.
    archive.say(T0, b"once")
    for path in (archive.path, archive.trail):
        os.link(path, f"{path}.1")
    with open_segments(archive.path) as segments:
        assert joined(Timeline(segments).pieces()) == b"once"


@pytest.mark.parametrize(
    ("spoil", "least"),
    [
        (lambda packed: b"this is no gzip", 0),
        (lambda packed: packed[:-10], 190_000),
        # What gzip makes of the damage before it notices is no matter.
        (lambda packed: packed[: len(packed) // 2] + b"\0\xff" * 20 + packed[len(packed) // 2 :], 60_000),
        (lambda packed: b"", 0),
        (lambda packed: packed[:3], 0),
    ],
)
@pytest.mark.parametrize("which", ["vm.log.2.gz", "vm.log.events.2.gz"])
def test_a_damaged_file_costs_only_itself(archive: Archive, spoil: Any, least: int, which: str) -> None:
    first, second, third = os.urandom(100_000).hex().encode(), b"second", b"third"
    archive.say(T0, first)
    archive.rotate(compress=True)
    archive.say(T0 + 10, second)
    archive.rotate()
    archive.say(T0 + 20, third)
    path = archive.path.with_name(which)
    path.write_bytes(spoil(path.read_bytes()))
    with open_segments(archive.path) as segments:
        found = joined(Timeline(segments).pieces())
        assert found.endswith(second + third)
        said = found[: -len(second + third)]
        if "events" in which:  # where only the times are damaged, all
            assert said == first
        else:  # what there is of it before the damage
            assert said[:least] == first[:least]
            assert bool(said) == bool(least)
        if path.stat().st_size:
            assert [problem.partition(":")[0] for problem in segments.problems] == [which]


def test_what_a_damaged_file_still_holds_is_given(archive: Archive) -> None:
    content = os.urandom(200_000).hex().encode()
    archive.say(T0, content)
    archive.rotate(compress=True)
    packed = archive.path.with_name("vm.log.1.gz")
    packed.write_bytes(packed.read_bytes()[:-1000])
    with open_segments(archive.path) as segments:
        found = joined(Timeline(segments).pieces())
        assert content.startswith(found)
        assert len(found) > 390_000
        assert segments.problems == ["vm.log.1.gz: compressed data that ends too early"]


def test_several_members_and_padding_are_gzip_too(archive: Archive) -> None:
    archive.say(T0, b"one two")
    archive.rotate()
    path = archive.path.with_name("vm.log.1")
    Path(f"{path}.gz").write_bytes(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two") + b"\0" * 70_000)
    path.unlink()
    with open_segments(archive.path) as segments:
        assert joined(Timeline(segments).pieces()) == b"one two"
        assert segments.problems == []


def test_torn_lines_in_a_trail_cost_only_themselves(archive: Archive) -> None:
    archive.say(T0, b"one ")
    for junk in (
        b'{"at":"2026-11-22T16:0',
        b"\n\xff\0\n",
        b'{"at":"2026-99-99T99:99:99.999Z","offset":4,"event":"time"}\n',
    ):
        archive._append(archive.trail, junk)
    archive.happen(T0 + 2, "up")
    archive._append(archive.trail, b"x" * (LINE_LIMIT + 10 * CHUNK) + b"\n")
    archive._append(archive.trail, event(T0 + 3, "note", {"text": "torn"}).line(4)[:-3] + b"\n")
    archive.say(T0 + 5, b"two")
    with open_segments(archive.path) as segments:
        items = list(Timeline(segments).items())
        assert joined(item for item in items if isinstance(item[1], bytes)) == b"one two"
        assert [item[1]["event"] for item in items if isinstance(item[1], dict)] == ["up"]
        (problem,) = segments.problems
        assert problem.startswith("vm.log.events: ")
        assert problem.endswith(" of its lines cannot be read")
        assert items[-1] == (T0 + 5, b"two")


def test_a_log_that_becomes_shorter_while_it_is_read(archive: Archive) -> None:
    archive.say(T0, b"x" * 3 * CHUNK)
    with open_segments(archive.path) as segments:
        pieces = Timeline(segments).pieces()
        next(pieces)
        os.truncate(archive.path, 10)
        assert list(pieces) == []
        assert segments.problems == ["vm.log: became shorter while it was read"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_what_is_no_file_is_left_out(archive: Archive, make: Any) -> None:
    archive.say(T0, b"text")
    make(f"{archive.path}.1")
    with open_segments(archive.path) as segments:
        assert joined(Timeline(segments).pieces()) == b"text"
        assert len(segments.problems) == 1


def test_copytruncate_of_the_log_but_not_of_its_trail(archive: Archive) -> None:
    # The live trail speaks of the old content first, and then of the new one.
    for n in range(5000):
        archive._append(archive.trail, time_mark(T0 + n, n * 10))
    archive.say(T0 + 5000, b"x" * 100)
    archive._append(archive.path.with_name("vm.log.1"), b"old")
    archive.path.write_bytes(b"")
    archive.say(T0 + 6000, b"new")
    archive.say(T0 + 6002, b"er")
    with open_segments(archive.path) as segments:
        assert list(Timeline(segments).pieces())[1:] == [(T0 + 6000, b"new"), (T0 + 6002, b"er")]
        assert list(Timeline(segments, T0 + 6002).pieces())[-1:] == [(T0 + 6002, b"er")]


def test_an_old_trail_that_went_on_for_the_next_file(archive: Archive) -> None:
    # The log was renamed, its trail a moment later: the last marks are of another file.
    archive.say(T0, b"one ")
    archive.say(T0 + 2, b"two ")
    archive._append(archive.trail, time_mark(T0 + 4, 0))
    archive.rotate()
    archive.say(T0 + 6, b"three")
    with open_segments(archive.path) as segments:
        assert list(Timeline(segments).pieces()) == [(T0, b"one "), (T0 + 2, b"two "), (T0 + 6, b"three")]


@pytest.mark.parametrize("compress", [False, True])
def test_a_clock_that_was_set_back(archive: Archive, compress: bool) -> None:
    for at, data in ((0, b"a"), (10, b"b"), (20, b"c"), (-500, b"d"), (-490, b"e"), (30, b"f")):
        archive.say(T0 + at, data)
    archive.rotate(compress)
    archive.say(T0 + 40, b"g")
    with open_segments(archive.path) as segments:
        assert joined(Timeline(segments).pieces()) == b"abcdefg"
        # The range begins where its start is reached first: more than was asked for, and nothing is missing.
        assert joined(Timeline(segments, T0 + 15).pieces()) == b"cdefg"
        assert joined(Timeline(segments, T0 + 35).pieces()) == b"g"
        assert joined(Timeline(segments, None, T0 + 25).pieces()) == b"abcde"


def test_times_of_single_bytes(archive: Archive) -> None:
    for n in range(3000):
        archive._append(archive.trail, time_mark(T0 + n, 5 + n * 10))
    for compressed in (False, True):
        path = archive.trail
        if compressed:
            path = path.with_name("vm.log.events.1.gz")
            path.write_bytes(gzip.compress(archive.trail.read_bytes()))
        trail = TimeIndex(Source(path, compressed), not compressed)
        assert trail.times([0, 4, 5, 14, 15, 20_000, 29_994, 29_995, 10**9]) == [
            *(T0 + n for n in (0, 0, 0, 0, 1, 1999, 2998, 2999, 2999))
        ]
        trail._source.close()
    empty = archive.trail.with_name("empty.events")
    empty.write_bytes(b"garbage\n")
    source = Source(empty, False)
    assert TimeIndex(source, True).times([1, 2]) == [None, None]
    source.close()


class Nobody:
    def report(self, problem: str, lost: int) -> None:
        raise AssertionError(problem)


def test_what_the_writer_wrote_is_understood(tmp_path: Path) -> None:
    now = T0
    writer = LogWriter(8, lambda: now)
    file = LogFile(str(tmp_path), "vm.log", Nobody())
    writer.write(file, [event(T0, "up", {"host": "esx"}), b"boot\n"], T0)
    writer.write(file, [b"quick\n"], T0 + 0.5)
    writer.write(file, [b"later\n", event(T0 + 3, "down", {}), b"end\n"], T0 + 3)
    writer.close()
    with open_segments(file.where) as segments:
        items = [(round(at - T0, 3), v if isinstance(v, bytes) else v["event"]) for at, v in Timeline(segments).items()]
    assert items == [(0, "up"), (0, b"boot\n"), (0.5, b"quick\n"), (3, b"later\n"), (3, "down"), (3, b"end\n")]


def test_what_the_writer_rotated_is_one_history(tmp_path: Path) -> None:
    now = T0
    writer = LogWriter(8, lambda: now, RotationPolicy(size=1000))
    file = LogFile(str(tmp_path), "vm.log", Nobody())
    lines = [b"line %d\r\n" % n for n in range(300)]
    for n, line in enumerate(lines):
        now = T0 + n
        writer.write(file, [line], now)
        writer.tick()
    writer.close()
    with open_segments(file.where) as segments:
        assert len(segments) > 2
        assert joined(Timeline(segments).pieces()) == b"".join(lines)
        assert joined(Timeline(segments, T0 + 150, T0 + 200).pieces()) == b"".join(lines[149:200])
        assert segments.problems == []
