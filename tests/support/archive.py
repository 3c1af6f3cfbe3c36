"""Logs as they stand on the disk after some days: with trails, rotated, compressed, damaged."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from vmproxy.log.events import event, time_mark

T0 = 1_795_363_000.0


class Archive:
    """Writes a log and its trail as the writer does, and rotates them.

    :ivar said: what the VM said, with the time that each piece must get.
    :ivar happened: the events.
    """

    def __init__(self, folder: Path, name: str = "vm.log") -> None:
        self.path = folder / name
        self.trail = folder / f"{name}.events"
        self.said: list[tuple[float, bytes]] = []
        self.happened: list[tuple[float, str]] = []
        self._mark = 0.0
        self._last = T0
        self._compressed: set[int] = set()
        self._count = 0

    def say(self, at: float, data: bytes) -> None:
        """The VM says something."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if not 0 <= at - self._mark < 1:
            self._mark = at
            self._append(self.trail, time_mark(at, size))
        self._append(self.path, data)
        self.said.append((self._at(), data))
        self._touch(at)

    def happen(self, at: float, kind: str) -> None:
        """Something happens to the console."""
        size = self.path.stat().st_size if self.path.exists() else 0
        self._append(self.trail, event(at, kind, {"who": "alice"}).line(size))
        self.happened.append((at, kind))
        self._touch(at)

    def rotate(self, compress: bool = False) -> None:
        """Put log and trail aside, if there is anything."""
        if not self.path.exists() and not self.trail.exists():
            return
        for path in (self.path, self.trail):
            for number in range(self._count, 0, -1):
                for suffix in ("", ".gz"):
                    old = Path(f"{path}.{number}{suffix}")
                    if old.exists():
                        old.rename(f"{path}.{number + 1}{suffix}")
            if path.exists():
                path.rename(f"{path}.1")
        self._count += 1
        self._mark = 0.0
        if compress:
            self.compress(1)

    def compress(self, number: int) -> None:
        """Compress a pair that was put aside."""
        for path in (self.path, self.trail):
            plain = Path(f"{path}.{number}")
            if plain.exists():
                modified = plain.stat().st_mtime
                packed = Path(f"{plain}.gz")
                packed.write_bytes(gzip.compress(plain.read_bytes(), 1))
                os.utime(packed, (modified, modified))
                plain.unlink()

    def _at(self) -> float:
        return self._mark

    def _touch(self, at: float) -> None:
        for path in (self.path, self.trail):
            if path.exists():
                os.utime(path, (at, at))

    @staticmethod
    def _append(path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)


def descriptors() -> set[str]:
    """The files that this process has open."""
    folder = Path("/proc/self/fd")
    return {f"{entry.name}:{os.readlink(entry)}" for entry in folder.iterdir() if entry.exists()}
