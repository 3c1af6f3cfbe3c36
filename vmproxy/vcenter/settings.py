"""``[vcenter]``: which vCenter is asked about VMs, and what is believed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmproxy.access.labels import is_key
from vmproxy.base import values
from vmproxy.base.schema import InvalidValue, setting

DAY = 86400.0
_SERVER = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]{2,45}\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


def _server(value: Any) -> str:
    match = _SERVER.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 0 < int(match["port"] or 443) < 65536:
        raise InvalidValue(f"{value!r} is not a server such as vcenter.example.com, or vcenter.example.com:8443")
    return str(value)


def _key(value: Any) -> str:
    if not isinstance(value, str) or not is_key(value):
        raise InvalidValue(f"{value!r} is not the key of a label")
    return value.casefold()


@dataclass(frozen=True, slots=True)
class VCenterSettings:
    """What is asked of a vCenter.

    :ivar server: its name or address, with a port where it is not 443; empty: none is asked.
    :ivar user: the account there.
    :ivar password_file: the file with its password.
    :ivar ca_file: the PEM file of the authorities that it is verified with; None for those that the system trusts.
    :ivar every: seconds between two readings.
    :ivar tags: whether tags are read too, by the REST API.
    :ivar rules: the keys of labels that rules may use.
    :ivar forget_gone: seconds after which the console of a VM that vCenter has no more is forgotten; 0: never.
    """

    server: str = setting(values.or_empty(_server, ""), "")
    user: str = setting(values.or_empty(values.word, ""), "")
    password_file: Path | None = setting(values.or_empty(values.file, None), None)
    ca_file: Path | None = setting(values.or_empty(values.file, None), None)
    every: float = setting(values.span_from(30, DAY, "a time from 30 s to a day"), 300.0)
    tags: bool = setting(values.flag, True)
    rules: tuple[str, ...] = setting(values.list_of(_key, 'keys such as ["folder"]', may_be_empty=True, most=32), ())
    forget_gone: float = setting(values.span, 0.0)

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        """The values that do not go with others."""
        if self.server:
            for key, value in (("user", self.user), ("password-file", self.password_file)):
                if not value and key not in wrong:
                    yield key, "is needed with vcenter.server"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        match = _SERVER.fullmatch(self.server)
        assert match is not None
        return match["host"].strip("[]"), int(match["port"] or 443)
