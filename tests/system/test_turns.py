"""Nothing that one client, host or VM sends keeps the reactor busy for long: the others wait for the end of a turn.

A turn is measured by the processor time of the reactor's thread, which does not depend on what else the machine does.
16,000 consoles are known, half of them of one name, under ten rules. ``make soak`` does all of it at full size, and
measures on a quiet machine how long another VM waits for an answer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from twisted.conch.ssh.common import NS, getNS

from tests.support import fleet_attacks, host_attacks, operator_attacks, web_attacks
from tests.support.daemon import eventually
from tests.support.host import IAC, SB, SE, VMWARE, FakeVM, HostConnection
from tests.support.probe import Probe
from tests.support.tls import write_pem
from tests.support.turns import MeasuredDaemon, SSHSocket, Steps, at_once, write_consoles
from vmproxy.ssh.connection import SMALLEST_PACKET
from vmproxy.ssh.packets import CHACHA

CONSOLES = 16_000
SOAK_SIZE = int(os.environ.get("SOAK_SIZE", "6"))
QUICK = 0.01  # seconds of processor time that what `slowness` does takes where the bound holds
BOUND = 0.05  # seconds: of a turn, and on a quiet machine of the longest wait
RULES = "".join(f'[[rule]]\nwho = ["*"]\nmay = ["see"]\non = ["*no-such-{n}*", "query:team={n}"]\n' for n in range(10))
HIDES = '[[rule]]\nwho = ["*"]\nmay = []\non = ["hidden*"]\n'  # so that it is worked out who sees what
EVERYTHING = '[[rule]]\nwho = ["*"]\nmay = ["admin"]\non = ["*"]\n'
DIALS = '[[dial]]\nto = ["127.0.0.1"]\nports = "*"\nverify = false\n'
LINE = b"error " + bytes(range(1, 10)) * 60 + b"\r\n"


def settings(pem: Path, watches: str) -> str:
    """The settings of the daemon."""
    tls = f'tls-listen = ["tcp:0:interface=127.0.0.1"]\ncertificates = ["{pem}"]\n'
    tables = f"{RULES}{HIDES}{EVERYTHING}{DIALS}{fleet_attacks.GROUPS}"
    return f"{web_attacks.WEB}[vm]\n{tls}vmotions-per-minute = 1000\n{watches}{tables}"


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[MeasuredDaemon]:
    """A daemon that knows 16,000 consoles, and 10,000 alerts."""
    folder = tmp_path_factory.mktemp("crowded")
    pem = write_pem(folder / "vm.pem", "localhost")
    with fleet_attacks.silent_receiver(folder) as watches:
        daemon = MeasuredDaemon(folder / "daemon", keys, settings(pem, watches))
        write_consoles(daemon, (f"vm{n:05}" if n % 2 else "clone" for n in range(CONSOLES)))
        fleet_attacks.write_alerts(daemon)
        daemon.start()
        yield daemon
        daemon.stop()
    assert "Traceback" not in daemon.said(), daemon.said()


def names(daemon: MeasuredDaemon, size: int) -> Steps:
    with contextlib.closing(SSHSocket(daemon)) as client:
        yield
        for number in range(100 * size):
            client.open(number, ("v", "c", "clone", "vm0", "VM1", "clone~", "")[number % 7])
        client.flush()
        client.receive_until(lambda: client.count(92) == 100 * size)
        yield


def command(line: str, daemon: MeasuredDaemon, size: int) -> Steps:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(SSHSocket(daemon))) for _ in range(2 * size)]
        yield
        at_once(len(clients), lambda number: clients[number].run(line))
        yield


def sftp(daemon: MeasuredDaemon, size: int) -> Steps:
    with contextlib.closing(SSHSocket(daemon)) as client:
        (theirs,) = client.sessions(1)
        client.sendPacket(98, theirs + NS(b"subsystem") + b"\0" + NS(b"sftp"))

        def request(kind: int, payload: bytes) -> None:
            client.sendPacket(94, theirs + NS(struct.pack("!LB", len(payload) + 1, kind) + payload))

        def answers() -> int:
            stream = b"".join(getNS(payload[4:])[0] for kind, payload in client.got if kind == 94)
            count = at = 0
            while len(stream) >= at + 4:
                at += 4 + int(struct.unpack_from("!L", stream, at)[0])
                count += at <= len(stream)
            return count

        yield
        request(1, struct.pack("!L", 3))
        for number in range(50 * size):
            request(17, struct.pack("!L", number) + NS(f"/{'clone' if number % 2 else 'v'}.log".encode()))
        request(11, struct.pack("!L", 0) + NS(b"/"))
        client.flush()
        client.receive_until(lambda: answers() >= 50 * size + 2)
        for number in range(100 * size):
            request(12, struct.pack("!L", number) + NS(b"1"))
        client.flush()
        client.receive_until(lambda: answers() >= 150 * size + 2)
        yield


def menus(daemon: MeasuredDaemon, size: int) -> Steps:
    with contextlib.closing(SSHSocket(daemon)) as client:
        channels = client.sessions(4 * size)
        yield
        for channel in channels:
            terminal = NS(b"xterm") + struct.pack(">4L", 80, 24, 0, 0) + NS(b"")
            client.sendPacket(98, channel + NS(b"pty-req") + b"\0" + terminal)
            client.sendPacket(98, channel + NS(b"shell") + b"\0")
        client.flush()
        client.receive_until(lambda: len({p[:4] for kind, p in client.got if kind == 94}) == len(channels))
        for channel in channels:
            client.sendPacket(94, channel + NS(b"c\x7fv\x7f:status v\t\t\t\x15log clone\t\t\x15\x03*0*\x15" * 5 * size))
        for channel in channels:
            client.sendPacket(94, channel + NS(b"\x03" * 4))
        client.flush()
        client.receive_until(lambda: client.count(97) == len(channels))
        yield


def strangers(piece: bytes, daemon: MeasuredDaemon, size: int) -> Steps:
    lines = [HostConnection(daemon.vm_port) for _ in range(50 * size)]
    flood = piece * (65536 // len(piece))

    def send(number: int) -> None:
        with contextlib.suppress(OSError):
            lines[number].raw(flood)

    yield
    at_once(len(lines), send)
    yield
    for line in lines:
        line.close()


def hosts(piece: bytes, daemon: MeasuredDaemon, size: int) -> Steps:
    vms = [FakeVM(daemon.vm_port, f"flood{n}").connect() for n in range(5 * size)]
    flood = piece * (65536 // len(piece))

    def send(number: int) -> None:
        with contextlib.suppress(OSError):
            vms[number].connected.raw(flood)
            vms[number].connected.end()
            vms[number].connected.wait_closed()

    yield
    at_once(len(vms), send)
    yield
    for vm in vms:
        vm.close()


def renames(daemon: MeasuredDaemon, size: int) -> Steps:
    vm = FakeVM(daemon.vm_port, "clone").connect()
    yield
    for number in range(250 * size):
        vm.connected.sub(82, b"clone" if number % 2 else b"other")
    vm.connected.sub(99)
    vm.connected.wait_sub(3)
    yield
    vm.close()


def ports(daemon: MeasuredDaemon, size: int) -> Steps:
    vm = FakeVM(daemon.vm_port, "many-ports")
    spelled = vm.uuid.bytes[:8].hex(" ") + "-" + vm.uuid.bytes[8:].hex(" ")
    lines: list[HostConnection] = []
    yield
    for number in range(50 * size):
        line = HostConnection(daemon.vm_port)
        lines.append(line)
        line.negotiate()
        line.sub(70, b"Svmproxy?n=%d" % number)
        line.sub(80, spelled.encode())
        line.sub(82, b"many-ports")
        eventually(lambda line=line: line.closed or any(sub[0] in (71, 73) for sub in line.subs), "an answer")
    yield
    for line in lines:
        line.close()


def found(daemon: MeasuredDaemon, size: int) -> Steps:
    vm = FakeVM(daemon.vm_port, f"noisy{size}").connect()
    for _ in range(5 * size):
        vm.connected.raw(LINE * 1000)
    eventually(lambda: len(daemon.logged(vm.name)) == 5000 * size * len(LINE), "it is all there", daemon.patience)
    with contextlib.closing(SSHSocket(daemon)) as client:
        yield
        client.run(f"search error {vm.name} -n 10000")
        yield
    vm.close()


def small_packets(cipher: bytes, daemon: MeasuredDaemon, size: int) -> Steps:
    vm = FakeVM(daemon.vm_port, "printing").connect()
    with contextlib.ExitStack() as stack:
        for _ in range(4 * size):
            client = stack.enter_context(contextlib.closing(SSHSocket(daemon, cipher=cipher)))
            (channel,) = client.sessions(1, 1 << 31, SMALLEST_PACKET)
            client.sendPacket(98, channel + NS(b"exec") + b"\0" + NS(b"console -s printing"))
            client.flush()
            client.receive_until(lambda c=client: any(b"spy" in p for kind, p in c.got if kind in (94, 95)))
        piece = b"".join(b"%062d\r\n" % n for n in range(1024))
        yield
        before = len(daemon.logged("printing"))
        for _ in range(50 * size):
            vm.connected.raw(piece)
        eventually(lambda: len(daemon.logged("printing")) >= before + 50 * size * len(piece), "it is all there")
        yield
    vm.close()


def windows(daemon: MeasuredDaemon, size: int) -> Steps:
    with contextlib.closing(SSHSocket(daemon)) as client:
        (channel,) = client.sessions(1, 0)
        client.sendPacket(98, channel + NS(b"exec") + b"\0" + NS(b"list -i"))
        yield
        for _ in range(2500 * size):
            client.sendPacket(93, channel + struct.pack(">L", 1))
        client.flush()
        client.receive_until(lambda: sum(len(p) - 8 for kind, p in client.got if kind == 94) >= 2500 * size)
        yield


def key_exchanges(daemon: MeasuredDaemon, size: int) -> Steps:
    def exchange(_: int) -> None:
        with (
            contextlib.suppress(OSError, AssertionError),
            contextlib.closing(SSHSocket(daemon, log_in=False)) as client,
        ):
            client.receive_until(lambda: client.secure)

    yield
    for _ in range(size):
        at_once(15, exchange)
    yield


def connections(daemon: MeasuredDaemon, size: int) -> Steps:
    yield
    sockets = [socket.create_connection(("127.0.0.1", daemon.vm_port)) for _ in range(200 * size)]
    yield
    for one in sockets:
        one.close()


def reloads(daemon: MeasuredDaemon, size: int) -> Steps:
    with contextlib.closing(SSHSocket(daemon)) as client:
        for channel in client.sessions(2 * size):  # they look through what they see when the rules have changed
            terminal = NS(b"xterm") + struct.pack(">4L", 80, 24, 0, 0) + NS(b"")
            client.sendPacket(98, channel + NS(b"pty-req") + b"\0" + terminal)
            client.sendPacket(98, channel + NS(b"shell") + b"\0")
        for channel in client.sessions(2 * size):
            client.sendPacket(98, channel + NS(b"exec") + b"\0" + NS(b"events -f"))
        client.flush()
        client.receive_until(lambda: len({p[:4] for kind, p in client.got if kind == 94}) >= 2 * size)
        yield
        for _ in range(size):
            for changed in ('[[console]]\non = ["clone*", "query:a=b"]\nmessage = "hello"\n', ""):
                daemon.reload(daemon.settings + changed)
                client.run("list vm0000*")
        yield


FLOODS = {
    "NOP": bytes((IAC, 241)),
    "options": bytes((IAC, 251, 99, IAC, 253, 1, IAC, 254, 1)),
    "suboptions": bytes((IAC, SB, VMWARE, 99, IAC, SE)),
    "empty": bytes((IAC, SB, IAC, SE)),
    "data between": bytes((65, IAC, 241)),
    "names": bytes((IAC, SB, VMWARE, 82, 65, IAC, SE)),
    "COM-PORT": host_attacks.COM_PORT_SET,
}
COMMANDS = {
    "list": "list",
    "list, JSON": "list --json",
    "list, machines": "list -i",
    "list, columns": "list -c name,alias,state,users,host,uuid,uri,log,rights",
    "list, globs": "list " + " ".join(f"*{n}*x?[a-z]" for n in range(20)) + " *",
    "ssh-config": "ssh-config",
    "who": "who",
    "whoami": "whoami",
    "hosts": "hosts",
    "status by prefix": "status vm",
    "events": "events -n 100",
    "search": "search error",
    "broadcast": "broadcast hello",
    "labels": "list tag:team=*t* tag:role=b3 tag:k7 tag:nothing=* -c name,labels,alerts",
    "completion": "complete 'log clone'",
    "guests": "guest clone --for 1h",
    "forget": "forget no-such* vm0",
}
READINGS = {
    "expect": "expect painter no-such-text --since 1d --timeout 0",
    "expect, live": "expect painter no-such-text --timeout 2",
    "replay": "replay painter --speed 1000000",
    "record": "record painter",
}
ATTACKS: dict[str, Callable[[MeasuredDaemon, int], Steps]] = {
    "names": names,
    **{name: partial(command, line) for name, line in COMMANDS.items()},
    "SFTP": sftp,
    "menus": menus,
    **{f"strangers, {name}": partial(strangers, piece) for name, piece in FLOODS.items()},
    **{f"hosts, {name}": partial(hosts, piece) for name, piece in FLOODS.items()},
    **{f"far ends, {name}": partial(host_attacks.far_ends, piece) for name, piece in FLOODS.items()},
    "half handshakes": host_attacks.half_handshakes,
    "handshakes": host_attacks.handshakes,
    "tiny records": host_attacks.tiny_records,
    "far ends, TLS": host_attacks.secure_far_ends,
    "begins": host_attacks.begins,
    "vMotions": host_attacks.vmotions,
    "renames": renames,
    "renames of many": host_attacks.names,
    "ports": ports,
    "what a search finds": found,
    **{name: partial(operator_attacks.reading, line) for name, line in READINGS.items()},
    "viewers": operator_attacks.viewers,
    "acknowledgements": fleet_attacks.acknowledgements,
    "tails": fleet_attacks.tails,
    **{f"small packets, {cipher.decode()}": partial(small_packets, cipher) for cipher in (b"aes128-ctr", CHACHA)},
    "keys one by one": operator_attacks.small_packets_in,
    "windows": windows,
    "key exchanges": key_exchanges,
    "connections": connections,
    "reloads": reloads,
    **{f"web, {name}": attack for name, attack in web_attacks.ATTACKS.items()},
}


def slowness() -> float:
    """By how much this machine is slower just now than the one for which the bound is meant; never less than 1.

    Processor time is no time on the wall, but it grows too where another hyperthread or another guest is busy.
    """
    began, table = time.thread_time(), {}
    for number in range(60_000):
        table[number % 997] = str(number)
    return max(1.0, (time.thread_time() - began) / QUICK)


def attacked(daemon: MeasuredDaemon, attack: Steps, probed: bool = False) -> float:
    """Do what an attack does; no turn takes too long.

    :param probed: whether a VM asks how long it has to wait meanwhile, which takes a process of its own.
    :returns: the longest that it has waited.
    """
    next(attack)
    probe = Probe(daemon.vm_port) if probed else None
    waited, asked, slow = 0.0, 0, slowness()
    daemon.begin()
    try:
        next(attack)
    finally:
        if probe is not None:
            waited, asked = probe.stop()
    longest = daemon.longest
    print(f"\nlongest turn {1000 * longest:.0f} ms, longest wait {1000 * waited:.0f} ms of {asked}")
    assert next(attack, "over") == "over"
    bound = BOUND * max(slow, slowness())
    assert longest < bound, f"a turn of {1000 * longest:.0f} ms:\n{daemon.report()}"
    return waited


@pytest.mark.alone
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_turn_of_the_reactor_is_long(
    crowded: MeasuredDaemon, attack: Callable[[MeasuredDaemon, int], Steps]
) -> None:
    attacked(crowded, attack(crowded, 1))


@pytest.mark.soak
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_other_vm_waits_long_at_full_size(
    crowded: MeasuredDaemon, attack: Callable[[MeasuredDaemon, int], Steps]
) -> None:
    assert attacked(crowded, attack(crowded, SOAK_SIZE), probed=True) < BOUND
