"""The links by which people find a VM's log: ``by-name/NAME.log``.

A link points to its log from wherever the folder is mounted, is replaced in one step, and never takes the place of a
file that is not a link. Runs on the scribe's thread: it waits for the disk.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.logger import Logger

_log = Logger()


def link(folder: Path, name: str, target: Path, old: str) -> None:
    """Make the link ``name`` in a folder point to a log, and remove the one that it had before.

    :param old: the link's former name; empty where there was none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        where = os.path.relpath(target, folder)
        if old and old != name:
            _unlink(folder / old, where)
        new = folder / name
        if new.is_symlink() and new.readlink() == Path(where):
            return
        if new.exists() and not new.is_symlink():
            raise FileExistsError(errno.EEXIST, "there is a file of that name", str(new))
        temporary = folder / f".{name}.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(where)
        temporary.replace(new)
    except OSError as error:
        _log.error("cannot link {name} to {target}: {error}", name=name, target=str(target), error=str(error))


def _unlink(link: Path, where: str) -> None:
    if link.is_symlink() and link.readlink() == Path(where):
        link.unlink()
