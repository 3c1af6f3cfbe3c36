"""A process that runs out of descriptors: it goes on listening, says so, and recovers by itself."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Callable, Iterator

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM
from vmproxy.app.descriptors import share_out

LIMIT = 128


@contextlib.contextmanager
def only(daemon: Daemon, descriptors: int) -> Iterator[None]:
    """The daemon may have no more descriptors than so many."""
    before = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (descriptors, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, before)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 30)


def closed_at_once(port: int) -> bool:
    """Whether a connection is closed and nothing said."""
    with connect(port) as one:
        try:
            return one.recv(1) == b""
        except ConnectionError:
            return True


def rests(daemon: Daemon) -> bool:
    """Whether it has little to do; one that accepts in vain has no moment of rest."""
    before, since = daemon.busy(), time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.05)
    return daemon.busy() - before < 0.3


def test_vms_leave_enough_for_operators_and_for_their_own_logs(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    daemon = make_daemon(descriptors=LIMIT)
    room = share_out(LIMIT, 256, 1456).vms
    assert LIMIT // 2 < room < LIMIT
    vms = [make_vm(daemon, f"vm-{n:03d}") for n in range(room)]
    assert all(closed_at_once(daemon.vm_port) for _ in range(50))
    assert rests(daemon)
    said = daemon.said()
    assert f"{len(vms)} connections in all (descriptors, LimitNOFILE) (1 refused)" in said
    assert said.count("connection refused") < 10
    # Who has not logged in does not take what is left, either.
    with contextlib.ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(connect(daemon.ssh_port))
        for n, vm in enumerate(vms):
            vm.connected.say(b"line %d" % n)
        for n, vm in enumerate(vms):
            eventually(lambda vm=vm, n=n: daemon.logged(vm.name) == b"line %d" % n, "it is in the log")
    eventually(lambda: daemon.status("vm-000").get("state") == "up", "an operator gets in")
    for vm in vms[:3]:
        vm.close()
    eventually(lambda: not closed_at_once(daemon.vm_port), "there is room again")
    again = make_vm(daemon, "vm-000")
    again.connected.say(b", and another")
    eventually(lambda: daemon.logged("vm-000") == b"line 0, and another", "it is served as before")
    assert len([e for e in daemon.events("vm-050") if e["event"] in ("up", "down", "gap")]) == 1


def test_with_none_left_whoever_connects_is_turned_away_and_those_who_are_there_are_served(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon)
    vm.connected.say(b"before, ")
    eventually(lambda: daemon.logged("web01") == b"before, ", "it is in the log")
    with only(daemon, daemon.open_files() + 3), contextlib.ExitStack() as stack:

        def all_taken() -> bool:
            # Those who get in stay, until nobody does.
            one = stack.enter_context(connect(daemon.vm_port))
            try:
                return one.recv(1) == b""
            except ConnectionError:
                return True

        eventually(lambda: all(all_taken() for _ in range(20)), "hosts are turned away")
        assert all(closed_at_once(port) for _ in range(20) for port in (daemon.vm_port, daemon.ssh_port))
        assert rests(daemon)
        vm.connected.say(b"meanwhile, ")
        eventually(lambda: daemon.logged("web01") == b"before, meanwhile, ", "it is in the log")
    said = daemon.said()
    assert "connection refused: no descriptor is left for it (LimitNOFILE)" in said
    assert said.count("LimitNOFILE") < 10
    make_vm(daemon, "web02")
    eventually(lambda: daemon.status("web02").get("state") == "up", "all is as before")


def test_whoever_cannot_even_be_turned_away_waits_and_is_served_then(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon)
    with contextlib.ExitStack() as stack:
        with only(daemon, 8):
            waiting = [stack.enter_context(connect(port)) for port in (daemon.vm_port, daemon.ssh_port)]
            eventually(lambda: daemon.said().count("it has to wait") >= 2, "it says so")
            assert rests(daemon)
            vm.connected.say(b"meanwhile")  # the trail and the log cannot be opened
            eventually(lambda: "cannot write" in daemon.said(), "the log is behind")
        assert [one.recv(1) != b"" for one in waiting] == [True, True]
    eventually(lambda: daemon.logged("web01") == b"meanwhile", "what was said is in the log")
    trail = daemon.log("web01").resolve().with_suffix(".log.events")
    eventually(trail.exists, "its trail is there")
    assert "gap" not in [e["event"] for e in daemon.events("web01")]
