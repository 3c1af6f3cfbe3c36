"""Alerts of the real daemon: a program that runs, a receiver that listens, a reload, a restart, floods and failures."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.alerts import Receiver, watch_file
from tests.support.daemon import PATIENCE, Client, Daemon, eventually, json_lines
from tests.support.host import FakeVM
from tests.support.requirements import expressions
from tests.support.tls import write_pem
from vmproxy.hooks.webhook import PAUSES

pytestmark = expressions

PANIC = b"[    4.2] \x1b[1;31mKernel panic - not syncing\x1b[0m: Attempted to kill init!\r\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def alerts(daemon: Daemon, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(daemon.run("alerts", "--json", *more).stdout)
    return found


def script(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_panic_is_told_to_everybody_and_survives_a_restart(
    tmp_path: Path,
    make_daemon: Callable[..., Daemon],
    make_vm: Callable[..., FakeVM],
    receiver: Receiver,
) -> None:
    text = f'(echo "$VMPROXY_CONSOLE: $VMPROXY_LINE"; cat) > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/out'
    settings = watch_file(
        tmp_path,
        f"""
        [[watch]]
        name = "panic"
        match = "Kernel panic"
        severity = "critical"
        context = 2
        run = "{script(tmp_path, text)}"
        webhook = "http://127.0.0.1:{receiver.port}/hook"
        """,
    )
    daemon = make_daemon(settings)
    vm = make_vm(daemon, "web01")
    eventually(lambda: daemon.status("web01"), "it is known")
    line = "[    4.2] Kernel panic - not syncing: Attempted to kill init!"
    with contextlib.closing(Client(daemon.ssh("-tt", "127.0.0.1", user="web01"), terminal=True)) as viewer:
        viewer.expect(b"[attached]")
        vm.connected.say(b"one\r\ntwo\r\nthree\r\n" + PANIC + b"four\r\n")
        viewer.expect(f"[-- alert: critical, panic: {line} --]".encode())
    eventually(lambda: (tmp_path / "out").exists() and receiver.got, "both are told")
    head, _, told = (tmp_path / "out").read_text().partition("\n")
    assert head == f"web01: {line}"
    assert json.loads(told) == receiver.got[0]
    assert (receiver.got[0]["before"], receiver.got[0]["after"]) == (["two", "three"], ["four"])
    assert b"1 critical" in daemon.run("list").stdout
    (alert,) = alerts(daemon)
    assert (alert["console"], alert["watch"], alert["acknowledged"]) == ("web01", "panic", None)
    told_there = daemon.state / "alerts.jsonl"
    eventually(lambda: json_lines(told_there), "it is recorded")
    assert [entry["line"] for entry in json_lines(told_there)] == [alert["line"]] == [line]
    eventually(lambda: [event for event in daemon.events("web01") if event["event"] == "alert"], "also in the trail")
    assert [event["alert"] for event in daemon.events("web01") if event["event"] == "alert"] == [1]
    daemon.stop()
    daemon.start()
    assert b"1 critical" in daemon.run("list").stdout
    assert daemon.run("ack", "web01", "--note", "INC4711").stdout == b"1 acknowledged\n"
    assert alerts(daemon) == []
    assert alerts(daemon, "-a")[0]["acknowledged"]["note"] == "INC4711"
    assert daemon.audited("ack", count=1)[0]["note"] == "INC4711"
    assert b"critical" not in daemon.run("list").stdout


def test_a_reload_takes_other_watches_and_refuses_wrong_ones(
    tmp_path: Path, make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon, "web01")
    eventually(lambda: daemon.status("web01"), "it is known")
    one = '[[watch]]\nname = "one"\nmatch = "first"\n'
    daemon.reload(watch_file(tmp_path, one))
    vm.connected.say(b"first\r\n")
    eventually(lambda: len(alerts(daemon)) == 1, "it is told")
    settings = watch_file(tmp_path, f'{one}[[watch]]\nname = "two"\nmatch = "sec(ond"\n')
    daemon.reload(settings, f"the configuration stays as it was: {tmp_path}/watch.toml:6: watch 2: match: sec(ond:")
    settings = watch_file(tmp_path, f'{one}[[watch]]\nname = "two"\nmatch = "sec(ond)?"\nrun = "/no/program"\n')
    daemon.reload(settings)
    daemon.says("there is no program /no/program")
    assert daemon.audited("reload", count=2)[-1]["changed"] == ["watches"]
    vm.connected.say(b"first second\r\n")
    eventually(lambda: {alert["watch"] for alert in alerts(daemon)} >= {"two", "vmproxy-hook"}, "both are told")
    assert [alert["watch"] for alert in alerts(daemon)].count("one") == 1  # it has been quiet since the first


def test_a_flood_of_lines_that_match_costs_bounded_alerts(
    tmp_path: Path, make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    settings = watch_file(
        tmp_path,
        f"""
        [[watch]]
        name = "every"
        match = "."
        quiet = "1s"
        run = "{script(tmp_path, f"echo x >> {tmp_path}/out; sleep 1000")}"
        timeout = "1s"
        """,
    )
    daemon = make_daemon(settings)
    vm = make_vm(daemon, "web01")
    eventually(lambda: daemon.status("web01"), "it is known")
    vm.connected.say(b"a line of a flood that matches\r\n" * 100_000)
    eventually(lambda: len(daemon.logged("web01")) == 3_200_000, "all of it is in the log")
    eventually(
        lambda: "vmproxy-hook" in {alert["watch"] for alert in alerts(daemon)}, "the program hangs, and is ended"
    )
    assert len((daemon.state / "alerts.jsonl").read_text().splitlines()) < 200
    assert alerts(daemon)[0]["watch"] == "every"
    daemon.stop()


def test_a_receiver_that_is_away_gets_it_when_it_is_back(
    tmp_path: Path, make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    receiver = Receiver(away=True)
    receiver.statuses = [503]
    settings = watch_file(
        tmp_path,
        f'[[watch]]\nname = "w"\nmatch = "help"\nwebhook = "http://127.0.0.1:{receiver.port}/"\n',
    )
    try:
        daemon = make_daemon(settings)
        vm = make_vm(daemon, "web01")
        eventually(lambda: daemon.status("web01"), "it is known")
        vm.connected.say(b"help\r\n")
        eventually(lambda: json_lines(daemon.state / "alerts.jsonl"), "it is told")
        receiver.come()
        # On a busy machine it may have missed the second try too: the last is half a minute later.
        eventually(lambda: len(receiver.got) == 2, "it is sent again, and once more", sum(PAUSES) + PATIENCE)
        assert [got["line"] for got in receiver.got] == ["help", "help"]
    finally:
        receiver.close()
    assert [alert["watch"] for alert in alerts(daemon)] == ["w"]


def test_the_certificate_of_a_webhook_is_verified(
    tmp_path: Path, prepare_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    pem = write_pem(tmp_path / "hook.pem", "localhost")
    trusted, stranger = Receiver(certificate=pem), Receiver(certificate=write_pem(tmp_path / "other.pem", "localhost"))
    settings = watch_file(
        tmp_path,
        f"""
        [[watch]]
        name = "trusted"
        match = "help"
        webhook = "https://localhost:{trusted.port}/"
        [[watch]]
        name = "stranger"
        match = "help"
        webhook = "https://localhost:{stranger.port}/"
        """,
    )
    daemon = prepare_daemon(settings)
    daemon.environment |= {"SSL_CERT_FILE": str(pem)}
    daemon.start()
    try:
        make_vm(daemon, "web01").connected.say(b"help\r\n")
        eventually(lambda: trusted.got, "the one that is trusted is told")
        daemon.stop()
        assert stranger.got == []
    finally:
        trusted.close()
        stranger.close()


def test_what_is_wrong_with_vmproxy_itself_is_an_alert(
    tmp_path: Path, make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    out = tmp_path / "out"
    text = f'echo "$VMPROXY_WATCH $VMPROXY_CONSOLE $VMPROXY_LINE" >> {out}'
    settings = watch_file(
        tmp_path, f'[[watch]]\nname = "own"\nitself = ["refused", "log"]\nrun = "{script(tmp_path, text)}"\n'
    )
    daemon = make_daemon(f'{settings}[vm]\nnetworks = ["127.0.0.1"]\n')
    vm = make_vm(daemon, "web01")
    eventually(lambda: daemon.status("web01"), "it is known")
    socket.create_connection(("127.0.0.1", daemon.vm_port), source_address=("127.0.0.9", 0)).close()
    log = daemon.log("web01").resolve()
    log.unlink(missing_ok=True)
    log.mkdir()
    vm.connected.say(b"output\r\n")
    (daemon.state / "audit.jsonl").unlink()
    (daemon.state / "audit.jsonl").mkdir()
    eventually(
        lambda: (
            {alert["watch"] for alert in alerts(daemon)} == {"own", "vmproxy-disk"}
            and len(alerts(daemon)) == 3
            and len(out.read_text().splitlines()) == 2
        ),
        "all of it is told",
    )
    told = out.read_text()
    assert "own  127.0.0.9 was turned away: " in told
    assert "own web01 the log cannot be written: Is a directory" in told
    assert b"2 acknowledged" in daemon.run("ack", "--itself").stdout
    assert [alert["console"] for alert in alerts(daemon)] == ["web01"]


@pytest.mark.slow
def test_silence_is_told(tmp_path: Path, make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]) -> None:
    daemon = make_daemon(watch_file(tmp_path, '[[watch]]\nname = "dead"\non = "gw*"\nsilent = "10s"\n'))
    make_vm(daemon, "web01")
    make_vm(daemon, "gw01")
    eventually(lambda: [alert["console"] for alert in alerts(daemon)] == ["gw01"], "it is told")
