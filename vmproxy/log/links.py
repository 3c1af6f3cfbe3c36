"""The links by which people find a VM's log: ``by-name/NAME.log``.

A link points to its log from wherever the folder is mounted, is replaced in one step, and never takes the place of a
file that is not a link. Runs on the scribe's thread: it waits for the disk.
"""

from __future__ import annotations

import contextlib
import os

from twisted.logger import Logger

_log = Logger()


def link(folder: str, name: str, target: str, old: str) -> OSError | None:
    """Make the link ``name`` in a folder point to a log, and remove the one that it had before.

    :param target: the log, as seen from the folder.
    :param old: the link's former name; empty where there was none.
    :returns: why it could not be made, where that may be better a while later; None if it was made, or if a file stands
        in its place, which is told in the daemon's log.
    """
    try:
        if old and old != name:
            _unlink(f"{folder}/{old}", target)
        try:
            os.symlink(target, f"{folder}/{name}")
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
            os.symlink(target, f"{folder}/{name}")
        except FileExistsError:
            _replace(folder, name, target)
    except OSError as error:
        return error
    return None


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
    if os.path.islink(link) and os.readlink(link) == target:
        os.unlink(link)
