"""The past as a viewer sees it: across rotated files, and joined to what is live."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.support.properties import examples
from tests.support.ssh import SSHWorld
from vmproxy.log.reader import open_segments
from vmproxy.log.tail import last_lines as tail


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def last(path: Path, lines: int, limit: int = 256 * 1024) -> bytes:
    with open_segments(path, enough=limit + 1, trails=False) as segments:
        return tail(segments, lines, limit)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [(1, b"7\n"), (2, b"6\n7\n"), (3, b"5\n6\n7\n"), (5, b"3\n4\n5\n6\n7\n"), (100, b"1\n2\n3\n4\n5\n6\n7\n")],
)
def test_the_last_lines_reach_across_rotated_and_compressed_files(tmp_path: Path, lines: int, wanted: bytes) -> None:
    log = tmp_path / "x.log"
    for name, data in (("x.log", b"\n6\n7\n"), ("x.log.1", b"4\n5"), ("x.log.2.gz", b"1\n2\n3\n")):
        write(log.with_name(name), data)
    assert last(log, lines) == wanted


@examples(50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from([b"\n", b"a", b"bc\n"]), max_size=20).map(b"".join), min_size=1, max_size=5),
    st.integers(1, 30),
    st.integers(1, 60),
)
def test_however_the_log_is_cut_into_files_its_end_is_the_same(
    tmp_path: Path, pieces: list[bytes], lines: int, limit: int
) -> None:
    folder = tmp_path / "log"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for n, piece in enumerate(reversed(pieces)):
        write(folder / (f"x.log.{n}" if n else "x.log"), piece)
    whole = b"".join(pieces)
    end = whole[-limit:]
    wanted = b"".join(end.splitlines(keepends=True)[-lines:])
    if wanted == end != whole and 0 < (first := end.find(b"\n") + 1) < len(end):
        wanted = end[first:]  # no beginning within a line, where there is a whole one behind it
    assert last(folder / "x.log", lines, limit) == wanted


def test_what_is_before_a_damaged_file_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    write(log, b"3\n")
    log.with_name("x.log.1.gz").write_bytes(gzip.compress(os.urandom(1000))[:500])
    write(log.with_name("x.log.2"), b"1\n")
    assert last(log, 10) == b"3\n"


def test_only_a_log_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    assert last(tmp_path / "none.log", 10) == b""
    (tmp_path / "x.log").mkdir()
    with pytest.raises(OSError, match=r"x\.log"):
        last(tmp_path / "x.log", 10)


@pytest.mark.parametrize("when", ["before it is opened", "before it is read"])
def test_a_rotation_in_between_neither_loses_nor_doubles_a_byte(w: SSHWorld, when: str) -> None:
    w.vm()
    w.console().feed(b"one\r\n")
    w.store.flush()
    path = w.console().log.path
    client = w.login("web01")
    w.threads_held = True
    if when == "before it is opened":
        path.rename(path.with_name(path.name + ".1"))
        w.store.reopen()
        w.console().feed(b"two\r\n")
    channel = client.attach()
    if when == "before it is read":
        w.console().feed(b"two\r\n")
        path.rename(path.with_name(path.name + ".1"))
        w.store.reopen()
    w.console().feed(b"three\r\n")
    w.store.flush()
    w.threads_held = False
    w.release_threads()
    client.pump()
    assert channel.out == b"one\r\ntwo\r\nthree\r\n"
    assert b"[-- last %d line" % (2 if when == "before it is opened" else 1) in channel.err


def test_files_of_a_session_that_left_while_they_were_opened_are_closed(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"one\r\n")
    w.store.flush()
    before = len(os.listdir("/proc/self/fd"))
    client = w.login("web01")
    w.runner.held = True
    channel = client.attach()
    channel.close()
    w.runner.release()
    client.pump()
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the log's own descriptor
    assert b"one" not in channel.out
