"""The state into which a guest has put an operator's terminal, to undo it, and to know where a sequence ends.

The terminal is the operator's, and goes on being used when the console is left: for the next console, the menu, a
shell. So what a guest turns on and leaves on is remembered, with what undoes it: the alternate screen, reports of the
mouse, of pastes and of the focus, a hidden cursor, a scroll region, keys and colours of an application.

Hundreds may look at one console, and a guest may print nothing but sequences. So what a piece of output does to a
terminal is worked out once for all who see it, and each sequence in it once.

Bound: :data:`UNKNOWN_LIMIT` modes that nobody knows, and the beginning of one sequence.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from vmproxy.operators.terminal.replay_filter import USUAL
from vmproxy.wire.ecma48 import SevenBits, unfinished

UNKNOWN_LIMIT = 64
CANCEL = b"\x18"

PIECES_KEPT = 8

# Colours (m) are the most of what guests print, and leave nothing to undo.
_GRAMMAR = (
    r"\x1b(?:\[(?P<private>[?>=!]?)(?P<numbers>[0-9;:]{0,200})(?P<between>[ $]?)(?P<final>[hlrsuqpgi}])"
    r"|\[>(?P<keys>[0-9;:]{0,200})m|(?P<single>[c=>H]|%[@G])|\](?P<command>[PR]|(?:4|5|1[0-9]);))"
)
_STATE = re.compile(_GRAMMAR.encode())
_SEQUENCES = re.compile(re.sub(r"\?P<\w+>", "?:", _GRAMMAR).encode())  # without groups: found in half the time
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


class _Mode(NamedTuple):
    """Something that is turned on.

    :ivar undo: what turns it off.
    :ivar redo: what turns it on again; empty where that is not known whole, or nobody should.
    """

    undo: bytes
    redo: bytes


_Modes = dict[bytes, _Mode | None]


class _Changes(NamedTuple):
    """What a piece of output does to every terminal on which it is shown.

    :ivar resets: whether everything from before is undone.
    :ivar known: what is turned on, with what undoes it, or off, in the order in which it was so last.
    :ivar unknown: the same of modes that nobody knows.
    :ivar cut: the beginning of a sequence whose end has not come yet.
    :ivar rest: that of a character.
    """

    resets: bool
    known: _Modes
    unknown: _Modes
    painted: bool
    cut: bytes
    rest: bytes


@lru_cache(PIECES_KEPT)
def _changes_by(encoding: str, cut: bytes, rest: bytes, data: bytes) -> _Changes:
    """What a piece of output does.

    :param cut: what has begun before it, as in :class:`_Changes`; so is ``rest``.
    """
    seven = SevenBits(encoding)
    seven.rest = rest
    data = seven.feed(data)
    painted = b"\x1b" in data or b"\x0e" in data
    data = cut + data
    end = unfinished(data)
    found = _Found()
    # Of equal ones the last counts.
    for sequence in reversed(dict.fromkeys(reversed(_SEQUENCES.findall(data, 0, end)))):
        found.take(sequence)
    return _Changes(found.resets, found.known, found.unknown, painted, data[end:], seven.rest)


class GuestState:
    """What a guest has done to one terminal.

    :ivar cut: the beginning of a sequence that has been shown, and whose end has not come yet.
    """

    __slots__ = ("_encoding", "_painted", "_rest", "_undo", "_unknown", "cut")

    def __init__(self, encoding: str = "utf-8") -> None:
        """:param encoding: that of the characters in the output."""
        self._encoding = encoding
        self._undo: dict[bytes, _Mode] = {}
        self._unknown: dict[bytes, _Mode] = {}
        self._painted = False
        self._rest = b""
        self.cut = b""

    @property
    def within(self) -> bool:
        """Whether the terminal is within a sequence or a character, and takes nothing else well."""
        return bool(self.cut or self._rest)

    @property
    def begun(self) -> bytes:
        """The beginning of a sequence or a character, or of a character in a sequence, whose end has not come yet."""
        return self.cut + self._rest

    def feed(self, data: bytes) -> None:
        """Take what is shown on the terminal."""
        if data.isascii() and b"\x1b" not in data and b"\x0e" not in data and not self.within:
            return
        changes = _changes_by(self._encoding, self.cut, self._rest, data)
        self.cut, self._rest = changes.cut, changes.rest
        self._painted = self._painted or changes.painted
        if changes.resets:
            self._undo.clear()
            self._unknown.clear()
        _take_in(changes.known, self._undo)
        _take_in(changes.unknown, self._unknown)
        while len(self._unknown) > UNKNOWN_LIMIT:
            self._unknown.popitem()

    def lost(self) -> bytes:
        """The rest of a sequence will not come: what ends it, if it is one."""
        cut, self.cut, self._rest = self.cut, b"", b""
        return CANCEL if cut else b""

    @property
    def alternate(self) -> bytes:
        """What has turned the alternate screen on; empty on the usual one."""
        return next((mode.redo for name, mode in self._undo.items() if name in _ALTERNATE), b"")

    @property
    def pause(self) -> bytes:
        """What puts a terminal right for a while, whichever screen is shown; :attr:`redo` has it as it was again."""
        return b"".join(mode.undo for mode in self._modes if mode.redo)

    @property
    def redo(self) -> bytes:
        """What undoes :attr:`pause`. It may move the cursor."""
        return b"".join(mode.redo for mode in self._modes)

    @property
    def _modes(self) -> list[_Mode]:
        modes = {**self._undo, **self._unknown}
        return [mode for name, mode in modes.items() if name not in _ALTERNATE]

    def undo(self) -> bytes:
        """What puts the terminal right again; the state is forgotten."""
        modes = {**self._undo, **self._unknown}
        undo, self._undo, self._unknown = {name: mode.undo for name, mode in modes.items()}, {}, {}
        # A sequence that is not complete would swallow the beginning of what follows.
        parts = [CANCEL] if self.cut else []
        parts += [how for name, how in undo.items() if name not in _ALTERNATE]
        parts += [_LAST_LINE] if not _HOME.isdisjoint(undo) else []
        parts += [how for name, how in undo.items() if name in _ALTERNATE]
        parts += [USUAL] if self._painted else []
        self._painted = False
        self.cut = b""
        return b"".join(parts)


def _take_in(changes: _Modes, known: dict[bytes, _Mode]) -> None:
    for name, mode in changes.items():
        known.pop(name, None)
        if mode is not None:
            known[name] = mode


class _Found:
    """Changes while they are worked out, see :class:`_Changes`."""

    __slots__ = ("_sequence", "known", "resets", "unknown")

    def __init__(self) -> None:
        self._sequence = b""
        self.resets = False
        self.known: _Modes = {}
        self.unknown: _Modes = {}

    def take(self, sequence: bytes) -> None:
        match = _STATE.match(sequence)
        assert match is not None
        self._sequence = sequence
        private, numbers, between, final, keys, single, command = match.groups()
        if single:
            self._single(single)
        elif command:
            self._command(command.rstrip(b";"))
        elif keys is not None:
            self._set(b"more keys", b";" in keys.strip(b"0;"), b"\x1b[>4m")
        elif final in b"hl" and private in b"?" and not between:
            for number in numbers.split(b";"):
                self._mode(private + number.lstrip(b"0"), final == b"h")
        else:
            self._control(private, numbers.strip(b"0;"), between + final)

    def _set(self, name: bytes, on: bool, undo: bytes, again: bool = True) -> None:
        self._put(self.known, name, _Mode(undo, self._sequence if again else b"") if on else None)

    def _put(self, modes: _Modes, name: bytes, mode: _Mode | None) -> None:
        modes.pop(name, None)
        modes[name] = mode

    def _mode(self, name: bytes, on: bool) -> None:
        usual = name in _ON_BY_DEFAULT
        undo, redo = (b"\x1b[%s%s" % (name, b"h" if set_ else b"l") for set_ in (usual, on))
        mode = _Mode(undo, redo) if on != usual else None
        if name in _KNOWN:
            self._put(self.known, name, mode)
        elif name in self.unknown or (name not in _NO_STATE and len(name) <= 6 and len(self.unknown) <= UNKNOWN_LIMIT):
            self._put(self.unknown, name, mode)

    def _single(self, single: bytes) -> None:
        if single == b"c":
            self.resets = True
            self.known.clear()
            self.unknown.clear()
        elif single == b"H":
            self._set(b"tabs", True, _TABS)
        elif single in b"=>":
            self._set(b"=", single == b"=", b"\x1b>")
        else:
            self._set(b"%", single == b"%@", b"\x1b%G")

    def _command(self, command: bytes) -> None:
        if command in b"PR":
            self._set(b"palette", command == b"P", b"\x1b]R\x1b\\", again=False)
        else:
            self._set(b"]" + command, True, b"\x1b]1%s\x1b\\" % command.zfill(2), again=False)

    def _control(self, private: bytes, numbers: bytes, kind: bytes) -> None:
        match private, kind:
            case b"", b"r":
                self._set(b"r", bool(numbers), b"\x1b[r")
            case b"", b"s" if numbers:
                self._set(b"?69", True, b"\x1b[?69l")
            case b"", b" q":
                self._set(b"cursor", bool(numbers), b"\x1b[0 q")
            case ((b">" | b"="), b"u"):
                self._set(b"keys", True, b"\x1b[<99u")
            case b"!", b"p":
                for name in _SOFT_RESET:
                    self._set(name, False, b"")
            case b"", b"g":
                self._set(b"tabs", True, _TABS)
            case ((b"" | b"?"), b"i") if numbers in (b"4", b"5"):
                self._set(private + b"i", numbers == b"5", b"\x1b[%s4i" % private, again=False)
            case b"", b"$}":
                self._set(b"status line", bool(numbers), b"\x1b[0$}")
