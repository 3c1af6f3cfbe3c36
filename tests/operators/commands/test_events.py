"""``events``: what happened to consoles, then and from now on."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from tests.support.commands import result, rotate, run, say
from tests.support.fakes import VM_B
from tests.support.ssh import RemoteChannel, SSHWorld
from vmproxy.operators import event_reading
from vmproxy.operators.commands import context, events


def kinds(channel: RemoteChannel) -> list[str]:
    return [line.split("  ")[2] for line in channel.out.decode().splitlines()]


def test_events_of_one_console_and_of_all(w: SSHWorld) -> None:
    link = w.vm()
    w.clock.advance(5)
    w.vm("db01", uuid=VM_B)
    w.clock.advance(5)
    w.directory.lost(w.console(), link, "gone")
    channel = run(w, "events web01")
    assert kinds(channel) == ["up", "name", "down"]
    assert "reason=gone" in channel.out.decode().splitlines()[-1]
    everything = [json.loads(line) for line in run(w, "events --json").out.splitlines()]
    assert [(e["console"], e["event"]) for e in everything if e["event"] in ("up", "down")] == [
        ("web01", "up"),
        ("db01", "up"),
        ("web01", "down"),
    ]
    assert everything[-1]["uuid"] == str(w.console().uuid)
    assert kinds(run(w, "events -n 1")) == ["down"]
    assert kinds(run(w, "events -n 0")) == []
    assert kinds(run(w, "events --since 3s")) == ["down"]
    assert kinds(run(w, "events -n 1", "alice:db01")) == ["name"]


def test_the_last_events_are_found_behind_many_time_marks_and_in_rotated_trails(w: SSHWorld) -> None:
    w.vm()
    w.console().log.event("note", text="first")
    rotate(w, compress=True)
    w.console().log.event("note", text="second")
    for _ in range(3000):
        say(w, b"x", wait=2)
    w.console().log.event("note", text="third")
    out = run(w, "events -n 3 web01").out.decode()
    assert [line.rpartition("=")[2] for line in out.splitlines()] == ["first", "second", "third"]


def test_events_are_followed_across_a_rotation(w: SSHWorld) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    client = w.login()
    channel = client.run("events -f -n 0 --json")
    said: list[str] = []
    for n in range(30):
        w.console("web01" if n % 3 else "db01").log.event("note", text=str(n))
        w.store.flush()
        said.append(str(n))
        if n % 7 == 6:
            rotate(w)
        w.clock.advance(1.0)
        client.pump()
    told = [json.loads(line) for line in channel.out.splitlines()]
    assert [e["text"] for e in told if e["event"] == "note"] == said
    assert all(e["console"] in ("web01", "db01") for e in told)


def test_events_that_happen_while_the_last_ones_are_read_are_shown_once(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    w.threads_held = True
    channel = client.run("events -f")
    w.console().log.event("note", text="meanwhile")
    w.store.flush()
    w.threads_held = False
    w.release_threads()
    for _ in range(3):
        w.clock.advance(1.0)
        client.pump()
    assert kinds(channel).count("note") == 1
    assert kinds(channel).count("up") == 1


def test_a_follower_of_events_who_does_not_read_is_told_how_many_it_missed(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reading, "QUEUE_LIMIT", 1000)
    w.vm()
    client = w.login()
    channel = client.run("events -f -n 0")
    for n in range(50):
        w.console().log.event("note", text=str(n))
    w.store.flush()
    w.clock.advance(1.0)
    client.pump()
    shown = kinds(channel).count("note")
    assert 5 < shown < 50
    assert f"[-- {50 - shown} events skipped: your connection is too slow --]" in channel.err.decode()


def test_events_of_a_hidden_console_neither_count_nor_keep_a_follower_from_its_own(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reading, "QUEUE_LIMIT", 1000)
    w.vm()
    w.vm("db01", uuid=VM_B)
    w.rules(("alice", "spy", "web01"))
    client = w.login()
    channel = client.run("events -f -n 0")
    for n in range(50):
        w.console("db01").log.event("note", text=str(n))
    w.store.flush()
    w.console().log.event("note", text="mine")
    w.store.flush()
    w.clock.advance(1.0)
    client.pump()
    assert "text=mine" in channel.out.decode()
    assert b"skipped" not in channel.err


def test_events_of_a_console_that_was_not_asked_for_cost_one_look_at_all_consoles(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    looks: list[None] = []
    chosen = context.chosen_or_own
    monkeypatch.setattr(events, "chosen_or_own", lambda *args: (looks.append(None), chosen(*args))[1])
    client = w.login()
    channel = client.run("events -f -n 0 web01")
    for n in range(5):
        w.console("db01").log.event("note", text=str(n))
        w.console().log.event("note", text=f"mine {n}")
        w.store.flush()
        w.clock.advance(1.0)
        client.pump()
    assert len(looks) == 2
    assert kinds(channel).count("note") == 5


def test_a_console_that_appears_while_events_are_followed_is_followed_too(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    channel = client.run("events -f")
    w.vm("db01", uuid=VM_B)
    for _ in range(12):
        w.clock.advance(1.0)
        client.pump()
    assert "  db01  up" in channel.out.decode()
    w.rules(("alice", "admin", "web01"))
    channel.clear()
    w.console("db01").log.event("note", text="secret")
    for _ in range(12):
        w.clock.advance(1.0)
        client.pump()
    assert b"secret" not in channel.out


def test_a_hostile_trail_costs_only_its_own_lines(w: SSHWorld) -> None:
    w.vm()
    w.store.flush()
    path = w.console().log.path
    trail = path.with_name(path.name + ".events")
    with trail.open("ab") as file:
        file.write(
            b'{"at":5,"event":"x"}\n[[[[\n\xff\n{"at":"2023-11-14T22:13:21.000Z","event":["x"]}\n' + b"[" * 100_000
        )
        file.write(b'\n{"at":"2023-11-14T22:13:21.000Z","offset":0,"event":"no\\u001b[2Jte","k\\u0007":"v\\n"}\n')
    out, err, status = result(run(w, "events web01 -n 1"))
    assert out.endswith("  web01  no\\x1b[2Jte  k\\x07=v\\x0a\n")
    assert (err, status) == ("", 0)


def test_events_of_hundreds_of_consoles(w: SSHWorld) -> None:
    for n in range(300):
        w.vm(f"vm{n}", uuid=UUID(int=n + 1))
    channel = run(w, "events -n 1000 --json")
    channel.client.pump()
    assert len({json.loads(line)["console"] for line in channel.out.splitlines()}) == 300
