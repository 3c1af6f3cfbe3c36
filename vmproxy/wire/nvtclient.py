"""A small Telnet client, for serial data to a remote end that speaks Telnet.

It offers and asks for BINARY and SGA, lets the remote end ECHO, refuses everything else once, and carries breaks. While
BINARY is off in a direction, CR is encoded there as RFC 854 has it; nothing else is ever rewritten.
"""

from __future__ import annotations

from vmproxy.wire.options import Acceptable, Options, Side
from vmproxy.wire.telnet import (
    BINARY,
    BRK,
    ECHO,
    IAC,
    SGA,
    Command,
    Negotiation,
    NvtDecoder,
    Oddity,
    Scanner,
    escape,
    nvt_encode,
)

BREAK = bytes((IAC, BRK))
_ACCEPTABLE = Acceptable(us=(BINARY, SGA), peer=(BINARY, SGA, ECHO))
_OPENING = ((BINARY, Side.US), (SGA, Side.US), (BINARY, Side.PEER), (SGA, Side.PEER))


class NvtClient:
    """The Telnet of one connection to a remote end.

    :ivar commands: how many commands have come; data costs little, commands do not.
    :ivar fatal: why nothing more can be understood; empty while all is well.
    """

    __slots__ = ("_decoder", "_options", "_scanner", "commands", "fatal")

    def __init__(self) -> None:
        self._scanner = Scanner()
        self._options = Options(_ACCEPTABLE)
        self._decoder: NvtDecoder | None = NvtDecoder()  # while the remote end's direction is not BINARY
        self.commands = 0
        self.fatal = ""

    def opening(self) -> bytes:
        """The bytes to send first."""
        return b"".join(self._options.ask(option, side, True) for option, side in _OPENING)

    def encode(self, data: bytes) -> bytes:
        """Serial data as it travels."""
        return escape(data if self._options.enabled(BINARY, Side.US) else nvt_encode(data))

    def feed(self, data: bytes) -> tuple[list[bytes | None], bytes]:
        """Take in what the remote end sent.

        :param data: cut anywhere.
        :returns: the serial data in order, with None for a break; and the answers to send.
        """
        got: list[bytes | None] = []
        answers: list[bytes] = []
        for token in self._scanner.feed(data):
            if isinstance(token, bytes):
                if plain := self._decoder.feed(token) if self._decoder is not None else token:
                    got.append(plain)
                continue
            self.commands += 1
            if isinstance(token, Negotiation):
                answers.append(self._options.received(token.verb, token.option))
                if self._options.enabled(BINARY, Side.PEER):
                    self._decoder = None
                elif self._decoder is None:
                    self._decoder = NvtDecoder()
            elif isinstance(token, Command):
                if token.code == BRK:
                    got.append(None)
            elif isinstance(token, Oddity) and token.fatal:
                self.fatal = token.what
                break
        return got, b"".join(answers)
