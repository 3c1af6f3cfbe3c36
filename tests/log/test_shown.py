"""Text as a terminal shows it, and where it stands: compared with a real interpreter, and with the bytes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.archive import Archive
from tests.support.requirements import expressions
from vmproxy.log.line_match import Expecter, find
from vmproxy.log.pattern import Pattern
from vmproxy.log.search import Search
from vmproxy.log.shown import LINE_LIMIT, ShownText, escaped

# What pyte and every terminal agree on, within a line and a screen.
EDITS = st.lists(
    st.sampled_from(
        [
            *(
                b"word",
                b"x",
                b" ",
                "ä".encode(),
                "日本".encode(),
                b"\b",
                b"\b\b\b",
                b"\r",
                b"\t",
                b"\x1b[m",
                b"\x1b[1;31m",
            ),
            *(b"\x1b[3D", b"\x1b[2C", b"\x1b[5G", b"\x1b[K", b"\x1b[1K", b"\x1b[2K", b"\x1b[P", b"\x1b[2@", b"\x1b[2X"),
            *(b"\x1b[?25l", b"\x1b]0;title\x07", b"\x07", b"\x1b[6n", b"\x1b(B", b"\x1b7", b"\x1b[4h", b"\x1b[4l"),
        ]
    ),
    max_size=25,
).map(b"".join)
PAINTS = st.lists(
    st.tuples(
        st.integers(1, 10), st.integers(1, 40), st.sampled_from([b"text", b"ab", b"\x1b[Kx", b"y\x1b[B\bz", b"\x1b[A!"])
    ),
    min_size=1,
    max_size=12,
)


def shown_by_pyte(data: bytes) -> list[str]:
    screen = pyte.Screen(400, 24)
    pyte.ByteStream(screen).feed(data)
    return [line.rstrip() for line in screen.display if line.strip()]


def shown(data: bytes) -> list[str]:
    return [
        row.rstrip()
        for line in data.split(b"\n")
        for row in (text.decode().expandtabs() for text in ShownText().rows(line))
        if row.strip()
    ]


@given(EDITS)
def test_an_edited_line_is_what_an_interpreter_shows(data: bytes) -> None:
    if "日".encode() not in data:  # pyte cuts wide characters in its own way
        assert shown(data) == shown_by_pyte(data)


@given(PAINTS)
def test_a_painted_screen_is_its_rows(paints: list[tuple[int, int, bytes]]) -> None:
    data = b"".join(b"\x1b[%d;%dH%s" % paint for paint in paints)
    assert shown(data) == shown_by_pyte(data)


@given(st.binary(max_size=300), st.sampled_from(["utf-8", "latin-1", "cp437", "shift_jis", "gb18030", "euc_kr"]))
def test_nothing_raises_and_lines_stay_lines(data: bytes, encoding: str) -> None:
    text = ShownText(encoding)
    for line in data.split(b"\n"):
        for row in text.rows(line):
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", row)
            escaped(row).decode()
    simple = text.simple(data)
    assert simple is None or simple.count(b"\n") == data.count(b"\n")


CASES = [
    (
        "[FAILED] Failed to start",
        b"[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mapache2.service\x1b[0m.\r\n",
    ),
    (r"\[  OK  \] Started Locale", b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mLocale Service\x1b[0m.\r\n"),
    (r"^root@web01:~# $", b"\x1b[?2004hroot@web01:~# "),
    (r"^root@web01:~# $", b"\x1b]3008;start=12;user=root\x1b\\root@web01:~# \x1b[0m"),
    (r"^login: $", b"boot\r\x1b[Klogin: "),
    (r"^ls xfoo$", b"ls foo\b\b\bxfoo\b\b\b\r\n"),
    (r"disk.*failed", b"disk \xff failed\r\n"),
    (r"^.*disk", b"\xc9\xc9 disk\r\n"),
    (r"^Ger.t$", b"Ger\xe4t\r\n"),
    (r"a[^x]b", b"a\xffb\r\n"),
    (r"a\Sb", b"a\x80b\r\n"),
    (r"^Device Manager$", b"\x1b[1;1HContinue\x1b[2;1HBoot Manager\x1b[3;1HDevice Manager"),
    (r"^page two$", b"page one\x1b[2J\x1b[Hpage two"),
]


@expressions
@pytest.mark.parametrize(("pattern", "data"), CASES)
def test_what_stands_on_the_screen_is_found_and_waited_for(tmp_path: Path, pattern: str, data: bytes) -> None:
    fixed = pattern.startswith("[F")
    before = b"something before\r\n"
    archive = Archive(tmp_path)
    archive.path.write_bytes(before + data + b"\r\nbehind\r\n")
    work = Search([("vm", archive.path)], Pattern(pattern, fixed=fixed), None, lambda _: ShownText())
    (hit,) = [hit for hits in work for hit in hits]
    assert hit.offset == len(before)
    assert hit.line == data.rstrip(b"\r\n")
    expecter = Expecter(pattern, fixed=fixed, text=ShownText())
    assert any(expecter.feed((before + data)[n : n + 1]) for n in range(len(before + data)))
    assert Expecter(pattern, fixed=fixed, text=ShownText()).feed(before + data) == hit.text


@expressions
@pytest.mark.parametrize("pattern", ["^ls foo", "x1b", "2004", "title"])
def test_what_does_not_stand_there_is_not_found(pattern: str) -> None:
    data = b"ls foo\b\b\bxfoo\x1b]0;title\x07\r\n\x1b[?2004h$ \r\n"
    assert not list(find(Pattern(pattern), data, ShownText()))


@given(
    st.lists(
        st.sampled_from(
            [
                b"needle\n",
                b"ne\x1b[1med\x1b[mle\r\n",
                b"hay\n",
                b"\n",
                b"xx\rneedle\n",
                b"\x1b[2;2Hneedle\x1b[4;2Hneedle\n",
                b"\xff needle\r\n",
                "é £ needle\n".encode(),
                b"needle",
                b"hay\x1b[K\r\r\n",
            ]
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_a_hit_says_where_its_line_begins(pieces: list[bytes], compress: bool) -> None:
    content = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder))
        archive.path.write_bytes(content)
        if compress:
            archive.rotate(True)
        work = Search([("vm", archive.path)], Pattern("needle"), None, lambda _: ShownText())
        hits = [hit for found in work for hit in found][::-1]
    starts = [0, *(match.end() for match in re.finditer(b"\n", content))]
    want = []
    for start in starts:
        line = content[start:].partition(b"\n")[0]
        want += [(start, row) for row in ShownText().rows(line) if b"needle" in row]
    assert [(hit.offset, hit.text) for hit in hits] == want


@expressions
@pytest.mark.parametrize(
    ("encoding", "text"), [("latin-1", "Gerät £"), ("shift_jis", "日本語ソ表"), ("cp437", "║ ¢ Ç"), ("gb18030", "汉字")]
)
def test_other_encodings_are_read_as_such(encoding: str, text: str) -> None:
    data = b"\x1b[1m" + text.encode(encoding) + b"\x1b[m\r\n" + b"x\b" + text.encode(encoding) + b"\n"
    found = list(find(Pattern(f"^{re.escape(text)}$"), data, ShownText(encoding)))
    assert [one.text.decode() for one in found] == [text, text]


@pytest.mark.parametrize(
    "line",
    [
        "e" + "\u0301" * 2000 + "\x1b[255b",
        "e" + "\u0301" * 2000 + "\x1b[255b" + "\r\x1b[C\x1b[255b" * 3,
        "\b" + "x\x1b[255b\r\x1b[L" * 1200,
        "\b" + "\xe9\x1b[255b\r\x1b[L" * 1200,
    ],
)
def test_a_character_that_is_repeated_makes_a_line_no_longer_than_a_few_times(line: str) -> None:
    data = line.encode()
    assert sum(map(len, ShownText().rows(data))) <= 4 * len(data) + 4096


def test_a_character_has_its_marks_and_is_repeated_without_them() -> None:
    assert ShownText().rows("\be\u0301\u0323\x1b[2b".encode()) == ["e\u0301\u0323ee".encode()]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"x" * 1000 + b"\x1b[2Ky", b" " * 256 + b"y"),
        (b"x" * 1000 + b"\x1b[1Ky", b"x" * 745 + b" " * 255 + b"y"),
        (b"x" * 1000 + b"\r\x1b[9999X", b" " * 256 + b"x" * 744),
    ],
)
def test_no_sequence_changes_more_of_a_long_line_than_what_can_be_addressed(line: bytes, row: bytes) -> None:
    assert ShownText().rows(line) == [row]


@pytest.mark.parametrize(
    "character", [b"\x9b", b"\xff", b"\xe2\x82", "\u00e9".encode(), "\u20ac".encode(), "\U0001f600".encode()]
)
def test_a_long_line_is_broken_into_few_pieces_and_between_characters(character: bytes) -> None:
    line = character * (2 * LINE_LIMIT // len(character)) + b"end"
    pieces = list(ShownText().pieces(line))
    assert b"".join(pieces) == line
    assert len(pieces) <= 3
    if character.decode(errors="ignore"):
        assert [piece.decode() for piece in pieces]
