"""What all pages have in a browser, before anybody has logged in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Site, browser_there, seen_by_all
from tests.support.node import npm

pytestmark = browser_there


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("frame") / "site", keys)
    yield site
    site.stop()


@npm
def test_the_login_is_in_the_way_of_nobody(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/login?next=/alerts")
    assert page.evaluate("document.activeElement.name") == "operator"
    assert seen_by_all(page) == []


def test_a_page_without_javascript_says_what_is_missing(open_page: Any, site: Site) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(site.url)
    assert "JavaScript" in page.inner_text("noscript")
