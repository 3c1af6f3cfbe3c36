"""The reference in ``docs/`` knows every command, option and exit status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmproxy.operators import exit_status
from vmproxy.operators.commands.list import COLUMNS
from vmproxy.operators.commands.registry import COMMANDS

REFERENCE = (Path(__file__).resolve().parents[3] / "docs" / "commands.rst").read_text()


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("info", "version", "help")])
def test_every_command_stands_there_with_its_options(name: str) -> None:
    assert f"\n``{name} {COMMANDS[name].usage}``\n" in REFERENCE


def test_every_exit_status_stands_there() -> None:
    table = re.findall(r"^``(\d+)`` ", REFERENCE, re.MULTILINE)
    assert {int(n) for n in table} == {value for name, value in vars(exit_status).items() if name.isupper()} | {255}


def test_every_column_stands_there() -> None:
    (listed,) = re.findall(r"\n``list \[GLOB.*?\n``status ", REFERENCE, re.DOTALL)
    assert set(COLUMNS) <= set(re.findall(r"``(\w+)``", listed))
