"""A trace of what a host and the concentrator say to each other: negotiation and suboptions, in words and in hex.

Serial data and the secrets of vMotions are left out, so that a trace can be sent to others. Who is traced, and for
whom: :mod:`vmproxy.vm.traces`.
"""

from __future__ import annotations

from collections.abc import Callable

from vmproxy.base.sanitize import visible
from vmproxy.wire.comport import SERVER, Com
from vmproxy.wire.telnet import (
    AUTHENTICATION,
    BINARY,
    COM_PORT,
    DO,
    DONT,
    ECHO,
    SGA,
    VMWARE_EXT,
    WILL,
    WONT,
    Command,
    Negotiation,
    Oddity,
    Scanner,
    Subnegotiation,
    Token,
)
from vmproxy.wire.vmware import Sub

SHOWN = 64  # bytes of a suboption
TOKENS_AT_ONCE = 256

_VERBS = {WILL: "WILL", WONT: "WONT", DO: "DO", DONT: "DONT"}
_OPTIONS = {BINARY: "BINARY", ECHO: "ECHO", SGA: "SGA", AUTHENTICATION: "AUTHENTICATION", COM_PORT: "COM-PORT"}
_OPTIONS[VMWARE_EXT] = "VMWARE-EXT"
_SECRET = (Sub.VMOTION_GOAHEAD, Sub.VMOTION_PEER)
_TEXT = (Sub.DO_PROXY, Sub.VM_NAME, Sub.VM_VC_UUID, Sub.VM_BIOS_UUID, Sub.VM_LOCATION_UUID)


def _named(number: int, names: type[Sub] | type[Com]) -> str:
    try:
        return names(number).name.replace("_", "-")
    except ValueError:
        return str(number)


def words(token: Token) -> str:
    """A token in words and in hex; empty for serial data."""
    match token:
        case Negotiation(verb, option):
            return f"{_VERBS[verb]} {_OPTIONS.get(option, option)}"
        case Subnegotiation(option, payload) if option == VMWARE_EXT and payload:
            code, parameters = payload[0], payload[1:]
            what = f"{code} {_named(code, Sub)}"
            if code in _SECRET:
                return f"{what} ({len(parameters)} bytes of sequence and secret)"
            text = f' "{visible(parameters.decode("utf-8", "backslashreplace"))}"' if code in _TEXT else ""
            return f"{what}{text}{_hex(parameters)}"
        case Subnegotiation(option, payload) if option == COM_PORT and payload:
            answer = payload[0] >= SERVER
            what = _named(payload[0] - SERVER if answer else payload[0], Com)
            return f"COM-PORT {payload[0]} {what}{' (server)' if answer else ''}{_hex(payload[1:])}"
        case Subnegotiation(option, payload):
            return f"SB {_OPTIONS.get(option, option)}{_hex(payload)}"
        case Command(code):
            return f"command {code}"
        case Oddity(what, _):
            return what
    return ""


def _hex(data: bytes) -> str:
    return f" [{data[:SHOWN].hex(' ')}{' ...' if len(data) > SHOWN else ''}]" if data else ""


Told = Callable[[str], None]
"""Takes a line of a trace."""


class WireTrace:
    """The trace of one connection for one observer.

    Bound: :data:`TOKENS_AT_ONCE` tokens of a read; of the rest it is told that it is left out.

    :ivar is_lost: whether it is not known where the host is in what it says: see :meth:`go_on`.
    """

    __slots__ = ("_data", "_label", "_left", "_lines", "_scanners", "_started", "_told", "is_lost")

    def __init__(self, told: Told, label: str, started: float, lines: int, is_lost: bool) -> None:
        """
        :param label: the connection in each line.
        :param started: when the connection began; times count from then on.
        :param lines: how many lines are told.
        :param is_lost: whether this is not the beginning of the connection.
        """
        self._told = told
        self._label = label
        self._started = started
        self._lines = self._left = lines
        self._scanners = {"<": Scanner(), ">": Scanner()}
        self._data = {"<": 0, ">": 0}
        self.is_lost = is_lost

    def go_on(self, scanner: Scanner) -> None:
        """Go on with a scanner that stands where the host is in what it says."""
        self._scanners["<"] = scanner
        self._data["<"] = 0
        self.is_lost = False

    def lose(self, at: float, what: str) -> None:
        """Leave out the rest of what the host has said until now."""
        self.is_lost = True
        self.tell(at, "<", f"({what}: the rest of it is left out)")

    def take(self, at: float, way: str, data: bytes) -> None:
        """Take bytes.

        :param way: ``<`` from the host, ``>`` to it.
        """
        if not self._left:
            return
        for count, token in enumerate(self._scanners[way].feed(data)):
            if isinstance(token, bytes):
                self._data[way] += len(token)
                continue
            if count >= TOKENS_AT_ONCE and way == "<":  # what we say has bounds of its own
                self.lose(at, f"more than {TOKENS_AT_ONCE} commands in one read")
                return
            if size := self._data[way]:
                self._data[way] = 0
                self.tell(at, way, f"({size} bytes of data)")
            self.tell(at, way, words(token))

    def tell(self, at: float, way: str, text: str) -> None:
        """Tell a line."""
        if self._left:
            self._left -= 1
            text = text if self._left else f"the trace ends here: {self._lines} lines"
            self._told(f"{self._label} +{at - self._started:.3f} {way} {text}")
