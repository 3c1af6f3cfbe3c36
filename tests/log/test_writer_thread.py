"""The logs with the real thread: data crosses it in order, retries and moved files need no push, a stop ends it."""

from __future__ import annotations

import gzip
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.support.fakes import Listener, Logged
from vmproxy.log.audit import Audit
from vmproxy.log.compression import CompressorThread, Work, compress
from vmproxy.log.file_pool import FilePool
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.settings import LogSettings
from vmproxy.log.store import ConsoleLog, LogStore
from vmproxy.log.writer import LogWriter
from vmproxy.log.writer_thread import LogWriterThread

PATIENCE = 20


class Threaded:
    """A store whose writer has its thread. This thread is the reactor: it does what the writer sends."""

    def __init__(self, folder: Path) -> None:
        self.calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.runner = LogWriterThread(LogWriter(16))
        inputs = Audit(folder / "input.jsonl", self.runner.submit, Clock())
        self.store = LogStore(folder, Clock(), self.runner, self.calls.put, inputs)
        self.store.start()

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.calls.get(timeout=PATIENCE)()

    def settle(self, log: ConsoleLog) -> int:
        sizes: list[int] = []
        log.settled().addCallback(sizes.append)
        self.until(lambda: bool(sizes))
        return sizes[0]

    def stop(self) -> None:
        stopped: list[None] = []
        self.store.stop().addCallback(stopped.append)
        self.until(lambda: bool(stopped))
        for thread in threading.enumerate():
            if thread.name == "vmproxy-writer":
                thread.join(PATIENCE)


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[Threaded]:
    threaded = Threaded(tmp_path / "logs")
    yield threaded
    threaded.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "vmproxy-writer"]


def test_bytes_of_many_logs_arrive_whole_and_in_order(threaded: Threaded) -> None:
    logs = [threaded.store.open(f"{n}.log") for n in range(40)]
    for n in range(50):
        for log in logs:
            log.append(b"%d," % n)
        if n % 7 == 0:
            threaded.store.flush()
    for log in logs:
        threaded.settle(log)
        assert log.path.read_bytes() == b"".join(b"%d," % n for n in range(50))
    assert threaded.store.unwritten == 0


def test_settled_tells_how_much_is_there(threaded: Threaded) -> None:
    log = threaded.store.open("vm.log")
    log.append(b"12345")
    assert threaded.settle(log) == 5


def test_a_stop_writes_everything_first(tmp_path: Path) -> None:
    threaded = Threaded(tmp_path / "logs")
    logs = [threaded.store.open(f"{n}.log") for n in range(100)]
    for log in logs:
        log.append(b"last words")
    threaded.stop()
    assert {log.path.read_bytes() for log in logs} == {b"last words"}


def test_a_failed_write_is_retried_though_nothing_else_happens(
    threaded: Threaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmproxy.log.retry.RETRY_SECONDS", 0.01)
    log = threaded.store.open("vm.log")
    log.listener = listener = Listener()
    log.path.parent.mkdir()
    log.path.mkdir()
    log.append(b"x")
    threaded.store.flush()
    threaded.until(lambda: bool(listener.told))
    assert listener.told == [("failed", "Is a directory")]
    log.path.rmdir()
    threaded.until(lambda: len(listener.told) == 2)
    assert listener.told[1] == ("recovered", 0)
    assert log.path.read_bytes() == b"x"


def test_moved_files_are_looked_for_though_nothing_else_happens(
    threaded: Threaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmproxy.log.writer.FOLLOW_SECONDS", 0.01)
    looked: queue.SimpleQueue[None] = queue.SimpleQueue()
    follow = FilePool.follow

    def noticed(pool: FilePool) -> list[str]:
        changed = follow(pool)
        looked.put(None)
        return changed

    monkeypatch.setattr(FilePool, "follow", noticed)
    log = threaded.store.open("vm.log")
    log.append(b"old")
    threaded.settle(log)
    log.path.rename(log.path.with_name("rotated"))
    while not looked.empty():
        looked.get()
    looked.get(timeout=PATIENCE)  # it may have begun before the rename
    looked.get(timeout=PATIENCE)
    assert log.path.read_bytes() == b""


def test_a_job_that_fails_is_told_and_the_next_one_is_done(threaded: Threaded) -> None:
    def fail() -> None:
        raise RuntimeError("a job's own fault")

    with Logged() as lines:
        threaded.runner.submit(fail)
        log = threaded.store.open("vm.log")
        log.append(b"x")
        assert threaded.settle(log) == 1
    assert any("the log writer failed at a job" in line for line in lines)


def test_one_log_that_fails_for_a_reason_nobody_thought_of_does_not_take_the_others_with_it(threaded: Threaded) -> None:
    logs = [threaded.store.open(name) for name in ("1.log", "with\0nul.log", "3.log")]
    for log in logs:
        log.append(b"x")
    assert threaded.settle(logs[2]) == 1
    assert logs[2].path.read_bytes() == b"x"
    assert logs[0].path.read_bytes() == b"x"


def test_logs_are_rotated_and_compressed_while_they_are_written(threaded: Threaded) -> None:
    threaded.store.reconfigure(LogSettings(rotation=RotationPolicy(size=10_000, compress=True), plain=True))
    logs = [threaded.store.open(f"{n}.log") for n in range(2)]
    said = [b"".join(b"%d says line %d\r\n" % (which, n) for n in range(3000)) for which in range(2)]
    for at in range(0, len(said[0]), 1000):
        for log, data in zip(logs, said, strict=True):
            log.append(data[at : at + 1000])
        threaded.store.flush()
    rotation = threaded.runner.writer.rotation
    threaded.settle(logs[0])
    while rotation.wait() is not None or rotation._under_way is not None:
        threaded.settle(logs[0])
    for log, data in zip(logs, said, strict=True):
        threaded.settle(log)
        names = [f"{log.path.name}.{n}.gz" for n in range(99, 0, -1)]
        old = [gzip.decompress(path.read_bytes()) for name in names if (path := log.path.with_name(name)).exists()]
        assert len(old) >= 3
        assert b"".join(old) + log.path.read_bytes() == data
    assert rotation.failed == 0


def test_a_policy_that_comes_later_wakes_the_thread(threaded: Threaded) -> None:
    log = threaded.store.open("vm.log")
    log.append(b"x" * 100)
    threaded.settle(log)
    rotation = threaded.runner.writer.rotation
    threaded.store.reconfigure(LogSettings(rotation=RotationPolicy(size=10), plain=False))
    while not rotation.rotated:
        threaded.settle(log)
    assert log.path.with_name("vm.log.1").read_bytes() == b"x" * 100


def test_what_is_done_with_a_logs_files_is_done_on_the_thread_and_answered_on_this_one(threaded: Threaded) -> None:
    log = threaded.store.open("vm.log")
    log.append(b"12345")
    answers: list[tuple[bytes, str, str]] = []

    def call(path: Path) -> tuple[bytes, str]:
        return path.read_bytes(), threading.current_thread().name

    log.on_writer(call).addCallback(lambda result: answers.append((*result, threading.current_thread().name)))
    threaded.until(lambda: bool(answers))
    assert answers == [(b"12345", "vmproxy-writer", threading.current_thread().name)]


def test_the_compressor_stops_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    answers: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    problems: list[Exception | None] = []
    source = tmp_path / "vm.log.1"
    source.write_bytes(b"x" * 100_000_000)
    compressor = CompressorThread(answers.put)
    fd = os.open(source, os.O_RDONLY)
    compressor.submit(Work(fd, tmp_path / "vm.log.gz.tmp", 100_000_000, 0, 0o640), problems.append)
    compressor.stop()
    compressor.join(PATIENCE)
    answers.get(timeout=PATIENCE)()
    assert "the process stops" in str(problems[0])
    assert [path.name for path in tmp_path.iterdir()] == ["vm.log.1"]


def test_a_compression_that_ends_too_late_to_be_heard_leaves_nothing(tmp_path: Path) -> None:
    threaded = Threaded(tmp_path / "logs")
    ended = threading.Event()

    def unheard(work: Work, _done: Callable[[Exception | None], object]) -> None:
        compress(work, lambda _seconds: False)
        ended.set()

    threaded.runner.writer.rotation.compress_with(unheard)
    threaded.store.reconfigure(LogSettings(rotation=RotationPolicy(size=10, compress=True), plain=False))
    threaded.store.open("vm.log").append(b"x" * 100)
    threaded.store.flush()
    assert ended.wait(PATIENCE)
    assert list((tmp_path / "logs").glob("*.tmp"))
    threaded.stop()
    assert not list((tmp_path / "logs").glob("*.tmp"))
