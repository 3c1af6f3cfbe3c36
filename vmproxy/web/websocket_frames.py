"""Websocket frames, without I/O: messages out of bytes, and bytes of what is sent (RFC 6455).

:class:`MessageReader` puts messages together of the frames that wsproto finds. Invariant: however a stream is cut, the
events are the same. Bound: :data:`MESSAGE_LIMIT` bytes of a message, and what was fed and not asked for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from struct import Struct

from wsproto.frame_protocol import FrameDecoder, Opcode, ParseFailed

MESSAGE_LIMIT = 64 * 1024
REASON_LIMIT = 123  # bytes of a close's reason

NORMAL, GOING_AWAY, BROKEN, BAD_TEXT, POLICY, TOO_BIG, FAULT = 1000, 1001, 1002, 1007, 1008, 1009, 1011
NO_CODE = 1005  # a close without one
LOST = 1006  # no close at all; never sent

_SHORT, _MEDIUM, _LONG = Struct("!BB"), Struct("!BBH"), Struct("!BBQ")
_CODE = Struct("!H")
_PONG, _EMPTY = b"\x8a\x80", 6  # without anything in it: two bytes and the mask
_PEERS_CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))


@dataclass(frozen=True, slots=True)
class Text:
    """A message of characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Binary:
    """A message of bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """A frame of a message that goes on. It is nothing to anybody, but there may be any number of them."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A question whether this end is there."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer closes."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The peer does not keep to the protocol or its bounds: the close code that it is owed, and why."""

    code: int
    reason: str


Event = Text | Binary | Part | Ping | Pong | Close | Broken


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole message, or a control frame, of a server."""
    size, first = len(payload), 0x80 | opcode
    if size < 126:
        return _SHORT.pack(first, size) + payload
    if size < 65536:
        return _MEDIUM.pack(first, 126, size) + payload
    return _LONG.pack(first, 127, size) + payload


def text_frame(text: str) -> bytes:
    """A message of characters; what cannot be encoded is escaped."""
    return frame(Opcode.TEXT, text.encode("utf-8", "backslashreplace"))


def binary_frame(data: bytes) -> bytes:
    """A message of bytes."""
    return frame(Opcode.BINARY, data)


def close_frame(code: int, reason: str) -> bytes:
    """A close; a reason that is too long is cut."""
    if code == NO_CODE:
        return frame(Opcode.CLOSE, b"")
    text = reason.encode("utf-8", "backslashreplace")[:REASON_LIMIT].decode("utf-8", "ignore").encode()
    return frame(Opcode.CLOSE, _CODE.pack(code) + text)


class MessageReader:
    """What a client sends, as events. Nothing comes behind :class:`Close` and :class:`Broken`."""

    __slots__ = ("_decoder", "_kind", "_over", "_parts", "_pongs")

    def __init__(self) -> None:
        self._decoder = FrameDecoder(client=False)
        self._kind: Opcode | None = None  # of the message that has begun
        self._parts = bytearray()
        self._over = False
        self._pongs = 0  # that came before what is in the decoder

    def feed(self, data: bytes) -> None:
        """Take bytes; :meth:`next` gives what they mean."""
        if self._over:
            return
        # All that an idle client says. The decoder takes longer for it than all the rest of an idle websocket does.
        if len(data) == _EMPTY and data.startswith(_PONG) and not (len(self._decoder.buffer) or self._decoder.header):
            self._pongs += 1
        else:
            self._decoder.receive_bytes(data)

    def next(self) -> Event | None:
        """The next event; None if it is not complete yet."""
        if self._pongs and not self._over:
            self._pongs -= 1
            return Pong(b"")
        event = None if self._over else self._next()
        if isinstance(event, Close | Broken):
            self._over = True
            self._decoder = FrameDecoder(client=False)  # and what it has kept
            self._parts.clear()
        return event

    def _next(self) -> Event | None:
        decoder = self._decoder
        while True:
            try:
                found = decoder.process_buffer()
            except ParseFailed as error:
                return Broken(BROKEN, str(error))
            if found is None:
                header = decoder.header
                if header is None or header.opcode.iscontrol():
                    return None
                # Nothing is kept of a message that will be too large.
                rest = header.payload_len - decoder.payload_consumed
                return self._misplaced(decoder.effective_opcode) or self._too_large(rest)
            assert isinstance(found.payload, bytes)  # the decoder makes no others
            if found.opcode.iscontrol():
                return _control(found.opcode, found.payload)
            rest = 0 if decoder.header is None else decoder.header.payload_len - decoder.payload_consumed
            event = self._misplaced(found.opcode) or self._too_large(len(found.payload) + rest)
            if event is not None:
                return event
            if found.opcode is not Opcode.CONTINUATION:
                self._kind = found.opcode
            self._parts += found.payload
            if found.frame_finished:
                return self._whole() if found.message_finished else Part()

    def _misplaced(self, opcode: Opcode | None) -> Broken | None:
        if (opcode is Opcode.CONTINUATION) != (self._kind is not None):
            return Broken(BROKEN, "a message begins within another" if self._kind is not None else "nothing goes on")
        return None

    def _too_large(self, more: int) -> Broken | None:
        if len(self._parts) + more > MESSAGE_LIMIT:
            return Broken(TOO_BIG, f"a message of more than {MESSAGE_LIMIT // 1024} KiB")
        return None

    def _whole(self) -> Event:
        kind, data = self._kind, bytes(self._parts)
        self._kind = None
        self._parts.clear()
        if kind is Opcode.BINARY:
            return Binary(data)
        try:
            return Text(data.decode("utf-8"))
        except UnicodeDecodeError:
            return Broken(BAD_TEXT, "text that is not UTF-8")


def _control(opcode: Opcode, payload: bytes) -> Event:
    if opcode is Opcode.PING:
        return Ping(payload)
    if opcode is Opcode.PONG:
        return Pong(payload)
    if not payload:
        return Close(NO_CODE, "")
    if len(payload) > 1:
        (code,) = _CODE.unpack_from(payload)
        with suppress(UnicodeDecodeError):
            reason = payload[2:].decode("utf-8")
            if code in _PEERS_CODES or 3000 <= code < 5000:
                return Close(code, reason)
    return Broken(BROKEN, "a close that means nothing")
