"""The page of a console in a browser: what stands on its screen, and what is pasted into it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from tests.support.browser import Site, open_as
from tests.support.host import FakeVM

PASTE = """text => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  document.querySelector(".xterm-helper-textarea").dispatchEvent(event);
}"""
WRITES = "#console-pen >> text=You write"


def connect(site: Site) -> FakeVM:
    """A VM of a test's own; what its guest says and hears is the test's."""
    return FakeVM(site.daemon.vm_port, f"web-{uuid.uuid4().hex[:8]}").connect()


def attach(page: Any, site: Site, vm: FakeVM, operator: str = "alice", wait: str = WRITES) -> None:
    """Go to the console of a VM as somebody who has logged in, and wait until its bar says something."""
    open_as(page, site, operator, f"/c/{vm.name}")
    page.wait_for_selector(wait)


def heard(vm: FakeVM) -> bytes:
    """What a VM was told on the connection that it has now."""
    return bytes(vm.connected.data)


def menu(page: Any, name: str, item: str) -> None:
    """Press a button that is behind another."""
    page.locator("#console-tools summary", has_text=name).click()
    page.locator("#console-tools .menu[open] button", has_text=item).click()


def screen(page: Any, within: str = "") -> str:
    """What is on the screen, row by row."""
    text: str = page.eval_on_selector_all(
        f"{within} .xterm-rows > div", "rows => rows.map(row => row.textContent.trimEnd()).join('\\n')"
    )
    return text.replace("\u00a0", " ")


def wait_screen(page: Any, text: str, within: str = "") -> None:
    """Wait until a text is on the screen."""
    page.wait_for_function(
        "([rows, text]) => [...document.querySelectorAll(rows)]"
        ".map(row => row.textContent.replaceAll('\\u00a0', ' ').trimEnd()).join('\\n').includes(text)",
        arg=[f"{within} .xterm-rows > div", text],
    )


def paste(page: Any, text: str) -> None:
    """Paste into the terminal, as the browser does it."""
    page.evaluate(PASTE, text)


def logged(site: Site, vm: FakeVM, data: bytes) -> bool:
    """Whether something is in the log of a VM."""
    path: Path = site.daemon.log_dir / "by-name" / f"{vm.name}.log"
    return path.exists() and data in path.read_bytes()
