"""A second connection that claims a console: replaced, refused, or only from the same network; and again and again."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeViewer
from tests.support.outbound import Net, wish
from tests.support.vm import COMPLETE, IDENTIFY_TIMEOUT, MIGRATION_TIMEOUT, NAME, VMWorld, session, sub, world
from vmproxy.base.ratelimit import REPEAT_SECONDS, REPEATS_TOLD, RepeatSummary
from vmproxy.console.duplicates import REFUSE, REPLACE, SAME_NETWORK, DuplicatePolicy
from vmproxy.console.notices import LineDown, LineUp

SEQUENCE = b"\x01\x02\x03\x04"


def test_under_refuse_the_first_one_stays(w: VMWorld, logged: list[str]) -> None:
    w.directory.use_duplicates(DuplicatePolicy(REFUSE))
    first, console = w.vm(address="10.0.0.1")
    second = w.connect("10.0.0.2").feed(session(name=b"mine") + b"not heard")
    assert second.closed
    first.feed(b"heard")
    assert (console.link, console.name, w.logged(console)) == (first.protocol, "web", b"heard")
    (event,) = w.trail(console, "refused")
    assert (event["host"], event["by"]) == ("10.0.0.1", "10.0.0.2")
    assert logged[-1] == "10.0.0.2: closed: web: it is connected from 10.0.0.1 already"
    assert w.front.counters["refused second connections"] == 1
    assert w.trail(console, "replaced") == []


def test_under_refuse_the_reason_is_told_when_a_name_was_awaited_in_vain(logged: list[str]) -> None:
    nameless = session().replace(sub(NAME, b"web"), b"")
    with world(needs_name=True) as w:
        w.directory.use_duplicates(DuplicatePolicy(REFUSE))
        w.vm()
        second = w.connect("10.0.0.2").feed(nameless)
        w.clock.advance(IDENTIFY_TIMEOUT)
        assert second.closed
        assert logged[-1] == "10.0.0.2: closed: web: it is connected from 10.0.0.1 already"
        w.connect("10.0.0.2").feed(nameless).lose()
        assert w.front.counters["refused second connections"] == 2


def test_under_refuse_one_whose_destination_was_looked_up_is_closed_at_once(w: VMWorld) -> None:
    w.directory.use_duplicates(DuplicatePolicy(REFUSE))
    net = Net(w)
    net.hosts["far.example.com"] = ["10.1.2.3"]
    first, second = (w.connect(host).feed(wish(b"tcp://far.example.com:4000")) for host in ("10.0.0.1", "10.0.0.2"))
    assert (first.closed, second.closed) == (False, True)
    assert w.front.counters["refused second connections"] == 1


def test_under_refuse_a_host_that_lost_power_comes_back_when_keepalive_has_found_that_out(w: VMWorld) -> None:
    w.directory.use_duplicates(DuplicatePolicy(REFUSE))
    first, console = w.vm(address="10.0.0.1")
    assert w.connect("10.0.0.1").feed(session()).closed
    first.die()  # what keepalive makes of it
    again = w.connect("10.0.0.1").feed(session())
    assert console.link is again.protocol
    assert not again.closed


def test_under_refuse_a_vmotion_is_no_second_connection(w: VMWorld) -> None:
    w.directory.use_duplicates(DuplicatePolicy(REFUSE))
    source, console = w.vm(address="10.0.0.1")
    destination = w.destination(source.begin(SEQUENCE), "192.0.2.9")
    source.lose()
    assert w.connect("10.0.0.3").feed(session()).closed, "the destination is live, and carries the VM soon"
    destination.feed(sub(COMPLETE, SEQUENCE))
    assert console.link is destination.protocol
    assert w.trail(console, "vmotion-complete")


def test_under_refuse_ports_of_one_vm_and_consoles_that_are_down_are_no_second_connections(w: VMWorld) -> None:
    w.directory.use_duplicates(DuplicatePolicy(REFUSE))
    w.vm()[0].lose()
    assert not w.connect("10.0.0.9").feed(session()).closed
    assert not w.connect("10.0.0.9").feed(session(uri=b"vmproxy?port=2")).closed
    assert [c.state for c in w.directory] == ["up", "up"]


@pytest.mark.parametrize(
    ("there", "newcomer", "replaced"),
    [
        ("10.0.0.1", "10.0.0.200", True),
        ("10.0.0.1", "::ffff:10.0.0.7", True),
        ("10.0.0.1", "10.0.1.1", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.1", "2001:db8::1", False),
        ("10.0.0.1", "UNIXAddress(None)", False),
    ],
)
def test_only_a_host_of_the_same_network_may_replace(w: VMWorld, there: str, newcomer: str, replaced: bool) -> None:
    w.directory.use_duplicates(DuplicatePolicy(SAME_NETWORK, 24, 64))
    first, console = w.vm(address=there)
    second = w.connect(newcomer).feed(session())
    assert (first.closed, second.closed) == (replaced, not replaced)
    assert console.link is (second if replaced else first).protocol
    assert len(w.trail(console, "replaced")) == replaced
    assert len(w.trail(console, "refused")) == (not replaced)


def test_how_much_of_the_address_is_the_network_can_be_set() -> None:
    assert DuplicatePolicy(SAME_NETWORK, 16, 48).problem("10.0.0.1", "10.0.9.9") == ""
    assert DuplicatePolicy(SAME_NETWORK, 32, 128).problem("10.0.0.1", "10.0.0.2") != ""
    assert DuplicatePolicy(SAME_NETWORK, 32, 128).problem("2001:db8::1", "2001:db8::2") != ""
    assert DuplicatePolicy(SAME_NETWORK, 24, 48).problem("2001:db8::1", "2001:db8:0:9::2") == ""


# Again and again.


def test_a_vm_that_replaces_itself_without_end_is_told_a_bounded_number_of_times(w: VMWorld, logged: list[str]) -> None:
    _, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=False)
    for n in range(300):
        w.connect(f"10.0.0.{2 - n % 2}").feed(session())
    assert len(w.trail(console, "replaced")) == len(w.trail(console, "up")) - 1 == REPEATS_TOLD
    assert len(alice.told(LineUp)) == REPEATS_TOLD
    assert len(logged) <= 2 * REPEATS_TOLD + 2, "each with a line for up and one for replaced"
    w.clock.advance(REPEAT_SECONDS)
    (event,) = w.trail(console, "unsteady")
    assert event["times"] == 300 - REPEATS_TOLD
    assert w.trail(console)[-1]["event"] == "up", "how it is now"
    assert logged[-2:] == ["web: connected anew 290 more times within a minute", "web: up, from 10.0.0.1"]
    w.vm()
    assert len(w.trail(console, "replaced")) == REPEATS_TOLD + 1
    assert w.delayed() == []


def test_a_vm_that_comes_and_goes_without_end_is_told_a_bounded_number_of_times(w: VMWorld, logged: list[str]) -> None:
    host, console = w.vm()
    alice = FakeViewer()
    console.viewers.attach(alice, write=False)
    for _ in range(300):
        host.lose()
        host = w.connect().feed(session())
    host.lose()
    assert len(w.trail(console, "up", "down")) < 3 * REPEATS_TOLD
    assert len(logged) < 3 * REPEATS_TOLD
    assert console.state == "down", "what is asked for is told at any time"
    w.clock.advance(REPEAT_SECONDS)
    assert w.trail(console)[-1]["event"] == "down"
    assert alice.notices[-1] == LineDown(console.reason, console.since)
    (known,) = w.restarted().directory
    assert known.reason == console.reason


def test_one_that_is_refused_without_end_is_told_a_bounded_number_of_times(w: VMWorld) -> None:
    w.directory.use_duplicates(DuplicatePolicy(REFUSE))
    _, console = w.vm()
    for _ in range(100):
        assert w.connect("10.0.0.2").feed(session()).closed
    assert len(w.trail(console, "refused")) == REPEATS_TOLD
    w.clock.advance(REPEAT_SECONDS)
    (event,) = w.trail(console, "refused-often")
    assert event["times"] == 100 - REPEATS_TOLD
    w.clock.advance(1000)
    assert w.delayed() == []


def test_what_was_not_told_is_told_when_the_process_is_stopped(w: VMWorld) -> None:
    _, console = w.vm()
    for n in range(50):
        w.connect(f"10.0.0.{2 - n % 2}").feed(session())
    w.front.stop()
    w.directory.stop()
    assert [e["times"] for e in w.trail(console, "unsteady")] == [50 - REPEATS_TOLD]
    assert w.trail(console)[-1]["event"] == "down"


def test_consoles_that_are_steady_leave_nothing_to_remember(w: VMWorld) -> None:
    for n in range(1, 101):
        w.connect().feed(session(b"%032x" % n))
    assert len(w.directory) == 100
    assert w.delayed() == []
    seen: RepeatSummary[str] = RepeatSummary(w.clock, lambda key, times: None)
    for n in range(100):
        assert seen.again(f"console {n}")
    assert len(seen) == 100
    w.clock.advance(REPEAT_SECONDS)
    assert seen.again("another")
    assert len(seen) == 1


def test_a_vm_that_changes_its_name_all_the_time_does_not_fill_its_trail(w: VMWorld) -> None:
    host, console = w.vm(name=b"web")
    for n in range(1000):
        host.feed(sub(NAME, b"web-%d" % n))
    w.clock.advance(REPEAT_SECONDS)
    names = w.trail(console, "name")
    assert len(names) == 1 + REPEATS_TOLD + 1
    assert (names[-1]["name"], names[-1]["times"]) == ("web-999", 1000 - REPEATS_TOLD)
    assert console.name == "web-999"


@pytest.mark.parametrize(
    ("policy", "stranger"), [(REFUSE, "192.0.2.66"), (REFUSE, "10.0.0.1"), (SAME_NETWORK, "192.0.2.66")]
)
def test_a_vmotion_whose_source_is_gone_is_not_taken_over(w: VMWorld, policy: str, stranger: str) -> None:
    w.directory.use_duplicates(DuplicatePolicy(policy))
    source, console = w.vm(address="10.0.0.1")
    pair = source.begin(SEQUENCE)
    source.die()
    assert w.connect(stranger).feed(session()).closed
    assert w.trail(console, "refused")[-1]["host"] == "10.0.0.1"
    destination = w.destination(pair, "10.0.0.2").feed(sub(COMPLETE, SEQUENCE))
    assert console.link is destination.protocol


def test_a_vmotion_whose_source_is_gone_keeps_others_out_until_it_expires(w: VMWorld) -> None:
    w.directory.use_duplicates(DuplicatePolicy(REFUSE))
    source, console = w.vm(address="10.0.0.1")
    source.begin(SEQUENCE)
    source.die()
    w.clock.advance(MIGRATION_TIMEOUT + 1)
    again = w.connect("10.0.0.3").feed(session())
    assert console.link is again.protocol


def test_the_same_network_may_take_over_a_vmotion_and_so_may_anybody_under_replace(w: VMWorld) -> None:
    for policy, host in ((SAME_NETWORK, "10.0.0.77"), (REPLACE, "192.0.2.66")):
        w.directory.use_duplicates(DuplicatePolicy(policy))
        source, console = w.vm(address="10.0.0.1")
        source.begin(SEQUENCE)
        source.die()
        again = w.connect(host).feed(session())
        assert console.link is again.protocol
        again.lose()
