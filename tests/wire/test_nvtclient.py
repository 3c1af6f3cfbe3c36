"""The small Telnet client: what it says, what it understands, however it is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmproxy.wire.nvtclient import BREAK, NvtClient

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
BINARY, ECHO, SGA, TTYPE = 0, 1, 3, 24


def verb(code: int, option: int) -> bytes:
    return bytes((IAC, code, option))


AGREED = verb(DO, BINARY) + verb(DO, SGA) + verb(WILL, BINARY) + verb(WILL, SGA)
EVERYTHING = bytes(range(256)) + b"\r\n\r\r\n\r\0\n"


def data(items: list[bytes | None]) -> bytes:
    return b"".join(item for item in items if item is not None)


def binary() -> NvtClient:
    client = NvtClient()
    client.opening()
    assert client.feed(AGREED) == ([], b"")
    return client


def test_it_offers_and_asks_for_eight_bits() -> None:
    opening = NvtClient().opening()
    assert sorted(opening[n : n + 3] for n in range(0, len(opening), 3)) == sorted(
        [verb(WILL, BINARY), verb(WILL, SGA), verb(DO, BINARY), verb(DO, SGA)]
    )


def test_with_binary_nothing_is_rewritten() -> None:
    client = binary()
    assert client.encode(EVERYTHING) == EVERYTHING.replace(b"\xff", b"\xff\xff")
    assert data(client.feed(EVERYTHING.replace(b"\xff", b"\xff\xff"))[0]) == EVERYTHING


def test_without_binary_cr_travels_as_the_rfc_has_it() -> None:
    client = NvtClient()
    client.opening()
    assert client.feed(verb(DONT, BINARY) + verb(WONT, BINARY)) == ([], b"")
    assert client.encode(b"a\rb\r\nc\xff") == b"a\r\0b\r\nc\xff\xff"
    assert data(client.feed(b"a\r\0b\r\nc\xff\xff")[0]) == b"a\rb\r\nc\xff"


def test_one_direction_may_be_binary_and_the_other_not() -> None:
    client = NvtClient()
    client.opening()
    client.feed(verb(WILL, BINARY) + verb(DONT, BINARY))
    assert data(client.feed(b"a\r\0")[0]) == b"a\r\0"
    assert client.encode(b"a\r") == b"a\r\0"
    items, answers = client.feed(verb(WONT, BINARY) + b"a\r\0")  # and may stop being it
    assert data(items) == b"a\r"
    assert answers == verb(DONT, BINARY)


def test_other_options_are_refused_once_and_echo_is_let() -> None:
    client = binary()
    offers = verb(DO, TTYPE) + verb(WILL, TTYPE) + verb(WILL, ECHO) + verb(DO, ECHO)
    assert client.feed(offers) == ([], verb(WONT, TTYPE) + verb(DONT, TTYPE) + verb(DO, ECHO) + verb(WONT, ECHO))
    assert client.feed(offers) == ([], b"")


def test_breaks_keep_their_place() -> None:
    assert binary().feed(b"before" + BREAK + b"behind") == ([b"before", None, b"behind"], b"")


def test_a_subnegotiation_without_an_end_is_fatal() -> None:
    client = binary()
    items, _ = client.feed(b"before" + bytes((IAC, SB, TTYPE)) + b"x" * 10_000)
    assert items == [b"before"]
    assert client.fatal


def test_commands_are_counted_and_data_is_not() -> None:
    client = binary()
    before = client.commands
    client.feed(b"x" * 100 + b"\xff\xff" * 100 + bytes((IAC, 241)) * 7)
    assert client.commands == before + 7


@given(st.binary(max_size=200), st.integers(0, 400), st.booleans())
def test_whatever_the_cuts_it_is_the_same(payload: bytes, cut: int, agreed: bool) -> None:
    there, here = NvtClient(), NvtClient()
    there.opening()
    here.opening()
    if agreed:
        there.feed(AGREED)
        here.feed(AGREED)
    stream = there.encode(payload)
    got = here.feed(stream[:cut])[0] + here.feed(stream[cut:])[0]
    assert data(got) == payload
