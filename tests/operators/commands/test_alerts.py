"""``alerts``, ``ack``, and the marks in ``list`` and ``status``."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.fakes import EPOCH, VM_A, VM_B, VM_C
from tests.support.ssh import SSHWorld
from vmproxy.alerts.alert import Alert, Finding
from vmproxy.alerts.watch_file import parse_watches
from vmproxy.base.troubles import Kind, Trouble
from vmproxy.console.console import Console

(PANIC,) = parse_watches(b'[[watch]]\nname = "panic"\nmatch = "x"\nseverity = "critical"', "")


def found(w: SSHWorld, console: Console, line: bytes = b"Kernel panic\x1b[2J") -> None:
    w.alerts.found([Finding(console, PANIC, EPOCH, 0, line, 2)], 0, 0)


def test_alerts_are_shown_and_acknowledged(w: SSHWorld) -> None:
    alice = w.login()
    assert alice.run("alerts").out == b"no alerts that nobody has acknowledged\n"
    web, db = w.claim("web01"), w.claim("db01", VM_B)
    found(w, web)
    found(w, db)
    assert alice.run("alerts 'web*'").out.decode() == (
        "2023-11-14 22:13:20Z  1  critical  web01  panic  Kernel panic\\x1b[2J  (and 2 lines before)\n"
    )
    (row,) = json.loads(alice.run("alerts web01 --json").out)
    assert (row["alert"], row["uuid"], row["acknowledged"]) == (1, str(VM_A), None)
    assert alice.run("ack web01 --note known").out == b"1 acknowledged\n"
    assert alice.run("ack web01").out == b"there was nothing to acknowledge\n"
    assert b"web01" not in alice.run("alerts").out
    assert b"acknowledged by alice@" in alice.run("alerts -a").out
    assert b": known\n" in alice.run("alerts --since 2020-01-01").out
    w.clock.advance(60)
    assert alice.run("alerts --since 1s").out == b"no alerts\n"
    assert alice.run("ack --alert 2").out == b"1 acknowledged\n"
    w.store.flush()
    assert [line["alert"] for line in w.audited("ack")] == [1, 2]


def test_who_acknowledges_first_has_done_it(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    console, acknowledge = w.claim("web01"), w.alerts.acknowledge
    found(w, console)
    found(w, console)

    def meanwhile(alert: Alert, who: str, note: str) -> None:
        acknowledge(alert, who, note)
        second = w.alerts.book.get(2)
        assert second is not None
        acknowledge(second, "bob@x", "mine")

    monkeypatch.setattr(w.alerts, "acknowledge", meanwhile)
    assert w.login().run("ack web01").out == b"1 acknowledged\n"
    assert w.alerts.book.get(2).acknowledged.note == "mine"
    w.store.flush()
    assert [line["alert"] for line in w.audited("ack")] == [1]


def test_marks_are_in_list_and_status(w: SSHWorld) -> None:
    alice = w.login()
    web = w.claim("web01")
    assert b"ALERTS" not in alice.run("list").out
    found(w, web)
    head, row = alice.run("list").out.decode().splitlines()
    assert head.endswith("  ALERTS")
    assert row.endswith("  1 critical")
    assert b"alerts: 1 critical" in alice.run("status web01").out
    (fields,) = json.loads(alice.run("list --json").out)
    assert fields["alerts"] == {"critical": 1, "warning": 0, "info": 0}


def test_rights_decide_what_is_shown_and_acknowledged(w: SSHWorld) -> None:
    web, db = w.claim("web01"), w.claim("db01", VM_B)
    found(w, web)
    found(w, db)
    w.alerts.trouble(Trouble(Kind.DISK, "cannot write audit.jsonl"))
    w.rules(("*", "spy", "web*"), ("*", "see", "db*"))
    bob = w.login()
    assert len(bob.run("alerts").out.splitlines()) == 1
    assert bob.run("alerts db01").status == 10
    assert b"ALERTS" in bob.run("list").out
    assert bob.run("list db01").out.count(b"critical") == 0
    assert json.loads(bob.run("list db01 --json").out)[0]["alerts"]["critical"] == 0
    for command in ("ack web01", "ack --alert 1"):
        assert bob.run(command).status == 10
    for command in ("ack --alert 2", "ack --alert 3", "ack --alert 99"):
        assert b"no such alert" in bob.run(command).err
    assert bob.run("ack --itself").out == b"there was nothing to acknowledge\n"
    assert [alert.acknowledged for alert in w.alerts.book] == [None, None, None]
    w.rules(("*", "admin", "*"))
    assert b"vmproxy  vmproxy-disk  cannot write audit.jsonl" in bob.run("alerts").out
    assert bob.run("ack --itself").out == b"1 acknowledged\n"
    assert bob.run("ack").status == 2
    assert bob.run("ack web01 --alert 1").status == 2


def test_a_follower_is_told_as_they_come(w: SSHWorld) -> None:
    web = w.claim("web01")
    found(w, web)
    client = w.login()
    following = client.run("alerts -f")
    found(w, web, b"again")
    w.clock.advance(0.5)
    client.pump()
    assert following.out.decode().count("web01") == 2
    (alert,) = [one for one in w.alerts.book if one.number == 1]
    w.alerts.acknowledge(alert, "bob@x", "seen")
    w.clock.advance(0.5)
    client.pump()
    assert b"acknowledged by bob@x" in following.out
    w.rules(("*", "see", "*"))
    found(w, web, b"secret")
    w.clock.advance(0.5)
    client.pump()
    assert b"secret" not in following.out


def test_a_follower_is_told_of_consoles_that_come_later(w: SSHWorld) -> None:
    w.claim("web01")
    client = w.login()
    following = client.run("alerts -f 'web*'")
    found(w, w.claim("web02", VM_B))
    found(w, w.claim("db01", VM_C))
    w.clock.advance(0.5)
    client.pump()
    assert b"web02" in following.out
    assert b"db01" not in following.out


def test_of_a_console_that_is_forgotten_only_who_sees_all_is_told(w: SSHWorld) -> None:
    web = w.claim("web01")
    found(w, web)
    w.lose(web)
    w.directory.forget(web, "alice")
    assert b"web01" in w.login().run("alerts").out
    w.rules(("*", "write", "*"))
    assert b"web01" not in w.login().run("alerts").out


def test_what_is_critical_is_red_at_a_terminal(w: SSHWorld) -> None:
    found(w, w.claim("web01"))
    channel = w.login().open()
    channel.pty()
    channel.exec("alerts")
    assert re.search(rb"  \x1b\[1;31mcritical\x1b\[m  \x1b\[[\d;]+mweb01\x1b\[m  panic", channel.out)
