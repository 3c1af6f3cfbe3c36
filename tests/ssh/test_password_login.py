"""Passwords, packet by packet: whom they let in, and that all refusals look alike."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from twisted.conch.ssh.common import NS

from tests.support.accounts import TWO, Elsewhere, use_source, who
from tests.support.fakes import Logged
from tests.support.logins import (
    INFO_REQUEST,
    INFO_RESPONSE,
    SECRET,
    answered,
    begun,
    interactive,
    password,
    request,
    use_operators,
    with_key,
)
from tests.support.ssh import (
    USERAUTH_FAILURE,
    USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
    SSHWorld,
    ed25519_key,
)


@pytest.mark.parametrize("user", ["alice", "alice:web01", "alice+web01,ro"])
@pytest.mark.parametrize("way", [password, interactive])
def test_a_password_logs_in_whom_the_user_name_names(w: SSHWorld, user: str, way: Callable[..., bool]) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert way(client, user)
    assert who(client) == "alice"


@pytest.mark.parametrize("way", [password, interactive])
@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ("alice", "wrong"),
        ("alice", ""),
        ("alice", "x" * 1025),
        ("alice", SECRET + "\0"),
        ("web01", SECRET),
        ("bob", SECRET),
        ("bob", ""),
        ("carol:web01", SECRET),
        (":web01", SECRET),
        ("", SECRET),
    ],
)
def test_anything_else_is_refused_and_looks_alike(
    w: SSHWorld, user: str, secret: str, way: Callable[..., bool]
) -> None:
    use_operators(w, TWO)
    assert not way(begun(w), user, secret)


def test_passwords_are_offered_only_if_somebody_has_one(w: SSHWorld) -> None:
    path = use_operators(w, TWO)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("x", b"none"))
    assert client.taken(USERAUTH_FAILURE) == [NS(b"publickey,password,keyboard-interactive") + b"\0"]
    path.write_text("[operators.alice]")
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("x", b"none"))
    assert client.taken(USERAUTH_FAILURE) == [NS(b"publickey") + b"\0"]
    client.send(USERAUTH_REQUEST, request("x", b"keyboard-interactive", NS(b"") * 2))
    assert client.taken(INFO_REQUEST) == []


def test_a_request_to_change_the_password_is_refused(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\1" + NS(SECRET) + NS(b"new")))
    assert not answered(client)


def test_the_prompt_hides_what_is_typed_and_tells_nothing(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    asked = []
    for user in ("alice", "nobody"):
        client.send(USERAUTH_REQUEST, request(user, b"keyboard-interactive", NS(b"") * 2))
        asked += client.taken(INFO_REQUEST)
    assert asked == [NS(b"") * 3 + struct.pack(">L", 1) + NS(b"Password: ") + b"\0"] * 2


@pytest.mark.parametrize(
    "answer", [b"", b"\0", struct.pack(">L", 0), struct.pack(">L", 2) + NS(SECRET) * 2, b"\xff" * 8]
)
def test_an_answer_that_does_not_fit_the_prompt_ends_the_connection(w: SSHWorld, answer: bytes, logged: Logged) -> None:
    use_operators(w, TWO)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"keyboard-interactive", NS(b"") * 2))
    client.send(INFO_RESPONSE, answer)
    assert not answered(client)
    assert not logged.tracebacks


def test_an_answer_counts_once_and_only_to_a_prompt(w: SSHWorld) -> None:
    use_operators(w, TWO)
    right = struct.pack(">L", 1) + NS(SECRET)
    client = begun(w)
    client.send(INFO_RESPONSE, right)
    assert client.closed
    client = begun(w)
    assert not interactive(client, "alice", "wrong")
    client.send(INFO_RESPONSE, right)
    assert client.closed


def test_a_new_request_gives_up_the_prompt(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"keyboard-interactive", NS(b"") * 2))
    client.send(USERAUTH_REQUEST, request("bob", b"none"))
    client.send(INFO_RESPONSE, struct.pack(">L", 1) + NS(SECRET))
    assert client.closed
    assert USERAUTH_SUCCESS not in client.numbers


def test_a_login_by_password_while_a_key_was_asked_about_is_one_login(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert not with_key(client, "alice", ed25519_key(5), signed=False)
    assert interactive(client, "alice")
    assert [event["event"] for event in w.audited()] == ["login"]


def test_passwords_may_come_from_elsewhere(w: SSHWorld) -> None:
    elsewhere = Elsewhere()
    use_operators(w, "[operators.alice]")
    use_source(w, elsewhere)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice:web01", b"password", b"\0" + NS(b"s3")))
    assert client.got == []
    elsewhere.answer.callback("alice")
    client.pump()
    assert answered(client)
    assert elsewhere.asked == [("alice", b"s3", "10.1.2.9")]


def test_somebody_whom_another_source_knows_but_the_file_does_not_stays_outside(w: SSHWorld) -> None:
    elsewhere = Elsewhere()
    elsewhere.answer.callback("mallory")
    use_operators(w, "[operators.alice]")
    use_source(w, elsewhere)
    assert not password(begun(w), "mallory")


def test_a_source_that_fails_with_a_bug_costs_that_connection_and_is_logged(w: SSHWorld, logged: Logged) -> None:
    elsewhere = Elsewhere()
    elsewhere.answer.errback(ZeroDivisionError())
    use_operators(w, "[operators.alice]")
    use_source(w, elsewhere)
    client = begun(w)
    client.send(USERAUTH_REQUEST, request("alice", b"password", b"\0" + NS(b"s3")))
    assert client.closed
    assert len(logged.tracebacks) == 1
