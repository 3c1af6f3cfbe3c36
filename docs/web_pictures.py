"""Takes the pictures of the web pages for README and docs, of a real daemon with 16,000 consoles, in Chromium.

``.venv/bin/python docs/web_pictures.py [FOLDER]`` writes ``list.png`` and so on, in few colours; in the folder
``pages`` here, unless it is told another. It needs Chromium, playwright and Pillow.
"""

from __future__ import annotations

import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from PIL import Image  # noqa: E402 - behind the path
from playwright.sync_api import sync_playwright  # noqa: E402 - behind the path

from tests.support.browser import CHROMIUM, FLAGS, WEB, Site, open_as  # noqa: E402 - behind the path
from tests.support.host import FakeVM  # noqa: E402 - behind the path
from vmproxy.ssh.host_keys import make_key  # noqa: E402 - behind the path

COLOURS = 64
WIDE, NARROW = {"width": 1280, "height": 640}, {"width": 360, "height": 640}
NAMES = ("app01", "app02", "build01", "build02", "db01", "db02", "k8s-node01", "k8s-node02", "ldap01", "mail01")
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
SAID = {
    "db03": b"Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\r\n",
    "build03": b"Out of memory: Killed process 1839 (java) total-vm:8123456kB\r\n",
}
PAGES = {"list": "/", "login": "/login", "alerts": "/alerts", "search": "/search?q=login", "account": "/account"}
LOOKS = {
    "": {"viewport": WIDE, "color_scheme": "light"},
    "-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "-narrow": {"viewport": NARROW, "color_scheme": "light"},
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
    site = Site(folder / "site", keys, 16_000, f'{WEB}[alerts]\nwatch-file = "{watches}"\n')
    site.simulate(*NAMES)
    vms = []
    for name, line in SAID.items():
        vm = FakeVM(site.daemon.vm_port, name).connect()
        vm.connected.say(line)
        vms.append(vm)
    return site, vms


def take(browser: Any, site: Site, folder: Path) -> None:
    """Take all pictures."""
    for name, path in PAGES.items():
        for look, options in LOOKS.items():
            page = browser.new_context(**options).new_page()
            open_as(page, site, path=path)
            page.wait_for_load_state("networkidle")
            if name == "list":
                page.locator("#rows .tag.bad").first.wait_for()
                page.locator("#states", has_text="16,0").wait_for()
            taken = Image.open(BytesIO(page.screenshot()))
            taken.convert("RGB").quantize(COLOURS).save(folder / f"{name}{look}.png", optimize=True)
            page.context.close()


def main() -> None:
    """Take them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pages"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        site, vms = site_in(Path(made))
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            take(browser, site, folder)
            browser.close()
        finally:
            for vm in vms:
                vm.close()
            site.stop()


if __name__ == "__main__":
    main()
