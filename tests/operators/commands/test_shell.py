"""Commands at the menu's prompt: the session goes on, and whoever is there before gets it back."""

from __future__ import annotations

import pytest

from tests.support.ssh import RemoteChannel, SSHWorld
from vmproxy.operators import exit_status


def menu(w: SSHWorld) -> RemoteChannel:
    w.vm()
    return w.login().attach()


def typed(channel: RemoteChannel, data: bytes) -> bytes:
    channel.clear()
    channel.type(data)
    return channel.screen


def test_a_command_at_the_prompt_ends_without_ending_the_session(w: SSHWorld) -> None:
    channel = menu(w)
    assert b"vmproxy " in typed(channel, b":version\r")
    channel.type(b" ")
    assert b"no such console" in typed(channel, b":log nosuch\r")
    assert channel.status is None


@pytest.mark.parametrize("line", [b":console web01\r", b":console -s web01\r"])
def test_a_console_at_the_prompt_is_left_for_the_menu(w: SSHWorld, line: bytes) -> None:
    channel = menu(w)
    before = channel.session.router.activity
    typed(channel, line)
    assert len(w.console().viewers.all) == 1
    typed(channel, b"\x05c.")
    assert w.console().viewers.all == ()
    assert channel.status is None
    assert channel.session.router.activity is before


def test_what_needs_standard_input_is_refused_at_the_prompt(w: SSHWorld) -> None:
    channel = menu(w)
    assert b"run it with ssh" in typed(channel, b":send web01\r")
    assert w.console().viewers.all == ()


def test_control_c_at_the_prompt_ends_the_command_only(w: SSHWorld) -> None:
    channel = menu(w)
    typed(channel, b":log -f web01\r")
    assert len(w.console().viewers.all) == 1
    typed(channel, b"\x03")
    assert w.console().viewers.all == ()
    assert channel.status is None


def test_a_session_that_is_closed_on_a_console_from_the_prompt_leaves_nothing_behind(w: SSHWorld) -> None:
    channel = menu(w)
    typed(channel, b":console web01\r")
    channel.close()
    assert w.console().viewers.all == ()
    assert w.console().write_access.writer is None


def test_the_statuses_are_apart() -> None:
    statuses = [value for name, value in vars(exit_status).items() if name.isupper()]
    assert len(set(statuses)) == len(statuses)
    assert all(0 <= status < 255 for status in statuses)
