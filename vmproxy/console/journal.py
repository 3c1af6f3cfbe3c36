"""The journal of consoles, which survives the process: one JSON line a change.

Appending a line is cheap however many consoles there are, and a line that a crash has cut short costs only itself. At
the start the journal is read, the last line of each console counts, and the file is written anew with these alone.

Versions: the first line says the format, ``{"format":1}``; a journal of version 0.1.0 has none and is read too. Fields
that are absent have defaults, fields that are unknown are kept, and lines that cannot be read are put into
``consoles.jsonl.bad``: another version, or a bad hand, costs no console.
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
from vmproxy.base.new_file import new_file
from vmproxy.log.audit import ignored
from vmproxy.log.events import quoted

TEXT_LIMIT = 1024
REWRITE_AT = 64 * 1024 * 1024
BAD_LIMIT = 16 * 1024 * 1024
FORMAT = 1

_log = Logger()


class ConsoleRecord(NamedTuple):
    """The record of one console.

    :ivar log: the path of its log, relative to the log folder; ``template`` is what it was made from.
    :ivar up: whether it was up when this was written.
    :ivar since: since when, seconds since the epoch; ``reason``: why it went down.
    :ivar known_by: what the UUID is, where it is no VC UUID; ``location``: the location UUID of such a VM.
    :ivar bios: the BIOS UUID in 32 digits, if it has been told: another VM may have the same VC UUID.
    :ivar vc: the VC UUID in 32 digits, where that is so and the VM is known by its BIOS UUID.
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
    known_by: str = ""
    location: str = ""
    bios: str = ""
    vc: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The identity of the console."""
        return self.uuid, self.port


_TYPES = [(*7 * (str,), bool, number, *5 * (str,)) for number in (float, int)]
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIGITS = re.compile("[0-9a-f]{32}")
_FIELDS = frozenset(ConsoleRecord._fields)
_DEFAULTS = {"port": "1", "name": "", "uri": "", "template": "", "host": "", "up": False, "since": 0, "reason": ""}
_NO_PART = frozenset(("", ".", ".."))  # of a path inside a folder

_YEAR_9999 = 253_370_764_800


class Contents(NamedTuple):
    """What a journal holds.

    :ivar records: the known consoles, by identity, in the order in which they first appeared.
    :ivar more: the fields of consoles that this version does not know, as JSON behind a comma.
    :ivar bad: the lines that make no sense.
    :ivar format: what its first line says; 0 where it does not.
    """

    records: dict[tuple[str, str], ConsoleRecord]
    more: dict[tuple[str, str], str]
    bad: list[bytes]
    format: int


def read_journal(path: Path) -> Contents:
    """Read a journal; it is no error if there is none.

    :raises OSError: if it cannot be read.
    """
    records: dict[tuple[str, str], ConsoleRecord] = {}
    more: dict[tuple[str, str], str] = {}
    bad: list[bytes] = []
    version = 0
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                try:
                    values = json.loads(line.decode("utf-8", "replace"))
                    if "uuid" not in values and isinstance(values["format"], int):
                        version = values["format"]
                        continue
                    if values.get("forgotten") is True:
                        key = str(UUID(values["uuid"])), str(values["port"])
                        records.pop(key, None)
                        more.pop(key, None)
                        continue
                    known = parse(values)
                except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                    bad.append(line)
                    continue
                records[known.key] = known
                if len(values) > len(_FIELDS) or not values.keys() <= _FIELDS:
                    unknown = {name: value for name, value in values.items() if name not in _FIELDS}
                    more[known.key] = "," + json.dumps(unknown, separators=(",", ":"))[1:-1]
                else:
                    more.pop(known.key, None)
    return Contents(records, more, bad, version)


def parse(values: object) -> ConsoleRecord:
    """The record that a line of the journal holds, from its JSON.

    :raises ValueError: if it is none.
    """
    if not isinstance(values, dict):
        raise ValueError("not an object")
    values.setdefault("known_by", "")
    values.setdefault("location", "")
    values.setdefault("bios", "")
    values.setdefault("vc", "")
    known = ConsoleRecord._make(map(values.get, ConsoleRecord._fields))
    if None in known:
        known = ConsoleRecord._make(map((_DEFAULTS | values).get, ConsoleRecord._fields))
    if tuple(map(type, known)) not in _TYPES:
        raise ValueError("something is missing or of the wrong type")
    if not _NO_PART.isdisjoint(known.log.split("/")) or "\0" in known.log:
        raise ValueError("the log is not inside the log folder")
    if not 0 <= known.since < _YEAR_9999:
        raise ValueError("the time is none")
    if known.location:
        known = known._replace(location=str(UUID(known.location)))
    if known.bios and not _DIGITS.fullmatch(known.bios):
        known = known._replace(bios=UUID(known.bios).hex)
    if known.vc:
        known = known._replace(vc=UUID(known.vc).hex)
    return known if _UUID.fullmatch(known.uuid) else known._replace(uuid=str(UUID(known.uuid)))


class Journal:
    """The journal. :meth:`load` is called once, at the start; all other disk access is on the writer's thread.

    :ivar problem: why it cannot be written now; empty while it can.
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
        self.problem = ""
        self.everything: Callable[[], Iterable[ConsoleRecord]] = tuple
        self._submit = submit
        # Filled by the reactor, emptied by the writer; None: it is forgotten.
        self._unwritten: dict[tuple[str, str], ConsoleRecord | None] = {}
        self._more: dict[tuple[str, str], str] = {}  # the writer's: what a later version knows of a console
        self._submitted = False
        self._rewritten = 0  # how large it was when it was last written anew
        self._batch: dict[tuple[str, str], ConsoleRecord | None] = {}  # the writer's: the newest of each

    def load(self) -> list[ConsoleRecord]:
        """Read the journal and write it anew without outdated lines.

        :returns: the known consoles in the order in which they first appeared.
        :raises OSError: if it can neither be read nor made.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found = self._read()
        if found.format > FORMAT:
            _log.warn("{path} was written by a later version; what this one does not know is kept", path=str(self.path))
        self._rewrite(found.records.values())
        return list(found.records.values())

    def _read(self) -> Contents:
        found = read_journal(self.path)
        if found.bad:
            aside = self._set_aside(b"".join(found.bad))
            _log.warn(
                "{bad} lines of {path} make no sense and are now in {aside}",
                bad=len(found.bad),
                path=str(self.path),
                aside=str(aside),
            )
        self._more = found.more
        return found

    def _set_aside(self, lines: bytes) -> Path:
        aside = self.path.with_name(self.path.name + ".bad")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with open(fd, "ab") as file:
            if file.tell() + len(lines) > BAD_LIMIT:
                file.truncate(0)
            file.write(lines[-BAD_LIMIT:])
            file.flush()
            os.fsync(fd)
        return aside

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
            if not self.problem:
                self.problem = f"cannot write {self.path}: {error.strerror}"
                _log.error("cannot write {path}: {error}", path=str(self.path), error=str(error))
            self._again(self._append)
            return
        if self.problem:
            self.problem = ""
            _log.info("writing {path} again", path=str(self.path))
        self._batch.clear()
        if size > max(REWRITE_AT, 2 * self._rewritten):
            try:
                self._rewrite(self._read().records.values())
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
            data = "".join(map(self._line, self._batch, self._batch.values())).encode("ascii")
            if file.write(data) != len(data):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return size

    def _rewrite(self, all_known: Iterable[ConsoleRecord]) -> None:
        with new_file(self.path) as file:
            file.write(f'{{"format":{FORMAT}}}\n')
            file.writelines(self._line(known.key, known) for known in all_known)
            self._rewritten = file.tell()

    def _line(self, key: tuple[str, str], known: ConsoleRecord | None) -> str:
        if known is None:
            self._more.pop(key, None)
            return f'{{"uuid":{quoted(key[0])},"port":{quoted(key[1])},"forgotten":true}}\n'
        uuid, port, name, uri, log, template, host, up, since, reason, known_by, location, bios, vc = known
        more = self._more.get(key, "")
        if vc:
            more = f',"vc":"{vc}"{more}'
        if bios:
            more = f',"bios":"{bios}"{more}'
        if known_by:
            more = f',"known_by":{quoted(known_by)},"location":{quoted(location)}{more}'
        return (
            f'{{"uuid":{quoted(uuid)},"port":{quoted(port)},"name":{quoted(name)},"uri":{quoted(uri)},'
            f'"log":{quoted(log)},"template":{quoted(template)},"host":{quoted(host)},"reason":{quoted(reason)},'
            f'"up":{"true" if up else "false"},"since":{since!r}{more}}}\n'
        )
