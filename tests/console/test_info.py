"""What is known of a console, as a value that does not change when the console does."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from uuid import UUID

from tests.support.consoles import World
from tests.support.fakes import EPOCH, VM_A, VM_B, FakeLink, FakeViewer
from vmproxy.access.console_options import ConsoleOptions, NamedSequence
from vmproxy.access.labels import Labels
from vmproxy.console.info import ConsoleInfo, ViewerInfo


def test_it_has_all_that_is_known(tmp_path: Path) -> None:
    w = World(tmp_path)
    link = FakeLink("10.0.0.7", ready=False)
    console = w.claim("web\n01", VM_A, port="2", uri="vmproxy?port=2", link=link)
    console.set_options(ConsoleOptions(shared=True, record_input=True, sequences=(NamedSequence("reboot", (b"x",)),)))
    console.set_uuids(VM_B, None)
    alice, bob, eve = FakeViewer("alice"), FakeViewer("bob"), FakeViewer("eve")
    console.viewers.attach(alice, write=True)
    console.viewers.attach(eve, write=True)
    console.viewers.attach(bob, write=True, join=True)
    bob.skipped = 7
    console.feed(b"output")
    console.send(b"typed", "alice")
    info = console.info()
    assert (info.uuid, info.port, info.name, info.title) == (VM_A, "2", "web\n01", console.title)
    assert (info.bios_uuid, info.location_uuid) == (VM_B, None)
    assert (info.state, info.since, info.host, info.encrypted) == ("up", EPOCH, "10.0.0.7", False)
    assert (info.bytes_out, info.bytes_in, info.undelivered) == (6, 0, 5)
    assert (info.logging, info.log_problem, info.log) == (True, "", console.log.name)
    assert (info.shared, info.input_recorded, info.sequences) == (True, True, ("reboot",))
    assert (info.writer, info.writers) == ("alice", ("alice", "bob"))
    assert info.viewers == (
        ViewerInfo("alice", True, False, EPOCH, EPOCH, 0),
        ViewerInfo("eve", False, True, EPOCH, EPOCH, 0),
        ViewerInfo("bob", True, False, EPOCH, EPOCH, 7),
    )
    assert info.remote is None


def test_it_stays_as_it_was_when_the_console_changes(tmp_path: Path) -> None:
    w = World(tmp_path)
    console = w.claim("web01")
    alice = FakeViewer("alice")
    console.viewers.attach(alice, write=True)
    before, again = console.info(), console.info()
    assert before == again
    w.lose(console, "power failure")
    console.viewers.detach(alice)
    assert before == again
    after = console.info()
    assert (after.state, after.reason, after.writer, after.viewers) == ("down", "power failure", "", ())


def test_nothing_in_it_can_change(tmp_path: Path) -> None:
    info = World(tmp_path).claim().info()
    allowed = (str, int, float, bool, tuple, UUID, Labels, type(None))
    assert all(isinstance(getattr(info, field.name), allowed) for field in fields(ConsoleInfo))
    assert isinstance(hash(info), int)
