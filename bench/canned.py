"""What both ends say, prepared as bytes, so that neither the load nor the reference spends its time on making it.

The handshake is that of captured ESXi hosts. A virtual machine waits for each answer before it goes on, and offers
COM-PORT last: when that is answered the server has dealt with everything before it, identity included. Nothing is
imported from vmproxy, so that both sides cannot be wrong in the same way.
"""

from __future__ import annotations

from uuid import UUID

IAC, SB, SE, WILL, DO, DONT = 255, 250, 240, 251, 253, 254
BINARY, ECHO, SGA, AUTHENTICATION, COM_PORT, VMWARE = 0, 1, 3, 37, 44, 232
SUB = bytes((IAC, SB, VMWARE))
END = bytes((IAC, SE))

BEGIN, GOAHEAD, PEER, PEER_OK, COMPLETE, ABORT = 40, 41, 44, 45, 46, 48
_CODES = bytes((0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 84, 85, 86, 87, 82, 83))


def sub(code: int, parameters: bytes = b"") -> bytes:
    """A suboption of option 232 as it travels; the parameters hold no byte 255."""
    return SUB + bytes((code,)) + parameters + END


def _ask(verb: int, *options: int) -> bytes:
    return b"".join(bytes((IAC, verb, option)) for option in options)


# The proxy's part: what the reference answers with.
OPENING = _ask(WILL, BINARY, SGA, ECHO) + _ask(DO, BINARY, SGA, VMWARE)
LIST = sub(1, bytes(sorted(_CODES)))
QUESTIONS = sub(81) + sub(83) + sub(85) + sub(87) + sub(71)
DO_COM_PORT = _ask(DO, COM_PORT)
DONT_COM_PORT = _ask(DONT, COM_PORT)

# The machine's part.
AGREED = _ask(DO, BINARY, SGA, ECHO) + _ask(WILL, BINARY, SGA, VMWARE)
KNOWN = sub(0, _CODES)
DO_PROXY = sub(70, b"Svmproxy")
WILL_COM_PORT = _ask(WILL, COM_PORT)
WILL_VMWARE = _ask(WILL, VMWARE)
SEEN_OPENING, SEEN_LIST = _ask(DO, VMWARE), SUB + b"\x01"
SEEN_FIRST_QUESTION, SEEN_LAST_QUESTION, SEEN_WILL_PROXY = sub(81), sub(87), sub(71)

# TLS in-band (RFC 2941, type SSL): the host's offer and START, and what it waits for.
WILL_AUTHENTICATION = _ask(WILL, AUTHENTICATION)
ASKED_FOR_TLS = bytes((IAC, SB, AUTHENTICATION, 1, 7, 0, IAC, SE))
START_TLS = bytes((IAC, SB, AUTHENTICATION, 0, 7, 0, 1, IAC, SE))
ACCEPTED_TLS = bytes((IAC, SB, AUTHENTICATION, 2, 7, 0, 2, IAC, SE))

NOT_NOW = sub(43)[:4]
WENT_AHEAD = sub(GOAHEAD)[:4]
WENT_OVER = sub(PEER_OK)[:4]


def identity(uuid: UUID, name: str) -> bytes:
    """What a machine says of itself: its three UUIDs and its name."""
    spelled = uuid.bytes[:8].hex(" ").encode() + b"-" + uuid.bytes[8:].hex(" ").encode()
    return sub(80, spelled) + sub(82, name.encode()) + sub(84, spelled) + sub(86, spelled)


def sequence(number: int) -> bytes:
    """The four bytes that name a vMotion; none of them is 255."""
    return bytes((number // 200**3 % 200, number // 200**2 % 200, number // 200 % 200, number % 200))
