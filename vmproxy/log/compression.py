"""Compression of old logs, on a thread of its own that rests as much as it works.

A segment may have gigabytes, and the writer must not wait for that. One file is compressed at a time, in pieces, into a
temporary file beside it; the writer, which knows what the segment is called by then, puts it in its place. What a stop
leaves unfinished is removed, and begun anew another time.

The thread does not have a lower priority, on purpose: it could be put off by other processes at a moment when it holds
the interpreter's lock, and the reactor would wait with it. It works while the lock is free (zlib gives it back), and
then pauses as long, so that half a processor is the most it takes.
"""

from __future__ import annotations

import gzip
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PIECE = 256 * 1024
LEVEL = 6


class Stopped(OSError):
    """Compression was given up because the process stops."""


@dataclass(frozen=True, slots=True)
class Work:
    """A file to compress.

    :ivar fd: open for reading; it is closed, whatever happens.
    :ivar temporary: where to write; there is nothing yet.
    :ivar size: the bytes that it must have.
    :ivar modified: when it was last written, nanoseconds since the epoch; ``mode``: who may read it. The compressed
        one is given both.
    """

    fd: int
    temporary: Path
    size: int
    modified: int
    mode: int


def compress(work: Work, pause: Callable[[float], bool]) -> None:
    """Compress a file. When this returns, the result is on the disk, whole.

    :param pause: called between pieces with the seconds of the processor that one took; tells whether to give up.
    :raises OSError: if it cannot be done; nothing is left then.
    """
    with os.fdopen(work.fd, "rb", buffering=0) as source:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(work.temporary, flags, 0o600)
        try:
            with os.fdopen(fd, "wb") as target:
                # No name in its header: it would be that of the temporary file.
                with gzip.GzipFile("", "wb", LEVEL, target, work.modified // 10**9) as packed:
                    left = work.size
                    began = time.thread_time()
                    while left and (piece := source.read(min(PIECE, left))):
                        packed.write(piece)
                        left -= len(piece)
                        if pause(time.thread_time() - began):
                            raise Stopped(None, "the process stops")
                        began = time.thread_time()
                if left:
                    raise OSError(None, "it has become shorter")
                target.flush()
                os.fchmod(target.fileno(), work.mode)
                # The original is removed when this is in its place: a power failure must leave one of the two.
                os.fsync(target.fileno())
            os.utime(work.temporary, ns=(work.modified, work.modified))
        except BaseException:
            work.temporary.unlink(missing_ok=True)
            raise


class CompressorThread:
    """Compresses what it is given, one after the other. The thread begins with the first piece of work."""

    def __init__(self, answer: Callable[[Callable[[], object]], object]) -> None:
        """:param answer: has a call made on the thread of whoever submits."""
        self._answer = answer
        self._jobs: queue.SimpleQueue[tuple[Work, Callable[[Exception | None], object]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def submit(self, work: Work, done: Callable[[Exception | None], object]) -> None:
        """Have a file compressed.

        :param done: is called, by way of ``answer``, with None or with what went wrong.
        """
        if self._stopped.is_set():
            os.close(work.fd)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vmproxy-gzip", daemon=True)
            self._thread.start()
        self._jobs.put((work, done))

    def stop(self) -> None:
        """Give up what is under way, as soon as the piece at hand is done."""
        self._stopped.set()
        self._jobs.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the thread to end."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            problem: Exception | None = None
            try:
                compress(work, self._stopped.wait)
            except Exception as error:
                problem = error
            self._answer(_call(done, problem))


def _call(done: Callable[[Exception | None], object], problem: Exception | None) -> Callable[[], object]:
    return lambda: done(problem)
