"""Fixtures: a configuration is read, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vmproxy.config import settings
from vmproxy.errors import ConfigError


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    """Reads a configuration that a test writes as text."""

    def read(text: str, **options: object) -> Any:
        file = tmp_path / "vmproxy.toml"
        file.write_text(text, encoding="utf-8")
        return settings.load(file, {name.replace("_", "-"): value for name, value in options.items()})

    return read


@pytest.fixture
def wrong(read: Callable[..., Any]) -> Callable[..., list[str]]:
    """The problems of a configuration that must be refused."""

    def wrong(text: str, **options: object) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, **options)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return caught.value.problems

    return wrong


@pytest.fixture
def only_problem(wrong: Callable[..., list[str]]) -> Callable[..., str]:
    """The problem of a configuration that has exactly one."""

    def only(text: str, **options: object) -> str:
        problems = wrong(text, **options)
        assert len(problems) == 1, problems
        return problems[0]

    return only
