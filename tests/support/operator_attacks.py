"""What operators do to keep the reactor busy with what a VM prints: patterns, replays, thousands of viewers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from twisted.conch.ssh.common import NS

from tests.support.daemon import eventually
from tests.support.host import FakeVM
from tests.support.turns import MeasuredDaemon, SSHSocket, Steps, at_once
from vmproxy.auth.limits import SESSIONS_EACH
from vmproxy.ssh.packets import CHACHA

PAINTED = b"".join(b"\x1b[%d;%dH\x1b[3%dm%c\x1b[K\x08" % (n % 24, n % 80, n % 8, 65 + n % 26) for n in range(4000))
LINES = b"".join(b"%062d\r\n" % n for n in range(4000))
CHANNELS = 60
MOST = SESSIONS_EACH // CHANNELS


@contextlib.contextmanager
def noisy(daemon: MeasuredDaemon, name: str, size: int) -> Iterator[FakeVM]:
    """A VM that has painted screens, and printed lines."""
    vm = FakeVM(daemon.vm_port, name).connect()
    before = len(daemon.logged(name))
    for _ in range(4 * size):
        vm.connected.say(PAINTED + LINES)
    wanted = before + 4 * size * len(PAINTED + LINES)
    eventually(lambda: len(daemon.logged(name)) >= wanted, "it is all there", daemon.patience)
    yield vm
    vm.close()


def reading(line: str, daemon: MeasuredDaemon, size: int) -> Steps:
    """Run a command that reads what a VM has printed, several at once, while it prints more."""
    with noisy(daemon, "painter", size) as vm, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(SSHSocket(daemon))) for _ in range(3 * size)]

        def run(number: int) -> None:
            if number:
                clients[number - 1].run(line)
            else:
                vm.connected.say((PAINTED + LINES) * size)

        yield
        at_once(len(clients) + 1, run)
        yield


def viewers(daemon: MeasuredDaemon, size: int) -> Steps:
    """Watch one console in hundreds of sessions; its VM prints, the rules change, and all leave at once."""
    vm = FakeVM(daemon.vm_port, "watched").connect()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(SSHSocket(daemon))) for _ in range(min(10 * size, MOST))]
        channels = [client.sessions(CHANNELS) for client in clients]
        yield
        for client, theirs in zip(clients, channels, strict=True):
            for channel in theirs:
                client.sendPacket(98, channel + NS(b"exec") + b"\0" + NS(b"console -s watched"))
            client.flush()
            client.receive_until(lambda c=client: _told(c, b"[spy]") == CHANNELS)
        for number in range(50):
            vm.connected.say(b"line %d\r\n" % number)
        for client in clients:
            client.receive_until(lambda c=client: _told(c, b"line 49") == CHANNELS)
        vm.connected.sub(82, b"renamed")
        vm.connected.sub(82, b"watched")
        daemon.reload(daemon.settings + '[[console]]\non = ["watched"]\nmessage = "hello"\n')
        daemon.reload(daemon.settings)
        for client in clients:
            client.socket.close()
        eventually(lambda: not daemon.status("watched")["viewers"], "all have left", daemon.patience)
        yield
    vm.close()


def _told(client: SSHSocket, text: bytes) -> int:
    """On how many channels a text has come."""
    return len({payload[:4] for number, payload in client.got if number in (94, 95) and text in payload})


def small_packets_in(daemon: MeasuredDaemon, size: int) -> Steps:
    """Send keys to a console, each in a packet of its own, and packets that mean nothing, on many connections."""
    vm = FakeVM(daemon.vm_port, "typed").connect()
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(4 * size):
            client = stack.enter_context(contextlib.closing(SSHSocket(daemon, cipher=CHACHA)))
            (channel,) = client.sessions(1)
            client.sendPacket(
                98, channel + NS(b"exec") + b"\0" + NS(b"console typed" if not number else b"console -s typed")
            )
            client.flush()
            client.receive_until(lambda c=client: any(n in (94, 95) for n, _ in c.got))
            clients.append((client, channel))

        def send(number: int) -> None:
            client, channel = clients[number]
            for _ in range(2000):
                client.sendPacket(94, channel + NS(b"k"))
                client.sendPacket(2, NS(b""))
            client.flush()
            # What is asked for is answered behind all that.
            client.sendPacket(80, NS(b"keepalive@openssh.com") + b"\1")
            client.flush()
            client.receive_until(lambda: client.count(81) + client.count(82))

        yield
        at_once(len(clients), send)
        vm.connected.wait_size(2000)
        yield
    vm.close()
