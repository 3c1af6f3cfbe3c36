"""``send``, ``break``, ``expect``, ``kick``, ``broadcast``: what scripts do with consoles, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.commands import result, run
from tests.support.fakes import VM_B, FakeViewer, Logged
from tests.support.properties import examples
from tests.support.requirements import expressions
from tests.support.ssh import EOF, RemoteChannel, SSHWorld
from vmproxy.base.turns import SPAN
from vmproxy.console.notices import Demoted, Joined, Kicked, Left, Message, Notice, Promoted
from vmproxy.operators.commands.expect import PIECE, _pieces
from vmproxy.operators.commands.pace import Pace
from vmproxy.operators.commands.send import WAITING_LIMIT


def options(w: SSHWorld, **values: object) -> None:
    """What is particular about all consoles."""
    w.use_policy(None, [{"on": "*", **values}])


def go_on(w: SSHWorld, channel: RemoteChannel, seconds: float = 0.1) -> None:
    w.clock.advance(seconds)
    channel.client.pump()


ALL_BYTES = bytes(range(256))

# send


@pytest.mark.parametrize("how", ["input", "text"])
@pytest.mark.parametrize(
    ("option", "pieces"),
    [
        ("--char-delay 0.5", ["a", "b", "\r", "c"]),
        ("--line-delay 0.5", ["ab\r", "c"]),
        ("--char-delay 0.5 --rate 50", ["a", "b", "\r", "c"]),  # the slower of the two
        ("--rate guest", ["a", "b", "\r", "c"]),
    ],
)
def test_send_types_as_slowly_as_it_is_told(w: SSHWorld, how: str, option: str, pieces: list[str]) -> None:
    link = w.vm()
    w.console().set_port_control(None, "20 8N1")
    text = "".join(pieces)
    if how == "text":
        channel = run(w, f"send -n {option} web01 '{text}'".replace("\r", "\\r"))
    else:
        channel = run(w, f"send web01 {option}")
        channel.type(text.encode())
        channel.send(EOF)
    for number in range(len(pieces)):
        assert link.written.decode() == "".join(pieces[: number + 1])
        assert number == len(pieces) - 1 or channel.status is None
        go_on(w, channel, 0.5)
    go_on(w, channel)
    assert (link.written.decode(), channel.status) == (text, 0)


def test_a_slow_sender_is_held_and_loses_the_console_to_force(w: SSHWorld) -> None:
    w.vm()
    channel = run(w, "send web01 --char-delay 1")
    for _ in range(WAITING_LIMIT // 1000 + 2):
        channel.type(b"x" * 1000)
    server = channel.session
    assert server.holding  # its window is not opened again
    run(w, "send --force web01 stop")
    channel.client.pump()
    go_on(w, channel, 1)
    assert channel.status == 9


def test_the_guests_rate_has_to_be_known(w: SSHWorld) -> None:
    w.vm()
    out, err, status = result(run(w, "send web01 --rate guest x"))
    assert (out, status) == ("", 2)
    assert "the guest's rate is not known; give a number" in err


@pytest.mark.parametrize("option", ["--rate 49", "--rate fast", "--rate 1e9", "--char-delay -1", "--line-delay 61"])
def test_a_pace_has_bounds(w: SSHWorld, option: str) -> None:
    w.vm()
    assert run(w, f"send web01 {option} x").status == 2


@examples(60)
@given(
    data=st.binary(max_size=300) | st.text("ab\r\n", max_size=40).map(str.encode),
    per_byte=st.sampled_from([0.0, 0.0005, 0.02, 1.0]),
    per_line=st.sampled_from([0.0, 2.0]),
)
def test_pieces_at_a_pace_are_the_input_and_take_their_time(data: bytes, per_byte: float, per_line: float) -> None:
    pieces = list(Pace(per_byte, per_line).portions(data))
    assert b"".join(piece for piece, _ in pieces) == data
    ends = len(re.findall(rb"\r\n|\r|\n", data))
    assert sum(pause for _, pause in pieces) == pytest.approx(len(data) * per_byte + ends * per_line)
    if per_byte:
        assert all(len(piece) * per_byte <= max(per_byte, 0.01) for piece, _ in pieces)


def test_send_types_its_input_and_ends_with_it(w: SSHWorld) -> None:
    link = w.vm()
    channel = run(w, "send web01")
    channel.type(ALL_BYTES)
    channel.type(b"more")
    assert channel.status is None
    assert w.console().write_access.writer is w.console().viewers.all[0]
    channel.send(EOF)
    assert link.written == ALL_BYTES + b"more"
    assert result(channel) == ("", "", 0)
    assert w.console().viewers.all == ()
    w.store.flush()
    (audited,) = w.audited("send")
    assert (audited["who"], audited["console"], audited["bytes"]) == ("alice", "web01", 260)
    assert "more" not in w.audit.path.read_text()


def test_input_and_its_end_may_come_before_the_command_runs(w: SSHWorld) -> None:
    link = w.vm()
    client = w.login()
    channel = client.open()
    client.sendPacket(98, channel.id.to_bytes(4, "big") + b"\0\0\0\4exec\0\0\0\0\x0asend web01")
    client.sendPacket(94, channel.id.to_bytes(4, "big") + b"\0\0\0\3abc")
    channel.send(EOF)
    assert (link.written, channel.status) == (b"abc", 0)


def test_send_waits_until_everything_is_delivered(w: SSHWorld) -> None:
    link = w.vm()
    link.ready = False
    channel = run(w, "send web01")
    channel.type(b"x" * 1000)
    channel.send(EOF)
    go_on(w, channel)
    assert channel.status is None
    link.ready = True
    w.console().link_ready()
    go_on(w, channel)
    assert (link.written, channel.status) == (b"x" * 1000, 0)


def test_a_vm_that_takes_nothing_slows_the_sender_down(w: SSHWorld) -> None:
    link = w.vm()
    link.ready = False
    channel = run(w, "send web01")
    for _ in range(6):  # what the client's window lets in
        channel.type(b"x" * 16_000)
    assert channel.session.holding
    link.ready = True
    w.console().link_ready()
    assert not channel.session.holding
    channel.send(EOF)
    assert (len(link.written), channel.status) == (96_000, 0)


def test_a_console_in_use_is_left_alone_unless_by_force(w: SSHWorld) -> None:
    link = w.vm()
    bob = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(bob, write=True)
    for command in ("send web01", "break web01", "expect web01 x --send y"):
        out, err, status = result(run(w, command))
        assert (out, err, status) == ("", "web01: bob@10.1.2.9 is attached, idle 0s\n", 9)
    assert bob.notices == [Joined("alice@10.1.2.9", False), Left("alice@10.1.2.9")]  # of expect, which looks on too
    channel = run(w, "send --force --reason 'it hangs' web01")
    channel.type(b"x")
    channel.send(EOF)
    assert (link.written, channel.status) == (b"x", 0)
    assert Demoted("alice@10.1.2.9", "it hangs") in bob.notices
    assert w.console().write_access.writer is bob
    assert Promoted() in bob.notices
    w.store.flush()
    (audited,) = w.audited("force")
    assert (audited["was"], audited["reason"]) == ("bob@10.1.2.9", "it hangs")


def test_force_needs_the_right_a_whole_name_and_where_so_set_a_reason(w: SSHWorld) -> None:
    w.vm()
    w.console().viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
    assert run(w, "send --force we").status == 2
    options(w, **{"force-reason": True})
    assert run(w, "send --force web01").status == 2
    w.rules(("alice", "write", "*"))
    assert run(w, "send --force web01").status == 10
    assert w.audited("force") == []


def test_join_writes_beside_others_where_that_is_allowed(w: SSHWorld) -> None:
    link = w.vm()
    bob = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(bob, write=True)
    assert run(w, "send --join web01").status == 9
    options(w, write="shared")
    channel = run(w, "send --join web01")
    channel.type(b"x")
    assert w.console().write_access.writer is bob
    channel.send(EOF)
    assert (link.written, channel.status) == (b"x", 0)


def lost(w: SSHWorld) -> None:
    console = w.console()
    assert console.link is not None
    w.directory.lost(console, console.link, "gone")


@pytest.mark.parametrize(
    ("happens", "status", "said"),
    [
        (lost, 5, "web01: line down (gone); 3 bytes sent\n"),
        (
            lambda w: w.console().viewers.force_write(other(w)),
            9,
            "web01: bob@10.1.2.9 has taken over; 3 bytes sent\n",
        ),
        (
            lambda w: w.console().viewers.kick(w.console().viewers.all[0], "bob", "why"),
            7,
            "[-- disconnected by bob: why --]\n",
        ),
        (lambda w: w.rules(("alice", "spy", "*")), 10, "web01: the rules have changed, you may no longer do that\n"),
        (lambda w: w.rules(("bob", "spy", "*")), 3, "no such console any more\n"),
    ],
)
def test_what_ends_sending_early(w: SSHWorld, happens: Callable[[SSHWorld], object], status: int, said: str) -> None:
    w.vm()
    channel = run(w, "send web01")
    channel.type(b"abc")
    happens(w)
    channel.client.pump()
    assert result(channel) == ("", said, status)
    assert [v.who for v in w.console().viewers.all] in ([], ["bob@10.1.2.9"])


def other(w: SSHWorld) -> FakeViewer:
    viewer = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(viewer, write=False)
    return viewer


def test_what_was_not_delivered_is_told(w: SSHWorld) -> None:
    link = w.vm()
    channel = run(w, "send web01")
    channel.type(b"abc")
    link.ready = False
    channel.type(b"de")
    channel.send(EOF)
    lost(w)
    go_on(w, channel)
    assert result(channel) == ("", "web01: line down (gone); 5 bytes sent, 2 bytes of them not delivered\n", 5)


def test_a_console_that_is_down_takes_nothing(w: SSHWorld) -> None:
    w.vm()
    lost(w)
    for command in ("send web01", "break web01", "expect web01 x --send y"):
        assert result(run(w, command)) == ("", "web01: down (gone)\n", 5)


def test_a_sender_who_leaves_lets_go_of_the_pen(w: SSHWorld) -> None:
    w.vm()
    bob = FakeViewer("bob@10.1.2.9")
    channel = run(w, "send web01")
    w.console().viewers.attach(bob, write=True)
    channel.close()
    assert w.console().write_access.writer is bob
    assert w.console().viewers.all == (bob,)


def test_at_a_terminal_control_d_ends_the_input_and_control_c_breaks_off(w: SSHWorld) -> None:
    link = w.vm()
    channel = w.login().attach("send web01")
    channel.type(b"abc\x04def")
    assert (link.written, channel.status) == (b"abc", 0)
    channel = w.login().attach("send web01")
    channel.type(b"x\x03")
    assert channel.status == 130
    assert w.console().write_access.writer is None


# break


def test_break_sends_a_break(w: SSHWorld) -> None:
    link = w.vm()
    assert result(run(w, "break web01")) == ("", "", 0)
    assert link.breaks == 1
    assert w.console().viewers.all == ()
    assert [(e["event"], e.get("mode")) for e in w.events()][-3:] == [
        ("attach", "write"),
        ("break", None),
        ("detach", None),
    ]
    assert [e["console"] for e in w.audited("break")] == ["web01"]


def test_named_sequences_are_sent_with_their_waits(w: SSHWorld) -> None:
    link = w.vm()
    options(w, sequences={"sysrq-b": "<break>b", "slow": "a<wait 2>b"})
    assert run(w, "break web01 --list").out == b"0  break\n1  sysrq-b\n2  slow\n"
    assert run(w, "break web01 sysrq-b").status == 0
    assert (link.breaks, link.written) == (1, b"b")
    assert run(w, "break 1", "alice:web01").status == 0
    assert (link.breaks, link.written) == (2, b"bb")
    channel = run(w, "break web01 slow")
    assert (link.written, channel.status) == (b"bba", None)
    go_on(w, channel, 2)
    assert (link.written, channel.status) == (b"bbab", 0)
    assert [e["name"] for e in w.audited("sequence")] == ["sysrq-b", "sysrq-b", "slow"]
    assert run(w, "break web01 00").status == 2
    out, err, status = result(run(w, "break web01 other"))
    assert (out, status) == ("", 2)
    assert "sysrq-b, slow" in err


def test_a_sequence_can_be_broken_off(w: SSHWorld, logged: Logged) -> None:
    link = w.vm()
    options(w, sequences={"slow": "a<wait 2>b"})
    channel = w.login().attach("break web01 slow")
    channel.type(b"\x03")
    assert channel.status == 130
    go_on(w, channel, 5)
    assert link.written == b"a"
    assert not logged.tracebacks


# expect


@expressions
def test_expect_waits_for_a_line_and_prints_it(w: SSHWorld) -> None:
    w.vm()
    channel = run(w, "expect web01 'log.n:'")
    w.console().feed(b"booting\r\nweb01 log")
    channel.client.pump()
    assert channel.status is None
    w.console().feed(b"in: \x1b[0m")
    channel.client.pump()
    assert result(channel) == ("web01 login: \n", "", 0)
    assert w.console().viewers.all == ()


@given(st.lists(st.sampled_from([b"a" * 1000, b"b" * 5000, b"\n", b"c\n"]), max_size=20).map(b"".join))
def test_what_is_looked_at_in_one_turn_has_a_bound_and_ends_with_a_line_where_it_can(data: bytes) -> None:
    pieces = list(_pieces(data))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    assert all(piece.endswith(b"\n") or b"\n" not in piece for piece in pieces[:-1])


def test_expect_ends_with_status_8_when_nothing_comes_in_time(w: SSHWorld) -> None:
    w.vm()
    channel = run(w, "expect web01 login: --timeout 5")
    w.console().feed(b"booting\r\n")
    go_on(w, channel, 4.9)
    assert channel.status is None
    go_on(w, channel, 0.2)
    assert result(channel) == ("", "web01: nothing matched within 5 s\n", 8)
    assert w.console().viewers.all == ()


@pytest.mark.parametrize(("flags", "found"), [("", False), ("-i", True), ("-F", False), ("-iF", True)])
def test_expect_with_capitals_and_plain_text(w: SSHWorld, flags: str, found: bool) -> None:
    w.vm()
    channel = run(w, f"expect web01 login {flags}")
    w.console().feed(b"LOGIN\r\n")
    channel.client.pump()
    assert (channel.status == 0) == found


def test_expect_looks_at_the_log_first_where_it_is_told_to(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"old login:\r\n")
    w.store.flush()
    w.clock.advance(60)
    channel = run(w, "expect web01 login:")
    assert channel.status is None
    assert result(run(w, "expect web01 login: --since 5m")) == ("old login:\n", "", 0)
    late = run(w, "expect web01 login: --since 30s")
    assert late.status is None
    w.console().feed(b"new login:")
    late.client.pump()
    assert result(late) == ("new login:\n", "", 0)


def test_a_match_may_lie_across_the_log_and_what_comes(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"web01 lo")
    channel = run(w, "expect web01 'web01 login' --since 1h")
    w.console().feed(b"gin: ")
    channel.client.pump()
    assert result(channel)[::2] == ("web01 login: \n", 0)


def test_expect_can_type_something_once_it_watches(w: SSHWorld) -> None:
    link = w.vm()
    channel = run(w, r"expect web01 uid= --send 'id\r\x03\\'")
    assert link.written == b"id\r\x03\\"
    assert w.console().write_access.writer is None  # it watches on, and others may write
    w.console().feed(b"uid=0(root)\r\n")
    channel.client.pump()
    assert result(channel) == ("uid=0(root)\n", "", 0)
    assert [e["bytes"] for e in w.audited("send")] == [5]


def test_expect_goes_on_while_the_line_is_down(w: SSHWorld) -> None:
    w.vm()
    channel = run(w, "expect web01 login:")
    lost(w)
    w.vm()
    w.console().feed(b"login: ")
    channel.client.pump()
    assert channel.status == 0


# kick and broadcast


def test_kick_sends_people_off(w: SSHWorld) -> None:
    w.vm()
    bob, eve = FakeViewer("bob@10.1.2.8"), FakeViewer("eve@10.1.2.8")
    for viewer in (bob, eve):
        w.console().viewers.attach(viewer, write=True)
    client = w.login("web01")
    mine = client.attach()
    assert result(client.run("kick web01 bob --reason 'go home'")) == ("bob@10.1.2.8 disconnected from web01\n", "", 0)
    assert bob.notices[-1] == Kicked("alice@10.1.2.9", "go home")
    assert eve in w.console().viewers.all
    assert client.run("kick web01 bob").status == 1
    assert client.run("kick eve@10.1.2.8").status == 0  # with the console in the user name
    assert mine.status is None
    assert len(w.console().viewers.all) == 1
    assert client.run("kick").status == 1
    assert client.run("kick we alice").status == 2
    assert client.run("kick web01 alice").status == 0
    assert mine.status == 7
    w.store.flush()
    assert [e["whom"] for e in w.audited("kick")] == ["bob@10.1.2.8", "eve@10.1.2.8", "alice@10.1.2.9"]


def test_a_crowd_is_sent_off_in_turns_and_nobody_who_has_left_meanwhile(w: SSHWorld) -> None:
    class Slow(FakeViewer):
        def notice(self, notice: Notice) -> None:
            super().notice(notice)
            if isinstance(notice, Kicked):
                w.clock.rightNow += SPAN / 10
                if len(w.console().viewers.all) == 30:
                    w.services.turns.wait("eve", lambda: w.console().viewers.detach(crowd[-1]))

    w.vm()
    crowd = [Slow(f"v{n}@10.1.2.8") for n in range(50)]
    for viewer in crowd:
        w.console().viewers.attach(viewer, write=False)
    channel = run(w, "kick web01")
    assert channel.status == 0
    assert channel.out.count(b"disconnected") == 49
    assert not crowd[-1].told(Kicked)
    assert w.console().viewers.all == ()


def test_broadcast_reaches_those_whose_administrator_one_is(w: SSHWorld) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    bob, eve = FakeViewer("bob@10.1.2.8"), FakeViewer("eve@10.1.2.8")
    w.console().viewers.attach(bob, write=True)
    w.console("db01").viewers.attach(eve, write=True)
    w.rules(("alice", "admin", "web*"), ("alice", "write", "*"))
    assert result(run(w, "broadcast going down at 5")) == ("reached: 1\n", "", 0)
    assert bob.notices[-1] == Message("alice@10.1.2.9", "going down at 5", to_all=True)
    assert not any(isinstance(n, Message) for n in eve.notices)
    w.store.flush()
    assert [e["reached"] for e in w.audited("broadcast")] == [1]
    assert "going" not in w.audit.path.read_text()


def test_what_is_hidden_does_not_keep_a_broadcast_from_the_menus(w: SSHWorld) -> None:
    w.vm()
    screen = w.login().attach()
    w.vm("vault", uuid=VM_B)
    w.rules(("alice", "admin", "web*"))
    assert run(w, "broadcast hello there").out == b"reached: 1\n"
    screen.client.pump()
    w.clock.advance(1.5)
    screen.client.pump()
    assert b"hello there" in screen.screen


def test_the_administrator_of_everything_reaches_the_menus_too(w: SSHWorld) -> None:
    w.vm()
    screen = w.login().attach()
    assert run(w, "broadcast hello there").out == b"reached: 1\n"
    screen.client.pump()
    w.clock.advance(1.5)
    screen.client.pump()
    assert b"hello there" in screen.screen


RECORDED = b"[what is typed here is recorded]\n"


@pytest.mark.parametrize("command", ["send web01", "break web01", "expect web01 x --send y --timeout 1"])
@pytest.mark.parametrize("recorded", [True, False])
def test_who_types_is_told_once_where_that_is_recorded(w: SSHWorld, command: str, recorded: bool) -> None:
    w.vm()
    options(w, **{"record-input": recorded})
    channel = run(w, command)
    if command.startswith("send"):
        channel.type(b"one")
        channel.type(b"two")
        channel.send(EOF)
    go_on(w, channel, 2)
    assert channel.status is not None
    assert channel.err.count(RECORDED) == recorded
    assert RECORDED not in channel.out


def test_who_only_looks_on_or_is_refused_is_not_told(w: SSHWorld) -> None:
    w.vm()
    options(w, **{"record-input": True})
    w.console().viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
    for command in ("send web01", "expect web01 x --timeout 0", "break --list web01"):
        channel = run(w, command)
        go_on(w, channel)
        assert RECORDED not in channel.err


def test_a_sender_is_told_when_recording_begins_meanwhile(w: SSHWorld) -> None:
    w.vm()
    channel = run(w, "send web01")
    options(w, **{"record-input": True})
    go_on(w, channel)
    assert channel.err == b"[-- what is typed is recorded from now on --]\n"


# send NAME TEXT


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("send web01 uptime", b"uptime\r"),
        ("send web01 ls -la --force", b"ls -la --force\r"),
        ("send web01 -h", None),
        ("send web01 -- -h", b"-h\r"),
        ("send -n web01 '\\x03'", b"\x03"),
        ("send web01 'uptime\\r'", b"uptime\r"),
        ("send web01 'C:\\\\new'", b"C:\\new\r"),
        ("send web01 é", "é\r".encode()),
        ("send web01,ro uptime", b"uptime\r"),
    ],
)
def test_a_text_is_typed_with_enter_behind_it(w: SSHWorld, line: str, typed: bytes | None) -> None:
    link = w.vm()
    channel = run(w, line)
    go_on(w, channel)
    assert (channel.status, link.written) == (0, typed or b"")
    assert w.console().viewers.all == ()
    assert [e["bytes"] for e in w.audited("send")] == ([] if typed is None else [len(typed)])


def test_a_text_goes_to_the_console_of_the_user_name(w: SSHWorld) -> None:
    link, other = w.vm(), w.vm("web02", VM_B)
    go_on(w, run(w, "send systemctl restart nginx", user="web01"))
    go_on(w, run(w, "send web02 uptime", user="web01"))
    assert (link.written, other.written) == (b"systemctl restart nginx\r", b"uptime\r")


def test_a_text_may_look_like_options_of_a_console(w: SSHWorld) -> None:
    link = w.vm()
    assert run(w, "send nc host,force,x,port=", "web01").status == 0
    assert run(w, "send we echo a,ro,force").status == 0
    assert link.written == b"nc host,force,x,port=\recho a,ro,force\r"


def test_a_name_with_blanks_may_be_followed_by_a_text_if_it_is_quoted(w: SSHWorld) -> None:
    link = w.vm("VM (old)")
    go_on(w, run(w, "send 'VM (old)' uptime"))
    assert link.written == b"uptime\r"
    channel = run(w, "send VM (old)")  # without a text it needs no quotes
    channel.type(b"date\r")
    assert link.written == b"uptime\rdate\r"


def test_a_vm_cannot_take_a_text_for_another_by_its_name(w: SSHWorld) -> None:
    link, other = w.vm(), w.vm("web01 uptime", VM_B)
    go_on(w, run(w, "send web01 uptime"))
    assert (link.written, other.written) == (b"uptime\r", b"")


def test_a_text_works_in_the_menu_and_meets_a_writer_as_input_does(w: SSHWorld) -> None:
    link = w.vm()
    channel = w.login().attach(pty=True)
    channel.type(b":send web01 uptime\r")
    go_on(w, channel)
    assert link.written == b"uptime\r"
    w.console().viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
    assert run(w, "send web01 uptime").status == 9
    assert run(w, "send -n web01").status == 2
    assert link.written == b"uptime\r"
