"""Keys, packet by packet: what a signature must be, and whom it lets in."""

from __future__ import annotations

import struct
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from twisted.conch.ssh.common import NS
from twisted.internet.defer import Deferred

from tests.support.accounts import ED, TWO, who
from tests.support.fakes import Logged
from tests.support.logins import (
    answered,
    begun,
    line,
    request,
    use_operators,
    with_key,
)
from tests.support.ssh import (
    PK_OK,
    USERAUTH_REQUEST,
    SSHWorld,
    ed25519_key,
    rsa_key,
)
from vmproxy.auth.authenticator import Offer
from vmproxy.auth.authorized_keys import AuthorizedKey
from vmproxy.auth.signatures import verify_signature

DATA = b"what is signed"


# Signatures.


def test_rsa_keys_sign_with_sha2_of_the_size_that_was_agreed_to() -> None:
    key = AuthorizedKey(rsa_key().public().blob())
    for algorithm in (b"rsa-sha2-256", b"rsa-sha2-512"):
        assert verify_signature(key, algorithm, rsa_key().sign(DATA, algorithm), DATA)
    assert not verify_signature(key, b"rsa-sha2-512", rsa_key().sign(DATA, b"rsa-sha2-256"), DATA)


@pytest.mark.parametrize("announced", [b"ssh-rsa", b"rsa-sha2-256", b"rsa-sha2-512"])
def test_a_sha1_signature_is_refused_whatever_it_is_announced_as(announced: bytes) -> None:
    raw = rsa_key()._keyObject.sign(DATA, padding.PKCS1v15(), hashes.SHA1())
    assert not verify_signature(AuthorizedKey(rsa_key().public().blob()), announced, NS(b"ssh-rsa") + NS(raw), DATA)


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        NS(b"ssh-ed25519") + NS(b"\0" * 64),
        NS(b"ssh-ed25519") + NS(b""),
        NS(b"ssh-ed25519"),
        b"\0",
        b"\xff" * 40,
        b"x" * 40,  # conch takes any 40 bytes for a DSA signature
        NS(b"ssh-dss") + NS(b"\0" * 40),
        NS(b"nonsense") + NS(b"\0" * 64),
        ed25519_key(1).sign(DATA),
        ED.sign(DATA + b"."),
    ],
)
def test_a_signature_that_proves_nothing_is_refused(forged: bytes, logged: Logged) -> None:
    key = AuthorizedKey(ED.public().blob())
    assert verify_signature(key, b"ssh-ed25519", ED.sign(DATA), DATA)
    assert not verify_signature(key, b"ssh-ed25519", forged, DATA)
    assert not logged.tracebacks


SECURITY_KEY = NS(b"sk-ssh-ed25519@openssh.com") + NS(ED.public().blob()[-32:]) + NS(b"ssh:")


def security_key_signs(flags: int, data: bytes = DATA) -> bytes:
    tail = bytes([flags]) + struct.pack(">L", 9)
    raw = ED._keyObject.sign(sha256(b"ssh:").digest() + tail + sha256(data).digest())
    return NS(b"sk-ssh-ed25519@openssh.com") + NS(raw) + tail


@pytest.mark.parametrize(("flags", "good"), [(1, True), (5, True), (0, False), (4, False)])
def test_a_security_key_must_have_been_touched(flags: int, good: bool) -> None:
    # Without the user-presence bit any program on the operator's machine could have made the signature.
    key = AuthorizedKey(SECURITY_KEY)
    assert verify_signature(key, b"sk-ssh-ed25519@openssh.com", security_key_signs(flags), DATA) is good


def test_what_else_a_security_key_must_have_done_is_said_with_the_key() -> None:
    untouched = AuthorizedKey(SECURITY_KEY, touch_required=False)
    known = AuthorizedKey(SECURITY_KEY, verify_required=True)
    algorithm = b"sk-ssh-ed25519@openssh.com"
    assert verify_signature(untouched, algorithm, security_key_signs(0), DATA)
    assert not verify_signature(known, algorithm, security_key_signs(1), DATA)
    assert verify_signature(known, algorithm, security_key_signs(5), DATA)
    assert not verify_signature(known, algorithm, security_key_signs(5)[:-1], DATA)
    assert not verify_signature(known, algorithm, security_key_signs(5) + b"\0", DATA)


def test_a_security_key_logs_in(w: SSHWorld) -> None:
    import base64

    text = base64.b64encode(SECURITY_KEY).decode()
    use_operators(w, f"[operators.alice]\nkeys = ['sk-ssh-ed25519@openssh.com {text}']")
    client = begun(w)
    body = request("web01", b"publickey", b"\1" + NS(b"sk-ssh-ed25519@openssh.com") + NS(SECURITY_KEY))
    assert client.sessionID is not None
    signed = NS(client.sessionID) + bytes([USERAUTH_REQUEST]) + body
    client.send(USERAUTH_REQUEST, body + NS(security_key_signs(1, signed)))
    assert answered(client)


# Keys.


@pytest.mark.parametrize("user", ["web01", "alice", "alice:web01", "alice+web01,ro", "", "web01,ro", "bob"])
def test_the_key_says_who_it_is(w: SSHWorld, user: str) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert with_key(client, user)
    assert who(client) == "alice"


@pytest.mark.parametrize("user", ["bob:web01", "Alice:web01", "alice :web01", ":web01", "bob+", "carol:x"])
def test_a_claim_to_be_somebody_else_is_refused_with_and_without_a_signature(w: SSHWorld, user: str) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert not with_key(client, user)
    assert not with_key(client, user, signed=False)
    assert client.taken(PK_OK) == []


def test_a_user_name_that_is_another_operators_is_the_name_of_a_console_and_nothing_else(w: SSHWorld) -> None:
    w.vm("bob")
    use_operators(w, TWO)
    client = begun(w)
    assert with_key(client, "bob")
    assert client.attach().screen.endswith(b"[attached]\r\n")
    assert w.console("bob").write_access.writer.who == "alice@10.1.2.9"


def test_the_avatar_knows_the_groups_the_escape_and_quiet(w: SSHWorld) -> None:
    use_operators(w, TWO)
    client = begun(w)
    assert with_key(client, "web01")
    operator = client.operator
    assert (operator.groups, operator.escape, operator.quiet) == (("admins", "night"), b"\x1dq", True)


def test_an_rsa_key_is_asked_about_and_used_by_its_sha2_algorithms_only(w: SSHWorld) -> None:
    from tests.support.ssh import authorized_line

    use_operators(w, f"[operators.alice]\nkeys = ['{authorized_line(rsa_key()).decode()}']")
    client = begun(w)
    for algorithm, taken in ((b"ssh-rsa", 0), (b"ssh-ed25519", 0), (b"rsa-sha2-256", 1), (b"rsa-sha2-512", 1)):
        client.send(USERAUTH_REQUEST, client.auth_packet(b"x", rsa_key(), algorithm=algorithm, signed=False))
        w.clock.advance(10)
        client.pump()
        assert len(client.taken(PK_OK)) == taken
    assert with_key(client, "x", rsa_key(), algorithm=b"rsa-sha2-512")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ('from="192.0.2.0/24"', "may not be used from 10.1.2.9"),
        ('expiry-time="20200101"', "expired at 2020"),
    ],
)
def test_an_option_of_a_key_is_enforced_and_the_reason_is_told_to_us_alone(
    w: SSHWorld, options: str, reason: str, logged: Logged
) -> None:
    use_operators(w, f"[operators.alice]\nkeys = [{line(0, options)}]")
    client = begun(w)
    assert not with_key(client, "web01", signed=False)
    assert not with_key(client, "web01")
    assert client.taken(PK_OK) == []
    assert reason in str(w.audited("login-failed")[0]["reason"])
    assert any(reason in text for text in logged)


def test_one_of_several_lines_of_a_key_is_enough(w: SSHWorld) -> None:
    bad, good = line(0, 'from="192.0.2.0/24"'), line(0, 'from="10.1.2.*",restrict,pty')
    use_operators(w, f"[operators.alice]\nkeys = [{bad}, {good}]")
    client = begun(w)
    assert with_key(client, "web01")


@pytest.mark.parametrize(
    ("options", "pty", "forwarding"),
    [
        ("", True, True),
        ("restrict", False, False),
        ("restrict,pty", True, False),
        ("no-pty", False, True),
        ("no-port-forwarding", True, False),
    ],
)
def test_what_a_key_is_restricted_to_goes_with_the_account(
    w: SSHWorld, options: str, pty: bool, forwarding: bool
) -> None:
    use_operators(w, f"[operators.alice]\nkeys = [{line(0, options)}]")
    offers: list[Offer] = []
    work = w.factory.accounts.offer("web01", b"ssh-ed25519", ED.public().blob(), "10.1.2.9")
    Deferred.fromCoroutine(work).addCallback(offers.append)
    assert (offers[0].account.pty, offers[0].account.forwarding) == (pty, forwarding)


def test_a_revoked_key_is_refused(w: SSHWorld) -> None:
    revoked = w.folder / "revoked"
    revoked.write_text(line(1).strip("'"))
    use_operators(w, f'revoked-keys = "revoked"\n{TWO}')
    assert with_key(begun(w), "web01")
    revoked.write_text(line(0).strip("'"))
    assert not with_key(begun(w), "web01")
    assert "revoked" in str(w.audited("login-failed")[0]["reason"])
    revoked.unlink()
    assert not with_key(begun(w), "web01", ed25519_key(1)), "what cannot be read revokes everything"


def test_a_key_of_two_operators_lets_nobody_in(w: SSHWorld, logged: Logged) -> None:
    (w.folder / "more").write_text(line(0).strip("'"))
    use_operators(w, TWO + '\nkeys-file = "more"')
    assert not with_key(begun(w), "web01")
    assert with_key(begun(w), "web01", ed25519_key(1))
    assert any("alice and bob have the same key" in text for text in logged)


def test_a_connection_without_an_operators_file_logs_in_the_owner(w: SSHWorld) -> None:
    client = begun(w)
    assert with_key(client, "web01")
    assert who(client) == "alice"
