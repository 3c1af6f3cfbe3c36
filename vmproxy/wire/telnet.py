"""Telnet framing (RFC 854, 855): bytes in, tokens out; escaping the other way.

The scanner is written for a stream that is almost all data: a read without an IAC byte (255) costs one search, and
a read whose only IAC bytes are doubled data costs one replacement. Everything else takes the slow path, one token at
a time. It never raises on input: what cannot be understood comes out as an :class:`Oddity`, and scanning goes on.

Tokens come out of a generator, one by one. A reader may stop in the middle (at a switch to TLS): nothing behind that
point has been looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

SE = 240
NOP = 241
DM = 242
BRK = 243
IP = 244
AO = 245
AYT = 246
EC = 247
EL = 248
GA = 249
SB = 250
WILL = 251
WONT = 252
DO = 253
DONT = 254
IAC = 255

BINARY = 0
ECHO = 1
SGA = 3
AUTHENTICATION = 37
COM_PORT = 44
VMWARE_EXT = 232

IAC_BYTE = b"\xff"
DOUBLED = b"\xff\xff"
REMEMBERED = 512  # bytes of a read at most that is looked up before it is scanned
RARE = 16
SUBNEGOTIATION_LIMIT = 4096

_VERBS = frozenset((WILL, WONT, DO, DONT))
_COMMANDS = frozenset((NOP, DM, BRK, IP, AO, AYT, EC, EL, GA))


@dataclass(frozen=True, slots=True)
class Command:
    """A Telnet command without an argument, such as BRK."""

    code: int


@dataclass(frozen=True, slots=True)
class Negotiation:
    """WILL, WONT, DO or DONT (``verb``) about an option."""

    verb: int
    option: int


@dataclass(frozen=True, slots=True)
class Subnegotiation:
    """``IAC SB option payload IAC SE``, the payload with its doubled IACs undone."""

    option: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Oddity:
    """A fault of the peer in Telnet; the stream goes on behind it unless ``fatal``."""

    what: str
    fatal: bool = False


Token = bytes | Command | Negotiation | Subnegotiation | Oddity


@dataclass(frozen=True, slots=True)
class ScannerState:
    """A scanner between two reads.

    :ivar pending: the IAC, or IAC and verb, that the last read ended in.
    :ivar sub: option and payload of a subnegotiation that has begun; None where there is none.
    :ivar dead: whether a fatal oddity has come.
    """

    pending: bytes
    sub: bytes | None
    dead: bool


class Scanner:
    """Takes a Telnet stream apart, however it is cut.

    :ivar busy: whether a command is under way, so that even a read without an IAC byte must go through
        :meth:`feed`. While it is false, such a read is data as it stands.
    """

    __slots__ = ("_dead", "_limit", "_pending", "_sub", "busy")

    def __init__(self, limit: int = SUBNEGOTIATION_LIMIT) -> None:
        self._limit = limit
        self._pending = b""  # an IAC, or IAC and verb, that the last read ended in
        self._sub: bytearray | None = None  # option and payload of a subnegotiation under way
        self.busy = False
        self._dead = False

    def snapshot(self) -> ScannerState:
        """The state between two reads."""
        return ScannerState(self._pending, None if self._sub is None else bytes(self._sub), self._dead)

    @classmethod
    def restore(cls, state: ScannerState) -> Scanner:
        """A scanner that goes on where another one was."""
        scanner = cls()
        scanner._pending = state.pending
        scanner._sub = None if state.sub is None else bytearray(state.sub)
        scanner._dead = state.dead
        scanner.busy = bool(state.pending) or state.sub is not None or state.dead
        return scanner

    def feed(self, data: bytes) -> Iterable[Token]:
        """Scan the next bytes of the stream.

        :param data: as it was received, cut anywhere.
        :returns: the tokens in order; data comes as non-empty ``bytes``. It must be gone through to its end, or
            the scanner not be used again. Behind a fatal oddity nothing comes any more.
        """
        if self.busy:
            return self._slowly(self._pending + data)
        if IAC_BYTE not in data:
            return (data,) if data else ()
        plain = undoubled(data)
        if plain is not None:
            return (plain,)
        if len(data) <= REMEMBERED <= self._limit:
            tokens = _remembered(data)
            if tokens is not None:
                return tokens
        return self._slowly(data)

    def _slowly(self, data: bytes) -> Iterator[Token]:
        if self._dead:
            return
        self._pending = b""
        self.busy = False
        parts: list[bytes] = []  # data not yet handed on: one token for what stands between two commands
        at = 0
        end = len(data)
        while at < end:
            iac = data.find(IAC_BYTE, at)
            if iac < 0:
                iac = end
            if self._sub is None:
                if iac > at:
                    parts.append(data[at:iac])
            else:
                self._sub += data[at:iac]
                if len(self._sub) > self._limit:
                    self._sub = None
                    self._dead = self.busy = True
                    yield Oddity(f"subnegotiation longer than {self._limit} bytes", fatal=True)
                    return
            if iac == end:
                break
            if iac + 1 == end:
                self._pending = IAC_BYTE
                break
            code = data[iac + 1]
            at = iac + 2
            if code == IAC:
                if self._sub is None:
                    parts.append(IAC_BYTE)
                else:
                    self._sub.append(IAC)
                continue
            if code in _VERBS and at == end:
                self._pending = data[iac:]
                break
            if parts:
                yield b"".join(parts)
                parts.clear()
            if self._sub is not None:
                sub, self._sub = self._sub, None
                if code == SE:
                    yield Subnegotiation(sub[0], bytes(sub[1:])) if sub else Oddity("empty subnegotiation")
                    continue
                # As other servers do: the subnegotiation lost its end; what interrupts it is taken as it stands.
                yield Oddity(f"subnegotiation cut short by IAC {code}")
            if code in _VERBS:
                option = data[at]
                at += 1
                yield _negotiation(code, option)
            elif code == SB:
                self._sub = bytearray()
            elif code in _COMMANDS:
                yield Command(code)
            else:
                yield Oddity(f"IAC {code} is no Telnet command")
        self.busy = bool(self._pending) or self._sub is not None
        if parts:
            yield b"".join(parts)


@lru_cache(256)
def _remembered(data: bytes) -> tuple[Token, ...] | None:
    # What hosts say first, they all say in the same words: in a storm two reads of three are found here, and scanning
    # them was a twelfth of what a VM's arrival costs. None: the read ends in the middle of something.
    scanner = Scanner()
    tokens = tuple(scanner._slowly(data))
    return None if scanner.busy else tokens


@cache
def _negotiation(verb: int, option: int) -> Negotiation:
    # There are a thousand different ones, and every VM says a dozen of them.
    return Negotiation(verb, option)


def undoubled(data: bytes) -> bytes | None:
    """Data with every doubled IAC made one; None if there is any other IAC in it."""
    # Measured on 64 KiB with one pair in each line: splitting is 3.6 times as fast as replacing. With nothing but pairs
    # it is several times slower; so it ends where there are too many, which costs less than to count them first.
    most = len(data) // RARE
    parts = data.split(IAC_BYTE, most)
    if len(parts) <= most:
        return IAC_BYTE.join(parts[::2]) if len(parts) & 1 and not any(parts[1::2]) else None
    return None if IAC_BYTE in data.replace(DOUBLED, b"") else data.replace(DOUBLED, IAC_BYTE)


def escape(data: bytes) -> bytes:
    """Double every IAC, as data and subnegotiation payloads travel."""
    return data.replace(IAC_BYTE, DOUBLED) if IAC_BYTE in data else data


@cache
def negotiation(verb: int, option: int) -> bytes:
    """The three bytes of WILL, WONT, DO or DONT ``option``."""
    return bytes((IAC, verb, option))


def subnegotiation(option: int, payload: bytes) -> bytes:
    """``IAC SB option payload IAC SE`` with the payload escaped."""
    return bytes((IAC, SB, option)) + escape(payload) + bytes((IAC, SE))


_LONE_CR = re.compile(rb"\r(?!\n)")


def nvt_encode(data: bytes) -> bytes:
    """Prepare data for a direction where BINARY is off: a lone CR goes as CR NUL.

    A CR at the very end counts as lone, which is right whatever follows: CR NUL LF decodes to CR LF.
    """
    return _LONE_CR.sub(b"\r\0", data) if b"\r" in data else data


class NvtDecoder:
    """Undoes :func:`nvt_encode` in a direction where BINARY is off: CR NUL is CR. All else stays, CR LF too.

    The CR is handed on at once and the NUL taken out when it comes, so that nothing waits for a next byte.
    """

    __slots__ = ("after_cr",)

    def __init__(self, after_cr: bool = False) -> None:
        """:param after_cr: whether the last byte was a CR."""
        self.after_cr = after_cr

    def feed(self, data: bytes) -> bytes:
        """:returns: ``data`` without the NUL bytes that follow a CR; may be empty."""
        if self.after_cr and data.startswith(b"\0"):
            self.after_cr = False
            data = data[1:]
        if data:
            self.after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\0", b"\r")
        return data
