"""Machines whose hosts speak TLS: from the first byte (``telnets://``), or after a switch in-band.

OpenSSL as Python has it, which is not the one of vmproxy, straight on the socket. Like a host that is given a
thumbprint only, it asks no authority.
"""

from __future__ import annotations

import ssl
from enum import Enum, auto
from uuid import UUID

from bench import canned
from bench.loop import READ, WRITE, Loop
from bench.machines import Connection, Machine, Steps


class _Phase(Enum):
    CLEAR = auto()
    SHAKING = auto()
    SECURE = auto()


class Hosts:
    """What the hosts of a fleet have in common.

    :ivar inband: whether they begin in clear.
    :ivar resumed: how many handshakes went on with an earlier session.
    """

    def __init__(self, inband: bool = False, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.maximum_version = newest
        self.inband = inband
        self.resumed = 0
        self._sessions: dict[UUID, ssl.SSLSession] = {}

    def connection(self, loop: Loop, machine: Machine, steps: Steps, number: int, first: bytes) -> Connection:
        """A connection of a machine, not connected yet."""
        return SecureConnection(
            self, loop, machine, steps, number, canned.WILL_AUTHENTICATION if self.inband else first
        )

    def remember(self, machine: Machine) -> None:
        """Have a machine go on with its session when it connects again."""
        connection = machine.connection
        if isinstance(connection, SecureConnection) and (session := connection.session) is not None:
            self._sessions[machine.uuid] = session

    def session(self, machine: Machine) -> ssl.SSLSession | None:
        """The session that a machine goes on with."""
        return self._sessions.get(machine.uuid)


class SecureConnection(Connection):
    """A connection in TLS."""

    __slots__ = ("_hosts", "_phase", "_tls")

    def __init__(
        self, hosts: Hosts, loop: Loop, machine: Machine, steps: Steps, number: int, first: bytes = b""
    ) -> None:
        super().__init__(loop, machine, steps, number, first)
        self._hosts = hosts
        self._phase = _Phase.CLEAR
        self._tls: ssl.SSLSocket | None = None

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection can go on with, if the server has offered that."""
        return None if self._tls is None else self._tls.session

    def connect(self, port: int) -> None:
        if not self._hosts.inband:
            self._wrap()
        super().connect(port)

    def _wrap(self) -> None:
        session = self._hosts.session(self.machine)
        self.sock = self._tls = self._hosts.context.wrap_socket(
            self.sock, do_handshake_on_connect=False, suppress_ragged_eofs=True, session=session
        )
        self._phase = _Phase.SHAKING
        self._events = READ | WRITE  # the handshake begins when it is connected

    def _happened(self, events: int) -> None:
        if self._phase is _Phase.SHAKING:
            self._go_on_shaking()
        else:
            super()._happened(events)

    def _go_on_shaking(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._wait()
            return
        except OSError:
            self.close()
            self.lost(self)
            return
        self._wait()
        self._phase = _Phase.SECURE
        self._hosts.resumed += bool(self._tls.session_reused)
        self.send = self._send
        if self._received:
            self._shake(b"")  # what was agreed on in clear holds
        super()._happened(READ)  # what came behind the handshake is in TLS' own buffer already

    def _send(self, data: bytes | memoryview) -> int:
        assert self._tls is not None
        try:
            return self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def _read(self) -> bytes:
        if self._phase is _Phase.SECURE:
            return self._read_records()
        data = self.sock.recv(65536)
        if not data:
            return b""
        self._received += data
        if canned.ACCEPTED_TLS in self._received:
            self._wrap()
            self._go_on_shaking()
        elif canned.ASKED_FOR_TLS in self._received:
            self.send(canned.START_TLS)
            self._received = self._received.replace(canned.ASKED_FOR_TLS, b"")
        raise BlockingIOError

    def _read_records(self) -> bytes:
        assert self._tls is not None
        found = b""
        while True:
            try:
                data = self._tls.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if found:
                    return found
                raise BlockingIOError from None
            if not data:
                return found  # its end is found again
            found += data
