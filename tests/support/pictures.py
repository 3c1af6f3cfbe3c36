"""Pictures of the pages for the documentation: ``python -m tests.support.pictures [FOLDER]``.

A daemon with simulated VMs, and Chromium; the pictures are small, and are looked at before they are committed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.support.browser import CHROMIUM, FLAGS, PATIENCE_MS, WEB, Site, log_in
from tests.support.browser_console import WRITES, wait_screen
from tests.support.daemon import ROOT
from tests.support.small_png import small
from vmproxy.ssh.host_keys import make_key

WIDE: dict[str, Any] = {"viewport": {"width": 1024, "height": 640}}
NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
RULES = """
[[rule]]
who = ["alice"]
on = ["*"]
may = ["admin"]
"""
VMS = ("web01", "db01", "mail01")


def console(page: Any, site: Site) -> None:
    """Somebody is logged in on a VM."""
    log_in(page, site, "alice", "/c/web01")
    page.wait_for_selector(WRITES)
    page.keyboard.type("root\nuname -a\nhostname\n")
    wait_screen(page, "# hostname")


def player(page: Any, site: Site) -> None:
    """The log of a VM, from its beginning."""
    log_in(page, site, "alice", "/c/web01/play")
    page.focus("#scrubber")
    page.keyboard.press("Home")
    wait_screen(page, "Linux")


def wall(page: Any, site: Site) -> None:
    """All VMs; one has the keyboard."""
    log_in(page, site, "alice", f"/wall?c={','.join(VMS)}")
    for name in VMS:
        wait_screen(page, "login:" if name != "web01" else "web01", f"section[aria-label='{name}']")
    page.click("section[aria-label='db01'] >> text=Type here")
    page.wait_for_selector("section[aria-label='db01'] >> text=You write")


def consoles(page: Any, site: Site) -> None:
    """The list."""
    log_in(page, site)
    page.wait_for_selector("text=mail01")


PICTURES = (
    ("console", console, WIDE, "light"),
    ("console-dark", console, WIDE, "dark"),
    ("console-narrow", console, NARROW, "light"),
    ("player", player, WIDE, "light"),
    ("wall", wall, WIDE, "dark"),
    ("consoles", consoles, WIDE, "light"),
)


def main(folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        keys = Path(name)
        for key in ("operator", "ssh_host_ed25519_key"):
            make_key(keys / key, "ed25519")
        make_key(keys / "ssh_host_rsa_key", "rsa")
        site = Site(keys / "site", keys, extra=WEB, rules=RULES)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            site.simulate(*VMS, options=("--chatter", "3"))
            for picture, show, options, scheme in PICTURES:
                form: dict[str, Any] = {"color_scheme": scheme, **options}
                context = browser.new_context(**form)
                page = context.new_page()
                page.set_default_timeout(PATIENCE_MS)
                show(page, site)
                (folder / f"web-{picture}.png").write_bytes(small(page.screenshot()))
                context.close()
        finally:
            browser.close()
            site.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screens")
