"""Certificates, packet by packet: whom they let in, and with which rights."""

from __future__ import annotations

import struct

import pytest
from twisted.conch.ssh.common import NS

from tests.support.accounts import ED, who
from tests.support.fakes import Logged
from tests.support.logins import (
    Authority,
    answered,
    begun,
    certificate_packet,
    request,
    use_operators,
    with_certificate,
)
from tests.support.ssh import (
    FAILURE,
    PK_OK,
    SUCCESS,
    USERAUTH_REQUEST,
    SSHWorld,
    ed25519_key,
    rsa_key,
)


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
