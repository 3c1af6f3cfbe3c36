"""Snapshots as JSON: plain frozen dataclasses of text, numbers, bytes, UUIDs, tuples and each other.

Bytes travel as base64. What a machine hands over at a restart, or to another node, is packed here and nowhere else.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

S = TypeVar("S")


def pack(state: Any) -> Any:
    """Make a snapshot into what :mod:`json` can write."""
    if isinstance(state, bytes):
        return b64encode(state).decode("ascii")
    if isinstance(state, UUID):
        return str(state)
    if is_dataclass(state):
        return {field.name: pack(getattr(state, field.name)) for field in fields(state)}
    return [pack(item) for item in state] if isinstance(state, tuple) else state


def unpack(kind: type[S], data: Any) -> S:
    """Make a snapshot from what :func:`pack` made.

    :raises AttributeError, KeyError, TypeError, ValueError: if it is none.
    """
    return _read(kind, data)  # type: ignore[no-any-return]  # a type is read at run time


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, data: Any) -> Any:
    if isinstance(kind, UnionType):  # of something and None
        return None if data is None else _read(get_args(kind)[0], data)
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], item) for item in data)
    if kind is bytes:
        return b64decode(data, validate=True)
    if kind is UUID:
        return UUID(data)
    if is_dataclass(kind):
        return kind(**{name: _read(hint, data[name]) for name, hint in _hints(kind).items()})  # type: ignore[operator, arg-type]
    if type(data) is not kind:
        raise TypeError(f"{data!r} is no {kind.__name__}")
    return data
