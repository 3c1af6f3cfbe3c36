"""The metrics: each series is there from the start, their number does not grow, and they name nobody."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from tests.support.fakes import FakeViewer
from tests.support.metrics import OPENMETRICS, PROMTOOL, Whole, families, series, value, whole
from tests.support.requirements import promtool
from vmproxy.access.selector import Selector
from vmproxy.base.metrics import Families, Histogram, counter, gauge, histogram
from vmproxy.base.tasks import spawn
from vmproxy.base.turns import Turns
from vmproxy.web.console_metrics import MOST, console_families
from vmproxy.web.metrics import Exposition, metric_of

__all__ = ["whole"]

BYTES = 64 * 1024
SERIES = 600


@pytest.fixture
def fleet(whole: Whole) -> Whole:
    """Thousands of VMs with telling names, of which some talk, and operators at some."""
    for number in range(16_000):
        console = whole.claim(number, f"secret-name-{number}")
        if number % 100 == 0:
            console.feed(b"secret output\r\n")
            console.viewers.attach(FakeViewer(f"secret-operator-{number}@10.9.9.9", front="web"), write=True)
            console.send(b"secret input\r")
    return whole


class _Collected(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


class TestTheText:
    @promtool
    @pytest.mark.parametrize("busy", [False, True])
    def test_promtool_has_nothing_to_say(self, whole: Whole, busy: bool) -> None:
        if busy:
            whole.claim(1).feed(b"x")
        command = [PROMTOOL, "check", "metrics"]
        done = subprocess.run(command, input=whole.scrape(), capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_both_formats_say_the_same(self, whole: Whole) -> None:
        console = whole.claim(1)
        console.feed(b"x" * 1000)
        whole.service.consoles.migrations.durations.observe(0.2)

        def ours(text: str) -> dict[Any, float]:
            return {key: found for key, found in series(text).items() if key[0].startswith("vmproxy_")}

        text, openmetrics = whole.scrape(), whole.scrape(OPENMETRICS)
        assert openmetrics.endswith("# EOF\n")
        assert openmetrics.count("# EOF") == 1
        assert ours(text) == ours(openmetrics)

    def test_a_histogram_adds_up(self) -> None:
        made = Histogram(0.1, 1)
        for seconds in (0.05, 0.5, 0.7, 20):
            made.observe(seconds)
        metric = metric_of(histogram("wait_seconds", "A wait.", made))
        assert [(sample.name, sample.labels, sample.value) for sample in metric.samples] == [
            ("vmproxy_wait_seconds_bucket", {"le": "0.1"}, 1),
            ("vmproxy_wait_seconds_bucket", {"le": "1.0"}, 3),
            ("vmproxy_wait_seconds_bucket", {"le": "+Inf"}, 4),
            ("vmproxy_wait_seconds_count", {}, 4),
            ("vmproxy_wait_seconds_sum", {}, pytest.approx(21.25)),
        ]

    @pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
    def test_hundreds_of_samples_are_written_as_the_library_does(self, accept: str) -> None:
        many = {(str(number), f'a "quoted" \\ \u00fc\n{number}'): number / 7 for number in range(450)}
        made_of = [
            gauge("heat", "How warm \\ it is.", many, "number", "name"),
            counter("clicks", "Clicks.", many, "b", "a"),
        ]
        made = Exposition(lambda consoles: iter(made_of), Turns(Clock()), lambda call: succeed([]))
        texts: list[Any] = []
        spawn(made.text(accept, True)).addCallback(texts.append)
        registry = CollectorRegistry()
        for family in made_of:
            registry.register(_Collected(metric_of(family)))
        encode, _ = choose_encoder(accept)
        assert texts[0][0] == encode(registry)

    def test_families_of_one_name_are_one(self) -> None:
        def read(consoles: bool) -> Families:
            yield gauge("operators", "Logins.", {"ssh": 1}, "front")
            yield None
            yield gauge("operators", "Logins.", {"web": 2}, "front")

        made = Exposition(read, Turns(Clock()), lambda call: succeed([]))
        texts: list[Any] = []
        spawn(made.text("", True)).addCallback(texts.append)
        assert texts[0][0] == (
            b"# HELP vmproxy_operators Logins.\n# TYPE vmproxy_operators gauge\n"
            b'vmproxy_operators{front="ssh"} 1.0\nvmproxy_operators{front="web"} 2.0\n'
        )


class TestSeries:
    def test_their_number_does_not_grow_with_the_fleet_and_they_name_nobody(self, fleet: Whole, tmp_path: Path) -> None:
        text = fleet.scrape()
        assert value(text, "vmproxy_consoles", state="up") == 16_000
        assert value(text, "vmproxy_vm_received_bytes_total") == 160 * len("secret output\r\n")
        assert value(text, "vmproxy_viewers", front="web", mode="write") == 160
        assert len(series(text)) <= SERIES
        assert len(text) < BYTES
        for word in ("secret", "10.1.", "10.9.", "50000000-0000", str(tmp_path)):
            assert word not in text, "a metric names something"

    def test_all_of_them_are_there_from_the_start(self, whole: Whole) -> None:
        before = series(whole.scrape())
        console = whole.claim(1)
        console.feed(b"x")
        console.viewers.attach(FakeViewer(), write=True)
        console.send(b"y")
        whole.service.ssh.accounts.failed("password", "mallory", "10.6.6.6", "wrong")
        whole.service.ssh.accounts.failed("invented", "mallory", "10.6.6.6", "not offered")
        whole.service.vms.front.admission.refusals.add("per second", "10.6.6.6", "too many")
        whole.service.vms.front.complaints.add("invented", "10.6.6.6", "whatever")
        assert series(whole.scrape()).keys() == before.keys()

    def test_no_name_stands_for_two_families(self, whole: Whole) -> None:
        names = [line.split()[2] for line in whole.scrape(OPENMETRICS).splitlines() if line.startswith("# TYPE")]
        assert len(names) == len(set(names)) > 40

    def test_no_word_of_a_label_is_missing_where_it_can_be(self, whole: Whole) -> None:
        def labelled(name: str, label: str) -> set[str]:
            return {sample.labels[label] for sample in families(whole.scrape())[name].samples}

        assert labelled("vmproxy_consoles", "state") == {"up", "down", "migrating"}
        assert labelled("vmproxy_vm_connections", "tls") == {"yes", "no"}
        assert labelled("vmproxy_vmotions", "result") == {"completed", "aborted", "abandoned"}
        assert labelled("vmproxy_disk_free_bytes", "folder") == {"log", "state"}
        assert labelled("vmproxy_far_ends", "state") == {"dialling", "up", "down", "refused"}


class TestReload:
    def test_it_says_whether_the_last_one_went_well(self, whole: Whole) -> None:
        assert value(whole.scrape(), "vmproxy_config_last_reload_successful") == 1
        before = value(whole.scrape(), "vmproxy_config_last_reload_success_timestamp_seconds")
        whole.service.metrics.reloaded(False)
        after = whole.scrape()
        assert value(after, "vmproxy_config_last_reload_successful") == 0
        assert value(after, "vmproxy_config_last_reload_success_timestamp_seconds") == before > 0


class Ticking(Clock):
    """A clock on which each look takes time."""

    def seconds(self) -> float:
        self.rightNow += 0.0005
        return self.rightNow


class TestTurns:
    def read(self, consoles: bool) -> Families:
        self.begun += 1
        for number in range(200):
            yield gauge(f"g{number}", "One.", number)

    def made(self, clock: Clock) -> Exposition:
        self.begun = 0
        return Exposition(self.read, Turns(clock), lambda call: succeed(list[Metric]()))

    def test_a_scrape_lets_others_have_their_turns(self) -> None:
        clock = Ticking()
        done: list[object] = []
        spawn(self.made(clock).text("", True)).addCallback(done.append)
        turns: list[int] = []

        def somebody_else() -> None:
            turns.append(len(done))
            if not done:
                clock.callLater(0, somebody_else)

        somebody_else()
        while not done:
            clock.advance(0)
        assert len(turns) > 5

    def test_who_asks_meanwhile_gets_the_same_and_nothing_more_is_looked_at(self) -> None:
        clock = Ticking()
        made = self.made(clock)
        waiting: list[Deferred[tuple[bytes, str]]] = [spawn(made.text("text/plain", True)) for _ in range(50)]
        done: list[tuple[bytes, str]] = []
        for deferred in waiting:
            deferred.addCallback(done.append)
        while len(done) < 50:
            clock.advance(0)
        assert (self.begun, len(set(done))) == (1, 1)
        spawn(made.text("text/plain", True)).addCallback(done.append)
        while len(done) < 51:
            clock.advance(0)
        assert self.begun == 2

    def test_who_asked_first_may_go_away(self) -> None:
        clock = Ticking()
        made = self.made(clock)
        first: Deferred[tuple[bytes, str]] = spawn(made.text("text/plain", True))
        done: list[object] = []
        spawn(made.text("text/plain", True)).addBoth(done.append)
        first.addErrback(lambda failure: None)
        first.cancel()
        while not done:
            clock.advance(0)
        assert isinstance(done[0], tuple)
        assert self.begun == 1

    @pytest.mark.parametrize(
        "accept",
        ["text/plain;version=x", "application/openmetrics-text;version=1.x", "text/plain;version=" + "1" * 9999],
    )
    def test_a_version_that_is_none_is_answered_as_if_it_were_not_said(self, accept: str) -> None:
        clock = Ticking()
        done: list[object] = []
        spawn(self.made(clock).text(accept, True)).addBoth(done.append)
        while not done:
            clock.advance(0)
        assert isinstance(done[0], tuple)
        assert done[0][1].startswith("text/plain; version=0.0.4")

    def test_what_fails_fails_for_all_who_asked_and_not_for_the_next(self) -> None:
        clock = Ticking()

        def fails(consoles: bool) -> Iterator[None]:
            for _ in range(10):
                yield None
            raise OSError("a fault")

        made = Exposition(fails, Turns(clock), lambda call: succeed(list[Metric]()))
        failed: list[object] = []
        for _ in range(3):
            spawn(made.text("", True)).addErrback(failed.append)
        while len(failed) < 3:
            clock.advance(0)
        made._read = lambda consoles: iter((gauge("g", "One.", 1),))
        done: list[tuple[bytes, str]] = []
        spawn(made.text("", True)).addCallback(done.append)
        while not done:
            clock.advance(0)
        assert b"vmproxy_g 1.0" in done[0][0]


class TestSingleConsoles:
    def test_those_that_are_chosen_have_their_own_up_to_a_bound(self, whole: Whole) -> None:
        for number in range(MOST + 100):
            whole.claim(number, f"{'db' if number % 2 else 'web'}{number}").feed(b"x" * number)
        registry = whole.service.consoles.registry
        found = [family for family in console_families(registry, (Selector("db*"),)) if family]
        assert [len(family.values) for family in found] == [(MOST + 100) // 2] * 5
        every = [family for family in console_families(registry, (Selector("*"),)) if family]
        assert [len(family.values) for family in every] == [MOST] * 5
        uuid = "50000000-0000-0000-0000-000000000007"
        (received,) = (family for family in found if family.name == "console_received_bytes")
        assert received.values[uuid, "1", "db7"] == 7

    def test_without_a_choice_there_are_none(self, whole: Whole) -> None:
        whole.claim(1)
        assert list(console_families(whole.service.consoles.registry, ())) == []
