"""Every way in, packet by packet: keys, certificates, passwords, prompts; who one is afterwards; what is told of it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS, getNS
from twisted.internet.defer import Deferred

from tests.support.fakes import Logged
from tests.support.logins import (
    INFO_REQUEST,
    INFO_RESPONSE,
    SECRET,
    Authority,
    answered,
    begun,
    certificate_packet,
    cheap_hash,
    interactive,
    line,
    password,
    request,
    use_operators,
    with_certificate,
    with_key,
)
from tests.support.properties import examples
from tests.support.ssh import (
    DISCONNECT,
    FAILURE,
    PK_OK,
    SUCCESS,
    USERAUTH_FAILURE,
    USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
    Client,
    SSHWorld,
    ed25519_key,
    rsa_key,
)
from vmproxy.auth.authenticator import Authenticator, Offer
from vmproxy.auth.authorized_keys import AuthorizedKey
from vmproxy.auth.keyring import AccountSettings
from vmproxy.auth.limits import WAIT_SECONDS, LoginLimits, Quota
from vmproxy.auth.passwords import AT_ONCE, WAITING_EACH, PasswordChecker, PasswordFile
from vmproxy.auth.signatures import verify_signature
from vmproxy.ssh.userauth import QUESTIONS, TRIES

ED = ed25519_key()
DATA = b"what is signed"
TWO = f"""
[operators.alice]
keys = [{line(0)}]
password = '{cheap_hash()}'
groups = ["admins", "night"]
escape = "^]q"
quiet = true

[operators.bob]
keys = [{line(1)}]
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def who(client: Client) -> str:
    return client.operator.name


# Signatures


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


# Keys


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


# Certificates


def ca(authority: Authority, extra: str = "") -> str:
    return f"certificate-authorities = ['{authority.line}']\n{extra}\n[operators.alice]\n[operators.bob]\n"


@pytest.mark.parametrize("user", ["web01", "alice", "alice:web01"])
def test_a_certificate_logs_in_its_principal(w: SSHWorld, authority: Authority, user: str) -> None:
    use_operators(w, ca(authority))
    client = begun(w)
    certificate = authority.certify(ED, "alice")
    assert with_certificate(client, user, ED, certificate)
    assert who(client) == "alice"
    (event,) = w.audited("login")
    assert (event["method"], event["certificate"], event["serial"]) == ("certificate", "the-id", 7)


def test_an_rsa_certificate_is_used_with_the_algorithm_that_was_announced(w: SSHWorld, authority: Authority) -> None:
    use_operators(w, ca(authority))
    certificate = authority.certify(rsa_key(), "alice")
    for algorithm in (b"rsa-sha2-256", b"rsa-sha2-512"):
        assert with_certificate(begun(w), "web01", rsa_key(), certificate, algorithm)
    client = begun(w)
    packet = certificate_packet(client, "web01", rsa_key(), certificate, b"rsa-sha2-256")
    client.send(USERAUTH_REQUEST, packet.replace(b"\x21rsa-sha2-256-cert-", b"\x21rsa-sha2-512-cert-"))
    assert not answered(client)
    assert not with_certificate(client, "web01", ED, certificate), "its key is no Ed25519 key"


def test_the_question_about_a_certificate_is_answered_with_the_certificate(w: SSHWorld, authority: Authority) -> None:
    use_operators(w, ca(authority))
    client = begun(w)
    certificate = authority.certify(ED, "alice")
    asked = NS(b"ssh-ed25519-cert-v01@openssh.com") + NS(certificate)
    client.send(USERAUTH_REQUEST, request("web01", b"publickey", b"\0" + asked))
    assert client.taken(PK_OK) == [asked]
    other = NS(b"rsa-sha2-256-cert-v01@openssh.com") + NS(certificate)
    client.send(USERAUTH_REQUEST, request("web01", b"publickey", b"\0" + other))
    assert client.taken(PK_OK) == [], "its key makes no such signatures"


def test_a_certificate_alone_proves_nothing(w: SSHWorld, authority: Authority) -> None:
    use_operators(w, ca(authority))
    client = begun(w)
    certificate = authority.certify(ED, "alice")
    packet = certificate_packet(client, "web01", ed25519_key(1), certificate)
    client.send(USERAUTH_REQUEST, packet)
    assert not answered(client)


def test_what_a_certificate_does_not_permit_is_not_to_be_had(w: SSHWorld, authority: Authority) -> None:
    w.vm()
    use_operators(w, ca(authority))
    for options, pty, forwarding in (((), True, True), (("clear",), False, False), (("no-pty",), False, True)):
        client = begun(w)
        words = [word for option in options for word in ("-O", option)]
        assert with_certificate(client, "web01", ED, authority.certify(ED, "alice", *words))
        channel = client.open()
        channel.request(b"pty-req", NS(b"xterm") + struct.pack(">4L", 80, 24, 0, 0) + NS(b""))
        assert channel.replies == [SUCCESS if pty else FAILURE]
        refusal = client.raw("web01").refusal
        assert refusal is None if forwarding else refusal == "this key may not be used for raw streams"
        client.tcp.closed()


def test_of_several_principals_the_user_name_says_which_is_meant(w: SSHWorld, authority: Authority) -> None:
    use_operators(w, ca(authority))
    certificate = authority.certify(ED, "root,alice,bob")
    for user in ("bob", "bob:web01"):
        client = begun(w)
        assert with_certificate(client, user, ED, certificate)
        assert who(client) == "bob"
    assert not with_certificate(begun(w), "web01", ED, certificate)
    assert "alice:CONSOLE" in str(w.audited("login-failed")[0]["reason"])
    assert not with_certificate(begun(w), "root:web01", ED, certificate), "root is no operator"


@pytest.mark.parametrize(
    ("principals", "user", "options"),
    [
        ("carol", "web01", ()),
        ("alice", "bob:web01", ()),
        ("", "web01", ()),
        ("alice", "alice", ("-V", "20200101:20200102")),
        ("alice", "alice", ("-O", "source-address=192.0.2.0/24")),
        ("alice", "alice", ("-h",)),
    ],
)
def test_a_certificate_that_will_not_do_is_refused(
    w: SSHWorld, authority: Authority, principals: str, user: str, options: tuple[str, ...], logged: Logged
) -> None:
    use_operators(w, ca(authority))
    certificate = authority.certify(ED, principals, *options)
    assert not with_certificate(begun(w), user, ED, certificate)
    assert not logged.tracebacks


def test_a_certificate_is_refused_where_no_authority_is_trusted_or_it_is_revoked(
    w: SSHWorld, authority: Authority
) -> None:
    certificate = authority.certify(ED, "alice")
    use_operators(w, "[operators.alice]")
    assert not with_certificate(begun(w), "web01", ED, certificate)
    (w.folder / "revoked").write_text("serial: 7\n")
    use_operators(w, ca(authority, "revoked-keys = 'revoked'"))
    assert not with_certificate(begun(w), "web01", ED, certificate)


# Passwords


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


class Elsewhere:
    """Another source of passwords, slow and sometimes not there."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, str]] = []
        self.answer: Deferred[str | None] = Deferred()

    async def check(self, name: str, secret: bytes, address: str, wanted: Callable[[], bool]) -> str | None:
        self.asked.append((name, secret, address))
        return await self.answer


def use_source(w: SSHWorld, source: PasswordChecker) -> None:
    """Have another source of passwords asked, from now on."""
    path = w.folder / "operators.toml"
    accounts = Authenticator(AccountSettings(path), "nobody", w.services.in_thread, w.clock, w.audit.record, source)
    w.factory.use_accounts(accounts)


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


# Changes


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


# Bounds


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
    checker = PasswordFile(accounts._passwords, lambda call: verifying.append(Deferred()) or verifying[-1])
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


# What is told


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
