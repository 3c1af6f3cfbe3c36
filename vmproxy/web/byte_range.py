"""``Range``: a part of a file, as much of RFC 9110 as downloads use: one range of bytes."""

from __future__ import annotations

import re

from vmproxy.web.problem import Problem

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """The part that is asked for: its beginning and its end.

    :param text: of the header; what is no single range of bytes asks for everything.
    :returns: None for everything.
    :raises Problem: if there is no such part.
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
        empty = not int(found[2]) or not size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < int(found[1]):
            return None
        empty = start >= size
    if empty:
        raise Problem("bad-range", f"it has {size} bytes", [("Content-Range", f"bytes */{size}")])
    return start, end
