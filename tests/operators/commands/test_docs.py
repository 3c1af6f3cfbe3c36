"""The reference in ``docs/`` knows every command, option and exit status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmproxy.operators import exit_status
from vmproxy.operators.commands import reference
from vmproxy.operators.commands.list import COLUMNS
from vmproxy.operators.commands.reference import updated

PAGE = "docs/commands.rst"
REFERENCE = (Path(__file__).resolve().parents[3] / PAGE).read_text()


def test_every_command_is_there_with_its_options_and_its_right() -> None:
    assert updated(REFERENCE) == REFERENCE, f"run: python -m {reference.__name__} {PAGE}"


def test_a_page_without_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="kick NAME"):
        updated(REFERENCE.replace("``kick NAME", "``hit NAME"))
    with pytest.raises(ValueError, match="no table"):
        updated("")


def test_every_exit_status_stands_there() -> None:
    table = re.findall(r"^``(\d+)`` ", REFERENCE, re.MULTILINE)
    assert {int(n) for n in table} == {value for name, value in vars(exit_status).items() if name.isupper()} | {255}


def test_every_column_stands_there() -> None:
    (listed,) = re.findall(r"\n``list \[GLOB.*?\n``status ", REFERENCE, re.DOTALL)
    assert set(COLUMNS) <= set(re.findall(r"``(\w+)``", listed))
