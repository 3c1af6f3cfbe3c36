"""VMware's Telnet extension, option 232: suboptions, parameters, identity.

Source: VMware, "Using a Proxy with vSphere Virtual Serial Ports" (vSphere Web Services SDK), and captures of ESXi
hosts, which differ from it in a few places; both are understood. Payloads here are what stands between
``IAC SB 232`` and ``IAC SE``, unescaped: a code and its parameters.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from uuid import UUID

from vmproxy.base.uuids import uuid_of
from vmproxy.errors import WireError


class Sub(IntEnum):
    """The suboptions of option 232."""

    KNOWN_SUBOPTIONS_1 = 0
    KNOWN_SUBOPTIONS_2 = 1
    UNKNOWN_SUBOPTION_RCVD_1 = 2
    UNKNOWN_SUBOPTION_RCVD_2 = 3
    VMOTION_BEGIN = 40
    VMOTION_GOAHEAD = 41
    VMOTION_NOTNOW = 43
    VMOTION_PEER = 44
    VMOTION_PEER_OK = 45
    VMOTION_COMPLETE = 46
    VMOTION_ABORT = 48
    DO_PROXY = 70
    WILL_PROXY = 71
    WONT_PROXY = 73
    VM_VC_UUID = 80
    GET_VM_VC_UUID = 81
    VM_NAME = 82
    GET_VM_NAME = 83
    VM_BIOS_UUID = 84
    GET_VM_BIOS_UUID = 85
    VM_LOCATION_UUID = 86
    GET_VM_LOCATION_UUID = 87


SUPPORTED = bytes(Sub)
"""The parameters of KNOWN-SUBOPTIONS-2: every code that the proxy can send or accept, the same each time."""

QUESTIONS = bytes((Sub.GET_VM_VC_UUID, Sub.GET_VM_NAME, Sub.GET_VM_BIOS_UUID, Sub.GET_VM_LOCATION_UUID))
"""What a proxy can ask a VM, the most important first."""

SECRET_LENGTH = 8
_UUID_NOISE = re.compile(rb"[\s\-{}\0]+")
_ESCAPED = re.compile(r"%(2f|5c|25)", re.IGNORECASE | re.ASCII)
_HEX = re.compile(rb"[0-9a-fA-F]{32}")


def message(code: int, parameters: bytes = b"") -> bytes:
    """The payload of a suboption."""
    return bytes((code,)) + parameters


def parse_uuid(parameters: bytes) -> UUID:
    """Read a UUID as hosts send it (hex pairs with blanks and one dash) or in any common spelling.

    :raises WireError: if these are not 32 hex digits, or all of them are zero, which is nobody's identity.
    """
    try:  # as hosts send it
        data = bytes.fromhex(parameters.replace(b"-", b"").decode("ascii"))
    except ValueError:
        data = b""
    if len(data) == 16 and (number := int.from_bytes(data)):
        return uuid_of(number)
    digits = _UUID_NOISE.sub(b"", parameters)
    if not _HEX.fullmatch(digits):
        raise WireError(f"not a UUID: {parameters[:80]!r}")
    number = int(digits, 16)
    if not number:
        raise WireError("the UUID is all zeros")
    return uuid_of(number)


def format_uuid(uuid: UUID) -> bytes:
    """Spell a UUID as ESXi hosts do: ``01 23 45 67 89 ab cd ef-fe dc ba 98 00 00 00 00``."""
    return uuid.bytes[:8].hex(" ").encode() + b"-" + uuid.bytes[8:].hex(" ").encode()


@dataclass(frozen=True, slots=True)
class DoProxy:
    """The request of DO-PROXY.

    :ivar direction: ``S``, the VM is a server that operators reach; ``C``, it wants to be connected somewhere.
    :ivar uri: the service URI.
    """

    direction: str
    uri: str


@lru_cache(256)
def parse_do_proxy(parameters: bytes) -> DoProxy:
    """Read the parameters of DO-PROXY.

    :raises WireError: if they are empty or the direction is neither ``C`` nor ``S``.
    """
    if not parameters:
        raise WireError("DO-PROXY without a direction")
    direction = parameters[:1]
    if direction not in (b"C", b"S"):
        raise WireError(f"DO-PROXY with the unknown direction {direction!r}")
    uri = parameters[1:].rstrip(b"\0").decode("utf-8", "backslashreplace")
    return DoProxy(direction.decode("ascii"), uri)


def parse_name(parameters: bytes) -> str:
    """Read a VM's display name: any characters; bytes that are not UTF-8 as ``\\xNN``."""
    return parameters.decode("utf-8", "backslashreplace")


def undone(name: str) -> str:
    """A name as people know it: vSphere writes ``/``, ``\\`` and ``%`` in names as ``%2f``, ``%5c`` and ``%25``."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name) if "%" in name else name


def new_secret() -> bytes:
    """Make the secret of a vMotion: unpredictable, and without a byte 255, so that a host which forgets to double
    it works too."""
    return bytes(secrets.randbelow(255) for _ in range(SECRET_LENGTH))
