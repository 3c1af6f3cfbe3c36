"""Websockets of a real daemon: nothing lost or doubled, slow and silent clients, floods, a restart."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from wsproto.events import Ping

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM
from tests.support.web_daemon import token_of, web_settings
from tests.support.websocket_client import WebConsole

MIB = 1024 * 1024
MakeVM = Callable[..., FakeVM]


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], keys: Path) -> Daemon:
    return make_daemon(web_settings(keys))


@pytest.fixture
def web(daemon: Daemon) -> Iterator[Callable[..., WebConsole]]:
    """Attaches over websockets."""
    token, consoles = token_of(daemon), list[WebConsole]()

    def attach(**query: str) -> WebConsole:
        consoles.append(WebConsole(daemon.web_port, token, **{"replay": "0", **query}))
        return consoles[-1]

    yield attach
    for console in consoles:
        console.close()


class Talk:
    """What the VM says: records that are easily lost or doubled."""

    def __init__(self, vm: FakeVM) -> None:
        self.vm = vm
        self.said = bytearray()
        self._number = 0

    def say(self, records: int = 100) -> None:
        data = b"".join(b"%06d\xff\r\0\xff\xff\r\n" % (self._number + more) for more in range(records))
        self._number += records
        self.said += data
        self.vm.connected.say(data)


def test_nothing_is_lost_or_doubled_over_cuts_rotation_vmotion_and_a_restart(
    daemon: Daemon, make_vm: MakeVM, client: Callable[..., Client], web: Callable[..., WebConsole], keys: Path
) -> None:
    daemon.reload(f"{web_settings(keys)}[log]\nrotate-size = '24k'\n[vm]\nvmotions-per-minute = 1000\n")
    vm, chance = make_vm(daemon), Random(7)
    talk = Talk(vm)
    ssh = client("127.0.0.1", user="web01,ro,replay=0")
    ssh.expect_err(b"[spy]")
    steady, cut = web(mode="write"), web(mode="spy")
    for number in range(40):
        talk.say(chance.choice((1, 50, 400)))
        match number % 4:
            case 0:
                vm.migrate(bytes((255, number, 0, 255)), close_first=bool(number % 8))
            case 1:
                cut.until(lambda: len(cut.out) > len(talk.said) // 2, "some output")
                cut.cut()
                talk.say()
                cut.open()
                assert cut.told("hello")[0]["resumed"]
            case 2:
                cut.say("pause")
                talk.say()
                assert cut.ask("resume")["resumed"]
            case 3:
                steady.type(b"key %d\r" % number)
                vm.connected.wait_data(b"key %d\r" % number)
    for console in (steady, cut):
        console.until_said(len(talk.said))
        assert all(hello["ssh_port"] == daemon.ssh_port for hello in console.told("hello"))
    ssh.wait_size(len(talk.said))
    assert daemon.stop() == -15
    steady.until(lambda: steady.closed, "a close")
    assert steady.closed == (1001, "the server stops")
    assert bytes(ssh.out) == bytes(talk.said)
    assert len(list(daemon.log_dir.glob("*.log.[1-9]*"))) > 2, "it has been rotated"
    vm.close()
    daemon.start()
    vm.port = daemon.vm_port
    vm.connect()
    talk.say(500)
    for console in (steady, cut):
        console.open()
        console.until_said(len(talk.said))
        assert console.told("hello")[0]["resumed"]
        assert bytes(console.out) == bytes(talk.said)
        assert console.skipped == 0


def test_64_mib_at_once_reach_who_reads_and_cost_who_does_not_a_bounded_memory(
    daemon: Daemon, make_vm: MakeVM, web: Callable[..., WebConsole]
) -> None:
    vm = make_vm(daemon)
    silent, lazy, quick = web(mode="spy"), web(mode="spy"), web(mode="spy")
    lazy.acknowledges = False
    block = bytes(range(255)) * 257
    total = 64 * MIB // len(block) * len(block)
    before = daemon.memory()

    def talk() -> None:
        for _ in range(total // len(block)):
            vm.connected.say(block)

    talker = threading.Thread(target=talk)
    talker.start()
    quick.until_said(10 * MIB)
    health = http.client.HTTPConnection("127.0.0.1", daemon.web_port, timeout=30)
    health.request("GET", "/healthz")  # it is answered while all this goes on
    assert health.getresponse().status == 200
    health.close()
    quick.until_said(total)
    talker.join()
    assert len(quick.out) + quick.skipped == total
    assert daemon.memory() < before + 40 * MIB
    lazy.until(lambda: len(lazy.out) == 512 * 1024, "a window")
    assert not lazy.told("skipped")
    lazy.acknowledges = True
    lazy.acknowledge()
    lazy.until_said(total)
    assert (len(lazy.out), lazy.skipped) == (512 * 1024, total - 512 * 1024)
    silent.until_said(total)
    vm.connected.say(b"and on")
    for console in (quick, lazy, silent):
        console.until_heard(b"and on")
    assert len(silent.out) + silent.skipped == total + len(b"and on")


def test_a_flood_of_pings_and_messages_costs_others_nothing(
    daemon: Daemon, make_vm: MakeVM, web: Callable[..., WebConsole]
) -> None:
    vm = make_vm(daemon)
    pinging, talking, other = web(mode="spy"), web(mode="spy"), web(mode="spy")
    before = daemon.memory()
    pings = pinging.wire.send(Ping(b"x" * 125)) * 2000
    stop = threading.Event()

    def flood() -> None:
        try:
            while not stop.is_set():
                pinging.socket.sendall(pings)
        except OSError:
            pass  # it reads nothing: the time for that is over at last

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        for number in range(20):
            vm.connected.say(b"%d\r\n" % number)
            other.until_heard(b"%d\r\n" % number)
        for _ in range(200):
            talking.say("note", text="again")
        talking.until(lambda: talking.closed, "a close")
        assert talking.closed is not None
        assert talking.closed[0] == 1008
    finally:
        stop.set()
        pinging.cut()
        flooder.join()
    assert daemon.memory() < before + 30 * MIB
    eventually(lambda: len(daemon.status("web01").get("viewers", ())) == 1, "the others are gone")  # type: ignore[arg-type]  # a list
