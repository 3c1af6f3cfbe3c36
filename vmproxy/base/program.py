"""Programs: run without a shell, with a time limit and an environment of their own.

A program leads a session of its own, so that at the end of its time all that it has started can be ended with it. What
it writes to standard error, and where that is wanted to standard output, is read, so that it never waits for that, and
the beginning is kept. All of this blocks, and is for a thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

KILL_SECONDS = 2.0
ERRORS_LIMIT = 4096
OUTPUT_LIMIT = 64 * 1024
STOPS = "vmproxy stops"
PASSED_ON = ("PATH", "LANG", "HOME", "TZ")
_LOOK_SECONDS = 0.05
_PIECE = 64 * 1024


class Ended(NamedTuple):
    """How a program has ended.

    :ivar problem: what went wrong, for people; empty if nothing did.
    :ivar status: its exit status, or less than 0 the signal; None if it could not be run, or was not done in time.
    """

    problem: str
    status: int | None = None


class Programs:
    """Programs that run now.

    Invariant: once :meth:`stop` has been called, none begins, and those that run are killed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(
        self,
        words: Sequence[str],
        data: bytes,
        environment: Mapping[str, str],
        timeout: float,
        output: bytearray | None = None,
    ) -> Ended:
        """Run a program to its end.

        :param words: its path and its arguments.
        :param data: its standard input.
        :param timeout: seconds until it gets SIGTERM; SIGKILL follows.
        :param output: gets the beginning of what it writes, to standard output and to standard error.
        """
        with self._lock:
            if self._stopped:
                return Ended(STOPS)
            try:
                process = subprocess.Popen(  # noqa: S603 - an administrator names it
                    words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL if output is None else subprocess.PIPE,
                    stderr=subprocess.PIPE if output is None else subprocess.STDOUT,
                    cwd="/",
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                return Ended(f"cannot run {words[0]}: {error.strerror}")
            self._running.add(process)
        try:
            return _attend(process, data, timeout, output)
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Kill all programs, and run no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _signal(process, signal.SIGKILL)


def _attend(process: subprocess.Popen[bytes], data: bytes, timeout: float, output: bytearray | None) -> Ended:
    written = process.stderr or process.stdout
    assert process.stdin is not None
    assert written is not None
    said, most = (bytearray(), ERRORS_LIMIT) if output is None else (output, OUTPUT_LIMIT)
    late = killed = False
    until = time.monotonic() + timeout
    with process.stdin, written:
        for stream in (process.stdin, written):
            os.set_blocking(stream.fileno(), False)
        streams = select.poll()
        streams.register(written.fileno(), select.POLLIN)
        if data:
            streams.register(process.stdin.fileno(), select.POLLOUT)
        else:
            process.stdin.close()
        # Not until its streams are closed: something that it has left behind may have them.
        while process.poll() is None:
            for fd, _ in streams.poll(1000 * _LOOK_SECONDS):
                if fd == written.fileno():
                    if not _read(fd, said, most):
                        streams.unregister(fd)
                else:
                    data = _write(fd, data)
                    if not data:
                        streams.unregister(fd)
                        with contextlib.suppress(OSError):
                            process.stdin.close()
            if time.monotonic() >= until and not killed:
                _signal(process, signal.SIGKILL if late else signal.SIGTERM)
                killed, late, until = late, True, time.monotonic() + KILL_SECONDS
        _read(written.fileno(), said, most)  # a pipe holds no more than that
    if late:  # what it has started may not have ended with it
        _signal(process, signal.SIGKILL)
        return Ended(f"not done within {timeout:g} s")
    status = process.returncode
    if status == 0:
        return Ended("", 0)
    how = f"status {status}" if status > 0 else f"signal {-status}"
    first = said.decode("utf-8", "replace").strip().partition("\n")[0] if output is None else ""
    return Ended(f"{how}{f': {first}' if first else ''}", status)


def _read(fd: int, said: bytearray, most: int) -> bool:
    """Read some, and keep the beginning; :returns: whether there may be more."""
    try:
        data = os.read(fd, _PIECE)
    except BlockingIOError:
        return True
    except OSError:
        return False
    said += data[: most - len(said)]
    return bool(data)


def passed_on() -> dict[str, str]:
    """What a program gets of the environment of the daemon."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def _write(fd: int, data: bytes) -> bytes:
    """Write some; :returns: the rest."""
    try:
        return data[os.write(fd, data) :]
    except BlockingIOError:
        return data
    except OSError:  # it does not read it
        return b""


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(OSError):  # all of them are gone
        os.killpg(process.pid, number)
