"""SIGHUP with other listeners, networks, limits: in force at once, and nobody who is there notices."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM, HostConnection
from tests.support.ports import free_port


def answers(port: int) -> bool:
    """Whether somebody listens on a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5):
            return True
    except OSError:
        return False


def opening(port: int) -> bytes:
    """The first that is heard of a connection: nothing, if it is closed at once."""
    with socket.create_connection(("127.0.0.1", port), 30) as one:
        try:
            return one.recv(1)
        except ConnectionError:
            return b""


class Somebody:
    """An operator at a VM's console, who must not notice anything."""

    def __init__(self, daemon: Daemon, client: Callable[..., Client], vm: FakeVM) -> None:
        self.daemon = daemon
        self.vm = vm
        eventually(lambda: daemon.status(vm.name), "the VM is known")
        self.there = client("-t", "-t", "127.0.0.1", vm.name, terminal=True)
        self.there.expect(b"[attached]")
        self.times = 0

    def notices_nothing(self) -> None:
        self.times += 1
        word = b"word-%d." % self.times
        self.there.type(word)
        self.vm.connected.wait_data(word)
        self.vm.connected.say(b"answer to " + word)
        self.there.expect(b"answer to " + word)
        assert [e["event"] for e in self.daemon.events(self.vm.name) if e["event"] in ("up", "down")] == ["up"]


@pytest.fixture
def somebody(daemon: Daemon, client: Callable[..., Client], make_vm: Callable[..., FakeVM]) -> Somebody:
    return Somebody(daemon, client, make_vm(daemon))


def test_other_ports_for_vms_and_operators_drop_nobody(
    daemon: Daemon, somebody: Somebody, make_vm: Callable[..., FakeVM]
) -> None:
    vm_port, ssh_port, new_port = daemon.vm_port, daemon.ssh_port, free_port()
    # One more for VMs, another one for operators.
    daemon.listen = (
        f'{daemon.listen[0]}", "tcp:{new_port}:interface=127.0.0.1',
        "tcp:0:interface=127.0.0.1:backlog=7",
    )
    daemon.reload("")
    somebody.notices_nothing()
    daemon.vm_port = new_port
    other = make_vm(daemon, "web02")
    eventually(lambda: not answers(ssh_port), "the old port of operators is closed")
    assert answers(vm_port)
    daemon.says("vm.listen is now 127.0.0.1:")
    # And the first one for VMs goes.
    daemon.listen = (f"tcp:{new_port}:interface=127.0.0.1", daemon.listen[1])
    daemon.reload("")
    eventually(lambda: not answers(vm_port), "the old port of VMs is closed")
    somebody.notices_nothing()
    other.connected.say(b"still here")
    changed = [event["changed"] for event in daemon.audited("reload", count=2)]
    assert changed == [["vm.listen", "ssh.listen"], ["vm.listen"]]


def test_the_same_port_on_another_interface(daemon: Daemon, somebody: Somebody) -> None:
    # The new one cannot be had before the old one is given up.
    port = daemon.vm_port
    daemon.listen = (f"tcp:{port}", daemon.listen[1])
    daemon.reload("")
    daemon.says(f"vm.listen is now 0.0.0.0:{port}")
    somebody.notices_nothing()
    assert opening(port) != b""


def test_a_listener_that_cannot_be_bound_leaves_the_old_ones_in_force_and_says_so(
    daemon: Daemon, somebody: Somebody, make_vm: Callable[..., FakeVM]
) -> None:
    vm_port, before = daemon.vm_port, daemon.listen
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (_, port) = taken.getsockname()
        wrong = f"tcp:{port}:interface=127.0.0.1"
        daemon.listen = (f'tcp:0:interface=127.0.0.1:backlog=9", "{wrong}', wrong)
        daemon.reload("[ssh]\nquiet = true\n")
    said = daemon.said()
    assert f"vm.listen stays as it was: cannot listen on {wrong}" in said
    assert f"ssh.listen stays as it was: cannot listen on {wrong}" in said
    assert "Address already in use" in said
    (event,) = daemon.audited("reload", count=1)
    assert event["changed"] == ["ssh.quiet"], "the rest counts"
    assert "Address already in use" in str(event["problems"])
    somebody.notices_nothing()
    assert daemon.vm_port == vm_port
    make_vm(daemon, "web02")
    assert daemon.status("web02")["state"] == "up"
    # It is free now, and that it was not is forgotten.
    daemon.listen = (before[0], wrong)
    daemon.reload("[ssh]\nquiet = true\n")
    eventually(lambda: answers(port), "it listens there")


def test_a_broken_configuration_changes_no_listener_and_says_what_is_wrong(daemon: Daemon, somebody: Somebody) -> None:
    before = daemon.listen
    daemon.listen = ("tcp:http", before[1])
    daemon.reload('[vm]\nnetworks = ["10.0.0.1/8"]\n', "the configuration stays as it was")
    said = daemon.said()
    assert "vm.listen: 'tcp:http' is not an endpoint" in said
    assert "vm.networks: '10.0.0.1/8' is neither an address nor a network" in said
    somebody.notices_nothing()
    assert opening(daemon.vm_port) != b""
    assert answers(daemon.ssh_port)


def test_networks_limits_and_services_count_for_who_comes(
    daemon: Daemon, somebody: Somebody, make_vm: Callable[..., FakeVM]
) -> None:
    daemon.reload('[vm]\nnetworks = ["192.0.2.0/24"]\n')
    assert opening(daemon.vm_port) == b""
    daemon.says("connection refused: its address is in none of vm.networks")
    somebody.notices_nothing()
    daemon.reload("[vm]\nconnections-per-address = 1\n")
    assert opening(daemon.vm_port) == b""
    extra = '[vm]\nservice-uri = ["vmproxy"]\nsecond-connection = "refuse"\n'
    daemon.reload(extra)
    second = HostConnection(daemon.vm_port)
    second.negotiate()
    second.sub(70, b"Svmproxy")
    spelled = somebody.vm.uuid.bytes[:8].hex(" ") + "-" + somebody.vm.uuid.bytes[8:].hex(" ")
    second.sub(80, spelled.encode())
    second.sub(82, b"web01")
    second.wait_closed()
    second.close()
    daemon.says("web01: it is connected from 127.0.0.1 already")
    eventually(lambda: "refused" in [e["event"] for e in daemon.events("web01")], "the trail says so")
    refused = HostConnection(daemon.vm_port)
    refused.negotiate()
    refused.sub(70, b"SvSPC.py")
    refused.wait_sub(73)
    daemon.reload(extra + "identify-timeout = 1\n")
    refused.wait_closed()  # it does not wait for the 30 s that there were before
    refused.close()
    daemon.says("closed: it did not say which VM it is in time")
    somebody.notices_nothing()
    changed = [event["changed"] for event in daemon.audited("reload", count=4)]
    assert changed[2:] == [
        ["vm.service-uri", "vm.connections-per-address", "vm.second-connection"],
        ["vm.identify-timeout"],
    ]
    assert not any(event["waiting"] for event in daemon.audited("reload"))


def test_another_keep_idle_holds_for_connections_that_are_there(daemon: Daemon, somebody: Somebody) -> None:
    def timers() -> list[str]:
        # What the kernel would do next for the daemon's end of the VM's connection; 02 is keepalive. State 0A is that
        # of the socket that listens.
        with open("/proc/net/tcp") as table:
            lines = [line.split() for line in table]
        port = f"0100007F:{daemon.vm_port:04X}"
        return [line[5] for line in lines if line[1] == port and line[3] != "0A"]

    eventually(lambda: [t for t in timers() if t[:2] == "02"], "it is probed")
    daemon.reload("[vm]\nkeep-idle = 0\n")
    eventually(lambda: not [t for t in timers() if t[:2] == "02"], "it is not probed any more")
    daemon.reload("[vm]\nkeep-idle = 600\n")
    eventually(lambda: [t for t in timers() if t[:2] == "02" and int(t[3:], 16) > 30000], "it is probed after 600 s")
    somebody.notices_nothing()


def test_who_has_to_log_in_has_the_time_that_is_in_force_now(daemon: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.ssh_port), 30) as silent:
        daemon.reload("[ssh]\nlogin-timeout = 1\nconnections-per-address = 1\n")
        heard = b""
        while data := silent.recv(65536):
            heard += data
        assert heard.startswith(b"SSH-2.0-vmproxy")
    eventually(lambda: "closed, it took too long to log in" in daemon.said(), "it says so")
