"""TLS in-band, the VM's side: the exchange under AUTHENTICATION (RFC 2941) until both ends switch.

The proxy asks for the SSL type, the VM answers START, the proxy ACCEPTED, and the VM's next byte is a ClientHello.
Between START and the proxy's answer nothing may be sent: a proxy that has accepted reads it as TLS.
"""

from __future__ import annotations

from enum import Enum, auto

_IS = 0
_NULL, _SSL = 0, 7
_START, _ACCEPTED = 1, 2


class Step(Enum):
    """The meaning of a message under AUTHENTICATION for the connection."""

    NOTHING = auto()
    DECLINE = auto()  # say `answer`, and go on in clear
    START = auto()  # say `answer`, then hold everything back
    SWITCH = auto()  # go on as TLS client
    CLEAR = auto()  # the proxy has thought better of it: go on in clear


class InbandTLS:
    """The state of one connection's switch.

    :ivar settled: whether it is decided, one way or the other.
    """

    __slots__ = ("_started", "settled")

    def __init__(self) -> None:
        self._started = False
        self.settled = False

    def received(self, payload: bytes) -> tuple[Step, bytes]:
        """Take in a subnegotiation of the proxy.

        :param payload: the message, without the option.
        :returns: what to do, and the payload to answer with, if any.
        """
        match payload[:1]:
            case b"\x01" if not self._started and not self.settled:
                if _SSL in payload[1::2]:
                    self._started = True
                    return Step.START, bytes((_IS, _SSL, 0, _START))
                self.settled = True
                return Step.DECLINE, bytes((_IS, _NULL, 0))
            case b"\x02" if self._started and not self.settled and len(payload) > 3:
                self.settled = True
                return Step.SWITCH if payload[3] == _ACCEPTED else Step.CLEAR, b""
        return Step.NOTHING, b""
