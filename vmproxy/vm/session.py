"""The session of a VM, without I/O: bytes and events in, bytes and actions out.

The machine is in :mod:`vmproxy.vm.session_table`: for each state and input the next state and what is done. Its driver
hands in what the host sends (:meth:`VMSession.receive`), performs the actions that come out, one by one, and hands in
the answers, at once or later. Three actions are questions, and no byte behind them is looked at before the answer: what
arrives meanwhile is kept, and above a bound the host is not read from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from vmproxy.vm.actions import (
    Abort,
    Action,
    Begin,
    Claim,
    ClaimSoon,
    Close,
    Complete,
    Count,
    Details,
    Outbox,
    Peer,
    PortSettings,
    Readiness,
    Reading,
)
from vmproxy.vm.beginning import (
    EARLY_COMMANDS,
    Beginning,
    ExtensionState,
    Introduction,
    Request,
    Step,
    read_introduction,
)
from vmproxy.vm.comport import PortControl
from vmproxy.vm.early import EARLY_LIMIT, EarlyOutput
from vmproxy.vm.extension import DETAILS, Carried, CarriedState, Contradiction, Extension, Terms, first_claim
from vmproxy.vm.negotiation import LineNegotiation, opening
from vmproxy.vm.session_state import TokenState, VMSessionState, token_of, token_state
from vmproxy.vm.session_table import (
    ABORT,
    ACCEPTED,
    ARRIVING,
    ASKING,
    BEGIN,
    CARRYING,
    CLAIMING,
    CLOSE,
    CLOSED,
    COMPLETE,
    COMPLETING,
    DATA,
    FAILED,
    GUARDED,
    HEARD,
    KNOWN,
    LATER,
    OPEN,
    PEER,
    PEERING,
    REFUSED,
    RELEASE,
    RETIRE,
    SERVE,
    SERVING,
    TABLE,
    TLS,
    UNKNOWN,
    WAIT,
)
from vmproxy.wire.authentication import ACCEPT
from vmproxy.wire.comport import AccessServer
from vmproxy.wire.dialuri import DialURI
from vmproxy.wire.options import Side
from vmproxy.wire.telnet import (
    BRK,
    COM_PORT,
    IAC,
    VMWARE_EXT,
    Command,
    Negotiation,
    Scanner,
    Subnegotiation,
    Token,
    subnegotiation,
)
from vmproxy.wire.vmware import Sub, message

LOG, EARLY, PACE, TURN = 1, 2, 4, 8
"""Why a host is not read from: log or remote end are behind, too much waits for the console, too many commands come,
they wait for a turn of the reactor."""

_VMOTION: dict[int, str] = {
    Sub.VMOTION_BEGIN: BEGIN,
    Sub.VMOTION_PEER: PEER,
    Sub.VMOTION_COMPLETE: COMPLETE,
    Sub.VMOTION_ABORT: ABORT,
}
_SETTLING = (int(Sub.VMOTION_BEGIN), int(Sub.VMOTION_PEER))
_END: tuple[None] = (None,)  # behind the tokens of a read: nothing more for now
SHORT_READ = 512
"""The bytes at most of a read that is looked at as a whole before it is scanned."""
# What a VM says of itself, UUIDs and name; and what it may negotiate behind that.
_INTRODUCTION = re.compile(rb"((?:\xff\xfa\xe8[PRTV][^\xff]*\xff\xf0)+)((?:\xff[\xfb-\xfe][^\xff])*)", re.DOTALL)
_PARTS = b"\xff\xf0\xff\xfa\xe8"
_NO_PORT = PortSettings(None)
_SHARED = ("_out", "_scanner", "_line", "_extension", "_port")
_BREAK = bytes((IAC, BRK))


def _adds(token: Subnegotiation) -> bool:
    """Whether a subnegotiation may add to what is known of the VM."""
    return token.option == VMWARE_EXT and bool(token.payload) and token.payload[0] not in _SETTLING


class VMSession:
    """The bytes of one connection from a host, and their meaning.

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
        "_extension",
        "_kept",
        "_limit",
        "_line",
        "_out",
        "_port",
        "_question",
        "_receiving",
        "_rest",
        "_scanner",
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
        # While the host says what others say too, there is a beginning, and none of the shared parts.
        self._begun: Beginning | None = None
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
        self._out = Outbox()
        self._scanner = Scanner()
        self._line = LineNegotiation(self._out, com_port, tls, guarded, encrypted)
        self._extension = Extension(terms, self._out)
        self._port: PortControl | None = None  # made when it is needed, as what is early
        asked = opening(com_port, tls, guarded)[1]
        self._out.data.append(asked)
        if not guarded:
            self._share(terms.beginnings.begin(kind, self._line.snapshot(), asked)[0])

    # Parts that sessions share while their hosts say the same.

    if not TYPE_CHECKING:  # or every name would seem to be one

        def __getattr__(self, name):
            """The parts that a session shared with others until now."""
            if name not in _SHARED or self._begun is None:
                raise AttributeError(name)
            self._part()
            return getattr(self, name)

    def _part(self) -> None:
        """Have parts of its own from now on."""
        begun, self._begun = self._begun, None
        told, self._told = self._told, None
        unsent, self._unsent = self._unsent, b""
        if begun is None:
            return
        line = begun.line
        self._out = out = Outbox()
        if unsent:
            out.data.append(unsent)
        self._scanner = Scanner()
        self._line = LineNegotiation(out, line.com_port, line.tls, False, line.encrypted)
        self._line.restore(line)
        self._extension = Extension(self._terms, out)
        self._extension.restore(begun.extension)
        if told is not None:
            self._extension.introduce(told)
        self._port = None
        if begun.port is not None:
            self._port = PortControl(self._terms.signature, out)
            self._port.restore(begun.port)

    def _share(self, begun: Beginning, told: Introduction | None = None) -> None:
        """Have no parts of its own any more: others are as far, and what the VM has said of itself is kept."""
        self._unsent = self.take_data()
        self._told = told
        for name in _SHARED:
            delattr(self, name)
        self._begun = begun

    def along(self, data: bytes) -> bytes | None:
        """Take in a read that others have sent in the same place, before it was known which VM it is.

        It costs no more than serial data.

        :returns: the answer, which the driver sends; None if the read is none of these: it is for :meth:`receive`.
        """
        begun = self._begun
        if begun is None or self.state != OPEN or self._kept or begun.age != self._terms.beginnings.age:
            return None
        step = begun.steps.get(data)
        if step is None:
            return None
        self._begun = step.after
        self.commands += step.commands
        return step.answer

    # In: bytes from the host.

    def receive(self, data: bytes, commands: int = sys.maxsize) -> Iterable[Action]:
        """Take in bytes from the host, cut anywhere.

        :param commands: how many Telnet commands to look at; what stands behind them is kept, for :meth:`go_on`.

        Each action is to be performed before the next is asked for: what follows in the bytes depends on it.
        """
        if self._rest is not None or self._kept or self.state in ASKING or not commands:
            self._kept = self._kept or bytearray()
            self._kept += data
            self.plain = False
            if len(self._kept) > EARLY_LIMIT:
                self.hold(EARLY, True)
            return self.take_actions()
        self._limit = self.commands + commands
        return self._fresh(data)

    def _fresh(self, data: bytes) -> Iterable[Action]:
        begun = self._begun
        if begun is not None and self.state == OPEN and len(data) <= SHORT_READ:
            if begun.request is not None and begun.age == self._terms.beginnings.age:
                introduction = self._introduction(begun, data)
                if introduction is not None:
                    return introduction
            if (answer := self.along(data)) is not None:  # where it was kept until now
                self._unsent += answer
                return ()
            return self._learn(begun, data)
        return self._scan(self._scanner.feed(data))

    def _learn(self, begun: Beginning, data: bytes) -> Iterator[Action]:
        # What a read leads to is the same for all hosts that say the same, if it leads to no action.
        if not self._terms.beginnings.again(begun, data):
            yield from self._scan(self._scanner.feed(data))
            return
        before, quiet, sent = self.commands, True, len(self._out.data)
        for action in self._scan(self._scanner.feed(data)):
            quiet = False
            yield action
        if not quiet or self.state != OPEN or before >= EARLY_COMMANDS or not self._is_common:
            return
        extension = self._extension.snapshot()
        if extension.is_anybodys:
            after = self._beginning(begun.age, extension, self._extension.request())
            answer = b"".join(self._out.data[sent:])
            self._terms.beginnings.learn(begun.steps, data, Step(after, answer, self.commands - before))
            self._share(after)

    def _introduction(self, begun: Beginning, data: bytes) -> Iterator[Action] | None:
        """Who it is, and perhaps some options behind that; None if the read is something else."""
        match = _INTRODUCTION.fullmatch(data)
        if match is None or begun.request is None:
            return None
        payloads = match[1][3:-2].split(_PARTS)
        told = read_introduction(payloads)
        if told is None:
            return None
        claim = first_claim(begun.extension, begun.request, told, self._terms.needs_name)
        return None if claim is None else self._introduce(begun, claim, told, len(payloads), match[2])

    def _introduce(
        self, begun: Beginning, claim: Claim, told: Introduction, commands: int, tail: bytes
    ) -> Iterator[Action]:
        self._told = told
        self.commands += commands
        self.state = CLAIMING
        self._receiving = True
        try:
            yield claim
            while actions := self.take_actions():
                yield from actions
        finally:
            self._receiving = False
            self._see_plain()
        if self.state in ASKING:
            self._rest = chain(Scanner().feed(tail), _END)
        elif self._begun is None or self.state not in CARRYING:
            yield from self._scan(Scanner().feed(tail))
        elif tail:
            step = begun.tails.get(tail) if self.state == SERVING else None
            if step is None or begun.age != self._terms.beginnings.age:
                yield from self._learn_tail(begun, told, tail)
            else:
                self._begun = step.after
                self.commands += step.commands
                self._unsent += step.answer
                yield from step.actions

    def _learn_tail(self, begun: Beginning, told: Introduction, tail: bytes) -> Iterator[Action]:
        if not self._terms.beginnings.again(begun, tail):
            yield from self._scan(Scanner().feed(tail))
            return
        before, extension, sent = self.commands, self._extension.snapshot(), len(self._out.data)
        actions: list[Action] = []
        for action in self._scan(Scanner().feed(tail)):
            actions.append(action)
            yield action
        known = self._extension.snapshot() == extension and all(action == _NO_PORT for action in actions)
        if known and self.state == SERVING and self._is_common:
            after = self._beginning(begun.age, begun.extension, None)
            answer = b"".join(self._out.data[sent:])
            step = Step(after, answer, self.commands - before, tuple(actions))
            self._terms.beginnings.learn(begun.tails, tail, step)
            self._share(after, told)

    @property
    def _is_common(self) -> bool:
        """Whether nothing but what the VM says of itself may tell this session from another one."""
        if self._rest is not None or self._kept or self._early is not None or self._scanner.busy or self.holds:
            return False
        return self._out.is_quiet and (self._port is None or self._port.is_usual)

    def _beginning(self, age: int, extension: ExtensionState, request: Request | None) -> Beginning:
        port = None if self._port is None else self._port.snapshot()
        return Beginning(age, self._line.snapshot(), extension, port, request)

    @property
    def resting(self) -> bool:
        """Whether something is kept that could be looked at now."""
        return (self._rest is not None or bool(self._kept)) and self.state not in ASKING

    @property
    def has_kept(self) -> bool:
        """Whether something stands behind a question that is not answered yet."""
        if self.state not in ASKING:
            return False
        tokens = list(self._rest or ())
        if self._rest is not None:
            self._rest = iter(tokens)
        return bool(self._kept) or any(token is not None for token in tokens)

    def go_on(self, commands: int = sys.maxsize) -> Iterator[Action]:
        """Take in what was kept, after a late answer has been handed in, or in a turn to come.

        :param commands: as for :meth:`receive`.
        """
        self._limit = self.commands + commands
        while self.state not in ASKING and self.commands < self._limit:
            if self._rest is not None:
                rest, self._rest = self._rest, None
                yield from self._go_through(rest)
            elif self._kept:
                data, self._kept = bytes(self._kept), b""
                self.hold(EARLY, False)
                yield from self.take_actions()
                yield from self._fresh(data)
            else:
                return

    def _scan(self, tokens: Iterable[Token | None]) -> Iterator[Action]:
        return self._go_through(chain(tokens, _END))

    def _go_through(self, rest: Iterator[Token | None]) -> Iterator[Action]:
        scanner, extension, out = self._scanner, self._extension, self._out
        self._receiving = True
        try:
            for token in rest:
                if self.state == CLOSED:
                    return
                if extension.ripe and not (type(token) is Subnegotiation and _adds(token)):
                    # What was said so far is followed by something else, or by nothing for now.
                    self.identify()
                    while out.actions:
                        yield from self.take_actions()
                    if self.state in ASKING:
                        self._rest = chain((token,), rest)
                        return
                if token is None:
                    return
                if type(token) is bytes and self.state in HEARD and self._line.decoder is None:
                    yield token
                    continue
                self._take_in(token)
                while out.actions:
                    yield from self.take_actions()
                if self.state in ASKING:
                    self._rest = rest
                    return
                if self._scanner is not scanner:
                    return  # TLS begins: what follows in this read is not the host's
                if self.commands >= self._limit:
                    self._rest = rest  # as it is: with something around it, each portion would cost more than the last
                    return
        finally:
            self._receiving = False
            self._see_plain()

    def _take_in(self, token: Token) -> None:
        if isinstance(token, bytes):
            decoder = self._line.decoder
            if data := token if decoder is None else decoder.feed(token):
                self._input(DATA, data)
            return
        self.commands += 1
        if isinstance(token, Negotiation):
            self._negotiated(token.verb, token.option)
        elif isinstance(token, Subnegotiation):
            self._subnegotiated(token.option, token.payload)
        elif isinstance(token, Command):
            self._out.actions.append(Count("telnet commands"))  # none of them means anything on a serial line
        else:
            self._out.complain("telnet oddities", token.what)
            if token.fatal:
                self._out.actions.append(Close(token.what, complain=False))

    def _negotiated(self, verb: int, option: int) -> None:
        line = self._line
        line.received(verb, option)
        if option == VMWARE_EXT:
            if line.gate is None and line.extended:
                self._extension.tell_list()
        elif option == COM_PORT:
            if self._port is None and line.com_port:
                self._port = PortControl(self._terms.signature, self._out)
            if self._port is not None:
                self._port.switch(line.com_port, self.state in CARRYING)

    def _subnegotiated(self, option: int, payload: bytes) -> None:
        line = self._line
        if option == VMWARE_EXT and payload and line.gate is None:
            self._extended(payload)
        elif line.authenticates(option, payload):
            return
        elif line.gate is not None:
            line.gate.received(option, payload)
        elif option == COM_PORT and self._port is not None and self._port.on:
            self._port.received(payload, self.state in CARRYING)
        else:
            self._out.actions.append(Count("unknown subnegotiations"))

    def _extended(self, payload: bytes) -> None:
        extension, code = self._extension, payload[0]
        if code in _VMOTION:
            extension.tell_list()
            self._input(_VMOTION[code], payload[1:])
            return
        try:
            extension.received(payload, self._carried)
        except Contradiction as error:
            self.give_up(str(error))
        else:
            if code in DETAILS and self.state in CARRYING:
                self._tell_details()

    # In: answers.

    def refused(self, reason: str) -> None:
        """The console may not be had."""
        self._extension.claim_nothing()  # it asked, and was answered
        self._input(REFUSED)
        self._out.actions.append(Count("refused second connections"))
        self.give_up(reason)

    def claim_later(self) -> None:
        """More must be known of the VM first: what it was asked, or, in time, that it does not answer."""
        self._part()
        self._input(LATER)

    def judged(self, uri: DialURI, refusal: str) -> None:
        """The VM may be connected to a destination; or not, for a reason."""
        if self.state != CLOSED:
            self._extension.judged(uri, refusal, self._carried)
            if self._extension.ripe and not self._receiving:
                self.identify()  # this is no read, and nothing follows at once

    def go_ahead(self, sequence: bytes, secret: bytes) -> None:
        """A vMotion has begun."""
        # Everything for the VM has been written before, or waits in the console.
        self._send(Sub.VMOTION_GOAHEAD, sequence + secret)

    def not_now(self, sequence: bytes, why: str = "no console is served here, or not any more") -> None:
        """A vMotion cannot begin here."""
        self._out.complain("refused vMotions", f"NOTNOW: {why}")
        self._send(Sub.VMOTION_NOTNOW, sequence)

    def peer_accepted(self, carried: Carried, sequence: bytes) -> None:
        """The pair is that of a pending vMotion."""
        if self.state == PEERING:
            self._carried = carried
            self._input(ACCEPTED)
            self._send(Sub.VMOTION_PEER_OK, sequence)

    def peer_refused(self, reason: str) -> None:
        """The pair opens no door."""
        self._input(UNKNOWN)
        self._extension.claim_nothing()
        self._out.complain("refused peers", reason)
        # Its guest is stunned until it knows, and silence would be the only answer: there is none for this.
        self._out.actions.append(Close("its PEER was refused", complain=False))

    def not_completed(self) -> None:
        """COMPLETE was said of another vMotion, or of one that has ended."""
        self._input(FAILED)
        self._stray("COMPLETE")

    def not_aborted(self) -> None:
        """ABORT was said of another vMotion, or of one that has ended."""
        self._stray("ABORT")

    def tls_started(self) -> None:
        """TLS has begun; what was agreed on before holds."""
        self._scanner = Scanner()
        if self._kept:  # in clear, behind the host's START: nobody knows whose it is
            self._kept = b""
            self.hold(EARLY, False)
        self._input(TLS)
        known = self._line.tls_started()
        if self.state == OPEN and self._line.extended:
            self._extension.tell_list()
        if known:
            self._extension.received(known, None)

    # In: events.

    def identify(self, late: bool = False, overdue: bool = False) -> None:
        """Claim the console, if it is known which.

        :param late: do not wait for a name that log files are named after, nor for a VC UUID that there is not.
        :param overdue: do not wait for a VC UUID at all.
        """
        self._extension.settle()
        # A pair says already which console it is; a connection that is gone may have waited for nothing but a name.
        if self._carried is None and self.state in (OPEN, CLOSED):
            claim = self._extension.claim(late, overdue)
            if claim is not None:
                self._input(KNOWN, claim)
            elif self._extension.has_no_vc_uuid:
                self._out.actions.append(ClaimSoon())

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
            if self._port is None and inherited is not None:
                self._port = PortControl(self._terms.signature, self._out)
            if self._port is not None:
                self._port.carry(inherited)
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
        self._extension.forget()
        if self._port is not None:
            self._port.forget()
        early, lost = self._take_early()
        return len(early) + lost

    def hold(self, reason: int, on: bool) -> None:
        """Stop reading from the host for a reason, or go on if there is no other."""
        before = self.holds
        self.holds = before | reason if on else before & ~reason
        if bool(self.holds) != bool(before):
            self._out.actions.append(Reading(not self.holds))

    def block(self, on: bool) -> None:
        """The host reads slower than is written, or has caught up."""
        self._out.block(on)
        suspended = self._port is not None and self._port.suspended
        self._out.actions.append(Readiness(not (on or suspended)))

    def give_up(self, reason: str) -> None:
        """Have the connection closed for a fault of the host's."""
        self._out.actions.append(Close(reason))

    def close(self) -> None:
        """The connection is closed, or lost; what was kept may still be served."""
        if self.state == CLAIMING:
            self._extension.claim_nothing()  # it has been asked for
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
        return self._begun is None and self._line.gate is not None

    def ask(self, option: int, side: Side, on: bool) -> None:
        """Ask for a side of an option to be turned on or off."""
        self._line.ask(option, side, on)

    def accept_tls(self) -> None:
        """Tell the host that TLS begins behind this."""
        self._out.control(ACCEPT)

    def scanner(self) -> Scanner | None:
        """A scanner that stands behind all that has come from the host; None while something is kept of that."""
        if self._rest is not None or self._kept or self._receiving:
            return None
        return Scanner() if self._begun is not None else Scanner.restore(self._scanner.snapshot())

    def encode(self, data: bytes) -> bytes:
        """Serial data for the guest, as it travels."""
        return self._line.encode(data)

    def send(self, data: bytes) -> None:
        """Send bytes as they are, in the order of everything else."""
        self._out.data.append(data)

    def send_break(self) -> None:
        """Send a break to the guest."""
        self._out.control(_BREAK)

    def take_data(self) -> bytes:
        """The bytes that are to be sent to the host now."""
        if self._begun is not None:
            unsent, self._unsent = self._unsent, b""
            return unsent
        return b"".join(self._out.take_data()) if self._out.data else b""

    def take_actions(self) -> Sequence[Action]:
        """The actions that events have led to."""
        if self._begun is not None:
            return ()
        return self._out.take_actions() if self._out.actions else ()

    # Handing over.

    def snapshot(self) -> VMSessionState:
        """The session between two events, as a value."""
        rest: tuple[TokenState, ...] | None = None
        if self._rest is not None:
            tokens = list(self._rest)
            self._rest = iter(tokens)
            rest = tuple(token_state(token) for token in tokens)
        out, carried = self._out, self._carried
        return VMSessionState(
            state=self.state,
            line=self._line.snapshot(),
            scanner=self._scanner.snapshot(),
            extension=self._extension.snapshot(),
            port=None if self._port is None else self._port.snapshot(),
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
        out = session._out
        out.take_data()  # its opening has been sent
        if state.unsent:
            out.data.append(state.unsent)
        out.block(state.blocked, state.control_while_blocked)
        session._line.restore(line)
        session._scanner = Scanner.restore(state.scanner)
        session._extension.restore(state.extension)
        if state.port is not None:
            session._port = PortControl(terms.signature, out)
            session._port.restore(state.port)
        session._carried = state.carried
        session._early = None if state.early is None else EarlyOutput.restore(state.early, terms)
        session._question = state.question
        session._rest = None if state.rest is None else iter([token_of(token) for token in state.rest])
        session._kept = state.kept
        session.commands = state.commands
        session.holds = state.holds & EARLY  # the others are for the log, the remote end and the clock to say again
        session.state = state.state
        session._see_plain()
        if state.holds:
            out.actions.append(Reading(not session.holds))
        session._ask_again()
        return session

    def _ask_again(self) -> None:
        actions = self._out.actions
        port = self._port
        if self._out.blocked or (port is not None and port.suspended):
            actions.append(Readiness(False))
        if port is not None and self.state in CARRYING:
            port.tell()
        claim = self._extension.claim(True, True) if self.state == CLAIMING else None
        if claim is not None:
            actions.append(claim)
        elif self.state == PEERING:
            self._ask_peer(self._question)
        elif self.state == COMPLETING:
            self._ask_complete(self._question)
        self._extension.judge()

    # What the table does.

    def _input(self, what: str, *given: Any) -> None:
        found = _TABLE.get((self.state, what))
        if found is not None:
            self.state, does = found
            if does is not None:
                does(self, *given)

    def _output(self, data: bytes) -> None:
        self._out.actions.append(data)

    def _forget(self, data: bytes) -> None:
        self._out.actions.append(Count("bytes in clear forgotten", len(data)))

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
        self._out.actions.append(claim)

    def _ask_begin(self, sequence: bytes) -> None:
        self._out.actions.append(Begin(sequence))

    def _ask_peer(self, pair: bytes) -> None:
        self._question = pair
        self._out.actions.append(Peer(pair, self._extension.uuid))

    def _refuse_peer(self, _: bytes) -> None:
        what = "has a part in a vMotion already" if self.state == ARRIVING else "has its console already"
        self._out.complain("refused peers", f"PEER on a connection that {what}")

    def _ask_complete(self, sequence: bytes) -> None:
        self._question = sequence
        self._out.actions.append(Complete(sequence))

    def _ask_abort(self, sequence: bytes) -> None:
        self._out.actions.append(Abort(sequence))

    def _stray_complete(self, _: bytes) -> None:
        self._stray("COMPLETE")

    def _stray_abort(self, _: bytes) -> None:
        self._stray("ABORT")

    def _stray(self, what: str) -> None:
        self._out.complain(f"stray {what}s", f"{what}, but no vMotion is pending here")

    def _send(self, code: int, parameters: bytes) -> None:
        self._out.control(subnegotiation(VMWARE_EXT, message(code, parameters)))

    def _tell_details(self) -> None:
        extension = self._extension
        if extension.bios_uuid is not None or extension.location_uuid is not None or extension.name:
            bios, location = extension.bios_uuid, extension.location_uuid
            self._out.actions.append(Details(bios, location, extension.name, extension.uri is not None))

    def _take_early(self) -> tuple[bytes, int]:
        early, self._early = self._early, None
        self._see_plain()
        if early is None:
            return b"", 0
        self.hold(EARLY, False)
        return early.take()

    def _see_plain(self) -> None:
        plain = self.state in HEARD and not self._receiving and self._rest is None and not self._kept
        if plain and self._begun is not None:
            plain = self._begun.line.after_cr is None
        elif plain:
            plain = not self._scanner.busy and self._line.decoder is None
        self.plain = plain


_TABLE: dict[tuple[str, str], tuple[str, Callable[..., None] | None]] = {
    given: (after, getattr(VMSession, f"_{does}") if does else None) for given, (after, does) in TABLE.items()
}
