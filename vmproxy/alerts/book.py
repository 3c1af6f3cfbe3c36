"""The book of alerts: the newest, in memory and in a file that a restart finds.

Bound: :data:`KEPT` alerts. Acknowledged ones make place first, then the oldest of the lowest severity. Of one console,
:data:`OPEN_EACH` that nobody has acknowledged.

The file is written as a whole on the writer's thread, a second after a change at the earliest, and so seldom that it
takes a hundredth of the time, but within a minute. What cannot be written is tried again until it can.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from uuid import UUID

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmproxy.alerts.alert import Alert, recalled
from vmproxy.alerts.watch import Severity
from vmproxy.base.countdown import Countdown
from vmproxy.base.new_file import new_file
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.log.audit import ignored
from vmproxy.log.events import compact

KEPT = 10_000
OPEN_EACH = 20
SAVE_SECONDS = 1.0
SAVE_SHARE = 100.0  # times as long as writing the file took, until it is written again
SAVE_MOST = 60.0
FILE_LIMIT = 256 * 1024 * 1024  # KEPT of the longest fit

END = 256 * 1024
_NUMBER = re.compile(rb'"event":\s*"alert".*?"alert":\s*([0-9]{1,15})[,}]')

Key = tuple[UUID | None, str]

_log = Logger()


def last_number(path: Path) -> int:
    """The highest number in the end of ``alerts.jsonl``; 0 if there is none. Waits for the disk.

    That file has an alert at once, and the file of the book some time later: a process that is killed leaves both.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - END))
            lines = file.read().splitlines()
    except OSError:
        return 0
    return max((int(match[1]) for line in lines if (match := _NUMBER.search(line))), default=0)


class AlertBook:
    """All alerts that are kept.

    :ivar followers: are called with each alert that is new or acknowledged.
    :ivar problem: why the file could not be written; empty if it could.
    :ivar displaced: how many that nobody had acknowledged have made place since the start.
    """

    def __init__(
        self,
        path: Path,
        clock: IReactorTime,
        submit: Callable[[Callable[[], object]], object],
        again: Callable[[Callable[[], object]], object] = ignored,
    ) -> None:
        """
        :param path: the file.
        :param submit: has a job done on the writer's thread.
        :param again: called on that thread with a job that failed, which is to be tried again after a while.
        """
        self._again = again
        self._path = path
        self._submit = submit
        self._alerts: dict[int, Alert] = {}
        self._acknowledged: dict[int, None] = {}
        self._open: dict[Severity, dict[int, None]] = {severity: {} for severity in Severity}  # the lowest first
        self._of: dict[Key, dict[int, None]] = {}  # those that are open
        self._next = 1
        self.followers: set[Callable[[Alert], object]] = set()
        self.displaced = 0
        self.problem = ""
        self._save_due = Countdown(clock)
        self._took = 0.0
        self._wanted: tuple[list[Alert], int] = [], 1  # what is to be in the file; the number of the next alert
        self._lines: dict[int, tuple[Alert, str]] = {}  # as they were written last; the writer's

    def __iter__(self) -> Iterator[Alert]:
        """In the order in which they came or were acknowledged."""
        return iter(list(self._alerts.values()))

    def __len__(self) -> int:
        return len(self._alerts)

    def get(self, number: int) -> Alert | None:
        """An alert by its number; None if there is no such alert any more."""
        return self._alerts.get(number)

    def open_of(self, key: Key) -> list[Alert]:
        """The alerts about a console that nobody has acknowledged, the oldest first."""
        return [self._alerts[number] for number in self._of.get(key, ())]

    @property
    def open_keys(self) -> list[Key]:
        """The consoles with alerts that nobody has acknowledged."""
        return list(self._of)

    def has_open(self, key: Key) -> bool:
        """Whether there is an alert about a console that nobody has acknowledged."""
        return key in self._of

    def marks(self, key: Key) -> AlertMarks:
        """The number of alerts about a console that nobody has acknowledged."""
        found = [alert.severity for alert in self.open_of(key)]
        return AlertMarks(*map(found.count, (Severity.CRITICAL, Severity.WARNING, Severity.INFO)))

    # Changes.

    def take_number(self) -> int:
        """The number of the next alert; each is given once."""
        number, self._next = self._next, self._next + 1
        return number

    def add(self, alert: Alert) -> list[Key]:
        """Keep an alert.

        :returns: the consoles whose marks are others now.
        """
        changed = [alert.key, *self._make_room(alert.key)]
        self._put(alert)
        self._changed(alert)
        return changed

    def acknowledge(self, alert: Alert) -> None:
        """Keep an alert in place of the same one that nobody had acknowledged."""
        if alert.number in self._alerts:
            self._drop(alert.number)
            self._put(alert)
        self._changed(alert)

    def _changed(self, alert: Alert) -> None:
        for follower in tuple(self.followers):
            follower(alert)
        if not self._save_due.is_running:
            self._save_due.start(min(SAVE_MOST, max(SAVE_SECONDS, SAVE_SHARE * self._took)), self._save)

    def _put(self, alert: Alert) -> None:
        number = alert.number
        self._alerts[number] = alert
        if alert.acknowledged is not None:
            self._acknowledged[number] = None
        else:
            self._open[alert.severity][number] = None
            self._of.setdefault(alert.key, {})[number] = None

    def _drop(self, number: int) -> Alert:
        alert = self._alerts.pop(number)
        self._acknowledged.pop(number, None)
        self._open[alert.severity].pop(number, None)
        own = self._of.get(alert.key, {})
        own.pop(number, None)
        if not own:
            self._of.pop(alert.key, None)
        return alert

    def _make_room(self, key: Key) -> Iterator[Key]:
        own = self.open_of(key)
        if len(own) >= OPEN_EACH:
            self._drop(min(own, key=lambda alert: (alert.severity.rank, alert.number)).number)
            self.displaced += 1
        while len(self._alerts) >= KEPT:
            if self._acknowledged:
                self._drop(next(iter(self._acknowledged)))
            else:
                lowest = next(some for some in self._open.values() if some)
                self.displaced += 1
                yield self._drop(next(iter(lowest))).key

    def go_on_behind(self, number: int) -> None:
        """Give only numbers from now on that are higher than one that was given once."""
        self._next = max(self._next, number + 1)

    # The file.

    def load(self) -> None:
        """Read what was kept; waits for the disk. What cannot be read is left out, and that is logged."""
        try:
            with self._path.open("rb") as file:
                lines = file.read(FILE_LIMIT).splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.error("cannot read {path}: {error}", path=str(self._path), error=error.strerror)
            return
        wrong = 0
        for line in lines:
            try:
                kept = json.loads(line)
                if "next" in kept:
                    self._next = max(self._next, int(kept["next"]))
                elif len(self._alerts) < KEPT:
                    alert = recalled(kept)
                    self._put(alert)
                    self._next = max(self._next, alert.number + 1)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError):
                wrong += 1
        if wrong:
            _log.error("{path}: {n} lines make no sense and are left out", path=str(self._path), n=wrong)

    def _save(self) -> None:
        self._wanted = list(self._alerts.values()), self._next
        self._submit(self._write)

    def _write(self) -> None:
        # On the writer's thread.
        began = time.monotonic()
        alerts, following = self._wanted
        try:
            self._replace(alerts, following)
        except OSError as error:
            self.problem = f"cannot write {self._path}: {error.strerror}"
            self._again(self._write)
        else:
            self.problem = ""
        self._took = time.monotonic() - began

    def _replace(self, alerts: list[Alert], following: int) -> None:
        with new_file(self._path) as file:
            file.write(f'{{"next":{following}}}\n')
            file.writelines(self._encode(alerts))

    def _encode(self, alerts: list[Alert]) -> Iterable[str]:
        # Only those that have come or changed since: a storm's must not keep logs waiting again and again.
        before, self._lines = self._lines, {}
        for alert in alerts:
            same, line = before.get(alert.number, (None, ""))
            self._lines[alert.number] = alert, line if same is alert else f"{compact(alert.kept())}\n"
        return (line for _, line in self._lines.values())

    def stop(self) -> None:
        """Write what is not written yet: the process ends."""
        if self._save_due.is_running:
            self._save_due.stop()
            self._save()
