"""What the host of a VM session says: bytes in, cut anywhere, and what they mean for the session.

Some reads are the same for thousands of hosts: what they lead to is looked up in :mod:`vmproxy.vm.beginning`. That a
VM says who it is, and nothing else, is seen by one pattern. All other reads are scanned, and looked at token by token.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

from vmproxy.vm.actions import Action, Claim, Close, Count, PortSettings
from vmproxy.vm.beginning import EARLY_COMMANDS, Beginning, Introduction, Step, read_introduction
from vmproxy.vm.early import EARLY_LIMIT
from vmproxy.vm.extension import DETAILS, Contradiction, first_claim
from vmproxy.vm.session_machine import EARLY, SessionMachine
from vmproxy.vm.session_table import (
    ABORT,
    ASKING,
    BEGIN,
    CARRYING,
    CLAIMING,
    CLOSED,
    COMPLETE,
    DATA,
    HEARD,
    OPEN,
    PEER,
    SERVING,
)
from vmproxy.wire.telnet import COM_PORT, VMWARE_EXT, Command, Negotiation, Scanner, Subnegotiation, Token
from vmproxy.wire.vmware import Sub

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
# What a VM says of itself, UUIDs and name, in the order in which it is asked; and what it may negotiate behind that.
_INTRODUCTION = re.compile(
    rb"\xff\xfa\xe8P([^\xff]*)\xff\xf0"
    + b"".join(rb"(?:\xff\xfa\xe8%c([^\xff]*)\xff\xf0)?" % code for code in b"RTV")
    + rb"((?:\xff[\xfb-\xfe][^\xff])*)",
    re.DOTALL,
)
_NO_PORT = PortSettings(None)


def _adds(token: Subnegotiation) -> bool:
    """Whether a subnegotiation may add to what is known of the VM."""
    return token.option == VMWARE_EXT and bool(token.payload) and token.payload[0] not in _SETTLING


class SessionReader(SessionMachine):
    """A session that is told by its host."""

    __slots__ = ()

    # Bytes.

    def along(self, data: bytes) -> bytes | None:
        """Take in a read that others have sent in the same place, before it was known which VM it is.

        It costs no more than serial data.

        :returns: the answer, which the driver sends; None if the read is none of these: it is for :meth:`receive`.
        """
        begun = self._begun
        if begun is None or self.state != OPEN or self._kept:
            return None
        step = begun.steps.get(data)  # there are none in a beginning of another age
        if step is None:
            return None
        self._begun = step.after
        self.commands += step.commands
        return step.answer

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
        return self._scan(self._own.scanner.feed(data))

    def _learn(self, begun: Beginning, data: bytes) -> Iterator[Action]:
        # What a read leads to is the same for all hosts that say the same, if it leads to no action.
        if not self._terms.beginnings.again(begun, data):
            yield from self._scan(self._own.scanner.feed(data))
            return
        own = self._own
        before, quiet, sent = self.commands, True, len(own.out.data)
        for action in self._scan(own.scanner.feed(data)):
            quiet = False
            yield action
        if not quiet or self.state != OPEN or before >= EARLY_COMMANDS or not self._is_common:
            return
        extension = own.extension.snapshot()
        if extension.is_anybodys:
            after = own.beginning(begun.age, extension, own.extension.request())
            answer = b"".join(own.out.data[sent:])
            self._terms.beginnings.learn(begun.steps, data, Step(after, answer, self.commands - before))
            self._share(after)

    def _introduction(self, begun: Beginning, data: bytes) -> Iterator[Action] | None:
        """Who it is, and perhaps some options behind that; None if the read is something else."""
        match = _INTRODUCTION.fullmatch(data)
        if match is None or begun.request is None:
            return None
        spelled, name, bios, location, tail = match.groups()
        told = read_introduction(spelled, name, bios, location)
        if told is None:
            return None
        claim = first_claim(begun.extension, begun.request, told, self._terms.needs_name)
        commands = 4 - (name, bios, location).count(None)
        return None if claim is None else self._introduce(begun, claim, told, commands, tail)

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
                self._see_plain()  # it may have been about BINARY
                self.commands += step.commands
                self._unsent += step.answer
                yield from step.actions

    def _learn_tail(self, begun: Beginning, told: Introduction, tail: bytes) -> Iterator[Action]:
        if not self._terms.beginnings.again(begun, tail):
            yield from self._scan(Scanner().feed(tail))
            return
        own = self._own
        before, extension, sent = self.commands, own.extension.snapshot(), len(own.out.data)
        actions: list[Action] = []
        for action in self._scan(Scanner().feed(tail)):
            actions.append(action)
            yield action
        known = own.extension.snapshot() == extension and all(action == _NO_PORT for action in actions)
        if known and self.state == SERVING and self._is_common:
            after = own.beginning(begun.age, begun.extension, None)
            answer = b"".join(own.out.data[sent:])
            step = Step(after, answer, self.commands - before, tuple(actions))
            self._terms.beginnings.learn(begun.tails, tail, step)
            self._share(after, told)

    @property
    def _is_common(self) -> bool:
        """Whether nothing but what the VM says of itself may tell this session from another one."""
        if self._rest is not None or self._kept or self._early is not None or self.holds:
            return False
        return self._own.are_common

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

    # Tokens.

    def _scan(self, tokens: Iterable[Token | None]) -> Iterator[Action]:
        return self._go_through(chain(tokens, _END))

    def _go_through(self, rest: Iterator[Token | None]) -> Iterator[Action]:
        own = self._own
        scanner, extension, out = own.scanner, own.extension, own.out
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
                if type(token) is bytes and self.state in HEARD and own.line.decoder is None:
                    yield token
                    continue
                self._take_in(token)
                while out.actions:
                    yield from self.take_actions()
                if self.state in ASKING:
                    self._rest = rest
                    return
                if own.scanner is not scanner:
                    return  # TLS begins: what follows in this read is not the host's
                if self.commands >= self._limit:
                    self._rest = rest  # as it is: with something around it, each portion would cost more than the last
                    return
        finally:
            self._receiving = False
            self._see_plain()

    def _take_in(self, token: Token) -> None:
        if isinstance(token, bytes):
            decoder = self._own.line.decoder
            if data := token if decoder is None else decoder.feed(token):
                self._input(DATA, data)
            return
        self.commands += 1
        if isinstance(token, Negotiation):
            self._negotiated(token.verb, token.option)
        elif isinstance(token, Subnegotiation):
            self._subnegotiated(token.option, token.payload)
        elif isinstance(token, Command):
            self._own.out.actions.append(Count("telnet commands"))  # none of them means anything on a serial line
        else:
            self._own.out.complain("telnet oddities", token.what)
            if token.fatal:
                self._own.out.actions.append(Close(token.what, complain=False))

    def _negotiated(self, verb: int, option: int) -> None:
        own = self._own
        line = own.line
        line.received(verb, option)
        if option == VMWARE_EXT:
            if line.gate is None and line.extended:
                own.extension.tell_list()
        elif option == COM_PORT and (own.port is not None or line.com_port):
            own.needed_port().switch(line.com_port, self.state in CARRYING)

    def _subnegotiated(self, option: int, payload: bytes) -> None:
        own = self._own
        line, port = own.line, own.port
        if option == VMWARE_EXT and payload and line.gate is None:
            self._extended(payload)
        elif line.authenticates(option, payload):
            return
        elif line.gate is not None:
            line.gate.received(option, payload)
        elif option == COM_PORT and port is not None and port.on:
            port.received(payload, self.state in CARRYING)
        else:
            own.out.actions.append(Count("unknown subnegotiations"))

    def _extended(self, payload: bytes) -> None:
        extension, code = self._own.extension, payload[0]
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
