"""The reference of the HTTP API, written from the table that the daemon serves: see ``vmproxy/web/table.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vmproxy.web.openapi import document
from vmproxy.web.problem import KINDS
from vmproxy.web.table import ROUTES

PAGE = Path(__file__).parent / "reference" / "http.rst"


def write() -> None:
    """Write the page, for Sphinx."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(document(ROUTES)), "utf-8")


def page(described: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    parts = [
        _title("HTTP reference"),
        "Every path, parameter, answer and problem, as ``openapi.json`` has them. *HTTP API* has examples.\n\n",
        ".. contents::\n   :local:\n   :depth: 1\n\n",
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts += [_title(f"{method.upper()} {path}", "-"), *_operation(operation)]
    parts.append(_title("Problems", "-"))
    parts += [f"``{name}`` ({kind.status})\n   {kind.title}.\n\n" for name, kind in KINDS.items()]
    return "".join(parts)


def _operation(operation: dict[str, Any]) -> list[str]:
    parts = [f"{_plain(operation['summary'])}. {_plain(operation['description'])}\n\n"]
    for one in operation.get("parameters", ()):
        where = "in the path" if one["in"] == "path" else _kind(one["schema"], one["required"])
        parts.append(f"``{one['name']}`` ({where})\n   {_plain(one['description'])}.\n\n")
    if body := operation.get("requestBody"):
        ((media, content),) = body["content"].items()
        parts.append(f"Body: ``{media}``. {_plain(body['description'])}.\n\n{_schema(content['schema'])}")
    for status, answer in operation["responses"].items():
        ((media, content),) = answer.get("content", {"": {}}).items()
        shown = f" ``{media}``." if media and media != "application/problem+json" else ""
        parts.append(f"**{status}**:{shown} {_plain(answer['description'])}.\n\n")
        if "$ref" not in content.get("schema", {}):
            parts.append(_schema(content.get("schema", {})))
    return parts


def _kind(schema: dict[str, Any], required: bool) -> str:
    words = [str(schema.get("type", ""))]
    if "enum" in schema:
        words = ["one of " + ", ".join(schema["enum"])]
    if "minimum" in schema and "maximum" in schema:
        words.append(f"{schema['minimum']} to {schema['maximum']}")
    if "default" in schema:
        words.append(f"{schema['default']} if not said")
    if required:
        words.append("required")
    return ", ".join(words)


def _schema(schema: dict[str, Any]) -> str:
    if not schema:
        return ""
    lines = json.dumps(schema, indent=2).splitlines()
    return ".. code-block:: json\n\n" + "".join(f"   {line}\n" for line in lines) + "\n"


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _plain(text: str) -> str:
    """Text without what reStructuredText would take for marks, and the point at its end."""
    return "".join(f"\\{letter}" if letter in "*`|_\\" else letter for letter in text.removesuffix("."))
