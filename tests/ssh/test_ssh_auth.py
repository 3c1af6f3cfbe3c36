"""Which keys are accepted, and what proves that one holds them."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Logged
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from sshkit import authorized_line, ed25519_key, rsa_key
from twisted.conch.error import ValidPublicKey
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure
from zope.interface import Interface
from zope.interface.verify import verifyObject

from vmproxy.ssh.auth import FILE_LIMIT, KeyChecker, Realm, parse_authorized_keys, read_authorized_keys

ED = ed25519_key()
LINE = authorized_line(ED)


# authorized_keys


def test_keys_are_read_with_or_without_a_comment() -> None:
    ecdsa = Key(ec.generate_private_key(ec.SECP256R1()))
    text = b"\n".join([LINE + b" alice@laptop, two words", authorized_line(rsa_key()), authorized_line(ecdsa)])
    assert parse_authorized_keys(text, "f") == {key.public().blob() for key in (ED, rsa_key(), ecdsa)}


def test_empty_lines_and_comments_are_nothing_to_warn_of(logged: Logged) -> None:
    assert parse_authorized_keys(b"\n  \n# " + LINE + b"\r\n\t# x\n", "f") == set()
    assert logged.lines == []


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"ssh-ed25519",
        b"ssh-ed25519 ",
        b"ssh-ed25519 !!!!",
        b"ssh-ed25519 AAAA",
        b"ssh-ed25519 " + LINE.split()[1][:-8],
        b"ssh-rsa " + LINE.split()[1],
        b"ssh-ed25519 \xff\xfe\xff",
        b"ssh-dss AAAAB3NzaC1kc3MAAACBAP",
        b"ssh-ed25519-cert-v01@openssh.com AAAA",
        b"\xef\xbb\xbf" + LINE,  # a byte order mark
        b"\x00" * 50,
        b"-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_a_malformed_line_costs_only_itself_and_is_warned_of(line: bytes, logged: Logged) -> None:
    other = ed25519_key(1)
    assert parse_authorized_keys(line + b"\n" + authorized_line(other), "the-file") == {other.public().blob()}
    assert len(logged.lines) == 1
    assert "the-file, line 1" in logged.lines[0]
    assert not logged.tracebacks


@pytest.mark.parametrize("options", [b'from="10.0.0.0/8"', b'command="x"', b"no-pty", b"restrict", b"cert-authority"])
def test_a_key_with_options_is_left_out_rather_than_granting_more_than_was_meant(
    options: bytes, logged: Logged
) -> None:
    assert parse_authorized_keys(options + b" " + LINE, "f") == set()
    assert "options" in logged.lines[0]


def test_all_files_of_all_patterns_are_read_and_missing_ones_are_no_error(tmp_path: Path, logged: Logged) -> None:
    (tmp_path / "a.pub").write_bytes(LINE)
    (tmp_path / "b.pub").write_bytes(authorized_line(ed25519_key(1)))
    patterns = [str(tmp_path / "*.pub"), str(tmp_path / "none"), str(tmp_path / "none*")]
    assert read_authorized_keys(patterns) == {ED.public().blob(), ed25519_key(1).public().blob()}
    assert logged.lines == []


def test_a_file_that_cannot_be_read_is_warned_of_and_the_others_count(tmp_path: Path, logged: Logged) -> None:
    (tmp_path / "a.pub").mkdir()
    (tmp_path / "b.pub").write_bytes(LINE)
    assert read_authorized_keys([str(tmp_path / "*.pub")]) == {ED.public().blob()}
    assert "a.pub" in logged.lines[0]


def test_keys_beyond_the_limit_of_a_file_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(LINE + b"\n" + b"#" * FILE_LIMIT + b"\n" + authorized_line(ed25519_key(1)))
    assert read_authorized_keys([str(tmp_path / "keys")]) == {ED.public().blob()}


# The checker


DATA = b"what is signed"


def outcome(
    folder: Path,
    key: Key = ED,
    user: str | bytes = "web01",
    algorithm: bytes | None = None,
    signature: bytes | None = b"",
    authorized: bytes = LINE,
) -> bytes | type[Exception]:
    """What a try to log in comes to: the operator, or the kind of refusal. An empty signature is a right one."""
    (folder / "keys").write_bytes(authorized)

    def inline(call: object) -> Deferred[set[bytes]]:
        return execute(call)  # type: ignore[arg-type]

    algorithm = algorithm or key.sshType()
    if signature == b"":
        signature = key.sign(DATA, algorithm)
    asked = SimpleNamespace(
        username=user if isinstance(user, bytes) else user.encode(),
        algName=algorithm,
        blob=key.public().blob(),
        sigData=DATA if signature is not None else None,
        signature=signature,
    )
    got: list[bytes | Failure] = []
    KeyChecker("alice", [str(folder / "keys")], inline).requestAvatarId(asked).addBoth(got.append)
    return got[0].type if isinstance(got[0], Failure) else got[0]  # type: ignore[return-value]


@pytest.mark.parametrize("user", ["web01", "alice", "alice:web01", "alice+web01,ro", "", "web01,ro", b"\xff\xfe"])
def test_the_holder_of_an_authorized_key_is_the_operator(tmp_path: Path, user: str | bytes) -> None:
    assert outcome(tmp_path, user=user) == b"alice"


@pytest.mark.parametrize("user", ["bob:web01", "Alice:web01", "alice :web01", ":web01", "bob+", b"\xff:web01"])
def test_a_claim_to_be_somebody_else_is_refused_with_and_without_a_signature(tmp_path: Path, user: str | bytes) -> None:
    assert outcome(tmp_path, user=user) is UnauthorizedLogin
    assert outcome(tmp_path, user=user, signature=None) is UnauthorizedLogin


def test_a_question_about_a_key_is_answered_with_yes_only_if_it_would_be_accepted(tmp_path: Path) -> None:
    assert outcome(tmp_path, signature=None) is ValidPublicKey
    assert outcome(tmp_path, signature=None, key=ed25519_key(1)) is UnauthorizedLogin
    assert outcome(tmp_path, signature=None, authorized=b"") is UnauthorizedLogin
    assert outcome(tmp_path, signature=None, key=rsa_key(), authorized=authorized_line(rsa_key())) is UnauthorizedLogin


def test_a_change_of_the_file_counts_at_the_next_login(tmp_path: Path) -> None:
    assert outcome(tmp_path, authorized=b"") is UnauthorizedLogin
    assert outcome(tmp_path) == b"alice"


@pytest.mark.parametrize("algorithm", [b"rsa-sha2-256", b"rsa-sha2-512"])
def test_rsa_keys_sign_with_sha2(tmp_path: Path, algorithm: bytes) -> None:
    line = authorized_line(rsa_key())
    assert outcome(tmp_path, key=rsa_key(), algorithm=algorithm, authorized=line) == b"alice"


def _sha1_signature(key: Key) -> bytes:
    raw = key._keyObject.sign(DATA, padding.PKCS1v15(), hashes.SHA1())
    return NS(b"ssh-rsa") + NS(raw)


@pytest.mark.parametrize("announced", [b"ssh-rsa", b"rsa-sha2-256", b"rsa-sha2-512"])
def test_a_sha1_signature_is_refused_whatever_it_is_announced_as(tmp_path: Path, announced: bytes) -> None:
    got = outcome(
        tmp_path,
        key=rsa_key(),
        algorithm=announced,
        signature=_sha1_signature(rsa_key()),
        authorized=authorized_line(rsa_key()),
    )
    assert got is UnauthorizedLogin


@pytest.mark.parametrize(
    "forged",
    [
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
def test_a_signature_that_proves_nothing_is_refused(tmp_path: Path, forged: bytes, logged: Logged) -> None:
    assert outcome(tmp_path, signature=forged) is UnauthorizedLogin
    assert not logged.tracebacks


def test_a_security_key_must_have_been_touched(tmp_path: Path) -> None:
    # Without the user-presence bit any program on the operator's machine could have made the signature.
    from hashlib import sha256

    from twisted.conch.ssh.userauth import SSHUserAuthServer

    pub = NS(b"sk-ssh-ed25519@openssh.com") + NS(ED.public().blob()[-32:]) + NS(b"ssh:")
    (tmp_path / "keys").write_bytes(b"sk-ssh-ed25519@openssh.com " + _b64(pub))
    results = {}
    for flags in (1, 0):
        tail = bytes([flags]) + struct.pack(">L", 9)
        signed = sha256(b"ssh:").digest() + tail + sha256(DATA).digest()
        raw = ED._keyObject.sign(signed)
        signature = NS(b"sk-ssh-ed25519@openssh.com") + NS(raw) + tail
        wrapped = SSHUserAuthServer._wrapMessageWithSKMetadata(signature, DATA, b"ssh:")
        asked = SimpleNamespace(
            username=b"web01", algName=b"sk-ssh-ed25519@openssh.com", blob=pub, sigData=wrapped, signature=signature
        )
        got: list[object] = []
        checker = KeyChecker("alice", [str(tmp_path / "keys")], execute)  # type: ignore[arg-type]
        checker.requestAvatarId(asked).addBoth(got.append)
        results[flags] = got[0]
    assert results[1] == b"alice"
    assert isinstance(results[0], Failure)


def _b64(data: bytes) -> bytes:
    import base64

    return base64.b64encode(data)


def test_the_realm_gives_avatars_for_ssh_and_for_nothing_else() -> None:
    made: list[str] = []
    realm = Realm(lambda name: made.append(name) or "avatar")  # type: ignore[arg-type,return-value,func-returns-value]
    assert verifyObject(IRealm, realm)
    interface, avatar, logout = realm.requestAvatar(b"alice", None, IConchUser)
    assert (interface, avatar, made) == (IConchUser, "avatar", ["alice"])
    assert logout() is None
    with pytest.raises(NotImplementedError):
        realm.requestAvatar(b"alice", None, Interface)
