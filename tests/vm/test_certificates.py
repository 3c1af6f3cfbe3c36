"""The files that TLS is made of: what is read from them, and what is said of those that will not do."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.tls import NOW, write_pem, write_signed
from vmproxy.vm.certificates import CertificateError, Credentials, TLSSettings, load, names, thumbprint


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return write_pem(tmp_path / "vm.pem", "proxy.example.com", "10.1.2.3", "fe80::1")


def taken(*files: Path, key: Path | None = None, ca: Path | None = None, minimum: str = "1.2") -> Credentials:
    credentials = load(TLSSettings(tuple((file, key or file) for file in files), minimum, ca))
    assert credentials is not None
    return credentials


def problem(*files: Path, key: Path | None = None, ca: Path | None = None) -> str:
    with pytest.raises(CertificateError) as caught:
        taken(*files, key=key, ca=ca)
    (only,) = caught.value.problems
    assert str(caught.value) == only
    return only


def private_part(pem: Path) -> bytes:
    text = pem.read_bytes()
    return text[text.index(b"-----BEGIN PRIVATE") :]


def test_no_certificates_are_no_tls() -> None:
    assert load(TLSSettings()) is None


def test_names_and_thumbprint(pem: Path) -> None:
    (certificate,) = taken(pem).certificates
    assert certificate.names == ("proxy.example.com", "10.1.2.3", "fe80::1")
    read = x509.load_pem_x509_certificate(pem.read_bytes())
    assert certificate.thumbprint == thumbprint(read)
    assert certificate.thumbprint.count(":") == 19
    assert certificate.thumbprint == certificate.thumbprint.upper()


def test_a_certificate_without_alternative_names_has_its_common_name(tmp_path: Path) -> None:
    authority = write_signed(tmp_path / "ca.crt", "old style")
    assert names(x509.load_pem_x509_certificate(authority.read_bytes())) == ("old style",)


def test_certificate_and_key_in_files_of_their_own_in_any_order(pem: Path, tmp_path: Path) -> None:
    key = tmp_path / "vm.key"
    key.write_bytes(b"some words before\n" + private_part(pem))
    key.chmod(0o640)
    certificate = tmp_path / "vm.crt"
    certificate.write_bytes(pem.read_bytes().replace(private_part(pem), b""))
    taken(certificate, key=key)
    pem.write_bytes(private_part(pem) + certificate.read_bytes())
    taken(pem)


def test_a_chain_is_read(tmp_path: Path) -> None:
    authority = write_signed(tmp_path / "ca.crt", "VMCA")
    pem = write_signed(tmp_path / "vm.pem", "proxy.example.com", authority)
    pem.chmod(0o600)
    key = private_part(pem)
    pem.write_bytes(pem.read_bytes().replace(key, b"") + authority.read_bytes() + key)
    assert taken(pem, ca=authority).certificates[0].names == ("proxy.example.com",)


# What will not do.


def test_what_is_not_there(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.pem") == f"{tmp_path}/none.pem: No such file or directory"


def test_a_folder(tmp_path: Path) -> None:
    assert "Is a directory" in problem(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\0" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_no_certificate(pem: Path, content: bytes) -> None:
    pem.write_bytes(content)
    assert problem(pem).startswith(f"{pem}: no certificate in PEM form")


def test_a_file_without_end(tmp_path: Path) -> None:
    assert "larger than 1048576 bytes" in problem(Path("/dev/zero"))


def test_no_key(pem: Path) -> None:
    pem.write_bytes(pem.read_bytes().replace(private_part(pem), b""))
    assert problem(pem) == f"{pem}: no private key in PEM form"


def test_half_a_key(pem: Path) -> None:
    pem.write_bytes(pem.read_bytes()[:-60])
    assert problem(pem).startswith(f"{pem}: no private key in PEM form (")


def test_another_key(pem: Path, tmp_path: Path) -> None:
    other = write_pem(tmp_path / "other.pem", "other.example.com")
    assert problem(pem, key=other) == f"{other}: this is not the private key of {pem}"
    rsa = tmp_path / "rsa.key"
    key = generate_private_key(65537, 2048)
    rsa.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    rsa.chmod(0o600)
    assert "this is not the private key of" in problem(pem, key=rsa)


def test_a_key_with_a_passphrase(pem: Path) -> None:
    key = load_pem_private_key(private_part(pem), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    pem.write_bytes(pem.read_bytes().replace(private_part(pem), locked))
    assert problem(pem) == f"{pem}: has a passphrase, which nobody is there to enter"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
def test_a_key_that_everybody_may_read(pem: Path, mode: int) -> None:
    pem.chmod(mode)
    assert problem(pem) == f"{pem}: everybody may read this private key; chmod o= it"
    pem.chmod(0o640)
    taken(pem)


def test_authorities_that_are_none(pem: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nobody")
    assert problem(pem, ca=tmp_path / "ca.crt").startswith(f"{tmp_path}/ca.crt: no certificate in PEM form")


def test_everything_that_is_wrong_is_told_at_once(pem: Path, tmp_path: Path) -> None:
    with pytest.raises(CertificateError) as caught:
        taken(tmp_path / "none.pem", pem, tmp_path / "neither.pem", ca=tmp_path / "ca.crt")
    assert [text.partition(": ")[0] for text in caught.value.problems] == [
        f"{tmp_path}/ca.crt",
        f"{tmp_path}/none.pem",
        f"{tmp_path}/neither.pem",
    ]


# Time.


@pytest.mark.parametrize(
    ("days", "after", "words"),
    [
        (100, 0, ""),
        (100, 71, "expires at 2026-09-09"),
        (100, 101, "has expired at 2026-09-09"),
        (100, -1, "is not valid before 2026-05-31 23:00 UTC"),
    ],
)
def test_a_certificate_whose_time_is_not_now_is_pointed_out(tmp_path: Path, days: int, after: int, words: str) -> None:
    pem = write_pem(tmp_path / "vm.pem", "proxy.example.com", days=days)
    found = taken(pem).warnings(NOW + datetime.timedelta(days=after))
    assert [words in one and str(pem) in one for one in found] == [True] * bool(words)


@pytest.mark.parametrize(("minimum", "told"), [("1.0", True), ("1.1", True), ("1.2", False), ("1.3", False)])
def test_old_versions_are_pointed_out(pem: Path, minimum: str, told: bool) -> None:
    found = taken(pem, minimum=minimum).warnings(NOW)
    assert ["vm.tls-minimum" in one for one in found] == [True] * told
