"""VMs that have no VC UUID: the BIOS UUID is the identity, then the location UUID, and no two VMs are mixed."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.consoles import World, trail
from tests.support.fakes import VM_A, VM_B
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
    UNKNOWN_1,
    VC_UUID,
    Host,
    VMWorld,
    sub,
)
from vmproxy.operators.presentation import console_fields, describe, shown
from vmproxy.operators.visible import VisibleConsoles
from vmproxy.wire.vmware import format_uuid

BIOS_1, BIOS_2, PLACE_1, PLACE_2 = (UUID(int=0x564D << 112 | n) for n in (1, 2, 3, 4))
ASKED = bytes(code for code in CAPTURED_LIST if code not in (80, 81))
NO_VC = {
    "not listed": sub(KNOWN_1, ASKED),
    "unknown": sub(KNOWN_1, CAPTURED_LIST) + sub(UNKNOWN_1, bytes([81])),
    "empty": sub(KNOWN_1, CAPTURED_LIST) + sub(VC_UUID, b""),
    "zeros": sub(KNOWN_1, CAPTURED_LIST) + sub(VC_UUID, format_uuid(UUID(int=0))),
    "nonsense": sub(KNOWN_1, CAPTURED_LIST) + sub(VC_UUID, b"none"),
}


def said(bios: UUID | None, place: UUID | None, name: bytes = b"old", uri: bytes = b"vmproxy") -> bytes:
    """What a VM says that has no VC UUID."""
    return (
        NEGOTIATION
        + NO_VC["not listed"]
        + sub(DO_PROXY, b"S" + uri)
        + sub(NAME, name)
        + (sub(BIOS, format_uuid(bios)) if bios is not None else b"")
        + (sub(LOCATION, format_uuid(place)) if place is not None else b"")
    )


def arrive(
    w: VMWorld,
    bios: UUID | None = BIOS_1,
    place: UUID | None = PLACE_1,
    name: bytes = b"old",
    uri: bytes = b"vmproxy",
) -> Host:
    host = w.connect().feed(said(bios, place, name, uri))
    w.clock.advance(2)
    w.turn()
    return host


@pytest.fixture
def w(tmp_path: Path) -> World:
    return VMWorld(tmp_path)


@pytest.mark.parametrize("form", NO_VC.values(), ids=NO_VC)
def test_the_bios_uuid_is_the_identity_once_a_better_one_has_had_time(w: VMWorld, form: bytes) -> None:
    host = w.connect()
    host.feed(NEGOTIATION + form + sub(DO_PROXY, b"Svmproxy") + sub(NAME, b"old") + sub(BIOS, format_uuid(BIOS_1)))
    host.feed(b"early ")
    assert list(w.directory) == []
    w.clock.advance(2)
    console = w.console
    host.feed(b"late")
    w.store.flush()
    assert (console.uuid, console.known_by, console.vc_uuid) == (BIOS_1, "BIOS UUID", None)
    assert (console.name, console.bios_uuid) == ("old", BIOS_1)
    assert console.log.path.read_bytes() == b"early late"
    (event,) = trail(console.log, "known-by")
    assert (event["uuid"], event["what"]) == (str(BIOS_1), "BIOS UUID")
    view = VisibleConsoles(w.directory, lambda: w.directory.policy.grants("alice"))
    text = "\n".join(describe(console, view, 0))
    assert f"BIOS UUID: {BIOS_1}  port 1  (known by it: its VM has told no VC UUID)" in text
    assert console_fields(shown(console, view))["uuid_is"] == "BIOS UUID"
    assert w.directory.names.find(str(BIOS_1)) is console


def test_failing_that_the_location_uuid(w: VMWorld) -> None:
    arrive(w, bios=None)
    assert (w.console.uuid, w.console.known_by) == (PLACE_1, "location UUID")


def test_without_any_of_them_it_is_given_up_as_before(w: VMWorld) -> None:
    host = arrive(w, bios=None, place=None)
    w.clock.advance(IDENTIFY_TIMEOUT)
    assert list(w.directory) == []
    assert host.closed


def test_a_host_that_does_not_answer_at_all_has_until_the_deadline(w: VMWorld) -> None:
    host = w.connect()
    host.feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy") + sub(BIOS, format_uuid(BIOS_1)))
    w.clock.advance(IDENTIFY_TIMEOUT - 1)
    assert list(w.directory) == []
    w.clock.advance(1)
    assert w.console.known_by == "BIOS UUID"
    assert not host.closed


def test_the_better_one_in_time_is_taken(w: VMWorld) -> None:
    host = w.connect()
    host.feed(said(BIOS_1, PLACE_1))
    w.clock.advance(1)
    host.feed(sub(VC_UUID, format_uuid(VM_A)))
    assert (w.console.uuid, w.console.known_by, w.console.bios_uuid) == (VM_A, "", BIOS_1)
    w.clock.advance(IDENTIFY_TIMEOUT)
    assert len(list(w.directory)) == 1


def test_the_better_one_too_late_changes_nothing_on_this_connection(w: VMWorld) -> None:
    host = arrive(w)
    host.feed(sub(VC_UUID, format_uuid(VM_A)) + b"goes on")
    assert w.console.uuid == BIOS_1
    assert not host.closed
    w.store.flush()
    assert w.console.log.path.read_bytes() == b"goes on"


def test_the_usual_arrival_has_no_timer_of_it(w: VMWorld) -> None:
    host = w.connect()
    host.feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, format_uuid(VM_A)))
    assert w.console.known_by == ""
    assert len(w.front.undecided) == 0


class TestApart:
    """Two VMs with one BIOS UUID."""

    def test_by_their_service_uris(self, w: VMWorld) -> None:
        for label in (b"a", b"b"):
            host = arrive(w, uri=b"vmproxy?port=" + label, name=b"vm-" + label, place=PLACE_1)
            host.feed(label)
        w.store.flush()
        logs = {console.port: console.log.path.read_bytes() for console in w.directory}
        assert logs == {"a": b"a", "b": b"b"}

    def test_by_their_service_uris_without_labels_also_while_one_is_down(self, w: VMWorld) -> None:
        first = arrive(w, uri=b"vmproxy")
        first.lose()
        second = arrive(w, uri=b"vSPC.py", name=b"copy", place=PLACE_2)
        second.feed(b"mine")
        w.store.flush()
        assert {c.name: c.log.path.read_bytes() for c in w.directory if c.log.path.exists()} == {"copy": b"mine"}
        assert {(c.name, c.uri) for c in w.directory} == {("old", "vmproxy"), ("copy", "vSPC.py")}

    @pytest.mark.parametrize("down", [False, True])
    @pytest.mark.parametrize("place", [PLACE_2, None])
    def test_or_the_second_is_refused_and_the_event_names_the_remedy(
        self, w: VMWorld, logged: list[str], down: bool, place: UUID | None
    ) -> None:
        first = arrive(w)
        console = w.console
        if down:
            first.lose()
        second = arrive(w, name=b"copy", place=place)
        second.feed(b"never mixed")
        w.clock.advance(1)
        assert second.closed
        assert list(w.directory) == [console]
        assert console.name == "old"
        w.store.flush()
        assert not console.log.path.exists()
        (event,) = trail(console.log, "refused")
        assert "copy" not in json.dumps(event)  # its readers may not know of the other one
        assert any("copy has the BIOS UUID of" in line for line in logged)
        assert "another VM has this BIOS UUID" in event["reason"]
        assert "forget" in event["reason"]
        if not down:
            first.feed(b"mine")
            w.store.flush()
            assert console.log.path.read_bytes() == b"mine"

    def test_the_same_vm_comes_back_also_under_another_name(self, w: VMWorld) -> None:
        for n, name in enumerate((b"old", b"old", b"renamed")):
            host = arrive(w, name=name)
            assert w.console.name == name.decode()
            assert not host.closed
            if n:
                host.lose()

    def test_they_are_apart_after_a_restart_too(self, w: VMWorld) -> None:
        arrive(w)
        again = w.restarted()
        assert (again.console.known_by, again.console.location_uuid) == ("BIOS UUID", PLACE_1)
        assert arrive(again, name=b"old", place=PLACE_2).closed
        assert not arrive(again, name=b"renamed").closed
        assert again.console.name == "renamed"

    def test_a_vm_whose_vc_uuid_is_the_bios_uuid_of_another_one(self, w: VMWorld) -> None:
        host = w.connect()
        host.feed(
            NEGOTIATION
            + sub(KNOWN_1, CAPTURED_LIST)
            + sub(DO_PROXY, b"Svmproxy")
            + sub(VC_UUID, format_uuid(BIOS_1))
            + sub(NAME, b"first")
        )
        assert arrive(w, name=b"second").closed
        assert w.console.name == "first"


def test_it_migrates_like_any_other(w: VMWorld) -> None:
    source = arrive(w)
    destination = w.destination(source.begin(b"1234"))
    destination.feed(sub(BIOS, format_uuid(BIOS_1)))
    source.lose()
    destination.feed(sub(COMPLETE, b"1234") + b"there")
    w.store.flush()
    assert w.console.log.path.read_bytes() == b"there"
    assert w.console.known_by == "BIOS UUID"


def test_a_journal_without_these_fields_is_read(tmp_path: Path) -> None:
    w = World(tmp_path)
    w.claim("web01", VM_B)
    w.store.flush()
    assert b"known_by" not in w.journal.path.read_bytes()
    assert w.restarted().console.known_by == ""
