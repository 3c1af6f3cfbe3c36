"""Option 232: the suboptions' numbers, UUIDs, DO-PROXY, names and secrets."""

from __future__ import annotations

import re
from contextlib import suppress
from random import Random
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.properties import examples
from vmproxy.errors import WireError
from vmproxy.wire.telnet import VMWARE_EXT, Scanner, Subnegotiation, subnegotiation
from vmproxy.wire.vmware import (
    QUESTIONS,
    SECRET_LENGTH,
    SUPPORTED,
    DoProxy,
    Sub,
    format_uuid,
    message,
    new_secret,
    parse_do_proxy,
    parse_name,
    parse_uuid,
)

CAPTURED_LIST = bytes([0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 84, 85, 86, 87, 82, 83])
CAPTURED_UUID = b"01 23 45 67 89 ab cd ef-fe dc ba 98 00 00 00 00"
UUID_1 = UUID("01234567-89ab-cdef-fedc-ba9800000000")

uuids = st.uuids().filter(lambda uuid: uuid.int != 0)


# Suboptions


def test_the_numbers_are_those_of_the_captured_list() -> None:
    assert sorted(CAPTURED_LIST) == sorted(Sub)


@each(
    ("name", "code"),
    [
        ("KNOWN_SUBOPTIONS_1", 0),
        ("KNOWN_SUBOPTIONS_2", 1),
        ("UNKNOWN_SUBOPTION_RCVD_1", 2),
        ("UNKNOWN_SUBOPTION_RCVD_2", 3),
        ("VMOTION_BEGIN", 40),
        ("VMOTION_GOAHEAD", 41),
        ("VMOTION_NOTNOW", 43),
        ("VMOTION_PEER", 44),
        ("VMOTION_PEER_OK", 45),
        ("VMOTION_COMPLETE", 46),
        ("VMOTION_ABORT", 48),
        ("DO_PROXY", 70),
        ("WILL_PROXY", 71),
        ("WONT_PROXY", 73),
        ("VM_VC_UUID", 80),
        ("GET_VM_VC_UUID", 81),
        ("VM_NAME", 82),
        ("GET_VM_NAME", 83),
        ("VM_BIOS_UUID", 84),
        ("GET_VM_BIOS_UUID", 85),
        ("VM_LOCATION_UUID", 86),
        ("GET_VM_LOCATION_UUID", 87),
    ],
)
def test_each_suboption_has_the_number_of_the_manual(name: str, code: int) -> None:
    assert Sub[name] == code


def test_the_supported_list_has_every_suboption_once() -> None:
    assert sorted(SUPPORTED) == sorted(CAPTURED_LIST)


def test_the_questions_are_the_four_and_the_identity_comes_first() -> None:
    assert QUESTIONS[0] == 81
    assert sorted(QUESTIONS) == [81, 83, 85, 87]


def test_a_message_is_its_code_and_its_parameters() -> None:
    assert message(Sub.WILL_PROXY) == b"\x47"
    assert message(Sub.VMOTION_PEER_OK, b"\x76\x19\xff\xe9") == b"\x2d\x76\x19\xff\xe9"
    assert message(255, b"") == b"\xff"


def test_a_captured_vmotion_sequence_travels_with_its_iac_doubled() -> None:
    stream = subnegotiation(VMWARE_EXT, message(Sub.VMOTION_BEGIN, b"\x76\x19\xff\xe9"))
    assert stream == b"\xff\xfa\xe8\x28\x76\x19\xff\xff\xe9\xff\xf0"
    assert list(Scanner().feed(stream)) == [Subnegotiation(VMWARE_EXT, b"\x28\x76\x19\xff\xe9")]


# UUIDs


@pytest.mark.parametrize(
    "spelling",
    [
        CAPTURED_UUID,
        CAPTURED_UUID.upper(),
        b" " + CAPTURED_UUID + b" \0",
        CAPTURED_UUID.replace(b" ", b"\t") + b"\r\n",
        b"01234567-89ab-cdef-fedc-ba9800000000",
        b"{01234567-89AB-CDEF-FEDC-BA9800000000}",
        b"0123456789abcdeffedcba9800000000",
    ],
)
def test_the_usual_spellings_of_a_uuid_are_read(spelling: bytes) -> None:
    assert parse_uuid(spelling) == UUID_1


@each(
    "wrong",
    [
        b"",
        b" ",
        b"-",
        b"{}",
        CAPTURED_UUID[:-1],
        CAPTURED_UUID + b"0",
        CAPTURED_UUID + b" 00",
        CAPTURED_UUID.replace(b"f", b"g"),
        CAPTURED_UUID.replace(b"01", b"0x01", 1),
        b"+1" + CAPTURED_UUID[2:],
        b"0_1" + CAPTURED_UUID[2:],
        CAPTURED_UUID.replace(b"89", "\u096e\u096f".encode(), 1),
        CAPTURED_UUID.decode().encode("utf-16"),
        b"\xff" * 16,
        UUID_1.bytes,
        CAPTURED_UUID * 2,
    ],
)
def test_what_is_not_32_hex_digits_is_no_uuid(wrong: bytes) -> None:
    with pytest.raises(WireError, match="not a UUID"):
        parse_uuid(wrong)


@pytest.mark.parametrize("zeros", [b"00 " * 16, b"0" * 32, b"00000000-0000-0000-0000-000000000000"])
def test_all_zeros_are_nobodys_identity(zeros: bytes) -> None:
    with pytest.raises(WireError, match="zeros"):
        parse_uuid(zeros)


def test_an_error_shows_no_more_than_the_beginning_of_what_was_sent() -> None:
    with pytest.raises(WireError) as caught:
        parse_uuid(b"\x1b" * 4000)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


inserted = st.lists(st.tuples(st.integers(0, 36), st.sampled_from([*" -{}\t\r\n\0xgG_0f"])), max_size=3)


@examples(60)
@given(st.uuids(), inserted, st.integers(0, 36), st.integers(0, 2))
@example(UUID(int=0), [], 0, 0)
@example(UUID(int=1), [(0, "{"), (37, "}")], 0, 0)
def test_32_hex_digits_are_a_uuid_whatever_separates_them_and_nothing_else_is(
    uuid: UUID, more: list[tuple[int, str]], left_out: int, how_many: int
) -> None:
    text = str(uuid)
    for at, what in more:
        text = text[:at] + what + text[at:]
    text = text[:left_out] + text[left_out + how_many :]
    digits = re.sub(r"[-{}\s\0]", "", text)
    if re.fullmatch("[0-9a-fA-F]{32}", digits) and int(digits, 16):
        assert parse_uuid(text.encode()).hex == digits.lower()
    else:
        with pytest.raises(WireError):
            parse_uuid(text.encode())


@given(st.binary(max_size=80))
def test_no_bytes_are_anything_but_a_uuid_or_a_wire_error(parameters: bytes) -> None:
    with suppress(WireError):
        parse_uuid(parameters)


@given(uuids)
def test_a_formatted_uuid_is_read_back(uuid: UUID) -> None:
    text = format_uuid(uuid)
    assert parse_uuid(text) == uuid
    assert len(text) == len(CAPTURED_UUID)


@given(uuids, st.randoms(use_true_random=False))
def test_case_and_separators_of_a_uuid_do_not_count(uuid: UUID, rng: Random) -> None:
    pairs = [uuid.hex[at : at + 2] for at in range(0, 32, 2)]
    spelling = "".join(rng.choice((pair, pair.upper())) + rng.choice(("", " ", "-", "  ", "\t")) for pair in pairs)
    assert parse_uuid(spelling.encode()) == uuid


def test_a_uuid_is_formatted_as_captured() -> None:
    assert format_uuid(UUID_1) == CAPTURED_UUID


# DO-PROXY


@each(
    ("parameters", "direction", "uri"),
    [
        (b"SvSPC.py", "S", "vSPC.py"),
        (b"Svmproxy?port=console", "S", "vmproxy?port=console"),
        (b"Ctelnet://10.0.0.1:2001", "C", "telnet://10.0.0.1:2001"),
        (b"Ctcp6://[fe80::1]:23", "C", "tcp6://[fe80::1]:23"),
        (b"Chost:23", "C", "host:23"),
        (b"S", "S", ""),
        (b"SS", "S", "S"),
        (b"SvSPC.py\0", "S", "vSPC.py"),
        (b"S a\nb ", "S", " a\nb "),
        (b"S\0a", "S", "\0a"),
        ("Svmpr\u00f6xy".encode(), "S", "vmpr\u00f6xy"),
        (b"Sa\xffb", "S", "a\\xffb"),
    ],
)
def test_do_proxy_is_a_direction_and_a_uri(parameters: bytes, direction: str, uri: str) -> None:
    assert parse_do_proxy(parameters) == DoProxy(direction, uri)


@each("parameters", [b"", b"svSPC.py", b"cvSPC.py", b"\0S", b" S", b"vSPC.py", b"\xff", b"1uri"])
def test_do_proxy_without_a_known_direction_is_an_error(parameters: bytes) -> None:
    with pytest.raises(WireError, match="direction"):
        parse_do_proxy(parameters)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda uri: b"S" + uri)))
def test_random_bytes_are_a_do_proxy_or_a_wire_error(parameters: bytes) -> None:
    try:
        asked = parse_do_proxy(parameters)
    except WireError:
        assert parameters[:1] not in (b"C", b"S")
        return
    assert asked.direction.encode() == parameters[:1]
    asked.uri.encode()  # no lone surrogates: it is compared, logged and shown


@given(st.text(max_size=60))
def test_the_uri_of_do_proxy_is_read_as_utf_8(uri: str) -> None:
    assert parse_do_proxy(b"C" + uri.encode()).uri == uri.rstrip("\0")


# Names


@given(st.text(max_size=80))
@example("a/b\n\x1b[2J\u202e\u540d\u524d \U0001f600")
def test_a_name_in_utf_8_is_kept_as_it_is(name: str) -> None:
    assert parse_name(name.encode()) == name


@pytest.mark.parametrize(
    ("parameters", "name"),
    [(b"", ""), (b"web\xff01", "web\\xff01"), (b"\xc3", "\\xc3"), (b"\xed\xa0\x80", "\\xed\\xa0\\x80")],
)
def test_what_is_no_utf_8_in_a_name_stays_visible(parameters: bytes, name: str) -> None:
    assert parse_name(parameters) == name


@given(st.binary(max_size=80))
def test_a_name_of_random_bytes_can_be_encoded_again(parameters: bytes) -> None:
    assert len(parse_name(parameters).encode()) >= len(parameters)


# Secrets


def test_secrets_are_of_eight_bytes_unique_and_without_iac() -> None:
    made = [new_secret() for _ in range(4000)]
    assert {len(secret) for secret in made} == {SECRET_LENGTH} == {8}
    assert len(set(made)) == len(made)
    # All other bytes occur: 16,000 draws miss one of 255 values once in 10**24 runs.
    assert {byte for secret in made for byte in secret[:4]} == set(range(255))
    assert {byte for secret in made for byte in secret[4:]} == set(range(255))


def test_a_secret_needs_no_doubling_on_the_wire() -> None:
    for _ in range(200):
        secret = new_secret()
        assert subnegotiation(VMWARE_EXT, message(Sub.VMOTION_GOAHEAD, secret)) == (
            b"\xff\xfa\xe8\x29" + secret + b"\xff\xf0"
        )


def parsed(parameters: bytes) -> UUID | None:
    try:
        return parse_uuid(parameters)
    except WireError:
        return None


@given(
    st.one_of(
        st.uuids().map(format_uuid),
        st.text("0123456789abcdefABCDEF -{}\0\n_xg+\xff", max_size=50).map(lambda text: text.encode("latin-1")),
        st.tuples(st.uuids().map(format_uuid), st.integers(0, 48), st.sampled_from(b" -{}\0\n_xg+\xff")).map(
            lambda made: made[0][: made[1]] + bytes((made[2],)) + made[0][made[1] :]
        ),
    )
)
@examples(500)
def test_the_short_way_of_reading_a_uuid_reads_no_other(parameters: bytes) -> None:
    digits = re.sub(rb"[\s\-{}\0]+", b"", parameters)
    right = re.fullmatch(rb"[0-9a-fA-F]{32}", digits)
    assert parsed(parameters) == (UUID(hex=digits.decode()) if right and int(digits, 16) else None)
