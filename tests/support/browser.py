"""Chromium, and a daemon with everything that the pages show.

Every page that a test opens is watched: an error on its console, one that nothing caught, or something that the content
security policy forbade fails the test. Answers that refuse are no errors: the pages say so themselves.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, environment, eventually
from tests.support.logins import SECRET, cheap_hash
from tests.support.node import AXE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 30_000
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
WEB = '[web]\nlisten = ["tcp:0:interface=127.0.0.1"]\n'
OPERATORS = f"""
[operators.alice]
password = '{cheap_hash()}'
[operators.bob]
password = '{cheap_hash()}'
"""
RULES = """
[[rule]]
who = ["alice"]
on = ["*"]
may = ["write", "admin"]
[[rule]]
who = ["bob"]
on = ["web*"]
may = ["spy"]
"""

# A server that is away, a login that has ended, and a page that is left while it connects; a machine that is busy.
_REFUSED = re.compile(
    "Failed to load resource|task queue exceeded allotted deadline|WebSocket connection.*"
    "(ERR_CONNECTION_(REFUSED|RESET)|Authentication failed|is closed before the connection is established)"
)

browser_there = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Site:
    """A daemon for browsers, simulated VMs, and consoles that it remembers from before.

    :ivar daemon: the concentrator.
    :ivar url: where browsers find it.
    :ivar cookies: of operators who have logged in.
    """

    def __init__(self, folder: Path, keys: Path, known: int = 0, extra: str = WEB, rules: str = RULES) -> None:
        """:param known: how many consoles it remembers that are down: ``old00000`` and so on."""
        folder.mkdir()
        operators = folder / "operators.toml"
        operators.write_text(OPERATORS)
        operators.chmod(0o600)
        ssh = f'[ssh]\noperators-file = "{operators}"\n'
        self.daemon = Daemon(folder / "daemon", keys, extra + ssh + rules)
        if known:
            _remember(self.daemon.state / "consoles.jsonl", known)
        self.daemon.start()
        self._simulators: list[subprocess.Popen[bytes]] = []
        self.cookies: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.daemon.web_port}"

    def remembered(self, index: int) -> str:
        """The UUID of a console that it remembers."""
        return _identity(index)

    def simulate(self, *names: str, options: tuple[str, ...] = ()) -> None:
        """Have simulated VMs with these names connect, and wait until their consoles print."""
        command = [sys.executable, "-m", "vmproxy", "simulate", "--port", str(self.daemon.vm_port)]
        command += ["-n", str(len(names)), "--names", ",".join(names), *options]
        with (self.daemon.folder / "simulate.out").open("ab") as output:
            process = subprocess.Popen(
                command, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._simulators.append(process)
        for name in names:
            eventually(lambda name=name: b"login: " in self.daemon.logged(name), f"{name} asks for a login")

    def stop(self) -> None:
        """Stop everything."""
        for process in self._simulators:
            process.terminate()
        for process in self._simulators:
            process.wait()
        self.daemon.stop()
        assert "Traceback" not in self.daemon.said(), self.daemon.said()


def _identity(index: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(index)))


def _remember(path: Path, number: int) -> None:
    lines: list[dict[str, object]] = [{"format": 1}]
    for index in range(number):
        identity, name = _identity(index), f"old{index:05d}"
        lines.append({"uuid": identity, "name": name, "uri": "vmproxy", "log": f"{identity}.log", "since": 1796071429})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


class Watched:
    """A page of a test, and what went wrong on it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not _REFUSED.search(message.text):
            self.errors.append(f"{message.type}: {message.text}")

    def check(self) -> None:
        """Fail if anything was wrong."""
        assert self.errors == [], self.errors


def open_as(page: Any, site: Site, operator: str = "alice", path: str = "/") -> None:
    """Open a page as somebody who has logged in. The first time it is done by hand, then the cookie is known."""
    cookies = site.cookies.get(operator)
    if cookies is None:
        log_in(page, site, operator, path)
        site.cookies[operator] = page.context.cookies()
    else:
        page.context.add_cookies(cookies)
        page.goto(f"{site.url}{path}")


def log_in(page: Any, site: Site, operator: str = "alice", then: str = "/") -> None:
    """Log in on the page for that, and wait for where it leads."""
    page.goto(f"{site.url}/login?next={then}")
    page.fill("[name=operator]", operator)
    page.fill("[name=password]", SECRET)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}{then}")


def shows(page: Any, selector: str, text: str) -> Any:
    """Wait until one of these elements shows a text; :returns: it."""
    found = page.locator(selector, has_text=text)
    found.first.wait_for()
    return found


def accessibility(page: Any) -> list[str]:
    """What axe-core finds on a page, in words; nothing is allowed."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(
        "() => axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes'][:3]]}" for one in found["violations"]]


LOOKS = (
    ("light", 1280, 720),
    ("dark", 640, 360),  # 1280 x 720 at 200 %
    ("light", 360, 640),
)
"""How pages are looked at: the scheme, and the room that there is."""


def seen_by_all(page: Any) -> list[str]:
    """What is in the way of somebody, on a page in each of the :data:`LOOKS`; nothing is allowed."""
    found = []
    for scheme, width, height in LOOKS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(DRAWN)  # what has a size of its own takes another then
        if overflow := sideways(page):
            found.append(f"{scheme}, {width} px: {overflow} px are beside the page")
        found += [f"{scheme}, {width} px: {one}" for one in accessibility(page)]
    return found


def sideways(page: Any) -> int:
    """How far a page can be scrolled sideways: it should not."""
    overflow: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return overflow
