"""Fixtures: keys made once, daemons and clients that are always stopped."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon
from tests.support.host import FakeVM, HostConnection
from vmproxy.ssh.host_keys import make_key


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the operator's key, somebody else's, and host keys."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH client (Debian: openssh-client)")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("operator", "stranger", "ssh_host_ed25519_key"):
        make_key(folder / name, "ed25519")
    make_key(folder / "ssh_host_rsa_key", "rsa")
    return folder


@pytest.fixture(autouse=True, scope="module")
def no_host_connection_stays() -> Iterator[None]:
    """Close what a module's tests left open, those that failed too: a socket that is found later fails a stranger."""
    yield
    for connection in list(HostConnection.opened):
        connection.close()


@pytest.fixture
def prepare_daemon(tmp_path: Path, keys: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons and does not start them; they are stopped at the end, and must not have logged a traceback."""
    daemons: list[Daemon] = []

    def prepare(
        extra: str = "",
        log_dir: Path | None = None,
        descriptors: int = 0,
        folder: Path | None = None,
        keys: Path = keys,
    ) -> Daemon:
        daemon = Daemon(folder or tmp_path / f"daemon{len(daemons)}", keys, extra, log_dir, descriptors)
        daemons.append(daemon)
        return daemon

    yield prepare
    for daemon in daemons:
        if daemon.running:
            daemon.stop(signal.SIGTERM)
    for daemon in daemons:
        assert "Traceback" not in daemon.said(), daemon.said()


@pytest.fixture
def make_daemon(prepare_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """Starts daemons; see ``prepare_daemon``."""

    def make(extra: str = "", log_dir: Path | None = None, descriptors: int = 0) -> Daemon:
        daemon: Daemon = prepare_daemon(extra, log_dir, descriptors)
        return daemon.start()

    return make


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon with default settings."""
    return make_daemon()


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Callable[..., Daemon]]:
    """The daemons that the tests of a module share, one for each configuration, as starting one costs most of a test.

    For tests that neither stop nor reconfigure it, whose VMs have names of their own, and that hold nothing against
    all consoles, all sessions or the whole of its trails. ``make_vm`` watches over the names.
    """
    daemons: dict[str, Daemon] = {}

    def share(extra: str = "") -> Daemon:
        if extra not in daemons:
            daemons[extra] = Daemon(tmp_path_factory.mktemp("shared") / "daemon", keys, extra).start()
        assert daemons[extra].running, daemons[extra].said()[-2000:]
        return daemons[extra]

    yield share
    for daemon in daemons.values():
        daemon.stop()
    for daemon in daemons.values():
        assert "Traceback" not in daemon.said(), daemon.said()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Callable[..., Client]]:
    """Starts OpenSSH clients against the daemon, or another that is given."""
    clients: list[Client] = []

    def start(*words: str, terminal: bool = False, user: str = "", at: Daemon = daemon) -> Client:
        started = Client(at.ssh(*words, user=user), terminal)
        clients.append(started)
        return started

    yield start
    for one in clients:
        one.close()


@pytest.fixture
def make_vm(request: pytest.FixtureRequest) -> Iterator[Callable[..., FakeVM]]:
    """Connects VMs to a daemon; on one that is shared, no two tests may have one of the same name."""
    vms: list[FakeVM] = []

    def make(daemon: Daemon, name: str = "web01", uri: str = "vmproxy", direction: bytes = b"S") -> FakeVM:
        first = daemon.named.setdefault(name, request.node.nodeid)
        assert first == request.node.nodeid, f"{first} has had a VM {name!r} on this daemon"
        vm = FakeVM(daemon.vm_port, name, uri, direction)
        vms.append(vm)
        return vm.connect()

    yield make
    for vm in vms:
        vm.close()
