"""Whatever order hosts say things in, how often, and however it is cut: a VM has one console, and all its output.

Hosts differ in what is not laid down: when they list what they know, whether they tell who the VM is before they ask
for the proxy, behind it, or twice, what stands between, and which connection of a vMotion closes first. Here they do
all of it, VMs come and go and move, and the process starts anew in between.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.support.properties import examples
from tests.support.vm import (
    ABORT,
    BEGIN,
    BINARY,
    BIOS,
    CAPTURED_LIST,
    COM_PORT,
    COMPLETE,
    DO,
    DO_PROXY,
    EXT,
    GOAHEAD,
    KNOWN_1,
    LOCATION,
    NAME,
    PEER,
    PEER_OK,
    SGA,
    SPELLED_A,
    UNKNOWN_1,
    VC_UUID,
    WILL,
    Host,
    VMWorld,
    com,
    sub,
    verb,
)
from vmproxy.console.console import Console

BIOS_1, BIOS_2 = UUID("564d0000-0000-0000-0000-000000000001"), UUID("564d0000-0000-0000-0000-000000000002")
SEQUENCE = b"\x4c\x19\xff\xe9"
LIST = sub(KNOWN_1, CAPTURED_LIST)
OPTIONS = (verb(WILL, EXT), *(verb(word, option) for word in (WILL, DO) for option in (BINARY, SGA)))
NOISE = (
    b"\xff\xf1",  # NOP
    sub(99, b"what"),
    sub(UNKNOWN_1, b"\x57"),
    verb(WILL, COM_PORT) + com(1, (9600).to_bytes(4, "big")),
    verb(DO, 99),
    bytes((255, 250, 24, 1, 255, 240)),
)


class VM:
    """A VM, and all that it has ever said.

    :ivar hosts: its connections, the one that carries it last.
    """

    def __init__(self, name: bytes, bios: UUID | None) -> None:
        self.name = name
        self.bios = bios
        self.said = b""
        self.hosts: list[Host] = []
        self.console: UUID | None = None
        self._count = 0

    def says(self) -> bytes:
        """Something that it says now; bytes that need an IAC more are in it."""
        self._count += 1
        data = b"<%b %d \xff\r\n>" % (self.name, self._count)
        self.said += data
        return data.replace(b"\xff", b"\xff\xff")


class Scene:
    """A concentrator, VMs, and what hypothesis makes their hosts do."""

    def __init__(self, w: VMWorld, data: st.DataObject, vms: list[VM]) -> None:
        self.w = w
        self.vms = vms
        self._data = data

    def draw(self, *choices: object) -> object:
        return self._data.draw(st.sampled_from(choices))

    def play(self, steps: int) -> None:
        for vm in self.vms:
            self.arrive(vm)
        self.check()
        for _ in range(steps):
            vm = self._data.draw(st.sampled_from(self.vms))
            what = self.draw(self.arrive, self.move, self.move, self.leave, self.say, self.restart)
            what(vm)  # type: ignore[operator]  # a function of the table
            self.w.clock.advance(31)  # displacements one upon the other would be ports that are alike
            self.check()
        for vm in self.vms:
            if not vm.hosts:
                self.arrive(vm)
        self.check()

    # What happens.

    def arrive(self, vm: VM) -> None:
        """It connects, though it may be connected already."""
        host = self.w.connect(f"10.0.0.{self.draw(1, 2, 3)}")
        parts = [sub(DO_PROXY, b"Svmproxy"), *self.identity(vm), LIST]
        self.feed(host, vm, self.shuffled(parts), repeat=True)
        self.w.clock.advance(2)
        vm.hosts = [host]

    def move(self, vm: VM) -> None:
        """It migrates, or tries to."""
        if not vm.hosts:
            return
        source = vm.hosts[-1]
        source.sent()
        source.feed(sub(BEGIN, SEQUENCE))
        (pair,) = [answer[1:] for answer in source.subs() if answer[0] == GOAHEAD]
        destination = self.w.connect(f"10.0.0.{self.draw(1, 2, 3)}")
        told = self._data.draw(st.lists(st.sampled_from(self.identity(vm)), max_size=2))
        self.feed(destination, vm, [*self.shuffled([LIST, sub(PEER, pair), *told])], repeat=False, talks=False)
        assert PEER_OK in [answer[0] for answer in destination.subs()]
        source.feed(vm.says())
        if self.draw(False, False, True):
            source.feed(sub(ABORT))
            destination.feed(b"never heard")
            return
        early = vm.says()
        if self.draw(True, False):
            source.lose()
        self.feed(destination, vm, [early, sub(COMPLETE, SEQUENCE)], repeat=False, talks=False)
        destination.feed(vm.says())
        source.lose()
        vm.hosts = [destination]

    def leave(self, vm: VM) -> None:
        """Its connection is lost."""
        if vm.hosts:
            vm.hosts.pop().lose()

    def say(self, vm: VM) -> None:
        """It says something."""
        if vm.hosts:
            self.cut(vm.hosts[-1], vm.says())

    def restart(self, _: VM) -> None:
        """The process ends, and starts again."""
        self.w = self.w.restarted()
        for vm in self.vms:
            vm.hosts = []

    def check(self) -> None:
        """Each VM has the console that it always had, and everything is in its log."""
        for vm in self.vms:
            if vm.hosts:
                console = self.console_of(vm.hosts[-1])
                vm.console = vm.console or console.uuid
                assert (console.uuid, console.port, console.name) == (vm.console, "1", vm.name.decode())
                assert self.w.logged(console) == vm.said
                assert vm.bios is None or console.bios_uuid == vm.bios
        assert len(self.w.directory) == len({vm.console for vm in self.vms}) == len(self.vms)

    def console_of(self, host: Host) -> Console:
        (console,) = [console for console in self.w.directory if console.link is host.protocol]
        return console

    # How it is said.

    def identity(self, vm: VM) -> list[bytes]:
        parts = [sub(VC_UUID, SPELLED_A), sub(NAME, vm.name)]
        if vm.bios is not None:
            parts += [sub(BIOS, str(vm.bios).encode()), sub(LOCATION, str(vm.bios).encode())]
        return parts

    def shuffled(self, parts: list[bytes]) -> list[bytes]:
        return self._data.draw(st.permutations(parts))

    def feed(self, host: Host, vm: VM, parts: list[bytes], repeat: bool, talks: bool = True) -> None:
        """Say parts in this order, with other things among them."""
        around = self._data.draw(st.lists(st.sampled_from(NOISE), max_size=3))
        around += list(OPTIONS) if repeat else self._data.draw(st.lists(st.sampled_from(OPTIONS), max_size=3))
        if repeat:
            around += self._data.draw(st.lists(st.sampled_from(parts), max_size=3))
        parts = list(parts)
        for extra in around:
            parts.insert(self._data.draw(st.integers(0, len(parts))), extra)
        if talks:
            for at in sorted(self._data.draw(st.lists(st.integers(0, len(parts)), max_size=2)), reverse=True):
                parts.insert(at, b"")  # what it says is made in the order in which it is said
            parts = [part or vm.says() for part in parts]
        self.cut(host, b"".join(parts))

    def cut(self, host: Host, said: bytes) -> None:
        """Have bytes arrive in one read or several."""
        cuts = self._data.draw(st.lists(st.integers(1, max(1, len(said) - 1)), max_size=6))
        for start, end in zip([0, *sorted({*cuts})], [*sorted({*cuts}), len(said)], strict=True):
            host.feed(said[start:end])


def play(data: st.DataObject, vms: list[VM], steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(VMWorld(Path(folder)), data, vms)
        try:
            scene.play(steps)
        finally:
            scene.w.stop()


@given(st.data(), st.sampled_from([None, BIOS_1]), st.integers(0, 6))
@examples(100)
def test_a_vm_always_has_the_same_console_and_all_its_output(
    data: st.DataObject, bios: UUID | None, steps: int
) -> None:
    play(data, [VM(b"web", bios)], steps)


@given(st.data(), st.integers(1, 8))
@examples(100)
def test_two_vms_of_one_vc_uuid_never_get_what_is_the_others(data: st.DataObject, steps: int) -> None:
    play(data, [VM(b"web", BIOS_1), VM(b"copy", BIOS_2)], steps)
