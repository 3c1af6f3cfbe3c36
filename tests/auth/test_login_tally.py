"""Logins are counted by front, method and result, and a stranger makes no new kinds of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from tests.support.logins import SECRET, cheap_hash
from vmproxy.auth.authenticator import Authenticator, LoginRefused
from vmproxy.auth.keyring import AccountSettings
from vmproxy.base.tasks import spawn


@pytest.fixture
def accounts(tmp_path: Path) -> Authenticator:
    path = tmp_path / "operators.toml"
    path.write_text(f'[operators.alice]\npassword = "{cheap_hash()}"\n')
    path.chmod(0o600)
    clock = Clock()

    def in_thread(call: Any) -> Deferred[Any]:
        clock.advance(0.02)  # each time that something waits for a thread
        return succeed(call())

    accounts = Authenticator(AccountSettings(path), "nobody", in_thread, clock, lambda event, **fields: None)
    accounts.load()
    return accounts


def test_each_counts_once_for_its_front_method_and_result(accounts: Authenticator) -> None:
    alice: Any = accounts.load().account("alice")
    accounts.entered(alice, "password", "alice", "10.1.1.1", {})
    accounts.failed("password", "alice", "10.1.1.1", "wrong", front="web")
    accounts.put_off("keyboard-interactive", "alice", "10.1.1.1", "busy")
    accounts.turned_away(alice, "alice", "10.1.1.1", "250 of yours are open", "publickey")
    assert accounts.tally.counts == {
        ("ssh", "password", "ok"): 1,
        ("web", "password", "failed"): 1,
        ("ssh", "keyboard-interactive", "busy"): 1,
        ("ssh", "publickey", "refused"): 1,
    }


def test_methods_that_clients_invent_are_one(accounts: Authenticator) -> None:
    for number in range(100):
        accounts.failed(f"invented{number}", "alice", "10.1.1.1", "not offered")
    assert accounts.tally.counts == {("ssh", "other", "failed"): 100}


def test_the_time_of_a_check_is_measured_whatever_comes_of_it(accounts: Authenticator) -> None:
    durations = accounts.tally.durations
    spawn(accounts.password("alice", SECRET.encode(), "10.1.1.1", lambda: True, front="web"))
    assert (sum(durations["web"].counts), sum(durations["ssh"].counts)) == (1, 0)
    assert durations["web"].total == pytest.approx(0.04)  # the files, and the hash
    spawn(accounts.offer("alice", b"ssh-ed25519", b"no key", "10.1.1.1")).addErrback(lambda f: f.trap(LoginRefused))
    assert sum(durations["ssh"].counts) == 1
