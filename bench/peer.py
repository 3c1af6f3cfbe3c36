"""Any other concentrator, as a process beside the other two: ``--peer NAME=COMMAND``.

Nothing is known of it but the port where machines connect. Its logs are not compared with what was said; that it is
done with something shows in that it uses no processor time any more. What it uses is that of all processes of its
session: the command may be a script that starts others.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import time
from pathlib import Path

from bench.machines import TOLERANT, Machine
from bench.servers import PATIENCE, BenchError, Server, process_memory, process_seconds
from bench.text import Expected

PLACES = ("{port}", "{folder}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,20}")
_SESSION, _CHILDREN_USER, _CHILDREN_SYSTEM = 3, 13, 14  # in /proc/PID/stat, behind the name
_PAUSE = 0.02


def parse(text: str, taken: tuple[str, ...]) -> tuple[str, list[str]]:
    """``NAME=COMMAND``.

    :param taken: names that it must not have.
    :returns: the name, and the words of the command, places for values included.
    :raises ValueError: with what is wrong, for people.
    """
    name, _, command = text.partition("=")
    if not _NAME.fullmatch(name) or name in taken:
        raise ValueError(f"{name!r} is no name for a peer, or is taken")
    words = shlex.split(command)
    if not words or not any("{port}" in word for word in words):
        raise ValueError(f"{name}: the command must have {{port}} where it is told where to listen")
    return name, words


class Peer(Server):
    """Another concentrator."""

    handshake = TOLERANT
    logs_are_known = False

    def __init__(self, folder: Path, core: set[int], command: list[str]) -> None:
        """:param command: with ``{port}`` and ``{folder}`` in it."""
        super().__init__(folder, core)
        self._command = command

    def start(self) -> None:
        self.logs.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.vm_port = free.getsockname()[1]
        values = dict(zip(PLACES, (str(self.vm_port), str(self.logs)), strict=True))
        words = [re.sub("|".join(map(re.escape, PLACES)), lambda m: values[m[0]], word) for word in self._command]
        try:
            self._spawn(words, session=True)
        except OSError as error:
            raise BenchError(f"{words[0]}: {error.strerror}") from None
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"nothing listens on its port {self.vm_port}:\n{self.said()[-3000:]}")
            time.sleep(_PAUSE)

    def _answers(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.vm_port)) == 0

    def expected(self, machine: Machine) -> list[Expected]:
        return []

    # What it uses, over all of its processes.

    def _processes(self) -> dict[int, list[str]]:
        found = {}
        for entry in os.listdir("/proc"):
            try:
                fields = Path(f"/proc/{int(entry)}/stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if int(fields[_SESSION]) == self.process.pid and fields[0] != "Z":
                found[int(entry)] = fields
        return found

    def cpu(self) -> float:
        total = 0.0
        for pid, fields in self._processes().items():
            total += (int(fields[_CHILDREN_USER]) + int(fields[_CHILDREN_SYSTEM])) / os.sysconf("SC_CLK_TCK")
            try:
                total += process_seconds(pid)
            except OSError:
                continue
        return total

    def memory(self) -> int:
        return sum(map(process_memory, self._processes()))

    def descriptors(self) -> int:
        total = 0
        for pid in self._processes():
            try:
                total += len(os.listdir(f"/proc/{pid}/fd"))
            except OSError:
                continue
        return total

    def stop(self, patience: float = PATIENCE) -> None:
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + patience
            while self._process.poll() is None or self._processes():
                if time.monotonic() > deadline:
                    break
                time.sleep(_PAUSE)
