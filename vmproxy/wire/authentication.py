"""AUTHENTICATION (RFC 2941), type SSL, the server's side: agreeing on TLS.

The host has said WILL AUTHENTICATION and was told DO. It is asked for the type SSL; it answers START, and is told
ACCEPTED. The next byte in each direction belongs to TLS. Nothing else of AUTHENTICATION is spoken here: no type but
SSL, and who somebody is is not decided by it.
"""

from __future__ import annotations

from enum import Enum, auto

from vmproxy.wire.telnet import AUTHENTICATION, subnegotiation

_IS, _SEND, _REPLY = 0, 1, 2
_NULL, _SSL = 0, 7
_START, _ACCEPTED = 1, 2
_MODIFIERS = 0  # who authenticates whom, and how: nothing of that is agreed on here

ASK = subnegotiation(AUTHENTICATION, bytes((_SEND, _SSL, _MODIFIERS)))
"""SEND: the host is to authenticate with the type SSL."""

ACCEPT = subnegotiation(AUTHENTICATION, bytes((_REPLY, _SSL, _MODIFIERS, _ACCEPTED)))
"""REPLY: accepted; what follows is TLS."""


class Answer(Enum):
    """The answer of a host to :data:`ASK`."""

    START = auto()  # it waits for ACCEPT
    DECLINED = auto()  # it wants no TLS
    NONSENSE = auto()


def read_answer(payload: bytes) -> Answer:
    """Read a subnegotiation of the host.

    :param payload: what stands behind the option.
    """
    if payload[:2] == bytes((_IS, _SSL)) and payload[3:] == bytes((_START,)):
        return Answer.START
    if payload[:2] == bytes((_IS, _NULL)):
        return Answer.DECLINED
    return Answer.NONSENSE
