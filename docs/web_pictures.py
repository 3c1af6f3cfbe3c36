"""Takes the pictures of the web pages for README and docs, of a real daemon with 16,000 consoles, in Chromium.

``.venv/bin/python docs/web_pictures.py`` takes those that the documentation shows, into ``pictures`` here;
``--all FOLDER [NAME...]`` takes every page, or some, in every look, to be looked at. It needs Chromium, playwright and
Pillow.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from PIL import Image  # noqa: E402 - behind the path
from playwright.sync_api import sync_playwright  # noqa: E402 - behind the path

from tests.support.browser import CHROMIUM, FLAGS, PATIENCE_MS, WEB, Site, open_as  # noqa: E402 - behind the path
from tests.support.browser_console import WRITES, wait_screen  # noqa: E402 - behind the path
from tests.support.host import FakeVM  # noqa: E402 - behind the path
from vmproxy.ssh.host_keys import make_key  # noqa: E402 - behind the path

COLOURS = 128
NAMES = ("app01", "build01", "db01", "db02", "k8s-node01", "mail01", "web01", "web02")
WALL = ("web01", "db01", "mail01", "db03")
WATCHES = """
[[watch]]
name = "linux-panic"
match = "Kernel panic"
severity = "critical"
[[watch]]
name = "oom"
match = "Out of memory"
severity = "warning"
"""
RULES = """
[[rule]]
who = ["alice"]
on = ["*"]
may = ["admin"]
"""
SAID = {
    "db03": b"Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\r\n",
    "build03": b"Out of memory: Killed process 1839 (java) total-vm:8123456kB\r\n",
}


def consoles(page: Any) -> None:
    """The list, with an alert in it."""
    page.locator("#rows .tag.bad").first.wait_for()
    page.locator("#states", has_text="16,0").wait_for()


def console(page: Any) -> None:
    """Somebody logs in on a VM."""
    page.wait_for_selector(WRITES)
    page.keyboard.type("\nroot\nuname -a\nhostname\n")
    wait_screen(page, "# hostname")


def player(page: Any) -> None:
    """The log of a VM, in its middle."""
    page.focus("#scrubber")
    page.keyboard.press("Home")
    for _ in range(5):
        page.keyboard.press("PageUp")
    wait_screen(page, "web01")


def wall(page: Any) -> None:
    """Some VMs; one has the keyboard."""
    for name in WALL:
        page.wait_for_selector(f"section[aria-label='{name}'] >> text=/Read-only|writes/")
    page.click("section[aria-label='db01'] >> text=Type here")
    page.wait_for_selector("section[aria-label='db01'] >> text=You write")


def settled(page: Any) -> None:
    """Nothing more comes."""
    page.wait_for_load_state("networkidle")


PAGES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "list": ("/", consoles),
    "console": ("/c/web01", console),
    "player": ("/c/web01/play", player),
    "wall": (f"/wall?c={','.join(WALL)}", wall),
    "alerts": ("/alerts", settled),
    "search": ("/search?q=login", settled),
    "account": ("/account", settled),
    "login": ("/login", settled),
}
LOOKS: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1120, "height": 700}, "color_scheme": "light"},
    "-dark": {"viewport": {"width": 1120, "height": 700}, "color_scheme": "dark"},
    "-narrow": {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True},
    "-large": {"viewport": {"width": 640, "height": 360}, "device_scale_factor": 2},
}
SHOWN: dict[str, tuple[str, ...]] = {
    "list": ("", "-narrow"),
    "console": ("", "-dark", "-narrow"),
    "player": ("",),
    "wall": ("-dark",),
    "alerts": ("-dark",),
    "login": ("",),
}


def site_in(folder: Path) -> tuple[Site, list[FakeVM]]:
    """A daemon that has something to show."""
    keys = folder / "keys"
    keys.mkdir()
    for name in ("operator", "ssh_host_ed25519_key"):
        make_key(keys / name, "ed25519")
    make_key(keys / "ssh_host_rsa_key", "rsa")
    watches = folder / "watch.toml"
    watches.write_text(WATCHES)
    site = Site(folder / "site", keys, 16_000, f'{WEB}[alerts]\nwatch-file = "{watches}"\n', RULES)
    site.simulate(*NAMES, options=("--chatter", "3"))
    vms = []
    for name, line in SAID.items():
        vm = FakeVM(site.daemon.vm_port, name).connect()
        vm.connected.say(line)
        vms.append(vm)
    return site, vms


def take(browser: Any, site: Site, folder: Path, name: str, looks: tuple[str, ...]) -> None:
    """Take the pictures of a page."""
    path, show = PAGES[name]
    for look in looks:
        context = browser.new_context(**LOOKS[look])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        if name == "login":
            page.goto(f"{site.url}{path}")
        else:
            open_as(page, site, path=path)
        show(page)
        taken = Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS)
        taken.save(folder / f"{name}{look}.png", optimize=True)
        context.close()


def main(arguments: list[str]) -> None:
    """Take them."""
    everything = arguments[:1] == ["--all"]
    folder = Path(arguments[1]) if everything else HERE / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        site, vms = site_in(Path(made))
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            for name in arguments[2:] or (PAGES if everything else SHOWN):
                take(browser, site, folder, name, tuple(LOOKS) if everything else SHOWN[name])
            browser.close()
        finally:
            for vm in vms:
                vm.close()
            site.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
