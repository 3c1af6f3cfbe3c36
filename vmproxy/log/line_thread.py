"""The thread that makes lines for those who look on: started when there is something to do, and half of the time idle.

It takes turns at Python's lock with the reactor, so the time that it works is limited, whatever the VMs print.
"""

from __future__ import annotations

import threading
import time

from twisted.logger import Logger

from vmproxy.log.line_feed import LineFeed

GATHER_SECONDS = 0.05  # in which more comes, to be dealt with in one go
REST = 1.0  # times as long as it has worked; so it takes half a core at most

_log = Logger()


class LineThread:
    """Runs the work of a :class:`LineFeed`."""

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
