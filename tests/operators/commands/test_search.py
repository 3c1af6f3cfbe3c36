"""``search``, and lines picked by ``log``: what is around, up to a time, and how many."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.fakes import VM_A, VM_B
from tests.support.ssh import SSHWorld
from vmproxy.operators.commands import search


def say(w: SSHWorld, name: str, data: bytes) -> None:
    w.console(name).feed(data)
    w.store.flush()
    w.clock.advance(10)


def found(w: SSHWorld, words: str) -> tuple[list[str], str, int | None]:
    """What is found, without the times."""
    channel = w.login().run(f"search {words}")
    lines = channel.out.decode().splitlines()
    return [re.sub(r"^\d{4}-\S+ \S+  ", "", line) for line in lines], channel.err.decode(), channel.status


def test_lines_around_a_hit(w: SSHWorld) -> None:
    w.vm()
    say(w, "web01", b"one\r\ntwo\r\n\x1b[1mpanic\x1b[m\r\nfour\r\nfive\r\n")
    assert found(w, "panic -C 1") == (["web01- two", "web01: panic", "web01- four", "--"], "", 0)
    (hit,) = map(json.loads, w.login().run("search panic -C 2 --json").out.splitlines())
    assert (hit["before"], hit["text"], hit["after"]) == (["one", "two"], "panic", ["four", "five"])


def test_with_lines_around_them_there_are_fewer(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "AROUND_LIMIT", 8)
    w.vm()
    for number in range(5):
        say(w, "web01", b"hit %d\n" % number)
    shown, told, _ = found(w, "hit -C 2 -n 100")
    assert [line for line in shown if line.startswith("web01: ")] == ["web01: hit 4", "web01: hit 3"]
    assert told == "[-- there may be more: only the newest 2 are shown --]\n"


def test_up_to_a_time(w: SSHWorld) -> None:
    w.vm()
    for number in range(5):
        say(w, "web01", b"line %d\n" % number)
    assert found(w, "line --until 25s --since 45s")[0] == ["web01: line 2", "web01: line 1"]
    assert found(w, "line --until 1h")[2] == 1


def test_the_number_of_lines_of_each_console(w: SSHWorld) -> None:
    w.vm()
    w.vm("db1", VM_B)
    say(w, "web01", b"error\n")
    say(w, "db1", b"error\nerror\nfine\n")
    assert found(w, "error -c") == (["       2  db1", "       1  web01"], "", 0)
    assert found(w, "error -c --until 15s")[0] == ["       1  web01"]
    (counted,) = map(json.loads, w.login().run("search error w* -c --json").out.splitlines())
    assert counted == {"console": "web01", "uuid": str(VM_A), "port": "1", "count": 1}
    assert found(w, "nothing -c") == ([], "nothing found\n", 1)
    w.rules(("alice", "spy", "web*"))
    assert found(w, "error -c")[0] == ["       1  web01"]


def test_log_picks_lines(w: SSHWorld) -> None:
    w.vm()
    say(w, "web01", b"one\r\nPa\x1b[1mnic\x1b[m\r\nnoise\r\ntwo\r\nthree\r\npanic now")
    run = w.login().run
    assert run("log web01 --match panic -i").out == b"Panic\npanic now\n"
    assert run("log web01 --match Panic -C 1 --not noise").out == b"one\nPanic\ntwo\n"
    assert run("log web01 --match panic -i -n 1").out == b"panic now\n"
    assert run("log web01 --match a -C 1 -c").out == run("log web01 --match a -c").out
    assert (run("log web01 -c").out, run("log web01 --not a -c").out) == (b"6\n", b"4\n")
    assert run("log web01 --match Panic -C 1 -c").out == b"1\n"
    nothing = run("log web01 --match nothing")
    assert (nothing.out, nothing.status) == (b"", 1)
    assert b"  one\n" not in run("log web01 --match one -t").out
    for words in ("--match x --raw", "-f -c", "-C 1"):
        assert run(f"log web01 {words}").status == 2


def test_log_follows_what_is_picked(w: SSHWorld) -> None:
    w.vm()
    channel = w.login().run("log -f web01 --match panic")
    say(w, "web01", b"fine\npanic\n")
    channel.client.pump()
    assert channel.out == b"web01 | panic\n"


@pytest.mark.parametrize("command", ["log -f VM (old) --match ic", "log -f VM (old) w*"])
def test_a_name_with_blanks_and_lines_of_the_past(w: SSHWorld, command: str) -> None:
    w.vm("VM (old)")
    w.vm("web01", VM_B)
    if "w*" in command:
        command = command.replace("VM (old)", "'VM (old)'")
    for number in range(3):
        say(w, "VM (old)", b"panic %d\n" % number)
    channel = w.login().run(f"{command} -n 2")
    w.clock.advance(1)
    channel.client.pump()
    assert channel.out == b"VM (old) | panic 1\nVM (old) | panic 2\n"
