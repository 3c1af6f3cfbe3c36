"""What hosts, VMs and far ends do to keep the reactor busy: handshakes, calls that flood, storms of vMotions, names."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading

from tests.support.daemon import PATIENCE, eventually
from tests.support.host import COM_PORT, IAC, SB, SE, VMWARE, FakeVM, HostConnection
from tests.support.remote_end import FarEnd, make_certificate
from tests.support.tls_host import TLSVM, TLSHostConnection, TLSLine
from tests.support.turns import MeasuredDaemon, Steps, at_once

BEGIN, GOAHEAD, PEER, PEER_OK, COMPLETE, ABORT = 40, 41, 44, 45, 46, 48
RENAMES_PER_SECOND = 10
DONE = b"that was all"
COM_PORT_SET = bytes((IAC, SB, COM_PORT, 1, 0, 0, 37, 128, IAC, SE, IAC, SB, COM_PORT, 5, 8, IAC, SE))


def suboption(code: int, parameters: bytes) -> bytes:
    """A suboption of option 232 as it travels."""
    return bytes((IAC, SB, VMWARE, code)) + parameters.replace(b"\xff", b"\xff\xff") + bytes((IAC, SE))


def _tls_port(daemon: MeasuredDaemon) -> int:
    return int(re.findall(r"With TLS from the start, to +127\.0\.0\.1:(\d+)", daemon.said())[-1])


def _anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def half_handshakes(daemon: MeasuredDaemon, size: int) -> Steps:
    """Say a ClientHello on many connections, and nothing more."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        _anybody().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    sockets = [socket.create_connection(("127.0.0.1", _tls_port(daemon)), PATIENCE) for _ in range(200 * size)]
    yield
    for one in sockets:
        one.sendall(hello)
    for one in sockets:
        assert one.recv(1)
    yield
    for one in sockets:
        one.close()


def handshakes(daemon: MeasuredDaemon, size: int) -> Steps:
    """Do whole handshakes, many at once."""
    port, context = _tls_port(daemon), _anybody()

    def shake(_: int) -> None:
        for _ in range(5 * size):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as below:
                TLSLine(below, context, "localhost")

    yield
    at_once(10, shake)
    yield


def tiny_records(daemon: MeasuredDaemon, size: int) -> Steps:
    """VMs with TLS send records of one byte, thousands at once."""
    vms = [TLSVM(_tls_port(daemon), f"tiny{number}", _anybody()).connect() for number in range(15 * size)]
    count = 3000

    def send(number: int) -> None:
        line = vms[number].connected
        assert isinstance(line, TLSHostConnection)
        line.records([b"x"] * count)
        eventually(lambda: len(daemon.logged(f"tiny{number}")) >= count, "it is all there", daemon.patience)

    yield
    at_once(len(vms), send)
    yield
    for vm in vms:
        vm.close()


def secure_far_ends(daemon: MeasuredDaemon, size: int) -> Steps:
    """Many VMs want far ends with TLS all at once; these send records of one byte."""
    _, context = make_certificate(daemon.folder)
    ends = [FarEnd(tls=context) for _ in range(20 * size)]
    vms = [
        FakeVM(daemon.vm_port, f"secure{number}", f"ssl://127.0.0.1:{end.port}", b"C")
        for number, end in enumerate(ends)
    ]
    count = 3000

    def call(number: int) -> None:
        vms[number].connect()
        ends[number].wait_caller()
        for _ in range(count):
            ends[number].say(b"x")
        vms[number].connected.wait_size(count)

    yield
    at_once(len(ends), call)
    yield
    for vm in vms:
        vm.close()
    for end in ends:
        end.close()


def far_ends(piece: bytes, daemon: MeasuredDaemon, size: int) -> Steps:
    """Far ends of many VMs flood with Telnet commands; some are cut off, and dialled again."""
    flood = piece * (65536 // len(piece))
    ends = [FarEnd() for _ in range(10 * size)]
    vms = []
    for number, end in enumerate(ends):
        uri = f"telnet://127.0.0.1:{end.port}"
        vms.append(FakeVM(daemon.vm_port, f"calling{number}", uri, b"C").connect())
        end.wait_caller()

    def say(number: int) -> None:
        end, vm = ends[number], vms[number]
        with contextlib.suppress(OSError):
            end.say(flood + DONE)
        eventually(lambda: end.ended or DONE in vm.connected.data, "it is taken in, or cut off", daemon.patience)

    yield
    at_once(len(ends), say)
    yield
    for vm in vms:
        vm.close()
    for end in ends:
        end.close()


def begins(daemon: MeasuredDaemon, size: int) -> Steps:
    """Many VMs begin vMotions and abort them, again and again, all at once; strangers show pairs that are wrong."""
    vms = [FakeVM(daemon.vm_port, f"moving{number}").connect() for number in range(10 * size)]
    strangers = [vm.open() for vm in vms]
    for line in strangers:
        line.negotiate()
    storm = b"".join(
        suboption(BEGIN, struct.pack("!L", n)) + suboption(COMPLETE, b"none") + suboption(ABORT, struct.pack("!L", n))
        for n in range(200)
    )

    def send(number: int) -> None:
        with contextlib.suppress(OSError):
            strangers[number].sub(PEER, b"\0\0\0\1guess")
        for line in (vms[number].connected, strangers[number]):
            with contextlib.suppress(OSError):
                line.raw(storm)
                line.end()
                line.wait_closed()

    yield
    at_once(len(vms), send)
    yield
    for line in strangers:
        line.close()
    for vm in vms:
        vm.close()


def vmotions(daemon: MeasuredDaemon, size: int) -> Steps:
    """Many vMotions are pending; then all of their sources go at once, and all of them are completed."""
    vms = [FakeVM(daemon.vm_port, f"moved{number}").connect() for number in range(40 * size)]
    destinations: list[HostConnection] = []
    yield
    for round_ in range(2):
        for number, vm in enumerate(vms):
            vm.connected.sub(BEGIN, struct.pack("!L", number))
        destinations = [vm.open() for vm in vms]
        for vm, line in zip(vms, destinations, strict=True):
            answer = vm.connected.wait_sub(GOAHEAD)
            line.negotiate()
            line.sub(PEER, answer)
            line.raw(b"output that comes early\r\n" * 100)
        for line in destinations:
            line.wait_sub(PEER_OK)
        for vm in vms:
            vm.close()
        for number, (vm, line) in enumerate(zip(vms, destinations, strict=True)):
            line.sub(COMPLETE, struct.pack("!L", number))
            vm.line = line
        for vm in vms:
            wanted = (round_ + 1) * 2500
            eventually(lambda vm=vm, wanted=wanted: len(daemon.logged(vm.name)) >= wanted, f"{vm.name} has moved")
    yield
    for vm in vms:
        vm.close()


def names(daemon: MeasuredDaemon, size: int) -> Steps:
    """VMs of a name that thousands have are renamed ten times a second, and back."""
    vms = [FakeVM(daemon.vm_port, f"many{number}").connect() for number in range(20 * size)]
    seconds = 2 * size
    done = threading.Event()
    yield
    for number in range(RENAMES_PER_SECOND * seconds):
        for vm in vms:
            vm.connected.sub(82, b"other" if number % 2 else b"clone")
        done.wait(1 / RENAMES_PER_SECOND)
    for vm in vms:
        vm.connected.sub(99)
        vm.connected.wait_sub(3)
    yield
    for vm in vms:
        vm.close()
