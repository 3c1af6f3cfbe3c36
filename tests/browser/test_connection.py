"""The page of a console in a browser, when its connection goes: sleep, silence, no network, no login, no server."""

from __future__ import annotations

import re
import signal
from typing import Any

from tests.support.browser import Site, browser_there, log_in
from tests.support.browser_console import WRITES, attach, heard, logged, screen, wait_screen
from tests.support.daemon import eventually
from tests.support.host import FakeVM
from tests.support.logins import SECRET
from tests.support.node import npm

pytestmark = [browser_there, npm]


class Line:
    """The websockets of a page, in a test's hands.

    :ivar tries: how many the page has opened.
    :ivar refuses: a code with which they are closed at once; 0: they are let through.
    """

    def __init__(self, page: Any) -> None:
        self.tries = 0
        self.refuses = 0
        self._silenced = 0
        self._page = page
        self._last: Any = None
        page.route_web_socket(re.compile("/attach"), self._opened)

    def _opened(self, socket: Any) -> None:
        self.tries += 1
        self._last = socket
        if self.refuses:
            socket.close(code=self.refuses, reason="a test")
            return
        number, server = self.tries, socket.connect_to_server()
        server.on_message(lambda message: socket.send(message) if number > self._silenced else None)

    def close(self, code: int) -> None:
        """Close the one that there is, as the server would."""
        self._last.close(code=code, reason="a test")

    def silence(self) -> None:
        """Keep from the page what the server says, on the one that there is."""
        self._silenced = self.tries

    def wait_tries(self, number: int) -> None:
        """Wait until the page has opened so many."""

        def opened() -> bool:
            self._page.evaluate("0")  # what the browser tells is heard while it is asked
            return self.tries >= number

        eventually(opened, f"{number} tries; there were {self.tries}")


def stand_still(page: Any) -> None:
    """Stop the clock of a page."""
    from playwright.sync_api import Error  # here: it may not be installed

    def stopped() -> bool:
        try:
            page.clock.pause_at(page.evaluate("Date.now()") + 1000)
        except Error:  # a busy machine took longer than that second
            return False
        return True

    eventually(stopped, "the clock stands still")


def wait_drawn(page: Any, text: str) -> None:
    """Wait until a text is on the screen of a page whose clock stands still: without time nothing is drawn."""

    def drawn() -> bool:
        page.clock.run_for(50)
        return text in screen(page)

    eventually(drawn, f"{text!r} is drawn")


def test_it_tries_again_at_once_with_a_network_after_sleep_and_after_a_minute_of_silence(
    page: Any, site: Site, vm: FakeVM
) -> None:
    line = Line(page)
    page.clock.install()
    page.add_init_script("Math.random = () => 1")  # the longest pauses
    attach(page, site, vm)
    stand_still(page)

    line.refuses = 4429
    line.close(4429)
    page.wait_for_selector("#veil >> text=Too many connections")
    page.wait_for_selector("#veil >> text=Reconnecting in 8 s")
    assert line.tries == 1
    line.refuses = 0
    page.evaluate("() => dispatchEvent(new Event('online'))")
    page.wait_for_selector(WRITES)
    assert line.tries == 2

    line.refuses = 4429
    line.close(4429)
    page.wait_for_selector("#veil >> text=Reconnecting in 8 s")
    page.clock.run_for(8000)
    line.wait_tries(3)
    page.wait_for_selector("#veil >> text=Reconnecting in 15 s")
    line.refuses = 0
    page.clock.fast_forward(11_000)  # four seconds are left, but the computer slept
    line.wait_tries(4)
    page.wait_for_selector(WRITES)

    vm.connected.say(b"a sign of life|")
    wait_drawn(page, "a sign of life|")
    line.silence()
    vm.connected.say(b"what is lost|")
    page.clock.run_for(50_000)
    assert line.tries == 4
    page.clock.run_for(15_000)
    line.wait_tries(5)
    wait_drawn(page, "a sign of life|what is lost|")
    assert page.is_visible(WRITES)


def test_a_page_that_is_hidden_pauses_and_goes_on_where_it_was(page: Any, site: Site, vm: FakeVM) -> None:
    page.clock.install()
    attach(page, site, vm)
    vm.connected.say(b"before|")
    wait_screen(page, "before|")
    page.evaluate("""() => {
      Object.defineProperty(document, "hidden", {configurable: true, get: () => window.away});
      window.away = true;
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.clock.fast_forward(31_000)
    page.wait_for_selector("#veil >> text=Paused")
    vm.connected.say(b"meanwhile|")
    eventually(lambda: logged(site, vm, b"meanwhile|"), "it is in the log")
    assert "meanwhile" not in screen(page)
    page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    wait_screen(page, "before|meanwhile|")
    assert page.is_visible(WRITES)
    vm.connected.say(b"after")
    wait_screen(page, "before|meanwhile|after")


def test_a_login_that_ends_is_asked_for_in_place(page: Any, site: Site, vm: FakeVM) -> None:
    log_in(page, site, "alice", f"/c/{vm.name}")  # a session of its own
    page.wait_for_selector(WRITES)
    vm.connected.say(b"before|")
    wait_screen(page, "before|")
    other = page.context.new_page()
    other.goto(f"{site.url}/account")
    other.click("#logout")
    other.wait_for_url("**/login")
    page.fill("dialog [name=password]", SECRET)
    page.keyboard.press("Enter")
    page.wait_for_selector(WRITES)
    vm.connected.say(b"after")
    wait_screen(page, "before|after")


def test_a_server_that_is_killed_and_comes_back(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    vm.connected.say(b"".join(b"%d\r\n" % number for number in range(10)))
    wait_screen(page, "9")
    eventually(lambda: logged(site, vm, b"9\r\n"), "it is in the log")
    site.cookies.clear()  # sessions are in memory
    site.daemon.stop(signal.SIGKILL)
    page.wait_for_selector("#veil >> text=gone")
    page.keyboard.type("into the void")
    page.wait_for_selector("#console-said >> text=goes nowhere")
    vm.close()
    site.daemon.start()
    vm.connect()
    page.fill("dialog [name=password]", SECRET)
    page.keyboard.press("Enter")
    page.wait_for_selector(WRITES)
    vm.connected.say(b"".join(b"%d\r\n" % number for number in range(10, 20)))
    wait_screen(page, "19")
    assert [int(one) for one in re.findall(r"^\d+$", screen(page), re.MULTILINE)] == list(range(20))
    assert heard(vm) == b""
