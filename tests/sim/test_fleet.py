"""Many VMs, the command's options, and what the simulator may import."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

import pytest

import vmproxy.sim
from tests.support.sim import Net, ext
from vmproxy.cli import simulate
from vmproxy.sim.counters import Durations, FleetCounters, Outcome
from vmproxy.sim.fleet import Fleet, Plan, identity
from vmproxy.wire.vmware import Sub


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return parser.parse_args(words)


def test_identities_are_stable_and_distinct() -> None:
    assert identity("a", 1) == identity("a", 1)
    many = [identity("a", index) for index in range(500)]
    assert len({who.vc_uuid for who in many}) == 500
    assert [who.name for who in many[:4]] == ["web01", "db01", "mail01", "build01"]
    assert many[8].name == "web02"
    assert many[42].name == "vm-00042"
    assert len({who.name for who in many}) == 500
    assert identity("b", 1).vc_uuid != identity("a", 1).vc_uuid
    assert identity("a", 1, "x/y").name == "x/y"


def test_connections_are_opened_at_the_rate() -> None:
    net = Net()
    fleet = Fleet(Plan(vms=30, connect_rate=10, boot_speed=0), net, net.clock)
    fleet.start()
    net.pump()
    assert len(net.links) == 1
    for _ in range(10):
        net.pump(0.1)
    assert 10 <= len(net.links) <= 12
    for _ in range(20):
        net.pump(0.1)
    assert fleet.counters.up == 30
    fleet.stop()
    net.pump()
    assert net.clock.getDelayedCalls() == []


def test_ports_of_one_machine_share_its_uuid_and_migrate_together() -> None:
    net = Net()
    fleet = Fleet(Plan(vms=1, ports=2, service="vmproxy?x=1", boot_speed=0, names=("router",)), net, net.clock)
    fleet.start()
    net.pump(1)
    assert [link.last(Sub.DO_PROXY) for link in net.links] == [b"Svmproxy?x=1", b"Svmproxy?x=1&port=2"]
    assert len({link.last(Sub.VM_VC_UUID) for link in net.links}) == 1
    assert net.links[0].last(Sub.VM_NAME) == b"router"
    net.links[0].tell(b"root\rvmotion\r")
    net.pump()
    assert [link.gone for link in net.links] == [True, True, False, False]
    assert fleet.counters.outcomes[Outcome.DONE] == 2
    fleet.stop()


@pytest.mark.parametrize(
    ("form", "uris"),
    [
        ("word", [b"w"] * 4),
        ("url", [b"telnet://w"] * 4),
        ("mixed", [b"w", b"telnet://w", b"telnet://w:13370", b"w:13370"]),
    ],
)
def test_the_word_comes_as_hosts_send_it(form: str, uris: list[bytes]) -> None:
    net = Net()
    fleet = Fleet(Plan(vms=4, ports=2, service="w?x=1", uri_form=form, boot_speed=0), net, net.clock)
    fleet.start()
    net.pump(1)
    assert [link.last(Sub.DO_PROXY) for link in net.links] == [
        b"S" + uri + query for uri in uris for query in (b"?x=1", b"?x=1&port=2")
    ]
    fleet.stop()


def test_copies_have_the_vc_uuid_of_their_originals_and_nothing_else_and_ports_may_be_alike() -> None:
    net = Net()
    fleet = Fleet(Plan(vms=2, copies=1, ports=2, alike=True, boot_speed=0), net, net.clock)
    fleet.start()
    net.pump(1)
    assert [link.last(Sub.VM_NAME) for link in net.links[::2]] == [b"web01", b"db01", b"web01-copy"]
    assert len({link.last(Sub.VM_VC_UUID) for link in net.links}) == 2
    assert len({vm.identity.bios_uuid for vm in fleet.vms}) == 3
    assert net.links[4].last(Sub.VM_VC_UUID) == net.links[0].last(Sub.VM_VC_UUID)
    assert {link.last(Sub.DO_PROXY) for link in net.links} == {b"Svmproxy"}
    fleet.stop()


def test_migrations_at_a_rate_and_sooner_after_notnow() -> None:
    net = Net()
    fleet = Fleet(Plan(vms=4, vmotion_every=10, boot_speed=0), net, net.clock)
    fleet.start()
    for _ in range(1000):
        net.pump(0.1)
    assert 30 <= fleet.counters.outcomes[Outcome.DONE] <= 50
    assert fleet.counters.up == 4
    assert sum(not link.gone for link in net.links) == 4
    net.answers[Sub.VMOTION_BEGIN] = lambda link, sequence: link.tell(ext(Sub.VMOTION_NOTNOW, sequence))
    for _ in range(500):
        net.pump(0.1)
    assert fleet.counters.outcomes[Outcome.NOT_NOW] >= 20
    fleet.stop()


def test_migrating_all_on_request() -> None:
    net = Net()
    fleet = Fleet(Plan(vms=3, boot_speed=0), net, net.clock)
    fleet.start()
    net.pump(1)
    results: list[list[Outcome]] = []
    fleet.migrate_all().addCallback(results.append)
    net.pump()
    assert results == [[Outcome.DONE] * 3]
    assert "3/3 connected | migrations: 3 done | goahead p50" in fleet.summary()
    fleet.stop()


def test_a_summary_says_what_is_wrong() -> None:
    counters = FleetCounters(lost=1, strays=2, last_error="no such luck")
    assert counters.summary(5) == (
        "0/5 connected | 1 lost, 0 unreached | migrations: none | out 0 in 0 bytes | 2 stray, 0 overrun bytes | "
        "last error: no such luck"
    )


def test_durations() -> None:
    durations = Durations()
    assert durations.percentile(0.5) == 0
    for n in range(100):
        durations.add(n / 1000)
    assert str(durations) == "p50 50.0 p99 99.0 max 99.0 ms"


def test_options_become_a_plan() -> None:
    plan = simulate.plan(arguments("-n", "3", "--names", "a,b", "--abort-share", "0.1", "--ports-per-vm", "2"))
    assert (plan.vms, plan.names, plan.ports, plan.settings.abort_share) == (3, ("a", "b"), 2, 0.1)
    assert simulate.plan(arguments()) == Plan()
    plan = simulate.plan(
        arguments("--copies", "1", "--ports-alike", "--uri-form", "mixed", "--switchover", "100", "-n", "1")
    )
    assert (plan.copies, plan.alike, plan.uri_form, plan.settings.switchover) == (1, True, "mixed", 100)
    assert (simulate.plan(arguments()).settings.direction, simulate.plan(arguments("--dial")).settings.direction) == (
        "S",
        "C",
    )


@pytest.mark.parametrize(
    "words",
    [("-n", "0"), ("--abort-share", "2"), ("--connect-rate", "0"), ("--duration", "-1"), ("--report", "nan")],
)
def test_options_that_make_no_sense(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        arguments(*words)


def test_the_simulator_imports_the_wire_and_nothing_else_of_ours() -> None:
    allowed = ("vmproxy.sim", "vmproxy.wire", "vmproxy.errors")
    for file in Path(vmproxy.sim.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert all(name.startswith(allowed) for name in names if name.startswith("vmproxy")), file
        assert "import reactor" not in file.read_text()
