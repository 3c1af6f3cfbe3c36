"""Pieces of schemas (JSON Schema), of which those of the routes are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
COUNT: dict[str, Any] = {"type": "integer"}
FLAG: dict[str, Any] = {"type": "boolean"}
TEXT_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
TIME_OR_NULL: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}


def array_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Any number of such things."""
    return {"type": "array", "items": item}


def object_of(properties: Mapping[str, Any], required: Sequence[str] = (), closed: bool = False) -> dict[str, Any]:
    """An object.

    :param closed: whether it has no other fields.
    """
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        made["required"] = list(required)
    if closed:
        made["additionalProperties"] = False
    return made


def page_of(item: Mapping[str, Any], following: Mapping[str, Any] = TEXT_OR_NULL, **more: Any) -> dict[str, Any]:
    """A part of a list.

    :param following: what ``next`` may be; ``more``: other fields.
    """
    return object_of({"items": array_of(item), "next": following, **more}, ("items", "next"))
