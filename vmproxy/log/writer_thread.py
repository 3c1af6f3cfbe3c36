"""The threads of the log: that of the writer, and that which makes lines of what is written."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from twisted.logger import Logger

from vmproxy.log.compression import CompressorThread
from vmproxy.log.line_feed import LineFeed
from vmproxy.log.writer import LogWriter

COMPRESSOR_SECONDS = 5.0  # to tidy up at the stop; it takes that long only where the machine is very busy

_log = Logger()


class LogWriterThread:
    """Runs the writer's work on a thread of its own: its jobs, one after the other, and in between what is due."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vmproxy-writer", daemon=True)
        self._compressor = CompressorThread(self.submit)
        writer.rotation.compress_with(self._compressor.submit)
        self._lines = LineThread(writer.lines)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Callable[[], object]) -> None:
        """Have something done on the thread, after all that was submitted before."""
        self._jobs.put(job)

    def stop(self, done: Callable[[], object]) -> None:
        """Finish what was submitted, close everything, and call ``done`` on the thread."""

        def last() -> None:
            self._compressor.stop()
            self._lines.stop()
            try:
                self.writer.close()
                self._compressor.join(COMPRESSOR_SECONDS)
            finally:
                done()

        self._jobs.put(last)
        self._jobs.put(None)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self.writer.next_tick())
            except queue.Empty:
                job = self.writer.tick
            if job is None:
                return
            try:
                job()
                due = self.writer.next_tick()
                if due is not None and due <= 0:
                    self.writer.tick()
            except Exception:
                _log.failure("the log writer failed at a job; it goes on with the next")


GATHER_SECONDS = 0.05  # in which more comes, to be dealt with in one go
REST = 1.0  # times as long as it has worked; so it takes half a core at most


class LineThread:
    """Runs the work of a :class:`LineFeed`, for those who look on: it begins when there is something to do.

    Bound: half of the time it rests. It takes turns at Python's lock with the reactor, whatever the VMs print.
    """

    def __init__(self, feed: LineFeed) -> None:
        self._feed = feed
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False
        feed.wake_with(self._wake)

    def _wake(self) -> None:
        # On the writer's thread, and nowhere else.
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="vmproxy-lines", daemon=True)
            self._thread.start()
        self._event.set()

    def stop(self) -> None:
        """Do nothing more."""
        self._stopped = True
        self._event.set()

    def _run(self) -> None:
        while True:
            left = self._feed.wait()
            if left != 0.0:
                self._event.wait(left)
                # To take turns for each write to a log costs more than all that there is to do for it.
                time.sleep(GATHER_SECONDS)
            self._event.clear()
            if self._stopped:
                return
            began = time.thread_time()
            try:
                self._feed.work()
            except Exception:
                _log.failure("making lines failed; it goes on")
            time.sleep(REST * (time.thread_time() - began))
