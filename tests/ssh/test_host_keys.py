"""The server's own keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)
from twisted.conch.ssh.keys import Key

from tests.support.ssh import authorized_line, ed25519_key
from vmproxy.ssh import host_keys
from vmproxy.ssh.host_keys import HostKeyError, fingerprint, load_or_make, make_key


@pytest.fixture(autouse=True)
def _small_rsa(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3072 bits take a second to make; the size is looked at once below.
    monkeypatch.setattr(host_keys, "RSA_BITS", 2048)


def test_missing_keys_are_made_and_stay_the_same(tmp_path: Path) -> None:
    first = load_or_make(tmp_path / "state")
    assert [key.sshType() for key in first] == [b"ssh-ed25519", b"ssh-rsa"]
    assert [key.blob() for key in load_or_make(tmp_path / "state")] == [key.blob() for key in first]


def test_private_keys_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_make(tmp_path / "state")
    finally:
        os.umask(before)
    for kind in ("ed25519", "rsa"):
        assert (tmp_path / "state" / f"ssh_host_{kind}_key").stat().st_mode & 0o777 == 0o600


def test_the_public_half_stands_beside_it_in_the_usual_format(tmp_path: Path) -> None:
    key = load_or_make(tmp_path)[0]
    public = Key.fromString((tmp_path / "ssh_host_ed25519_key.pub").read_bytes())
    assert public.isPublic()
    assert public.blob() == key.blob()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_make(tmp_path)
    (tmp_path / "ssh_host_ed25519_key").chmod(mode)
    with pytest.raises(HostKeyError, match="chmod 600"):
        load_or_make(tmp_path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "key", "ed25519")
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "key", "ed25519")


def test_fingerprints_are_those_that_clients_show() -> None:
    assert fingerprint(ed25519_key()).startswith("SHA256:")
    assert not fingerprint(ed25519_key()).endswith("=")


def test_the_rsa_key_has_3072_bits_unless_a_test_says_otherwise() -> None:
    source = Path(host_keys.__file__).read_text()
    assert "RSA_BITS = 3072" in source


def test_a_start_does_not_wait_for_the_proof_that_factors_are_primes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_or_make(tmp_path)

    def proves(data: bytes) -> Key:
        raise AssertionError("this takes 100 ms")

    monkeypatch.setattr(Key, "fromString", proves)
    assert [key.blob() for key in load_or_make(tmp_path)] == [key.blob() for key in first]


def test_but_an_rsa_key_that_does_not_sign_is_refused(tmp_path: Path) -> None:
    load_or_make(tmp_path)
    path = tmp_path / "ssh_host_rsa_key"
    key = load_ssh_private_key(path.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    good = key.private_numbers()
    d = good.d + 2
    wrong = RSAPrivateNumbers(
        good.p, good.q, d, d % (good.p - 1), d % (good.q - 1), good.iqmp, good.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    path.write_bytes(wrong.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    with pytest.raises(HostKeyError, match="ssh_host_rsa_key: not a private key"):
        load_or_make(tmp_path)


def _put(folder: Path, content: bytes) -> None:
    path = folder / "ssh_host_ed25519_key"
    path.write_bytes(content)
    path.chmod(0o600)


def _private() -> bytes:
    return bytes(ed25519_key().toString("openssh", subtype="v1"))


@pytest.mark.parametrize("cut", [0, 1, 40, 70, 120, 200, 300])
def test_a_key_cut_short_is_told_by_its_name(tmp_path: Path, cut: int) -> None:
    _put(tmp_path, _private()[:cut])
    with pytest.raises(HostKeyError, match="ssh_host_ed25519_key"):
        load_or_make(tmp_path)


def test_a_key_with_a_passphrase_is_told_so(tmp_path: Path) -> None:
    pem = ed25519_key().keyObject if hasattr(ed25519_key(), "keyObject") else ed25519_key()._keyObject  # type: ignore[attr-defined]  # looked at on purpose
    _put(tmp_path, pem.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"secret")))
    with pytest.raises(HostKeyError, match="passphrase"):
        load_or_make(tmp_path)


def test_a_public_key_in_the_place_of_the_private_one_is_refused(tmp_path: Path) -> None:
    _put(tmp_path, authorized_line(ed25519_key()))
    with pytest.raises(HostKeyError):
        load_or_make(tmp_path)


def test_a_key_of_another_kind_than_its_name_says_is_refused(tmp_path: Path) -> None:
    # Two keys of one type would leave clients without the other.
    load_or_make(tmp_path)
    _put(tmp_path, (tmp_path / "ssh_host_rsa_key").read_bytes())
    with pytest.raises(HostKeyError):
        load_or_make(tmp_path)
