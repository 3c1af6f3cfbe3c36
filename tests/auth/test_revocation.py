"""Lists of what is revoked: as text, and as the real ``ssh-keygen -k`` writes them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.keys import Keygen, make_keygen, string
from tests.support.ssh import authorized_line, ed25519_key, rsa_key
from vmproxy.auth import revocation as module
from vmproxy.auth.public_keys import fingerprint
from vmproxy.auth.revocation import Revoked, parse_revoked, read_revoked

KEY, OTHER, CA, OTHER_CA = (ed25519_key(number).public().blob() for number in range(4))
LINE = authorized_line(ed25519_key())
FINGERPRINT = fingerprint(KEY).encode()

HEADER = b"SSHKRL\n\0" + (1).to_bytes(4, "big") + bytes(24) + string(b"") + string(b"a comment")


@pytest.fixture(scope="module")
def keygen(tmp_path_factory: pytest.TempPathFactory) -> Keygen:
    return make_keygen(tmp_path_factory)


def parse(data: bytes) -> Revoked:
    """A list that makes sense."""
    revoked = parse_revoked(data, "the-list")
    assert revoked.everything == ""
    return revoked


def section(kind: int, *parts: bytes) -> bytes:
    return bytes([kind]) + string(b"".join(parts))


def number(value: int, size: int = 8) -> bytes:
    return value.to_bytes(size, "big")


def serials(revoked: Revoked, upto: int = 40, authority: bytes = CA) -> list[int]:
    """Which serial numbers are revoked."""
    return [n for n in range(upto) if revoked.certificate_problem(KEY, authority, n, b"")]


# As text


def test_nothing_is_revoked_by_nothing() -> None:
    for revoked in (Revoked(), parse(b""), parse(b"\n# " + LINE + b"\r\n\t\n"), parse(HEADER)):
        assert revoked.key_problem(KEY) == ""
        assert revoked.certificate_problem(KEY, CA, 7, b"id") == ""


@each(
    "line",
    [
        LINE,
        b"  " + LINE + b" of alice # stolen\r",
        b"key: " + LINE,
        b"KEY:" + LINE,
        b"sha1: " + LINE,
        b"sha256: " + LINE,
        b"hash: " + FINGERPRINT,
        FINGERPRINT,
        FINGERPRINT + b"=",
        FINGERPRINT + b" alice@laptop",
    ],
)
def test_a_key_by_itself_or_its_fingerprint(line: bytes) -> None:
    revoked = parse(b"# a list\n" + line + b"\n")
    assert "is revoked" in revoked.key_problem(KEY)
    assert "the key SHA256" in revoked.certificate_problem(KEY, CA, 7, b"id")
    assert "its authority SHA256" in revoked.certificate_problem(OTHER, KEY, 7, b"id")
    assert revoked.key_problem(OTHER) == ""
    assert revoked.certificate_problem(OTHER, CA, 7, b"id") == ""


def test_a_key_of_a_type_that_is_not_accepted_may_stand_there() -> None:
    blob = string(b"ssh-dss") + string(b"p") + string(b"q") + string(b"g") + string(b"y")
    revoked = parse(b"ssh-dss " + base64.b64encode(blob) + b" of old\n" + LINE)
    assert revoked.key_problem(KEY)


def test_a_certificate_stands_for_the_key_inside(keygen: Keygen) -> None:
    keygen.certificate()
    revoked = parse((keygen.folder / "to-sign-cert.pub").read_bytes())
    assert revoked.key_problem(keygen.blob("ed25519"))
    assert revoked.key_problem(keygen.blob("ed25519", "ca")) == ""


@each(
    ("text", "expected"),
    [
        (b"serial: 7", [7]),
        (b"Serial:7", [7]),
        (b"serial: 7-9\nserial: 1", [1, 7, 8, 9]),
        (b"serial: 7 - 9", [7, 8, 9]),
        (b"serial: 0x11", [17]),
        (b"serial: 0x10-0X12 # gone", [16, 17, 18]),
        (b"serial: 011", [9]),
        (b"serial: 30-18446744073709551615", list(range(30, 40))),
    ],
)
def test_certificates_by_serial_number(text: bytes, expected: list[int]) -> None:
    assert serials(parse(text)) == expected


def test_certificates_by_id() -> None:
    revoked = parse(b"id: alice at work # since May\nid:bob\n")
    assert "its id alice at work is revoked" in revoked.certificate_problem(KEY, CA, 0, b"alice at work")
    assert revoked.certificate_problem(KEY, CA, 0, b"bob")
    for other in (b"alice", b"Bob", b"bob ", b""):
        assert revoked.certificate_problem(KEY, CA, 0, other) == ""


@each(
    "line",
    [
        b"what?",
        b"ssh-ed25519",
        b"ssh-ed25519 AAAA",
        LINE[:-4],
        b"ssh-rsa " + LINE.split()[1],
        b'from="10.0.0.1" ' + LINE,
        b"ssh-rsa " + base64.b64encode(rsa_key().public().blob()[:-3]),
        b"ssh-ed25519-cert-v01@openssh.com " + base64.b64encode(string(b"ssh-ed25519-cert-v01@openssh.com")),
        b"serial:",
        b"serial: x",
        b"serial: 0",
        b"serial: 0-5",
        b"serial: 9-7",
        b"serial: 08",
        b"serial: -1",
        b"serial: 1-2-3",
        b"serial: 18446744073709551616",
        b"serial: 0x10000000000000000",
        b"serial: \xd9\xa7",
        b"id:",
        b"id: # nobody",
        b"key:",
        b"sha1:",
        b"hash:",
        b"hash: " + LINE,
        b"hash: MD5:d4:1d",
        b"hash: \x0b",
        b"key: \x0b",
        b"id: \x0c",
        FINGERPRINT[:-1],
        FINGERPRINT + b"A",
        b"SHA256:" + b"!" * 43,
        b"SHA1:" + FINGERPRINT[7:],
        b"\0",
        b"\xff\xfe",
        b"SSHKRL",
    ],
)
def test_a_line_that_makes_no_sense_revokes_everything(line: bytes) -> None:
    revoked = parse_revoked(b"\n" + line + b"\n", "the-list")
    assert revoked.everything.startswith("the list of revoked keys cannot be understood: the-list: line 2: ")
    assert revoked.everything.isprintable()
    assert revoked.key_problem(OTHER) == revoked.everything
    assert revoked.certificate_problem(OTHER, CA, 7, b"id") == revoked.everything


# Files


def test_a_list_is_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "revoked").write_bytes(LINE)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "revoked", str(tmp_path / "revoked"), "~/revoked"):
        assert "is revoked" in read_revoked(path).key_problem(KEY)
        assert read_revoked(path).key_problem(OTHER) == ""


def test_a_list_of_a_megabyte_is_read_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "revoked").write_bytes(b"# a comment of forty characters, more or less\n" * 25_000 + LINE)
    assert "is revoked" in read_revoked(tmp_path / "revoked").key_problem(KEY)
    assert read_revoked(tmp_path / "revoked").key_problem(OTHER) == ""


@pytest.mark.parametrize("name", ["none", ".", "nul\0"])
def test_a_file_that_cannot_be_read_revokes_everything(tmp_path: Path, name: str) -> None:
    assert "the list of revoked keys cannot be read" in read_revoked(str(tmp_path / name)).key_problem(KEY)


def test_a_file_that_is_too_large_revokes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REVOKED_LIMIT", len(LINE))
    (tmp_path / "revoked").write_bytes(LINE)
    assert read_revoked(tmp_path / "revoked").key_problem(OTHER) == ""
    (tmp_path / "revoked").write_bytes(LINE + b"\n")
    assert "larger than" in read_revoked(tmp_path / "revoked").key_problem(OTHER)


# Binary, as ssh-keygen makes them


def made(keygen: Keygen, spec: bytes, *options: str | Path) -> Revoked:
    (keygen.folder / "spec").write_bytes(spec)
    keygen.run("-q", "-k", "-f", keygen.folder / "krl", *options, keygen.folder / "spec")
    revoked = read_revoked(keygen.folder / "krl")
    assert (keygen.folder / "krl").read_bytes().startswith(b"SSHKRL\n\0")
    assert revoked.everything == ""
    return revoked


@pytest.mark.parametrize("how", [b"", b"key: ", b"sha1: ", b"sha256: "])
def test_a_made_list_of_keys(keygen: Keygen, how: bytes) -> None:
    spec = how + keygen.public("ed25519").read_bytes() + how + keygen.public("rsa-2048").read_bytes()
    revoked = made(keygen, spec)
    assert revoked.key_problem(keygen.blob("ed25519"))
    assert revoked.key_problem(keygen.blob("rsa-2048"))
    assert revoked.key_problem(keygen.blob("ecdsa-256")) == ""


def test_a_made_list_of_fingerprints(keygen: Keygen) -> None:
    revoked = made(keygen, b"hash: " + fingerprint(keygen.blob("ed25519")).encode() + b"\n")
    assert revoked.key_problem(keygen.blob("ed25519"))
    assert revoked.key_problem(keygen.blob("ecdsa-256")) == ""


# What ssh-keygen writes as a list, a range and a bitmap.
SPARSE = [1, 1_000_000, 2_000_000_000, 2**64 - 1]
DENSE = [3000, 3001, 3004, 3007, 3011, 3018, 3029, 3047, 3063]
SPEC = b"".join(b"serial: %d\n" % n for n in (*SPARSE, *DENSE)) + b"serial: 100-2000\nid: alice\nid: bob b\n"


@pytest.mark.parametrize("wildcard", [False, True])
def test_a_made_list_of_certificates(keygen: Keygen, wildcard: bool) -> None:
    authority = keygen.blob("ed25519", "ca")
    revoked = made(keygen, SPEC, "-s", "none" if wildcard else keygen.public("ed25519", "ca"))

    def is_revoked(serial: int, key_id: bytes = b"", authority: bytes = authority) -> bool:
        return bool(revoked.certificate_problem(KEY, authority, serial, key_id))

    looked_at = {n + d for n in (*SPARSE, *DENSE, 100, 2000, 0) for d in range(-70, 70) if 0 <= n + d < 2**64}
    expected = {*SPARSE, *DENSE, *range(100, 2001)}
    assert {n for n in looked_at if is_revoked(n)} == expected & looked_at
    assert is_revoked(5, b"alice")
    assert is_revoked(0, b"bob b")
    assert not is_revoked(5, b"alic")
    assert is_revoked(1, authority=OTHER_CA) is wildcard
    assert is_revoked(5, b"alice", OTHER_CA) is wildcard


def test_what_ssh_keygen_says_of_a_certificate_is_what_is_found(keygen: Keygen) -> None:
    authority = keygen.blob("ed25519", "ca")
    revoked = made(keygen, SPEC, "-s", keygen.public("ed25519", "ca"))
    for serial in (1, 2, 99, 100, 3000, 3002, 3063, 3064, 2**64 - 1):
        keygen.certificate(serial=serial, key_id="carol")
        try:
            keygen.run("-Q", "-f", keygen.folder / "krl", keygen.folder / "to-sign-cert.pub")
            theirs = False
        except AssertionError:
            theirs = True
        assert bool(revoked.certificate_problem(keygen.blob("ed25519"), authority, serial, b"carol")) is theirs


# Binary, by hand


def test_fingerprints_are_of_the_kind_that_their_section_says() -> None:
    sha1, sha256 = hashlib.sha1(KEY).digest(), hashlib.sha256(KEY).digest()
    assert parse(HEADER + section(3, string(sha1))).key_problem(KEY)
    assert parse(HEADER + section(5, string(sha256))).key_problem(KEY)
    assert parse_revoked(HEADER + section(3, string(sha256)), "f").everything
    assert parse_revoked(HEADER + section(5, string(sha1)), "f").everything


def test_bits_of_a_bitmap_count_from_its_offset() -> None:
    bitmap = section(0x22, number(10), string(bytes([0b10, 0b1000_0001])))
    assert serials(parse(HEADER + section(1, string(CA), string(b""), bitmap))) == [10, 17, 19]


def test_certificates_without_a_number_are_not_revoked_by_number() -> None:
    bitmap = section(0x22, number(0), string(b"\x7f"))
    assert serials(parse(HEADER + section(1, string(b""), string(b""), bitmap))) == [1, 2, 3, 4, 5, 6]


def test_extensions_that_need_not_be_understood_are_not() -> None:
    extension = string(b"x@example.com") + b"\0" + string(b"anything")
    inside = section(1, string(CA), string(b""), section(0x39, extension), section(0x20, number(7)))
    assert serials(parse(HEADER + section(255, extension) + inside)) == [7]


BAD = [
    HEADER[:8] + number(2, 4) + HEADER[12:],
    HEADER + section(1),
    HEADER + section(1, string(CA)),
    HEADER + section(1, string(CA), string(b""), section(0x20, number(7)[:7])),
    HEADER + section(1, string(CA), string(b""), section(0x20, number(0))),
    HEADER + section(1, string(CA), string(b""), section(0x21, number(9), number(7))),
    HEADER + section(1, string(CA), string(b""), section(0x21, number(7), number(9), b"\0")),
    HEADER + section(1, string(CA), string(b""), section(0x22, number(7), string(b"\1"), b"\0")),
    HEADER + section(1, string(CA), string(b""), section(0x24)),
    HEADER + section(1, string(CA), string(b""), section(0x39, string(b"\n"), b"\1", string(b""))),
    HEADER + section(2, string(KEY)[:-1]),
    HEADER + section(4, KEY),
    HEADER + section(6),
    HEADER + section(255, string(b"x"), b"\1", string(b"")),
    HEADER + section(255, string(b"x"), b"\0", string(b""), b"more"),
    HEADER + b"\2",
    HEADER + b"\2\xff\xff\xff\xff",
]


@each("data", BAD)
def test_a_binary_list_that_makes_no_sense_revokes_everything(data: bytes) -> None:
    revoked = parse_revoked(data, "the-list")
    assert revoked.everything.startswith("the list of revoked keys cannot be understood: the-list: ")
    assert revoked.everything.isprintable()
    assert revoked.key_problem(OTHER) == revoked.everything


def test_a_signed_list_says_that_signatures_are_not_checked() -> None:
    assert "it is signed" in parse_revoked(HEADER + section(4, KEY), "the-list").everything


def test_a_binary_list_that_is_cut_short_revokes_everything_unless_between_sections() -> None:
    sections = [section(2, string(KEY)), section(1, string(CA), string(b""), section(0x20, number(7)))]
    whole = HEADER + b"".join(sections)
    between = {len(HEADER), len(HEADER) + len(sections[0]), len(whole)}
    for length in range(8, len(whole) + 1):
        assert bool(parse_revoked(whole[:length], "f").everything) is (length not in between)


# Anything


@given(
    st.binary(max_size=300), st.sampled_from([b"", HEADER, HEADER + b"\1", LINE + b"\n", b"serial:", b"hash: SHA256:"])
)
def test_no_bytes_make_it_raise(data: bytes, before: bytes) -> None:
    revoked = parse_revoked(before + data, "f")
    assert isinstance(revoked.key_problem(KEY), str)
    assert isinstance(revoked.certificate_problem(KEY, CA, 7, b"id"), str)


@given(st.data())
def test_no_sections_make_it_raise(data: st.DataObject) -> None:
    kinds = st.sampled_from([1, 2, 3, 4, 5, 255, 0x20, 0x21, 0x22, 0x23, 0x39, 9])
    parts = st.lists(st.tuples(kinds, st.binary(max_size=30)).map(lambda p: section(*p)), max_size=3).map(b"".join)
    body = data.draw(parts)
    for kind in (1, 2, 255):
        for inside in (body, string(CA) + string(b"") + body):
            revoked = parse_revoked(HEADER + section(kind, inside), "f")
            assert isinstance(revoked.certificate_problem(KEY, CA, data.draw(st.integers(0, 2**64 - 1)), b"id"), str)


@given(st.sets(st.integers(1, 2**64 - 1), min_size=1, max_size=20), st.integers(1, 2**64 - 1))
def test_a_number_is_revoked_exactly_if_it_stands_there(revoked: set[int], asked: int) -> None:
    found = parse(b"".join(b"serial: %d\n" % n for n in revoked))
    assert bool(found.certificate_problem(KEY, CA, asked, b"")) is (asked in revoked)
    assert all(found.certificate_problem(KEY, CA, n, b"") for n in revoked)
