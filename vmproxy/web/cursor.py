"""Cursors: opaque places in a console's output, which clients keep and give back.

A cursor is the console and a place in its output (see :mod:`vmproxy.log.place`), so it stays good across rotation,
vMotion and restarts, as long as the log is there; and it is never taken for a place in another log. It gives no right
to anything: whoever brings one may read only what they could read without it. Its checksum tells a mistake from a
cursor, no more.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from hashlib import blake2b
from struct import Struct

from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.log.place import Place

_FORM = Struct("!B8s6sQ4s")  # version, console, run, offset, checksum
_VERSION = 2
_LENGTH = 36
_OFFSETS = 1 << 62


class BadCursor(VMProxyError):
    """A text that is no cursor, or one of another console."""


def cursor_of(console: Console, offset: int) -> str:
    """The cursor of the place behind so many bytes."""
    run, _ = console.log.place(offset)
    body = (_VERSION, _id_of(console), bytes.fromhex(run), offset)
    return urlsafe_b64encode(_FORM.pack(*body, _check(*body))).decode("ascii")


def place_of(cursor: str, console: Console) -> Place:
    """The place that a cursor was made for; whether it is good still is to be checked.

    :raises BadCursor: if it is none, or none of this console.
    """
    try:
        packed = b64decode(cursor, b"-_", validate=True) if len(cursor) == _LENGTH else b""
    except ValueError:
        packed = b""
    if len(packed) != _FORM.size:
        raise BadCursor("no cursor")
    version, console_id, run, offset, check = _FORM.unpack(packed)
    if check != _check(version, console_id, run, offset) or version != _VERSION or offset >= _OFFSETS:
        raise BadCursor("no cursor")
    if console_id != _id_of(console):
        raise BadCursor("a cursor of another console")
    return Place(run.hex(), offset)


def _id_of(console: Console) -> bytes:
    return blake2b(f"{console.uuid}.{console.port}".encode("utf-8", "backslashreplace"), digest_size=8).digest()


def _check(version: int, console: bytes, run: bytes, offset: int) -> bytes:
    return blake2b(b"%d %s %s %d" % (version, console, run, offset), digest_size=4).digest()
