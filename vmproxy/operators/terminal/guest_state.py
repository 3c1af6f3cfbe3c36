"""The state into which a guest has put an operator's terminal, to undo it, and to know where a sequence ends.

The terminal is the operator's, and goes on being used when the console is left: for the next console, the menu, a
shell. So what a guest turns on and leaves on is remembered, with what undoes it: the alternate screen, reports of the
mouse, of pastes and of the focus, a hidden cursor, a scroll region, keys and colours of an application.

Bound: :data:`UNKNOWN_LIMIT` modes that nobody knows, and the beginning of one sequence.
"""

from __future__ import annotations

import re

from vmproxy.operators.terminal.replay_filter import USUAL
from vmproxy.wire.ecma48 import SevenBits, unfinished

UNKNOWN_LIMIT = 64
CANCEL = b"\x18"

_STATE = re.compile(
    rb"\x1b(?:\[(?P<private>[?>=!]?)(?P<numbers>[0-9;:]{0,200})(?P<between>[ $]?)(?P<final>[hlrsuqmpgi}])"
    rb"|(?P<single>[c=>H]|%[@G])|\](?P<command>P|R|(?:4|5|1[0-9])(?=;)))"
)
_ON_BY_DEFAULT = frozenset([b"?7", b"?8", b"?25", b"12"])
_NO_STATE = frozenset([b"?1048"])  # it saves or restores the cursor
_ALTERNATE = frozenset([b"?47", b"?1047", b"?1049"])
_KNOWN = frozenset(
    b"?1 ?3 ?5 ?6 ?9 ?45 ?66 ?67 ?69 ?80 ?1000 ?1001 ?1002 ?1003 ?1004 ?1005 ?1006 ?1007 ?1015 ?1016 ?2004 ?2026 ?2031"
    b" ?2048 2 4 20".split()
) | (_ON_BY_DEFAULT | _ALTERNATE)
_SOFT_RESET = frozenset([b"?1", b"?6", b"?7", b"?25", b"?69", b"2", b"4", b"=", b"r"])
# These put the cursor into the first line when they are undone; it is to be in the last.
_HOME = frozenset([b"?6", b"?69", b"r"])
_LAST_LINE = b"\x1b[999;1H"
_TABS = b"\x1b[?5W"


class GuestState:
    """What a guest has done to one terminal.

    :ivar cut: the beginning of a sequence that has been shown, and whose end has not come yet.
    """

    __slots__ = ("_painted", "_seven", "_undo", "cut")

    def __init__(self, encoding: str = "utf-8") -> None:
        """:param encoding: that of the characters in the output."""
        self._seven = SevenBits(encoding)
        self._undo: dict[bytes, bytes] = {}
        self._painted = False
        self.cut = b""

    @property
    def within(self) -> bool:
        """Whether the terminal is within a sequence or a character, and takes nothing else well."""
        return bool(self.cut or self._seven.rest)

    @property
    def begun(self) -> bytes:
        """The beginning of a sequence or a character, or of a character in a sequence, whose end has not come yet."""
        return self.cut + self._seven.rest

    def feed(self, data: bytes) -> None:
        """Take what is shown on the terminal."""
        if data.isascii() and b"\x1b" not in data and b"\x0e" not in data and not self.within:
            return
        data = self._seven.feed(data)
        self._painted = self._painted or b"\x1b" in data or b"\x0e" in data
        if self.cut:
            data = self.cut + data
        end = unfinished(data)
        self.cut = data[end:]
        for match in _STATE.finditer(data, 0, end):
            private, numbers, between, final, single, command = match.groups()
            if single:
                self._single(single)
            elif command:
                self._command(command)
            elif final in b"hl" and private in b"?" and not between:
                for number in numbers.split(b";"):
                    self._mode(private + number.lstrip(b"0"), final == b"h")
            else:
                self._control(private, numbers.strip(b"0;"), between + final)

    def lost(self) -> bytes:
        """The rest of a sequence will not come: what ends it, if it is one."""
        cut, self.cut = self.cut, b""
        self._seven.forget()
        return CANCEL if cut else b""

    def undo(self) -> bytes:
        """What puts the terminal right again; the state is forgotten."""
        undo, self._undo = self._undo, {}
        # A sequence that is not complete would swallow the beginning of what follows.
        parts = [CANCEL] if self.cut else []
        parts += [how for name, how in undo.items() if name not in _ALTERNATE]
        parts += [_LAST_LINE] if not _HOME.isdisjoint(undo) else []
        parts += [how for name, how in undo.items() if name in _ALTERNATE]
        parts += [USUAL] if self._painted else []
        self._painted = False
        self.cut = b""
        return b"".join(parts)

    def _set(self, name: bytes, on: bool, undo: bytes) -> None:
        if on:
            self._undo[name] = undo
        else:
            self._undo.pop(name, None)

    def _mode(self, name: bytes, on: bool) -> None:
        usual = name in _ON_BY_DEFAULT
        if name in _NO_STATE or (name not in _KNOWN and (len(name) > 6 or len(self._undo) > UNKNOWN_LIMIT)):
            return
        self._set(name, on != usual, b"\x1b[%s%s" % (name, b"h" if usual else b"l"))

    def _single(self, single: bytes) -> None:
        if single == b"c":
            self._undo.clear()
        elif single == b"H":
            self._undo[b"tabs"] = _TABS
        elif single in b"=>":
            self._set(b"=", single == b"=", b"\x1b>")
        else:
            self._set(b"%", single == b"%@", b"\x1b%G")

    def _command(self, command: bytes) -> None:
        if command in b"PR":
            self._set(b"palette", command == b"P", b"\x1b]R\x1b\\")
        else:
            self._undo[b"]" + command] = b"\x1b]1%s\x1b\\" % command.zfill(2)

    def _control(self, private: bytes, numbers: bytes, kind: bytes) -> None:
        match private, kind:
            case b"", b"r":
                self._set(b"r", bool(numbers), b"\x1b[r")
            case b"", b"s" if numbers:
                self._undo[b"?69"] = b"\x1b[?69l"
            case b"", b" q":
                self._set(b"cursor", bool(numbers), b"\x1b[0 q")
            case ((b">" | b"="), b"u"):
                self._undo[b"keys"] = b"\x1b[<99u"
            case b">", b"m":
                self._set(b"more keys", b";" in numbers, b"\x1b[>4m")
            case b"!", b"p":
                for name in _SOFT_RESET:
                    self._undo.pop(name, None)
            case b"", b"g":
                self._undo[b"tabs"] = _TABS
            case ((b"" | b"?"), b"i") if numbers in (b"4", b"5"):
                self._set(private + b"i", numbers == b"5", b"\x1b[%s4i" % private)
            case b"", b"$}":
                self._set(b"status line", bool(numbers), b"\x1b[0$}")
