"""The state of a VM session, what its table does, and what comes out of it.

The table is in :mod:`vmproxy.vm.session_table`. What the host says comes in by :mod:`vmproxy.vm.session_reader`, what
the driver has to say by :mod:`vmproxy.vm.session`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vmproxy.vm.actions import Abort, Action, Begin, Claim, ClaimSoon, Close, Complete, Count, Details, Peer, Reading
from vmproxy.vm.beginning import Beginning, Introduction
from vmproxy.vm.early import EarlyOutput
from vmproxy.vm.extension import Carried, Terms
from vmproxy.vm.negotiation import opening
from vmproxy.vm.session_parts import SessionParts
from vmproxy.vm.session_table import ARRIVING, CLOSED, GUARDED, HEARD, KNOWN, OPEN, TABLE
from vmproxy.wire.telnet import VMWARE_EXT, Token, subnegotiation
from vmproxy.wire.vmware import Sub, message

LOG, EARLY, PACE, TURN = 1, 2, 4, 8
"""Why a host is not read from: log or remote end are behind, too much waits for the console, too many commands come,
they wait for a turn of the reactor."""


class SessionMachine:
    """The state of a session.

    :ivar state: one of the table's.
    :ivar plain: whether a read without an IAC byte, or with none but doubled ones, is serial data for the console: the
        driver may hand it on without asking here.
    :ivar commands: how many Telnet commands have been looked at.
    :ivar holds: why the host is not read from, one bit for each reason.
    """

    __slots__ = (
        "_begun",
        "_carried",
        "_early",
        "_kept",
        "_limit",
        "_parts",
        "_question",
        "_receiving",
        "_rest",
        "_terms",
        "_told",
        "_unsent",
        "commands",
        "holds",
        "plain",
        "state",
    )

    def __init__(
        self, terms: Terms, com_port: bool, tls: bool = False, guarded: bool = False, encrypted: bool = False
    ) -> None:
        """
        :param com_port: whether port control is agreed to; ``tls``: whether TLS is, in-band.
        :param guarded: whether the host must switch to TLS.
        """
        self._terms = terms
        # While the host says what others say too, there is a beginning, and no parts; else it is the other way round.
        self._begun: Beginning | None = None
        self._parts: SessionParts | None = None
        self._told: Introduction | None = None  # what the VM has said of itself meanwhile
        self._unsent = b""  # what the host is to be sent meanwhile
        self._early: EarlyOutput | None = None
        self._carried: Carried | None = None
        self._question = b""  # the pair or sequence that the driver was asked about
        self._receiving = False
        self._rest: Iterator[Token | None] | None = None  # what stood behind a question in the same read
        self._kept: bytes | bytearray = b""  # what came behind that
        self.commands = 0
        self._limit = sys.maxsize
        self.holds = 0
        self.plain = False
        self.state = GUARDED if guarded else OPEN
        kind = com_port, tls, encrypted
        if not guarded and (found := terms.beginnings.first(kind)) is not None:
            self._begun, self._unsent = found
            return
        own = self._parts = SessionParts(terms, com_port, tls, guarded, encrypted)
        asked = opening(com_port, tls, guarded)[1]
        own.out.data.append(asked)
        if not guarded:
            self._share(terms.beginnings.begin(kind, own.line.snapshot(), asked)[0])

    # Parts that sessions share while their hosts say the same.

    @property
    def _own(self) -> SessionParts:
        """The parts of this session alone, from now on."""
        return self._parts or self._part()

    def _part(self) -> SessionParts:
        assert self._begun is not None
        self._parts = SessionParts.behind(self._begun, self._told, self._unsent, self._terms)
        self._begun, self._told, self._unsent = None, None, b""
        return self._parts

    def _share(self, begun: Beginning, told: Introduction | None = None) -> None:
        """Have no parts of its own any more: others are as far, and what the VM has said of itself is kept."""
        self._unsent = self.take_data()
        self._told = told
        self._begun, self._parts = begun, None

    # Out.

    def take_data(self) -> bytes:
        """The bytes that are to be sent to the host now."""
        own = self._parts
        if own is None:
            unsent, self._unsent = self._unsent, b""
            return unsent
        return b"".join(own.out.take_data()) if own.out.data else b""

    def take_actions(self) -> Sequence[Action]:
        """The actions that events have led to."""
        own = self._parts
        return own.out.take_actions() if own is not None and own.out.actions else ()

    def hold(self, reason: int, on: bool) -> None:
        """Stop reading from the host for a reason, or go on if there is no other."""
        before = self.holds
        self.holds = before | reason if on else before & ~reason
        if bool(self.holds) != bool(before):
            self._own.out.actions.append(Reading(not self.holds))

    def give_up(self, reason: str) -> None:
        """Have the connection closed for a fault of the host's."""
        self._own.out.actions.append(Close(reason))

    def identify(self, late: bool = False, overdue: bool = False) -> None:
        """Claim the console, if it is known which.

        :param late: do not wait for a name that log files are named after, nor for a VC UUID that there is not.
        :param overdue: do not wait for a VC UUID at all.
        """
        own = self._own
        own.extension.settle()
        # A pair says already which console it is; a connection that is gone may have waited for nothing but a name.
        if self._carried is None and self.state in (OPEN, CLOSED):
            claim = own.extension.claim(late, overdue)
            if claim is not None:
                self._input(KNOWN, claim)
            elif own.extension.has_no_vc_uuid:
                own.out.actions.append(ClaimSoon())

    def not_now(self, sequence: bytes, why: str = "no console is served here, or not any more") -> None:
        """A vMotion cannot begin here."""
        self._own.out.complain("refused vMotions", f"NOTNOW: {why}")
        self._send(Sub.VMOTION_NOTNOW, sequence)

    # What the table does.

    def _input(self, what: str, *given: Any) -> None:
        found = _TABLE.get((self.state, what))
        if found is not None:
            self.state, does = found
            if does is not None:
                does(self, *given)

    def _output(self, data: bytes) -> None:
        self._own.out.actions.append(data)

    def _forget(self, data: bytes) -> None:
        self._own.out.actions.append(Count("bytes in clear forgotten", len(data)))

    def _keep(self, data: bytes) -> None:
        self._early = self._early or EarlyOutput(self._terms)
        self._early.keep(data, known=self.state == ARRIVING)

    def _keep_all(self, data: bytes) -> None:
        self._early = self._early or EarlyOutput(self._terms)
        if self._early.keep_all(data):
            self.hold(EARLY, True)

    def _not_now(self, sequence: bytes) -> None:
        self.not_now(sequence)

    def _ask_claim(self, claim: Claim) -> None:
        self._own.out.actions.append(claim)

    def _ask_begin(self, sequence: bytes) -> None:
        self._own.out.actions.append(Begin(sequence))

    def _ask_peer(self, pair: bytes) -> None:
        self._question = pair
        own = self._own
        own.out.actions.append(Peer(pair, own.extension.uuid))

    def _refuse_peer(self, _: bytes) -> None:
        what = "has a part in a vMotion already" if self.state == ARRIVING else "has its console already"
        self._own.out.complain("refused peers", f"PEER on a connection that {what}")

    def _ask_complete(self, sequence: bytes) -> None:
        self._question = sequence
        self._own.out.actions.append(Complete(sequence))

    def _ask_abort(self, sequence: bytes) -> None:
        self._own.out.actions.append(Abort(sequence))

    def _stray_complete(self, _: bytes) -> None:
        self._stray("COMPLETE")

    def _stray_abort(self, _: bytes) -> None:
        self._stray("ABORT")

    def _stray(self, what: str) -> None:
        self._own.out.complain(f"stray {what}s", f"{what}, but no vMotion is pending here")

    def _send(self, code: int, parameters: bytes) -> None:
        self._own.out.control(subnegotiation(VMWARE_EXT, message(code, parameters)))

    def _tell_details(self) -> None:
        own = self._own
        extension = own.extension
        if extension.bios_uuid is not None or extension.location_uuid is not None or extension.name:
            bios, location = extension.bios_uuid, extension.location_uuid
            own.out.actions.append(Details(bios, location, extension.name, extension.uri is not None))

    def _take_early(self) -> tuple[bytes, int]:
        early, self._early = self._early, None
        self._see_plain()
        if early is None:
            return b"", 0
        self.hold(EARLY, False)
        return early.take()

    def _see_plain(self) -> None:
        plain = self.state in HEARD and not self._receiving and self._rest is None and not self._kept
        if plain:
            own, begun = self._parts, self._begun
            if own is not None:
                plain = not own.scanner.busy and own.line.decoder is None
            else:
                plain = begun is not None and begun.line.after_cr is None
        self.plain = plain


_TABLE: dict[tuple[str, str], tuple[str, Callable[..., None] | None]] = {
    given: (after, getattr(SessionMachine, f"_{does}") if does else None) for given, (after, does) in TABLE.items()
}
