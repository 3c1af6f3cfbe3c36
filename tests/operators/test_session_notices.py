"""What a console session is told, and in which order it reaches a terminal."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.support.console_session import attach, feed, fresh, lines
from tests.support.fakes import Logged
from tests.support.ssh import SSHWorld
from vmproxy.console.notices import LogFailed, LogRecovered
from vmproxy.ssh.frontend import PARTING_SECONDS
from vmproxy.ssh.session import BARRIER_SECONDS, UNANSWERED_LIMIT

# Notices.


def test_each_notice_has_a_line_of_its_own(w: SSHWorld) -> None:
    link = w.vm()
    channel = fresh(w)
    feed(w, b"half a li", channel)
    w.directory.lost(w.console(), link, "connection lost to 10.1.2.3")
    w.clock.advance(2)
    w.vm(peer="10.1.2.4")
    feed(w, b"ne\r\n", channel)
    assert channel.screen == (
        b"half a li\r\n[-- web01: line down (connection lost to 10.1.2.3) 22:13:20Z --]\r\n"
        b"[-- web01: line up (10.1.2.4) after 2.0 s --]\r\nne\r\n"
    )


def test_others_coming_and_going_are_told(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    other = attach(w)
    other.type(b"\x05c.")
    channel.client.pump()
    assert lines(channel.err) == ["[-- alice@10.1.2.9 attached (spy) --]", "[-- alice@10.1.2.9 detached --]"]


def test_a_quiet_session_hears_only_what_is_essential(w: SSHWorld) -> None:
    link = w.vm()
    channel = fresh(w, "web01,quiet")
    attach(w).type(b"\x05c.")
    w.directory.lost(w.console(), link, "gone")
    w.vm()
    w.console().viewers.tell(LogFailed("No space left on device"))
    w.console().viewers.tell(LogRecovered(1000))
    channel.client.pump()
    assert lines(channel.err) == [
        "[-- log: cannot write: No space left on device; NOT being recorded --]",
        "[-- log: recording again, 1.0 kB lost --]",
    ]


def test_the_end_of_the_server_is_told_and_ends_every_session_with_its_status(w: SSHWorld) -> None:
    w.vm()
    attached, quiet = fresh(w), fresh(w, "web01,quiet")
    for channel in (attached, quiet):
        channel.clear()
    stopped: list[object] = []
    Deferred.fromCoroutine(w.front.stop()).addBoth(stopped.append)
    for channel in (attached, quiet):
        channel.client.pump()
        assert lines(channel.err)[-1] == "[-- console server shutting down --]"
        assert channel.status == 6
    w.clock.advance(PARTING_SECONDS)
    assert stopped == [None]
    assert attached.client.closed
    assert quiet.client.closed


def test_the_end_of_the_server_is_told_at_once_also_to_a_terminal_whose_answer_is_awaited(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01,replay=0")
    client.answer_requests = False
    channel = client.attach()
    feed(w, b"output", channel)
    assert channel.out == b""  # it waits until the greeting is on the screen
    Deferred.fromCoroutine(w.front.stop())
    client.pump()
    assert channel.screen.endswith(b"output\r\n[-- console server shutting down --]\r\n")
    assert channel.status == 6


def test_a_client_that_does_not_read_does_not_keep_the_server_from_stopping(w: SSHWorld) -> None:
    w.vm()
    client = attach(w).client
    idle = w.connect()
    client.tcp.reads = False
    w.console().feed(b"x" * 100_000)
    stopped: list[object] = []
    Deferred.fromCoroutine(w.front.stop()).addBoth(stopped.append)
    idle.pump()
    assert idle.closed
    assert stopped == []
    w.clock.advance(PARTING_SECONDS)
    assert stopped == [None]
    assert client.closed


def test_nobody_is_let_in_while_the_server_stops(w: SSHWorld) -> None:
    Deferred.fromCoroutine(w.front.stop())
    assert w.factory.buildProtocol(None) is None


# The order of the two streams on a terminal.


def test_on_a_terminal_a_stream_waits_until_the_client_has_dealt_with_the_other(w: SSHWorld) -> None:
    # Clients write stdout and stderr apart; only their answer says that what came before is on the screen.
    w.vm()
    feed(w, b"old\r\n")
    client = w.login("web01")
    client.answer_requests = False
    channel = client.attach()
    assert channel.screen.endswith(b"[-- last 1 line --]\r\n")
    channel.send(100)  # "I do not know that request" is an answer as good as any
    assert channel.screen.endswith(b"[-- last 1 line --]\r\nold\r\n")
    channel.send(99)
    assert channel.screen.endswith(b"old\r\n[-- live --]\r\n")


def test_a_client_that_never_answers_is_not_waited_for_for_ever(w: SSHWorld) -> None:
    w.vm()
    feed(w, b"old\r\n")
    client = w.login("web01")
    client.answer_requests = False
    channel = client.attach()
    for _ in range(3):
        w.clock.advance(BARRIER_SECONDS)
        client.pump()
    assert channel.screen.endswith(b"old\r\n[-- live --]\r\n")
    channel.type(b"\x05c.")
    w.clock.advance(BARRIER_SECONDS)
    client.pump()
    assert channel.status == 0


def test_a_client_that_never_answers_makes_nothing_grow(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    client.answer_requests = False
    channel = client.attach()
    for n in range(100):
        w.console().feed(b"%d\r\n" % n)
        channel.session.router.activity.say("[notice]")
        channel.type(b"x")  # it is alive
        w.clock.advance(2 * BARRIER_SECONDS)
        client.pump()
    assert channel.screen.endswith(b"99\r\n[notice]\r\n")
    assert sum(len(waiting) for waiting in client.server.service.deferreds.values()) == UNANSWERED_LIMIT


def test_without_a_terminal_nothing_waits_for_answers(w: SSHWorld) -> None:
    w.vm()
    feed(w, b"old\r\n")
    client = w.login("web01")
    client.answer_requests = False
    channel = client.attach(pty=False)
    assert channel.out == b"old\r\n"
    assert b"[-- live --]" in channel.err


def test_answers_that_nobody_asked_for_change_nothing(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    for number in (99, 100, 99):
        channel.send(number)
    feed(w, b"out", channel)
    channel.type(b"in")
    assert (channel.out, link.written) == (b"out", b"in")


def test_a_channel_closed_while_an_answer_is_awaited_leaves_nothing_behind(w: SSHWorld, logged: Logged) -> None:
    w.vm()
    feed(w, b"old\r\n")
    for end in ("close", "lost"):
        client = w.login("web01")
        client.answer_requests = False
        channel = client.attach()
        if end == "close":
            channel.close()
        else:
            client.tcp.closed()
        w.clock.advance(2 * BARRIER_SECONDS)
        assert w.console().viewers.all == ()
    assert not logged.tracebacks
