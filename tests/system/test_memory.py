"""What is over in the real daemon, over real sockets, is freed without the cyclic collector."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, ROOT, TWISTD, Client, Daemon, eventually
from tests.support.host import FakeVM, HostConnection
from tests.support.remote_end import FarEnd, make_certificate
from tests.support.tls import write_pem
from tests.support.tls_host import TLSVM, trusting
from tests.support.web_daemon import token_of, web_settings
from tests.support.web_visits import visit
from vmproxy.cli import main

CONNECTIONS = (
    "vmproxy.vm.telnet.HostTelnet",
    "vmproxy.ssh.transport.OperatorTransport",
    "vmproxy.web.server.WebChannel",
    "vmproxy.vm.outbound.connection.OutboundConnection",
    "twisted.internet.tcp.Server",
    "twisted.internet.tcp.Client",
)


TIMER = "twisted.internet.base.DelayedCall"


class Probed(Daemon):
    """A daemon that can be asked what there is.

    :ivar collects: whether it has its collector; without, what is in circles stays.
    """

    collects = False

    def command(self) -> list[str]:
        self.environment = {**self.environment, "PROBE": str(self.folder / "probe.json")}
        self.environment["PROBE_COLLECTS"] = "1" if self.collects else ""
        probe = (ROOT / "tests" / "support" / "memory_probe.py").read_text()
        return [sys.executable, "-c", f"{probe}\n{TWISTD}", *super().command()[3:]]

    def probe(self) -> dict[str, dict[str, int]]:
        """What only the collector can free, and what lives, by type."""
        told = self.folder / "probe.json"
        told.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        eventually(told.exists, "it has said what there is")
        found: dict[str, dict[str, int]] = json.loads(told.read_text())
        return found

    def circles_without_connections(self) -> dict[str, int]:
        """What is in circles, once all connections are gone."""
        seen: dict[str, int] = {}

        def gone() -> bool:
            found = self.probe()
            for kind, n in found["circles"].items():
                seen[kind] = seen.get(kind, 0) + n
            return not any(kind in found["living"] for kind in CONNECTIONS)

        eventually(gone, "all connections are gone")
        return seen


@pytest.fixture
def make_probed(tmp_path: Path, keys: Path) -> Iterator[Callable[[str], Probed]]:
    daemons: list[Probed] = []

    def make(extra: str) -> Probed:
        daemons.append(Probed(tmp_path / "daemon", keys, extra))
        daemons[-1].start()
        daemons[-1].probe()  # the first time, what the start has left
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.stop()
        assert "Traceback" not in daemon.said(), daemon.said()


def told(daemon: Daemon, place: str) -> bool:
    """Whether the daemon has said what became of a destination."""
    return f"{place}: " in daemon.said()


def test_nothing_is_left_of_vms_and_remote_ends(
    make_probed: Callable[[str], Probed], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = tmp_path / "vm.pem"
    assert main.main(["make-cert", str(pem), "--kind", "ecdsa", "--name", "localhost"]) == 0
    _, server = make_certificate(tmp_path)
    daemon = make_probed(
        f'[vm]\ntls-listen = ["tcp:0:interface=127.0.0.1"]\ncertificates = ["{pem}"]\nvmotion-timeout = 5\n'
        'identify-timeout = 5\n[[dial]]\nto = ["127.0.0.1", "*.invalid"]\nports = "*"\nverify = false\n'
    )
    tls_port = int(daemon.said().rpartition("With TLS from the start, to")[2].partition(":")[2].split()[0])

    silent = HostConnection(daemon.vm_port)
    vm = FakeVM(daemon.vm_port, "web01").connect()
    vm.connected.raw(bytes((255, 251, 44)) + b"\xff\xfa\x2c\x01\x00\x00\x25\x80\xff\xf0")
    vm.migrate(b"abcd")
    vm.migrate(b"efgh", close_first=False)
    vm.connected.sub(40, b"ijkl")
    vm.connected.wait_sub(41)
    vm.connected.reset()
    for switching in (False, True):
        secure = TLSVM(daemon.vm_port if switching else tls_port, "tls", trusting(pem), switching).connect()
        secure.connected.say(b"x")
        secure.close()
    for nonsense in (b"GET / HTTP/1.0\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", tls_port)) as line:
            line.sendall(nonsense)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", tls_port)) as line:
        ssl.create_default_context().wrap_socket(line, server_hostname="localhost")
    flooding = HostConnection(daemon.vm_port)
    flooding.negotiate()
    flooding.raw(b"\xff\xf1" * 5000)
    flooding.close()
    for tls, uri in ((None, "tcp"), (None, "telnet"), (server, "telnets")):
        far = FarEnd(tls=tls)
        client = FakeVM(daemon.vm_port, f"dials-{uri}", f"{uri}://127.0.0.1:{far.port}", b"C").connect()
        far.wait_caller()
        client.connected.say(b"to the far end")
        far.wait_data(b"to the far end")
        client.close()
        far.close()
    for nobody in ("tcp://127.0.0.1:1", "tcp://nobody.invalid:9"):
        client = FakeVM(daemon.vm_port, "dials", nobody, b"C").connect()
        eventually(partial(told, daemon, nobody), "it is told that nobody answers")
        client.close()
    silent.wait_closed()
    silent.close()

    assert daemon.circles_without_connections() == {}


def test_nothing_is_left_of_clients_and_their_sessions(make_probed: Callable[[str], Probed], keys: Path) -> None:
    daemon = make_probed("")
    vm = FakeVM(daemon.vm_port, "web01").connect()
    vm.connected.say(b"hello\r\n" * 100)
    for command in ("list", "log web01", "search hello", "log nothing", "events web01", "replay -s 100 web01"):
        daemon.run(*command.split())
    daemon.run("list", identity=keys / "stranger")
    for words in (
        ("-T", "127.0.0.1", "web01"),
        ("127.0.0.1", "log", "-f", "web01"),
        ("127.0.0.1", "events", "-f"),
        ("-W", "web01:1", "127.0.0.1"),
    ):
        client = Client(daemon.ssh(*words))
        eventually(lambda: json.loads(daemon.run("status", "web01", "--json").stdout), "the daemon answers")
        client.close()
    console = Client(daemon.ssh("-tt", "127.0.0.1", "web01"), terminal=True)
    console.expect(b"[-- live --]")
    console.type(b"\x05ci\x05c.")
    console.end()
    console.close()
    menu = Client(daemon.ssh("-tt", "127.0.0.1"), terminal=True)
    menu.expect(b"web01")
    menu.type(b":log -f web01\r")
    menu.expect(b"hello")
    menu.close()
    known = f"UserKnownHostsFile={daemon.folder / 'known_hosts'}"
    options = ("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", known)
    subprocess.run(
        ["sftp", "-q", "-F", "none", "-P", str(daemon.ssh_port), "-i", str(keys / "operator"), *options, "127.0.0.1"],
        input=b"ls -l\nget web01.log /dev/null\nget nothing /dev/null\n",
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    with socket.create_connection(("127.0.0.1", daemon.ssh_port)) as line:
        line.sendall(b"SSH-2.0-x\r\n" + struct.pack(">LBB", 12, 10, 20) + bytes(40))
        while line.recv(4096):
            pass
    vm.close()
    assert daemon.circles_without_connections() == {}


def test_nothing_is_left_of_clients_of_the_web(
    make_probed: Callable[[str], Probed], keys: Path, tmp_path: Path
) -> None:
    pem = write_pem(tmp_path / "web.pem", "localhost", "127.0.0.1")
    tls = f'tls-listen = ["tcp:0:interface=127.0.0.1"]\ncertificates = ["{pem}"]\n'
    daemon = make_probed(web_settings(keys, tls))
    vm = FakeVM(daemon.vm_port, "web01").connect()
    vm.connected.say(b"hello\r\n" * 20_000)
    token = token_of(daemon)
    trusted = ssl.create_default_context(cafile=str(pem))
    visit(daemon.web_port, token, "web01")
    visit(daemon.web_tls_port, token, "web01", lambda line: trusted.wrap_socket(line, server_hostname="localhost"))
    vm.close()
    assert daemon.circles_without_connections() == {}
