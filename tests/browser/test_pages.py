"""Login, account, alerts and search in a browser, with a daemon that has a few consoles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.support.browser import WEB, Site, browser_there, log_in, open_as, seen_by_all, shows
from tests.support.daemon import eventually
from tests.support.host import FakeVM
from tests.support.node import npm
from tests.support.requirements import expressions

pytestmark = browser_there

WATCHES = """
[[watch]]
name = "panic"
match = "Kernel panic"
severity = "critical"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pages")
    watches = folder / "watch.toml"
    watches.write_text(WATCHES)
    site = Site(folder / "site", keys, extra=f'{WEB}[alerts]\nwatch-file = "{watches}"\n')
    try:
        site.simulate("web01", "db01")
        yield site
    finally:
        site.stop()


# Login.


def test_a_link_leads_to_the_login_in_place_and_back(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/search?q=login")
    page.fill("dialog [name=operator]", "alice")
    page.fill("dialog [name=password]", "wrong")
    page.press("dialog [name=password]", "Enter")
    page.wait_for_selector("dialog .error >> text=may not log in")
    page.fill("dialog [name=password]", "correct horse")
    page.press("dialog [name=password]", "Enter")
    page.wait_for_selector("#hits .hit")
    assert page.inner_text("#me") == "alice"


def test_somebody_who_logs_out_is_out(page: Any, site: Site) -> None:
    log_in(page, site)
    page.click("#logout")
    page.wait_for_url(f"{site.url}/login")
    page.goto(f"{site.url}/account")
    page.wait_for_selector("dialog [name=operator]")


# Account.


def test_a_token_is_shown_once_works_and_is_revoked(page: Any, site: Site) -> None:
    open_as(page, site, path="/account")
    page.click("summary")
    page.fill("#token [name=name]", "pipeline")
    page.select_option("#token [name=scope]", "read")
    page.fill("#token [name=on]", "web*")
    page.press("#token [name=name]", "Enter")
    token = page.locator("#fresh input").input_value()
    assert token.startswith("vmp_")
    asked = Request(f"{site.url}/api/v1/consoles", headers={"Authorization": f"Bearer {token}"})
    with urlopen(asked) as answer:
        assert [one["name"] for one in json.load(answer)["items"]] == ["web01"]
    page.reload()
    row = page.locator("#tokens tr", has_text="pipeline")
    row.wait_for()
    assert token not in page.content()
    row.locator("button").click()
    page.click("dialog >> text=Revoke it")
    page.wait_for_selector("#tokens >> text=There is no token.")


def test_settings_are_kept_and_the_theme_is_there_before_the_first_paint(page: Any, site: Site) -> None:
    open_as(page, site, path="/account")
    page.check("[name=theme][value=dark]")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert page.is_checked("[name=theme][value=dark]")
    page.check("[name=theme][value=system]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


# Alerts.


@expressions
def test_an_alert_appears_leads_to_its_replay_and_is_acknowledged(page: Any, site: Site) -> None:
    open_as(page, site, path="/alerts")
    page.wait_for_selector("text=Nothing is wrong")
    vm = FakeVM(site.daemon.vm_port, "mail01").connect()
    try:
        vm.connected.say(b"Kernel panic - not syncing: <i>no init</i>\r\n")
        alert = page.locator(".alert", has_text="mail01")
        alert.wait_for()
        assert alert.locator(".line").inner_text() == "Kernel panic - not syncing: <i>no init</i>"
        shows(page, "#nav-alerts", "1")
        link = urlsplit(alert.locator("text=Replay").get_attribute("href"))
        assert link.path.endswith("/play")
        assert parse_qs(link.query)["t"]
        alert.locator("text=Acknowledge").click()
        page.fill("dialog input", "disk replaced")
        page.click("dialog >> text=Acknowledge >> nth=-1")
        page.wait_for_selector("text=Nothing is wrong")
        page.check("#ended")
        page.wait_for_selector(".alert.ended >> text=disk replaced")
    finally:
        vm.close()


# Search.


def test_hits_come_and_lead_into_the_player(page: Any, site: Site) -> None:
    open_as(page, site, path="/search")
    page.fill("[name=q]", "login:")
    page.fill("[name=on]", "web*")
    page.press("[name=q]", "Enter")
    page.wait_for_selector("#hits .hit")
    assert "q=login%3A" in page.url
    shows(page, "#search-state", "line")
    assert set(page.locator("#hits .hit strong").all_inner_texts()) == {"web01"}
    link = urlsplit(page.locator("#hits .hit").first.get_attribute("href"))
    assert link.path.endswith("/play")
    page.fill("[name=q]", "no such thing in any log")
    page.press("[name=q]", "Enter")
    page.wait_for_selector("#search-state >> text=No line is like that")


# For everybody.


@npm
@pytest.mark.parametrize("path", ["/account", "/alerts", "/search?q=login"])
def test_nothing_is_in_the_way_of_anybody(page: Any, site: Site, path: str) -> None:
    open_as(page, site, path=path)
    page.wait_for_load_state("networkidle")
    assert seen_by_all(page) == []


WITHOUT = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter(e => e.checkVisibility() && !e.disabled && e.tabIndex >= 0 && e.type !== "radio" && !e.dataset.reached)
  .map(e => e.outerHTML)"""


@pytest.mark.parametrize("path", ["/", "/account", "/alerts", "/search?q=login"])
def test_everything_is_reached_by_tab_and_where_one_is_can_be_seen(page: Any, site: Site, path: str) -> None:
    open_as(page, site, path=path)
    page.wait_for_load_state("networkidle")
    page.evaluate("() => document.activeElement.blur()")
    reached = []
    for _ in range(700):
        page.keyboard.press("Tab")
        here, seen = page.evaluate("""() => {
          const e = document.activeElement;
          if (e === document.body) return ["", true];
          const known = e.dataset.reached;
          e.dataset.reached = "1";
          return [known ? null : e.id || e.name || e.textContent.trim() || e.tagName,
            getComputedStyle(e).outlineStyle !== "none"];
        }""")
        if here is None:
            break
        assert seen, here
        reached.append(here)
    assert {"Skip to the content", "Consoles", "me", "logout"} <= set(reached)
    assert page.evaluate(WITHOUT) == []


# Weight.


def moved(page: Any) -> dict[str, int]:
    """What pages that are opened from now on move: bytes of the answers, by address."""
    sizes: dict[str, int] = {}

    def took(request: Any) -> None:
        sizes[request.url] = max(sizes.get(request.url, 0), request.sizes()["responseBodySize"])

    page.on("requestfinished", took)
    return sizes


def finished(page: Any, condition: Callable[[], object], what: str) -> None:
    """Wait until such requests are told."""

    def told() -> object:
        page.evaluate("0")  # what the browser tells is heard while it is asked
        return condition()

    eventually(told, what)


def test_the_list_is_light_and_costs_nothing_the_second_time(page: Any, site: Site) -> None:
    sizes = moved(page)
    open_as(page, site)
    page.wait_for_selector("#rows a >> text=db01")
    finished(page, lambda: len(sizes) > 5, "the requests are told")
    assert sum(sizes.values()) < 100 * 1024
    assert len(sizes) < 25
    page.goto(f"{site.url}/")
    page.wait_for_selector("#rows a >> text=db01")
    again = page.evaluate(
        "() => performance.getEntriesByType('resource')"
        ".filter(e => e.name.includes('/a/') && e.transferSize > 0).map(e => e.name)"
    )
    assert again == []


@npm
def test_the_page_of_a_console_is_light_and_so_are_all_pages_together(page: Any, site: Site) -> None:
    sizes = moved(page)
    open_as(page, site, path="/c/web01")
    page.wait_for_selector("#console-pen >> text=You write")
    page.wait_for_load_state("networkidle")
    finished(page, lambda: any("/vendor/xterm.mjs" in url for url in sizes), "the terminal is told")
    assert sum(sizes.values()) < 250 * 1024
    assert len(sizes) < 25
    for path in ("/", "/c/web01/play", "/wall?c=db01", "/search", "/alerts", "/account"):
        page.goto(f"{site.url}{path}")
        page.wait_for_load_state("networkidle")
    assert sum(size for url, size in sizes.items() if "/api/" not in url) < 400 * 1024
