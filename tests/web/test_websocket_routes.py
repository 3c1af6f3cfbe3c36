"""The websockets as the front serves them: the handshake, who may have one, and what becomes of them when it stops."""

from __future__ import annotations

import pytest
from twisted.internet.defer import ensureDeferred
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from tests.support.fakes import VM_A
from tests.support.web import HANDSHAKE, OPERATORS, WebClient, WebWorld

ATTACH = "/api/v1/consoles/web01/attach?replay=0"


def upgraded(web: WebWorld, path: str = ATTACH, early: bytes = b"", **options: object) -> tuple[WebClient, bytes]:
    """A client whose request became a websocket, and what came behind the answer."""
    client = web.client()
    client.say(client.request("GET", path, token=web.token(**options), headers=HANDSHAKE) + early)  # type: ignore[arg-type]  # of a token
    return client, rest(client)


def rest(client: WebClient) -> bytes:
    head, _, behind = bytes(client.pipe.sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return behind


def events(data: bytes) -> list[object]:
    wire = Connection(ConnectionType.CLIENT)
    wire.receive_data(data)
    return list(wire.events())


def test_a_token_attaches_types_and_reads(web: WebWorld) -> None:
    link = web.vm()
    keys = Connection(ConnectionType.CLIENT).send(BytesMessage(b"ls\r"))
    client, _ = upgraded(web, early=keys)
    assert link.written == b"ls\r"
    web.console_of().feed(b"bin\r\n")
    web.settle()
    assert BytesMessage(data=b"bin\r\n") in events(rest(client))
    assert [viewer.who for viewer in web.console_of().viewers.all] == ["alice@10.1.2.9"]
    assert [line["front"] for line in web.audited("attach")] == ["api"]
    client.leave()
    assert web.console_of().viewers.all == ()


def test_a_token_for_reading_cannot_write(web: WebWorld) -> None:
    link = web.vm()
    keys = Connection(ConnectionType.CLIENT).send(BytesMessage(b"ls\r"))
    _, behind = upgraded(web, early=keys, scope="read")
    assert link.written == b""
    assert isinstance(hello := events(behind)[0], TextMessage)
    assert '"mode":"spy"' in hello.data


def test_live_tells_rows(web: WebWorld) -> None:
    web.vm()
    watch = Connection(ConnectionType.CLIENT).send(TextMessage(f'{{"type":"watch","ids":["{VM_A}"]}}'))
    client, _ = upgraded(web, "/api/v1/live", early=watch)
    (rows,) = (event for event in events(rest(client)) if isinstance(event, TextMessage))
    assert f'"id":"{VM_A}"' in rows.data
    assert '"last_line":' in rows.data  # it is a row of the list


@pytest.mark.parametrize(
    ("left_out", "changed", "status"),
    [
        ("Upgrade", None, 426),
        ("Sec-WebSocket-Version", ("Sec-WebSocket-Version", "7"), 426),
        ("Sec-WebSocket-Protocol", None, 400),
        ("Sec-WebSocket-Key", ("Sec-WebSocket-Key", "x"), 400),
    ],
)
def test_what_is_no_handshake_is_answered_by_a_problem(
    web: WebWorld, left_out: str, changed: tuple[str, str] | None, status: int
) -> None:
    web.vm()
    headers = [pair for pair in HANDSHAKE if pair[0] != left_out] + ([changed] if changed else [])
    got = web.get(ATTACH, token=web.token(), headers=headers)
    assert got.status == status
    assert got.problem
    assert not web.console_of().viewers.all


@pytest.mark.parametrize("change", [(b"GET ", b"HEAD "), (b"HTTP/1.1", b"HTTP/1.0")])
@pytest.mark.parametrize("path", [ATTACH, "/api/v1/live"])
def test_only_a_get_of_today_becomes_a_websocket(web: WebWorld, path: str, change: tuple[bytes, bytes]) -> None:
    web.vm()
    client = web.client()
    client.say(client.request("GET", path, token=web.token(), headers=HANDSHAKE).replace(*change))
    got = client.got(head=True)
    assert got is not None
    assert got.status == 426
    assert not web.web.sockets.all.all


def test_without_a_login_there_is_no_websocket_whatever_is_there(web: WebWorld) -> None:
    web.vm()
    there = web.get(ATTACH, headers=HANDSHAKE)
    absent = web.get(ATTACH.replace("web01", "web99"), headers=HANDSHAKE)
    assert there.status == absent.status == 401
    assert there.body == absent.body


def test_hidden_and_absent_consoles_are_answered_alike_to_the_byte(web: WebWorld) -> None:
    web.vm()
    web.rules(("alice", "write", "db*"))
    _, hidden = upgraded(web)
    _, absent = upgraded(web, ATTACH.replace("web01", "web99"))
    assert hidden == absent
    assert [event.code for event in events(hidden) if isinstance(event, CloseConnection)] == [4404]


def test_a_token_that_ends_ends_its_websocket(web: WebWorld) -> None:
    web.vm()
    client, _ = upgraded(web, days=10 / 86400)
    web.clock.advance(25)
    assert [event.code for event in events(rest(client)) if isinstance(event, CloseConnection)] == [4401]


def test_another_group_is_another_right_at_once(web: WebWorld) -> None:
    web.vm()
    web.rules(("@admins", "write", "*"), ("@readers", "spy", "*"), ("bob", "spy", "*"))
    writer, _ = upgraded(web)
    page, _ = upgraded(web, "/api/v1/live")
    other, _ = upgraded(web, operator="bob")
    follower = web.client()
    follower.say(follower.request("GET", "/api/v1/consoles/web01/log?follow=1", token=web.token()))
    web.tick(1)
    assert '"total":1' in str(events(rest(page)))
    assert [viewer.who for viewer in web.console_of().write_access.writers] == ["alice@10.1.2.9"]
    for groups, rights in (('["readers"]', "spy"), ("[]", "")):
        web.use_operators(OPERATORS.replace('["admins"]', groups))
        ensureDeferred(web.accounts.refresh())
        for _ in range(6):
            web.tick(0.5)
        assert not web.console_of().write_access.writers
        assert writer.pipe.closed == follower.pipe.closed == (not rights)
        told = str(events(rest(writer)))
        assert ('"event":"rules-changed"' if rights else "code=4403") in told
    assert '"total":0' in str(events(rest(page)))
    assert not other.pipe.closed


def test_a_server_that_stops_says_so(web: WebWorld) -> None:
    web.vm()
    attached, _ = upgraded(web)
    page, _ = upgraded(web, "/api/v1/live")
    web.services.shut_down()
    web.front.turn_off()
    for client in (attached, page):
        assert [event.code for event in events(rest(client)) if isinstance(event, CloseConnection)] == [1001]
