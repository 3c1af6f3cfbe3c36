"""Writing a file anew, so that a crash or a full disk leaves it as it was before or as it is to be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def new_file(path: Path, mode: int = 0o640) -> Iterator[TextIO]:
    """Write a file beside one, which takes its place at the end, on the disk; waits for the disk.

    :param mode: its permissions.
    :raises OSError: if that cannot be done; what is written so far is removed then: others need the room.
    """
    new = path.with_name(f"{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(fd, "w", encoding="ascii") as file:
            yield file
            file.flush()
            os.fsync(fd)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
