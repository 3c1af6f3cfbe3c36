"""Logins while accounts change; what is told of them, and to whom."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS, getNS
from twisted.internet.defer import Deferred

from tests.support.accounts import TWO, Elsewhere, use_source, who
from tests.support.fakes import Logged
from tests.support.logins import (
    INFO_RESPONSE,
    SECRET,
    answered,
    begun,
    cheap_hash,
    interactive,
    password,
    request,
    use_operators,
    with_key,
)
from tests.support.properties import examples
from tests.support.ssh import (
    DISCONNECT,
    USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
    Client,
    SSHWorld,
    ed25519_key,
)

# Changes.


def test_a_change_of_the_operators_file_counts_at_the_next_login(w: SSHWorld) -> None:
    path = use_operators(w, "[operators.alice]")
    assert not with_key(begun(w), "web01")
    path.write_text(TWO)
    client = begun(w)
    assert with_key(client, "web01")
    path.write_text(TWO.replace("alice", "carol"))
    client = begun(w)
    assert with_key(client, "web01")
    assert who(client) == "carol"


def test_who_is_removed_loses_the_connections_that_are_open(w: SSHWorld, logged: Logged) -> None:
    w.vm()
    path = use_operators(w, TWO)
    alice, idle, bob = begun(w), begun(w), begun(w)
    assert with_key(alice, "web01")
    assert with_key(idle, "web01")
    assert with_key(bob, "web01,ro", ed25519_key(1))
    alice.attach()
    session = bob.attach()
    path.write_text("nonsense")
    Deferred.fromCoroutine(w.factory.accounts.refresh())
    assert not alice.closed, "the last good file counts"
    path.write_text(TWO.replace("alice", "carol"))
    Deferred.fromCoroutine(w.factory.accounts.refresh())
    for client in (alice, idle):
        client.pump()
        assert good_bye(client) == "you are no longer an operator"
        assert client.closed
    bob.pump()
    assert not bob.closed
    assert not session.ended
    assert w.console().write_access.writer is None
    ended = [(event["who"], event["from"]) for event in w.audited("login-ended")]
    assert ended == [("alice", "10.1.2.9")] * 2
    assert not logged.tracebacks


def test_who_is_removed_while_his_password_is_checked_stays_outside(w: SSHWorld) -> None:
    elsewhere = Elsewhere()
    path = use_operators(w, "[operators.alice]")
    use_source(w, elsewhere)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"s3")))
    path.write_text("[operators.bob]")
    Deferred.fromCoroutine(w.factory.accounts.refresh())
    elsewhere.answer.callback("alice")
    client.pump()
    assert not answered(client)


def test_a_file_that_becomes_wrong_changes_nothing_and_is_an_error_in_the_log(w: SSHWorld, logged: Logged) -> None:
    path = use_operators(w, TWO)
    for wrong in ("nonsense", "[operators.alice]\nkyes = []", "\0"):
        path.write_text(wrong)
        assert with_key(begun(w), "web01")
    path.unlink()
    assert with_key(begun(w), "web01")
    assert any("kyes" in text for text in logged)


def good_bye(client: Client) -> str:
    (text,) = client.taken(DISCONNECT)
    return getNS(text[4:])[0].decode()


# What is told.


def test_the_audit_trail_tells_who_came_in_how_and_from_where(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert with_key(client, "alice:web01")
    (event,) = w.audited()
    fingerprint = event.pop("key")
    assert str(fingerprint).startswith("SHA256:")
    del event["at"]
    assert event == {
        "event": "login",
        "who": "alice",
        "from": "10.1.2.9",
        "front": "ssh",
        "user": "alice:web01",
        "method": "publickey",
    }
    assert interactive(begun(w), "alice")
    assert w.audited()[-1]["method"] == "keyboard-interactive"


def test_no_secret_is_told_to_anybody(w: SSHWorld, logged: Logged) -> None:
    use_operators(w, TWO)
    for user, secret in (("alice", SECRET), ("alice", "hunter2"), ("nobody", "hunter2")):
        password(begun(w), user, secret)
        interactive(begun(w), user, secret)
    told = json.dumps(w.audited()) + "\n".join(logged) + repr(w.factory.accounts.load())
    for word in ("hunter2", SECRET, cheap_hash()):
        assert word not in told
    assert len(w.audited("login-failed")) == 4


def test_what_a_stranger_calls_himself_is_made_safe_and_short(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert not password(client, b"\x1b[2J\n\xff" + b"x" * 900)
    (event,) = w.audited()
    assert str(event["user"]).isprintable()
    assert len(str(event["user"])) <= 80


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from([USERAUTH_REQUEST, INFO_RESPONSE, 60, 51, 52, 63]),
            st.one_of(
                st.binary(max_size=40),
                st.builds(
                    lambda method, rest: request("alice", method, rest),
                    st.sampled_from([b"none", b"password", b"publickey", b"keyboard-interactive", b"hostbased"]),
                    st.one_of(st.binary(max_size=30), st.binary(max_size=30).map(lambda b: b"\1" + NS(b) * 3)),
                ),
            ),
        ),
        max_size=8,
    )
)
def test_nothing_that_a_stranger_says_lets_him_in_or_raises(
    tmp_path_factory: pytest.TempPathFactory, packets: list[tuple[int, bytes]]
) -> None:
    w = SSHWorld(tmp_path_factory.mktemp("w"))
    try:
        use_operators(w, TWO)
        client = begun(w)
        for number, payload in packets:
            if not client.closed:
                client.send(number, payload)
                w.clock.advance(10)
                client.pump()
        assert USERAUTH_SUCCESS not in client.numbers
        client.tcp.closed()
    finally:
        w.front.deadline.stop()
        w.stop()
