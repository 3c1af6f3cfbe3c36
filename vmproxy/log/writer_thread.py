"""The thread of the log writer: its jobs, one after the other, and in between what is due."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from twisted.logger import Logger

from vmproxy.log.compression import CompressorThread
from vmproxy.log.line_thread import LineThread
from vmproxy.log.writer import LogWriter

COMPRESSOR_SECONDS = 5.0  # to tidy up at the stop; it takes that long only where the machine is very busy

_log = Logger()


class LogWriterThread:
    """Runs the writer's work, one job after the other, on a thread of its own."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vmproxy-writer", daemon=True)
        self._compressor = CompressorThread(self.submit)
        writer.rotation.compress_with(self._compressor.submit)
        self._lines = LineThread(writer.lines)

    def start(self) -> None:
        """Start working."""
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
