"""Slips at the keyboard, and questions that meet everything else: nothing is lost, nothing goes to the wrong place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.ssh import RemoteChannel, SSHWorld
from vmproxy.access.policy import Right
from vmproxy.operators import exit_status
from vmproxy.operators.output_view import QUEUE_LIMIT


def fresh(w: SSHWorld, user: str = "web01") -> RemoteChannel:
    """Attached on a terminal, and the greeting forgotten."""
    channel = w.login(user).attach(pty=True)
    assert not channel.ended, channel.screen
    channel.clear()
    return channel


def said(channel: RemoteChannel) -> str:
    return channel.err.decode()


class TestOctal:
    @pytest.mark.parametrize("keys", [b"018", b"01\x03", b"01\r", b"01 ", b"400", b"777", b"\xff12", b"0+1"])
    def test_what_is_no_byte_is_told_and_nothing_else_happens(self, w: SSHWorld, keys: bytes) -> None:
        link = w.vm()
        channel = fresh(w)
        channel.type(b"\x05c\\" + keys)
        assert not channel.ended
        assert "unknown -- use" in said(channel)
        channel.type(b"ls")
        assert link.written.endswith(b"ls")
        assert b"\x01" not in link.written

    @pytest.mark.parametrize(("keys", "byte"), [(b"000", 0), (b"015", 13), (b"377", 255)])
    def test_a_byte(self, w: SSHWorld, keys: bytes, byte: int) -> None:
        link = w.vm()
        fresh(w).type(b"\x05c\\" + keys)
        assert link.written == bytes([byte])


class TestTrails:
    def test_the_audit_trail_says_who_wrote_when(self, w: SSHWorld) -> None:
        w.vm()
        first, second = fresh(w), fresh(w)
        second.type(b"\x05cs")
        first.type(b"\x05cs")
        second.type(b"\x05ca")
        second.type(b"\x05ca")
        first.type(b"\x05ca")
        second.type(b"\x05cs")
        kinds = ("attach", "take", "drop", "promote")
        assert [e["event"] for e in w.audited(*kinds)] == ["attach", "attach", "drop", "take", "drop", "promote"]

    def test_joining_is_in_it(self, w: SSHWorld) -> None:
        w.use_policy(None, [{"on": "*", "write": "shared"}])
        w.vm()
        first, second = fresh(w), fresh(w)
        second.type(b"\x05cj")
        second.type(b"\x05cj")
        assert len(w.audited("join")) == 1
        first.client.pump()
        assert "writes too" in said(first)

    def test_who_is_quiet_hears_that_he_has_the_pen(self, w: SSHWorld) -> None:
        w.vm()
        first = fresh(w)
        quiet = fresh(w, "web01,quiet")
        first.type(b"\x05c.")
        quiet.client.pump()
        assert "[attached]" in said(quiet)

    def test_a_raw_stream_is_in_it_from_its_beginning_to_its_end(self, w: SSHWorld) -> None:
        w.vm()
        raw = w.login().raw("web01")
        raw.close()
        raw.client.pump()
        seen = [(e["event"], e["uuid"], e.get("mode")) for e in w.audited("attach", "detach")]
        assert seen == [("attach", str(VM_A), "raw"), ("detach", str(VM_A), None)]

    def test_status_says_that_logging_is_turned_off(self, w: SSHWorld) -> None:
        w.vm()
        w.console().set_logging(False, "bob")
        assert b"NOT being recorded: turned off" in w.login().run("status web01").out

    def test_to_look_on_by_force_makes_no_sense(self, w: SSHWorld) -> None:
        w.vm()
        for words in ("console -f web01,ro", "console -s web01,force"):
            assert w.login().run(words).status == exit_status.USAGE


class TestMoving:
    def test_what_was_chosen_for_the_session_goes_along(self, w: SSHWorld) -> None:
        w.vm()
        other = w.vm("web02", VM_B)
        channel = fresh(w, "web01,ro,quiet,escape=^]q")
        channel.type(b"\x1dq;web02\r")
        assert "[spy]" in said(channel)
        assert w.console("web02").write_access.writer is None
        channel.type(b"ls")
        assert other.written == b""
        channel.type(b"\x1dq.")
        assert channel.status == exit_status.OK

    def test_who_only_looks_on_cannot_force_by_moving(self, w: SSHWorld) -> None:
        w.vm()
        w.vm("web02", VM_B)
        w.console("web02").viewers.attach(FakeViewer("bob@10.1.2.9"), write=True)
        channel = fresh(w, "web01,ro")
        channel.type(b"\x05c;web02,force\r")
        assert "[this session is read-only]" in said(channel)
        assert len(w.console("web01").viewers.all) == 1

    def test_to_where_one_is_with_an_option(self, w: SSHWorld) -> None:
        w.vm()
        channel = fresh(w)
        channel.type(b"\x05c;web01,ro\r")
        assert w.console("web01").write_access.writer is None
        assert "[spy]" in said(channel)
        channel.type(b"\x05c;web01\r")
        assert "[you are already there]" in said(channel)


class TestQuestions:
    def test_what_was_skipped_is_announced_where_it_is_missing(self, w: SSHWorld) -> None:
        w.vm()
        channel = fresh(w)
        channel.type(b"\x05cn")
        for letter in b"abcd":
            w.console().feed(bytes([letter]) * 100_000)
        channel.type(b"\x03")
        w.console().feed(b"live")
        channel.client.pump()
        screen = channel.screen
        notice = f"[-- {400_000 - QUEUE_LIMIT} bytes skipped: a question was open --]".encode()
        assert screen.index(b"[nothing noted]") < screen.index(b"aaaa") < screen.index(notice) < screen.index(b"live")
        assert screen.index(b"cccc") < screen.index(notice)

    def test_the_escape_ends_a_question(self, w: SSHWorld) -> None:
        w.vm()
        channel = fresh(w)
        channel.type(b"\x05cnhalf\x05c.")
        assert channel.status == exit_status.OK
        assert "[nothing noted]" in said(channel)

    def test_the_escape_ends_a_question_also_in_two_pieces(self, w: SSHWorld) -> None:
        link = w.vm()
        channel = fresh(w)
        channel.type(b"\x05cnhalf")
        channel.type(b"\x05")
        channel.type(b"cw")
        assert "[nothing noted]" in said(channel)
        assert "[who]" in said(channel)
        channel.type(b"ls")
        assert link.written == b"ls"

    @pytest.mark.parametrize("key", [b"n", b"b"])
    def test_the_rest_of_a_paste_does_not_go_to_the_vm(self, w: SSHWorld, key: bytes) -> None:
        link = w.vm()
        w.console().viewers.attach(FakeViewer("bob@10.1.2.9"), write=False)
        channel = fresh(w)
        channel.type(b"\x05c" + key)
        channel.type(b"one\rreboot\rhalt\r")
        assert link.written == b""
        assert "12 bytes, is dropped" in said(channel)
        channel.type(b"ls\r")
        assert link.written == b"ls\r"

    def test_a_replay_does_not_draw_over_a_question(self, w: SSHWorld) -> None:
        w.vm()
        w.console().feed(b"row\r\n$ ")
        channel = fresh(w)
        w.threads_held = True
        channel.type(b"\x05cr\x05cnmy no")
        w.release_threads()
        channel.client.pump()
        screen = channel.screen
        before, _, behind = screen.partition(b"$ ")
        assert b"row" in before
        assert behind.endswith(b"\r\n\rnote: my no\x1b[K")
        channel.type(b"te\r")
        assert "[noted]" in said(channel)
        w.store.flush()
        assert b'"text":"my note"' in Path(w.console().log.file.trail_path).read_bytes()

    def test_a_session_that_ends_under_a_question_takes_it_from_the_screen(self, w: SSHWorld) -> None:
        w.vm()
        channel = fresh(w)
        channel.type(b"\x05cnhalf")
        w.rules(("*", "", "web*"))
        channel.client.pump()
        assert channel.ended
        assert channel.screen.rpartition(b"half")[2].startswith(b"\x1b[K\r\x1b[K[-- the rules have changed")


class TestRenaming:
    """Rules select by name and by the query of the URI: both can change under a session."""

    def test_a_session_on_a_vm_that_gets_a_hidden_name_ends(self, w: SSHWorld) -> None:
        w.rules(("*", "", "secret*"), ("*", "write", "*"))
        w.vm()
        console = w.console()
        channel = fresh(w)
        w.directory.rename(console, "secret99")
        console.feed(b"top secret")
        channel.client.pump()
        assert channel.ended
        assert b"top secret" not in channel.screen

    def test_who_waits_is_not_promoted_on_a_vm_that_he_may_only_look_at_now(self, w: SSHWorld) -> None:
        w.rules(("*", "spy", "prod*"), ("*", "write", "*"))
        w.vm()
        console = w.console()
        writer = FakeViewer("bob@10.1.2.9")
        console.viewers.attach(writer, write=True)
        channel = fresh(w)
        w.directory.rename(console, "prod1")
        console.viewers.detach(writer)
        channel.client.pump()
        assert console.write_access.writer is None

    def test_the_query_of_the_uri_counts_too(self, w: SSHWorld) -> None:
        w.rules(("*", "", "query:team=red"), ("*", "write", "*"))
        w.vm()
        console = w.console()
        channel = fresh(w)
        w.claim(port="1", uri="vmproxy?team=red")
        channel.client.pump()
        assert channel.ended
        assert Right.SEE not in w.directory.policy.grants("alice").rights(console)
        assert console.uuid == VM_A
