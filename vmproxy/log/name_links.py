"""The links ``by-name/``: ``web01.log`` leads to the log of web01, ``web01.log.events`` to its event trail.

Where plain lines are written, ``web01.txt`` leads to those. The link of a log is made when it is wanted; those of its
other files follow at a bounded rate, because thousands of VMs may come at once. Runs on the writer's thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from itertools import islice

from twisted.logger import Logger

from vmproxy.log.file_state import LogFile
from vmproxy.log.periodic import Timer

FOLDER = "by-name"
AT_ONCE = 20
SECONDS = 0.1  # so 200 a second, which is half a percent of a processor for a minute or two after a storm
RETRY_SECONDS = 1.0

_log = Logger()


class NameLinks:
    """Makes and removes the links of logs."""

    def __init__(self, now: Callable[[], float], plain: Callable[[], bool]) -> None:
        """:param plain: tells whether there is plain text beside the logs."""
        self._plain = plain
        self._failing = False
        self._incomplete: dict[LogFile, None] = {}  # with a link of the log, but not of its other files
        self._timer = Timer(SECONDS, now)
        self._retry = Timer(RETRY_SECONDS, now)

    def make(self, file: LogFile, name: str) -> bool:
        """Have the link of a name lead to a log, and soon those of its other files; remove those that it had before.

        :returns: whether the first is done with; if not, it is to be tried again.
        """
        suffix, target = ".log", f"../{file.name}"
        folder = f"{file.folder}/{FOLDER}"
        try:
            if file.link and file.link != name:
                for old, where in _targets(file):
                    _unlink(f"{folder}/{file.link}{old}", where)
            make_link(folder, f"{name}{suffix}", target)
        except OSError as error:
            self._failed(f"{name}{suffix}", target, error)
            return False
        self._failing = False
        file.link = name
        self._incomplete[file] = None
        return True

    def wait(self) -> float | None:
        """Seconds until :meth:`step` has something to do; None while all links are made."""
        return max(self._timer.wait(), self._retry.wait()) if self._incomplete else None

    def step(self) -> None:
        """Make the links of the other files of some logs."""
        if self.wait() != 0.0:
            return
        self._timer.start()
        for file in list(islice(self._incomplete, AT_ONCE)):
            if file.link and not self._complete(file):
                self._retry.start()
                self._incomplete[file] = self._incomplete.pop(file)  # the others need not wait for this one
                return
            del self._incomplete[file]

    def _complete(self, file: LogFile) -> bool:
        folder = f"{file.folder}/{FOLDER}"
        for suffix, target in _targets(file)[1:]:
            link = f"{file.link}{suffix}"
            try:
                if suffix != ".txt" or self._plain():
                    make_link(folder, link, target)
                else:
                    _unlink_other(f"{folder}/{link}", target)
            except OSError as error:
                self._failed(link, target, error)
                return False
        return True

    def _failed(self, link: str, target: str, error: OSError) -> None:
        if not self._failing:
            _log.error("cannot link {name} to {target}: {error}", name=link, target=target, error=str(error))
        self._failing = True

    def remove(self, file: LogFile) -> None:
        """Remove the links of a log, as far as that is possible: what is left leads to a log, or to nothing."""
        if file.link:
            for suffix, target in _targets(file):
                with contextlib.suppress(OSError):
                    _unlink(f"{file.folder}/{FOLDER}/{file.link}{suffix}", target)
            file.link = ""
        self._incomplete.pop(file, None)


def _targets(file: LogFile) -> tuple[tuple[str, str], ...]:
    """What is behind the name in each link, and where it leads."""
    return (
        (".log", f"../{file.name}"),
        (".log.events", f"../{file.name}.events"),
        (".txt", f"../{file.name.removesuffix('.log')}.txt"),
    )


def make_link(folder: str, name: str, target: str) -> None:
    """Make the link ``name`` in a folder lead to a file. If a file stands in its place, that is told and it stays.

    :param target: the file, as seen from the folder.
    :raises OSError: if it cannot be made, which may be better a while later.
    """
    there = f"{folder}/{name}"
    try:
        os.symlink(target, there)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        os.symlink(target, there)
    except FileExistsError:
        _replace(folder, name, target)


def _replace(folder: str, name: str, target: str) -> None:
    there = f"{folder}/{name}"
    if not os.path.islink(there):
        _log.error("cannot link {name} to {target}: there is a file of that name", name=name, target=target)
        return
    if os.readlink(there) == target:
        return
    temporary = f"{folder}/.{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, there)


def _unlink(link: str, target: str) -> None:
    """Remove a link, unless it leads to another file by now."""
    if os.path.islink(link) and os.readlink(link) == target:
        os.unlink(link)


def _unlink_other(link: str, target: str) -> None:
    """Remove a link that leads to the file of another console, from when that had the name."""
    try:
        if os.readlink(link) == target:
            return
    except OSError:
        return  # there is none, or it is a file
    os.unlink(link)
