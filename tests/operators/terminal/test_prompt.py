"""Questions at the terminal, asked of clients that type and read nothing, or press Tab all the time."""

from __future__ import annotations

from uuid import UUID

import pytest
from twisted.conch.ssh.common import NS

from tests.support.fakes import VM_B
from tests.support.ssh import DATA, RemoteChannel, SSHWorld
from vmproxy.auth.accounts_file import Account
from vmproxy.base.turns import SPAN
from vmproxy.operators.terminal.line_editor import Completion
from vmproxy.operators.terminal.prompt import DRAW_LIMIT, OFFERED, consoles_by_name
from vmproxy.operators.visible import VisibleConsoles


def question(w: SSHWorld, window: int = 1 << 21) -> RemoteChannel:
    """An operator on web01 who is asked for the name of another console."""
    w.vm()
    channel = w.login("alice:web01").attach(window=window)
    channel.type(b"\x05c;")
    return channel


def type_often(channel: RemoteChannel, data: bytes, times: int) -> None:
    """Send it in packets of its own, of which the server takes a few in each turn."""
    for start in range(0, times, 500):
        for _ in range(start, min(times, start + 500)):
            channel.queue(DATA, NS(data))
        for _ in range(20):
            channel.client.pump()


def queued(channel: RemoteChannel) -> int:
    return channel.session.queued


@pytest.mark.parametrize("typed", [b"\t", b"x", b"x\x7f"])
def test_who_types_and_reads_nothing_makes_no_queue(w: SSHWorld, typed: bytes) -> None:
    for n in range(100):
        w.vm(f"web1{n:03}", UUID(int=n + 1))
    channel = question(w, window=1000)
    channel.type(b"web")
    type_often(channel, typed, 3000)
    assert queued(channel) < DRAW_LIMIT + 8 * 1024


def test_a_window_that_is_resized_all_the_time_makes_no_queue(w: SSHWorld) -> None:
    channel = question(w, window=1000)
    for n in range(5000):
        channel.session.router.activity.resized(80 + n % 2, 24)
    assert queued(channel) < DRAW_LIMIT + 1024


def test_what_could_not_be_drawn_is_drawn_when_it_can_be_read(w: SSHWorld) -> None:
    channel = question(w, window=1000)
    type_often(channel, b"ab\x7f\x7f", 3000)
    channel.type(b"gate")
    assert queued(channel) > DRAW_LIMIT
    assert b"gate" not in channel.screen
    channel.adjust(1 << 20)
    assert queued(channel) == 0
    assert channel.screen.endswith(b"\rconsole: gate\x1b[K")
    channel.clear()
    channel.adjust(1 << 20)
    channel.type(b"s")
    assert channel.screen == b"\rconsole: gates\x1b[K"  # once was enough


def test_thousands_of_tabs_look_for_names_as_long_as_there_is_time_in_the_turn(w: SSHWorld) -> None:
    w.vm()
    w.vm("web02", VM_B)
    view = VisibleConsoles(w.directory, lambda: w.services.grants(Account("alice")))
    first, second = (consoles_by_name(view, w.services) for _ in range(2))
    assert first("we").choices == ["web01", "web02"]
    w.clock.rightNow += SPAN
    assert [*second("we").choices, *first("web").choices] == []
    w.clock.advance(0)
    assert second("we").choices == ["web01", "web02"]
    assert first("WEB02").choices == ["web02"]


def test_many_names_are_offered_with_the_beginning_that_all_have(w: SSHWorld) -> None:
    for number in range(3 * OFFERED):
        w.vm(f"web{number:04}", UUID(int=number + 1))
    w.vm("other", UUID(int=10_000))
    view = VisibleConsoles(w.directory, lambda: w.services.grants(Account("alice")))
    choices = consoles_by_name(view, w.services)("w").choices
    assert len(choices) == OFFERED
    assert choices[0] == "web0000"
    assert choices[-1] == f"web{3 * OFFERED - 1:04}"
    assert consoles_by_name(view, w.services)("00000000-0000-0000-0000-00000000271").choices == [str(UUID(int=10_000))]


def test_of_uuids_that_begin_alike_not_more_are_offered_than_of_names(w: SSHWorld) -> None:
    for number in range(3 * OFFERED):
        w.vm(f"web{number:04}", UUID(int=(0xAB << 120) + number))
    view = VisibleConsoles(w.directory, lambda: w.services.grants(Account("alice")))
    complete = consoles_by_name(view, w.services)
    choices = complete("AB000").choices
    assert len(choices) == OFFERED
    assert choices[0] == str(UUID(int=0xAB << 120))
    assert choices[-1] == str(UUID(int=(0xAB << 120) + 3 * OFFERED - 1))
    assert complete(choices[7]).choices == [choices[7]]
    assert [*complete("ac").choices, *complete(choices[7] + "0").choices, *complete("ab0g").choices] == []


def test_tabs_in_the_menus_prompt_have_the_time_of_the_turn(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    w.vm()
    looks: list[str] = []

    def looked(left: str, *_: object) -> Completion:
        looks.append(left)
        w.clock.rightNow += SPAN / 4
        return Completion(0, ())

    monkeypatch.setattr("vmproxy.operators.terminal.menu_command_line.complete", looked)
    channel = w.login().attach()
    channel.type(b":")
    channel.type(b"w\t" * 20)
    assert 1 <= len(looks) < 20
    before = len(looks)
    channel.type(b"\t")
    assert len(looks) == before + 1


@pytest.mark.parametrize("typed", [b":help\r", b":help\r" * 10, b":nosuch\r ", b"\r\x05c."])
def test_who_types_in_the_menu_and_reads_nothing_makes_no_queue(w: SSHWorld, typed: bytes) -> None:
    w.vm()
    channel = w.login().attach(window=1000)
    for _ in range(10):
        type_often(channel, typed, 500)
    assert 20_000 < queued(channel) < 300 * 1024
    channel.adjust(1 << 24)
    assert queued(channel) == 0
    assert channel.status is None


def test_keys_count_again_in_the_menu_for_who_reads_again(w: SSHWorld) -> None:
    w.vm()
    channel = w.login().attach(window=1000)
    type_often(channel, b":help\r", 200)
    channel.adjust(1 << 24)
    channel.clear()
    channel.type(b" ")
    channel.type(b":version\r")
    assert b"\r\nvmproxy " in channel.screen
