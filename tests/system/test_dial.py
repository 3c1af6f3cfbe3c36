"""Direction "client": the real daemon dials for VMs, over real sockets, with real TLS."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM, HostConnection
from tests.support.remote_end import FarEnd, make_certificate

ALLOWED = '[[dial]]\nto = ["127.0.0.1", "::1"]\nports = "*"\n'
WILL_BINARY, DO_BINARY = b"\xff\xfb\x00", b"\xff\xfd\x00"
MakeVM = Callable[..., FakeVM]
MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def make_far() -> Iterator[Callable[..., FarEnd]]:
    """Starts far ends; they are closed at the end."""
    ends: list[FarEnd] = []

    def make(**options: Any) -> FarEnd:
        ends.append(FarEnd(**options))
        return ends[-1]

    yield make
    for end in ends:
        end.close()


def far_end(daemon: Daemon, name: str = "web01") -> dict[str, object]:
    """What ``status`` says of a console's far end."""
    found = daemon.status(name).get("far_end")
    return found if isinstance(found, dict) else {}


def logged(daemon: Daemon, name: str = "web01") -> bytes:
    """What is in a console's log; nothing before there is one."""
    path = daemon.log(name)
    return path.read_bytes() if path.exists() else b""


def trail(daemon: Daemon, name: str = "web01") -> list[dict[str, object]]:
    """The event trail of a console; nothing before there is one."""
    return daemon.events(name)


def refused(daemon: Daemon, uri: str) -> str:
    """Ask for a destination, and see it refused; :returns: what the daemon says about it."""
    line = HostConnection(daemon.vm_port)
    said = len(daemon.said())
    try:
        line.negotiate()
        line.sub(70, b"C" + uri.encode())
        line.wait_sub(73)
    finally:
        line.close()
    eventually(lambda: "WONT-PROXY" in daemon.said()[said:], "the reason is logged")
    return daemon.said()[said:]


def test_a_vm_and_its_far_end_are_bridged_and_operators_look_on(
    make_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, far = make_daemon(ALLOWED), make_far()
    vm = make_vm(daemon, uri=f"tcp://127.0.0.1:{far.port}", direction=b"C")
    everything = bytes(range(256)) * 40
    vm.connected.say(everything)
    far.wait_caller().wait_size(len(everything))
    far.say(everything[::-1])
    vm.connected.wait_size(len(everything))
    assert bytes(far.data) == everything
    assert bytes(vm.connected.data) == everything[::-1]
    eventually(lambda: logged(daemon) == everything, "all of it is in the log")

    found = far_end(daemon)
    assert (found["to"], found["state"], found["address"]) == (f"tcp://127.0.0.1:{far.port}", "up", "127.0.0.1")
    listed = daemon.run("list", "-c", "name,far")
    assert f"tcp://127.0.0.1:{far.port}, up at 127.0.0.1" in listed.stdout.decode()

    # Sending off everybody does not mean the far end.
    assert b"nobody else is there" in daemon.run("kick", "web01").stderr

    # An operator has to take over before he can type, and the far end is heard again when he leaves.
    assert daemon.run("break", "web01").returncode == 9
    operator = Client(daemon.ssh("web01,force@127.0.0.1"))
    try:
        operator.expect_err(b"attached")
        far.say(b"later")
        operator.type(b"operator ")
        vm.connected.wait_data(b"operator ")
        vm.connected.say(b"to both")
        operator.expect(b"to both")
        far.wait_data(b"to both")
        assert b"later" not in vm.connected.data
    finally:
        operator.close()
    vm.connected.wait_data(b"later")
    assert bytes(vm.connected.data[len(everything) :]) == b"operator later"

    vm.close()
    far.wait_ended()
    eventually(lambda: daemon.status("web01")["state"] == "down", "the console is down")
    assert daemon.status("web01")["far_end"] is None

    def kinds(events: list[dict[str, object]]) -> list[object]:
        return [event["event"] for event in events if event["event"] in ("dialled", "down", "hung-up")]

    eventually(lambda: kinds(trail(daemon)) == ["dialled", "down", "hung-up"], "the event trail has all of it")
    eventually(lambda: kinds(daemon.audited()) == ["dialled", "hung-up"], "and so has the audit trail")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_every_scheme_in_clear(shared_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]) -> None:
    daemon = shared_daemon(ALLOWED)
    for scheme in ("", "tcp://", "tcp4://", "telnet://", *(["tcp6://"] if has_ipv6() else [])):
        host = "::1" if scheme == "tcp6://" else "127.0.0.1"
        far = make_far(host=host)
        written = f"[{host}]" if ":" in host else host
        vm = make_vm(daemon, f"by {scheme}", uri=f"{scheme}{written}:{far.port}", direction=b"C")
        vm.connected.say(b"to the far end\r")
        far.wait_caller().wait_data(b"to the far end\r")
        far.say(b"to the VM\r\0.")
        if scheme == "telnet://":
            assert WILL_BINARY in far.data
            assert DO_BINARY in far.data
            vm.connected.wait_data(b"to the VM\r.")
        else:
            vm.connected.wait_data(b"to the VM\r\0.")


def test_tls_and_who_the_far_end_must_be(
    make_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd], tmp_path: Path
) -> None:
    certificate, context = make_certificate(tmp_path)
    own = '[[dial]]\nto = "127.0.0.0/8"\nports = "*"\n'
    daemon, far, other = make_daemon(own), make_far(tls=context), make_far(tls=context, host="127.0.0.2")
    schemes = ("ssl", "tcp+ssl", "tcp4+ssl", "telnets")
    hosts = ("127.0.0.1", "127.0.0.1", "localhost", "127.0.0.1")
    vms = [
        make_vm(daemon, scheme, uri=f"{scheme}://{host}:{far.port}", direction=b"C")
        for scheme, host in zip(schemes, hosts, strict=True)
    ]

    def reasons() -> list[str]:
        return [
            str((console["far_end"] or {}).get("reason")) for console in json.loads(daemon.run("list", "--json").stdout)
        ]

    def all_refused() -> bool:  # nobody here knows who signed that
        found = reasons()
        return len(found) == len(vms) and all("certificate verify failed" in reason for reason in found)

    eventually(all_refused, "nobody is verified")
    assert far.callers == 0
    daemon.reload(f'{own}ca = "{certificate}"\n')
    for n, vm in enumerate(vms, 1):
        vm.connected.say(b"<secret %d>" % n)
        far.wait_data(b"<secret %d>" % n)
    assert far.callers == 4
    make_vm(daemon, "wrong", uri=f"ssl://127.0.0.2:{other.port}", direction=b"C")  # the certificate is for another
    eventually(lambda: "for another host" in str(far_end(daemon, "wrong").get("reason")), "it is refused")
    assert other.callers == 0
    # Another certificate is not verified by this one; another setting has them dialled again at once.
    daemon.reload(f"{own}verify = false\n")
    far.wait_caller(8)
    for n, vm in enumerate(vms, 1):
        vm.connected.say(b"<unverified %d>" % n)
        far.wait_data(b"<unverified %d>" % n)


def test_a_name_is_looked_up_and_its_address_judged(
    make_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, far = make_daemon(ALLOWED), make_far()
    vm = make_vm(daemon, uri=f"tcp4://localhost:{far.port}", direction=b"C")
    vm.connected.say(b"by name")
    far.wait_caller().wait_data(b"by name")
    daemon.reload('[[dial]]\nto = ["*", "localhost", "0.0.0.0/0", "::/0"]\nports = "*"\n')
    far.wait_ended()  # loopback is not meant by these
    assert "no [[dial]] rule allows 127.0.0.1" in refused(daemon, f"tcp4://localhost:{far.port}")


def test_what_is_refused(make_daemon: MakeDaemon, make_far: Callable[..., FarEnd]) -> None:
    far = make_far()
    daemon = make_daemon('[[dial]]\nto = ["*"]\nports = ["1-65535"]\n')
    assert "no [[dial]] rule allows it" in refused(daemon, f"tcp://127.0.0.1:{far.port}")
    assert "no [[dial]] rule allows it" in refused(daemon, f"tcp://[::ffff:127.0.0.1]:{far.port}")
    assert "looks like an address" in refused(daemon, f"tcp://127.1:{far.port}")
    assert "a port is a number" in refused(daemon, "tcp://10.1.2.3:70000")
    assert "\\x1b" in refused(daemon, "tcp://\x1b[2Jfar:1")
    assert "\x1b" not in daemon.said()
    daemon.reload("")
    assert "is not offered: there are no [[dial]] rules" in refused(daemon, f"tcp://127.0.0.1:{far.port}")
    assert far.callers == 0
    both = {f"tcp://127.0.0.1:{far.port}", f"tcp://[::ffff:7f00:1]:{far.port}"}
    eventually(lambda: {e["to"] for e in daemon.audited("dial-refused")} == both, "both stand in the audit trail")


def test_a_destination_that_is_not_allowed_any_more_is_cut(
    make_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, cut, kept = make_daemon(ALLOWED), make_far(), make_far()
    first = make_vm(daemon, "first", uri=f"tcp://127.0.0.1:{cut.port}", direction=b"C")
    second = make_vm(daemon, "second", uri=f"tcp://127.0.0.1:{kept.port}", direction=b"C")
    cut.wait_caller()
    kept.wait_caller()
    daemon.reload(f'[[dial]]\nto = "127.0.0.1"\nports = {kept.port}\n')
    cut.wait_ended()
    first.connected.wait_closed()
    eventually(lambda: daemon.status("first")["state"] == "down", "its console is down")
    assert "no [[dial]] rule allows it now" in str(daemon.status("first")["reason"])
    second.connected.say(b"still here")
    kept.wait_data(b"still here")
    assert kept.callers == 1
    eventually(lambda: [e["changed"] for e in daemon.audited("reload")] == [["dial rules"]], "it is in the audit trail")
    assert "no [[dial]] rule allows it" in refused(daemon, f"tcp://127.0.0.1:{cut.port}")
    # A broken configuration changes nothing.
    daemon.reload('[[dial]]\nto = "10.*"\nports = 1\n', "the configuration stays as it was")
    daemon.says("dial 1: to: '10.*' is not an address; write a network, such as 10.0.0.0/8")
    second.connected.say(b"and here")
    kept.wait_data(b"and here")


def test_a_far_end_that_goes_is_dialled_again(
    shared_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, far = shared_daemon(ALLOWED), make_far()
    vm = make_vm(daemon, "far02", uri=f"tcp://127.0.0.1:{far.port}", direction=b"C")
    far.wait_caller()
    vm.connected.say(b"one ")
    far.wait_data(b"one ")
    far.hang_up()
    far.wait_ended()
    eventually(lambda: [e for e in trail(daemon, "far02") if e["event"] == "far-end-lost"], "it is noticed")
    assert daemon.status("far02")["state"] == "up"
    vm.connected.say(b"two ")
    far.wait_caller(2)
    far.wait_data(b"two ")
    far.say(b"hello again")
    vm.connected.wait_data(b"hello again")
    assert bytes(far.data) == b"one two "
    (lost,) = [e for e in trail(daemon, "far02") if e["event"] == "far-end-lost"]
    assert lost["reason"] == "closed by the far end"
    assert not vm.connected.closed


def test_nobody_listens_there(shared_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = shared_daemon(ALLOWED)
    with socket.socket() as bound:  # so that nobody else has the port
        bound.bind(("127.0.0.1", 0))
        vm = make_vm(daemon, "far03", uri=f"tcp://127.0.0.1:{bound.getsockname()[1]}", direction=b"C")
        eventually(lambda: "refused" in str(far_end(daemon, "far03").get("reason")), "status tells why")
    listed = daemon.run("list").stdout.decode()
    assert "far end" in listed
    vm.connected.say(b"to the log at least")
    eventually(lambda: logged(daemon, "far03") == b"to the log at least", "it is in the log")
    vm.close()
    eventually(lambda: daemon.status("far03")["state"] == "down", "the console is down")


def test_vmotion_neither_loses_nor_doubles_a_byte(
    shared_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, far = shared_daemon(ALLOWED), make_far()
    vm = make_vm(daemon, "far04", uri=f"tcp://127.0.0.1:{far.port}", direction=b"C")
    far.wait_caller()
    rng = Random(5)
    up = down = got = b""
    for number in range(8):
        for _ in range(3):
            piece = rng.randbytes(rng.randrange(1, 30_000))
            up += piece
            vm.connected.say(piece)
            piece = rng.randbytes(rng.randrange(1, 10_000))
            down += piece
            far.say(piece)
        source = vm.connected
        # What the far end sends until GOAHEAD goes to the source, all else to the destination.
        vm.migrate(bytes((number, 255, 250, 1)), close_first=number % 2 == 0)
        got += bytes(source.data)
    eventually(lambda: len(got) + len(vm.connected.data) >= len(down), "the VM has got all of it")
    far.wait_size(len(up))
    assert got + bytes(vm.connected.data) == down
    assert bytes(far.data) == up
    assert far.callers == 1
    eventually(lambda: len(logged(daemon, "far04")) == len(up), "the log has all of it")
    assert logged(daemon, "far04") == up


def test_who_does_not_read_has_the_other_wait(
    shared_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, far = shared_daemon(ALLOWED), make_far()
    vm = make_vm(daemon, "far05", uri=f"tcp://127.0.0.1:{far.port}", direction=b"C")
    far.wait_caller()
    before = daemon.memory()
    far.reads(False)
    flood = bytes(range(251)) * 400_000  # no byte 255: it travels as it is
    sent = vm.connected.fill(flood)
    assert sent < len(flood), "the VM was never made to wait"
    assert daemon.memory() - before < 32 * 1024 * 1024
    far.reads(True)
    far.wait_size(sent)
    assert bytes(far.data) == flood[:sent]
    assert not [e for e in trail(daemon, "far05") if e["event"] == "far-end-gap"]


def test_a_host_that_is_gone_is_noticed_although_its_far_end_reads_nothing(
    shared_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, far = shared_daemon(ALLOWED), make_far()
    vm = make_vm(daemon, "far06", uri=f"tcp://127.0.0.1:{far.port}", direction=b"C")
    far.wait_caller()
    far.reads(False)
    vm.connected.fill(bytes(100_000_000))
    vm.connected.reset()
    eventually(lambda: [e for e in trail(daemon, "far06") if e["event"] == "down"], "the console is down")


def test_stopping_the_daemon_sends_the_last_words(
    make_daemon: MakeDaemon, make_vm: MakeVM, make_far: Callable[..., FarEnd]
) -> None:
    daemon, far = make_daemon(ALLOWED), make_far()
    vm = make_vm(daemon, uri=f"tcp://127.0.0.1:{far.port}", direction=b"C")
    far.wait_caller()
    words = b"x" * 300_000
    vm.connected.say(words)
    eventually(lambda: vm.connected.unacknowledged() == 0, "the daemon's system has them")
    daemon.stop()
    far.wait_ended()
    assert bytes(far.data) == words
