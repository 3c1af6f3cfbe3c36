"""What is behind the buttons of a console's page, in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.archive import T0
from tests.support.browser import Site, browser_there, open_as
from tests.support.browser_console import WRITES, attach, heard, logged, menu, screen, wait_screen
from tests.support.daemon import eventually
from tests.support.host import FakeVM
from tests.support.node import npm

pytestmark = [browser_there, npm]

LEAVE = "() => dispatchEvent(new Event('beforeunload', {cancelable: true}))"


def test_the_size_is_shown_before_it_is_typed_and_keys_of_the_browser_reach_the_vm(
    page: Any, site: Site, vm: FakeVM
) -> None:
    attach(page, site, vm)
    menu(page, "Send", "Size of the terminal")
    page.wait_for_selector("dialog pre >> text='stty rows 24 cols 80'")
    assert heard(vm) == b""
    page.click("dialog >> text=Type it")
    vm.connected.wait_data(b"stty rows 24 cols 80\r")
    menu(page, "Send", "^W")
    page.keyboard.type("x")
    vm.connected.wait_data(b"\r\x17x")
    page.evaluate("""() => {
      window.locked = [];
      const { keyboard } = navigator;
      const lock = keyboard.lock.bind(keyboard);
      keyboard.lock = (codes) => { window.locked.push(...codes); return lock(codes); };
    }""")
    menu(page, "More", "Full screen")
    page.wait_for_function(
        "() => document.fullscreenElement?.id === 'screen'"
        " && ['KeyW', 'KeyT', 'KeyN'].every(key => window.locked.includes(key))"
    )
    for key in "wtn":
        page.keyboard.press(f"Control+{key}")
    vm.connected.wait_data(b"\x17x\x17\x14\x0e")


def test_what_has_scrolled_by_is_found_and_what_is_in_the_log(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    vm.connected.say(b"".join(b"line %d\r\n" % number for number in range(200)))
    wait_screen(page, "line 199")
    assert "line 77" not in screen(page)
    page.keyboard.press("F6")
    page.keyboard.press("Control+f")
    page.keyboard.type("line 77")
    page.wait_for_selector("#console-find >> text='1 of 1'")
    wait_screen(page, "line 77")
    eventually(lambda: logged(site, vm, b"line 199"), "it is in the log")
    page.click("text=In the whole log")
    hit = page.wait_for_selector("#hits .hit >> text=line 77")
    assert hit is not None
    assert page.locator("#hits .hit").count() == 1
    assert "/play?t=" in page.locator("#hits .hit").get_attribute("href")


def downloaded(page: Any, kind: str, since: float | None = None, until: float | None = None) -> tuple[str, bytes]:
    """What a download brings: the name of the file, and what is in it."""
    menu(page, "Log", "Download")
    page.select_option("dialog select", kind)
    for place, at in enumerate((since, until)):
        if at is not None:
            page.locator("dialog [type=datetime-local]").nth(place).fill(datetime.fromtimestamp(at).isoformat())
    with page.expect_download() as taken:
        page.click("dialog >> text='Download'")
    return taken.value.suggested_filename, Path(taken.value.path()).read_bytes()


def test_a_log_is_downloaded_whole_in_part_and_as_a_recording(page: Any, site: Site) -> None:
    open_as(page, site, path="/c/old00000")
    page.wait_for_selector("#console-state >> text=down")
    assert downloaded(page, "raw") == ("old00000.log", b"part 0\r\npart 1\r\npart 2\r\n")
    name, text = downloaded(page, "text", T0 + 60, T0 + 120)
    assert (name, text.split()) == ("old00000.txt", [b"part", b"1"])
    name, cast = downloaded(page, "cast")
    assert name == "old00000.cast"
    assert re.findall(rb"part \d", cast) == [b"part 0", b"part 1", b"part 2"]


def test_somebody_is_disconnected_and_told_why(open_page: Callable[..., Any], site: Site, vm: FakeVM) -> None:
    alice, bob = open_page(), open_page()
    attach(bob, site, vm, "bob")
    attach(alice, site, vm, wait="#console-pen >> text=/bob.* writes, you wait/")
    menu(alice, "People", "Disconnect")
    alice.locator("dialog li", has_text="bob").get_by_role("button").click()
    alice.fill("dialog input", "lunch is ready")
    alice.keyboard.press("Enter")
    bob.wait_for_selector("#veil >> text=/Disconnected by alice.*lunch is ready/")
    alice.wait_for_selector(WRITES)


def test_leaving_asks_within_ten_minutes_of_typing(page: Any, site: Site, vm: FakeVM) -> None:
    page.clock.install()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    attach(page, site, vm)
    assert page.evaluate(LEAVE)
    page.keyboard.type("x")
    vm.connected.wait_data(b"x")
    assert not page.evaluate(LEAVE)
    page.clock.fast_forward(9 * 60_000)
    page.wait_for_selector(WRITES)
    assert not page.evaluate(LEAVE)
    page.reload()
    assert asked == ["beforeunload"]
    page.wait_for_selector(WRITES)
    page.keyboard.type("y")
    vm.connected.wait_data(b"xy")
    page.clock.fast_forward(11 * 60_000)
    page.wait_for_selector(WRITES)
    assert page.evaluate(LEAVE)


def test_without_the_terminal_there_is_the_log_and_the_way_by_ssh(page: Any, site: Site, vm: FakeVM) -> None:
    page.route("**/vendor/**", lambda route: route.fulfill(status=404))
    attach(page, site, vm)
    vm.connected.say(b"only text, <b>not bold</b>\r\n")
    page.wait_for_selector("#terminal pre >> text=only text, <b>not bold</b>")
    command = page.inner_text("#terminal code")
    assert re.fullmatch(rf"ssh (-p \d+ )?(\S+@)?\S*{vm.name}\S*", command), command
    page.click("text=Give up write access")
    page.click("text=Take write access")
    page.wait_for_selector(WRITES)
    menu(page, "Send", "Break")
    vm.connected.wait_break()
