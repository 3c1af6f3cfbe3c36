"""How long the reactor of a daemon is busy at a stretch, and a client that sends it what costs most.

A turn is the time between two looks for what has arrived. Whoever sends something has to wait for the end of the turn
that is under way. The daemon under test is measured from within, by the processor time of its main thread, because that
does not depend on what else the machine does. What the turn did when it became too long is kept for the report.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorCore

from tests.support.ciphers import AnyCipher
from tests.support.daemon import PATIENCE, Daemon
from vmproxy.base.compat import quick_turn_of

SIZE = struct.calcsize("dd")
TOO_LONG = float(os.environ.get("TOO_LONG", "0.04"))  # of a turn, for the report
KEXINIT, NEWKEYS = 20, 21
ACCEPTED = 52
START = "import sys; from tests.support.turns import run; run()"


Steps = Iterator[None]
"""An attack: it gets ready up to its first yield; what follows is measured, up to the second."""


def at_once(count: int, work: Callable[[int], object]) -> None:
    """Do something several times at once, on threads."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class MeasuredDaemon(Daemon):
    """A daemon that measures the turns of its reactor.

    :ivar settings: what it is started with.
    """

    patience = 180.0  # it may know 16,000 consoles

    def __init__(self, folder: Path, keys: Path, settings: str) -> None:
        super().__init__(folder, keys, settings)
        self.settings = settings

    def command(self) -> list[str]:
        """What starts it."""
        line = super().command()
        return [line[0], "-c", START, *line[3:]]

    def start(self) -> MeasuredDaemon:
        self.environment["TURNS"] = str(self._turns)
        self._turns.write_bytes(bytes(SIZE))
        super().start()
        with self._turns.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        return self

    @property
    def _turns(self) -> Path:
        return self.folder / "turns"

    def begin(self) -> None:
        """Measure from now on."""
        self._map[:] = bytes(SIZE)
        stacks = self._turns.with_suffix(".stacks")
        stacks.unlink(missing_ok=True)

    @property
    def longest(self) -> float:
        """The seconds of processor time that the longest turn took."""
        longest: float = struct.unpack("dd", self._map[:])[0]
        return longest

    @property
    def longest_on_the_wall(self) -> float:
        """The seconds that the longest turn took: with those in which the machine did something else."""
        longest: float = struct.unpack("dd", self._map[:])[1]
        return longest

    def report(self) -> str:
        """What it did in the turns that took too long."""
        stacks = self._turns.with_suffix(".stacks")
        return stacks.read_text()[:20_000] if stacks.exists() else ""


def run() -> None:
    """Run twistd; measure the turns of its reactor."""
    from twisted.internet import reactor  # here: it is chosen by the import
    from twisted.scripts.twistd import run as twistd

    def measure() -> None:
        turn = quick_turn_of(reactor)
        assert turn is not None
        turn.poll = Poller(turn.poll, Path(os.environ["TURNS"])).poll

    sys.argv[0] = "twistd"
    cast(IReactorCore, reactor).callWhenRunning(measure)
    twistd()


class Poller:
    """Stands before the poller of a reactor."""

    def __init__(self, poll: Callable[[float, int], Any], path: Path) -> None:
        self._poll = poll
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._began = (time.thread_time(), time.monotonic())
        self._busy = False
        self._turns = 0
        threading.Thread(target=self._watch, args=(path.with_suffix(".stacks"),), daemon=True).start()

    def poll(self, timeout: float, most: int) -> Any:
        if self._busy:
            longest = struct.unpack("dd", self._map[:])
            took = time.thread_time() - self._began[0], time.monotonic() - self._began[1]
            if took[0] > longest[0] or took[1] > longest[1]:
                self._map[:] = struct.pack("dd", *map(max, took, longest))
        self._busy = False
        try:
            return self._poll(timeout, most)
        finally:
            self._began = time.thread_time(), time.monotonic()
            self._turns += 1
            self._busy = True

    def _watch(self, path: Path) -> None:
        main = threading.main_thread().ident or 0
        clock = time.pthread_getcpuclockid(main)
        seen = -1
        while True:
            time.sleep(TOO_LONG / 4)
            turn, busy = self._turns, self._busy
            if busy and turn != seen and time.clock_gettime(clock) - self._began[0] > TOO_LONG:
                seen = turn
                frame = sys._current_frames().get(main)
                if frame is not None and path.parent.exists():
                    with path.open("a") as file:
                        file.write("".join(traceback.format_stack(frame)[-8:]) + "\n")


def write_consoles(daemon: Daemon, names: Iterable[str], uri: str = "vmproxy") -> None:
    """Write the journal of a daemon that knows consoles of these names; the n-th one has the UUID n."""
    lines = []
    for number, name in enumerate(names, 1):
        uuid = str(UUID(int=number))
        record = {"uuid": uuid, "port": "1", "name": name, "uri": uri, "log": f"{uuid}.log", "template": "{uuid}.log"}
        lines.append(json.dumps({**record, "host": "", "up": False, "since": 0.0, "reason": ""}))
    daemon.state.joinpath("consoles.jsonl").write_text("\n".join(lines) + "\n")


class _Collector:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def write(self, data: bytes) -> None:
        self.buffer += data

    def loseConnection(self) -> None: ...

    def logPrefix(self) -> str:
        return "-"


class SSHSocket(AnyCipher):
    """An SSH client that says what it is told to, in packets that are sent when it is told so.

    :ivar got: the packets that came, number and payload.
    """

    supportedKeyExchanges = [b"curve25519-sha256"]
    supportedMACs = [b"hmac-sha2-256"]
    supportedPublicKeys = [b"ssh-ed25519"]
    supportedCompressions = [b"none"]

    def __init__(
        self,
        daemon: Daemon,
        identity: Path | None = None,
        user: str = "root",
        log_in: bool = True,
        cipher: bytes = b"aes128-ctr",
    ) -> None:
        self.supportedCiphers = [cipher]
        self.got: list[tuple[int, bytes]] = []
        self.secure = False
        self._collector = _Collector()
        self.transport = self._collector  # type: ignore[assignment]  # what conch writes to
        self.socket = socket.create_connection(("127.0.0.1", daemon.ssh_port), timeout=4 * PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connectionMade()
        self.flush()
        if log_in:
            self.receive_until(lambda: self.secure)
            self._log_in(Key.fromFile(str(identity or daemon.identity)), user.encode())

    def _log_in(self, key: Key, user: bytes) -> None:
        self.sendPacket(5, NS(b"ssh-userauth"))
        body = b"\x32" + NS(user) + NS(b"ssh-connection") + NS(b"publickey") + b"\xff" + NS(key.sshType())
        body += NS(key.public().blob())
        signed = NS(self.sessionID or b"") + body
        self.sendPacket(50, body[1:] + NS(key.sign(signed)))
        self.flush()
        self.receive_until(lambda: any(number in (ACCEPTED, 51) for number, _ in self.got))
        assert any(number == ACCEPTED for number, _ in self.got), self.got

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:
        return succeed(True)

    def connectionSecure(self) -> None:
        self.secure = True

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        if messageNum < 5 or messageNum in (KEXINIT, NEWKEYS, 31):
            super().dispatchMessage(messageNum, payload)
        else:
            self.got.append((messageNum, payload))

    def flush(self) -> None:
        """Send the packets that have been made."""
        data = bytes(self._collector.buffer)
        self._collector.buffer.clear()
        self.socket.sendall(data)

    def receive_until(self, condition: Callable[[], object]) -> None:
        """Receive until something holds."""
        while not condition():
            data = self.socket.recv(65536)
            assert data, "the server has closed the connection"
            self.dataReceived(data)
            self.flush()

    def open(self, number: int, host: str | None = None, window: int = 1 << 20, packet: int = 32768) -> None:
        """Say CHANNEL_OPEN: a session, or a raw stream."""
        sizes = struct.pack(">3L", number, window, packet)
        if host is None:
            self.sendPacket(90, NS(b"session") + sizes)
        else:
            rest = NS(host.encode()) + struct.pack(">L", 1) + NS(b"127.0.0.1") + struct.pack(">L", 1)
            self.sendPacket(90, NS(b"direct-tcpip") + sizes + rest)

    def sessions(self, count: int, window: int = 1 << 20, packet: int = 32768) -> list[bytes]:
        """Open sessions; :returns: the server's numbers of them."""
        before = self.count(91)
        for number in range(before, before + count):
            self.open(number, None, window, packet)
        self.flush()
        self.receive_until(lambda: self.count(91) + self.count(92) >= before + count)
        opened = [payload[4:8] for kind, payload in self.got if kind == 91]
        assert len(opened) == before + count, self.got[-1]
        return opened[before:]

    def count(self, number: int) -> int:
        """How many packets of a kind have come."""
        return sum(kind == number for kind, _ in self.got)

    def run(self, command: str) -> bytes:
        """Run a command to its end; :returns: its output."""
        ours = struct.pack(">L", self.count(91))
        (theirs,) = self.sessions(1, 1 << 30)
        self.sendPacket(98, theirs + NS(b"exec") + b"\0" + NS(command.encode()))
        self.flush()
        self.receive_until(lambda: (97, ours) in self.got)
        self.sendPacket(97, theirs)
        self.flush()
        return b"".join(getNS(p[4:])[0] for number, p in self.got if number == 94 and p[:4] == ours)

    def close(self) -> None:
        self.socket.close()
