"""Actions: who may have which done, what the program gets, and what is told and recorded of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import result, run
from tests.support.console_session import fresh
from tests.support.fakes import VM_A, VM_B, FakeLink
from tests.support.menu import RIGHT, Person
from tests.support.ssh import RemoteChannel, SSHWorld
from vmproxy.operators.action import parse_actions
from vmproxy.operators.actions import AT_ONCE

SAMPLE = Path(__file__).resolve().parents[2] / "etc" / "govc-power"
RESET = {"name": "reset", "run": ["/bin/vm", "reset"], "right": "write", "text": "press the button"}
STOP = {"name": "off", "run": "/bin/off", "on": ["web*"], "timeout": "5s"}


def actions(w: SSHWorld, *tables: dict[str, Any]) -> None:
    found, problems = parse_actions(list(tables))
    assert problems == []
    w.services.actions.use(found)


@pytest.fixture
def two(w: SSHWorld) -> SSHWorld:
    w.vm()
    w.vm("db01", VM_B)
    actions(w, RESET, STOP)
    return w


def said(channel: RemoteChannel) -> tuple[str, str, int | None]:
    channel.client.pump()
    return result(channel)


def test_a_program_is_run_and_its_output_is_shown(two: SSHWorld) -> None:
    channel = run(two, "action reset web01 --yes")
    ((words, data, environment, timeout, _),) = two.programs.ran
    assert (words, timeout) == (("/bin/vm", "reset"), 60.0)
    told = json.loads(data)
    assert (told["action"], told["console"], told["uuid"], told["state"]) == ("reset", "web01", str(VM_A), "up")
    assert environment["VMPROXY_WHO"] == told["who"]
    assert environment["VMPROXY_BIOS_UUID"] == ""
    assert channel.status is None
    two.programs.end(output=b"off\n\x1b[31mon\n")
    assert said(channel) == ("off\n\\x1b[31mon\n", "[-- web01: reset: done --]\n", 0)
    assert [(e["event"], e["action"], e["console"]) for e in two.audited("action", "action-done")] == [
        ("action", "reset", "web01"),
        ("action-done", "reset", "web01"),
    ]
    assert [e["event"] for e in two.trail(two.console("web01"), "action", "action-done")] == ["action", "action-done"]


def test_one_that_fails_says_why(two: SSHWorld) -> None:
    channel = run(two, "action off web01 --yes")
    two.programs.end("status 1", b"no such VM\n")
    assert said(channel) == ("no such VM\n", "web01: off: status 1\n", 1)
    assert two.audited("action-done")[0]["problem"] == "status 1"


def test_one_is_asked_before_at_a_terminal_and_a_script_says_yes(two: SSHWorld) -> None:
    out, err, status = result(run(two, "action reset web01"))
    assert (out, err, status) == ("", "action: give --yes, or a terminal to ask at (ssh -t)\n", 2)
    for answer, runs in ((b"n\r", 0), (b"y\r", 1)):
        channel = two.login("alice").open()
        channel.pty()
        channel.exec("action reset web01")
        channel.type(answer)
        assert len(two.programs.ran) == runs
    actions(two, {**RESET, "confirm": False})
    run(two, "action reset db01")
    assert len(two.programs.ran) == 2


@pytest.mark.parametrize(
    ("command", "error", "status"),
    [
        ("action reset db01 --yes", "db01: you may not do reset\n", 10),
        ("action reste web01 --yes", "action: web01: there is no action reste; did you mean reset?\n", 2),
        ("action off db01 --yes", "action: db01: there is no action off\n", 2),
        ("action reset vault --yes", "no such console", 3),
        ("action reset we --yes", "action reset needs a whole name; did you mean web01?", 2),
        ("action reset", "action: for which console? give its name\n", 2),
    ],
)
def test_what_is_not_possible(two: SSHWorld, command: str, error: str, status: int) -> None:
    two.vm("vault", VM_A.__class__(int=9))
    two.rules(("*", "", "vault"), ("alice", "write", "web*"), ("alice", "spy", "*"))
    out, err, ended = result(run(two, command))
    assert (out, ended) == ("", status)
    assert error in err
    assert not two.programs.ran


def test_the_console_of_the_user_name_is_meant(two: SSHWorld) -> None:
    run(two, "action reset --yes", "web01")
    assert two.audited("action")[0]["console"] == "web01"


def test_those_that_one_may_do_are_listed(two: SSHWorld) -> None:
    assert result(run(two, "action"))[0] == ("ACTION  RIGHT  WHAT\nreset   write  press the button\noff     admin  -\n")
    two.rules(("alice", "write", "*"))
    assert result(run(two, "action"))[0] == "ACTION  RIGHT  WHAT\nreset   write  press the button\n"
    two.rules(("alice", "spy", "*"))
    assert result(run(two, "action"))[0] == "there are no actions for you\n"


def test_what_a_host_tells_makes_no_action_possible(w: SSHWorld) -> None:
    w.claim("web01", VM_A, "1", link=FakeLink(), uri="vmproxy?lab=1")
    actions(w, {**RESET, "on": ["tag:lab"]})
    assert result(run(w, "action"))[0] == "there are no actions for you\n"
    w.use_policy(None, None, [{"on": ["web01"], "labels": {"lab": "1"}}])
    assert "reset" in result(run(w, "action"))[0]


def test_a_few_run_at_a_time_and_one_of_each(w: SSHWorld) -> None:
    actions(w, RESET)
    for n in range(AT_ONCE + 1):
        w.vm(f"vm{n}", VM_A.__class__(int=n + 1))
    for n in range(AT_ONCE):
        run(w, f"action reset vm{n} --yes")
    assert "vm0: reset is under way already" in result(run(w, "action reset vm0 --yes"))[1]
    assert "4 actions are under way" in result(run(w, f"action reset vm{AT_ONCE} --yes"))[1]
    w.programs.end(number=0)
    run(w, f"action reset vm{AT_ONCE} --yes")
    assert len(w.programs.ran) == AT_ONCE + 1


def test_it_goes_on_if_whoever_has_begun_it_leaves(two: SSHWorld) -> None:
    channel = two.login("alice").open()
    channel.pty()
    channel.exec("action reset web01 --yes")
    channel.type(b"\x03")
    assert channel.status == 130
    two.programs.end("status 1")
    assert two.audited("action-done")[0]["problem"] == "status 1"
    run(two, "action reset web01 --yes")
    assert len(two.programs.ran) == 2


def test_at_a_console_a_key_offers_them(two: SSHWorld) -> None:
    channel = fresh(two)
    channel.type(b"\x05c!")
    assert b" 1   reset  press the button" in channel.err
    channel.type(b"1\r")
    assert b"reset web01? [y/N] " in channel.err
    channel.type(b"y\r")
    assert b"[reset: under way]" in channel.err
    two.programs.end(output=b"done it\n")
    channel.client.pump()
    assert b" done it\r\n" in channel.err
    assert b"[-- reset: done --]" in channel.err
    for answer in (b"\x05c!off\rn\r", b"\x05c!\r", b"\x05c!nothing\r"):
        channel.clear()
        channel.type(answer)
        assert b"nothing" in channel.err
    assert len(two.programs.ran) == 1


def test_at_a_console_the_rights_are_those_of_the_moment(two: SSHWorld) -> None:
    channel = fresh(two)
    channel.type(b"\x05c!reset\r")
    two.rules(("alice", "spy", "*"))
    channel.clear()
    channel.type(b"y\r")
    assert b"you may no longer do that" in channel.err
    channel.type(b"\x05c!")
    assert b"there are no actions for you here" in channel.err
    channel.clear()
    channel.type(b"\x05c?")
    assert b"have something done" not in channel.err
    assert not two.programs.ran


def test_whoever_has_left_the_console_is_told_nothing(two: SSHWorld) -> None:
    channel = fresh(two)
    channel.type(b"\x05c!1\ry\r\x05c.")
    two.programs.end(output=b"late\n")
    channel.client.pump()
    assert b"late" not in channel.err


def test_they_are_among_the_actions_of_a_row(two: SSHWorld) -> None:
    person = Person(two)
    person.type(RIGHT)
    offered = "\n".join(person.terminal.lines)
    assert "1 reset" in offered
    assert "2 off" not in offered  # db01 is selected
    person.type(b"1")
    person.type(b"y\r")
    ((_, data, *_),) = two.programs.ran
    assert json.loads(data)["console"] == "db01"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"run": "/bin/x"}, "action 1: name: is missing"),
        ({"name": "x"}, "action 1: run: is missing"),
        ({"name": "a b", "run": "/bin/x"}, "'a b' is not a name"),
        ({"name": "x", "run": "x"}, "is not a program with its whole path"),
        ({"name": "x", "run": "/x", "right": "see"}, "'see' is none of spy, write"),
        ({"name": "x", "run": "/x", "timeout": "1h"}, "is not a time from 1 s to 10 minutes"),
    ],
)
def test_what_is_wrong_is_told(table: dict[str, Any], problem: str) -> None:
    _, problems = parse_actions([table])
    assert any(problem in str(one) for one in problems), problems


def test_names_are_given_once() -> None:
    _, problems = parse_actions([RESET, RESET])
    assert [str(one) for one in problems] == ["action 2: name: there is another action reset"]


@pytest.mark.parametrize(
    ("words", "uuid", "status", "out"),
    [
        (["reset"], "564d", 0, "vm.power -reset -vm.uuid 564d https://vc.example\n"),
        (["shutdown"], "564d", 0, "vm.power -s -vm.uuid 564d https://vc.example\n"),
        (["reset"], "", 1, ""),
        (["destroy"], "564d", 2, ""),
        ([], "564d", 2, ""),
    ],
)
def test_the_sample_for_govc(tmp_path: Path, words: list[str], uuid: str, status: int, out: str) -> None:
    govc = tmp_path / "govc"
    govc.write_text('#!/bin/sh\necho "$@" "$GOVC_URL"\n')
    govc.chmod(0o755)
    (tmp_path / "govc.env").write_text("GOVC_URL=https://vc.example\n")
    env = {"PATH": f"{tmp_path}:/bin:/usr/bin", "VMPROXY_BIOS_UUID": uuid, "GOVC_ENV": f"{tmp_path}/govc.env"}
    done = subprocess.run([SAMPLE, *words], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, out)
