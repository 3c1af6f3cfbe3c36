"""The logs with the real thread: data crosses it in order, retries and moved files need no push, a stop ends it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from consolekit import Listener, process_log
from twisted.internet.task import Clock

from vmproxy.console.filepool import FilePool
from vmproxy.console.log import LogStore
from vmproxy.console.scribe import Scribe, ScribeThread

PATIENCE = 20


class Threaded:
    """A store whose scribe has its thread. This thread is the reactor: it does what the scribe sends."""

    def __init__(self, folder: Path) -> None:
        self.calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.runner = ScribeThread(Scribe(16))
        self.store = LogStore(folder, Clock(), self.runner, self.calls.put)
        self.store.start()

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.calls.get(timeout=PATIENCE)()

    def settle(self, log) -> int:
        sizes: list[int] = []
        log.settled().addCallback(sizes.append)
        self.until(lambda: bool(sizes))
        return sizes[0]

    def stop(self) -> None:
        stopped: list[None] = []
        self.store.stop().addCallback(stopped.append)
        self.until(lambda: bool(stopped))
        for thread in threading.enumerate():
            if thread.name == "vmproxy-scribe":
                thread.join(PATIENCE)


@pytest.fixture
def threaded(tmp_path):
    threaded = Threaded(tmp_path / "logs")
    yield threaded
    threaded.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "vmproxy-scribe"]


def test_bytes_of_many_logs_arrive_whole_and_in_order(threaded):
    logs = [threaded.store.open(Path(f"{n}.log")) for n in range(40)]
    for n in range(50):
        for log in logs:
            log.append(b"%d," % n)
        if n % 7 == 0:
            threaded.store.flush()
    for log in logs:
        threaded.settle(log)
        assert log.path.read_bytes() == b"".join(b"%d," % n for n in range(50))
    assert threaded.store.unwritten == 0


def test_settled_tells_how_much_is_there(threaded):
    log = threaded.store.open(Path("vm.log"))
    log.append(b"12345")
    assert threaded.settle(log) == 5


def test_a_stop_writes_everything_first(tmp_path):
    threaded = Threaded(tmp_path / "logs")
    logs = [threaded.store.open(Path(f"{n}.log")) for n in range(100)]
    for log in logs:
        log.append(b"last words")
    threaded.stop()
    assert {log.path.read_bytes() for log in logs} == {b"last words"}


def test_a_failed_write_is_retried_though_nothing_else_happens(threaded, monkeypatch):
    monkeypatch.setattr("vmproxy.console.scribe.RETRY_SECONDS", 0.01)
    log = threaded.store.open(Path("vm.log"))
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


def test_moved_files_are_looked_for_though_nothing_else_happens(threaded, monkeypatch):
    monkeypatch.setattr("vmproxy.console.scribe.FOLLOW_SECONDS", 0.01)
    looked: queue.SimpleQueue[None] = queue.SimpleQueue()
    follow = FilePool.follow

    def noticed(pool: FilePool) -> None:
        follow(pool)
        looked.put(None)

    monkeypatch.setattr(FilePool, "follow", noticed)
    log = threaded.store.open(Path("vm.log"))
    log.append(b"old")
    threaded.settle(log)
    log.path.rename(log.path.with_name("rotated"))
    while not looked.empty():
        looked.get()
    looked.get(timeout=PATIENCE)  # it may have begun before the rename
    looked.get(timeout=PATIENCE)
    assert log.path.read_bytes() == b""


def test_a_job_that_fails_is_told_and_the_next_one_is_done(threaded):
    def fail() -> None:
        raise RuntimeError("a job's own fault")

    with process_log() as lines:
        threaded.runner.submit(fail)
        log = threaded.store.open(Path("vm.log"))
        log.append(b"x")
        assert threaded.settle(log) == 1
    assert any("the log writer failed at a job" in line for line in lines)


def test_one_log_that_fails_for_a_reason_nobody_thought_of_does_not_take_the_others_with_it(threaded):
    logs = [threaded.store.open(Path(name)) for name in ("1.log", "with\0nul.log", "3.log")]
    for log in logs:
        log.append(b"x")
    assert threaded.settle(logs[2]) == 1
    assert logs[2].path.read_bytes() == b"x"
    assert logs[0].path.read_bytes() == b"x"
