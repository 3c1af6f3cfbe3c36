"""A word that nothing knows: the answer says what was meant, and never what may not be seen."""

from __future__ import annotations

import pytest

from tests.support.cases import each
from tests.support.fakes import VM_B
from tests.support.ssh import SSHWorld
from vmproxy.operators.commands.registry import COMMANDS


def said(w: SSHWorld, command: str, user: str = "alice") -> tuple[int | None, str]:
    channel = w.login(user).run(command)
    return channel.status, channel.err.decode()


@each("name", COMMANDS)
@each("option", ["-h", "--help"])
def test_every_command_explains_itself(w: SSHWorld, name: str, option: str) -> None:
    channel = w.login().run(f"{name} {option}")
    assert (channel.status, channel.err) == (0, b"")
    assert channel.out.decode().startswith(COMMANDS[name].name)


@each(
    ("line", "status", "answer"),
    [
        ("lst", 3, "lst: no such console\nlst is no command either; did you mean list?\n"),
        ("hlep", 3, "hlep: no such console\nhlep is no command either; did you mean help?\n"),
        ("reboot web01", 3, "reboot web01: no such console\nreboot is no command either; `help' lists them\n"),
        ("help lst", 2, "help: lst: no such command; did you mean list?\n"),
        ("list --jsno", 2, "list: --jsno: no such option; did you mean --json?\n"),
        ("log web01 --sinse=1h", 2, "log: --sinse=1h: no such option; did you mean --since?\n"),
        ("list -c nmae", 2, "list: nmae: no such column; did you mean name?\n"),
        ("list --state donw", 2, "list: donw: no such state; did you mean down?\n"),
        ("replay web01 --speed 0", 2, "replay: --speed needs a number from 0.01 to 1000000, not '0'\n"),
        ("console -t web01", 2, "console: -t: no such option; ssh takes it: ssh -t ... console NAME\n"),
        (
            "search call trace",
            3,
            "trace: no such console\n(quote a PATTERN with blanks twice: 'search \"call trace\"')\n",
        ),
        ("web01 -f", 3, "web01 -f: no such console; did you mean: console -f web01\n"),
        ("log web01,forse", 2, "log: forse: no such option; did you mean force?\n"),
        ("web01,reply=5", 2, "reply=5: no such option; did you mean replay=?\n"),
        ("web01,ro=yes", 2, "ro=yes: ro takes no value\n"),
        ("web01,replay=all", 2, "replay=all: replay needs a number of lines, 0 to 100000\n"),
        ("web01,port", 2, "port: port needs a serial port, such as port=2\n"),
    ],
)
def test_a_misspelt_command_or_option(w: SSHWorld, line: str, status: int, answer: str) -> None:
    w.vm()
    assert said(w, line) == (status, answer)


@each("typed", ["wbe01", "web1", "web001", "web02", "WBE01"])
@each("line", ["{}", "status {}", "log {}", "console {}", "list {}", "send {} uptime"])
def test_a_misspelt_console(w: SSHWorld, typed: str, line: str) -> None:
    w.vm()
    status, answer = said(w, line.format(typed))
    assert (status, answer.splitlines()[0]) == (3, f"{typed}: no such console; did you mean web01?")


def test_what_may_not_be_seen_is_never_meant(w: SSHWorld) -> None:
    w.vm("web01")
    w.vm("web03", VM_B)
    w.rules(("*", "", "web01"), ("*", "admin", "*"))
    assert said(w, "status web02")[1].startswith("web02: no such console; did you mean web03?")
    w.rules(("*", "", "*"))
    assert said(w, "status web02")[1] == said(w, "status xyz02")[1].replace("xyz02", "web02")


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("status web01 db01", "web01 db01: no such console; give one name, such as web01"),
        ("log web01 db01", "web01 db01: no such console; give one name, such as web01"),
        ("status 'web*'", "web*: no such console; give one name, not a pattern"),
    ],
)
def test_many_names_where_there_is_one(w: SSHWorld, line: str, advice: str) -> None:
    w.vm()
    status, answer = said(w, line)
    assert (status, answer.splitlines()[0]) == (3, advice)


def test_the_account_of_the_client_instead_of_the_operator(w: SSHWorld) -> None:
    channel = w.login("root").attach(pty=True)
    assert channel.err.decode().splitlines() == [
        "root: no such console",
        "You are logged in as alice; ssh alice@... shows the menu.",
    ]


@pytest.mark.parametrize("word", ["exit", "quit", "logout"])
def test_words_for_leaving(w: SSHWorld, word: str) -> None:
    assert said(w, word) == (0, "")


def test_ls_lists(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    assert client.run("ls").out == client.run("list").out
