"""The thread of the log writer: its jobs, one after the other, and in between what is due."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from twisted.logger import Logger

from vmproxy.log.compression import CompressorThread
from vmproxy.log.writer import Scribe

COMPRESSOR_SECONDS = 5.0  # to tidy up at the stop; it takes that long only where the machine is very busy

_log = Logger()


class ScribeThread:
    """Runs the scribe's work, one job after the other, on a thread of its own."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vmproxy-scribe", daemon=True)
        self._compressor = CompressorThread(self.submit)
        scribe.rotation.compress_with(self._compressor.submit)

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
            try:
                self.scribe.close()
                self._compressor.join(COMPRESSOR_SECONDS)
            finally:
                done()

        self._jobs.put(last)
        self._jobs.put(None)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self.scribe.next_tick())
            except queue.Empty:
                job = self.scribe.tick
            if job is None:
                return
            try:
                job()
                due = self.scribe.next_tick()
                if due is not None and due <= 0:
                    self.scribe.tick()
            except Exception:
                _log.failure("the log writer failed at a job; it goes on with the next")
