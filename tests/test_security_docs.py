"""docs/security.rst promises nothing without a test: each promise names one, and all that are named exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "security.rst").read_text()
PROMISES = TEXT.split("\nPromises\n========\n")[1].split("\nAccounts and files\n=====")[0]
BULLETS = re.findall(r"^\* (.*?)(?=^\* |^\S|\Z)", PROMISES, re.MULTILINE | re.DOTALL)
NAMED = sorted(set(re.findall(r"``(test_\w+)``", TEXT)))


def test_there_are_promises() -> None:
    assert len(BULLETS) > 20
    assert len(NAMED) > 40


def test_every_promise_names_a_test() -> None:
    assert [promise for promise in BULLETS if not re.search(r"``test_\w+``", promise)] == []


def test_every_test_that_is_named_exists() -> None:
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?: {4})?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert [name for name in NAMED if name not in there] == []


def test_no_line_is_too_long() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 120] == []
