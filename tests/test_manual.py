"""The man pages that are made have every setting and every option."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from vmproxy.cli.main import parsers
from vmproxy.config.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def manual() -> ModuleType:
    spec = importlib.util.spec_from_file_location("manual", ROOT / "docs/manual.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def titles(page: str, line: str) -> list[str]:
    return re.findall(rf"^(\S.*)\n{re.escape(line)}+$", page, re.MULTILINE)


def test_every_setting_has_a_title_in_its_section(manual: ModuleType) -> None:
    page = manual.settings(ROOT / "etc/vmproxy.toml")
    parts = re.split(r"^   \[([a-z.]+)\]$", page, flags=re.MULTILINE)
    found = {key for title in titles(parts[0], "~") for key in title.split(", ")}
    for name, part in zip(parts[1::2], parts[2::2], strict=True):
        found |= {f"{name}.{key}" for title in titles(part, "~") for key in title.split(", ")}
    assert SETTINGS.keys() - found == set()


def test_prose_is_no_markup_and_tables_stay_as_they_are(manual: ModuleType, tmp_path: Path) -> None:
    sample = tmp_path / "a.toml"
    sample.write_text("# A *b* `c` tcp:1 \\ d_\n#   e  f\nkey = 1\n\n# ---- Part (*) ----\n[part]\n")
    page = manual.settings(sample)
    assert "A \\*b\\* \\`c\\` tcp\\:1 \\\\ d\\_\n" in page
    assert "::\n\n     e  f\n" in page
    assert titles(page, "~") == ["key"]
    assert titles(page, "-") == ["Description", "Part"]


def test_every_command_has_its_options(manual: ModuleType) -> None:
    page = manual.tools()
    _, commands = parsers()
    assert titles(page, "-")[1:] == [f"vmproxy {name}" for name in commands]
    assert "--no-tls" in page


def test_pages_are_of_this_folder_or_made(manual: ModuleType) -> None:
    made = {"man/vmproxy.1", *(f"man/{name}" for name in manual._SAMPLES)}
    assert all(source in made or (ROOT / f"docs/{source}.rst").exists() for source, *_ in manual.PAGES)
