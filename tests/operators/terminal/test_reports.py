"""What a terminal sends by itself is told from what a person types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from vmproxy.operators.terminal.reports import Reports

REPORTS = {
    "cursor": b"\x1b[24;80R",
    "cursor, DEC": b"\x1b[?5;1;1R",
    "attributes": b"\x1b[?62;22c",
    "secondary": b"\x1b[>41;330;0c",
    "status": b"\x1b[0n",
    "locator": b"\x1b[?53n",
    "mode": b"\x1b[?2004;1$y",
    "size": b"\x1b[8;24;80t",
    "kitty": b"\x1b[?0u",
    "focus": b"\x1b[I",
    "no focus": b"\x1b[O",
    "mouse": b"\x1b[<0;5;6M",
    "colour": b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    "colour, BEL": b"\x1b]10;rgb:ffff/ffff/ffff\x07",
    "title": b"\x1b]ltitle\x1b\\",
    "setting": b"\x1bP1$r0m\x1b\\",
    "tertiary": b"\x1bP!|00000000\x1b\\",
    "version": b"\x1bP>|tmux 3.3a\x1b\\",
    "graphics": b"\x1b_Gi=1;OK\x1b\\",
}
KEYS = [
    *(b"a", b"\x1b", b"\x1b[A", b"\x1bOA", b"\x1b[1;5C", b"\x1b[15~", b"\x1b[1;2R", b"\x1b[1;5R", b"\x1bb", b"\x1b[Z"),
    *(b"\x1b[200~pasted\x1b[201~", b"\x1b[3~", "ä".encode(), b"\x03", b"\x05c.", b"\r", b"\x1b\x1b", b"\x1b[97;5u"),
    *(b"\x1bP", b"\x1b_", b"\x1bPls -l\r", b"\x1b_ls\r", b"\x1b]", b"\x1bX", b"\x1b^"),
]


def parts(*pieces: bytes) -> tuple[bytes, bytes]:
    """What is reported, and what is typed."""
    reports = Reports()
    found = [part for piece in pieces for part in reports.split(piece)]
    assert b"".join(part for _, part in found) == b"".join(pieces)
    return b"".join(p for report, p in found if report), b"".join(p for report, p in found if not report)


@each("report", REPORTS.values())
def test_a_report_is_one_and_is_no_typing(report: bytes) -> None:
    assert parts(report) == (report, b"")
    assert parts(b"l" + report + b"s" + report) == (2 * report, b"ls")
    for cut in range(3, len(report)):
        if report not in (b"\x1b[I", b"\x1b[O"):
            assert parts(report[:cut], report[cut:]) == (report, b""), cut


@each("key", KEYS)
def test_a_key_is_typed(key: bytes) -> None:
    assert parts(key) == (b"", key)


@given(st.lists(st.sampled_from([*KEYS, *REPORTS.values()]), max_size=8), st.integers(0, 60))
def test_every_byte_comes_out_in_order(pieces: list[bytes], cut: int) -> None:
    data = b"".join(pieces)
    parts(data[:cut], data[cut:])


def test_what_is_begun_and_never_ends_is_bounded() -> None:
    reports = Reports()
    for _ in range(100):
        list(reports.split(b"\x1b]" + b"x" * 1000))
        list(reports.split(b"1" * 1000))
    assert len(reports.begun) < 5000


@pytest.mark.parametrize("alt", [b"\x1bP", b"\x1b_", b"\x1b]", b"\x1b]1", b"\x1bP1", b"\x1b_G"])
def test_what_is_typed_behind_a_key_with_alt_is_typing_again_by_the_next_control(alt: bytes) -> None:
    reports = Reports()
    list(reports.split(alt + b"l"))
    assert list(reports.split(b"\r")) == [(False, b"\r")]
    assert list(reports.split(b"\x05c.")) == [(False, b"\x05c.")]
