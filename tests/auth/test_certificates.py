"""Certificates that the real ssh-keygen made: the good ones, and what is wrong with the others."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ADDRESS, NOW, VALID_FROM, VALID_TO, Keygen, make_keygen, string
from vmproxy.auth import certificates
from vmproxy.auth.certificates import (
    CERTIFICATE_LIMIT,
    SIGNATURE_OF,
    BadCertificate,
    Certificate,
    check_certificate,
)
from vmproxy.auth.public_keys import fingerprint
from vmproxy.auth.revocation import Revoked, parse_revoked

AUTHORITIES = ["ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa-2048"]

# One good certificate, for what needs no ssh-keygen: signed by AUTHORITY for alice, valid in 2025.
AUTHORITY = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIMA1oRiAc/ddbqnB7IiRv8dYdR5LlvkTVw7qrnT7lq+p")
GOOD = base64.b64decode(
    "AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAINpp1qppQHwNEECRvoUMn2Pk2Pnq2f0JgJJrrsxRxehJAAAA"
    "IJAjlp0fO/FAn+RfRMZrwmnIS24bvBTPgxGkgICmqNm9AAAAAAAAAAcAAAABAAAADWFsaWNlQGV4YW1wbGUAAAAJAAAABWFsaWNl"
    "AAAAAGd0hYAAAAAAaVW5AAAAAAAAAACCAAAAFXBlcm1pdC1YMTEtZm9yd2FyZGluZwAAAAAAAAAXcGVybWl0LWFnZW50LWZvcndh"
    "cmRpbmcAAAAAAAAAFnBlcm1pdC1wb3J0LWZvcndhcmRpbmcAAAAAAAAACnBlcm1pdC1wdHkAAAAAAAAADnBlcm1pdC11c2VyLXJj"
    "AAAAAAAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIMA1oRiAc/ddbqnB7IiRv8dYdR5LlvkTVw7qrnT7lq+pAAAAUwAAAAtzc2gt"
    "ZWQyNTUxOQAAAEAl/u5Ca0qqvkHQk/xms1PBNq/ja0vDxm23uwz9uK+FOPXCq5cVVROyO/myYorDnB5ceYxuY4l2YyPg7hb8+r4O"
)


@pytest.fixture(scope="module")
def keygen(tmp_path_factory: pytest.TempPathFactory) -> Keygen:
    return make_keygen(tmp_path_factory)


def check(
    keygen: Keygen,
    blob: bytes,
    *,
    revoked: Revoked | None = None,
    address: str = ADDRESS,
    now: float = NOW,
) -> Certificate:
    """The verdict where all authorities of the tests are trusted."""
    trusted = {keygen.blob(kind, "ca") for kind in AUTHORITIES}
    return check_certificate(blob, trusted, revoked or Revoked(), address, now)


def check_good(blob: bytes) -> Certificate:
    return check_certificate(blob, {AUTHORITY}, Revoked(), ADDRESS, NOW)


# Good ones


@pytest.mark.parametrize("authority", AUTHORITIES)
@pytest.mark.parametrize("user", ["ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa-2048"])
def test_a_good_certificate_of_every_kind_of_key_and_authority(keygen: Keygen, user: str, authority: str) -> None:
    got = check(keygen, keygen.certificate(user=user, authority=authority, principals="alice,ops", serial=2**64 - 1))
    assert got == Certificate(
        principals=("alice", "ops"),
        key_id="alice@example",
        serial=2**64 - 1,
        key_blob=keygen.blob(user),
        authority=fingerprint(keygen.blob(authority, "ca")),
        pty=True,
        forwarding=True,
    )


@pytest.mark.parametrize("algorithm", ["rsa-sha2-256", "rsa-sha2-512"])
def test_an_rsa_authority_may_sign_with_either_sha2(keygen: Keygen, algorithm: str) -> None:
    assert check(keygen, keygen.certificate("-t", algorithm, authority="rsa-2048")).principals == ("alice",)


def test_the_certificate_that_is_written_here_is_good() -> None:
    assert check_good(GOOD).principals == ("alice",)


def test_what_the_audit_trail_says_of_it(keygen: Keygen) -> None:
    assert check(keygen, keygen.certificate()).fields() == {
        "certificate": "alice@example",
        "serial": 7,
        "key": fingerprint(keygen.blob("ed25519")),
        "authority": fingerprint(keygen.blob("ed25519", "ca")),
    }


def test_fingerprints_are_those_that_ssh_keygen_shows(keygen: Keygen) -> None:
    assert fingerprint(keygen.blob("ed25519")) == keygen.run("-l", "-f", keygen.public("ed25519")).split()[1]


def test_one_that_is_valid_for_ever(keygen: Keygen) -> None:
    assert check(keygen, keygen.certificate(valid="always:forever"), now=0).serial == 7
    assert check(keygen, keygen.certificate(valid="always:forever"), now=2.0**62).serial == 7


def test_it_is_valid_from_its_first_second_to_the_one_before_its_last(keygen: Keygen) -> None:
    blob = keygen.certificate()
    assert check(keygen, blob, now=VALID_FROM)
    assert check(keygen, blob, now=VALID_TO - 0.5)
    with pytest.raises(BadCertificate, match=r"expired at 2026-01-01 00:00:00Z"):
        check(keygen, blob, now=VALID_TO)
    with pytest.raises(BadCertificate, match=r"not valid before 2025-01-01 00:00:00Z"):
        check(keygen, blob, now=VALID_FROM - 0.5)


@pytest.mark.parametrize(
    ("sources", "address"),
    [
        ("10.0.0.0/8", ADDRESS),
        ("10.1.2.3", ADDRESS),
        ("192.168.0.0/16,10.1.2.3/32", ADDRESS),
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("2001:db8::/32", "2001:db8::17"),
        ("2001:db8::/32,10.0.0.0/8", "2001:DB8:0::17"),
        ("fe80::/10", "fe80::1%eth0"),
    ],
)
def test_it_may_be_used_from_its_source_addresses(keygen: Keygen, sources: str, address: str) -> None:
    assert check(keygen, keygen.certificate("-O", f"source-address={sources}"), address=address)


@pytest.mark.parametrize(
    ("options", "pty", "forwarding"),
    [
        ([], True, True),
        (["clear"], False, False),
        (["clear", "permit-pty"], True, False),
        (["no-pty"], False, True),
        (["clear", "permit-agent-forwarding", "permit-X11-forwarding", "permit-user-rc"], False, False),
    ],
)
def test_what_it_does_not_allow_is_denied(keygen: Keygen, options: list[str], pty: bool, forwarding: bool) -> None:
    found = check(keygen, keygen.certificate(*(word for option in options for word in ("-O", option))))
    assert (found.pty, found.forwarding) == (pty, forwarding)


def test_other_extensions_neither_help_nor_hinder(keygen: Keygen) -> None:
    blob = keygen.certificate("-O", "clear", "-O", "extension:of@example.com=some value", "-O", "no-touch-required")
    assert check(keygen, blob).principals == ("alice",)


def test_several_names_of_which_one_is_no_text(keygen: Keygen) -> None:
    blob = keygen.certificate(principals=os_text(b"\xff\xfe") + ",alice")
    assert check(keygen, blob).principals == ("alice",)


def os_text(data: bytes) -> str:
    """What becomes these bytes when it is handed to a program."""
    return data.decode("utf-8", "surrogateescape")


def test_an_id_is_safe_to_show(keygen: Keygen) -> None:
    assert check(keygen, keygen.certificate(key_id="a\x1b[2Jb\nc")).key_id == r"a\x1b[2Jb\x0ac"


# Bad ones


def refused(keygen: Keygen, blob: bytes, why: str, **how: Any) -> None:
    with pytest.raises(BadCertificate, match=why):
        check(keygen, blob, **how)


def test_one_for_a_host(keygen: Keygen) -> None:
    refused(keygen, keygen.certificate("-h"), "for a host, not for a user")


def test_an_authority_that_is_not_trusted(keygen: Keygen) -> None:
    blob = keygen.certificate()
    with pytest.raises(BadCertificate, match="not a trusted authority"):
        check_certificate(blob, {keygen.blob("ecdsa-256", "ca")}, Revoked(), ADDRESS, NOW)
    # A user's key signs, which is trusted to log in and not to let others in.
    with pytest.raises(BadCertificate, match="not a trusted authority"):
        check_certificate(blob, {keygen.blob("ed25519")}, Revoked(), ADDRESS, NOW)
    with pytest.raises(BadCertificate, match="not a trusted authority"):
        check_certificate(blob, frozenset(), Revoked(), ADDRESS, NOW)


def test_the_library_is_not_asked_before_the_authority_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(certificates, "load_ssh_public_identity", asked.append)
    with pytest.raises(BadCertificate, match="not a trusted authority"):
        check_certificate(GOOD, frozenset(), Revoked(), ADDRESS, NOW)
    assert asked == []


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_a_signature_by_another_key_than_it_says(keygen: Keygen, authority: str) -> None:
    blob = keygen.certificate(authority=authority, serial=7)
    other = keygen.certificate(authority=authority, serial=8)
    # The one's content with the other's signature.
    forged = blob[: -len(last_string(blob))] + last_string(other)
    refused(keygen, forged, "signature is wrong|malformed")


def last_string(certificate: bytes) -> bytes:
    """The signature at the end of a certificate, with its length."""
    for at in range(len(certificate) - 4, 0, -1):
        if int.from_bytes(certificate[at : at + 4], "big") == len(certificate) - at - 4:
            body = certificate[at + 4 :]
            if body[4:].startswith((b"ssh-", b"rsa-", b"ecdsa-")):
                return certificate[at:]
    raise AssertionError("no signature found")


def test_a_signature_with_sha1(keygen: Keygen) -> None:
    blob = keygen.certificate("-t", "ssh-rsa", authority="rsa-2048")
    refused(keygen, blob, "algorithm of the authority's signature is not accepted: ssh-rsa")


def test_no_principals(keygen: Keygen) -> None:
    refused(keygen, keygen.certificate(principals=None), "names no principals")


def test_no_principal_that_is_a_name(keygen: Keygen) -> None:
    refused(keygen, keygen.certificate(principals=os_text(b"\xff")), "none of its principals is a name")


def test_a_principal_elsewhere_than_among_the_principals_is_none(keygen: Keygen) -> None:
    blob = keygen.certificate("-O", "extension:alice", principals="bob", key_id="alice")
    assert check(keygen, blob).principals == ("bob",)
    refused(keygen, keygen.certificate(principals=None, key_id="alice"), "names no principals")


def test_force_command(keygen: Keygen) -> None:
    refused(keygen, keygen.certificate("-O", "force-command=/bin/true"), "force-command")


@pytest.mark.parametrize("option", ["critical:foo", "critical:foo=bar", "critical:Source-Address=10.0.0.0/8"])
def test_critical_options_that_are_not_known(keygen: Keygen, option: str) -> None:
    refused(keygen, keygen.certificate("-O", option), "critical option that is not known: (foo|Source-Address)")


def test_a_known_critical_option_does_not_excuse_an_unknown_one(keygen: Keygen) -> None:
    blob = keygen.certificate("-O", "source-address=10.0.0.0/8", "-O", "critical:zzz")
    refused(keygen, blob, "not known: zzz")


def test_verify_required_with_a_key_that_cannot(keygen: Keygen) -> None:
    refused(keygen, keygen.certificate("-O", "verify-required"), "verify-required")


@pytest.mark.parametrize("address", ["11.1.2.3", "::1", "::ffff:11.1.2.3", "web.example.com", "", "unix", "10.1.2.3.4"])
def test_another_source_address(keygen: Keygen, address: str) -> None:
    blob = keygen.certificate("-O", "source-address=10.0.0.0/8,fe80::/10")
    refused(keygen, blob, "not for use from", address=address)


@pytest.mark.parametrize("value", ["nonsense", "10.0.0.1/8", "10.0.0.0/33", "10.*", "!10.0.0.0/8", ",", "0/0", "\x7f"])
def test_source_addresses_that_make_no_sense_let_nobody_in(keygen: Keygen, value: str) -> None:
    refused(keygen, keygen.certificate("-O", f"critical:source-address={value}"), "source-address that makes no sense")


def test_a_source_address_list_without_anything(keygen: Keygen) -> None:
    refused(keygen, keygen.certificate("-O", "critical:source-address"), "source-address that makes no sense")


def test_an_rsa_key_that_is_too_short(keygen: Keygen) -> None:
    refused(keygen, keygen.certificate(user="rsa-1024"), "its key is an RSA key of 1024 bits")


def test_an_rsa_authority_that_is_too_short(keygen: Keygen) -> None:
    blob = keygen.certificate(authority="rsa-1024")
    with pytest.raises(BadCertificate, match="its authority is an RSA key of 1024 bits"):
        check_certificate(blob, {keygen.blob("rsa-1024", "ca")}, Revoked(), ADDRESS, NOW)


def test_one_for_a_security_key_is_refused_with_the_reason(keygen: Keygen) -> None:
    blob = keygen.certificate(public=keygen.security_key())
    refused(keygen, blob, "for a security key; such certificates cannot be checked")


def test_one_by_a_security_key_is_refused_with_the_reason(keygen: Keygen) -> None:
    blob = keygen.certificate()
    security = base64.b64decode(keygen.security_key().read_bytes().split()[1])
    ours = keygen.blob("ed25519", "ca")
    forged = blob.replace(string(ours), string(security))
    assert forged != blob
    with pytest.raises(BadCertificate, match="signed by a security key"):
        check_certificate(forged, {security}, Revoked(), ADDRESS, NOW)


def test_something_behind_its_end() -> None:
    for more in (b"\0", b"\0\0\0\0", string(b"x"), GOOD):
        with pytest.raises(BadCertificate, match="malformed: data after its end"):
            check_good(GOOD + more)


def test_one_that_is_cut_short_anywhere() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(BadCertificate, match="malformed"):
            check_good(GOOD[:length])


def test_one_in_which_any_byte_was_changed() -> None:
    for at in range(len(GOOD)):
        for change in (1, 0x80, 0xFF):
            with pytest.raises(BadCertificate):
                check_good(GOOD[:at] + bytes([GOOD[at] ^ change]) + GOOD[at + 1 :])


@pytest.mark.parametrize("authority", ["ecdsa-256", "rsa-2048"])
def test_one_in_which_a_byte_of_what_is_signed_was_changed(keygen: Keygen, authority: str) -> None:
    blob = keygen.certificate(authority=authority, user="rsa-2048")
    for at in range(0, len(blob) - 8, 7):
        refused(keygen, blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :], ".")


def test_a_plain_key_is_no_certificate(keygen: Keygen) -> None:
    refused(keygen, keygen.blob("ed25519"), "malformed: not a certificate")


@pytest.mark.parametrize(
    "kind", [b"ssh-dss-cert-v01@openssh.com", b"ssh-rsa-cert-v00@openssh.com", b"-cert-v01@openssh.com"]
)
def test_types_that_are_not_accepted(kind: bytes) -> None:
    with pytest.raises(BadCertificate, match="malformed: not a certificate for a type of key that is supported"):
        check_good(GOOD.replace(string(b"ssh-ed25519-cert-v01@openssh.com"), string(kind)))


def test_one_that_is_too_long() -> None:
    with pytest.raises(BadCertificate, match="longer than"):
        check_good(GOOD + bytes(CERTIFICATE_LIMIT))


def test_too_many_principals(keygen: Keygen, monkeypatch: pytest.MonkeyPatch) -> None:
    # ssh-keygen itself makes no more than 256.
    monkeypatch.setattr(certificates, "PRINCIPALS_LIMIT", 2)
    assert check(keygen, keygen.certificate(principals="a,b"))
    refused(keygen, keygen.certificate(principals="a,b,c"), "more than 2 principals")


def test_a_reason_names_the_certificate_where_its_authority_vouches_for_the_name(keygen: Keygen) -> None:
    blob = keygen.certificate(key_id="alice\n@laptop")
    refused(keygen, blob, re.escape(r"(certificate 'alice\\x0a@laptop', serial 7)"), now=VALID_TO)


# Revoked ones


def test_the_key_is_revoked(keygen: Keygen) -> None:
    revoked = parse_revoked(keygen.public("ed25519").read_bytes(), "f")
    refused(keygen, keygen.certificate(), "the key SHA256:.* is revoked", revoked=revoked)
    assert check(keygen, keygen.certificate(user="ecdsa-256"), revoked=revoked)


def test_the_authority_is_revoked(keygen: Keygen) -> None:
    revoked = parse_revoked(keygen.public("ed25519", "ca").read_bytes(), "f")
    refused(keygen, keygen.certificate(), "its authority SHA256:.* is revoked", revoked=revoked)
    assert check(keygen, keygen.certificate(authority="ecdsa-256"), revoked=revoked)


def test_its_serial_number_is_revoked(keygen: Keygen) -> None:
    revoked = parse_revoked(b"serial: 7", "f")
    refused(keygen, keygen.certificate(serial=7), "its serial number 7 is revoked", revoked=revoked)
    assert check(keygen, keygen.certificate(serial=8), revoked=revoked)


def test_its_id_is_revoked(keygen: Keygen) -> None:
    revoked = parse_revoked(b"id: alice@example", "f")
    refused(keygen, keygen.certificate(), "its id alice@example is revoked", revoked=revoked)
    assert check(keygen, keygen.certificate(key_id="alice@example2"), revoked=revoked)


def test_everything_is_revoked_if_the_list_cannot_be_understood(keygen: Keygen) -> None:
    revoked = parse_revoked(b"what?", "the-list")
    refused(keygen, keygen.certificate(), "the-list: line 1", revoked=revoked)


# Anything


@given(st.binary(max_size=600))
def test_any_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(BadCertificate):
        check_good(data)


@given(st.binary(max_size=200))
def test_anything_that_begins_like_a_certificate_is_refused(data: bytes) -> None:
    for length in (0, 36, 72, 108, len(GOOD) - 100):
        with pytest.raises(BadCertificate):
            check_good(GOOD[:length] + data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 40), st.binary(max_size=40))
def test_any_mutation_of_a_good_one_is_refused(at: int, drop: int, put: bytes) -> None:
    mutated = GOOD[:at] + put + GOOD[at + drop :]
    if mutated != GOOD:
        with pytest.raises(BadCertificate):
            check_good(mutated)


@given(
    st.lists(st.binary(max_size=60), max_size=12),
    st.sampled_from(sorted({*SIGNATURE_OF, b"ssh-rsa-cert-v01@openssh.com"})),
)
def test_well_formed_fields_that_mean_nothing_are_refused_with_any_key_for_an_authority(
    fields: list[bytes], kind: bytes
) -> None:
    class All:
        def __contains__(self, _: object) -> bool:
            return True

    with pytest.raises(BadCertificate):
        check_certificate(string(kind) + b"".join(map(string, fields)), All(), Revoked(), ADDRESS, NOW)


# Algorithms


def test_every_algorithm_has_the_signature_of_its_plain_key() -> None:
    assert not [name for name in SIGNATURE_OF if name.startswith((b"ssh-rsa", b"ssh-dss", b"sk-"))]
    assert {a.removesuffix(b"-cert-v01@openssh.com") for a in SIGNATURE_OF} == set(SIGNATURE_OF.values())


@pytest.mark.parametrize(
    ("user", "algorithms"),
    [
        ("ed25519", {b"ssh-ed25519"}),
        ("ecdsa-384", {b"ecdsa-sha2-nistp384"}),
        ("rsa-2048", {b"rsa-sha2-256", b"rsa-sha2-512"}),
    ],
)
def test_a_certificate_takes_the_algorithms_of_its_key(keygen: Keygen, user: str, algorithms: set[bytes]) -> None:
    certificate = check(keygen, keygen.certificate(user=user))
    assert {SIGNATURE_OF[a] for a in SIGNATURE_OF if certificate.takes(a)} == algorithms
    assert not certificate.takes(b"ssh-rsa-cert-v01@openssh.com")
    assert not certificate.takes(b"ssh-ed25519")
    assert not certificate.takes(b"")
