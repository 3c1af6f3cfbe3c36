"""What is shown of the past asks nothing, and changes no more than the picture."""

from __future__ import annotations

import re

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cases import each
from tests.support.ssh import SSHWorld
from vmproxy.operators.terminal.replay_filter import USUAL, ReplayFilter

QUESTIONS = {
    "cursor": b"\x1b[6n",
    "cursor, DEC": b"\x1b[?6n",
    "status": b"\x1b[5n",
    "attributes": b"\x1b[c",
    "attributes with a number": b"\x1b[0c",
    "secondary": b"\x1b[>c",
    "tertiary": b"\x1b[=c",
    "version": b"\x1b[>0q",
    "identify": b"\x1bZ",
    "mode": b"\x1b[?2004$p",
    "parameters": b"\x1b[x",
    "checksum": b"\x1b[1;1;1;1;1;1*y",
    "size": b"\x1b[18t",
    "title": b"\x1b[21t",
    "kitty": b"\x1b[?u",
    "locator": b"\x1b['|",
    "setting": b"\x1bP$qm\x1b\\",
    "termcap": b"\x1bP+q544e\x1b\\",
    "foreground": b"\x1b]10;?\x07",
    "palette": b"\x1b]4;1;?\x1b\\",
    "clipboard": b"\x1b]52;c;?\x07",
    "graphics": b"\x1b_Gi=1,a=q;AAAA\x1b\\",
    "answerback": b"\x05",
    "cursor, 8 bits": b"\x9b6n",
    "cursor, 8 bits in UTF-8": b"\xc2\x9b6n",
    "identify, 8 bits": b"\x9a",
    "colour, 8 bits": b"\x9d10;?\x9c",
    "cursor with a control in it": b"\x1b[6\x00n",
    "two in one": b"\x1b[\x1b[6n",
}
MODES = {
    "mouse": b"\x1b[?1000h",
    "mouse, any": b"\x1b[?1003;1006h",
    "focus": b"\x1b[?1004h",
    "paste": b"\x1b[?2004h",
    "alternate screen": b"\x1b[?1049h",
    "hidden cursor": b"\x1b[?25l",
    "region": b"\x1b[5;10r",
    "keypad": b"\x1b=",
    "insert": b"\x1b[4h",
    "kitty keyboard": b"\x1b[>1u",
    "other keys": b"\x1b[>4;2m",
    "printer": b"\x1b[5i",
    "palette": b"\x1b]P0aabbcc",
    "title": b"\x1b]0;x\x07",
    "no UTF-8": b"\x1b%@",
    "highlight": b"\x1b[1;2;3;4;5T",
    "scroll-back": b"\x1b[3J",
    "tabs": b"\x1b[3g",
    "bell": b"\x07",
}
PIECES = st.sampled_from([*QUESTIONS.values(), *MODES.values(), b"\x1b", b"[", b"6", b"n", b"text", b"\n", b"\x1b[1m"])
HARMLESS = re.compile(rb"\x1b(?:\[[0-9:;]*[@A-KLMPSTXZ`abdefmsu]|[78DEM]|[()*+][0-~])|[\x08-\x0f\x20-\x7e\x80-\xff]")


class Answering(pyte.Screen):
    """A terminal that keeps its answers."""

    answers = ""

    def write_process_input(self, data: str) -> None:
        self.answers += data


def past(*pieces: bytes, encoding: str = "utf-8") -> bytes:
    kept = ReplayFilter(encoding)
    return b"".join(map(kept.feed, pieces)) + kept.end()


@each("harm", [*QUESTIONS, *MODES])
def test_what_asks_and_what_lasts_is_left_out(harm: str) -> None:
    data = (QUESTIONS | MODES)[harm]
    shown = past(b"login" + data + b": ")
    assert HARMLESS.sub(b"", shown) == b""
    assert shown in (b"login: ", b"login6n: ", b"loginn: ")


@each(
    "data",
    [
        *(b"\x1b[1;38:5:3mred\x1b[m", b"\x1b[2J\x1b[3;4Hx", b"\x1b[K\x1b[1@a\x1b[2P", b"\x1b[5X\x1b[3b\x1b[2L\x1b[M"),
        *(b"\x1b(0lqk\x1b(B", b"a\x0eq\x0fb\x1b)0", b"\x1b7\x1b8\x1bM\x1bD\x1bE", b"\x1b[s\x1b[u\x1b[2T"),
    ],
)
def test_what_paints_stays_and_the_terminal_is_as_usual_behind_it(data: bytes) -> None:
    assert past(data) == data + USUAL


def test_text_is_as_it_was() -> None:
    data = "one\r\ntwo\t€ 盛\r\n\b\x0b\x0c".encode() + b"\xff\xe9\n"
    assert past(data) == data


def test_a_character_that_is_not_complete_is_shown_as_far_as_it_has_come() -> None:
    assert past(b"caf\xc3") == b"caf\xc3"
    assert past(b"caf\xc3", b"\xa9") == b"caf\xc3\xa9"
    assert past(b"\x1b[1mcaf\xe2\x82") == b"\x1b[1mcaf\xe2\x82" + USUAL
    assert past(b"a\x1b]0;caf\xc3") == b"a"  # within a title


def test_a_reset_clears_the_screen_and_no_more() -> None:
    assert past(b"a\x1bcb\x1b[!pc") == b"a\x1b[m\x1b[H\x1b[2Jb\x1b[mc" + USUAL


def test_letters_of_other_encodings_are_no_controls() -> None:
    for encoding, text in (("cp437", "¢c£"), ("shift_jis", "日本語ソ"), ("koi8-r", "≈н")):
        assert past(text.encode(encoding), encoding=encoding) == text.encode(encoding)
    assert past(b"\x9bcx\xe9", encoding="latin-1") == b"x\xe9"


@given(st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=12).map(b"".join)), st.data())
def test_nothing_else_comes_out_however_it_is_cut(data: bytes, draw: st.DataObject) -> None:
    whole = past(data)
    assert HARMLESS.sub(b"", whole) == b""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert past(*pieces) == whole
    # A terminal that is asked nothing answers nothing.
    screen = Answering(80, 24)
    pyte.ByteStream(screen).feed(whole)
    assert not screen.answers


@pytest.mark.parametrize("how", ["attach", "recall", "menu", "log", "log -f", "log -t", "replay"])
def test_no_way_to_the_past_asks_the_terminal(w: SSHWorld, how: str) -> None:
    link = w.vm()
    w.console().feed(b"\x1b[!p\x1b]104\x07\x1b[?7h\x1b[6n\x1b[?1003h\x1b[c\x1b[1mlogin\x1b[m: ")
    w.store.flush()
    client = w.login("alice" if " " in how or how in ("log", "menu", "replay") else "web01")
    channel = client.open()
    channel.pty()
    if how in ("attach", "recall"):
        channel.shell()
    elif how == "menu":
        channel.shell()
        channel.type(b"\r")
    else:
        channel.exec(how.replace("log", "log web01").replace("replay", "replay web01"))
    client.pump()
    if how == "recall":
        channel.clear()
        channel.type(b"\x05cr")
        client.pump()
    w.clock.advance(2)
    client.pump()
    assert b"login" in channel.out
    for harm in (b"6n", b"1003h", b"\x1b[c", b"]104"):
        assert harm not in channel.out
    assert link.written == b""


def test_a_script_gets_the_bytes_as_they_are(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"\x1b[6nlogin: ")
    w.store.flush()
    assert w.login("alice").run("log web01").out == b"\x1b[6nlogin: "
    assert w.login("web01").attach(pty=False).out == b"\x1b[6nlogin: "


@pytest.mark.parametrize(
    ("begun", "rest"), [(b"\xc3", b"\xa9"), (b"\x1b[3", b"1mred"), (b"\x1b]0;caf\xc3", b"\xa9\x07x")]
)
def test_what_the_past_begins_the_present_completes(w: SSHWorld, begun: bytes, rest: bytes) -> None:
    w.vm()
    w.console().feed(b"one\r\ntwo" + begun)
    w.store.flush()
    channel = w.login("web01").attach()
    for _ in range(2):
        assert channel.screen.endswith(b"two\r\n[-- live --]\r\n")
        assert channel.out.endswith(b"two")
        channel.clear()
        channel.type(b"\x05cr")  # once more, from the middle of the same sequence
        channel.client.pump()
    w.console().feed(rest)
    w.console().feed(b" on")
    channel.client.pump()
    assert channel.out.endswith(b"two" + begun + rest + b" on")
    assert channel.out.count(rest) == 1
    channel.clear()
    channel.type(b"\x05ct\x05cw")  # nothing waits for the end of a sequence any more
    channel.client.pump()
    assert b"[who]" in channel.err


def test_a_follower_gets_past_and_present_as_one_stream_and_a_line_of_its_own_behind_it(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"\x1b[1mcaf\xc3")
    w.store.flush()
    channel = w.login("alice").open()
    channel.pty()
    channel.exec("log -f web01")
    channel.client.pump()
    w.console().feed(b"\xa9 \x1b[6nbar")
    channel.client.pump()
    assert channel.out == b"\x1b[1mcaf\xc3\xa9 bar"
    channel.type(b"\x03")
    channel.client.pump()
    assert channel.out == b"\x1b[1mcaf\xc3\xa9 bar" + USUAL + b"\r\n"
    assert channel.status == 130
