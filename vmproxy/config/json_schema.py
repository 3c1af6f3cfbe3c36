"""JSON schemas of the TOML files, made from the settings: for editors (taplo, VS Code) and other tools.

A schema says less than ``vmproxy check``, which also finds values that contradict each other, and files that are not
there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields
from inspect import getdoc
from typing import Any

from vmproxy.access.console_options import ConsoleOptions
from vmproxy.access.groups import Group
from vmproxy.access.policy import ConsoleSection, Rule
from vmproxy.alerts.watch import Watch
from vmproxy.auth.accounts_file import Account, OperatorEntry, Operators
from vmproxy.base.form import Form, any_of, form_of
from vmproxy.base.schema import Setting, group, section
from vmproxy.config.settings import Config
from vmproxy.operators.action import Action
from vmproxy.vm.outbound.rules_file import DialTable

_ABOUT = re.compile(r":ivar (\w+): |; ``(\w+)``:? ")
_ROLE = re.compile(r":[a-z:]+:`~?([^`]*)`")
_SIMPLE = {"boolean": bool, "integer": int, "string": str}


def configuration() -> Form:
    """The schema of ``vmproxy.toml``."""
    own = _table([Config])
    everywhere = _table([ConsoleOptions])
    one = _table([ConsoleSection, ConsoleOptions])
    own["properties"] |= {
        "rule": _array(_table([Rule])),
        "console": any_of(everywhere, _array(one)),
        "group": _array(_table([Group])),
        "action": _array(_table([Action])),
        "dial": _array(_table([DialTable])),
    }
    return _document("vmproxy.toml", own)


def operators() -> Form:
    """The schema of ``operators.toml``."""
    own = _table([Operators])
    own["properties"]["operators"] = {"type": "object", "additionalProperties": _table([Account, OperatorEntry])}
    return _document("operators.toml", own)


def watches() -> Form:
    """The schema of a file of watches."""
    return _document(
        "watch.toml",
        {"type": "object", "properties": {"watch": _array(_table([Watch]))}, "additionalProperties": False},
    )


SCHEMAS: dict[str, Callable[[], Form]] = {"vmproxy": configuration, "operators": operators, "watch": watches}
"""The schemas, by the names of the files."""


def _document(title: str, form: Form) -> Form:
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": title, **form}


def _array(form: Form) -> Form:
    return {"type": "array", "items": form}


def _table(classes: Iterable[type]) -> Form:
    """A table with the settings of some classes."""
    properties: Form = {}
    required: list[str] = []
    for one in classes:
        _add(one, properties, required)
    needed = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": False}


def _add(settings: type, properties: Form, required: list[str]) -> None:
    about = _descriptions(settings)
    for one in fields(settings):
        key = one.name.replace("_", "-")
        own: Setting | None = one.metadata.get(Setting)
        if own is not None:
            key = own.key or key
            properties[key] = _described(form_of(own.kind), about.get(one.name, "")) | _default(one, own)
            if own.needed:
                required.append(key)
        elif (inner := one.metadata.get(group)) is not None:
            _add(inner, properties, required)
        elif (inner := one.metadata.get(section)) is not None:
            properties[key] = _described(_table([inner]), (getdoc(inner) or "").partition("\n")[0])


def _described(form: Form, text: str) -> Form:
    return {**form, "description": text} if text else dict(form)


def _default(one: Field[Any], own: Setting) -> Form:
    value = one.default
    kind = _SIMPLE.get(form_of(own.kind).get("type", ""))
    return {"default": value} if value is not MISSING and kind is not None and type(value) is kind else {}


def _descriptions(settings: type) -> dict[str, str]:
    """What the documentation of a class says about its fields."""
    text = " ".join((getdoc(settings) or "").split())
    found: dict[str, str] = {}
    end = len(text)
    for match in reversed(list(_ABOUT.finditer(text))):
        said = _ROLE.sub(r"\1", text[match.end() : end])
        found[match[1] or match[2]] = said.replace("``", "").rstrip(".; ")
        end = match.start()
    return found
