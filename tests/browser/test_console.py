"""The page of a console in a browser, with a daemon, and VMs that say what the test wants."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tests.support.browser import Site, accessibility, browser_there, open_as, seen_by_all, sideways
from tests.support.browser_console import WRITES, attach, heard, logged, paste, screen, wait_screen
from tests.support.daemon import eventually
from tests.support.host import FakeVM
from tests.support.node import npm

pytestmark = [browser_there, npm]

ANSWER = re.compile(rb"\x1b\[\d+;\d+R")


# Typing, and what the VM says.


def test_what_is_typed_reaches_the_vm_and_what_it_says_is_on_the_screen(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    vm.connected.say(b"login: ")
    wait_screen(page, "login:")
    page.keyboard.type("root")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+C")
    page.keyboard.press("ArrowUp")
    vm.connected.wait_data(b"root\r\x03\x1b[A")
    assert page.inner_text("#console-state").startswith("up")
    assert "Recorded" in page.inner_text("#console-state")
    assert seen_by_all(page) == []


def test_characters_that_come_in_halves_and_wide_ones(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    for byte in "Gr\u00fc\u00dfe \u4e16\u754c|".encode():
        vm.connected.say(bytes((byte,)))
    wait_screen(page, "|")
    assert "Gr\u00fc\u00dfe \u4e16\u754c|" in screen(page)
    vm.connected.say(b"\x1b[6n")
    vm.connected.wait_data(b"\x1b[1;12R")  # 6 narrow, 2 wide, 1 narrow


def test_a_console_moves_to_another_host_while_somebody_types(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    page.keyboard.type("before the move ")
    source = vm.migrate(b"0123456789abcdef")
    page.keyboard.type("and after it")
    eventually(lambda: bytes(source.data) + heard(vm) == b"before the move and after it", "all was typed, once")
    page.wait_for_selector("#events >> text=vMotion")
    vm.connected.say(b"still here")
    wait_screen(page, "still here")


def test_a_vm_that_goes_and_comes_says_so_in_the_bar_and_in_the_terminal(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    vm.connected.say(b"last words")
    wait_screen(page, "last words")
    vm.close()
    page.wait_for_selector("#console-state >> text=down")
    wait_screen(page, "line down")
    vm.connect()
    page.wait_for_selector("#console-state >> text=up")
    wait_screen(page, "line up")
    assert not logged(site, vm, b"line down")


def test_one_takes_over_from_another(open_page: Callable[..., Any], site: Site, vm: FakeVM) -> None:
    alice, bob = open_page(), open_page()
    attach(alice, site, vm)
    attach(bob, site, vm, "bob", "#console-pen >> text=/alice.* writes, you wait/")
    bob.keyboard.type("x")
    bob.wait_for_selector("#console-said >> text=You are read-only")
    bob.click("text=Take over")
    bob.keyboard.type("disk is full")
    bob.keyboard.press("Enter")
    bob.wait_for_selector(WRITES)
    alice.wait_for_selector("#console-pen >> text=/bob.* writes, you wait/")
    alice.wait_for_selector("#notices >> text=disk is full")
    bob.keyboard.type("mine")
    vm.connected.wait_data(b"mine")
    assert heard(vm) == b"mine"
    bob.click("text=Give up write access")
    alice.wait_for_selector(WRITES)


# Pasting.


def test_a_megabyte_is_shown_and_pasted_whole(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    text = "".join(f"line {number:08d} of what is pasted\n" for number in range(1_000_000 // 31))
    paste(page, text)
    assert "lines, 1008 KiB" in page.inner_text("dialog p")
    page.click("dialog >> text='Paste'")
    wanted = text.replace("\n", "\r").encode()
    vm.connected.wait_size(len(wanted))
    assert heard(vm) == wanted


def test_a_short_paste_is_typed_at_once_and_a_slow_one_at_its_pace(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    paste(page, "ls -l")
    vm.connected.wait_data(b"ls -l")
    paste(page, "one\ntwo\n")
    page.check("dialog [type=checkbox]")
    page.fill("dialog [type=number]", "100")
    page.keyboard.press("Enter")
    vm.connected.wait_data(b"one\rtwo\r")
    page.wait_for_selector("#console-said >> text=Pasted 8 bytes.")


# Answers of the terminal.


def test_a_vm_that_asks_ten_thousand_times_gets_a_few_answers(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    began = time.monotonic()
    vm.connected.say(
        b"\x1b[6n\x1b[c" * 5000 + b"\x1b]52;c;cm9vdA==\x07\x1b[18t\x1b[>c\x1b[5n\x1b]11;?\x07\x1bP$qm\x1b\\done"
    )
    wait_screen(page, "done")
    page.keyboard.type("!")
    vm.connected.wait_data(b"!")
    most = 5 * (time.monotonic() - began + 1)
    answers = heard(vm).removesuffix(b"!")
    assert answers.startswith(b"\x1b[1;1R\x1b[?1;2c")
    assert len(re.findall(rb"\x1b\[", answers)) <= most
    assert ANSWER.sub(b"", answers).replace(b"\x1b[?1;2c", b"") == b""


def test_a_vm_that_answers_an_answer_with_a_question_makes_no_loop(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    began = time.monotonic()
    vm.connected.on_data = lambda data: vm.connected.say(data + b"\x1b[6n" * 10)
    vm.connected.say(b"\x1b[6n")
    eventually(lambda: len(ANSWER.findall(heard(vm))) >= 5, "it is answered")
    vm.connected.say(b"done")
    wait_screen(page, "done")
    vm.connected.on_data = None
    assert len(ANSWER.findall(heard(vm))) <= 5 * (time.monotonic() - began + 1)


def test_what_is_asked_in_the_past_or_of_a_spy_is_not_answered(page: Any, site: Site, vm: FakeVM) -> None:
    vm.connected.say(b"asked \x1b[6n\x1b[c before\r\n")
    eventually(lambda: logged(site, vm, b"before"), "it is in the log")
    attach(page, site, vm)
    wait_screen(page, "before")
    page.click("text=Give up write access")
    page.wait_for_selector("#console-pen >> text=Read-only")
    vm.connected.say(b"\x1b[6nasked again")
    wait_screen(page, "asked again")
    page.click("text=Take write access")
    page.wait_for_selector(WRITES)
    page.keyboard.type("!")
    vm.connected.wait_data(b"!")
    assert heard(vm) == b"!"


# Without a keyboard, and with nothing else.


def test_by_touch(open_page: Callable[..., Any], site: Site, vm: FakeVM) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    attach(page, site, vm)
    vm.connected.say(b"login: ")
    wait_screen(page, "login:")
    assert sideways(page) == 0
    page.fill("#touch input", "root")
    page.keyboard.press("Enter")
    for name in ("Esc", "Tab", "Up", "Control C", "Ctrl"):
        page.get_by_role("button", name=name, exact=True).tap()
    page.focus("#touch input")
    page.keyboard.type("d")
    vm.connected.wait_data(b"root\r\x1b\t\x1b[A\x03\x04")
    assert accessibility(page) == []


def test_by_keyboard_alone(page: Any, site: Site, vm: FakeVM) -> None:
    attach(page, site, vm)
    focused = "() => document.activeElement.textContent"
    page.keyboard.press("F6")
    assert page.evaluate(focused) == "Give up write access"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "Send"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Break"
    page.keyboard.press("Enter")
    vm.connected.wait_break()
    page.keyboard.type("?")  # the terminal has the focus again: it is the VM's
    vm.connected.wait_data(b"?")
    page.keyboard.press("F6")
    page.keyboard.type("?")
    page.wait_for_selector("dialog >> text=F6")
    page.keyboard.press("Escape")
    page.keyboard.press("F6")
    page.keyboard.type("typed")
    vm.connected.wait_data(b"?typed")


def test_a_console_that_may_not_be_seen_is_not_there(page: Any, site: Site) -> None:
    open_as(page, site, "bob", "/c/secret")
    page.wait_for_selector("#veil >> text=No such console")
