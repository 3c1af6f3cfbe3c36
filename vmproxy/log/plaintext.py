"""A console's output as plain lines with times, for people who ship logs with line-based tools.

What a terminal would show line by line, near enough: escape sequences and control characters are gone, a backspace
has rubbed out, and of a line that was written over, what was written last is there. One class, fed as the bytes come,
however they are cut: it keeps the line that is not finished yet, and the beginning of a sequence or a character.
Both are bounded, whatever the VM sends.

A carriage return that no line feed follows starts the line over: ``10%<CR>20%<CR>30%<LF>`` is the line ``30%``. (A
terminal would leave standing what the new text does not cover; here all of it goes.) It takes effect when the next
character comes, so that ``<CR><CR><LF>`` loses nothing. Backspace takes away the character before it, within the line.

Plain text, which is nearly all of it, passes through a few calls of ``re``, ``split`` and ``decode``; only what stands
between controls costs Python code for each piece.
"""

from __future__ import annotations

import codecs
import re

from vmproxy.log.events import timestamp

LINE_LIMIT = 16 * 1024
SEQUENCE_LIMIT = 4 * 1024

# A control that is not TAB, LF, or the CR before an LF.
_CONTROL = re.compile(rb"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_C1 = re.compile("[\x80-\x9f]+")
_CSI = re.compile(rb"\x1b\[[0-?]*[ -/]*")
_OTHER = re.compile(rb"\x1b[ -/]+")
_OSC = re.compile(rb"\x1b\][^\x00-\x1f]*")
_PALETTE = re.compile(rb"\x1b\]P[0-9A-Fa-f]{0,7}")
_STRING = re.compile(rb"\x1b[PX^_][^\x1b\x18\x1a]*")

_BACKSPACE, _CR, _ESC = 0x08, 0x0D, 0x1B


class PlainLines:
    """Turns a VM's bytes into plain lines.

    :ivar pending_since: when the first byte of the line came that is not finished yet, seconds since the epoch; None
        while there is none.
    """

    __slots__ = ("_carry", "_line", "_restart", "pending_since")

    def __init__(self) -> None:
        self._line = b""
        self._carry = b""  # the beginning of a sequence or of a character
        self._restart = False  # a carriage return came: the next character starts the line over
        self.pending_since: float | None = None

    def feed(self, data: bytes, at: float) -> list[bytes]:
        """Take what came from the VM.

        :param at: when it came, seconds since the epoch.
        :returns: the lines that are complete now, each with its time (UTC) in front and a line feed at its end:
            ``2026-11-22T16:09:13.123Z text``. The time is that of the line's first byte. Valid UTF-8 stays, other
            bytes are shown as ``\\xNN``. A line of more than 16 KiB is broken into several.
        """
        if self._carry:
            data = self._carry + data
            self._carry = b""
        lines: list[bytes] = []
        place = 0
        while control := _CONTROL.search(data, place):
            start = control.start()
            if start > place:
                self._text(data[place:start], at, lines, True)
            byte = data[start]
            place = start + 1
            if byte == _ESC:
                place = _sequence_end(data, start)
                if place < 0:
                    self._carry = data[start:]
                    return lines
            elif byte == _CR:
                self._restart = True
            elif byte == _BACKSPACE and not self._restart:
                self._rub_out()
        if place < len(data):
            self._text(data[place:], at, lines, False)
        return lines

    def flush(self) -> bytes | None:
        """Give up waiting for the rest of the line.

        :returns: what there is of it, as a line; what comes next begins a new one. None where there is nothing. The
            beginning of an escape sequence goes on waiting for its end.
        """
        lines: list[bytes] = []
        if self._carry and self._carry[0] != _ESC:
            carry, self._carry = self._carry, b""
            self._text(carry, self.pending_since or 0.0, lines, True)
        if self._line:
            self._end(self.pending_since or 0.0, lines)
        self.pending_since = None
        return b"".join(lines) or None

    def _text(self, data: bytes, at: float, lines: list[bytes], final: bool) -> None:
        """Take text, with no controls but TAB, LF, and CR before LF.

        :param final: whether a character that is not complete will never be.
        """
        if not data.isascii():
            # What is carried over is text of this line, and waits with it.
            data, rest = _clean(data, final)
            if rest:
                self._carry = rest
        elif b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        first, *others = data.split(b"\n")
        self._add(first, at, lines)
        if others:
            last = others.pop()
            self._end(at, lines)
            if others:
                prefix = timestamp(at).encode() + b" "
                for line in others:
                    if len(line) <= LINE_LIMIT:
                        lines.append(prefix + line + b"\n")
                    else:
                        self._add(line, at, lines)
                        self._end(at, lines)
            self._add(last, at, lines)
        if self._carry and self.pending_since is None:
            self.pending_since = at

    def _add(self, text: bytes, at: float, lines: list[bytes]) -> None:
        if not text:
            return
        if self._restart:
            self._restart = False
            self._line = b""
        if self.pending_since is None:
            self.pending_since = at
        line = self._line + text if self._line else text
        while len(line) > LINE_LIMIT:
            cut = LINE_LIMIT
            while line[cut] & 0xC0 == 0x80:  # not within a character
                cut -= 1
            self._line = line[:cut]
            self._end(at, lines)
            self.pending_since = at
            line = line[cut:]
        self._line = line

    def _end(self, at: float, lines: list[bytes]) -> None:
        began = at if self.pending_since is None else self.pending_since
        lines.append(timestamp(began).encode() + b" " + self._line + b"\n")
        self._line = b""
        self._restart = False
        self.pending_since = None

    def _rub_out(self) -> None:
        cut = len(self._line) - 1
        while cut > 0 and self._line[cut] & 0xC0 == 0x80:
            cut -= 1
        self._line = self._line[: max(0, cut)]


def _clean(data: bytes, final: bool) -> tuple[bytes, bytes]:
    """Text with bytes that are not ASCII.

    :returns: it as valid UTF-8 without control characters, line ends as LF; and the beginning of a character at its
        end, if ``final`` is not set.
    """
    text, used = codecs.utf_8_decode(data, "backslashreplace", final)
    return _C1.sub("", text).replace("\r\n", "\n").encode(), data[used:]


def _sequence_end(data: bytes, start: int) -> int:
    """Where an escape sequence ends.

    :param start: where its ESC stands.
    :returns: the place behind it; -1 if its end has not come yet. A byte that cannot stand in it ends it and is not
        part of it, so that a sequence that a crash cut off does not swallow the message that follows. What is longer
        than 4 KiB ends there.
    """
    if start + 1 == len(data):
        return -1
    kind = data[start + 1]
    limit = start + SEQUENCE_LIMIT
    match kind:
        case 0x5B:  # [
            return _control_end(data, limit, _CSI.match(data, start, limit), 0x40)
        case 0x5D:  # ]
            return _command_end(data, start, limit)
        case 0x50 | 0x58 | 0x5E | 0x5F:  # P, X, ^ and _: a string up to ESC \
            return _string_end(data, limit, _STRING.match(data, start, limit))
    if 0x20 <= kind < 0x30:  # a character set, say: ESC ( B
        return _control_end(data, limit, _OTHER.match(data, start, limit), 0x30)
    return start + 2 if 0x30 <= kind < 0x7F else start + 1


def _control_end(data: bytes, limit: int, match: re.Match[bytes] | None, final: int) -> int:
    assert match is not None  # it begins with what it was recognized by
    end = match.end()
    if end == limit:
        return end
    if end == len(data):
        return -1
    return end + 1 if final <= data[end] < 0x7F else end


def _command_end(data: bytes, start: int, limit: int) -> int:
    # The Linux console has two that nothing ends: ESC ] R, and ESC ] P with seven hexadecimal digits.
    match data[start + 2 : start + 3]:
        case b"":
            return -1
        case b"R":
            return start + 3
        case b"P":
            palette = _PALETTE.match(data, start, limit)
            assert palette is not None  # it begins with what it was recognized by
            end = palette.end()
            return -1 if end == len(data) and end < start + 10 else end
    return _string_end(data, limit, _OSC.match(data, start, limit))


def _string_end(data: bytes, limit: int, match: re.Match[bytes] | None) -> int:
    assert match is not None  # it begins with what it was recognized by
    end = match.end()
    if end == limit:
        return end
    if end == len(data):
        return -1
    if data[end] == 0x07:
        return end + 1
    if data[end] != _ESC:
        return end
    if end + 1 == len(data):
        return -1
    return end + 2 if data[end + 1] == 0x5C else end
