"""Telnet framing: the same tokens however the stream is cut, and nothing lost between them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.properties import examples
from vmproxy.wire.telnet import (
    AO,
    AUTHENTICATION,
    AYT,
    BINARY,
    BRK,
    COM_PORT,
    DM,
    DO,
    DONT,
    EC,
    ECHO,
    EL,
    GA,
    IAC,
    IP,
    NOP,
    SB,
    SE,
    SGA,
    SUBNEGOTIATION_LIMIT,
    VMWARE_EXT,
    WILL,
    WONT,
    Command,
    Negotiation,
    NvtDecoder,
    Oddity,
    Scanner,
    ScannerState,
    Subnegotiation,
    Token,
    escape,
    negotiation,
    nvt_encode,
    subnegotiation,
    undoubled,
)

VERBS = (WILL, WONT, DO, DONT)
PLAIN_COMMANDS = (NOP, DM, BRK, IP, AO, AYT, EC, EL, GA)
UNKNOWN_COMMANDS = [code for code in range(256) if code not in (*PLAIN_COMMANDS, *VERBS, SB, IAC)]  # SE is one here
FATAL = ("oddity", True)


def plain(tokens: Iterable[Token]) -> list[object]:
    """The tokens with adjacent data merged, without the wording of oddities, and up to the first fatal one."""
    result: list[object] = []
    for token in tokens:
        if isinstance(token, Oddity):
            result.append(("oddity", token.fatal))
            if token.fatal:
                break
        elif isinstance(token, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += token
        else:
            result.append(token)
    return result


def scan(*reads: bytes, limit: int = SUBNEGOTIATION_LIMIT) -> list[object]:
    scanner = Scanner(limit)
    return plain(token for read in reads for token in scanner.feed(read))


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(at)]


def bytewise(stream: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in stream]


def test_the_numbers_are_those_of_the_rfcs() -> None:
    assert tuple(range(240, 256)) == (SE, NOP, DM, BRK, IP, AO, AYT, EC, EL, GA, SB, WILL, WONT, DO, DONT, IAC)
    assert (BINARY, ECHO, SGA, AUTHENTICATION, COM_PORT, VMWARE_EXT) == (0, 1, 3, 37, 44, 232)


def test_a_new_scanner_is_not_busy() -> None:
    assert not Scanner().busy
    for state in (ScannerState(b"\xff", None, False), ScannerState(b"", b"x", False), ScannerState(b"", None, True)):
        assert Scanner.restore(state).busy
        assert Scanner.restore(state).snapshot() == state
    assert not Scanner.restore(ScannerState(b"", None, False)).busy


class Reference:
    """RFC 854 and 855 one byte at a time, with no regard for speed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.state = "data"  # data, iac, verb, sub, sub-iac, dead
        self.verb = 0
        self.sub = b""
        self.tokens: list[Token] = []

    def byte(self, byte: int) -> None:
        match self.state:
            case "data" | "sub" if byte == IAC:
                self.state = "iac" if self.state == "data" else "sub-iac"
            case "data":
                self.tokens.append(bytes((byte,)))
            case "sub":
                self.more(byte)
            case "sub-iac" if byte == IAC:
                self.state = "sub"
                self.more(byte)
            case "sub-iac" if byte == SE:
                self.state = "data"
                self.tokens.append(Subnegotiation(self.sub[0], self.sub[1:]) if self.sub else Oddity(""))
            case "sub-iac":
                self.command(byte, [Oddity("")])
            case "iac":
                self.command(byte, [])
            case "verb":
                self.state = "data"
                self.tokens.append(Negotiation(self.verb, byte))

    def more(self, byte: int) -> None:
        self.sub += bytes((byte,))
        if len(self.sub) > self.limit:
            self.state = "dead"
            self.tokens.append(Oddity("", fatal=True))

    def command(self, byte: int, before: list[Token]) -> None:
        self.tokens += before
        self.state = "data"
        if byte == IAC:
            self.tokens.append(b"\xff")
        elif byte == SB:
            self.state, self.sub = "sub", b""
        elif byte in VERBS:
            self.state, self.verb = "verb", byte
        elif byte in PLAIN_COMMANDS:
            self.tokens.append(Command(byte))
        else:
            self.tokens.append(Oddity(""))


fragments = st.one_of(
    st.binary(max_size=12),
    st.just(b"\xff"),
    st.just(b"\xff\xff"),
    st.just(b"\xff" * 5),
    st.just(bytes((IAC, SB))),
    st.just(bytes((IAC, SE))),
    st.just(bytes((IAC, SB, IAC, SE))),
    st.builds(negotiation, st.sampled_from(VERBS), st.integers(0, 255)),
    st.builds(lambda code: bytes((IAC, code)), st.integers(0, 255)),
    st.builds(subnegotiation, st.integers(0, 255), st.binary(max_size=20)),
)
streams = st.lists(fragments, max_size=12).map(b"".join)
limits = st.sampled_from([1, 4, 16, SUBNEGOTIATION_LIMIT])
places = st.lists(st.integers(0, 1000), max_size=8)


@examples(600)
@given(stream=streams, limit=limits, places=places)
@example(stream=b"\xff\xfa\x2cab\xff\xff", limit=2, places=[])
@example(stream=b"a\xff\xfa\x2cab\xff\xfdc\xff\xf0d", limit=16, places=[7])
@example(stream=b"\xff\xfa\xff\xff\xff\xf0", limit=16, places=[3])
def test_the_tokens_are_those_of_the_reference_whole_byte_by_byte_and_at_any_cut(
    stream: bytes, limit: int, places: list[int]
) -> None:
    # A subnegotiation is found too long at the latest with the byte that follows: let there be one.
    stream += b"."
    reference = Reference(limit)
    for byte in stream:
        reference.byte(byte)
    expected = plain(reference.tokens)
    assert scan(stream, limit=limit) == expected
    assert scan(*bytewise(stream), limit=limit) == expected
    assert scan(*cut(stream, places), limit=limit) == expected


@given(stream=st.binary(max_size=300), places=places)
def test_uniformly_random_bytes_make_the_same_tokens_however_cut(stream: bytes, places: list[int]) -> None:
    whole = scan(stream)
    assert scan(*bytewise(stream)) == whole
    assert scan(*cut(stream, places)) == whole


@given(stream=streams, places=places)
def test_busy_is_true_exactly_in_the_middle_of_a_command(stream: bytes, places: list[int]) -> None:
    scanner, reference = Scanner(), Reference(SUBNEGOTIATION_LIMIT)
    for read in cut(stream, places):
        for _ in scanner.feed(read):
            pass
        for byte in read:
            reference.byte(byte)
        assert scanner.busy == (reference.state != "data")


@given(stream=streams, places=places)
def test_data_tokens_are_never_empty(stream: bytes, places: list[int]) -> None:
    scanner = Scanner()
    for read in cut(stream, places):
        assert b"" not in list(scanner.feed(read))


@pytest.mark.parametrize("partial", [b"", b"\xff", b"\xff\xfb", b"\xff\xfa\x2c", b"\xff\xfa\x2c\x01\xff"])
def test_an_empty_read_changes_nothing(partial: bytes) -> None:
    rest = b"\x01\xff\xf0end\xff\xf1"
    assert scan(partial, b"", rest) == scan(partial + rest)


def test_data_without_iac_is_handed_on_as_it_stands() -> None:
    data = b"login: \r\n\0\x80\xfe" * 100
    assert list(Scanner().feed(data)) == [data]


def test_data_whose_only_iacs_are_doubled_comes_as_one_token() -> None:
    assert list(Scanner().feed(b"a\xff\xffb\xff\xff\xff\xffc")) == [b"a\xffb\xff\xffc"]


def test_three_iacs_are_one_data_byte_and_the_start_of_a_command() -> None:
    assert scan(b"a\xff\xff\xff", b"\xf1b") == [b"a\xff", Command(NOP), b"b"]


def test_a_doubled_iac_cut_in_two_is_one_data_byte() -> None:
    scanner = Scanner()
    assert list(scanner.feed(b"a\xff")) == [b"a"]
    assert scanner.busy
    assert list(scanner.feed(b"\xffb")) == [b"\xffb"]
    assert not scanner.busy


def test_data_between_commands_is_kept_in_order() -> None:
    stream = (
        b"one" + negotiation(WILL, 0) + b"two\xff\xff" + b"\xff\xf3" + b"three" + subnegotiation(44, b"x") + b"four"
    )
    assert scan(stream) == [
        b"one",
        Negotiation(WILL, 0),
        b"two\xff",
        Command(BRK),
        b"three",
        Subnegotiation(44, b"x"),
        b"four",
    ]


def test_data_comes_before_the_command_that_follows_it_in_the_same_read() -> None:
    assert list(Scanner().feed(b"data\xff\xf3")) == [b"data", Command(BRK)]


def test_data_before_a_command_that_is_not_complete_is_not_held_back() -> None:
    for partial in (b"\xff", b"\xff\xfb", b"\xff\xfa", b"\xff\xfa\x2cabc", b"\xff\xfa\x2cabc\xff"):
        assert list(Scanner().feed(b"data" + partial)) == [b"data"]


@each("code", PLAIN_COMMANDS)
def test_a_plain_command_is_reported_and_keeps_the_data_around_it(code: int) -> None:
    assert scan(b"a" + bytes((IAC, code)) + b"b") == [b"a", Command(code), b"b"]


def test_an_unknown_command_is_an_oddity_and_keeps_the_data_around_it() -> None:
    for code in UNKNOWN_COMMANDS:
        stream = b"a" + bytes((IAC, code)) + b"b"
        assert scan(stream) == scan(*bytewise(stream)) == [b"a", ("oddity", False), b"b"], code


def test_every_byte_can_be_an_option() -> None:
    for verb in VERBS:
        for option in range(256):
            assert scan(negotiation(verb, option) + b"x") == [Negotiation(verb, option), b"x"]


def test_an_iac_as_option_starts_no_command() -> None:
    assert scan(b"\xff\xfb\xff\xf1") == [Negotiation(WILL, 255), b"\xf1"]


def test_the_captured_opening_is_read_in_one_piece() -> None:
    stream = b"\xff\xfd\x00\xff\xfd\x03\xff\xfb\xe8" + subnegotiation(232, b"FSvSPC.py") + b"boot\r\n"
    assert scan(stream) == [
        Negotiation(DO, 0),
        Negotiation(DO, 3),
        Negotiation(WILL, 232),
        Subnegotiation(232, b"FSvSPC.py"),
        b"boot\r\n",
    ]


def test_a_doubled_iac_in_a_subnegotiation_is_one_byte() -> None:
    stream = b"\xff\xfa\xe8\x28\x76\x19\xff\xff\xe9\xff\xf0"
    expected = [Subnegotiation(VMWARE_EXT, b"\x28\x76\x19\xff\xe9")]
    for place in range(len(stream) + 1):
        assert scan(stream[:place], stream[place:]) == expected


def test_a_doubled_iac_before_se_does_not_end_the_subnegotiation() -> None:
    assert scan(b"\xff\xfa\x2ca\xff\xff\xf0b\xff\xf0") == [Subnegotiation(COM_PORT, b"a\xff\xf0b")]


def test_a_subnegotiation_that_ends_in_a_data_iac_is_whole() -> None:
    assert scan(subnegotiation(COM_PORT, b"a\xff")) == [Subnegotiation(COM_PORT, b"a\xff")]


def test_a_subnegotiation_of_an_option_alone_has_an_empty_payload() -> None:
    assert scan(b"\xff\xfa\x2c\xff\xf0") == [Subnegotiation(COM_PORT, b"")]


def test_a_subnegotiation_without_an_option_is_an_oddity_and_keeps_the_data_around_it() -> None:
    stream = b"a\xff\xfa\xff\xf0b"
    for place in range(len(stream) + 1):
        assert scan(stream[:place], stream[place:]) == [b"a", ("oddity", False), b"b"]


@pytest.mark.parametrize(
    ("interruption", "tokens"),
    [
        (b"\xff\xf1", [Command(NOP)]),
        (b"\xff\xf3", [Command(BRK)]),
        (b"\xff\xfb\x03", [Negotiation(WILL, 3)]),
        (b"\xff\xfe\xff", [Negotiation(DONT, 255)]),
        (b"\xff\x41", [("oddity", False)]),
        (b"\xff\xfa\x2cz\xff\xf0", [Subnegotiation(COM_PORT, b"z")]),
    ],
)
def test_a_command_inside_a_subnegotiation_ends_it_and_is_taken_as_it_stands(
    interruption: bytes, tokens: list[object]
) -> None:
    stream = b"a\xff\xfa\xe8\x46S" + interruption + b"b"
    for place in range(len(stream) + 1):
        assert scan(stream[:place], stream[place:]) == [b"a", ("oddity", False), *tokens, b"b"]


def test_se_without_a_subnegotiation_is_an_oddity() -> None:
    assert scan(b"a\xff\xf0b") == [b"a", ("oddity", False), b"b"]


def test_oddities_say_what_was_wrong() -> None:
    stream = b"\xff\x41" + b"\xff\xfa\xff\xf0" + b"\xff\xfa\x01\xff\xf1" + b"\xff\xfa12345\xff\xf0"
    unknown, empty, cut_short, too_long = (t.what for t in Scanner(4).feed(stream) if isinstance(t, Oddity))
    assert "65" in unknown
    assert "empty" in empty
    assert "241" in cut_short
    assert "4 bytes" in too_long


def test_a_subnegotiation_of_exactly_the_limit_passes() -> None:
    payload = b"\xff" * (SUBNEGOTIATION_LIMIT - 1)
    assert scan(subnegotiation(44, payload)) == [Subnegotiation(44, payload)]


@pytest.mark.parametrize("filling", [b"a", b"\xff"])
def test_one_byte_more_than_the_limit_is_fatal_at_any_cut(filling: bytes) -> None:
    stream = b"data" + subnegotiation(44, filling * 16)
    for place in range(len(stream) + 1):
        assert scan(stream[:place], stream[place:], limit=16) == [b"data", FATAL]
    assert scan(*bytewise(stream), limit=16) == [b"data", FATAL]


def test_a_subnegotiation_without_an_end_is_fatal_once_it_exceeds_the_limit() -> None:
    scanner = Scanner()
    fed = 0
    tokens: list[Token] = list(scanner.feed(b"\xff\xfa\xe8"))
    while not tokens:
        tokens = list(scanner.feed(b"x" * 100))
        fed += 100
    assert plain(tokens) == [FATAL]
    assert fed <= SUBNEGOTIATION_LIMIT + 100


def test_doubled_iacs_count_once_towards_the_limit() -> None:
    assert scan(subnegotiation(44, b"\xff" * 15), limit=16) == [Subnegotiation(44, b"\xff" * 15)]


def test_only_the_overlong_subnegotiation_is_fatal() -> None:
    rng = random.Random(1)
    weights = [1] * 240 + [30] * 16
    for _ in range(50):
        stream = bytes(rng.choices(range(256), weights, k=2000))
        for token in Scanner(5000).feed(stream):
            assert not isinstance(token, Oddity) or not token.fatal


def test_nothing_of_the_stream_comes_out_behind_a_fatal_oddity_at_any_cut() -> None:
    # What follows belongs to a subnegotiation whose start was thrown away: it is no serial data.
    stream = b"\xff\xfa\x2c" + b"x" * 40 + b"\xff\xf0more"
    for place in range(len(stream) + 1):
        scanner = Scanner(16)
        tokens = [*scanner.feed(stream[:place]), *scanner.feed(stream[place:])]
        assert [type(token) for token in tokens] == [Oddity]


def retained(scanner: Scanner) -> int:
    values = [getattr(scanner, name) for name in Scanner.__slots__]
    return sum(len(value) for value in values if isinstance(value, (bytes, bytearray, list)))


@given(stream=streams, limit=limits, places=places)
def test_the_scanner_retains_no_more_than_a_subnegotiation_and_two_bytes(
    stream: bytes, limit: int, places: list[int]
) -> None:
    scanner = Scanner(limit)
    for read in cut(stream, places):
        for _ in scanner.feed(read):
            pass
        assert retained(scanner) <= limit + 3  # a doubled IAC may exceed the limit by itself until the next byte


@each(
    "noise",
    [
        b"x" * 1000,
        b"\xff\xff" * 500,
        b"\xff",
        b"\xff\xff\xff",
        b"\xff\xfa",
        b"\xff\xfa\x2c",
        b"\xff\xfa\x2cabc\xff",
        b"\xff\xfb",
        b"\xff\xfa\xff\xf0",
    ],
)
def test_what_is_retained_does_not_grow_with_what_is_fed(noise: bytes) -> None:
    scanner = Scanner(64)
    for _ in range(2000):
        for _ in scanner.feed(noise):
            pass
        assert retained(scanner) <= 64 + 3


def test_nothing_is_retained_once_all_is_complete() -> None:
    scanner = Scanner()
    for _ in scanner.feed(b"data" + subnegotiation(44, b"x" * 4000) + b"\xff\xff\xff\xf1"):
        pass
    assert retained(scanner) == 0
    assert not scanner.busy


def test_a_reader_that_stops_at_a_token_has_had_nothing_behind_it_looked_at() -> None:
    scanner = Scanner()
    tokens = scanner.feed(negotiation(DO, 37) + b"\x16\x03\x01\xff\xfa\x2c")
    assert next(iter(tokens)) == Negotiation(DO, 37)
    assert not scanner.busy
    assert list(tokens) == [b"\x16\x03\x01"]
    assert scanner.busy


ALL_BYTES = bytes(range(256))


def test_escaping_leaves_all_but_iac_alone() -> None:
    assert escape(ALL_BYTES) == ALL_BYTES + b"\xff"
    assert escape(b"\xff\xff") == b"\xff\xff\xff\xff"
    assert escape(b"") == b""


@given(data=st.binary(max_size=300), places=places)
@example(data=ALL_BYTES + ALL_BYTES[::-1], places=[100, 256, 257, 400])
def test_escaped_data_is_scanned_back_as_it_was(data: bytes, places: list[int]) -> None:
    assert scan(*cut(escape(data), places)) == ([data] if data else [])


@given(option=st.integers(0, 254), payload=st.binary(max_size=300), places=places)
@example(option=232, payload=ALL_BYTES + b"\xff", places=[255, 258, 259])
def test_an_escaped_subnegotiation_is_scanned_back_as_it_was(option: int, payload: bytes, places: list[int]) -> None:
    stream = b"a" + subnegotiation(option, payload) + b"b"
    assert scan(*cut(stream, places)) == [b"a", Subnegotiation(option, payload), b"b"]


nvt_data = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"\r\n", b"\r\0", b"a", b"\xff", b"\x80"])).map(b"".join)


@examples(400)
@given(data=nvt_data, before=places, after=places)
@example(data=b"\r\n\0\r\0\n\r\r\n", before=[1, 5, 8], after=[2, 6, 7])
def test_nvt_data_is_decoded_back_as_it_was_at_any_cut_on_either_side(
    data: bytes, before: list[int], after: list[int]
) -> None:
    encoded = b"".join(nvt_encode(read) for read in cut(data, before))
    for reads in (cut(encoded, after), bytewise(encoded)):
        decoder = NvtDecoder()
        assert b"".join(decoder.feed(read) for read in reads) == data


@given(data=nvt_data, places=places)
def test_an_encoded_cr_is_always_followed_by_lf_or_nul(data: bytes, places: list[int]) -> None:
    encoded = b"".join(nvt_encode(read) for read in cut(data, places))
    assert not encoded.replace(b"\r\n", b"").replace(b"\r\0", b"").count(b"\r")


@given(data=nvt_data, places=places)
def test_any_data_is_decoded_the_same_however_it_is_cut(data: bytes, places: list[int]) -> None:
    # Also what nvt_encode would not make: lone CRs come from hosts that do not care.
    one, many, single = NvtDecoder(), NvtDecoder(), NvtDecoder()
    whole = one.feed(data)
    assert b"".join(many.feed(read) for read in cut(data, places)) == whole
    assert b"".join(single.feed(read) for read in bytewise(data)) == whole


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (b"ls\r", b"ls\r\0"),
        (b"a\r\nb", b"a\r\nb"),
        (b"a\nb", b"a\nb"),
        (b"\r\r\n", b"\r\0\r\n"),
        (b"\r\0", b"\r\0\0"),
        (b"", b""),
    ],
)
def test_nvt_encoding_marks_the_lone_cr_alone(data: bytes, encoded: bytes) -> None:
    assert nvt_encode(data) == encoded


def test_nvt_decoding_hands_a_cr_on_at_once() -> None:
    decoder = NvtDecoder()
    assert decoder.feed(b"ls\r") == b"ls\r"
    assert decoder.feed(b"\0") == b""
    assert decoder.feed(b"\0") == b"\0"


def test_nvt_decoding_takes_out_one_nul_per_cr_and_no_other() -> None:
    assert NvtDecoder().feed(b"\0a\r\0\0b\r\n\0c\n\0") == b"\0a\r\0b\r\n\0c\n\0"


def test_an_empty_read_does_not_make_the_decoder_forget_a_cr() -> None:
    decoder = NvtDecoder()
    assert decoder.feed(b"\r") + decoder.feed(b"") + decoder.feed(b"\0x") == b"\rx"


@given(
    st.lists(
        st.tuples(st.sampled_from([b"\xff\xff", b"\xff", b"a", b"line of text\r\n"]), st.integers(1, 40)), max_size=30
    ),
    st.sampled_from([1, 50]),
)
def test_doubled_iacs_are_undone_the_same_however_many_there_are(pieces: list[tuple[bytes, int]], times: int) -> None:
    data = b"".join(piece * number for piece, number in pieces) * times
    expected = None if b"\xff" in data.replace(b"\xff\xff", b"") else data.replace(b"\xff\xff", b"\xff")
    assert undoubled(data) == expected
