"""The session of a VM, without I/O: bytes and events in, bytes and actions out.

The machine is in :mod:`vmproxy.vm.session_table`: for each state and input the next state and what is done. Its driver
hands in what the host sends (``VMSession.receive``), performs the actions that come out, one by one, and hands in
the answers, at once or later. Three actions are questions, and no byte behind them is looked at before the answer: what
arrives meanwhile is kept, and above a bound the host is not read from.
"""

from __future__ import annotations

from vmproxy.vm.actions import Close, Count, Readiness, Reading
from vmproxy.vm.early import EarlyOutput
from vmproxy.vm.extension import Carried, CarriedState, Terms
from vmproxy.vm.session_machine import EARLY
from vmproxy.vm.session_reader import SessionReader
from vmproxy.vm.session_state import TokenState, VMSessionState, token_of, token_state
from vmproxy.vm.session_table import (
    ACCEPTED,
    CARRYING,
    CLAIMING,
    CLOSE,
    CLOSED,
    COMPLETING,
    FAILED,
    LATER,
    OPEN,
    PEERING,
    REFUSED,
    RELEASE,
    RETIRE,
    SERVE,
    TLS,
    UNKNOWN,
    WAIT,
)
from vmproxy.wire.authentication import ACCEPT
from vmproxy.wire.comport import AccessServer
from vmproxy.wire.dialuri import DialURI
from vmproxy.wire.options import Side
from vmproxy.wire.telnet import BRK, IAC, Scanner
from vmproxy.wire.vmware import Sub

_BREAK = bytes((IAC, BRK))


class VMSession(SessionReader):
    """The bytes of one connection from a host, and their meaning."""

    __slots__ = ()

    # In: answers.

    def refused(self, reason: str) -> None:
        """The console may not be had."""
        self._own.extension.claim_nothing()  # it asked, and was answered
        self._input(REFUSED)
        self._own.out.actions.append(Count("refused second connections"))
        self.give_up(reason)

    def claim_later(self) -> None:
        """More must be known of the VM first: what it was asked, or, in time, that it does not answer."""
        if self._parts is None:
            self._part()
        self._input(LATER)

    def judged(self, uri: DialURI, refusal: str) -> None:
        """The VM may be connected to a destination; or not, for a reason."""
        if self.state != CLOSED:
            extension = self._own.extension
            extension.judged(uri, refusal, self._carried)
            if extension.ripe and not self._receiving:
                self.identify()  # this is no read, and nothing follows at once

    def go_ahead(self, sequence: bytes, secret: bytes) -> None:
        """A vMotion has begun."""
        # Everything for the VM has been written before, or waits in the console.
        self._send(Sub.VMOTION_GOAHEAD, sequence + secret)

    def peer_accepted(self, carried: Carried, sequence: bytes) -> None:
        """The pair is that of a pending vMotion."""
        if self.state == PEERING:
            self._carried = carried
            self._input(ACCEPTED)
            self._send(Sub.VMOTION_PEER_OK, sequence)

    def peer_refused(self, reason: str) -> None:
        """The pair opens no door."""
        self._input(UNKNOWN)
        own = self._own
        own.extension.claim_nothing()
        own.out.complain("refused peers", reason)
        # Its guest is stunned until it knows, and silence would be the only answer: there is none for this.
        own.out.actions.append(Close("its PEER was refused", complain=False))

    def not_completed(self) -> None:
        """COMPLETE was said of another vMotion, or of one that has ended."""
        self._input(FAILED)
        self._stray("COMPLETE")

    def not_aborted(self) -> None:
        """ABORT was said of another vMotion, or of one that has ended."""
        self._stray("ABORT")

    def tls_started(self) -> None:
        """TLS has begun; what was agreed on before holds."""
        own = self._own
        own.scan_anew()
        if self._kept:  # in clear, behind the host's START: nobody knows whose it is
            self._kept = b""
            self.hold(EARLY, False)
        self._input(TLS)
        known = own.line.tls_started()
        if self.state == OPEN and own.line.extended:
            own.extension.tell_list()
        if known:
            own.extension.received(known, None)

    # In: events.

    def carry(self, carried: Carried, inherited: AccessServer | None, in_service: bool) -> None:
        """The connection carries a console.

        :param inherited: the state of the console's port.
        :param in_service: whether no other connection serves it by now.
        """
        self._carried = carried
        if not in_service:
            return
        begun = self._begun
        if inherited is not None or begun is None or begun.port is not None:
            own = self._own
            if own.port is not None or inherited is not None:
                own.needed_port().carry(inherited)
        if self.state != CLAIMING:  # a claim has all of them
            self._tell_details()

    def wait(self) -> None:
        """The connection before is still being heard."""
        self._input(WAIT)

    def serve(self) -> tuple[bytes, int]:
        """Be heard from now on.

        :returns: what came early, and how many bytes more there were.
        """
        self._input(SERVE)
        return self._take_early()

    def retire(self) -> None:
        """Another connection serves the console."""
        self._input(RETIRE)

    def release(self) -> int:
        """Forget the console that this was to carry, and its early output.

        :returns: the number of bytes that are forgotten.
        """
        self._input(RELEASE)
        self._carried = None
        own = self._own
        own.extension.forget()
        if own.port is not None:
            own.port.forget()
        early, lost = self._take_early()
        return len(early) + lost

    def block(self, on: bool) -> None:
        """The host reads slower than is written, or has caught up."""
        own = self._own
        own.out.block(on)
        suspended = own.port is not None and own.port.suspended
        own.out.actions.append(Readiness(not (on or suspended)))

    def close(self) -> None:
        """The connection is closed, or lost; what was kept may still be served."""
        if self.state == CLAIMING:
            self._own.extension.claim_nothing()  # it has been asked for
        self._input(CLOSE)
        self.plain = False

    def left(self) -> None:
        """The connection is gone, and what it has kept is its console's."""
        if self._early is not None:
            self._early.discount()

    # Out.

    @property
    def guarded(self) -> bool:
        """Whether the host must switch to TLS, and has not."""
        return self._parts is not None and self._parts.line.gate is not None

    def ask(self, option: int, side: Side, on: bool) -> None:
        """Ask for a side of an option to be turned on or off."""
        self._own.line.ask(option, side, on)

    def accept_tls(self) -> None:
        """Tell the host that TLS begins behind this."""
        self._own.out.control(ACCEPT)

    def scanner(self) -> Scanner | None:
        """A scanner that stands behind all that has come from the host; None while something is kept of that."""
        if self._rest is not None or self._kept or self._receiving:
            return None
        return Scanner() if self._parts is None else Scanner.restore(self._parts.scanner.snapshot())

    def encode(self, data: bytes) -> bytes:
        """Serial data for the guest, as it travels."""
        return self._own.line.encode(data)

    def send(self, data: bytes) -> None:
        """Send bytes as they are, in the order of everything else."""
        self._own.out.data.append(data)

    def send_break(self) -> None:
        """Send a break to the guest."""
        self._own.out.control(_BREAK)

    # Handing over.

    def snapshot(self) -> VMSessionState:
        """The session between two events, as a value."""
        rest: tuple[TokenState, ...] | None = None
        if self._rest is not None:
            tokens = list(self._rest)
            self._rest = iter(tokens)
            rest = tuple(token_state(token) for token in tokens)
        own, carried = self._own, self._carried
        out = own.out
        return VMSessionState(
            state=self.state,
            line=own.line.snapshot(),
            scanner=own.scanner.snapshot(),
            extension=own.extension.snapshot(),
            port=None if own.port is None else own.port.snapshot(),
            carried=None if carried is None else CarriedState(carried.vc_uuid, carried.port, carried.uri),
            early=None if self._early is None else self._early.snapshot(),
            question=self._question,
            rest=rest,
            kept=bytes(self._kept),
            commands=self.commands,
            holds=self.holds,
            unsent=b"".join(out.data),
            blocked=out.blocked,
            control_while_blocked=out.control_while_blocked,
        )

    @classmethod
    def restore(cls, state: VMSessionState, terms: Terms) -> VMSession:
        """A session that goes on where another one was.

        What it had asked, what it had held and what the console does not keep are among its actions again.
        """
        line = state.line
        session = cls(terms, line.com_port, line.tls, line.gate is not None, line.encrypted)
        session._go_on_from(state, terms)
        return session

    def _go_on_from(self, state: VMSessionState, terms: Terms) -> None:
        own = self._own
        out = own.out
        out.take_data()  # its opening has been sent
        if state.unsent:
            out.data.append(state.unsent)
        out.block(state.blocked, state.control_while_blocked)
        own.scan_anew(state.scanner)
        own.restore(state.line, state.extension, state.port)
        self._carried = state.carried
        self._early = None if state.early is None else EarlyOutput.restore(state.early, terms)
        self._question = state.question
        self._rest = None if state.rest is None else iter([token_of(token) for token in state.rest])
        self._kept = state.kept
        self.commands = state.commands
        self.holds = state.holds & EARLY  # the others are for the log, the remote end and the clock to say again
        self.state = state.state
        self._see_plain()
        if state.holds:
            out.actions.append(Reading(not self.holds))
        self._ask_again()

    def _ask_again(self) -> None:
        own = self._own
        actions, port = own.out.actions, own.port
        if own.out.blocked or (port is not None and port.suspended):
            actions.append(Readiness(False))
        if port is not None and self.state in CARRYING:
            port.tell()
        claim = own.extension.claim(True, True) if self.state == CLAIMING else None
        if claim is not None:
            actions.append(claim)
        elif self.state == PEERING:
            self._ask_peer(self._question)
        elif self.state == COMPLETING:
            self._ask_complete(self._question)
        own.extension.judge()
