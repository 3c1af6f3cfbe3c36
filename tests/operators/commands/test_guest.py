"""``guest``: somebody without an account on one console, for a while; and how a colleague reaches a console."""

from __future__ import annotations

import json
import re
import stat
from typing import Any

import pytest
from twisted.conch.ssh.common import NS
from twisted.internet.defer import CancelledError

from tests.support.console_session import attach, lines
from tests.support.fakes import VM_B
from tests.support.logins import answered, begun, interactive, line, password, request, use_operators
from tests.support.ssh import USERAUTH_REQUEST, Client, RemoteChannel, SSHWorld
from vmproxy.access.policy import Restriction, Right
from vmproxy.auth.accounts_file import Account
from vmproxy.auth.guests import EACH, FILE, LOOK_SECONDS, GuestList
from vmproxy.base.tasks import spawn
from vmproxy.operators import exit_status, services
from vmproxy.operators.action import parse_actions
from vmproxy.operators.reach import web_address
from vmproxy.operators.terminal.screen import ENTER, LEAVE


@pytest.fixture
def two(w: SSHWorld) -> SSHWorld:
    """The consoles web01 and db1."""
    w.vm()
    w.vm("db1", VM_B)
    return w


def invited(w: SSHWorld, words: str = "web01") -> dict[str, Any]:
    channel = w.login().run(f"guest {words} --json")
    assert channel.status == 0, channel.err
    said: dict[str, Any] = json.loads(channel.out)
    return said


def enter(w: SSHWorld, guest: dict[str, Any], target: str = ":web01") -> Client:
    client = begun(w)
    assert password(client, guest["guest"] + target, guest["password"])
    return client


def run(client: Client, command: str) -> RemoteChannel:
    return client.run(command)


def test_a_guest_is_on_that_console_and_sees_nothing_else(two: SSHWorld) -> None:
    channel = two.login().run("guest web01")
    assert channel.status == 0
    said = channel.out.decode()
    name, secret = re.findall(r"(guest-\w{6}):web01@.*\npassword: (\S{19})\n", said)[0]
    assert re.search(r"^ssh -p \d+ guest-", said)
    client = begun(two)
    assert interactive(client, f"{name}:web01", secret)
    assert [row["name"] for row in json.loads(run(client, "list --json").out)] == ["web01"]
    assert run(client, "status db1").err.startswith(b"db1: no such console\n")
    assert run(client, "log db1").status == exit_status.NO_SUCH_CONSOLE
    assert b"db1" not in run(client, "tail db*").err.replace(b"db*", b"")
    assert b"alice" not in run(client, "who").out
    assert run(client, "guest web01").status == exit_status.FORBIDDEN
    assert run(client, "kick web01").status == exit_status.FORBIDDEN
    assert client.raw("web01").refusal is not None
    attached = client.attach()
    attached.type(b"ls\r")
    link = two.console("web01").link
    assert link is not None
    assert link.written == b"ls\r"  # type: ignore[attr-defined]  # a fake
    (login,) = [entry for entry in two.audited("login") if entry["who"] == name]
    assert login["guest-of"] == "alice"
    (made,) = two.audited("guest")
    assert (made["guest"], made["console"], made["mode"], made["logins"]) == (name, "web01", "write", 1)
    assert secret not in json.dumps(two.audited())


def test_a_guest_may_only_read_where_it_is_said_so(two: SSHWorld) -> None:
    client = enter(two, invited(two, "web01 --ro"))
    channel = client.attach()
    channel.type(b"reboot\r")
    assert two.console("web01").link.written == b""
    assert b"[spy" in channel.err
    assert run(client, "send web01 reboot").status == exit_status.FORBIDDEN


def test_a_password_counts_as_often_as_it_was_said(two: SSHWorld) -> None:
    guest = invited(two, "web01 --logins 2")
    for _ in range(2):
        enter(two, guest)
    assert not password(begun(two), guest["guest"], guest["password"])
    other = invited(two)
    assert not password(begun(two), other["guest"], "wrong")
    assert not password(begun(two), "guest-nobody", other["password"])
    assert not password(begun(two), f"alice:{other['guest']}", other["password"])
    enter(two, other, "")


def test_only_a_hash_is_kept_and_a_restart_knows_it(two: SSHWorld) -> None:
    guest = invited(two)
    path = two.keys_file.parent / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert guest["password"] not in path.read_text()
    again = GuestList(path, two._in_thread, two.clock)
    again.load()
    assert [one.name for one in again] == [guest["guest"]]
    again.stop()
    enter(two, guest)
    again.load()
    assert [one.logins for one in again] == [0]
    again.stop()
    path.write_text("[{]")
    again.load()
    path.write_text(json.dumps([{"name": "guest-x"}]))
    again.load()


def test_sessions_end_when_the_time_is_over(two: SSHWorld) -> None:
    guest = invited(two, "web01 --for 90s")
    client = enter(two, guest)
    channel = client.attach()
    two.clock.advance(LOOK_SECONDS)
    client.pump()
    assert not client.closed
    two.clock.advance(LOOK_SECONDS)
    client.pump()
    assert client.closed
    assert channel.status == exit_status.KICKED
    assert not two.console("web01").viewers.all
    assert two.login().run("guest").out == b"no guests\n"
    assert [entry["who"] for entry in two.audited("login-ended")] == [guest["guest"]]
    assert not password(begun(two), guest["guest"], guest["password"])


def test_the_terminal_of_one_who_chooses_a_line_is_put_right_once(two: SSHWorld) -> None:
    client = enter(two, invited(two, "web01 --for 10s"), "")
    channel = client.open()
    channel.pty()
    channel.exec("tail")
    two.console("web01").feed(b"hello\r\n")
    two.settle()
    two.clock.advance(1)
    client.pump()
    channel.type(b"\x1b[A")
    two.clock.advance(1)
    client.pump()
    assert ENTER in channel.screen
    two.clock.advance(10)
    client.pump()
    assert channel.status == exit_status.KICKED
    assert channel.screen.count(LEAVE) == 1


def test_one_whose_time_is_over_before_that_of_others_is_not_kept_longer(two: SSHWorld) -> None:
    invited(two)
    client = enter(two, invited(two, "web01 --for 10s"))
    two.clock.advance(10)
    client.pump()
    assert client.closed


def test_one_who_is_revoked_while_the_login_is_written_down_stays_out(two: SSHWorld) -> None:
    guest = invited(two)
    client = begun(two)
    two.threads_held = True
    client.send(USERAUTH_REQUEST, request(guest["guest"], b"password", b"\0" + NS(guest["password"])))
    two.release_thread()  # who the operators are
    revoked = spawn(two.guests.revoke([guest["guest"]]))
    two.release_threads()
    assert revoked.called
    assert not answered(client)


def test_a_guest_stays_out_whose_operator_is_removed_while_the_login_is_written_down(two: SSHWorld) -> None:
    path = use_operators(two, f"[operators.alice]\nkeys = [{line()}]\n", two.guests)
    guest = invited(two)
    client = begun(two)
    two.threads_held = True
    client.send(USERAUTH_REQUEST, request(guest["guest"], b"password", b"\0" + NS(guest["password"])))
    two.release_thread()
    path.write_text(f"[operators.bob]\nkeys = [{line()}]\n")
    two.factory.accounts.load()
    two.release_threads()
    assert not answered(client)


def test_guests_are_listed_and_revoked(two: SSHWorld) -> None:
    guest = invited(two, "web01 --ro --for 2h")
    client = enter(two, guest)
    client.attach()
    listed = two.login().run("guest")
    assert re.search(rf"{guest['guest']} +web01 +spy +0 +(2h00m|1h59m) +alice\n", listed.out.decode())
    assert json.loads(two.login().run("guest --json").out)["logins_left"] == 0
    revoked = two.login().run(f"guest --revoke {guest['guest']}")
    assert revoked.out == f"{guest['guest']} is revoked\n".encode()
    client.pump()
    assert client.closed
    assert two.login().run(f"guest --revoke {guest['guest']}").status == exit_status.NO_SUCH_CONSOLE
    assert two.audited("guest-revoked")[0]["guest"] == guest["guest"]


def test_a_guest_may_never_do_more_than_who_answers_for_them(two: SSHWorld) -> None:
    client = enter(two, invited(two))
    two.rules(("alice", "spy", "*"))
    assert run(client, "send web01 x").status == exit_status.FORBIDDEN
    two.rules(("alice", "see", "*"))
    assert run(client, "log web01").status == exit_status.FORBIDDEN
    two.rules(("*", "admin", "db*"))
    assert json.loads(run(client, "list --json").out) == []


def test_a_guest_has_no_actions_whatever_right_they_need(two: SSHWorld) -> None:
    found, problems = parse_actions([{"name": "reset", "run": ["/bin/vm"], "right": "write", "confirm": False}])
    assert problems == []
    two.services.actions.use(found)
    client = enter(two, invited(two))
    channel = run(client, "action reset web01")
    assert (channel.status, channel.err) == (exit_status.FORBIDDEN, b"web01: you may not do reset\n")
    assert run(client, "action").out == b"there are no actions for you\n"
    assert run(client, "complete 'action '").out == b""
    assert two.programs.ran == []


@pytest.mark.parametrize("right", ["spy", "write", "force raw many"])
def test_it_takes_an_administrator(two: SSHWorld, right: str) -> None:
    two.rules(("alice", right, "web01"))
    assert two.login().run("guest web01").status == exit_status.FORBIDDEN
    assert two.login().run("guest db1").status == exit_status.NO_SUCH_CONSOLE
    assert list(two.guests) == []


@pytest.mark.parametrize(
    "words", ["web01 --for 0s", "web01 --for 31d", "web01 --for soon", "web01 --logins 0", "we", "web01 --revoke x"]
)
def test_what_makes_no_sense_is_refused(two: SSHWorld, words: str) -> None:
    assert two.login().run(f"guest {words}").status == exit_status.USAGE
    assert list(two.guests) == []


def test_what_is_known_of_guests_that_come_and_go_is_bounded(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "GRANTS_KEPT", 3)
    guests = [Account(f"guest-{n}", restriction=Restriction(port=str(n)), behalf="alice") for n in range(4)]
    first = w.services.grants(guests[0])
    assert w.services.grants(guests[0]) is first
    for guest in guests[1:]:
        w.services.grants(guest)
    assert w.services.grants(guests[0]) is not first


def test_who_does_not_wait_for_a_slow_disk_has_no_other_write_beside(two: SSHWorld) -> None:
    two.threads_held = True
    making = [spawn(two.guests.make("alice", Right.SPY, "uuid:x", "1", 60.0)) for _ in range(2)]
    making[0].addErrback(lambda failure: failure.trap(CancelledError))
    making[0].cancel()
    assert two.waiting_for_threads == 1
    two.release_threads()
    made: list[str] = []
    making[1].addCallback(lambda result: made.append(result[0].name))
    assert [guest["name"] for guest in json.loads((two.keys_file.parent / FILE).read_bytes())] == made


def test_there_is_a_bound(two: SSHWorld) -> None:
    for _ in range(EACH):
        invited(two)
    channel = two.login().run("guest web01")
    assert (channel.status, b"revoke some" in channel.err) == (1, True)


def test_a_key_tells_how_a_colleague_reaches_the_console(two: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = attach(two, "web01")
    channel.clear()
    channel.type(b"\x05ch")
    said = lines(channel.err)
    assert re.fullmatch(r"\[ssh -p \d+ web01@\S+\]", said[0])
    assert said[1] == "[for somebody without an account: the command `guest web01 --for 1h']"
    monkeypatch.setattr(two.services, "web_link", lambda console: web_address("https://con.example", console))
    channel.clear()
    channel.type(b"\x05ch")
    assert lines(channel.err)[1] == f"[https://con.example/c/{two.console('web01').uuid}]"
