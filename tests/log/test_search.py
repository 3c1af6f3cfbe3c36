"""Searching logs, and waiting for a line."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.archive import T0, Archive, descriptors
from tests.support.requirements import expressions
from vmproxy.log.events import time_mark
from vmproxy.log.line_match import Expecter
from vmproxy.log.pattern import Pattern
from vmproxy.log.search import Hit, Limits, Search

LINES = st.lists(
    st.tuples(
        st.sampled_from(["", "needle", "a needle b", "hay", "a\rb", "LONG", "LONG LONG", "LONG needle"]),
        st.sampled_from([b"\n", b"\r\n", b"\r\r\n"]),
    ),
    max_size=12,
)


def search(
    logs: list[tuple[str, Path]], pattern: str, *, limits: Any = None, ignore_case: bool = False, fixed: bool = False
) -> tuple[list[Hit], Search]:
    found = Search(logs, Pattern(pattern, ignore_case, fixed), limits)
    return [hit for hits in found for hit in hits], found


def told(hits: Any) -> list[tuple[Any, ...]]:
    return [(hit.key, round(hit.at - T0, 3), hit.segment, hit.offset, hit.line) for hit in hits]


@pytest.fixture
def logs(tmp_path: Path) -> list[tuple[str, Path]]:
    """Two logs with old files: what each file holds, and when."""
    web, db = Archive(tmp_path, "web.log"), Archive(tmp_path, "db.log")
    web.say(T0, b"error one\r\nfine\r\n")
    db.say(T0 + 10, b"ERROR two\n")
    db.rotate(compress=True)
    web.say(T0 + 20, b"nothing\r\nanother error\r\n")
    web.rotate(compress=True)
    db.say(T0 + 30, b"an error in db\n")
    db.rotate()
    web.say(T0 + 40, b"last error: unfinished")
    return [("web", web.path), ("db", db.path)]


@expressions
def test_the_newest_lines_come_first_whichever_log_they_are_in(logs: list[tuple[str, Path]]) -> None:
    hits, found = search(logs, "error")
    assert told(hits) == [
        ("web", 40, 0, 0, b"last error: unfinished"),
        ("db", 30, 1, 0, b"an error in db"),
        ("web", 20, 1, 26, b"another error"),
        ("web", 0, 1, 0, b"error one"),
    ]
    assert (found.hits, found.stopped, found.problems) == (4, "", [])
    assert [hit.line for hit in search(logs, "error (one|two)", ignore_case=True)[0]] == [b"ERROR two", b"error one"]


@expressions
def test_ends_of_lines_and_texts_that_are_no_patterns(logs: list[tuple[str, Path]]) -> None:
    assert [hit.line for hit in search(logs, "^.*error$")[0]] == [b"another error"]
    assert [hit.line for hit in search(logs, ".*", fixed=True)[0]] == []
    assert [hit.line for hit in search(logs, "r: u", fixed=True)[0]] == [b"last error: unfinished"]


@expressions
@given(
    LINES, st.lists(st.integers(0, 300_000), max_size=2), st.booleans(), st.sampled_from(["needle", "^$", "e b$", "."])
)
def test_as_many_lines_as_by_looking_at_each(lines: list[Any], cuts: list[int], compress: bool, pattern: str) -> None:
    content = b"".join(line.replace("LONG", "x" * 40_000).encode() + end for line, end in lines)
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder))
        # Files are cut between lines: a line in two files is two lines.
        ends = [match.end() for match in re.finditer(rb"\n", content)]
        places = sorted({max((end for end in ends if end <= cut), default=0) for cut in cuts})
        for start, end in pairwise([0, *places]):
            archive.path.write_bytes(content[start:end])
            archive.rotate(compress)
        archive.path.write_bytes(content[places[-1] if places else 0 :])
        hits, found = search([("vm", archive.path)], pattern, limits=Limits(hits=1000, line=100_000))
    assert found.problems == []
    # Lines that are longer than what is looked at at once may be seen as several.
    if not any("LONG" in line for line, _ in lines):
        each = [part.rstrip(b"\r") for part in content.split(b"\n")[:-1]]
        want = [line for line in each if re.search(pattern.encode(), line)]
        assert [hit.line.rstrip(b"\r") for hit in reversed(hits)] == want
    elif pattern == "needle":
        assert all(b"needle" in hit.line for hit in hits)


@given(st.lists(st.sampled_from([b"needle\n", b"hay\n", b"\n", b"needle", b"LONG"]), max_size=20), st.booleans())
def test_the_offset_is_where_the_line_begins(pieces: list[bytes], compress: bool) -> None:
    content = b"".join(pieces).replace(b"LONG", b"x" * 30_000)
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder))
        archive.path.write_bytes(content)
        if compress:
            archive.rotate(True)
        hits, _ = search([("vm", archive.path)], "needle", limits=Limits(hits=1000, line=1_000_000))
    assert [hit.offset for hit in hits] == sorted({hit.offset for hit in hits}, reverse=True)
    for hit in hits:
        assert content[hit.offset : hit.offset + len(hit.line)] == hit.line


@pytest.mark.parametrize("compress", [False, True])
def test_no_more_hits_than_asked_for_and_those_are_the_newest(tmp_path: Path, compress: bool) -> None:
    archive = Archive(tmp_path)
    archive.say(T0, b"".join(b"line %d\n" % n for n in range(50_000)))
    archive.rotate(compress)
    hits, found = search([("vm", archive.path)], "line", limits=Limits(hits=3))
    assert [hit.line for hit in hits] == [b"line 49999", b"line 49998", b"line 49997"]
    assert found.stopped == "there may be more: only the newest 3 are shown"


@expressions
@pytest.mark.parametrize("compress", [False, True])
def test_no_more_bytes_than_allowed_are_looked_at(tmp_path: Path, compress: bool) -> None:
    archive = Archive(tmp_path)
    archive.say(T0, b"needle\n" + b"hay\n" * 500_000)
    archive.rotate(compress)
    hits, found = search([("vm", archive.path)], "needle$", limits=Limits(scanned=1_000_000))
    assert 1_000_000 <= found.scanned < 1_200_000
    assert found.stopped == "only the newest 1.0 MB of the logs were searched"
    assert len(hits) == (1 if compress else 0)


def test_of_a_long_line_the_part_that_matches_is_shown(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.say(
        T0, b"a" * 5_000 + b"needle" + b"b" * 5_000 + b"\nneedle" + b"c" * 1000 + b"\n" + b"d" * 1000 + b"needle\n"
    )
    hits, _ = search([("vm", archive.path)], "needle")
    assert [len(hit.line) for hit in hits] == [512, 512, 512]
    assert [hit.line.find(b"needle") for hit in hits] == [506, 0, 64]


def test_a_hit_has_the_time_of_its_second(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for n in range(5000):
        archive._append(archive.trail, b"")
        archive.said.clear()
        if n % 1000 == 0:
            archive.say(T0 + n, b"needle %d\n" % n)
        else:
            archive.say(T0 + n, b"hay\n")
    expected = [(T0 + n, b"needle %d" % n) for n in range(4000, -1, -1000)]
    assert [(hit.at, hit.line) for hit in search([("vm", archive.path)], "needle")[0]] == expected
    archive.rotate(True)
    assert [(hit.at, hit.line) for hit in search([("vm", archive.path)], "needle")[0]] == expected
    Path(f"{archive.trail}.1.gz").unlink()
    modified = Path(f"{archive.path}.1.gz").stat().st_mtime
    assert {hit.at for hit in search([("vm", archive.path)], "needle")[0]} == {modified}


def test_it_can_be_given_up_and_goes_on_in_pieces(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.say(T0, b"needle\n" + b"hay\n" * 200_000 + b"needle\n")
    before = descriptors()
    found = Search([("vm", archive.path)], Pattern("needle"))
    assert [hit.offset for hit in found.work(0) or []] == [800_007]
    assert found.work(0) == []
    assert found.scanned == 131_072
    found.close()
    assert descriptors() == before
    assert found.work(0) is None
    found = Search([("vm", archive.path)], Pattern("needle"))
    assert len(found.work(3600) or []) == 1
    assert [hit.offset for hit in found.work(3600) or []] == [0]
    assert found.work(3600) is None


def test_one_log_at_a_time_is_open(tmp_path: Path) -> None:
    logs = []
    for n in range(60):
        archive = Archive(tmp_path, f"{n}.log")
        archive.say(T0 + n, b"needle\n")
        logs.append((n, archive.path))
    before = descriptors()
    most = 0
    found = Search(logs, Pattern("needle"), Limits(hits=1000))
    keys = []
    for hits in found:
        keys += [hit.key for hit in hits]
        most = max(most, len(descriptors() - before))
    assert keys == list(range(59, -1, -1))
    assert most == 2


def test_what_cannot_be_read_is_told_and_left_out(logs: list[tuple[str, Path]], tmp_path: Path) -> None:
    (tmp_path / "web.log.1.gz").write_bytes(b"not gzip")
    os.mkdir(tmp_path / "dir.log")
    hits, found = search([*logs, ("none", tmp_path / "none.log"), ("dir", tmp_path / "dir.log")], "error")
    assert [hit.key for hit in hits] == ["web", "db"]
    assert sorted(problem.partition(":")[0] for problem in found.problems) == ["dir.log", "web.log.1.gz"]


# Waiting for a line.


@given(
    st.lists(st.sampled_from([b"login: ", b"\r\n", b"pass", b"word", b"\r", b"\n", b"x" * 100]), max_size=20), st.data()
)
def test_a_line_is_met_however_it_is_cut(pieces: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(pieces)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    expecter = Expecter("password")
    found = [expecter.feed(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert any(line is not None for line in found) == (b"password" in data)
    assert all(b"password" in line and b"\n" not in line for line in found if line is not None)


@expressions
def test_a_prompt_is_a_line() -> None:
    expecter = Expecter("^login: $")
    assert expecter.feed(b"last login: today\r\nlog") is None
    assert expecter.feed(b"in: ") == b"login: "
    assert Expecter("done$").feed(b"is done\r\nand more") == b"is done"
    assert Expecter("LOGIN:", ignore_case=True).feed(b"login: ") == b"login: "
    assert Expecter("[1]", fixed=True).feed(b"1 [1]") == b"1 [1]"


def test_of_an_endless_line_little_is_remembered() -> None:
    expecter = Expecter("needle")
    for _ in range(100):
        assert expecter.feed(b"hay" * 10_000 + b"need") is None
        assert len(expecter._line) <= 4096
    assert (expecter.feed(b"le") or b"").endswith(b"needle")


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 400), st.sampled_from(["", "plain", "gzip"])), max_size=40),
    st.integers(1, 12),
    st.integers(0, 3000),
)
def test_of_all_logs_the_newest_lines_come_first(says: list[tuple[int, int, str]], most: int, since: int) -> None:
    """Every line in the order of its time, whichever log it is in, however they are rotated."""
    with tempfile.TemporaryDirectory() as folder:
        archives = [Archive(Path(folder), f"{n}.log") for n in range(5)]
        at, lines = 0, []
        for number, (log, later, rotate) in enumerate(says):
            at += 3 * later
            archives[log].say(T0 + at, b"line %d\n" % number)
            lines.append((at, b"line %d" % number))
            if rotate:
                archives[log].rotate(compress=rotate == "gzip")
        limits = Limits(hits=most, since=T0 + since)
        found = Search([(n, archive.path) for n, archive in enumerate(archives)], Pattern("line"), limits)
        hits = [hit.line for step in found for hit in step]
    assert hits == [line for at, line in reversed(lines) if at >= since][:most]


def test_a_log_whose_lines_are_too_old_is_not_read_to_its_beginning(tmp_path: Path) -> None:
    busy, old = Archive(tmp_path, "busy.log"), Archive(tmp_path, "old.log")
    for second in range(200):
        old.say(T0 + second, b"needle\n" + b"hay\n" * 20_000)
    busy.say(T0 + 1000, b"needle\n" * 10)
    old.say(T0 + 1001, b"hay\n")
    found = Search([("old", old.path), ("busy", busy.path)], Pattern("needle"), Limits(hits=5))
    assert [hit.key for step in found for hit in step] == ["busy"] * 5
    assert found.scanned < 1024 * 1024


# Around, until, how many.


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_the_lines_around_a_hit_come_with_it_also_over_the_ends_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, ends: bytes
) -> None:
    monkeypatch.setattr("vmproxy.log.search.CHUNK", 64)
    monkeypatch.setattr("vmproxy.log.reader.CHUNK", 64)
    monkeypatch.setattr("vmproxy.log.search._AROUND", 32)
    lines = [b"line %02d" % number for number in range(40)]
    log = tmp_path / "vm.log"
    data = ends.join([*lines, b""])
    if packed:
        log.write_bytes(b"")
        (tmp_path / "vm.log.1.gz").write_bytes(gzip.compress(data))
    else:
        log.write_bytes(data)
    for number in range(40):
        search = Search([("vm", log)], Pattern(f"{number:02d}", fixed=True), Limits(context=2))
        (hit,) = [hit for hits in search for hit in hits]
        assert hit.text == lines[number]
        assert list(hit.before) == lines[max(0, number - 2) : number]
        assert list(hit.after) == lines[number + 1 : number + 3]


@pytest.mark.parametrize("packed", [False, True])
def test_lines_up_to_a_time_and_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr("vmproxy.log.search.CHUNK", 64)
    monkeypatch.setattr("vmproxy.log.search._FOUND_AT_ONCE", 5)
    data = b"".join(b"line %02d\n" % number for number in range(40))
    marks = b"".join(time_mark(1000.0 + number, 8 * number) for number in range(40))
    log = tmp_path / "vm.log"
    log.write_bytes(b"")
    if packed:
        (tmp_path / "vm.log.1.gz").write_bytes(gzip.compress(data))
        (tmp_path / "vm.log.events.1.gz").write_bytes(gzip.compress(marks))
    else:
        log.write_bytes(data)
        (tmp_path / "vm.log.events").write_bytes(marks)

    def found(**limits: float) -> list[bytes]:
        search = Search([("vm", log)], Pattern("line", fixed=True), Limits(hits=3, **limits))  # type: ignore[arg-type]  # numbers by name
        return [hit.text for hits in search for hit in hits]

    assert found(until=1020.0) == [b"line 20", b"line 19", b"line 18"]
    assert found(until=1020.0, since=1019.0) == [b"line 20", b"line 19"]
    assert found(until=999.0) == []
    counts: Counter[object] = Counter()
    limits = Limits(hits=3, since=1010.0, until=1020.0)
    assert [hits for hits in Search([("vm", log)], Pattern("line", fixed=True), limits, counts=counts) if hits] == []
    assert counts == {"vm": 11}
    everything: Counter[object] = Counter()
    list(Search([("vm", log)], Pattern("0", fixed=True), Limits(hits=1), counts=everything))
    assert everything == {"vm": 13}
