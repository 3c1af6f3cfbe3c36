"""``refused``, and what is said while there is no console; ``help`` fits a screen."""

from __future__ import annotations

import json

from tests.support.ssh import SSHWorld
from vmproxy.base.recent import KEPT, RecentRefusals
from vmproxy.operators.commands.registry import COMMANDS, GROUPS


def test_the_newest_are_kept_and_the_same_again_is_counted() -> None:
    at = 0.0
    recent = RecentRefusals(lambda: at)
    for n in range(10_000):
        at += 1
        recent.add(f"10.0.{n // 256}.{n % 256}", "no")
        recent.add("10.1.1.3", "the service URI 'WRONG' is not served")
    found = list(recent)
    assert len(found) == KEPT
    assert found[0] == (10_000.0, "10.1.1.3", "the service URI 'WRONG' is not served", 10_000)
    assert found[1].who == "10.0.39.15"


def test_administrators_see_who_was_refused(w: SSHWorld) -> None:
    recent = RecentRefusals(lambda: 1_700_000_000.0)
    w.services.refused = lambda: list(recent)
    assert w.login().run("refused").out == b"no connection was refused since the start\n"
    recent.add("10.1.1.3", "WONT-PROXY: the service URI 'WR\x1b[2JNG' is not served", 3)
    told = w.login().run("refused")
    assert told.out.decode() == (
        "2023-11-14 22:13:20Z  10.1.1.3  WONT-PROXY: the service URI 'WR\\x1b[2JNG' is not served (3 times)\n"
    )
    (row,) = json.loads(w.login().run("refused --json").out)
    assert (row["who"], row["times"]) == ("10.1.1.3", 3)
    w.rules(("*", "write", "*"))
    assert w.login().run("refused").status == 10


def test_what_was_refused_names_no_console_that_is_hidden(w: SSHWorld) -> None:
    recent = RecentRefusals(lambda: 1_700_000_000.0)
    recent.add("10.1.1.3", "WONT-PROXY: x has the BIOS UUID of vault01")
    w.services.refused = lambda: list(recent)
    for rules in ([("*", "admin", "web*")], [("*", "", "vault*"), ("*", "admin", "*")]):
        w.rules(*rules)
        told = w.login().run("refused")
        assert (told.status, told.out) == (10, b"")
        assert b"vault01" not in told.err
        assert b"refused" not in w.login().run("list").out
    w.rules(("*", "see", "vault*"), ("*", "admin", "*"))
    assert b"vault01" in w.login().run("refused").out


def test_while_there_is_no_console_it_is_said_what_to_enter(w: SSHWorld) -> None:
    w.services.to_connect = lambda: ["vSPC URI: telnet://con:13370"]
    recent = RecentRefusals(lambda: 1_700_000_000.0)
    recent.add("10.1.1.3", "no", 3)
    w.services.refused = lambda: list(recent)
    first, *rest = w.login().run("list").out.decode().splitlines()
    assert first.startswith("no consoles are known yet")
    assert rest == ["vSPC URI: telnet://con:13370", "3 connections refused, the newest of 10.1.1.3: `refused'"]
    w.rules(("*", "write", "*"))
    assert b"refused" not in w.login().run("list").out


def test_help_is_in_groups_and_knows_the_port(w: SSHWorld) -> None:
    blocks = w.login().run("help").out.decode().split("\n\n")
    groups = {block.partition("\n")[0].rstrip(":"): block for block in blocks}
    assert set(GROUPS) < set(groups)
    for group, commands in GROUPS.items():
        for command in commands:
            assert f"\n  {command.name}" in groups[group]
    assert "ssh -p 2222 OPERATOR@HOST log --since 10m web01" in groups["Examples"]


def test_help_fits_a_screen_of_80_columns(w: SSHWorld) -> None:
    for command in ("help", *(f"help {name}" for name in COMMANDS)):
        assert [line for line in w.login().run(command).out.decode().splitlines() if len(line) > 79] == []
