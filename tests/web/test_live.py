"""Live: pages are told what changes of what they watch, what they may see of it, and no more often than needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.ssh import SSHWorld
from tests.support.websocket import Client as Browser
from vmproxy.auth.accounts_file import Account
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.console.console import Console
from vmproxy.operators.client import Client
from vmproxy.operators.presentation import Fields
from vmproxy.web.console_id import console_id
from vmproxy.web.live import LivePage, LivePages
from vmproxy.web.websocket import WebSockets

A, B = str(VM_A), str(VM_B)


class Site:
    def __init__(self, world: SSHWorld) -> None:
        self.world = world
        self.sockets = WebSockets(world.clock, world.services.turns)
        self.pages = LivePages(world.services)
        self.made = 0

    async def rows(self, client: Client, consoles: Sequence[Console]) -> list[Fields]:
        self.made += len(consoles)
        return [{"id": console_id(one), "state": one.state, "bytes": one.bytes_out} for one in consoles]

    def page(self, user: str = "alice") -> Browser:
        self.world.store.flush()  # what VMs have said before
        operator = self.world.services.operator(Account(user), user, "10.1.2.9")
        return Browser(LivePage(operator, self.pages, self.rows), self.sockets)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.world.clock.advance(0.5)
            for _ in range(20):
                self.world.clock.advance(0)


@pytest.fixture
def site(w: SSHWorld) -> Site:
    w.vm()
    w.vm("db01", VM_B)
    return Site(w)


def told(page: Browser, kind: str) -> list[Any]:
    return [message for message in page.take() if isinstance(message, dict) and message["type"] == kind]


def test_a_page_gets_the_rows_that_it_watches_and_then_what_changes(site: Site) -> None:
    page = site.page()
    page.say(type="watch", ids=[A, B, "nonsense"])
    assert [row["id"] for row in told(page, "rows")[0]["rows"]] == [A, B]
    site.look(5)
    assert told(page, "rows") == []
    site.world.console().feed(b"x")
    site.world.console().feed(b"y")
    site.look(3)
    assert told(page, "rows") == [{"type": "rows", "rows": [{"id": A, "state": "up", "bytes": 2}]}]
    page.say(type="watch", ids=[B])
    site.world.console().feed(b"z")
    site.look()
    assert told(page, "rows") == []


def test_output_is_told_when_the_log_has_it(site: Site) -> None:
    page = site.page()
    page.say(type="watch", ids=[A])
    told(page, "rows")
    site.world.runner.held = True
    site.world.console().feed(b"x")
    site.look(3)
    assert told(page, "rows") == [], "its last line would be the one before"
    site.world.runner.release()
    site.look(2)
    assert len(told(page, "rows")) == 1


def test_viewers_and_states_are_changes_too(site: Site) -> None:
    page = site.page()
    page.say(type="watch", ids=[A])
    page.take()
    site.world.console().viewers.attach(FakeViewer(), write=True)
    site.look()
    assert len(told(page, "rows")) == 1
    site.world.lose(site.world.console())
    site.look()
    assert told(page, "rows")[0]["rows"][0]["state"] == "down"


def test_a_console_is_looked_at_once_however_many_watch_it(site: Site) -> None:
    pages = [site.page() for _ in range(30)]
    for page in pages:
        page.say(type="watch", ids=[A])
    assert len(site.pages._watched) == 1
    timers = [str(call) for call in site.world.clock.getDelayedCalls()]
    assert sum("LivePages._due" in timer for timer in timers) == 1, timers
    assert sum("Rounds._go_on" in timer for timer in timers) == 1, timers
    site.made = 0
    site.look(3)
    assert site.made == 0


def test_how_many_there_are_is_told_when_it_changes(site: Site) -> None:
    page = site.page()
    site.look(4)
    messages = [message for message in page.take() if isinstance(message, dict)]
    assert messages == [
        {"type": "counts", "counts": {"up": 2, "down": 0, "migrating": 0}, "total": 2},
        {"type": "alerts", "open": 0, "critical": 0, "warning": 0, "info": 0},
    ]
    site.look(10)
    assert page.take() == []
    site.world.console().set_alerts(AlertMarks(1, 2, 0))
    site.world.lose(site.world.console("db01"))
    site.look(4)
    messages = page.take()
    assert messages[0]["counts"] == {"up": 1, "down": 1, "migrating": 0}
    assert messages[1] == {"type": "alerts", "open": 3, "critical": 1, "warning": 2, "info": 0}


def test_what_may_not_be_seen_is_not_there(site: Site) -> None:
    site.world.rules(("alice", "write", "db*"))
    page = site.page()
    page.say(type="watch", ids=[A, B])
    assert [row["id"] for row in told(page, "rows")[0]["rows"]] == [B]
    site.world.console().feed(b"x")
    site.look(4)
    messages = page.take()
    assert {row["id"] for message in messages if message["type"] == "rows" for row in message["rows"]} <= {B}
    assert [message["total"] for message in messages if message["type"] == "counts"] == [1]


def test_what_is_hidden_later_is_gone(site: Site) -> None:
    page = site.page()
    page.say(type="watch", ids=[A, B])
    page.take()
    site.world.rules(("alice", "write", "db*"))
    site.look(4)
    (rows,) = told(page, "rows")
    assert rows["rows"][0] == {"id": A, "gone": True}
    assert [row["id"] for row in rows["rows"]] == [A, B]


def test_a_page_that_does_not_read_gets_the_newest_later(site: Site) -> None:
    page = site.page()
    page.say(type="watch", ids=[A])
    page.take()
    page.full()
    for _ in range(50):
        site.world.console().feed(b"x")
        site.look()
    assert page.socket.queued < 2000
    page.full(False)
    site.look(4)
    assert told(page, "rows")[-1]["rows"][0]["bytes"] == 50


@pytest.mark.parametrize(
    "message",
    [{"type": "watch"}, {"type": "watch", "ids": [1]}, {"type": "take"}, {"type": "watch", "ids": ["x"] * 201}],
)
def test_what_is_no_watch_ends_it(site: Site, message: dict[str, object]) -> None:
    page = site.page()
    page.say(**message)
    assert page.close is not None
    assert page.close[0] == 1008


def test_without_pages_nothing_ticks(site: Site) -> None:
    page = site.page()
    page.say(type="watch", ids=[A])
    page.socket.connectionLost(Failure(ConnectionLost()))
    site.look(3)
    assert site.world.clock.getDelayedCalls() == []
    assert not site.pages._watched


def test_thousands_are_looked_at_in_turns(site: Site) -> None:
    for number in range(1, 1500):
        site.world.vm(f"vm{number}", UUID(int=number))
    page = site.page()
    page.say(type="watch", ids=[str(UUID(int=number)) for number in range(1, 201)])
    site.look(4)
    for _ in range(200):
        site.world.clock.advance(0)
    messages = page.take()
    assert sum(len(message["rows"]) for message in messages if message["type"] == "rows") == 200
    assert [message["total"] for message in messages if message["type"] == "counts"] == [1501]
