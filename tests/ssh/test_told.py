"""What clients and operators can write into log and trails is bounded: ten lines a minute, then a number."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.common import NS

from tests.support.fakes import Logged
from tests.support.ssh import Client, SSHWorld, ed25519_key
from vmproxy.auth.authenticator import NETWORKS_TOLD
from vmproxy.base.ratelimit import REPEATS_TOLD
from vmproxy.operators.services import NOTES_PER_MINUTE


def guess(client: Client) -> None:
    """Try a password; none is offered, so it fails."""
    client.sendPacket(5, NS(b"ssh-userauth"))
    client.sendPacket(50, NS(b"mallory") + NS(b"ssh-connection") + NS(b"password") + b"\0" + NS(b"guess"))
    client.pump()


def ask_about_a_key(client: Client) -> None:
    """Ask about a key that nobody has."""
    blob = ed25519_key(7).public().blob()
    client.sendPacket(5, NS(b"ssh-userauth"))
    client.sendPacket(
        50, NS(b"mallory") + NS(b"ssh-connection") + NS(b"publickey") + b"\0" + NS(b"ssh-ed25519") + NS(blob)
    )
    client.pump()


@pytest.mark.parametrize("stranger", [guess, ask_about_a_key])
def test_failed_logins_and_questions_are_summed_up(w: SSHWorld, logged: Logged, stranger: object) -> None:
    assert callable(stranger)
    for _ in range(60):
        client = w.connect()
        stranger(client)
        client.tcp.closed()
    w.settle()
    failed = w.audited("login-failed")
    assert len(failed) == REPEATS_TOLD
    assert len([line for line in logged if "mallory" in line]) == REPEATS_TOLD
    w.clock.advance(61)
    w.settle()
    last = w.audited("login-failed")[-1]
    assert last["times"] == 60 - REPEATS_TOLD
    assert last["from"] == "10.1.2.9"
    assert any("10.1.2.9: 50 more logins" in line for line in logged)


def test_broken_packets_are_summed_up(w: SSHWorld, logged: Logged) -> None:
    for _ in range(60):
        client = w.connect()
        client.sendPacket(30, b"not now")
        client.pump()
        client.tcp.closed()
    assert len([line for line in logged if "SSH packet" in line]) == REPEATS_TOLD


def test_networks_do_not_hide_each_other_and_are_not_without_end(w: SSHWorld) -> None:
    for n in range(NETWORKS_TOLD + 50):
        for _ in range(3):
            w.accounts.put_off("password", "mallory", f"2001:db8:{n:x}::1", "wrong")
    w.settle()
    told = w.audited("login-failed")
    assert len(told) == 3 * NETWORKS_TOLD + REPEATS_TOLD
    w.accounts.stop()
    w.settle()
    assert w.audited("login-failed")[-1] == w.audited("login-failed")[-1] | {"from": "other networks", "times": 140}


def test_notes_of_an_operator_are_ten_a_minute(w: SSHWorld) -> None:
    w.vm()
    sessions = [w.login("web01,ro").attach() for _ in range(2)]
    for n in range(30):
        sessions[n % 2].type(b"\x05cn" + b"note %d\r" % n)
        w.settle()
    assert len([e for e in w.events() if e["event"] == "note"]) == NOTES_PER_MINUTE
    assert len(w.audited("note")) == NOTES_PER_MINUTE
    assert b"not noted: 10 notes a minute" in sessions[0].screen
    w.clock.advance(61)
    w.settle()
    (summed,) = [e for e in w.events() if e["event"] == "notes-refused"]
    assert summed["who"] == "alice"
    assert summed["times"] == 30 - NOTES_PER_MINUTE
    sessions[0].type(b"\x05cn" + b"one more\r")
    w.settle()
    assert [e for e in w.events() if e["event"] == "note"][-1]["text"] == "one more"
