"""Fixtures: one Chromium for all tests of a worker, one daemon for those of a module, a fresh context for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.archive import T0, Archive
from tests.support.browser import CHROMIUM, FLAGS, WEB, Site, Watched
from tests.support.browser_console import connect
from tests.support.host import FakeVM
from vmproxy.ssh.host_keys import make_key

RULES = """
[[rule]]
who = ["alice"]
on = ["*"]
may = ["admin"]
[[rule]]
who = ["bob"]
on = ["web*"]
may = ["force"]
"""


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with host keys, and a key that the daemon's configuration names."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("operator", "ssh_host_ed25519_key"):
        make_key(folder / name, "ed25519")
    make_key(folder / "ssh_host_rsa_key", "rsa")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, each with cookies and a cache of its own; options are those of a context. They are watched."""
    watched: list[Watched] = []

    def open_page(**options: Any) -> Any:
        options = {"viewport": {"width": 1280, "height": 720}, **options}
        page = Watched(chromium.new_context(**options).new_page())
        watched.append(page)
        return page.page

    yield open_page
    for one in watched:
        one.page.context.close()
    for one in watched:
        one.check()


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    """A page."""
    return open_page()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Site]:
    """A daemon for the pages of consoles. It remembers ``old00000``, which said three lines, one a minute."""
    site = Site(tmp_path_factory.mktemp("consoles") / "site", keys, 1, WEB, RULES)
    archive = Archive(site.daemon.log_dir, f"{site.remembered(0)}.log")
    archive.happen(T0 + 0.7, "up")
    for number in range(3):
        archive.say(T0 + 10.8 + 60 * number, b"part %d\r\n" % number)
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture
def vm(site: Site) -> Iterator[FakeVM]:
    """A VM of a test's own."""
    vm = connect(site)
    yield vm
    vm.close()
