"""The journal of consoles, which survives the process: one JSON line a change.

Appending a line is cheap however many consoles there are, and a line that a crash has cut short costs only itself. At
the start the journal is read, the last line of each console counts, and the file is written anew with these alone.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from twisted.logger import Logger

from vmproxy.base.jsonlines import mend_open
from vmproxy.log.audit import ignored
from vmproxy.log.events import quoted

TEXT_LIMIT = 1024
REWRITE_AT = 64 * 1024 * 1024

_log = Logger()


class ConsoleRecord(NamedTuple):
    """The record of one console.

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

    @property
    def key(self) -> tuple[str, str]:
        """The identity of the console."""
        return self.uuid, self.port


_TYPES = [(*7 * (str,), bool, number, str) for number in (float, int)]
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NO_PART = frozenset(("", ".", ".."))  # of a path inside a folder

_YEAR_9999 = 253_370_764_800


def parse(line: str) -> ConsoleRecord:
    """Read a line of the journal.

    :raises ValueError: if it is not one, cut short for instance.
    """
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    known = ConsoleRecord._make(map(values.get, ConsoleRecord._fields))
    if tuple(map(type, known)) not in _TYPES:
        raise ValueError("something is missing or of the wrong type")
    if not _NO_PART.isdisjoint(known.log.split("/")) or "\0" in known.log:
        raise ValueError("the log is not inside the log folder")
    if not 0 <= known.since < _YEAR_9999:
        raise ValueError("the time is none")
    return known if _UUID.fullmatch(known.uuid) else known._replace(uuid=str(UUID(known.uuid)))


def _forgotten(line: str) -> tuple[str, str] | None:
    """The console of a line that says that it is forgotten; None if the line says something else."""
    try:
        values = json.loads(line)
        return (str(UUID(values["uuid"])), str(values["port"])) if values["forgotten"] is True else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def read_records(path: Path) -> tuple[list[ConsoleRecord], int]:
    """Read a journal; it is no error if there is none.

    :returns: the known consoles in the order in which they first appeared, and how many lines made no sense.
    :raises OSError: if it cannot be read.
    """
    found: dict[tuple[str, str], ConsoleRecord] = {}
    bad = 0
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    known = parse(line)
                except (ValueError, TypeError, RecursionError):
                    if (gone := _forgotten(line)) is None:
                        bad += 1
                    else:
                        found.pop(gone, None)
                else:
                    found[known.uuid, known.port] = known
    return list(found.values()), bad


class Journal:
    """The journal. :meth:`load` is called once, at the start; all other disk access is on the writer's thread.

    :ivar everything: gives, on the writer's thread, the records of all consoles: for a file that was removed.
    """

    def __init__(
        self,
        path: Path,
        submit: Callable[[Callable[[], object]], None],
        again: Callable[[Callable[[], object]], object] = ignored,
    ) -> None:
        """
        :param submit: runs a job on the writer's thread.
        :param again: called on that thread with a job that failed, to try it again after a while.
        """
        self.path = path
        self._again = again
        self._failing = False
        self.everything: Callable[[], Iterable[ConsoleRecord]] = tuple
        self._submit = submit
        # Filled by the reactor, emptied by the writer; None: it is forgotten.
        self._unwritten: dict[tuple[str, str], ConsoleRecord | None] = {}
        self._submitted = False
        self._rewritten = 0  # how large it was when it was last written anew
        self._batch: dict[tuple[str, str], ConsoleRecord | None] = {}  # the writer's: the newest of each

    def load(self) -> list[ConsoleRecord]:
        """Read the journal and write it anew without outdated lines.

        :returns: the known consoles in the order in which they first appeared.
        :raises OSError: if it can neither be read nor made.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found, bad = read_records(self.path)
        if bad:
            _log.warn("{bad} lines of {path} make no sense and are dropped", bad=bad, path=str(self.path))
        self._rewrite(found)
        return found

    def recover_from(self, everything: Callable[[], Iterable[ConsoleRecord]]) -> None:
        """Write the file anew from ``everything`` where somebody has removed it."""
        self.everything = everything

    def record(self, known: ConsoleRecord) -> None:
        """Append the record of a console."""
        self._add(known.key, known)

    def forget(self, known: ConsoleRecord) -> None:
        """Append that a console is forgotten."""
        self._add(known.key, None)

    def _add(self, key: tuple[str, str], known: ConsoleRecord | None) -> None:
        self._unwritten[key] = known
        if not self._submitted:
            self._submitted = True
            self._submit(self._append)

    def _append(self) -> None:
        self._submitted = False  # what is appended from here on is submitted again
        while self._unwritten:
            key, known = self._unwritten.popitem()
            self._batch[key] = known
        if not self._batch:
            return
        try:
            size = self._write_batch()
        except OSError as error:
            # It is told once, and tried until it works.
            if not self._failing:
                self._failing = True
                _log.error("cannot write {path}: {error}", path=str(self.path), error=str(error))
            self._again(self._append)
            return
        if self._failing:
            self._failing = False
            _log.info("writing {path} again", path=str(self.path))
        self._batch.clear()
        if size > max(REWRITE_AT, 2 * self._rewritten):
            try:
                found, _ = read_records(self.path)
                self._rewrite(found)
            except OSError as error:
                _log.error("cannot rewrite {path}: {error}", path=str(self.path), error=str(error))

    def _write_batch(self) -> int:
        # :returns: the size that the file had.
        try:
            file = self.path.open("rb+", buffering=0)
        except FileNotFoundError:
            # Somebody has removed it, perhaps with its folder: all that it held is written anew.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            everything = {known.key: known for known in self.everything()} | self._batch
            self._rewrite(known for known in everything.values() if known is not None)
            return 0
        with file:
            size = mend_open(file.fileno(), self.path)
            file.seek(size)
            data = "".join(_line(known) if known else _gone(*key) for key, known in self._batch.items()).encode("ascii")
            if file.write(data) != len(data):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return size

    def _rewrite(self, all_known: Iterable[ConsoleRecord]) -> None:
        new = self.path.with_name(self.path.name + ".new")
        with open(new, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o640)) as file:
            file.writelines(map(_line, all_known))
            file.flush()
            os.fsync(file.fileno())
            self._rewritten = file.tell()
        new.replace(self.path)


def _gone(uuid: str, port: str) -> str:
    return f'{{"uuid":{quoted(uuid)},"port":{quoted(port)},"forgotten":true}}\n'


def _line(known: ConsoleRecord) -> str:
    uuid, port, name, uri, log, template, host, up, since, reason = known
    return (
        f'{{"uuid":{quoted(uuid)},"port":{quoted(port)},"name":{quoted(name)},"uri":{quoted(uri)},"log":{quoted(log)},'
        f'"template":{quoted(template)},"host":{quoted(host)},"reason":{quoted(reason)},'
        f'"up":{"true" if up else "false"},"since":{since!r}}}\n'
    )
