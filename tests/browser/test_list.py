"""The list of consoles in a browser, with 16,000 of which a few are up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.browser import Site, browser_there, open_as, seen_by_all, shows
from tests.support.daemon import eventually
from tests.support.host import FakeVM
from tests.support.node import npm

pytestmark = browser_there

KNOWN = 16_000
ROWS = "#rows .row"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("list") / "site", keys, KNOWN)
    try:
        site.simulate("web01", "web02", "db01")
        yield site
    finally:
        site.stop()


@pytest.fixture
def there(page: Any, site: Site) -> Any:
    """The list, with rows in it."""
    open_as(page, site)
    page.wait_for_selector(f"{ROWS} a >> text=db01")
    return page


def names(page: Any) -> list[str]:
    """What is drawn, from the top."""
    script = "rows => rows.map(r => [+r.dataset.index, r.querySelector('a').textContent])"
    return [name for _, name in sorted(page.eval_on_selector_all(ROWS, script)) if name]


def test_a_list_of_16000_is_drawn_as_far_as_it_is_in_view(there: Any) -> None:
    assert there.locator(ROWS).count() < 60
    assert names(there)[:2] == ["db01", "old00000"]
    shows(there, "#states", f"all {KNOWN + 3:,}")
    assert there.get_attribute("#grid", "aria-rowcount") == str(KNOWN + 4)
    there.focus("#grid")
    there.keyboard.press("End")
    there.wait_for_selector(f"{ROWS} a >> text=web02")
    assert there.locator(ROWS).count() < 60
    assert names(there)[-2:] == ["web01", "web02"]


def test_a_filter_works_as_one_types_and_stands_in_the_address(there: Any, site: Site) -> None:
    there.fill("#filter", "web")
    shows(there, "#found", "2 consoles")
    assert names(there) == ["web01", "web02"]
    assert urlsplit(there.url).query == "filter=web"
    there.reload()
    shows(there, "#found", "2 consoles")
    there.fill("#filter", "old0001?")
    shows(there, "#found", "10 consoles")
    there.fill("#filter", "no such console")
    there.click("text=Show all")
    there.wait_for_selector(f"{ROWS} a >> text=db01")
    assert there.url == f"{site.url}/"


def test_states_are_counted_and_choose(there: Any) -> None:
    shows(there, "#states", f"all {KNOWN + 3:,}")
    there.click("#states >> text=up")
    shows(there, "#found", "3 consoles")
    assert names(there) == ["db01", "web01", "web02"]
    there.click("#states >> text=all")
    there.wait_for_selector(f"{ROWS} a >> text=old00000")


def test_what_changes_is_shown_at_once(there: Any, site: Site) -> None:
    vm = FakeVM(site.daemon.vm_port, "aaa").connect()
    try:
        there.wait_for_selector(f"{ROWS} a >> text=aaa")
        row = there.locator(ROWS, has_text="aaa")
        vm.connected.say(b"a line that is <b>only text</b>\r\n")
        row.locator(".c-line", has_text="a line that is <b>only text</b>").wait_for()
        assert row.locator(".c-state").inner_text() == "up"
    finally:
        vm.close()
    row.locator(".c-state", has_text="down").wait_for()


def test_everything_works_by_keyboard(there: Any, site: Site) -> None:
    there.keyboard.press("/")
    there.keyboard.type("web")
    shows(there, "#found", "2 consoles")
    there.keyboard.press("ArrowDown")
    there.keyboard.press("Space")
    there.keyboard.press("ArrowDown")
    there.keyboard.press("Space")
    assert there.locator(f"{ROWS}[aria-selected=true]").count() == 2
    assert there.inner_text("#wall") == "Wall of 2"
    there.keyboard.press("?")
    there.wait_for_selector("dialog >> text=Keys of the list")
    there.keyboard.press("Escape")
    there.keyboard.press("ArrowUp")
    with there.expect_request(lambda request: urlsplit(request.url).path.startswith("/c/")) as opened:
        there.keyboard.press("Enter")
    assert len(urlsplit(opened.value.url).path) == len("/c/") + 36


def test_the_wall_gets_what_is_chosen(there: Any) -> None:
    there.locator(ROWS, has_text="db01").locator("input").click()
    with there.expect_request(lambda request: urlsplit(request.url).path == "/wall") as opened:
        there.click("#wall")
    assert urlsplit(opened.value.url).query.startswith("c=")


@npm
def test_nothing_is_in_the_way_of_anybody(there: Any) -> None:
    assert seen_by_all(there) == []


def test_an_operator_sees_what_they_may(page: Any, site: Site) -> None:
    open_as(page, site, "bob")
    page.wait_for_selector(f"{ROWS} a >> text=web01")
    assert names(page) == ["web01", "web02"]
    eventually(lambda: page.inner_text("#states").split()[:2] == ["all", "2"], "two are counted")
