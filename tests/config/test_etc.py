"""The samples in etc/ are what they say: loadable, complete, and equal to the defaults."""

from __future__ import annotations

import tomllib
from pathlib import Path

from vmproxy.config import settings

SAMPLE = Path(__file__).resolve().parents[2] / "etc" / "vmproxy.toml"


def test_the_sample_configuration_is_the_defaults() -> None:
    assert settings.load(SAMPLE, {}) == settings.load(None, {})


def test_the_sample_configuration_explains_every_setting() -> None:
    keys = set()
    for name, value in tomllib.loads(SAMPLE.read_text()).items():
        keys |= {f"{name}.{inner}" for inner in value} if isinstance(value, dict) else {name}
    assert keys == set(settings.SETTINGS)
