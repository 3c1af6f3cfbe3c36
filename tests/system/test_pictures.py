"""The pictures of what operators see are made of real sessions, by a script that goes on working."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.terminal_pictures import LIGHT, PICTURES, main, svg
from tests.support.daemon import ROOT
from tests.support.terminal import Terminal


def words(picture: str) -> str:
    """The text of a picture, line by line."""
    texts = [node for node in ElementTree.fromstring(picture) if node.tag.endswith("text")]
    return "\n".join(node.text or "" for node in texts)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no OpenSSH client (Debian: openssh-client)")
def test_the_script_draws_what_is_on_the_screen(tmp_path: Path) -> None:
    said: list[str] = []
    main([str(tmp_path), "menu-wide", "pager", "tail-line", "alerts"], said.append)
    assert len(said) == 4
    shown = {path.stem: words(path.read_text()) for path in tmp_path.glob("*.svg")}
    assert "10 consoles" in shown["menu-wide"]
    assert "1 crit" in shown["menu-wide"]
    assert "error" in shown["pager"].splitlines()
    assert "q live" in shown["pager"]
    assert "Enter: go to its console" in shown["tail-line"]
    assert "critical" in shown["alerts"]


def test_colours_and_places_are_those_of_the_terminal() -> None:
    terminal = Terminal(10, 2)
    terminal.feed(b"a\x1b[31mred\x1b[m <&>\r\n\x1b[7m  b\x1b[m")
    picture = svg(terminal, LIGHT)
    assert words(picture) == "a\nred\n <&>  \n  b"
    assert f'fill="{LIGHT.of("red")}"' in picture
    assert re.search(rf'<rect x="12" y="30" width="[\d.]+" height="18" fill="{LIGHT.text}"', picture)


def test_every_picture_is_small_and_shown_and_all_that_are_shown_are_there() -> None:
    shown = {
        folder / found
        for page, folder in ((ROOT / "README.rst", ROOT), (ROOT / "docs" / "web.rst", ROOT / "docs"))
        for found in re.findall(r"\.\. image:: (\S+)", page.read_text())
    }
    there = set((ROOT / "docs" / "pictures").iterdir())
    assert shown == there
    assert {path.stem for path in there if path.suffix == ".svg"} <= set(PICTURES)
    assert all(path.stat().st_size < 64 * 1024 for path in there)
