"""Hidden consoles cost what absent ones cost: not only the words of an answer, its time tells nothing either.

Not time is measured, which anything on the machine changes, but work: the calls of functions. What is looked up alike
must be decided alike, so that the number of calls is the same but for a few.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from uuid import UUID

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

import vmproxy
from tests.support.fakes import VM_A
from tests.support.web import HANDSHAKE, WebWorld
from vmproxy.web.route import Route
from vmproxy.web.table import ROUTES

TOKEN: dict[WebWorld, str] = {}
PACKAGE = str(Path(vmproxy.__file__).parent)
FEW = 4  # calls: a console of that UUID is asked about its rights once
HIDDEN, ABSENT = UUID(int=0x5100 << 112), UUID(int=0x5200 << 112)
NAMES = {
    "name": ("secret01", "secret02"),
    "beginning of a name": ("secre", "socre"),
    "UUID": (str(HIDDEN), str(ABSENT)),
    "id with a port": (f"{HIDDEN}.1", f"{ABSENT}.1"),
}
BODIES = {"text": "x", "on": True, "pattern": "x", "timeout": 0}
OF_CONSOLES = [route for route in ROUTES if "{console}" in route.path and not route.upgrade]
LISTS = ("consoles?on=", "search?q=x&on=", "events?on=", "alerts?on=", "sessions?on=")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    web = WebWorld(tmp_path_factory.mktemp("hidden"))
    web.vm("web01", VM_A)
    web.vm("secret01", HIDDEN)
    for number in range(10):
        web.vm(f"other{number:02}", UUID(int=(0x6000 + number) << 112))
    web.rules(("alice", "admin", "web* other*"))
    TOKEN[web] = web.token()
    for _ in range(60):  # what the VMs and the new token have brought about is done
        web.get("/api/v1/whoami", token=TOKEN[web])
        web.tick(1)
    yield web
    del TOKEN[web]
    web.stop()


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The calls of the package's own functions meanwhile."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            calls[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def check(ask: Callable[[str], object], hidden: str, absent: str) -> None:
    """Compare the work of asking for a console that is hidden with that of asking for one that is not there."""
    ask(hidden), ask(absent)  # at first something may be made that stays
    for _ in range(3):
        with counted() as ours:
            one = ask(hidden)
        with counted() as theirs:
            other = ask(absent)
        assert one == other
        assert ours.total() > 20
        differences = (ours - theirs) + (theirs - ours)
        if differences.total() <= FEW:
            return
        # Files that were written a moment ago are read again now and then, whoever asks.
    raise AssertionError(differences)


@pytest.mark.parametrize("route", OF_CONSOLES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_about_a_hidden_console_does_what_it_does_about_none(world: WebWorld, route: Route) -> None:
    body = None if route.body is None else {name: BODIES[name] for name in route.body.schema.get("required", ())}
    rest = route.path.partition("{console}")[2].replace("{segment}", "0")

    def ask(name: str) -> object:
        got = world.ask(route.method, f"/api/v1/consoles/{name}{rest}", token=TOKEN[world], json_body=body)
        return got.status, got.headers, got.body

    for hidden, absent in NAMES.values():
        check(ask, hidden, absent)


@pytest.mark.parametrize("path", LISTS)
def test_a_list_that_names_a_hidden_console_does_what_it_does_for_none(world: WebWorld, path: str) -> None:
    def ask(name: str) -> object:
        got = world.get(f"/api/v1/{path}{name}", token=TOKEN[world])
        return got.status, got.headers, got.body

    for hidden, absent in NAMES.values():
        check(ask, hidden, absent)


@pytest.mark.parametrize("kind", NAMES)
def test_websockets_to_hidden_consoles_do_what_they_do_to_none(world: WebWorld, kind: str) -> None:
    def attach(name: str) -> object:
        client = world.client()
        client.say(client.request("GET", f"/api/v1/consoles/{name}/attach", token=TOKEN[world], headers=HANDSHAKE))
        world.settle()
        client.leave()
        return bytes(client.pipe.sent).partition(b"\r\n\r\n")[2]

    def watch(name: str) -> object:
        client = world.client()
        wanted = Connection(ConnectionType.CLIENT).send(TextMessage(f'{{"type":"watch","ids":["{name}"]}}'))
        client.say(client.request("GET", "/api/v1/live", token=TOKEN[world], headers=HANDSHAKE) + wanted)
        world.tick(3)
        client.leave()
        return bytes(client.pipe.sent).partition(b"\r\n\r\n")[2]

    check(attach, *NAMES[kind])
    check(watch, *NAMES[kind])
