"""Bounds of logins: how often, how fast, how many at once."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.common import NS, getNS
from twisted.internet.defer import Deferred

from tests.support.accounts import ED, TWO, Elsewhere, use_source
from tests.support.fakes import Logged
from tests.support.logins import (
    SECRET,
    begun,
    password,
    request,
    use_operators,
    with_key,
)
from tests.support.ssh import (
    DISCONNECT,
    USERAUTH_FAILURE,
    USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
    Client,
    SSHWorld,
    ed25519_key,
)
from vmproxy.auth.limits import WAIT_SECONDS, LoginLimits, Quota
from vmproxy.auth.passwords import AT_ONCE, WAITING_EACH, PasswordFile
from vmproxy.ssh.userauth import QUESTIONS, TRIES


def test_the_answer_to_a_failure_is_held_back_longer_and_longer(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    for before, behind in ((0, 0.5), (0.5, 0.5), (1, 1), (2, 2), (4, 4)):
        client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"wrong")))
        w.clock.advance(before)
        w.clock.advance(behind - 0.01)
        client.pump()
        assert client.got == []
        w.clock.advance(0.02)
        client.pump()
        assert client.taken(USERAUTH_FAILURE)
    other = begun(w)
    assert with_key(other, "web01"), "a good key does not wait"
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"wrong")))
    w.clock.advance(0.5)
    client.pump()
    assert client.taken(USERAUTH_FAILURE), "after a success it begins anew"


def test_a_password_is_not_looked_at_before_the_delay_that_there_is(w: SSHWorld) -> None:
    elsewhere = Elsewhere()
    elsewhere.answer.callback(None)
    use_operators(w, "[operators.alice]")
    use_source(w, elsewhere)
    for _ in range(3):
        assert not password(begun(w), "alice", "wrong")
    client, gone = begun(w), begun(w)
    for each in (client, gone):
        each.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"next")))
    assert len(elsewhere.asked) == 3
    gone.tcp.closed()
    assert len(w.audited("login-failed")) == 4, "who does not wait has tried all the same"
    w.clock.advance(1.99)
    assert len(elsewhere.asked) == 3
    w.clock.advance(0.02)
    assert elsewhere.asked[3:] == [("alice", b"next", "10.1.2.9")], "and gets no answer"


def test_a_try_counts_though_its_client_has_gone_before_it_was_decided(w: SSHWorld, logged: Logged) -> None:
    elsewhere = Elsewhere()
    use_operators(w, "[operators.alice]")
    use_source(w, elsewhere)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"guess")))
    client.tcp.closed()
    assert w.audited() == []
    elsewhere.answer.callback(None)
    (event,) = w.audited("login-failed")
    assert (event["user"], event["method"]) == ("alice", "password")
    assert w.factory.accounts.delays.present("10.1.2.9") > 0
    assert not [call for call in w.clock.getDelayedCalls() if call.func.__name__ == "_resume"]  # type: ignore[attr-defined]  # looked at on purpose
    assert not logged.tracebacks


def test_a_password_of_who_has_gone_is_not_hashed_and_counts(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []
    monkeypatch.setattr("vmproxy.auth.passwords.verify", lambda _, secret: bool(hashed.append(secret)))
    use_operators(w, TWO)
    clients = [begun(w) for _ in range(5)]
    w.threads_held = True
    for client in clients:
        client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"guess")))
        client.tcp.closed()
    w.release_threads()
    assert hashed == []
    assert len(w.audited("login-failed")) == 5
    assert len({str(event["reason"]) for event in w.audited("login-failed")}) == 1


def test_too_many_passwords_at_once_are_no_failure_of_who_tries(w: SSHWorld) -> None:
    use_operators(w, TWO)
    verifying: list[Deferred[object]] = []
    accounts = w.factory.accounts
    accounts.load()
    checker = PasswordFile(accounts._sources._hashes, lambda call: verifying.append(Deferred()) or verifying[-1])
    use_source(w, checker)
    w.factory.accounts.load()
    clients = [begun(w) for _ in range(AT_ONCE + WAITING_EACH)]
    for each in clients:
        each.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"x")))
    assert len(verifying) == AT_ONCE
    client = begun(w)
    for _ in range(TRIES + 2):
        client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(SECRET)))
        assert client.got == [], "it is no way to ask very fast"
        w.clock.advance(0.5)
        client.pump()
        assert client.taken(USERAUTH_FAILURE)
    assert len(w.factory.accounts.delays) == 0
    assert "too many passwords" in str(w.audited("login-failed")[0]["reason"])
    verifying[0].callback(True)
    clients[0].pump()
    assert clients[0].taken(USERAUTH_SUCCESS)


def test_who_may_log_in_cannot_clear_the_failures_of_his_guesses(w: SSHWorld) -> None:
    use_operators(w, TWO)
    for _ in range(3):
        assert not password(begun(w), "alice", "wrong")
        assert with_key(begun(w), "alice", ed25519_key(1)), "bob, on a console of that name"
    assert w.factory.accounts.delays.present("10.1.2.9") == 2
    assert with_key(begun(w), "web01")
    assert w.factory.accounts.delays.present("10.1.2.9") == 0


def good_bye(client: Client) -> str:
    (text,) = client.taken(DISCONNECT)
    return getNS(text[4:])[0].decode()


def test_an_operator_has_so_many_connections_and_no_more(w: SSHWorld) -> None:
    use_operators(w, TWO)
    w.front.logins = Quota(2, 3)
    first, _ = clients = [begun(w) for _ in range(2)]
    assert all(with_key(client, "web01") for client in clients)
    refused = begun(w)
    refused.send(USERAUTH_REQUEST, refused.auth_packet(b"web01", ED))
    assert good_bye(refused) == "too many connections: 2 of yours are open"
    assert USERAUTH_SUCCESS not in refused.numbers
    assert refused.closed
    (event,) = w.audited("login-refused")
    assert (event["who"], event["from"], event["reason"]) == (
        "alice",
        "10.1.2.9",
        "too many connections: 2 of yours are open",
    )
    bob = begun(w)
    assert with_key(bob, "web01", ed25519_key(1))
    other = begun(w)
    other.send(USERAUTH_REQUEST, other.auth_packet(b"web01", ed25519_key(1)))
    assert good_bye(other) == "too many connections: 3 in all are open"
    first.tcp.closed()
    assert with_key(begun(w), "web01")
    assert len(w.audited("login")) == 4
    assert len(w.factory.accounts.delays) == 0


def test_the_last_try_is_answered_with_good_bye(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    for _ in range(TRIES):
        assert not client.closed
        assert not password(client, "alice", "wrong")
    assert client.closed
    assert DISCONNECT in client.numbers


def test_an_agent_with_many_keys_gets_in_and_is_no_failure(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    for number in range(2, 32):
        client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(number), signed=False))
        assert client.taken(USERAUTH_FAILURE), "at once"
    assert with_key(client, "web01")
    assert w.audited("login-failed") == []
    assert len(w.factory.accounts.delays) == 0


def test_a_connection_that_only_asks_about_keys_is_one_failure(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    for number in range(2, 12):
        client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(number), signed=False))
    client.tcp.closed()
    (event,) = w.audited("login-failed")
    assert "not one of the authorized keys" in str(event["reason"])
    client = begun(w)
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(9), signed=False))
    assert client.got == [], "the next one waits"
    w.clock.advance(0.5)
    client.pump()
    assert client.taken(USERAUTH_FAILURE)


def test_questions_have_an_end(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    for _ in range(QUESTIONS):
        client.send(USERAUTH_REQUEST, request("web01", b"none"))
    assert not client.closed
    client.send(USERAUTH_REQUEST, request("alice", b"keyboard-interactive", NS(b"") * 2))
    assert client.closed


def test_a_connection_lost_while_its_answer_is_held_back_leaves_nothing(w: SSHWorld, logged: Logged) -> None:
    use_operators(w, TWO)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"wrong")))
    client.tcp.closed()
    assert not [call for call in w.clock.getDelayedCalls() if call.func.__name__ == "_resume"]  # type: ignore[attr-defined]  # looked at on purpose
    w.clock.advance(100)
    assert not logged.tracebacks


def test_a_connection_lost_while_its_password_is_checked_logs_nobody_in(w: SSHWorld, logged: Logged) -> None:
    use_operators(w, TWO)
    client = begun(w)
    w.threads_held = True
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(SECRET)))
    client.tcp.closed()
    w.release_threads()
    w.release_threads()
    assert w.audited("login") == []
    assert not logged.tracebacks


def test_however_many_log_in_one_thread_reads_the_keys(w: SSHWorld) -> None:
    clients = [begun(w) for _ in range(10)]
    w.threads_held = True
    for client in clients:
        client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key()))
    assert w.waiting_for_threads == 1
    w.release_threads()
    w.release_threads()
    for client in clients:
        client.pump()
        assert client.taken(USERAUTH_SUCCESS)


def test_what_waits_behind_a_slow_try_is_bounded_in_bytes(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    w.threads_held = True
    for _ in range(2):
        client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"x" * 20_000)))
    assert not client.closed
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"x" * 20_000)))
    assert client.closed


def test_the_log_says_each_refusal_once(w: SSHWorld, logged: Logged) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert not with_key(client, "web01", ed25519_key(7), signed=False)
    assert not with_key(client, "web01", ed25519_key(8))
    client.tcp.closed()
    assert len([text for text in logged if "refused" in text]) == 2


def test_connections_of_one_address_that_have_not_logged_in_are_bounded(w: SSHWorld) -> None:
    strangers = [w.connect(key_exchange=False) for _ in range(LoginLimits().per_address)]
    refused = w.connect(key_exchange=False)
    assert not refused.tcp.aborted, "it waits a moment for a place"
    w.clock.advance(WAIT_SECONDS)
    assert refused.tcp.aborted
    assert refused.tcp.buffer == b""
    refused.tcp.closed()
    strangers[0].tcp.closed()
    client = w.login()
    assert w.connect(key_exchange=False).tcp.aborted is False, "who has logged in counts no more"
    assert not client.closed
    assert [event["connections"] for event in w.audited("login-refused")] == [1]
    assert LoginLimits().in_all > LoginLimits().per_address
