"""The reference: the smallest Twisted server that could do this work, and does none of it properly.

It answers the handshake from canned bytes, one answer for each read, and writes what arrives, unparsed, to a file per
connection, named after its address. vMotions get canned answers: a suboption in a read is found, answered, and left
out of the file. What comes from the first machine goes to whoever is connected to the viewers' port too, and what they
send goes to that machine: plain TCP, unbounded. It says nothing, keeps nothing, and stands still while a disk makes it
wait: there is hardly anything left to leave out.

``python -m bench.reference FOLDER OPEN_FILES [CERTIFICATE]`` writes to that folder, keeps at most so many files open
(those of other connections are opened for each write) and prints four ports: the machines', the viewers', the tail's,
and that of machines with TLS, as Twisted has it; 0 without a certificate.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet import epollreactor
from twisted.internet.interfaces import IAddress
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.tcp import Port, Server

from bench import canned

TAIL = 60_000  # as much as a replay of vmproxy is asked for
_ANSWERS = (canned.LIST, canned.QUESTIONS, canned.DO_COM_PORT)
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class _Connection(Protocol):
    transport: Server


class Machine(_Connection):
    """A connection from a host."""

    def __init__(self, server: Machines) -> None:
        self._server = server
        self._stage = 0
        self._fd = -1
        self._path = ""

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.setTcpNoDelay(True)
        self.transport.write(canned.OPENING)

    def dataReceived(self, data: bytes) -> None:
        """Answer, or write."""
        if self._stage < len(_ANSWERS):
            self._shake()
            return
        if canned.SUB in data:
            data = self._answered(data)
        if self._fd >= 0:
            os.write(self._fd, data)
        elif data:
            self._write_first(data)
        if self._server.first is self:
            for viewer in self._server.viewers:
                viewer.transport.write(data)

    def _shake(self) -> None:
        self.transport.write(_ANSWERS[self._stage])
        self._stage += 1
        if self._stage == len(_ANSWERS):
            self._path = os.path.join(self._server.folder, self.transport.getPeer().host)
            if self._server.first is None:
                self._server.first = self

    def _answered(self, data: bytes) -> bytes:
        start = data.find(canned.SUB)
        end = data.index(canned.END, start)
        code, sequence = data[start + 3], data[start + 4 : start + 8]
        if code == canned.BEGIN:
            self.transport.write(canned.sub(canned.GOAHEAD, sequence + b"12345678"))
        elif code == canned.PEER:
            self.transport.write(canned.sub(canned.PEER_OK, sequence))
        rest = data[:start] + data[end + 2 :]
        return self._answered(rest) if canned.SUB in rest else rest

    def _write_first(self, data: bytes) -> None:
        server = self._server
        fd = os.open(self._path, _FLAGS, 0o640)
        os.write(fd, data)
        if server.open_files > 0:
            server.open_files -= 1
            self._fd = fd
        else:
            os.close(fd)

    def connectionLost(self, reason: object = None) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._server.open_files += 1


class Machines(ServerFactory):
    """The machines' port."""

    noisy = False

    def __init__(self, folder: str, open_files: int) -> None:
        self.folder = folder
        self.open_files = open_files
        self.first: Machine | None = None
        self.viewers: list[Viewer] = []

    def buildProtocol(self, addr: IAddress | None) -> Machine:
        """One of them."""
        return Machine(self)


class Viewer(_Connection):
    """Somebody at the first machine's console."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    def connectionMade(self) -> None:
        """Join."""
        self.transport.setTcpNoDelay(True)
        self._machines.viewers.append(self)

    def dataReceived(self, data: bytes) -> None:
        """A key."""
        if self._machines.first is not None:
            self._machines.first.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        """Leave."""
        self._machines.viewers.remove(self)


class Tail(_Connection):
    """Somebody who wants the end of the first machine's file."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    def connectionMade(self) -> None:
        """Send it."""
        first = self._machines.first
        if first is not None:
            with open(first._path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
                self.transport.write(file.read(TAIL))
        self.transport.loseConnection()


class _Others(ServerFactory):
    """The other two ports."""

    noisy = False

    def __init__(self, protocol: type[Viewer] | type[Tail], machines: Machines) -> None:
        self._protocol = protocol
        self._machines = machines

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """One of them."""
        return self._protocol(self._machines)


def _listen_with_tls(reactor: PosixReactorBase, machines: Machines, certificate: Path) -> Any:
    from twisted.internet.ssl import PrivateCertificate

    options = PrivateCertificate.loadPEM(certificate.read_bytes()).options()
    return reactor.listenSSL(0, machines, options, 1024, "127.0.0.1")


def main() -> None:
    """Serve until killed."""
    folder, open_files = sys.argv[1], int(sys.argv[2])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Path(folder).mkdir(parents=True, exist_ok=True)
    epollreactor.install()
    from twisted.internet import reactor

    machines = Machines(folder, open_files)
    factories = (machines, _Others(Viewer, machines), _Others(Tail, machines))
    ports = [cast(PosixReactorBase, reactor).listenTCP(0, factory, 1024, "127.0.0.1") for factory in factories]
    if len(sys.argv) > 3:
        ports.append(_listen_with_tls(cast(PosixReactorBase, reactor), machines, Path(sys.argv[3])))
    numbers = [cast(Port, port).getHost().port for port in ports]
    print(*numbers, *[0] * (4 - len(numbers)), flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
