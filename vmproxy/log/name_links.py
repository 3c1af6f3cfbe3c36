"""The links ``by-name/``: ``web01.log`` leads to the log of web01, ``web01.log.events`` to its event trail.

Where plain lines are written, ``web01.txt`` leads to those. The links of one log come and go together. Runs on the
writer's thread.
"""

from __future__ import annotations

import contextlib
import os

from twisted.logger import Logger

from vmproxy.log.file_state import LogFile

FOLDER = "by-name"

_log = Logger()


class NameLinks:
    """Makes and removes the links of logs."""

    def __init__(self) -> None:
        self._failing = False
        # The names in each folder that lead to plain lines; a folder is read once: thousands are made in a storm.
        self._texts: dict[str, set[str]] = {}

    def make(self, file: LogFile, name: str, plain: bool) -> bool:
        """Have the links of a name lead to the files of a log, and remove those that it had before.

        :param plain: whether there is plain text beside it.
        :returns: whether it is done with; if not, it is to be tried again.
        """
        folder = f"{file.folder}/{FOLDER}"
        try:
            for suffix, target in _targets(file):
                link = f"{name}{suffix}"
                if file.link and file.link != name:
                    _unlink(f"{folder}/{file.link}{suffix}", target)
                if suffix != ".txt":
                    make_link(folder, link, target)
                elif plain:
                    self._in(folder).add(link)
                    make_link(folder, link, target)
                elif link in self._in(folder):
                    _unlink_other(f"{folder}/{link}", target)
        except OSError as error:
            if not self._failing:
                _log.error("cannot link {name} to {target}: {error}", name=link, target=target, error=str(error))
            self._failing = True
            return False
        self._failing = False
        file.link = name
        return True

    def _in(self, folder: str) -> set[str]:
        if (texts := self._texts.get(folder)) is None:
            try:
                texts = {name for name in os.listdir(folder) if name.endswith(".txt")}
            except FileNotFoundError:
                texts = set()
            self._texts[folder] = texts
        return texts

    def remove(self, file: LogFile) -> None:
        """Remove the links of a log, as far as that is possible: what is left leads to a log, or to nothing."""
        if file.link:
            for suffix, target in _targets(file):
                with contextlib.suppress(OSError):
                    _unlink(f"{file.folder}/{FOLDER}/{file.link}{suffix}", target)
            file.link = ""


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
