"""COM-PORT: what each client command sets, means and is answered, and that no value can hurt."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.properties import examples
from vmproxy.wire.comport import (
    CD,
    CTS,
    DELTA_CD,
    DELTA_CTS,
    DELTA_DSR,
    DSR,
    LINES_UP,
    AccessServer,
    Break,
    Com,
    Settings,
    Suspend,
)

SIGNATURE = b"vmproxy/1"


@pytest.fixture
def server() -> AccessServer:
    return AccessServer(SIGNATURE)


def ask(server: AccessServer, command: int, value: bytes = b"") -> bytes:
    """What the answer to a command says; it must be to that command, and mean nothing to others."""
    answer, meaning = server.received(bytes((command,)) + value)
    assert meaning is None
    assert answer[0] == command + 100
    return answer[1:]


def control(server: AccessServer, value: int) -> int:
    answer, _ = server.received(bytes((5, value)))
    assert len(answer) == 2
    assert answer[0] == 105
    return answer[1]


def baud(rate: int) -> bytes:
    return struct.pack("!L", rate)


def test_the_numbers_of_the_client_commands_are_those_of_the_rfc() -> None:
    assert [command.name for command in sorted(Com)] == [
        "SIGNATURE",
        "SET_BAUDRATE",
        "SET_DATASIZE",
        "SET_PARITY",
        "SET_STOPSIZE",
        "SET_CONTROL",
        "NOTIFY_LINESTATE",
        "NOTIFY_MODEMSTATE",
        "FLOWCONTROL_SUSPEND",
        "FLOWCONTROL_RESUME",
        "SET_LINESTATE_MASK",
        "SET_MODEMSTATE_MASK",
        "PURGE_DATA",
    ]
    assert sorted(Com) == list(range(13))


def test_the_bits_of_the_modem_state_are_those_of_the_rfc() -> None:
    assert (CD, DSR, CTS) == (128, 32, 16)
    assert (DELTA_CD, DELTA_DSR, DELTA_CTS) == (8, 2, 1)


def test_a_new_port_is_at_115200_8n1_with_dtr_and_rts(server: AccessServer) -> None:
    assert server.settings == Settings(115200, 8, "N", "1", True, True)
    assert str(server.settings) == "115200 8N1 DTR RTS"


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (Settings(9600, 7, "E", "2", False, False), "9600 7E2"),
        (Settings(300, 5, "S", "1.5", True, False), "300 5S1.5 DTR"),
        (Settings(50, 6, "M", "1", False, True), "50 6M1 RTS"),
    ],
)
def test_settings_read_as_people_write_them(setting: Settings, text: str) -> None:
    assert str(setting) == text


# The commands with a value of their own


def test_the_question_who_we_are_is_answered_with_the_signature(server: AccessServer) -> None:
    assert ask(server, 0) == SIGNATURE


def test_the_signature_of_the_vm_is_not_taken_over(server: AccessServer) -> None:
    server.received(b"\0" + b"ESXi" * 500)
    assert ask(server, 0) == SIGNATURE


@pytest.mark.parametrize("rate", [1, 50, 110, 9600, 115200, 921600, 0x00FF0000, 0xFF000000, 0xFFFFFFFF])
def test_any_baud_rate_is_set_and_confirmed(server: AccessServer, rate: int) -> None:
    assert ask(server, 1, baud(rate)) == baud(rate)
    assert server.settings.baud == rate


def test_baud_rate_zero_asks(server: AccessServer) -> None:
    ask(server, 1, baud(9600))
    assert ask(server, 1, baud(0)) == baud(9600)
    assert server.settings.baud == 9600


@pytest.mark.parametrize("short", [b"", b"\x00", b"\x25\x80", b"\x00\x25\x80"])
def test_a_short_baud_rate_changes_nothing_and_is_answered_with_what_is_in_force(
    server: AccessServer, short: bytes
) -> None:
    assert ask(server, 1, short) == baud(115200)
    assert server.settings.baud == 115200


def test_of_an_overlong_baud_rate_the_first_four_bytes_count(server: AccessServer) -> None:
    assert ask(server, 1, baud(9600) + b"\xff" * 100) == baud(9600)
    assert ask(server, 1, baud(0) + b"\x01") == baud(9600)


GOOD = [
    *[(2, value, "data_bits", value) for value in (5, 6, 7, 8)],
    *[(3, value, "parity", letter) for value, letter in enumerate("NOEMS", 1)],
    *[(4, value, "stop_bits", text) for value, text in enumerate(("1", "2", "1.5"), 1)],
]


@pytest.mark.parametrize(("command", "value", "name", "shown"), GOOD)
def test_a_good_value_is_set_confirmed_and_shown(
    server: AccessServer, command: int, value: int, name: str, shown: object
) -> None:
    assert ask(server, command, bytes((value,))) == bytes((value,))
    assert ask(server, command, b"\0") == bytes((value,))
    assert getattr(server.settings, name) == shown


@pytest.mark.parametrize(("command", "value", "name", "shown"), GOOD)
def test_of_an_overlong_value_the_first_byte_counts(
    server: AccessServer, command: int, value: int, name: str, shown: object
) -> None:
    assert ask(server, command, bytes((value, 1, 2, 3)) + b"\xff" * 100) == bytes((value,))
    assert getattr(server.settings, name) == shown


@pytest.mark.parametrize(("command", "good"), [(2, 7), (3, 2), (4, 3)])
def test_every_value_out_of_range_and_none_at_all_are_answered_with_what_is_in_force(
    server: AccessServer, command: int, good: int
) -> None:
    valid = {value for number, value, _, _ in GOOD if number == command}
    ask(server, command, bytes((good,)))
    before = server.settings
    for value in (b"", *(bytes((value,)) for value in range(256) if value not in valid)):
        assert ask(server, command, value) == bytes((good,))
        assert server.settings == before


# SET-CONTROL


@pytest.mark.parametrize(("name", "question", "on", "off"), [("dtr", 7, 8, 9), ("rts", 10, 11, 12)])
def test_a_line_of_the_guest_is_set_asked_for_and_shown(
    server: AccessServer, name: str, question: int, on: int, off: int
) -> None:
    assert control(server, question) == on
    assert control(server, off) == off
    assert control(server, question) == off
    assert getattr(server.settings, name) is False
    assert control(server, on) == on
    assert control(server, question) == on
    assert getattr(server.settings, name) is True


def test_dtr_and_rts_are_independent(server: AccessServer) -> None:
    control(server, 9)
    assert (server.settings.dtr, server.settings.rts) == (False, True)
    control(server, 12)
    control(server, 8)
    assert (server.settings.dtr, server.settings.rts) == (True, False)


def test_a_break_of_the_guest_is_confirmed_and_reported(server: AccessServer) -> None:
    assert server.received(b"\x05\x04") == (b"\x69\x06", None)
    assert server.received(b"\x05\x05") == (b"\x69\x05", Break(True))
    assert server.received(b"\x05\x04") == (b"\x69\x05", None)
    assert server.received(b"\x05\x06") == (b"\x69\x06", Break(False))
    assert server.received(b"\x05\x04") == (b"\x69\x06", None)


def test_no_other_control_value_is_a_break(server: AccessServer) -> None:
    for value in range(256):
        assert (server.received(bytes((5, value)))[1] is None) is (value not in (5, 6)), value


@pytest.mark.parametrize("value", [1, 2, 3, 17, 19])
def test_outbound_flow_control_is_set_and_asked_for(server: AccessServer, value: int) -> None:
    assert control(server, 0) == 1
    assert control(server, value) == value
    assert control(server, 0) == value


@pytest.mark.parametrize("value", [14, 15, 16, 18])
def test_inbound_flow_control_is_set_and_asked_for(server: AccessServer, value: int) -> None:
    assert control(server, 13) == 14
    assert control(server, value) == value
    assert control(server, 13) == value


@pytest.mark.parametrize("value", [14, 15, 16, 18])
def test_inbound_flow_control_leaves_outbound_alone(server: AccessServer, value: int) -> None:
    control(server, 2)
    control(server, value)
    assert control(server, 0) == 2


def test_of_an_overlong_control_the_first_byte_counts(server: AccessServer) -> None:
    assert server.received(b"\x05\x09\x05\x05") == (b"\x69\x09", None)
    assert server.settings.dtr is False


def test_an_unknown_or_missing_control_is_ignored_and_counted(server: AccessServer) -> None:
    before = server.settings
    for ignored, value in enumerate([b"", *(bytes((value,)) for value in range(20, 256))]):
        assert server.received(b"\x05" + value) == (b"", None), value
        assert server.ignored == ignored + 1
        assert server.settings == before


# State, masks, flow control, purging


def test_the_modem_lines_are_up_when_asked_for(server: AccessServer) -> None:
    assert ask(server, 7) == ask(server, 7, b"\x00") == ask(server, 7, b"\x00" * 100) == bytes((128 | 32 | 16,))


def test_the_line_state_says_that_the_transmitter_is_empty(server: AccessServer) -> None:
    assert ask(server, 6) == ask(server, 6, b"\xff") == ask(server, 6, b"\xff" * 100) == bytes((64 | 32,))


def test_somebody_there_looks_like_cd_dsr_and_cts_that_came_up(server: AccessServer) -> None:
    assert server.modem_state() == bytes((107, 128 | 32 | 16 | 8 | 2 | 1))


@pytest.mark.parametrize("command", [10, 11])
def test_a_mask_of_any_value_is_set_and_confirmed(server: AccessServer, command: int) -> None:
    for value in range(256):
        assert ask(server, command, bytes((value,))) == bytes((value,))


@pytest.mark.parametrize(("command", "default"), [(10, 0), (11, 255)])
def test_a_mask_without_a_value_is_answered_with_the_one_in_force(
    server: AccessServer, command: int, default: int
) -> None:
    assert ask(server, command) == bytes((default,))
    ask(server, command, b"\x21\x42")
    assert ask(server, command) == b"\x21"


def test_the_masks_are_independent(server: AccessServer) -> None:
    ask(server, 10, b"\x01")
    ask(server, 11, b"\x80")
    assert ask(server, 10) == b"\x01"
    assert ask(server, 11) == b"\x80"


@pytest.mark.parametrize(
    ("mask", "state"),
    [(0, b""), (255, b"\x6b\xbb"), (16, b"\x6b\x10"), (0xF0, b"\x6b\xb0"), (0x0F, b"\x6b\x0b"), (64 | 4, b"")],
)
def test_the_vm_is_told_of_the_modem_lines_that_its_mask_leaves(server: AccessServer, mask: int, state: bytes) -> None:
    ask(server, 11, bytes((mask,)))
    assert server.modem_state() == state


def test_the_mask_of_the_line_state_does_not_hide_modem_lines(server: AccessServer) -> None:
    ask(server, 10, b"\0")
    assert server.modem_state()[1] & LINES_UP == LINES_UP


@pytest.mark.parametrize("rest", [b"", b"\x00", b"\xff" * 100])
def test_suspend_and_resume_are_passed_on_and_get_no_answer(server: AccessServer, rest: bytes) -> None:
    # 108 and 109 would ask the VM to hold back its own data.
    assert server.received(b"\x08" + rest) == (b"", Suspend(True))
    assert server.received(b"\x09" + rest) == (b"", Suspend(False))
    assert server.ignored == 0


@pytest.mark.parametrize("value", [1, 2, 3])
def test_a_purge_is_confirmed_and_means_nothing_to_others(server: AccessServer, value: int) -> None:
    assert ask(server, 12, bytes((value,))) == bytes((value,))
    assert ask(server, 12, bytes((value,)) * 100) == bytes((value,))


def test_a_purge_without_a_value_gets_no_answer_without_a_value(server: AccessServer) -> None:
    # A 112 without its byte is malformed, and there is nothing in force that could be answered instead.
    assert server.received(b"\x0c") == (b"", None)
    assert server.ignored == 1


# What is not understood


def test_an_empty_payload_is_ignored_and_counted(server: AccessServer) -> None:
    assert server.received(b"") == (b"", None)
    assert server.ignored == 1


def test_every_unknown_command_is_ignored_and_counted(server: AccessServer) -> None:
    # Those above 100 are ours: a VM that echoes them must not be answered.
    for command in range(13, 256):
        assert server.received(bytes((command, 1, 2, 3, 4))) == (b"", None)
    assert server.ignored == 256 - 13


def test_known_commands_are_not_counted_as_ignored(server: AccessServer) -> None:
    for command in range(13):
        server.received(bytes((command, 0, 0, 0, 0)))
    assert server.ignored == 0


payloads = st.one_of(
    st.binary(max_size=8),
    st.builds(lambda command, value: bytes((command,)) + value, st.integers(0, 12), st.binary(max_size=6)),
)


@examples(300)
@given(st.lists(payloads, max_size=30))
@example([bytes((command, *([255] * 5000))) for command in range(256)])
def test_random_commands_never_raise_and_every_answer_is_well_formed(commands: list[bytes]) -> None:
    server = AccessServer(SIGNATURE)
    for payload in commands:
        before = server.ignored
        answer, meaning = server.received(payload)
        assert server.ignored - before == (not answer and meaning is None)
        if answer:
            assert answer[0] == payload[0] + 100
            assert len(answer) == {0: 1 + len(SIGNATURE), 1: 5}.get(payload[0], 2)
        if meaning is not None:
            assert payload[0] in (5, 8, 9)
        rate, bits = server.settings.baud, server.settings.data_bits
        assert 0 < rate < 2**32
        assert 5 <= bits <= 8
        assert str(server.settings).startswith(f"{rate} {bits}")
        assert server.modem_state()[:1] in (b"", b"\x6b")


@given(st.lists(payloads, max_size=30))
def test_asking_again_gives_the_answer_that_confirmed_a_setting(commands: list[bytes]) -> None:
    server = AccessServer(SIGNATURE)
    for payload in commands:
        answer, _ = server.received(payload)
        if payload and payload[0] in (1, 2, 3, 4, 10, 11):
            assert server.received(payload[:1]) == (answer, None)


@given(st.lists(payloads, max_size=30))
def test_ports_do_not_share_state(commands: list[bytes]) -> None:
    busy, idle = AccessServer(SIGNATURE), AccessServer(SIGNATURE)
    for payload in commands:
        busy.received(payload)
    assert idle.settings == AccessServer(SIGNATURE).settings
    assert idle.modem_state() == b"\x6b\xbb"
    assert idle.ignored == 0
