"""The pool of open files: bounded whatever happens, and of use also when more is written to than fits."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmproxy.log.file_pool import BUSY, IDLE, FilePool, append_line, write_all


class Limit:
    """How many there may be; may change."""

    def __init__(self, files: int) -> None:
        self.files = files

    def __call__(self) -> int:
        return self.files


@pytest.fixture
def limit() -> Limit:
    return Limit(8)


@pytest.fixture
def pool(limit: Limit) -> Iterator[FilePool]:
    pool = FilePool(limit)
    yield pool
    pool.close()


def test_more_files_in_turn_than_fit_leave_some_that_are_found_open(pool: FilePool, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{n}") for n in range(32)]
    found = 0
    for _ in range(10):
        for path in paths:
            found += path in pool
            write_all(pool.get(path).fd, b"x")
            assert len(pool) <= 8
    assert found >= 9 * 7
    assert [Path(path).read_bytes() for path in paths] == [b"x" * 10] * 32


def test_what_is_not_used_any_more_makes_room_for_what_is(pool: FilePool, tmp_path: Path) -> None:
    for n in range(8):
        pool.get(str(tmp_path / f"old{n}"))
    new = [str(tmp_path / f"new{n}") for n in range(8)]
    for _ in range(2 * BUSY * 8):
        for path in new:
            pool.get(path)
    assert all(path in pool for path in new)


def test_when_the_limit_falls_files_are_closed(pool: FilePool, limit: Limit, tmp_path: Path) -> None:
    for n in range(8):
        pool.get(str(tmp_path / f"{n}"))
    limit.files = 3
    pool.follow()
    assert len(pool) == 3
    before = len(os.listdir("/proc/self/fd"))
    limit.files = 0
    pool.get(str(tmp_path / "another"))
    assert len(pool) == 2
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_files_that_nobody_uses_are_closed(pool: FilePool, tmp_path: Path) -> None:
    idle, busy = str(tmp_path / "idle"), str(tmp_path / "busy")
    pool.get(idle)
    for _ in range(IDLE + 2):
        pool.get(busy)
        pool.follow()
    assert (idle in pool, busy in pool) == (False, True)
    write_all(pool.get(idle).fd, b"again")
    assert Path(idle).read_bytes() == b"again"


# Where the process has no descriptors left.


@contextmanager
def no_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_descriptors_another_log_is_closed_for_the_one_that_is_written(tmp_path: Path) -> None:
    pool = FilePool(lambda: 10)
    first, second, third = (tmp_path / name for name in ("a.log", "b.log", "c.log"))
    for path in (first, second):
        write_all(pool.get(path).fd, b"before, ")
    with no_descriptors():
        for _ in range(3):
            for path in (first, second, third):
                write_all(pool.get(path).fd, b"more. ")
        assert len(pool) == 2
    pool.close()
    assert [path.read_bytes() for path in (first, second, third)] == [
        b"before, more. more. more. ",
        b"before, more. more. more. ",
        b"more. more. more. ",
    ]


def test_without_descriptors_and_without_files_of_its_own_it_says_so(tmp_path: Path) -> None:
    pool = FilePool(lambda: 10)
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        pool.get(tmp_path / "a.log")
    write_all(pool.get(tmp_path / "a.log").fd, b"now")
    pool.close()


def test_a_borrowed_file_is_open_until_it_is_taken_back_and_pushes_out_no_other(pool: FilePool, tmp_path: Path) -> None:
    kept = [str(tmp_path / f"kept{n}") for n in range(7)]
    for path in kept:
        pool.get(path)
    for n in range(100):
        path = str(tmp_path / f"quiet{n}")
        file = pool.borrow(path)
        assert pool.borrow(path) is file
        append_line(file, b"a line\n")
        assert os.pread(file.fd, 10, 0) == b"a line\n"
        pool.take_back()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file.fd)
    pool.take_back()
    assert all(path in pool for path in kept)
    assert pool.borrow(kept[0]) is pool.get(kept[0])
    pool.take_back()
    os.fstat(pool.get(kept[0]).fd)


def test_a_file_is_not_made_by_borrowing_unless_that_is_wanted(pool: FilePool, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pool.borrow(tmp_path / "none", make=False)
    pool.take_back()
    assert not list(tmp_path.iterdir())


def test_what_is_no_regular_file_is_not_lent(pool: FilePool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Not a regular file"):
        pool.borrow(tmp_path / "pipe")
    assert len(os.listdir("/proc/self/fd")) == before
