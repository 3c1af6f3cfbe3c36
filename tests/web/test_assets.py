"""The files of the pages: their addresses, that nothing is inline, and that nothing leads nowhere."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import vmproxy.web.assets
from vmproxy.web.assets import PAGES, Assets, Page

PACKAGE = Path(vmproxy.web.assets.__file__).parent
VOID = {"meta", "link", "img", "input", "br", "hr"}
REFERENCES = re.compile(r"/a/[0-9a-f]{12}/([^\"]+)")
IMPORTS = re.compile(r'(?:from |import\()"(\.[^"]+)"')


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets.load()


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            raise AssertionError(f"inline {self.open[-1]}: {data!r}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_whole_and_has_nothing_inline(assets: Assets, page: Page) -> None:
    tags = Tags()
    html = assets.page(page, "N0nce").decode()
    tags.feed(html)
    tags.close()
    assert not tags.open
    ids = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags.found:
        assert tag != "style"
        assert not {name for name in attributes if name == "style" or name.startswith("on")}
    assert 'nonce="N0nce"' in html
    assert "$" not in html
    for name in REFERENCES.findall(html):
        assert assets.get(assets.version, name) is not None, name
    assert f"pages/{page.name}.js" in html


def test_every_import_of_a_module_leads_to_a_file(assets: Assets) -> None:
    for name in assets.names():
        asset = assets.get(assets.version, name)
        assert asset is not None
        if name.startswith("pages/") and name.endswith(".js"):
            for target in IMPORTS.findall(asset.plain().decode()):
                path = (PACKAGE / "pages" / target).resolve().relative_to(PACKAGE)
                known = assets.get(assets.version, str(path)) is not None
                assert known or str(path).partition("/")[2] in assets.missing, f"{name}: {target}"


def test_nothing_in_the_files_comes_from_elsewhere(assets: Assets) -> None:
    for path in (PACKAGE / "pages").iterdir():
        found = re.findall(r"(?:src|href|url|import|from)\W{1,3}(?:https?:)?//[^\s\"')]+", path.read_text())
        assert found == [], path.name


def test_a_file_is_packed_and_can_be_had_plain(assets: Assets) -> None:
    asset = assets.get(assets.version, "pages/style.css")
    assert asset is not None
    source = (PACKAGE / "pages" / "style.css").read_bytes()
    assert (asset.plain(), gzip.decompress(asset.packed), asset.size) == (source, source, len(source))
    assert asset.media == "text/css; charset=utf-8"


def test_there_is_no_file_of_another_version_or_name(assets: Assets) -> None:
    assert assets.get("0" * 12, "pages/style.css") is None
    for name in ("pages/shell.html", "pages/../assets.py", "", "style.css", "vendor/xterm.d.mts"):
        assert assets.get(assets.version, name) is None


def test_the_version_is_that_of_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pages").mkdir()
    style = tmp_path / "pages" / "style.css"
    monkeypatch.setattr(vmproxy.web.assets, "files", lambda package: tmp_path)
    style.write_text("a {}")
    first = Assets.load()
    style.write_text("b {}")
    assert len({first.version, Assets.load().version}) == 2
    assert Assets.load().version == Assets.load().version
    assert "xterm.mjs" in first.missing
