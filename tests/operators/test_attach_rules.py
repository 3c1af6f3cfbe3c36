"""What an operator may do on a console that he attaches to, and what becomes of it when the rules change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fakes import VM_B, FakeViewer, Logged
from tests.support.ssh import RemoteChannel, SSHWorld
from vmproxy.console.notices import Demoted, Kicked
from vmproxy.operators import attachment, exit_status
from vmproxy.operators.target import Target

BOB = "bob@10.1.2.9"


def attach(w: SSHWorld, user: str = "web01", pty: bool = True) -> RemoteChannel:
    return w.login(user).attach(pty=pty)


def lines(channel: RemoteChannel) -> list[str]:
    channel.client.pump()
    rows = channel.err.decode().replace("\r\n", "\n").split("\n")
    return [row.rsplit("\r", 1)[-1].removesuffix("\x1b[K") for row in rows if row]


def bob_writes(w: SSHWorld) -> FakeViewer:
    bob = FakeViewer(BOB)
    w.console().viewers.attach(bob, write=True)
    return bob


# Rights.


@pytest.mark.parametrize("user", ["web01", "web01,force", "web01,ro", "01234567-89ab-cdef-fedc-ba9800000000"])
def test_what_may_not_be_seen_is_not_there(w: SSHWorld, user: str) -> None:
    w.vm()
    w.rules(("*", "write", "db*"))
    channel = attach(w, user)
    name = user.partition(",")[0]
    assert lines(channel)[0] == f"{name}: no such console"
    assert channel.status == exit_status.NO_SUCH_CONSOLE
    assert not w.console().viewers.all
    nothing = attach(w, user.replace("web01", "web99").replace("0123", "0124"))
    assert nothing.err.replace(b"web99", b"web01").replace(b"0124", b"0123") == channel.err
    assert nothing.status == channel.status


def test_who_may_only_see_a_console_cannot_attach(w: SSHWorld) -> None:
    w.vm()
    w.rules(("*", "see", "*"))
    channel = attach(w)
    assert lines(channel) == ["web01: you may list it, but not read it"]
    assert channel.status == exit_status.FORBIDDEN


def test_who_may_only_spy_is_told_so_and_is_never_promoted(w: SSHWorld) -> None:
    link = w.vm()
    w.rules(("*", "spy", "*"))
    bob = bob_writes(w)
    channel = attach(w)
    assert lines(channel)[2:] == ["[spy -- you may not write to this console]", f"[-- 1 other: {BOB} (write) --]"]
    channel.clear()
    channel.type(b"x\x05ca\x05cf\x05cj")
    assert lines(channel) == ["[read-only]"] + ["[read-only: you may not write to this console]"] * 3
    w.console().viewers.detach(bob)
    channel.type(b"y")
    assert link.written == b""
    assert w.console().write_access.writer is None


def test_who_may_not_force_gets_no_hint_and_is_refused(w: SSHWorld) -> None:
    w.vm()
    w.rules(("*", "write", "*"))
    bob = bob_writes(w)
    channel = attach(w)
    assert lines(channel)[2] == f"[no, {BOB} is attached, idle 0s]"
    channel.clear()
    channel.type(b"\x05cf")
    assert lines(channel) == ["[you may not take over from others]"]
    forcing = attach(w, "web01,force")
    assert lines(forcing) == ["web01: you may not take over from others (force)"]
    assert forcing.status == exit_status.FORBIDDEN
    assert w.console().write_access.writer is bob


def test_force_takes_over_and_says_from_whom(w: SSHWorld) -> None:
    link = w.vm()
    bob = bob_writes(w)
    channel = attach(w, "web01,force,reason=it hangs, he sleeps")
    assert f"[attached -- {BOB} is a spy now]" in lines(channel)
    channel.type(b"x")
    assert link.written == b"x"
    assert Demoted("alice@10.1.2.9", "it hangs, he sleeps") in bob.notices
    (forced,) = w.audited("force")
    assert (forced["console"], forced["was"], forced["reason"]) == ("web01", BOB, "it hangs, he sleeps")
    assert [e["reason"] for e in w.events() if e["event"] == "force"] == ["it hangs, he sleeps"]


# A reason, where one is needed.


NEEDED = [{"on": ["*"], "force-reason": True}]


def test_force_asks_for_a_reason_where_one_is_needed(w: SSHWorld) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    bob = bob_writes(w)
    channel = attach(w)
    channel.clear()
    channel.type(b"\x05cf")
    assert lines(channel) == ["reason for taking over: "]
    assert w.console().write_access.writer is bob
    channel.type(b"disk is full\r")
    assert lines(channel)[-1] == f"[attached -- {BOB} is a spy now]"
    assert Demoted("alice@10.1.2.9", "disk is full") in bob.notices
    assert w.audited("force")[0]["reason"] == "disk is full"


@pytest.mark.parametrize("answer", [b"\r", b"\x03", b"   \r"])
def test_without_a_reason_nothing_is_taken(w: SSHWorld, answer: bytes) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    bob = bob_writes(w)
    channel = attach(w)
    channel.type(b"\x05cf" + answer)
    assert lines(channel)[-1] == "[not taken over: a reason is required here]"
    assert w.console().write_access.writer is bob


def test_no_reason_is_needed_where_nobody_loses_the_pen(w: SSHWorld) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    assert "[attached]" in lines(attach(w, "web01,force"))


def test_a_forced_attach_asks_for_the_reason_when_it_is_live(w: SSHWorld) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    w.console().feed(b"login: ")
    bob = bob_writes(w)
    channel = attach(w, "web01,force")
    assert lines(channel)[-3] == "[-- live --]"
    assert lines(channel)[-2].startswith("[no, bob@10.1.2.9 is attached, idle 0s")
    assert lines(channel)[-1] == "reason for taking over: "
    assert w.console().write_access.writer is bob
    channel.type(b"urgent\rls\r")
    assert lines(channel)[-1] == f"[attached -- {BOB} is a spy now]"
    assert w.audited("force")[0]["reason"] == "urgent"


def test_the_question_for_the_reason_takes_the_place_of_another_one(w: SSHWorld) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    bob = bob_writes(w)
    client = w.login("web01,force")
    w.threads_held = True
    channel = client.attach()
    channel.type(b"\x05cnhalf")
    w.threads_held = False
    w.release_threads()
    assert lines(channel)[-2:] == ["[nothing noted]", "reason for taking over: "]
    channel.type(b"urgent\r")
    assert w.console().write_access.writer is not bob
    assert not [e for e in w.events() if e["event"] == "note"]


def test_a_forced_attach_with_a_reason_is_asked_nothing(w: SSHWorld) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    bob_writes(w)
    assert f"[attached -- {BOB} is a spy now]" in lines(attach(w, "web01,force,reason=urgent", pty=False))


def test_without_a_terminal_a_missing_reason_is_a_refusal(w: SSHWorld) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    bob = bob_writes(w)
    channel = attach(w, "web01,force", pty=False)
    assert lines(channel) == ["web01: force needs a reason here: web01,force,reason=TEXT"]
    assert channel.status == exit_status.USAGE
    assert w.console().write_access.writer is bob


def test_the_right_is_asked_again_when_the_reason_is_given(w: SSHWorld) -> None:
    w.vm()
    w.use_policy(None, NEEDED)
    bob = bob_writes(w)
    channel = attach(w)
    channel.type(b"\x05cf")
    w.use_policy([{"who": ["*"], "may": ["write"], "on": ["*"]}], NEEDED)
    channel.type(b"urgent\r")
    assert lines(channel)[-1] == "[you may not take over from others]"
    assert w.console().write_access.writer is bob


# The queue.


def test_who_waits_is_told_the_position(w: SSHWorld) -> None:
    w.vm()
    bob_writes(w)
    first, second = attach(w), attach(w)
    for channel, place in ((first, 1), (second, 2)):
        channel.type(b"\x05ca")
        assert lines(channel)[-1] == f"[no, {BOB} is attached -- waiting for write access: position {place}]"


# Joining.


def test_where_it_is_shared_others_join_and_both_write(w: SSHWorld) -> None:
    link = w.vm()
    w.use_policy(None, [{"on": ["*"], "write": "shared"}])
    first, second = attach(w), attach(w)
    assert lines(second)[2] == "[no, alice@10.1.2.9 is attached, idle 0s -- ^Ecf takes over, ^Ecj joins]"
    second.type(b"\x05cj")
    assert lines(second)[-1] == "[attached]"
    second.type(b"b")
    first.type(b"a")
    assert link.written == b"ba"
    third = attach(w, "web01,join")
    assert "[attached]" in lines(third)
    third.type(b"c")
    assert link.written == b"bac"


def test_where_it_is_not_shared_joining_says_so_and_waits(w: SSHWorld) -> None:
    w.vm()
    bob_writes(w)
    channel = attach(w, "web01,join")
    assert lines(channel)[2:4] == [
        f"[no, {BOB} is attached, idle 0s -- ^Ecf takes over]",
        "[no joining: this console has one writer at a time]",
    ]
    channel.type(b"\x05cj")
    assert lines(channel)[-1] == "[no joining: this console has one writer at a time]"
    assert b"^Ecj" not in channel.err


# The greeting.


def test_the_greeting_has_the_message_of_the_day_and_says_what_is_recorded(w: SSHWorld) -> None:
    w.vm()
    w.services.settings = replace(w.services.settings, message="Welcome.\nBe kind.")
    w.use_policy(None, [{"on": ["*"], "message": "Ask bob first.", "record-input": True, "replay": 2}])
    w.console().feed(b"1\r\n2\r\n3\r\n")
    channel = attach(w)
    assert lines(channel)[2:] == [
        "Welcome.",
        "Be kind.",
        "Ask bob first.",
        "[what is typed here is recorded]",
        "[attached]",
        "[-- last 2 lines --]",
        "[-- live --]",
    ]
    assert channel.out == b"2\r\n3\r\n"
    assert attach(w, "web01,ro,replay=1").out == b"3\r\n"


def test_quiet_may_be_what_the_operator_usually_wants(w: SSHWorld) -> None:
    w.vm()
    w.services.settings = replace(w.services.settings, quiet=True)
    channel = attach(w)
    channel.clear()
    bob_writes(w)
    assert lines(channel) == []


# Rules that change.


def test_who_may_not_write_any_more_becomes_a_spy_and_the_next_one_writes(w: SSHWorld) -> None:
    link = w.vm()
    channel = attach(w)
    bob = bob_writes(w)
    channel.clear()
    w.rules(("alice", "spy", "*"), ("*", "write", "*"))
    assert lines(channel)[-1] == "[spy -- the rules have changed: you may no longer write to this console]"
    assert w.console().write_access.writer is bob
    channel.type(b"x")
    assert link.written == b""
    w.rules(("*", "write", "*"))
    assert lines(channel)[-1] == "[the rules have changed: you may now write to this console]"


def test_who_waits_for_the_pen_leaves_the_line(w: SSHWorld) -> None:
    w.vm()
    bob = bob_writes(w)
    channel = attach(w)
    w.rules(("alice", "spy", "*"))
    w.console().viewers.detach(bob)
    assert w.console().write_access.writer is None
    assert "[attached]" not in lines(channel)


@pytest.mark.parametrize(("may", "status"), [("see", exit_status.FORBIDDEN), ("", exit_status.NO_SUCH_CONSOLE)])
def test_who_may_not_look_any_more_is_sent_off(w: SSHWorld, may: str, status: int) -> None:
    w.vm()
    channel = attach(w)
    w.rules(("alice", may, "*"))
    assert lines(channel)[-1] == "[-- the rules have changed: you may no longer read this console --]"
    assert channel.status == status
    assert not w.console().viewers.all
    w.console().feed(b"secret")
    channel.client.pump()
    assert b"secret" not in channel.out


def test_rules_that_change_nothing_for_him_are_not_told(w: SSHWorld) -> None:
    w.vm()
    channel = attach(w)
    channel.clear()
    w.rules(("alice", "force", "*"))
    assert lines(channel) == []
    assert "web01" in w.console().title


def test_who_is_sent_off_by_an_administrator_leaves_with_a_status_of_its_own(w: SSHWorld) -> None:
    w.vm()
    channel = attach(w)
    (viewer,) = w.console().viewers.all
    w.console().viewers.kick(viewer, BOB, "maintenance")
    assert lines(channel)[-1] == f"[-- disconnected by {BOB}: maintenance --]"
    assert channel.status == exit_status.KICKED
    assert not w.console().viewers.all
    assert Kicked(BOB, "x").essential


# Sessions that go on after a console is left.


def test_who_is_called_back_when_the_console_is_left_keeps_the_session(w: SSHWorld, logged: Logged) -> None:
    w.vm()
    w.vm("web02", VM_B)
    client = w.login()
    channel = client.open()
    channel.pty()
    session = channel.session
    left: list[int] = []

    def attach_to(target: Target) -> bool:
        return attachment.attach(session, target, lambda status, _: left.append(status))

    assert attach_to(Target("web01"))
    channel.type(b"\x05c;web02\r\x05c.")
    assert left == [exit_status.OK]
    assert not channel.ended
    assert session.router.activity is None
    assert not attach_to(Target("nothing"))
    assert left == [exit_status.OK, exit_status.NO_SUCH_CONSOLE]
    client.pump()
    assert b"nothing: no such console\r\n" in channel.err
    assert not channel.ended
    assert attach_to(Target("web01"))
    assert w.console("web01").write_access.writer is session.router.activity
    assert not logged.tracebacks


def test_what_is_typed_behind_the_detach_is_for_whoever_comes_next(w: SSHWorld) -> None:
    link, other = w.vm(), w.vm("web02", VM_B)
    channel = w.login().open()
    channel.pty()
    session = channel.session

    def move(status: int, reason: str) -> None:
        attachment.attach(session, Target("web02"))

    attachment.attach(session, Target("web01"), move)
    channel.type(b"a\x05c.b")
    assert (link.written, other.written) == (b"a", b"b")


def test_the_size_of_the_terminal_is_known_within_bounds(w: SSHWorld) -> None:
    channel = w.login().open()
    channel.pty()
    session = channel.session
    assert (session.size, session.term) == ((80, 24), "xterm")
    for sent, size in (
        ((100, 40), (100, 40)),
        ((0, 0), (80, 24)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (1000, 1000)),
    ):
        channel.request(b"window-change", b"".join(n.to_bytes(4, "big") for n in (*sent, 0, 0)), reply=False)
        assert session.size == size
    channel.request(b"window-change", b"\0\0")
    assert channel.replies[-1] == 100
    assert session.size == (1000, 1000)


def test_a_terminal_that_makes_no_sense_is_refused(w: SSHWorld) -> None:
    channel = w.login().open()
    channel.request(b"pty-req", b"\0\0\0\x05xterm\0\0")
    assert channel.replies == [100]
    assert not channel.session.has_pty
