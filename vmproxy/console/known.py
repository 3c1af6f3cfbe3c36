"""What is remembered of the consoles when the process is gone: a journal, one JSON line a change.

Appending a line is cheap however many consoles there are, and a line that was cut short by a crash costs only itself.
On start the journal is read, the last line of a console counts, and the file is written anew without the others.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.logger import Logger

from vmproxy.console.trail import compact

REWRITE_AT = 64 * 1024 * 1024

_log = Logger()


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of one console.

    :ivar log: the path of its log, relative to the log folder; ``template`` is what it was made from.
    :ivar up: whether it was up when this was written.
    :ivar since: since when, seconds since the epoch; ``reason``: why it went down.
    """

    uuid: str
    port: str
    name: str
    uri: str
    log: str
    template: str
    host: str
    up: bool
    since: float
    reason: str


_TYPES = {f.name: {"str": str, "bool": bool, "float": (int, float)}[str(f.type)] for f in fields(Known)}

_NO_PART = frozenset(("", ".", ".."))  # of a path inside a folder

_YEAR_9999 = 253_370_764_800


def parse(line: str) -> Known:
    """Read a line of the journal.

    :raises ValueError: if it is not one, cut short for instance.
    """
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    kept: dict[str, Any] = {}
    for name, wanted in _TYPES.items():
        value = kept[name] = values.get(name)
        if not isinstance(value, wanted):  # type: ignore[arg-type]
            raise ValueError(f"{name} is missing or of the wrong type")
    if not _NO_PART.isdisjoint(kept["log"].split("/")) or "\0" in kept["log"]:
        raise ValueError("the log is not inside the log folder")
    if not 0 <= kept["since"] < _YEAR_9999:
        raise ValueError("the time is none")
    kept["uuid"] = str(UUID(kept["uuid"]))
    return Known(**kept)


def read_known(path: Path) -> tuple[list[Known], int]:
    """Read a journal; it is no error if there is none.

    :returns: the known consoles in the order in which they first appeared, and how many lines made no sense.
    :raises OSError: if it cannot be read.
    """
    found: dict[tuple[str, str], Known] = {}
    bad = 0
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    known = parse(line)
                except (ValueError, TypeError, RecursionError):
                    bad += 1
                else:
                    found[known.uuid, known.port] = known
    return list(found.values()), bad


class Journal:
    """The file. :meth:`load` is called once, at the start; what else touches the disk runs on the scribe's thread."""

    def __init__(self, path: Path, submit: Callable[[Callable[[], object]], None]) -> None:
        """:param submit: has a job done on the scribe's thread."""
        self.path = path
        self._submit = submit
        self._unwritten: dict[tuple[str, str], Known] = {}  # filled by the reactor, emptied by the scribe
        self._submitted = False
        self._rewritten = 0  # how large it was when it was last written anew
        self._batch: dict[tuple[str, str], Known] = {}  # the scribe's: what is to be written, the newest of each

    def load(self) -> list[Known]:
        """Read the journal and write it anew without what is out of date.

        :returns: the known consoles in the order in which they first appeared.
        :raises OSError: if it can neither be read nor made.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found, bad = read_known(self.path)
        if bad:
            _log.warn("{bad} lines of {path} make no sense and are dropped", bad=bad, path=str(self.path))
        self._rewrite(found)
        return found

    def record(self, known: Known) -> None:
        """Remember a change."""
        self._unwritten[known.uuid, known.port] = known
        if not self._submitted:
            self._submitted = True
            self._submit(self._append)

    def _append(self) -> None:
        self._submitted = False  # what is appended from here on is submitted again
        while self._unwritten:
            key, known = self._unwritten.popitem()
            self._batch[key] = known
        try:
            with self.path.open("ab+", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                torn = size > 0 and (file.seek(size - 1), file.read(1))[1] != b"\n"
                data = (b"\n" if torn else b"") + "".join(map(_line, self._batch.values())).encode("ascii")
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            # What could not be written is written with the next change.
            _log.error("cannot write {path}: {error}", path=str(self.path), error=str(error))
            return
        self._batch.clear()
        if size > max(REWRITE_AT, 2 * self._rewritten):
            try:
                found, _ = read_known(self.path)
                self._rewrite(found)
            except OSError as error:
                _log.error("cannot rewrite {path}: {error}", path=str(self.path), error=str(error))

    def _rewrite(self, all_known: Iterable[Known]) -> None:
        new = self.path.with_name(self.path.name + ".new")
        with open(new, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o640)) as file:
            file.writelines(map(_line, all_known))
            file.flush()
            os.fsync(file.fileno())
            self._rewritten = file.tell()
        new.replace(self.path)


def _line(known: Known) -> str:
    return compact({name: getattr(known, name) for name in _TYPES}) + "\n"
