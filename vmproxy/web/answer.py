"""Answers: what handlers return, and the server sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IProtocol

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Bytes:
    """A body that is there.

    :ivar etag: without its quotes; a client that has it is answered 304.
    :ivar cache: ``Cache-Control``.
    """

    data: bytes
    media: str
    status: int = 200
    etag: str | None = None
    headers: Headers = ()
    cache: str = "no-store"


@dataclass(frozen=True, slots=True)
class Empty:
    """No body."""

    status: int = 204
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that comes in pieces: the next is asked for when the socket has taken the one before.

    The connection is cut if it raises, for the client would take what came for all. It is closed (``aclose``) when
    the client goes.
    """

    media: str
    chunks: AsyncIterator[bytes]
    headers: Headers = ()
    status: int = 200


@dataclass(frozen=True, slots=True)
class Socket:
    """The connection becomes another protocol's, which has to answer the handshake.

    :ivar protocol: is given the transport (``makeConnection``), then the bytes behind the head (``dataReceived``).
    """

    protocol: IProtocol


Answer = Bytes | Empty | Stream | Socket


def JSON(value: object, status: int = 200, etag: str | None = None, headers: Headers = ()) -> Bytes:
    """An object as JSON."""
    return Bytes(encoded(value), "application/json", status, etag, headers)


def Page(items: Iterable[Any], following: str | None) -> Bytes:
    """A part of a list.

    :param following: what ``after`` has to be for the next part; None behind the last.
    """
    return JSON({"items": list(items), "next": following})


def encoded(value: object) -> bytes:
    """An object as JSON, in UTF-8; what is no character stays as an escape."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
