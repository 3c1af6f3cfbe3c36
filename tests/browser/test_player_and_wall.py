"""The player and the wall in a browser: what shows consoles besides their own pages."""

from __future__ import annotations

from typing import Any

from tests.support.archive import T0
from tests.support.browser import Site, browser_there, log_in, open_as, seen_by_all
from tests.support.browser_console import connect, heard, wait_screen
from tests.support.logins import SECRET
from tests.support.node import npm
from vmproxy.log.events import timestamp

pytestmark = [browser_there, npm]

ROWS = "[...document.querySelectorAll('.xterm-rows > div')].map(row => row.textContent).join('')"


def shown(page: Any, text: str) -> None:
    """Wait until the player's screen has this, and nothing else."""
    page.wait_for_function(f"wanted => {ROWS}.replace(/\\s/g, '') === wanted", arg=text.replace(" ", ""))


def test_the_player_goes_to_places_in_the_log(page: Any, site: Site) -> None:
    open_as(page, site, path="/c/old00000/play")
    shown(page, "part 0part 1")  # a minute before the end
    page.focus("#scrubber")
    page.keyboard.press("Home")
    shown(page, "")
    page.click("text=Next output")
    shown(page, "part 0")
    page.click("text='Play'")
    shown(page, "part 0part 1part 2")
    page.wait_for_selector("#play-time >> text=the end")
    page.fill("#play-find input", "part 1")
    page.keyboard.press("Enter")
    page.click("#marks >> text=part 1")
    shown(page, "part 0part 1")
    page.focus("body")
    page.keyboard.press("ArrowLeft")
    shown(page, "part 0")
    page.keyboard.press("?")
    page.wait_for_selector("dialog >> text=Slower, faster")
    page.keyboard.press("Escape")
    assert seen_by_all(page) == []


def test_the_player_is_right_to_the_tenth_of_a_second(page: Any, site: Site) -> None:
    """Fractions of seconds of its first event shift nothing."""
    for tenths, text in ((-1, "part 0"), (1, "part 0part 1")):
        open_as(page, site, path=f"/c/old00000/play?t={timestamp(T0 + 70.8 + tenths / 10)}")
        shown(page, text)


def test_player_and_wall_ask_for_a_login_that_has_ended_in_place(page: Any, site: Site) -> None:
    vms = [connect(site) for _ in range(2)]
    log_in(page, site, "alice", f"/wall?c={','.join(vm.name for vm in vms)}")
    for vm in vms:
        page.wait_for_selector(f"section[aria-label='{vm.name}'] >> text=Read-only")
    player = page.context.new_page()
    player.goto(f"{site.url}/c/old00000/play")
    shown(player, "part 0part 1")
    player.evaluate("() => fetch('/api/v1/session', {method: 'DELETE'})")
    page.fill("dialog [name=password]", SECRET)
    page.keyboard.press("Enter")
    for number, vm in enumerate(vms):
        page.wait_for_selector(f"section[aria-label='{vm.name}'] >> text=Read-only")
        vm.connected.say(b"after %d" % number)
        wait_screen(page, f"after {number}", f"section[aria-label='{vm.name}']")
        vm.close()
    page.evaluate("() => fetch('/api/v1/session', {method: 'DELETE'})")
    player.select_option("[aria-label='What the line above shows']", "minutes")
    player.fill("dialog [name=password]", SECRET)
    with player.expect_response(lambda response: "/timeline" in response.url and response.ok):
        player.keyboard.press("Enter")


def test_on_the_wall_one_at_a_time_has_the_keyboard(page: Any, site: Site) -> None:
    vms = [connect(site) for _ in range(3)]
    open_as(page, site, path=f"/wall?c={','.join(vm.name for vm in vms)}")
    tile = [f"section[aria-label='{vm.name}']" for vm in vms]
    for number, vm in enumerate(vms):
        page.wait_for_selector(f"{tile[number]} >> text=Read-only")
        vm.connected.say(b"console %d" % number)
        wait_screen(page, f"console {number}", tile[number])
    page.wait_for_selector(f"{tile[2]} .news:visible")
    page.click(f"{tile[0]} >> text=Type here")
    page.wait_for_selector(f"{tile[0]} >> text=You write")
    page.keyboard.type("first")
    vms[0].connected.wait_data(b"first")
    page.click(f"{tile[1]} >> text=Type here")
    page.wait_for_selector(f"{tile[1]} >> text=You write")
    page.wait_for_selector(f"{tile[0]} >> text=Read-only")
    page.keyboard.type("second")
    vms[1].connected.wait_data(b"second")
    assert [heard(vm) for vm in vms] == [b"first", b"second", b""]
    page.keyboard.press("F6")
    assert page.evaluate("() => document.activeElement.textContent") == vms[1].name
    page.keyboard.press("?")
    page.wait_for_selector("dialog >> text=Keys")
    page.keyboard.press("Escape")
    page.keyboard.press("F6")
    page.keyboard.type("?")
    vms[1].connected.wait_data(b"second?")
    assert page.locator("dialog").count() == 0
    assert seen_by_all(page) == []
    for vm in vms:
        vm.close()
