"""Which console a connection gets: replacement, ports, and consoles that stay known when their VM has gone."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.support.fakes import EPOCH, VM_A, VM_B, FakeViewer, Logged
from tests.support.vm import (
    COMPLETE,
    DO_PROXY,
    MIGRATION_TIMEOUT,
    NAME,
    NEGOTIATION,
    SPELLED_A,
    VC_UUID,
    Host,
    VMWorld,
    session,
    sub,
)
from vmproxy.console.notices import LineDown, LineUp

SEQUENCE = b"\x01\x02\x03\x04"


def labelled(w: VMWorld, port: bytes, address: str = "10.0.0.1") -> Host:
    return w.connect(address).feed(session(uri=b"vmproxy?port=" + port))


# Replacement.


def test_a_new_connection_of_the_same_vm_and_port_replaces_the_old_one(w: VMWorld) -> None:
    old, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=True)
    old.feed(b"old ")
    new = w.connect("10.0.0.2").feed(b"boot " + session() + b"new")
    assert console.link is new.protocol
    assert old.closed
    assert len(w.directory) == 1
    assert alice.seen == w.logged(console) == b"old boot new"
    assert alice.told(LineDown) == []
    assert alice.told(LineUp) == [LineUp("10.0.0.2", None, vmotion=False)]
    console.send(b"x")
    assert (old.data(), new.data()) == (b"", b"x")
    (event,) = w.trail(console, "replaced")
    assert (event["host"], event["by"]) == ("10.0.0.1", "10.0.0.2")
    w.turn()
    assert (console.state, console.link) == ("up", new.protocol)
    assert w.delayed() == []


def test_the_old_connections_end_does_not_take_the_console_down(w: VMWorld) -> None:
    old, console = w.vm()
    new = w.connect("10.0.0.2").feed(session())
    w.turn()
    old.die()
    assert (console.state, console.link) == ("up", new.protocol)
    assert w.trail(console, "down") == []


def test_input_that_the_old_connection_did_not_take_goes_to_the_new_one(w: VMWorld) -> None:
    old, console = w.vm()
    old.transport.producer.pauseProducing()
    console.send(b"held")
    new = w.connect("10.0.0.2").feed(session())
    assert (old.data(), new.data()) == (b"", b"held")


def test_two_hosts_that_keep_replacing_each_other_leave_no_connection_behind(w: VMWorld) -> None:
    hosts = [w.connect(f"10.0.0.{n}").feed(session()) for n in range(1, 30)]
    w.turn()
    assert [h.closed for h in hosts] == [True] * 28 + [False]
    assert {h.protocol for h in hosts if not h.closed} == w.front.connections
    w.clock.advance(60)  # how often that was is told at the end of the minute
    assert w.delayed() == []


# Ports.


def test_ports_are_told_apart_by_their_label(w: VMWorld) -> None:
    first, second = labelled(w, b"1"), labelled(w, b"2", "10.0.0.2")
    third = labelled(w, b"console")
    first.feed(b"one")
    second.feed(b"two")
    third.feed(b"three")
    assert {c.port: (w.logged(c), c.link) for c in w.directory} == {
        "1": (b"one", first.protocol),
        "2": (b"two", second.protocol),
        "console": (b"three", third.protocol),
    }
    assert len({c.log.path for c in w.directory}) == 3


def test_the_same_label_again_replaces_only_that_port(w: VMWorld) -> None:
    first, second = labelled(w, b"1"), labelled(w, b"2")
    again = labelled(w, b"2", "10.0.0.2")
    assert (first.closed, second.closed, again.closed) == (False, True, False)
    assert len(w.directory) == 2


@pytest.mark.parametrize("label", [b"../../etc", b"", b"a" * 33, b"x y", b"%00", b"%2e%2e", "é".encode()])
def test_a_label_that_cannot_be_one_is_no_label(w: VMWorld, label: bytes) -> None:
    host = labelled(w, label)
    assert w.console.port == "1"
    assert w.console.link is host.protocol


def test_ports_without_label_are_told_apart_by_different_uris_open_at_once(w: VMWorld) -> None:
    first = w.connect().feed(session(uri=b"vmproxy"))
    second = w.connect().feed(session(uri=b"vSPC.py"))
    assert {c.port: c.link for c in w.directory} == {"1": first.protocol, "2": second.protocol}
    assert not first.closed


def test_ports_without_label_find_themselves_again_after_a_power_cycle_in_any_order(w: VMWorld) -> None:
    first = w.connect().feed(session(uri=b"vmproxy"))
    second = w.connect().feed(session(uri=b"vSPC.py"))
    ports = {c.uri: c.port for c in w.directory}
    first.lose()
    second.lose()
    second = w.connect().feed(session(uri=b"vSPC.py"))
    first = w.connect().feed(session(uri=b"vmproxy"))
    assert {c.uri: c.port for c in w.directory} == ports
    assert {c.link for c in w.directory} == {first.protocol, second.protocol}


def test_a_port_whose_uri_was_edited_is_still_the_same_port(w: VMWorld) -> None:
    w.connect().feed(session(uri=b"vmproxy")).lose()
    host = w.connect().feed(session(uri=b"vSPC.py"))
    assert (w.console.port, w.console.link, w.console.uri) == ("1", host.protocol, "vSPC.py")


def test_a_port_in_vmotion_that_has_lost_its_source_is_not_taken_by_another(w: VMWorld) -> None:
    source = w.connect().feed(session(uri=b"vmproxy"))
    source.begin(SEQUENCE)
    source.lose()
    moving = w.console
    other = w.connect().feed(session(uri=b"vSPC.py"))
    assert (moving.migrating, moving.link) == (True, None)
    assert {c.port: c.link for c in w.directory} == {"1": None, "2": other.protocol}


def test_a_port_without_label_does_not_take_the_place_of_a_labelled_one_that_is_down(w: VMWorld) -> None:
    # It would write into the other port's log, and be thrown out when that one comes back.
    labelled(w, b"debug").lose()
    plain = w.connect().feed(session(uri=b"vmproxy"))
    debug = labelled(w, b"debug")
    assert not plain.closed
    assert {c.port: c.link for c in w.directory} == {"debug": debug.protocol, "1": plain.protocol}


def test_the_same_port_of_another_vm_is_another_console(w: VMWorld) -> None:
    _, a = w.vm(VM_A)
    _, b = w.vm(VM_B, name=b"web")
    assert a is not b
    assert (a.state, b.state) == ("up", "up")


# Consoles that are down.


@pytest.mark.parametrize("how", ["closed", "broken", "stopped"])
def test_a_console_stays_known_with_since_when_and_why_also_to_the_next_process(w: VMWorld, how: str) -> None:
    host, console = w.vm(name=b"web")
    w.clock.advance(100)
    if how == "closed":
        host.lose()
    elif how == "broken":
        host.die()
    else:
        w.front.stop()
    assert console.state == "down"
    assert console.since == EPOCH + 100
    assert {"closed": "closed by 10.0.0.1", "broken": "connection lost to 10.0.0.1", "stopped": "stopped"}[
        how
    ] in console.reason
    again = w.restarted().console
    assert (again.uuid, again.name, again.state) == (VM_A, "web", "down")
    assert (again.since, again.reason, again.host) == (console.since, console.reason, "10.0.0.1")
    assert again.log.path == console.log.path


def test_a_connection_that_cannot_be_ended_in_order_keeps_no_other_from_it(w: VMWorld, logged: Logged) -> None:
    hosts = [w.vm(vm, name=name) for vm, name in ((VM_A, b"first"), (VM_B, b"second"))]

    def drain(reads: int | None = None) -> None:
        raise OSError("a fault")

    for broken, _ in hosts:  # whichever comes first; both are tried
        broken.protocol.drain = drain
    w.front.stop()
    assert len(logged.tracebacks) == 2
    assert w.delayed() == []


def test_a_console_that_was_up_when_the_process_died_is_down_because_of_that(w: VMWorld) -> None:
    w.vm()
    again = w.restarted().console
    assert (again.state, again.reason) == ("down", "the concentrator was stopped")


def test_a_console_that_comes_back_says_how_long_it_was_away(w: VMWorld) -> None:
    host, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=False)
    host.lose()
    w.clock.advance(42)
    w.vm()
    assert alice.told(LineUp) == [LineUp("10.0.0.1", 42.0, vmotion=False)]
    assert (console.state, console.reason, console.since) == ("up", "", EPOCH + 42)


def test_the_next_process_knows_the_host_that_a_vmotion_went_to(w: VMWorld) -> None:
    source, _ = w.vm(address="10.0.0.1")
    w.destination(source.begin(), "10.0.0.2").feed(sub(COMPLETE, SEQUENCE))
    assert w.restarted().console.host == "10.0.0.2"


def test_the_next_process_knows_why_and_since_when_an_abandoned_vmotion_left_a_console_down(w: VMWorld) -> None:
    source, console = w.vm()
    source.begin()
    source.die()
    w.clock.advance(MIGRATION_TIMEOUT + 1)
    assert console.state == "down"
    again = w.restarted().console
    assert (again.reason, again.since) == (console.reason, console.since)


def test_the_next_process_knows_the_host_of_a_destination_that_took_over_at_the_deadline(w: VMWorld) -> None:
    source, console = w.vm()
    w.destination(source.begin(), "10.0.0.2")
    source.lose()
    w.clock.advance(MIGRATION_TIMEOUT + 1)
    assert (console.state, console.host) == ("up", "10.0.0.2")
    assert w.restarted().console.host == "10.0.0.2"


# Names.


def test_vms_of_one_name_may_all_be_renamed_whatever_their_uuids(w: VMWorld) -> None:
    # The links by name tell such VMs apart by the first digits of the UUID, which may well be the same too.
    hosts = []
    for n in range(1, 5):
        uuid = UUID(int=(0x50280000 << 96) + n)
        hosts.append(w.connect().feed(session(str(uuid).encode(), name=b"web")))
    for n, host in enumerate(hosts):
        host.feed(sub(NAME, b"other-%d" % n) + b"on")
    for host in hosts:
        host.feed(sub(NAME, b"web") + b" and on")
    assert all(w.logged(c) == b"on and on" for c in w.directory)


def test_names_of_any_kind_come_and_go_without_harm(w: VMWorld) -> None:
    names = [*b"web,,///,web,\0,.,..,web server,web/server,web,\xff\xfe,-".split(b","), b"x" * 4000]
    a = w.connect().feed(session(name=b"web"))
    b = w.connect().feed(NEGOTIATION + sub(DO_PROXY, b"Svmproxy?port=web") + sub(VC_UUID, SPELLED_A))
    for name in names:
        a.feed(sub(NAME, name))
        b.feed(sub(NAME, name))
    a.feed(b"on")
    b.feed(b"on")
    assert [w.logged(c) for c in w.directory] == [b"on", b"on"]
    folder = w.store.folder
    assert all(folder in p.resolve().parents for p in folder.rglob("*"))


def test_a_name_that_changes_only_in_what_a_link_cannot_hold_keeps_its_link(w: VMWorld) -> None:
    # Somebody may be tailing it.
    host, _ = w.vm(name=b"web server")
    link = w.store.folder / "by-name" / "web-server.log"
    w.store.flush()
    assert link.is_symlink()
    host.feed(sub(NAME, b"web/server"))
    w.store.flush()
    assert link.is_symlink()
    assert [p.name for p in link.parent.iterdir()] == ["web-server.log"]
