"""The samples in etc/ are what they say: loadable, complete, and equal to the defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vmproxy.config import settings

SAMPLE = Path(__file__).resolve().parents[2] / "etc" / "vmproxy.toml"


def test_the_sample_configuration_is_the_defaults() -> None:
    assert settings.load(SAMPLE, {}) == settings.load(None, {})


def test_the_sample_configuration_explains_every_setting() -> None:
    assert set(_keys(tomllib.loads(SAMPLE.read_text()), "")) == set(settings.SETTINGS)


def _keys(table: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield prefix + name
