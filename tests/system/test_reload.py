"""SIGHUP: the configuration is read again, what can count at once does, and nobody loses a connection."""

from __future__ import annotations

import getpass
from collections.abc import Callable

from tests.support.daemon import Client, Daemon, eventually, json_lines
from tests.support.host import FakeVM

ME = getpass.getuser()
HIDE = '[[rule]]\nwho = "*"\nmay = []\non = ["vault*"]\n[[rule]]\nwho = "*"\nmay = ["write"]\non = "*"\n'


def test_rules_count_at_once_for_who_comes_and_for_who_is_there(
    daemon: Daemon, client: Callable[..., Client], make_vm: Callable[..., FakeVM]
) -> None:
    web, vault = make_vm(daemon, "web01"), make_vm(daemon, "vault01")
    eventually(lambda: daemon.status("vault01"), "both are known")
    on_web = client("-t", "-t", "127.0.0.1", "web01", terminal=True)
    on_vault = client("-t", "-t", "127.0.0.1", "vault01", terminal=True)
    on_web.expect(b"[attached]")
    on_vault.expect(b"[attached]")
    daemon.reload(HIDE)
    assert on_vault.end() != 0  # it is not there for him any more
    hidden, missing = daemon.run("status", "vault01"), daemon.run("status", "vault02")
    assert (hidden.returncode, missing.returncode) == (3, 3)
    assert hidden.stderr.replace(b"vault01", b"vault02") == missing.stderr
    on_web.type(b"still here\r")
    web.connected.wait_data(b"still here\r")
    vault.connected.say(b"nobody looks on")
    (event,) = daemon.audited("reload", count=1)
    assert event["changed"] == ["rules, consoles and groups"]


def test_a_configuration_that_is_wrong_changes_nothing(daemon: Daemon, make_vm: Callable[..., FakeVM]) -> None:
    daemon.reload(HIDE)
    make_vm(daemon, "vault01")
    make_vm(daemon, "web01")
    eventually(lambda: daemon.status("web01"), "one is known")
    daemon.reload('[[rule]]\nwho = "*"\nmay = ["everything"]\non = "*"\n', "the configuration stays as it was")
    daemon.says("'everything' is not a right")
    assert daemon.run("status", "vault01").returncode == 3
    assert daemon.status("web01")["state"] == "up"
    (event,) = daemon.audited("reload-failed", count=1)
    assert "'everything' is not a right" in str(event["problems"])


def test_what_needs_a_restart_is_said_each_time_until_then(daemon: Daemon) -> None:
    daemon.reload("[log]\nopen-files = 17\n[ssh]\nquiet = true\n")
    daemon.reload("[log]\nopen-files = 17\n[ssh]\nquiet = true\n")
    first, second = daemon.audited("reload", count=2)
    assert (first["changed"], first["waiting"]) == (["ssh.quiet"], ["log.open-files"])
    assert (second["changed"], second["waiting"]) == ([], ["log.open-files"])
    daemon.says("these changes wait for a restart: log.open-files")


def test_what_is_said_of_consoles_counts_at_once(
    daemon: Daemon, client: Callable[..., Client], make_vm: Callable[..., FakeVM]
) -> None:
    vm = make_vm(daemon, "web01")
    eventually(lambda: daemon.status("web01"), "it is known")
    there = client("-t", "-t", "127.0.0.1", "web01", terminal=True)
    there.expect(b"[attached]")
    daemon.reload('[[console]]\non = "web*"\nrecord-input = true\n')
    there.expect(b"what is typed is recorded from now on")
    there.type(b"hello\r")
    vm.connected.wait_data(b"hello\r")
    inputs = daemon.state / "input.jsonl"

    def recorded() -> str:
        return "".join(str(e["data"]) for e in json_lines(inputs))

    eventually(lambda: len(recorded()) >= len("hello\r"), "input is recorded")
    assert recorded() == "hello\r"
    assert all(str(e["who"]).startswith(f"{ME}@") for e in json_lines(inputs))
    assert inputs.stat().st_mode & 0o077 == 0
    assert "hello" not in (daemon.state / "audit.jsonl").read_text()
    assert "hello" not in str(daemon.events("web01"))
