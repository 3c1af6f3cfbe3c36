"""Delivery: what programs and webhooks are told, how many at once, and what is done about those that fail."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.support.fakes import EPOCH, VM_A, Logged
from vmproxy.alerts.alert import Alert
from vmproxy.alerts.watch import Severity
from vmproxy.alerts.watch_file import parse_watches
from vmproxy.base.troubles import Kind, Trouble, Troubles
from vmproxy.hooks.delivery import PROGRAMS, REQUESTS, WAITING, Delivery, environment

(BOTH,) = parse_watches(
    b'[[watch]]\nname = "w"\nmatch = "x"\nrun = ["/bin/page", "-x"]\nwebhook = "https://secret.example/k"', ""
)
ALERT = Alert(7, EPOCH, "w", Severity.CRITICAL, VM_A, "1", "web01", "10.0.0.1", "Kernel panic", 99, 3)


class FakeDelivery(Delivery):
    """A delivery whose programs and requests end when the test says so."""

    def __init__(self) -> None:
        self.troubles: list[Trouble] = []
        troubles = Troubles()
        troubles.take(self.troubles.append)
        super().__init__(Clock(), None, troubles, "vmproxy")  # type: ignore[arg-type]  # no delivery is made
        self.ran: list[tuple[Any, Deferred[str]]] = []
        self.sent: list[tuple[Any, Deferred[str]]] = []

    def _run(self, *args: Any) -> Deferred[str]:
        self.ran.append((args, Deferred()))
        return self.ran[-1][1]

    def _sent(self, *args: Any) -> Deferred[str]:
        self.sent.append((args, Deferred()))
        return self.sent[-1][1]


def test_both_are_told_the_same() -> None:
    delivery = FakeDelivery()
    delivery.tell(BOTH, ALERT, ["before"], ["after"])
    ((_, env, data), _), ((_, body), _) = delivery.ran[0], delivery.sent[0]
    assert data == body
    assert json.loads(data) == {
        "alert": 7,
        "at": "2023-11-14T22:13:20.000Z",
        "watch": "w",
        "severity": "critical",
        "console": "web01",
        "uuid": str(VM_A),
        "port": "1",
        "host": "10.0.0.1",
        "line": "Kernel panic",
        "repeated": 3,
        "server": socket.gethostname(),
        "before": ["before"],
        "after": ["after"],
    }
    own = {name: value for name, value in env.items() if name.startswith("VMPROXY_")}
    assert own == {
        "VMPROXY_ALERT": "7",
        "VMPROXY_AT": "2023-11-14T22:13:20.000Z",
        "VMPROXY_WATCH": "w",
        "VMPROXY_SEVERITY": "critical",
        "VMPROXY_CONSOLE": "web01",
        "VMPROXY_UUID": str(VM_A),
        "VMPROXY_PORT": "1",
        "VMPROXY_HOST": "10.0.0.1",
        "VMPROXY_LINE": "Kernel panic",
        "VMPROXY_REPEATED": "3",
        "VMPROXY_SERVER": socket.gethostname(),
    }


def test_an_alert_about_vmproxy_itself_names_no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("SECRET", "x")
    env = environment(Alert(1, EPOCH, "w", Severity.INFO, None, "", "", "", "text"))
    assert env["VMPROXY_CONSOLE"] == env["VMPROXY_UUID"] == ""
    assert env["HOME"] == "/nowhere"
    assert "SECRET" not in env


def test_a_few_run_at_once_some_wait_and_the_rest_is_counted() -> None:
    delivery = FakeDelivery()
    for _ in range(1000):
        delivery.tell(BOTH, ALERT)
    assert (len(delivery.ran), len(delivery.sent)) == (PROGRAMS, REQUESTS)
    assert delivery.failed == 2000 - PROGRAMS - REQUESTS - 2 * WAITING
    assert {trouble.kind for trouble in delivery.troubles} == {Kind.HOOK}
    assert "were too many at once" in delivery.troubles[0].text
    delivery.ran[0][1].callback("")
    assert (len(delivery.ran), delivery.delivered) == (PROGRAMS + 1, 1)


def test_one_that_hangs_takes_nothing_from_the_others() -> None:
    delivery = FakeDelivery()
    (other,) = parse_watches(b'[[watch]]\nname = "o"\nmatch = "x"\nwebhook = "https://other.example/"', "")
    for _ in range(1000):
        delivery.tell(BOTH, ALERT)
    failed = delivery.failed
    for _ in range(3):
        delivery.tell(other, ALERT)
    assert delivery.failed == failed + 3
    assert all("watch w: " in trouble.text for trouble in delivery.troubles)
    for number in range(6):
        delivery.sent[number][1].callback("no answer")
    assert [args[0].name for args, _ in delivery.sent[REQUESTS:]] == ["w", "o", "w", "o", "w", "o"]


def test_what_fails_is_trouble_and_tells_no_secret() -> None:
    delivery = FakeDelivery()
    for _ in range(3):
        delivery.tell(BOTH, ALERT)
    delivery.ran[0][1].callback("status 3: \x1b[2J")
    delivery.sent[0][1].callback("secret.example: no answer")
    with Logged() as logged:
        delivery.ran[1][1].errback(ValueError("oops"))
    assert "watch w: its program: see the log of vmproxy" in logged
    assert [trouble.text for trouble in delivery.troubles] == [
        "watch w: its program: status 3: \\x1b[2J",
        "watch w: its webhook: secret.example: no answer",
        "watch w: its program: see the log of vmproxy",
    ]
    assert len(logged.tracebacks) == 1
    assert delivery.failed == 3


def test_after_the_stop_nothing_is_delivered() -> None:
    delivery = FakeDelivery()
    for _ in range(20):
        delivery.tell(BOTH, ALERT)
    delivery.stop()
    delivery.ran[0][1].callback("signal 9")
    delivery.tell(BOTH, ALERT)
    assert (len(delivery.ran), delivery.troubles) == (PROGRAMS, [])
