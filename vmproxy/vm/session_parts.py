"""The parts of one session: what it has agreed on with its host, and what is on its way to host and driver."""

from __future__ import annotations

from vmproxy.vm.actions import Outbox
from vmproxy.vm.beginning import Beginning, ExtensionState, Introduction, Request
from vmproxy.vm.comport import PortControl, PortControlState
from vmproxy.vm.extension import Extension, Terms
from vmproxy.vm.negotiation import LineNegotiation, NegotiationState
from vmproxy.wire.telnet import Scanner, ScannerState


class SessionParts:
    """The parts of a session whose host has said what others have not.

    :ivar out: bytes for the host and actions for the driver; the other parts add to it.
    :ivar scanner: takes the bytes of the host apart; another one behind the beginning of TLS.
    :ivar line: the options; ``extension``: identity and request of the VM.
    :ivar port: port control, made when it is needed.
    """

    __slots__ = ("_signature", "extension", "line", "out", "port", "scanner")

    def __init__(self, terms: Terms, com_port: bool, tls: bool, guarded: bool, encrypted: bool) -> None:
        """For the parameters, see :class:`~vmproxy.vm.session.VMSession`."""
        self.out = out = Outbox()
        self.scanner = Scanner()
        self.line = LineNegotiation(out, com_port, tls, guarded, encrypted)
        self.extension = Extension(terms, out)
        self.port: PortControl | None = None
        self._signature = terms.signature

    @classmethod
    def behind(cls, begun: Beginning, told: Introduction | None, unsent: bytes, terms: Terms) -> SessionParts:
        """The parts of a session that had none of its own until now.

        :param told: what the VM has said of itself.
        :param unsent: what the host is still to be sent.
        """
        line = begun.line
        parts = cls(terms, line.com_port, line.tls, False, line.encrypted)
        if unsent:
            parts.out.data.append(unsent)
        parts.restore(line, begun.extension, begun.port)
        if told is not None:
            parts.extension.introduce(told)
        return parts

    def scan_anew(self, state: ScannerState | None = None) -> None:
        """Have another scanner: behind the beginning of TLS, or that of another session."""
        self.scanner = Scanner() if state is None else Scanner.restore(state)

    def restore(self, line: NegotiationState, extension: ExtensionState, port: PortControlState | None) -> None:
        """Go on where another session was, made with the same settings."""
        self.line.restore(line)
        self.extension.restore(extension)
        if port is not None:
            self.needed_port().restore(port)

    def needed_port(self) -> PortControl:
        """Port control, from now on."""
        if self.port is None:
            self.port = PortControl(self._signature, self.out)
        return self.port

    @property
    def are_common(self) -> bool:
        """Whether nothing but what the VM says of itself may tell them from those of others."""
        return not self.scanner.busy and self.out.is_quiet and (self.port is None or self.port.is_usual)

    def beginning(self, age: int, extension: ExtensionState, request: Request | None) -> Beginning:
        """A beginning for sessions that are as far as this one; for the parameters, see :class:`Beginning`."""
        port = None if self.port is None else self.port.snapshot()
        return Beginning(age, self.line.snapshot(), extension, port, request)
