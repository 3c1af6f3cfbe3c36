"""The pages lead somewhere: links, their anchors, and the modules that the architecture names."""

from __future__ import annotations

import re
from pathlib import Path

from docs import http_reference
from tests.support.cases import each
from vmproxy.web.openapi import document
from vmproxy.web.problem import KINDS
from vmproxy.web.table import ROUTES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.rst"), *ROOT.glob("*.rst")])
PACKAGE = ROOT / "vmproxy"


def anchors(text: str) -> set[str]:
    """The anchors of a page's titles, as docutils makes them."""
    titles = re.findall(r"^(\S.*)\n([=\-])\2{2,}$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") for title, _ in titles}


def broken(page: Path) -> list[str]:
    """The links of a page to files or titles that do not exist."""
    found = []
    for target in re.findall(r"`[^`]*?<([^>`]+)>`_", page.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        if re.match(r"\w+://", target) or target.endswith("_"):
            continue
        path = page.parent / name
        if not path.is_file() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
            found.append(target)
    return found


@each("page", PAGES)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


@each("page", PAGES)
def test_no_line_is_too_long(page: Path) -> None:
    assert [line for line in page.read_text("utf-8").splitlines() if len(line) > 120] == []


def test_the_reference_of_the_api_has_every_route() -> None:
    text = http_reference.page(document(ROUTES))
    for route in ROUTES:
        if not route.hidden:
            assert f"\n{route.method} {route.path}\n---" in text
            assert all(f"\n``{parameter.name}`` (" in text for parameter in route.query)
    assert all(f"``{name}`` ({kind.status})" in text for name, kind in KINDS.items())


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.rst").read_text("utf-8")
    listed = set(re.findall(r"^   ([a-z-]+)$", index, re.MULTILINE))
    assert listed == {page.stem for page in (ROOT / "docs").glob("*.rst")} - {"index"}


def test_the_architecture_names_modules_and_packages_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.rst").read_text("utf-8")
    modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    modules |= {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")}
    named = set(re.findall(r"``((?:\w+/)*\w+\.py)``", text))
    missing = {name for name in named if not any(module == name or module.endswith(f"/{name}") for module in modules)}
    assert missing == set()
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(re.findall(r"``(\w+)/``", text))
