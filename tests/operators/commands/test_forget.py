"""``forget``: who may, what is told, and what is left."""

from __future__ import annotations

import pytest

from tests.support.commands import result
from tests.support.fakes import VM_A, VM_B
from tests.support.ssh import SSHWorld


def gone(w: SSHWorld, name: str = "web01") -> None:
    w.console(name).feed(b"hello\n")
    w.lose(w.console(name))
    w.store.flush()


def test_an_administrator_forgets_a_console_that_is_down(w: SSHWorld) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    gone(w)
    client = w.login()
    watching = w.login("web01").attach()
    log = w.console().log
    answer = (f"web01 is forgotten; its log is still there: {log.name}\n", "", 0)
    assert result(client.run("forget web01")) == answer
    assert log.path.exists()
    watching.client.pump()
    assert watching.status == 7
    assert result(client.run("forget web01"))[2] == 3
    assert "web01" not in client.run("list").out.decode()
    w.store.flush()
    (entry,) = w.audited("forget")
    assert (entry["who"], entry["console"], entry["uuid"]) == ("alice", "web01", str(VM_A))
    assert (entry["port"], entry["log"], entry["removed"]) == ("1", log.name, False)


def test_its_log_goes_too_if_that_is_said(w: SSHWorld) -> None:
    w.vm()
    gone(w)
    log = w.console().log.path
    assert log.exists()
    answer = ("web01 is forgotten; its log is removed\n", "", 0)
    assert result(w.login().run("forget --remove-log web01")) == answer
    assert not log.exists()


def test_a_log_that_cannot_be_removed(w: SSHWorld) -> None:
    w.vm()
    gone(w)
    log = w.console().log.path
    w.store.reopen()
    log.unlink()
    log.mkdir()
    out, err, status = result(w.login().run("forget web01 --remove-log"))
    assert (out, status) == ("", 1)
    assert err.startswith("web01 is forgotten, but its log could not be removed: ")


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ("forget web01", 1, "web01: only a console that is down can be forgotten"),
        ("forget db", 2, "db: forget needs a whole name; did you mean db01?"),
        ("forget", 2, "which console? give its name"),
        ("forget nobody", 3, "nobody: no such console"),
    ],
)
def test_what_is_not_forgotten(w: SSHWorld, command: str, status: int, text: str) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    gone(w, "db01")
    channel = w.login().run(command)
    assert (channel.out, channel.status) == (b"", status)
    assert text in channel.err.decode()
    assert len(w.directory) == 2


def test_who_may_not(w: SSHWorld) -> None:
    w.vm()
    gone(w)
    w.rules(("alice", "write force raw", "*"))
    assert result(w.login().run("forget web01")) == ("", "web01: you may not forget it\n", 10)


def test_who_follows_its_log_is_told(w: SSHWorld) -> None:
    w.vm()
    gone(w)
    following = w.login().run("log -f web01")
    w.login().run("forget web01")
    following.client.pump()
    w.clock.advance(1)
    following.client.pump()
    assert following.status == 7
    assert "the console is forgotten" in following.err.decode()
