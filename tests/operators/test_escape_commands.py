"""The escape commands: what each key does, says and leaves in the trails."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest
from twisted.conch.ssh.common import NS

from tests.support.console_session import feed, fresh
from tests.support.fakes import VM_A, VM_B, FakeViewer, one_turn
from tests.support.ssh import DATA, RemoteChannel, SSHWorld
from vmproxy.base.turns import SPAN
from vmproxy.console import notices
from vmproxy.operators import exit_status
from vmproxy.operators.output_view import QUEUE_LIMIT
from vmproxy.operators.terminal.prompt import ANSWER_SECONDS
from vmproxy.operators.terminal.reports import Reports

VM_C = VM_A.__class__("0c0c0c0c-1111-2222-3333-444455556666")


def lines(channel: RemoteChannel) -> list[str]:
    """What was said, without what was drawn over."""
    rows = channel.err.decode().replace("\r\n", "\n").split("\n")
    return [row.rsplit("\r", 1)[-1].removesuffix("\x1b[K") for row in rows if row]


# Moving.


def test_one_moves_to_another_console_by_name(w: SSHWorld) -> None:
    w.vm()
    other = w.vm("web02", VM_B)
    channel = fresh(w)
    channel.type(b"\x05c;")
    assert lines(channel) == ["console: "]
    channel.type(b"web02\r")
    assert "[detached from web01]" in lines(channel)
    assert any(line.startswith("[web02 -- up") for line in lines(channel))
    assert lines(channel)[-1] == "[attached]"
    assert not w.console("web01").viewers.all
    channel.type(b"ls\r")
    assert other.written == b"ls\r"
    assert [(e["event"], e["console"]) for e in w.audited("attach", "detach")] == [
        ("attach", "web01"),
        ("detach", "web01"),
        ("attach", "web02"),
    ]


def test_what_is_typed_behind_the_answer_goes_to_the_other_console(w: SSHWorld) -> None:
    link = w.vm()
    other = w.vm("web02", VM_B)
    channel = fresh(w)
    channel.type(b"one\x05c;web02\rtwo\x05c.")
    assert (link.written, other.written) == (b"one", b"two")
    assert channel.status == exit_status.OK


def test_tab_completes_only_consoles_that_may_be_seen(w: SSHWorld) -> None:
    w.vm()
    w.vm("web02", VM_B)
    w.vm("west", VM_C)
    w.rules(("alice", "write", "web*"))
    channel = fresh(w)
    channel.type(b"\x05c;we\t")
    assert lines(channel)[-1] == "console: web0"
    channel.clear()
    channel.type(b"\t")
    assert "web01  web02" in lines(channel)
    channel.type(b"2\t\r")
    assert lines(channel)[-1] == "[attached]"


def test_a_uuid_is_completed_as_well(w: SSHWorld) -> None:
    w.vm()
    w.vm("web02", VM_B)
    channel = fresh(w)
    channel.type(b"\x05c;5028\t\r")
    assert "[attached]" in lines(channel)
    assert w.console("web02").viewers.all


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"hidden\r", "[hidden: no such console]"),
        (b"web0\r", "web0: "),
        (b"web02,rw\r", "[rw: no such option"),
        (b"web01\r", "[you are already there]"),
        (b"\r", "[you stay at web01]"),
        (b"web02\x03", "[you stay at web01]"),
        (b"looked\r", "[looked: you may list it, but not read it]"),
    ],
)
def test_where_one_cannot_move_one_stays(w: SSHWorld, answer: bytes, said: str) -> None:
    link = w.vm()
    w.vm("web02", VM_B)
    w.vm("hidden", VM_C)
    w.vm("looked", VM_C.__class__(int=5))
    w.rules(("alice", "see", "looked"), ("alice", "write", "web*"))
    channel = fresh(w)
    channel.type(b"\x05c;" + answer)
    assert any(said in line for line in lines(channel)), lines(channel)
    channel.type(b"here\r")
    assert link.written == b"here\r"


def test_one_moves_with_options(w: SSHWorld) -> None:
    w.vm()
    w.vm("web02", VM_B)
    channel = fresh(w)
    channel.type(b"\x05c;web02,ro\r")
    assert lines(channel)[-1] == "[spy]"


# Questions and what happens meanwhile.


def test_output_waits_while_a_question_stands_and_then_comes_in_order(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cn")
    feed(w, b"one\r\n", channel)
    feed(w, b"two\r\n", channel)
    assert channel.out == b""
    channel.type(b"disk replaced\r")
    assert channel.out == b"one\r\ntwo\r\n"


def test_output_that_waits_for_an_answer_is_bounded_and_what_is_skipped_is_said(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cn")
    for _ in range(40):
        feed(w, b"x" * 10_000)
    channel.type(b"\x03")
    assert len(channel.out) == QUEUE_LIMIT
    assert f"[-- {400_000 - QUEUE_LIMIT} bytes skipped: a question was open --]" in lines(channel)
    assert w.services.skipped == {"ssh": 400_000 - QUEUE_LIMIT}
    feed(w, b"again", channel)
    assert channel.out.endswith(b"again")


def test_a_notice_comes_above_the_question(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cnhal")
    channel.clear()
    w.console().viewers.tell(notices.GuestBreak())
    channel.client.pump()
    assert channel.err == b"\r\x1b[K[-- web01: the guest sent a break --]\r\n\rnote: hal\x1b[K"


def test_a_question_that_nobody_answers_ends_by_itself(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cn")
    w.clock.advance(ANSWER_SECONDS - 1)
    channel.type(b"x")
    w.clock.advance(ANSWER_SECONDS - 1)
    feed(w, b"waits", channel)
    assert channel.out == b""
    w.clock.advance(1)
    channel.client.pump()
    assert channel.out == b"waits"
    assert "[nothing noted]" in lines(channel)


def test_leaving_with_a_question_open_leaves_nothing_behind(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cn")
    channel.close()
    assert not w.console().viewers.all
    before = len(w.clock.getDelayedCalls())
    w.clock.advance(2 * ANSWER_SECONDS)
    assert len(w.clock.getDelayedCalls()) <= before


def test_the_question_follows_the_terminals_width(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cn" + b"x" * 60)
    channel.clear()
    channel.request(b"window-change", b"\0\0\0\x14\0\0\0\x05" + b"\0" * 8)
    assert channel.err == b"\rnote: " + b"x" * 12 + b"\x1b[K"


# Messages and notes.


def test_a_message_goes_to_the_others_and_not_into_the_log(w: SSHWorld) -> None:
    w.vm()
    channel, other = fresh(w), fresh(w)
    bob = FakeViewer("bob@10.1.2.9")
    w.console().viewers.attach(bob, write=False)
    channel.clear()
    channel.type(b"\x05cbreboot in 5\x07 minutes\r")
    assert bob.notices[-1:] == [notices.Message("alice@10.1.2.9", "reboot in 5 minutes")]
    assert "[sent to 2 others]" in lines(channel)
    assert not any("message from" in line for line in lines(channel))
    other.client.pump()
    assert "[-- message from alice@10.1.2.9: reboot in 5 minutes --]" in lines(other)
    assert not w.audited("message")


def test_alone_there_is_nobody_to_send_a_message_to(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cb")
    assert lines(channel) == ["[nobody else is here]"]


def test_a_note_goes_into_the_event_trail_and_of_it_only_that_it_was_made_into_the_audit_trail(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cnfan replaced\r")
    assert lines(channel)[-1] == "[noted]"
    note = w.events()[-1]
    assert (note["event"], note["who"], note["text"]) == ("note", "alice@10.1.2.9", "fan replaced")
    (audited,) = w.audited("note")
    assert (audited["who"], audited["console"]) == ("alice", "web01")
    assert "fan" not in str(audited)


# What is sent.


def test_one_byte_is_sent_by_its_octal_number(w: SSHWorld) -> None:
    link = w.vm()
    channel = fresh(w)
    channel.type(b"\x05c\\015\x05c\\377a\x05c\\0003")
    assert link.written == b"\r\xffa\x003"
    channel.type(b"\x05c\\9")
    assert lines(channel) == ["[unknown -- use `^Ec?']"]


SEQUENCES = {"sysrq sync": "<break>s", "login": "root\r<wait 0.5>secret\r", "off": "<break>o"}


def test_named_sequences_are_listed_and_sent_and_only_their_names_are_told(w: SSHWorld) -> None:
    link = w.vm()
    w.use_policy(None, [{"on": ["*"], "sequences": SEQUENCES}])
    channel = fresh(w)
    channel.type(b"\x05cl?")
    assert lines(channel) == ["[sequences]", " l0   break", " l1   sysrq sync", " l2   login", " l3   off"]
    channel.clear()
    channel.type(b"\x05cl1")
    assert (link.breaks, link.written) == (1, b"s")
    assert lines(channel) == ["[sent: sysrq sync]"]
    channel.type(b"\x05cl2")
    assert link.written == b"sroot\r"
    channel.type(b"\x05cl1")
    assert lines(channel)[-1] == "[not now: a sequence is being sent]"
    w.clock.advance(0.5)
    channel.client.pump()
    assert link.written == b"sroot\rsecret\r"
    assert [(e["event"], e["name"]) for e in w.audited("sequence")] == [
        ("sequence", "sysrq sync"),
        ("sequence", "login"),
    ]
    assert b"secret" not in w.audit.path.read_bytes()
    channel.type(b"\x05cl9")
    assert lines(channel)[-1] == "[there is no sequence l9; `^Ecl?' lists them]"


def test_a_sequence_breaks_off_with_the_pen(w: SSHWorld) -> None:
    link = w.vm()
    w.use_policy(None, [{"on": ["*"], "sequences": SEQUENCES}])
    channel, other = fresh(w), fresh(w)
    channel.type(b"\x05cl2")
    other.type(b"\x05cf")
    w.clock.advance(0.5)
    channel.client.pump()
    assert link.written == b"root\r"
    assert lines(channel)[-1] == "[-- broken off: login --]"
    channel.type(b"\x05cl1")
    assert lines(channel)[-1] == "[read-only -- ^Ecf takes over]"
    assert link.breaks == 0


def test_a_sequence_ends_with_its_session(w: SSHWorld) -> None:
    link = w.vm()
    w.use_policy(None, [{"on": ["*"], "sequences": SEQUENCES}])
    channel = fresh(w)
    channel.type(b"\x05cl2\x05c.")
    assert channel.status == exit_status.OK
    w.clock.advance(1)
    assert link.written == b"root\r"


# The past.


def test_the_past_is_shown_again_in_three_lengths(w: SSHWorld) -> None:
    w.vm()
    feed(w, b"".join(b"%d\r\n" % n for n in range(100)))
    channel = fresh(w, "web01,replay=0")
    for key, count in ((b"r", 20), (b"p", 60), (b"\x12", 1)):
        channel.clear()
        channel.type(b"\x05c" + key)
        assert channel.out == b"".join(b"%d\r\n" % n for n in range(100 - count, 100))
        assert lines(channel) == [f"[-- last {count} line{'s' if count > 1 else ''} --]", "[-- live --]"]


# Looking around.


def test_the_overview_lists_what_may_be_seen_and_fits_the_screen(w: SSHWorld) -> None:
    for n in range(40):
        w.vm(f"web{n:02}", VM_A.__class__(int=n + 1))
    w.vm("secret", VM_B)
    w.rules(("alice", "write", "web*"))
    channel = fresh(w, "web05")
    channel.type(b"\x05cu")
    said = lines(channel)
    assert said[0] == "[40 consoles]"
    assert said[1].startswith("  web00 ")
    assert [line for line in said if line.startswith("*")] == [said[6]]
    assert said[6].startswith("* web05 ")
    assert said[6].endswith(", alice@10.1.2.9 writes")
    assert said[-1] == "  ... and 19 more; the command `list' shows them all"
    assert len(said) <= 24
    channel.clear()
    channel.type(b"\x05cu" * 500)
    assert lines(channel) == []
    w.clock.advance(1)
    channel.type(b"\x05cu")
    assert len(lines(channel)) == len(said)


def test_information_tells_all_that_is_known_with_the_size_of_the_log(w: SSHWorld) -> None:
    link = w.vm()
    w.console().settings = "115200 8N1"
    feed(w, b"x" * 2000)
    channel = fresh(w)
    channel.type(b"ab\x05ci")
    said = "\n".join(lines(channel))
    assert link.written == b"ab"
    for part in (
        "console: web01",
        "10.1.2.3",
        f"VC UUID: {VM_A}",
        "115200 8N1",
        "from the VM: 2.0 kB  to the VM: 2 bytes",
        str(w.console().log.path),
        "log size: 2.0 kB",
        "up since: 2023-11-14 22:13:20Z",
    ):
        assert part in said


def test_information_that_is_asked_for_over_and_over_is_looked_up_once_at_a_time(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    w.runner.held = True
    channel.type(b"\x05ci" * 100)
    assert len(w.runner.jobs) < 5
    w.runner.release()
    channel.client.pump()
    assert lines(channel).count("[info]") == 1


def test_the_size_of_the_terminal_is_typed_at_the_guest_by_the_writer(w: SSHWorld) -> None:
    link = w.vm()
    channel, other = fresh(w), fresh(w)
    channel.type(b"\x05cS")
    assert lines(channel)[-1] == "[typed: stty rows 24 cols 80]"
    channel.request(b"window-change", struct.pack(">4L", 132, 50, 0, 0), reply=False)
    channel.type(b"\x05cS")
    other.type(b"\x05cS")
    assert lines(other)[-1].startswith("[read-only")
    assert link.written == b"stty rows 24 cols 80\rstty rows 50 cols 132\r"


def test_times_are_put_in_front_of_lines_in_ones_own_view_only(w: SSHWorld) -> None:
    w.vm()
    channel, other = fresh(w), fresh(w)
    feed(w, b"before ", channel)
    channel.type(b"\x05ct")
    feed(w, b"one\r\ntwo", channel, other)
    w.clock.advance(61)
    feed(w, b"...\r\nthree\r\n", channel, other)
    channel.type(b"\x05ct")
    feed(w, b"four\r\n", channel, other)
    assert channel.out == b"before one\r\n22:13:20 two...\r\n22:14:21 three\r\nfour\r\n"
    assert other.out == b"before one\r\ntwo...\r\nthree\r\nfour\r\n"
    w.store.flush()
    assert w.console().log.path.read_bytes() == other.out


def test_lines_that_waited_bear_the_time_at_which_they_came(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05ct\x05cn")
    feed(w, b"one\r\n", channel)
    w.clock.advance(10)
    channel.client.pump()
    feed(w, b"two\r\n", channel)
    channel.type(b"\x03")
    assert channel.out == b"22:13:20 one\r\n22:13:30 two\r\n"


def test_times_count_into_the_bound(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05ct")
    channel.client.tcp.reads = False
    for _ in range(20):
        feed(w, b"\n" * 100_000)
    queued = channel.session.queued
    assert queued <= QUEUE_LIMIT + 100
    channel.client.tcp.reads = True
    channel.client.pump()
    assert "bytes skipped" in lines(channel)[-1]
    feed(w, b"on\n", channel)
    assert channel.out.endswith(b"22:13:20 on\n")


def test_quiet_is_switched_on_and_off(w: SSHWorld) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05cq")
    w.console().viewers.tell(notices.GuestBreak())
    w.console().viewers.tell(notices.LogFailed("No space left on device"))
    channel.type(b"\x05cq")
    w.console().viewers.tell(notices.GuestBreak())
    channel.client.pump()
    assert lines(channel) == [
        "[quiet]",
        "[-- log: cannot write: No space left on device; NOT being recorded --]",
        "[all notices]",
        "[-- web01: the guest sent a break --]",
    ]


# The escape itself.


def test_the_escape_is_redefined_for_the_session(w: SSHWorld) -> None:
    link = w.vm()
    channel = fresh(w)
    channel.type(b"\x05ce\x1dq\x05c.\x1dqs")
    assert link.written == b"\x05c."
    assert lines(channel) == ["[the escape is ^]q now]", "[spy]"]
    channel.type(b"x")
    assert lines(channel)[-1] == "[read-only -- ^]qa attaches]"
    channel.type(b"\x1dq?")
    assert any("^]^] sends one ^]" in line for line in lines(channel))


@pytest.mark.parametrize("keys", [b"\rx", b"ab", b"\x05\x01"])
def test_what_can_be_no_escape_changes_nothing(w: SSHWorld, keys: bytes) -> None:
    w.vm()
    channel = fresh(w)
    channel.type(b"\x05ce" + keys)
    assert lines(channel)[0].startswith("[no escape can ")
    channel.type(b"\x05c.")
    assert channel.status == exit_status.OK


def test_the_escape_can_be_said_with_the_target(w: SSHWorld) -> None:
    link = w.vm()
    channel = w.login("web01,escape=^]q").attach()
    assert b"[Enter `^]q?' for help]" in channel.err
    channel.type(b"\x05c.\x1dq.")
    assert link.written == b"\x05c."
    assert channel.status == exit_status.OK


def test_the_escape_can_be_the_servers(w: SSHWorld) -> None:
    w.vm()
    w.services.settings = replace(w.services.settings, escape=b"\x01z")
    channel = w.login("web01").attach()
    assert b"[Enter `^Az?' for help]" in channel.err
    channel.type(b"\x01z.")
    assert channel.status == exit_status.OK


@pytest.mark.parametrize("key", [b"z", b"|", b"c", b"x", b"g"])
def test_conservers_keys_that_mean_nothing_here_say_so(w: SSHWorld, key: bytes) -> None:
    link = w.vm()
    channel = fresh(w)
    channel.type(b"\x05c" + key)
    assert lines(channel) == [f"[`{key.decode()}' means nothing over SSH]"]
    assert link.written == b""


def test_a_paste_full_of_commands_is_dealt_with_in_order_a_few_per_turn(w: SSHWorld) -> None:
    link = w.vm()
    w.vm("web02", VM_B)
    channel = fresh(w)
    w.clock.advance(0)
    write = link.write

    def takes_time(data: bytes) -> None:
        w.clock.rightNow += SPAN / 20
        write(data)

    link.write = takes_time
    paste = b"".join(b"%d\x05cz" % n for n in range(100)) + b"\x05cn\x03" * 3 + b"end"
    channel.queue(DATA, NS(paste))
    channel.client.server.dataReceived(bytes(channel.client.out.buffer))
    channel.client.out.buffer.clear()
    first = b"".join(b"%d" % n for n in range(20))
    assert link.written in (first, first + b"20")
    channel.type(b"!")
    assert link.written == b"".join(b"%d" % n for n in range(100)) + b"end!"


def test_reports_of_the_terminal_have_their_turns_and_keep_their_order(w: SSHWorld) -> None:
    link = w.vm()
    channel = fresh(w)
    w.clock.advance(0)
    write = link.write

    def takes_time(data: bytes) -> None:
        w.clock.rightNow += SPAN / 20
        write(data)

    link.write = takes_time
    typed = b"".join(b"\x1b[%d;5R" % n for n in range(2, 102)) + b"".join(b"%d\x1b[I" % n for n in range(100)) + b"end"
    channel.queue(DATA, NS(typed))
    channel.client.server.dataReceived(bytes(channel.client.out.buffer))
    channel.client.out.buffer.clear()
    assert 0 < len(link.written) < 200
    for _ in range(100):
        one_turn(w.clock)
    assert link.written == typed


def test_input_that_takes_a_whole_turn_to_be_looked_through_gets_on(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = w.vm()
    channel = fresh(w)
    w.clock.advance(0)
    split = Reports.split

    def takes_long(reports: Reports, data: bytes) -> Iterator[tuple[bool, bytes]]:
        w.clock.rightNow += SPAN
        yield from split(reports, data)

    monkeypatch.setattr(Reports, "split", takes_long)
    channel.queue(DATA, NS(b"a\x05c?b\x1b[Ic\x1b[Id"))
    channel.client.server.dataReceived(bytes(channel.client.out.buffer))
    channel.client.out.buffer.clear()
    for _ in range(20):
        one_turn(w.clock)
    assert link.written == b"ab\x1b[Ic\x1b[Id"


# The console as a whole.


def test_who_writes_can_have_the_vms_connection_closed(w: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    link = w.vm()
    closed: list[str] = []
    monkeypatch.setattr(link, "close", closed.append)
    w.rules(("*", "write", "*"))
    channel, spy = fresh(w), fresh(w)
    spy.type(b"\x05co")
    assert lines(spy) == ["[only the writer may close the connection]"]
    assert not closed
    channel.clear()
    channel.type(b"\x05co")
    assert len(closed) == 1
    assert lines(channel)[-1] == "[connection closed; the VM's host connects again]"
    assert [e["console"] for e in w.audited("reopen")] == ["web01"]
    w.directory.lost(w.console(), link, "gone")
    channel.clear()
    channel.type(b"\x05co")
    assert lines(channel)[-1] == "[-- not reopened: down since 2023-11-14 22:13:20Z (gone) --]"


def test_an_administrator_turns_logging_off_and_on_and_everybody_is_told(w: SSHWorld) -> None:
    w.vm()
    channel, other = fresh(w), fresh(w)
    channel.clear()
    channel.type(b"\x05cL")
    feed(w, b"not recorded", other)
    off = "[-- log: turned off by alice@10.1.2.9; NOT being recorded --]"
    assert lines(channel)[-1] == off
    assert lines(other) == [off]
    assert "NOT being recorded: turned off]" in w.login("web01,ro").attach().err.decode()
    channel.clear()
    channel.type(b"\x05cL")
    assert lines(channel)[-1] == "[-- log: turned on by alice@10.1.2.9, 12 bytes not recorded --]"
    assert [e["event"] for e in w.audited("logging-off", "logging-on")] == ["logging-off", "logging-on"]
    feed(w, b"recorded")
    w.store.flush()
    assert w.console().log.path.read_bytes() == b"recorded"


def test_only_an_administrator_turns_logging_off(w: SSHWorld) -> None:
    w.vm()
    w.rules(("*", "force", "*"))
    channel = fresh(w)
    channel.type(b"\x05cL")
    assert lines(channel) == ["[only an administrator may turn logging off or on]"]
    assert w.console().logging
