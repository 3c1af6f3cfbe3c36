"""The access server's half of COM-PORT (RFC 2217).

There is no wire behind the concentrator, so every setting is accepted and remembered: a guest that programs its
UART sees what it wrote, and operators see what the guest programmed. To the guest a listener is always present: CTS,
DSR and CD are up.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from enum import IntEnum


class Com(IntEnum):
    """Client commands; the server's are the same plus 100."""

    SIGNATURE = 0
    SET_BAUDRATE = 1
    SET_DATASIZE = 2
    SET_PARITY = 3
    SET_STOPSIZE = 4
    SET_CONTROL = 5
    NOTIFY_LINESTATE = 6
    NOTIFY_MODEMSTATE = 7
    FLOWCONTROL_SUSPEND = 8
    FLOWCONTROL_RESUME = 9
    SET_LINESTATE_MASK = 10
    SET_MODEMSTATE_MASK = 11
    PURGE_DATA = 12


SERVER = 100
CD, DSR, CTS = 128, 32, 16
DELTA_CD, DELTA_DSR, DELTA_CTS = 8, 2, 1
LINES_UP = CD | DSR | CTS
_TRANSMITTER_EMPTY = 0x60  # line state: both transmit registers empty
_PARITY = {1: "N", 2: "O", 3: "E", 4: "M", 5: "S"}
_STOP = {1: "1", 2: "2", 3: "1.5"}


@dataclass(frozen=True, slots=True)
class Break:
    """The guest began (``on``) or ended a break."""

    on: bool


@dataclass(frozen=True, slots=True)
class Suspend:
    """The VM wants data for it held back (``on``), or has room again."""

    on: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """The serial parameters of the guest, for people."""

    baud: int
    data_bits: int
    parity: str
    stop_bits: str
    dtr: bool
    rts: bool

    def __str__(self) -> str:
        lines = ("DTR " if self.dtr else "") + ("RTS" if self.rts else "")
        return f"{self.baud} {self.data_bits}{self.parity}{self.stop_bits} {lines}".rstrip()


@dataclass(frozen=True, slots=True)
class PortState:
    """The state of one VM's port; the numbers are those of RFC 2217."""

    signature: bytes
    baud: int
    data: int
    parity: int
    stop: int
    break_: bool
    dtr: bool
    rts: bool
    outbound_flow: int
    inbound_flow: int
    line_mask: int
    modem_mask: int
    ignored: int
    touched: bool


class AccessServer:
    """The state of one VM's port.

    :ivar ignored: how many commands were not understood.
    :ivar touched: whether the VM has set anything.
    """

    __slots__ = (
        "_baud",
        "_break",
        "_data",
        "_dtr",
        "_inbound_flow",
        "_line_mask",
        "_modem_mask",
        "_outbound_flow",
        "_parity",
        "_rts",
        "_signature",
        "_stop",
        "ignored",
        "touched",
    )

    def __init__(self, signature: bytes) -> None:
        """:param signature: what to answer when the VM asks who we are."""
        self._signature = signature
        self._baud = 115200
        self._data = 8
        self._parity = 1
        self._stop = 1
        self._break = False
        self._dtr = True
        self._rts = True
        self._outbound_flow = 1  # none
        self._inbound_flow = 14  # none
        self._line_mask = 0
        self._modem_mask = 255
        self.ignored = 0
        self.touched = False

    def snapshot(self) -> PortState:
        """All that the VM has set."""
        return PortState(*(getattr(self, name) for name in _FIELDS))

    @classmethod
    def restore(cls, state: PortState) -> AccessServer:
        """A port that is set as another one was."""
        server = cls(state.signature)
        for name, field in zip(_FIELDS, fields(state), strict=True):
            setattr(server, name, getattr(state, field.name))
        return server

    @property
    def settings(self) -> Settings:
        """The parameters in force."""
        return Settings(self._baud, self._data, _PARITY[self._parity], _STOP[self._stop], self._dtr, self._rts)

    def modem_state(self) -> bytes:
        """The NOTIFY-MODEMSTATE of a present operator; empty where the mask hides it."""
        state = (LINES_UP | DELTA_CD | DELTA_DSR | DELTA_CTS) & self._modem_mask
        return bytes((SERVER + Com.NOTIFY_MODEMSTATE, state)) if state else b""

    def received(self, payload: bytes) -> tuple[bytes, Break | Suspend | None]:
        """Take in one client command.

        :param payload: the subnegotiation without the option: the command and its value.
        :returns: the payload to answer with (empty: none is due) and what the command means to others, if anything.
        """
        if not payload or payload[0] > Com.PURGE_DATA:
            self.ignored += 1
            return b"", None
        command, value = Com(payload[0]), payload[1:]
        match command:
            case Com.SIGNATURE:
                answer = self._signature
            case Com.SET_BAUDRATE:
                if len(value) >= 4 and value[:4] != bytes(4):
                    self.touched = True
                    self._baud = int.from_bytes(value[:4], "big")
                answer = struct.pack("!L", self._baud)
            case Com.SET_DATASIZE:
                if value and 5 <= value[0] <= 8:
                    self.touched = True
                    self._data = value[0]
                answer = bytes((self._data,))
            case Com.SET_PARITY:
                if value and value[0] in _PARITY:
                    self.touched = True
                    self._parity = value[0]
                answer = bytes((self._parity,))
            case Com.SET_STOPSIZE:
                if value and value[0] in _STOP:
                    self.touched = True
                    self._stop = value[0]
                answer = bytes((self._stop,))
            case Com.SET_CONTROL:
                return self._control(value)
            case Com.NOTIFY_LINESTATE:
                answer = bytes((_TRANSMITTER_EMPTY,))
            case Com.NOTIFY_MODEMSTATE:
                answer = bytes((LINES_UP,))
            case Com.FLOWCONTROL_SUSPEND | Com.FLOWCONTROL_RESUME:
                # These two carry no value, and the server's 108 and 109 are not answers: they would ask the VM to
                # hold *its* data (RFC 2217, section 3), and so stop the guest's output.
                return b"", Suspend(command is Com.FLOWCONTROL_SUSPEND)
            case Com.SET_LINESTATE_MASK:
                if value:
                    self._line_mask = value[0]
                answer = bytes((self._line_mask,))
            case Com.SET_MODEMSTATE_MASK:
                if value:
                    self._modem_mask = value[0]
                answer = bytes((self._modem_mask,))
            case Com.PURGE_DATA if not value:
                self.ignored += 1
                return b"", None
            case Com.PURGE_DATA:
                # Answered and nothing more: a guest that resets its UART at boot must not cost an operator any input.
                answer = value[:1]
        return bytes((SERVER + command,)) + answer, None

    def _control(self, value: bytes) -> tuple[bytes, Break | Suspend | None]:
        if not value:
            self.ignored += 1
            return b"", None
        what = value[0]
        meaning: Break | None = None
        if what <= 3:
            if what:
                self._outbound_flow = what
            now = self._outbound_flow
        elif what <= 6:
            if what != 4:
                self._break = what == 5
                meaning = Break(self._break)
            now = 5 if self._break else 6
        elif what <= 9:
            if what != 7:
                self._dtr = what == 8
            now = 8 if self._dtr else 9
        elif what <= 12:
            if what != 10:
                self._rts = what == 11
            now = 11 if self._rts else 12
        elif what <= 16:
            if what != 13:
                self._inbound_flow = what
            now = self._inbound_flow
        elif what <= 19:
            # Flow control by DCD, DTR or DSR: the first and last are of outbound, the middle one of inbound data.
            if what == 18:
                self._inbound_flow = what
            else:
                self._outbound_flow = what
            now = what
        else:
            self.ignored += 1
            return b"", None
        return bytes((SERVER + Com.SET_CONTROL, now)), meaning


_UNDERSCORED = {"ignored": "ignored", "touched": "touched", "break_": "_break"}
_FIELDS = tuple(_UNDERSCORED.get(field.name, f"_{field.name}") for field in fields(PortState))
"""The attributes of an :class:`AccessServer`, in the order of the fields of its state."""
