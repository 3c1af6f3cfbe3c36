"""Selectors: globs that choose consoles, in rules, settings, watches, groups and commands.

Names are compared without regard to capitals, as vSphere itself does.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Protocol
from uuid import UUID

from vmproxy.access.labels import Labels
from vmproxy.base import values
from vmproxy.errors import VMProxyError


class Subject(Protocol):
    """A console, as far as rules look at it."""

    @property
    def uuid(self) -> UUID:
        """The VM's VC UUID."""

    @property
    def port(self) -> str:
        """The label of the serial port."""

    @property
    def name(self) -> str:
        """The VM's name."""

    @property
    def uri(self) -> str:
        """The service URI."""

    @property
    def labels(self) -> Labels:
        """Its labels."""


class BadRule(VMProxyError):
    """The error for a rule or an option; the text says why and what would be right."""


KINDS = ("name", "uuid", "tag", "query")
"""What may stand in front of the colon of a selector."""


class Selector:
    """A choice of consoles: ``web*`` (the name), ``uuid:564d*``, ``tag:team=blue`` or ``query:team=blue``.

    ``tag:`` is a label, and ``query:`` a part of the service URI's query.

    :ivar kind: ``name``, ``uuid``, ``tag``, ``query``; ``any`` selects all.
    :ivar glob: what is behind the colon.
    :ivar pattern: the glob as an expression; ``dotted``: whether there is a dot in it.
    """

    __slots__ = ("_believes", "_match", "dotted", "glob", "kind", "pattern", "text")

    def __init__(self, text: str, believes: bool = True) -> None:
        """
        :param believes: whether it takes labels that are only told (see :mod:`~vmproxy.access.labels`).
        :raises BadRule: if it selects nothing that can be.
        """
        kind, colon, glob = text.partition(":")
        if not colon or kind not in KINDS:
            kind, glob = "name", text
        if not glob:
            raise BadRule(f"{text!r} selects nothing; write a glob such as 'web*', 'uuid:564d*' or 'tag:team=blue'")
        self.text = text
        self.glob = glob
        self.kind = "any" if kind == "name" and glob == "*" else kind
        self.dotted = "." in glob
        self.pattern = fnmatch.translate((f"{glob}=*" if kind == "tag" and "=" not in glob else glob).casefold())
        self._match = re.compile(self.pattern).match
        self._believes = believes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and (other.text, other._believes) == (self.text, self._believes)

    def __hash__(self) -> int:
        return hash(self.text)

    def selects(self, console: Subject) -> bool:
        if self.kind == "any":
            return True
        if self.kind == "uuid":
            return self._match(str(console.uuid)) is not None
        if self.kind == "tag":
            labels = console.labels
            return any(map(self._match, labels.all if self._believes else labels.given))
        if self.kind == "query":
            query = console.uri.partition("?")[2].casefold()
            return any(self._match(part) for part in query.split("&"))
        name = console.name.casefold()
        if self._match(name) is not None:
            return True
        # web01.2 is a name too; web01.1 only for who writes it so.
        return (console.port != "1" or self.dotted) and self._match(f"{name}.{console.port}") is not None


believing = values.list_of(lambda value: Selector(values.word(value)), "")
"""Selectors of a setting that only finds."""

given = values.list_of(lambda value: Selector(values.word(value), believes=False), "")
"""Selectors of a setting that grants something: labels that are only told do not count."""
