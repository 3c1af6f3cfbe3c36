"""Who a VM is where that is not plain: one VC UUID in two VMs, ports that are alike, words that come as URLs."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from tests.support.fakes import VM_A
from tests.support.vm import (
    BIOS,
    CAPTURED_LIST,
    COMPLETE,
    DO_PROXY,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    LOCATION,
    NAME,
    NEGOTIATION,
    PEER,
    SPELLED_A,
    UNKNOWN_1,
    VC_UUID,
    WILL_PROXY,
    WONT_PROXY,
    Host,
    VMWorld,
    session,
    sub,
)
from vmproxy.console.console import Console
from vmproxy.console.port_numbers import DISPLACEMENTS
from vmproxy.vm.admission import AdmissionLimits
from vmproxy.vm.frontend import UNDECIDED_SECONDS
from vmproxy.vm.settings import ClientWord, VMSettings

BIOS_1, BIOS_2, BIOS_3 = (UUID(f"564d0000-0000-0000-0000-00000000000{n}") for n in (1, 2, 3))
HELLO = NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST)


def spelled(uuid: UUID) -> bytes:
    return str(uuid).encode()


def twin(w: VMWorld, bios: UUID, address: str, uri: bytes = b"vmproxy", name: bytes = b"web") -> Host:
    """A VM that has the VC UUID of another one."""
    told = sub(DO_PROXY, b"S" + uri) + sub(VC_UUID, SPELLED_A) + sub(NAME, name) + sub(BIOS, spelled(bios))
    return w.connect(address).feed(HELLO + told)


def console_of(w: VMWorld, host: Host) -> Console:
    (console,) = [console for console in w.directory if console.link is host.protocol]
    return console


# Two VMs with one VC UUID.


def test_two_vms_with_one_vc_uuid_are_kept_apart_by_their_bios_uuids_and_one_event_says_so(
    w: VMWorld, logged: list[str]
) -> None:
    one = twin(w, BIOS_1, "10.0.0.1", name=b"web")
    two = twin(w, BIOS_2, "10.0.0.2", name=b"web copy")
    assert not one.closed
    first, second = console_of(w, one), console_of(w, two)
    assert (first.uuid, second.uuid) == (VM_A, BIOS_2)
    one.feed(b"first")
    two.feed(b"second")
    assert (w.logged(first), w.logged(second)) == (b"first", b"second")
    (event,) = w.trail(second, "same-uuid")
    assert (event["uuid"], event["bios"], event["host"]) == (str(VM_A), str(BIOS_2), "10.0.0.2")
    (told,) = [line for line in logged if "two VMs, kept apart" in line]
    both = "web", str(BIOS_1), "10.0.0.1", "web copy", str(BIOS_2), "10.0.0.2"
    assert [what for what in both if what not in told] == []
    # Who may read the trail of one may not see the other.
    text = json.dumps(w.trail(second))
    assert [what for what in (first.host, str(BIOS_1), '"web"') if what in text] == []
    assert "copy" not in json.dumps(w.trail(first))
    # Each comes back to its own, whichever is first, and nothing is told again.
    for bios, address, console in ((BIOS_2, "10.0.0.2", second), (BIOS_1, "10.0.0.1", first)):
        assert twin(w, bios, address).protocol is console.link
    third = twin(w, BIOS_3, "10.0.0.3")
    assert console_of(w, third).uuid == BIOS_3
    assert len(w.trail(second, "same-uuid")) == 1


def test_their_ports_are_apart_too(w: VMWorld) -> None:
    hosts = {
        (bios, port): twin(w, bios, "10.0.0.1", b"vmproxy?port=" + port)
        for port in (b"1", b"2")
        for bios in (BIOS_1, BIOS_2)
    }
    found = {key: console_of(w, host) for key, host in hosts.items()}
    assert {key: (console.uuid, console.port) for key, console in found.items()} == {
        (bios, port): (uuid, port.decode())
        for bios, uuid in ((BIOS_1, VM_A), (BIOS_2, BIOS_2))
        for port in (b"1", b"2")
    }


def test_after_a_restart_they_have_the_consoles_that_they_had(w: VMWorld) -> None:
    twin(w, BIOS_1, "10.0.0.1")
    twin(w, BIOS_2, "10.0.0.2")
    again = w.restarted()
    try:
        second = console_of(again, twin(again, BIOS_2, "10.0.0.2"))
        first = console_of(again, twin(again, BIOS_1, "10.0.0.1"))
        assert (first.uuid, second.uuid) == (VM_A, BIOS_2)
    finally:
        again.stop()


@pytest.mark.parametrize("known", [True, False])
def test_after_a_restart_a_copy_that_comes_first_gets_nothing_of_the_others(w: VMWorld, known: bool) -> None:
    twin(w, BIOS_1, "10.0.0.1").feed(b"the first")
    if known:
        twin(w, BIOS_2, "10.0.0.2")
    again = w.restarted()
    try:
        second = console_of(again, twin(again, BIOS_2, "10.0.0.2").feed(b"the copy"))
        assert second.uuid == BIOS_2
        first = console_of(again, twin(again, BIOS_1, "10.0.0.1"))
        assert (first.uuid, again.logged(first), again.logged(second)) == (VM_A, b"the first", b"the copy")
        assert len(again.trail(second, "same-uuid")) == 1  # and not at each start
    finally:
        again.stop()


def test_a_copy_keeps_its_console_when_the_first_is_forgotten_after_a_restart_too(w: VMWorld) -> None:
    one, two = twin(w, BIOS_1, "10.0.0.1"), twin(w, BIOS_2, "10.0.0.2")
    first, second = console_of(w, one), console_of(w, two)
    one.lose()
    w.directory.forget(first, "alice")
    again = twin(w, BIOS_2, "10.0.0.2")
    assert (second.link, len(w.directory)) == (again.protocol, 1)
    restarted = w.restarted()
    try:
        assert twin(restarted, BIOS_2, "10.0.0.2").protocol is restarted.console.link
    finally:
        restarted.stop()


def test_a_bios_uuid_that_comes_after_the_console_is_remembered(w: VMWorld) -> None:
    w.connect("10.0.0.1").feed(session()).feed(sub(BIOS, spelled(BIOS_1)))
    again = w.restarted()
    try:
        assert again.console.bios_uuid == BIOS_1
    finally:
        again.stop()


def test_a_copy_whose_bios_uuid_comes_too_late_is_closed_and_changes_nothing(w: VMWorld, logged: list[str]) -> None:
    one = twin(w, BIOS_1, "10.0.0.1")
    first = console_of(w, one)
    late = w.connect("10.0.0.2").feed(HELLO + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
    w.clock.advance(UNDECIDED_SECONDS)
    assert first.link is late.protocol
    late.feed(sub(BIOS, spelled(BIOS_2)) + sub(NAME, b"copy") + b"of another VM")
    assert (late.closed, first.bios_uuid, first.name, w.logged(first)) == (True, BIOS_1, "web", b"")
    assert any("it is another VM" in line for line in logged)
    assert console_of(w, twin(w, BIOS_1, "10.0.0.1")) is first


@pytest.mark.parametrize("uuid_on_destination", [True, False])
def test_the_second_may_move_to_another_host(w: VMWorld, uuid_on_destination: bool) -> None:
    twin(w, BIOS_1, "10.0.0.1")
    two = twin(w, BIOS_2, "10.0.0.2")
    second = console_of(w, two)
    pair = two.begin()
    told = sub(VC_UUID, SPELLED_A) if uuid_on_destination else b""
    moved = w.connect("10.0.0.3").feed(HELLO + told + sub(PEER, pair) + told)
    moved.feed(sub(COMPLETE, pair[:4]) + told + b"here")
    assert (second.link, w.logged(second)) == (moved.protocol, b"here")


@pytest.mark.parametrize("list_first", [True, False])
def test_the_bios_uuid_is_awaited_where_it_decides(w: VMWorld, list_first: bool) -> None:
    one = twin(w, BIOS_1, "10.0.0.1")
    asks = sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A) + b"early "
    late = w.connect("10.0.0.2").feed((HELLO if list_first else NEGOTIATION) + asks)
    assert (one.closed, len(w.directory)) == (False, 1)
    late.feed(sub(KNOWN_1, CAPTURED_LIST))
    assert (one.closed, len(w.directory)) == (False, 1)
    late.feed(sub(NAME, b"copy")).feed(sub(BIOS, spelled(BIOS_2)) + b"and late")
    second = console_of(w, late)
    assert (second.uuid, second.name, w.logged(second)) == (BIOS_2, "copy", b"early and late")
    assert not one.closed
    w.clock.advance(IDENTIFY_TIMEOUT + 1)
    assert not late.closed
    assert w.delayed() == []


@pytest.mark.parametrize("how", ["silence", "unknown", "same", "zero"])
def test_a_vm_that_has_no_other_bios_uuid_has_its_console_as_ever(w: VMWorld, how: str) -> None:
    one = twin(w, BIOS_1, "10.0.0.1")
    first = console_of(w, one)
    again = w.connect("10.0.0.1").feed(HELLO + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
    if how == "silence":
        assert first.link is one.protocol
        w.clock.advance(UNDECIDED_SECONDS)
    elif how == "unknown":
        again.feed(sub(UNKNOWN_1, b"\x55"))
    else:
        again.feed(sub(BIOS, spelled(BIOS_1) if how == "same" else b"0" * 32))
    assert first.link is again.protocol
    assert len(w.directory) == 1


def test_a_vm_that_leaves_while_its_bios_uuid_is_awaited_is_heard_all_the_same(w: VMWorld) -> None:
    first = console_of(w, twin(w, BIOS_1, "10.0.0.1"))
    late = w.connect("10.0.0.1").feed(HELLO + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A) + b"last words")
    late.die()
    assert w.logged(first) == b"last words"
    assert first.state == "down"


def test_storage_vmotion_changes_the_location_uuid_and_nothing_else(w: VMWorld) -> None:
    one = twin(w, BIOS_1, "10.0.0.1").feed(sub(LOCATION, spelled(BIOS_1)))
    console = console_of(w, one)
    pair = one.begin()
    moved = w.connect("10.0.0.1").feed(HELLO + sub(PEER, pair) + sub(LOCATION, spelled(BIOS_3)))
    moved.feed(sub(COMPLETE, pair[:4]))
    assert (console.link, console.location_uuid, console.bios_uuid) == (moved.protocol, BIOS_3, BIOS_1)
    moved.lose()
    again = twin(w, BIOS_1, "10.0.0.1").feed(sub(LOCATION, spelled(BIOS_3)))
    assert console.link is again.protocol
    assert len(w.directory) == 1


def test_vms_that_share_nothing_but_the_bios_uuid_have_nothing_to_do_with_each_other(w: VMWorld) -> None:
    twin(w, BIOS_1, "10.0.0.1")
    clone = w.connect("10.0.0.2").feed(session(b"50" * 16) + sub(BIOS, spelled(BIOS_1)))
    assert console_of(w, clone).uuid == UUID("50" * 16)
    assert len(w.directory) == 2


# Ports that are alike.


def test_ports_without_labels_stay_apart_at_the_third_displacement_within_a_minute(
    w: VMWorld, logged: list[str]
) -> None:
    hosts = [w.connect().feed(session()) for _ in range(DISPLACEMENTS)]
    assert [host.closed for host in hosts] == [True] * (DISPLACEMENTS - 1) + [False]
    second = w.connect().feed(session())
    assert {c.port: c.link for c in w.directory} == {"1": hosts[-1].protocol, "2": second.protocol}
    first = next(c for c in w.directory if c.port == "1")
    (event,) = w.trail(first, "ports-alike")
    assert (event["ports"], event["remedy"]) == (["1", "2"], "give the second one a service URI with ?port=2")
    assert sum("displace each other" in line for line in logged) == 1
    # Each that comes back takes what is free, in the order in which they come.
    for host in (second, hosts[-1]):
        host.lose()
    again = [w.connect().feed(session()) for _ in range(2)]
    assert {c.port: c.link for c in w.directory} == {"1": again[0].protocol, "2": again[1].protocol}
    # A third one is seen the same way, and a fourth.
    for number in ("3", "4"):
        for _ in range(DISPLACEMENTS - 1):
            assert max(c.port for c in w.directory) < number
            w.connect().feed(session())
        w.connect().feed(session())
        assert {c.port for c in w.directory if c.state == "up"} == {str(n) for n in range(1, int(number) + 1)}


def test_ports_that_stay_apart_do_so_after_a_restart(w: VMWorld) -> None:
    for _ in range(DISPLACEMENTS + 1):
        w.connect().feed(session())
    again = w.restarted()
    try:
        hosts = [again.connect().feed(session()) for _ in range(2)]
        assert [host.closed for host in hosts] == [False, False]
        assert {c.port: c.link for c in again.directory} == {"1": hosts[0].protocol, "2": hosts[1].protocol}
    finally:
        again.stop()


def test_displacements_that_are_further_apart_are_a_host_that_dials_again(w: VMWorld) -> None:
    for _ in range(5 * DISPLACEMENTS):
        w.connect().feed(session())
        w.clock.advance(31)
    assert len(w.directory) == 1


def test_a_port_with_a_label_and_one_of_another_host_are_displaced_without_end(w: VMWorld) -> None:
    for n in range(5 * DISPLACEMENTS):
        w.connect().feed(session(uri=b"vmproxy?port=a"))
        w.connect(f"10.0.1.{n}").feed(session())
    assert {c.port for c in w.directory} == {"a", "1"}


# Words.


@pytest.mark.parametrize(
    "uri",
    [
        b"telnet://vmproxy",
        b"telnet://vmproxy:13370",
        b"vmproxy:13370",
        b" vmproxy ",
        b"telnet://vmproxy?x=1",
        b"\tvmproxy\0",
    ],
)
def test_the_word_is_served_as_the_host_client_sends_it(w: VMWorld, uri: bytes) -> None:
    host = w.connect().feed(session(uri=uri))
    assert bytes((WILL_PROXY,)) in host.subs()
    assert console_of(w, host).port == "1"


def test_with_any_word_accepted_a_word_is_the_label_of_its_port(w: VMWorld) -> None:
    w.front.reconfigure(VMSettings(service_uri=("*",), limits=AdmissionLimits(per_second=0)))
    hosts = {word: w.connect().feed(session(uri=word)) for word in (b"vmproxy", b"debug", b"telnet://kgdb:1")}
    assert {word: console_of(w, host).port for word, host in hosts.items()} == {
        b"vmproxy": "1",
        b"debug": "debug",
        b"telnet://kgdb:1": "kgdb",
    }
    hosts[b"debug"].lose()
    again = w.connect().feed(session(uri=b"debug"))
    assert console_of(w, again).port == "debug"
    # Another one that is down is no place for a port that has no label.
    hosts[b"vmproxy"].lose()
    again.lose()
    assert console_of(w, w.connect().feed(session(uri=b"vmproxy"))).port == "1"


def test_a_port_that_had_its_number_before_words_were_labels_keeps_it(w: VMWorld) -> None:
    w.front.reconfigure(VMSettings(service_uri=("site",), limits=AdmissionLimits(per_second=0)))
    w.connect().feed(session(uri=b"site")).lose()
    w.front.reconfigure(VMSettings(service_uri=("*",), limits=AdmissionLimits(per_second=0)))
    assert console_of(w, w.connect().feed(session(uri=b"site"))).port == "1"


@pytest.mark.parametrize("uri", [b"vmproxy", b" vmproxy ", b"vmproxy?port=2"])
def test_direction_client_with_the_word_of_a_server_is_refused_with_the_remedy_or_served(
    w: VMWorld, logged: list[str], uri: bytes
) -> None:
    asked = HELLO + sub(DO_PROXY, b"C" + uri) + sub(VC_UUID, SPELLED_A)
    refused = w.connect().feed(asked)
    assert bytes((WONT_PROXY,)) in refused.subs()
    assert any('set the direction of the serial port to "server"' in line for line in logged)
    assert len(w.directory) == 0
    w.front.reconfigure(VMSettings(client_word=ClientWord.SERVE, limits=AdmissionLimits(per_second=0)))
    served = w.connect().feed(asked)
    assert bytes((WILL_PROXY,)) in served.subs()
    assert console_of(w, served).port == ("2" if b"port" in uri else "1")
    other = w.connect().feed(HELLO + sub(DO_PROXY, b"Cother") + sub(VC_UUID, SPELLED_A))
    assert bytes((WONT_PROXY,)) in other.subs()
    # What somebody can be connected to is a destination, as ever.
    dialled = w.connect().feed(HELLO + sub(DO_PROXY, b"Cvmproxy:13370") + sub(VC_UUID, SPELLED_A))
    assert bytes((WONT_PROXY,)) in dialled.subs()
    assert any("there are no [[dial]] rules" in line for line in logged)


# Names.


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (b"a%2fb", "a/b"),
        (b"A%2FB%5cC%5Cd", "A/B\\C\\d"),
        (b"100%25", "100%"),
        (b"%252f", "%2f"),
        (b"50%41 %20 %zz %2 %", "50%41 %20 %zz %2 %"),
    ],
)
def test_what_vsphere_escapes_in_a_name_is_undone_once_and_nothing_else(w: VMWorld, told: bytes, name: str) -> None:
    host, console = w.vm(name=told)
    assert (console.name, console.title, console.info().name) == (name, name, told.decode())
    assert w.directory.names.find(name) is console
    # To tell it again is no change, and after a restart it is the same.
    host.feed(sub(NAME, told))
    assert len(w.trail(console, "name")) == 1
    again = w.restarted()
    assert (again.console.name, again.console.info().name) == (name, told.decode())
    again.stop()
