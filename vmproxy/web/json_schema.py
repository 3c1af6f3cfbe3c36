"""JSON Schema, as much of it as the bodies of requests need: what does not fit is told at once, with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_KNOWN = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "description",
    "default",
    "example",
}
_BOUNDS = {"minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum"}


def unknown_words(schema: Mapping[str, Any]) -> set[str]:
    """The words of a schema that nothing here looks at."""
    found = set(schema) - _KNOWN - _BOUNDS
    for inner in schema.get("properties", {}).values():
        found |= unknown_words(inner)
    return found | (unknown_words(schema["items"]) if "items" in schema else set())


def errors(value: Any, schema: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """What of a value does not fit a schema: places, each with what is wrong.

    :param place: the way to the value; empty for the whole.
    """
    name = place or "the body"
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is(value, kind) for kind in kinds):
        yield name, f"has to be {' or '.join(kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield name, f"has to be one of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str | list):
        what = "characters" if isinstance(value, str) else "items"
        least, most = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
        if len(value) < schema.get(least, 0):
            yield name, f"needs {schema[least]} {what} at least"
        if len(value) > schema.get(most, len(value)):
            yield name, f"has {schema[most]} {what} at most"
            return
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value <= schema.get("exclusiveMinimum", value - 1):
            yield name, f"is {schema.get('minimum', schema.get('exclusiveMinimum'))} at least"
        if value > schema.get("maximum", value):
            yield name, f"is {schema['maximum']} at most"
    if isinstance(value, list) and "items" in schema:
        for n, item in enumerate(value):
            yield from errors(item, schema["items"], f"{place}[{n}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{place}.{key}" if place else key, "is missing"
        for key, inner in value.items():
            if key in properties:
                yield from errors(inner, properties[key], f"{place}.{key}" if place else key)
            elif not schema.get("additionalProperties", True):
                yield name, f"there is no such field: {key[:40]!r}"
                return


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])
