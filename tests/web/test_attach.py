"""Attaching over a websocket: output to the byte, write access, rights, notices, and the ways in which it ends."""

from __future__ import annotations

import re

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.support.attach import Browser, Web
from tests.support.fakes import EPOCH, VM_A, VM_B, FakeViewer
from tests.support.log_files import segments
from tests.support.ssh import SSHWorld
from vmproxy.console.notices import Alerted, LineDown
from vmproxy.log.rotation import RotationPolicy
from vmproxy.operators.readings import THREADS

KIB = 1024


@pytest.fixture
def web(w: SSHWorld) -> Web:
    w.vm()
    w.console().feed(b"one\r\ntwo\r\n")
    w.settle()
    return Web(w)


def say(web: Web, data: bytes) -> None:
    web.world.console().feed(data)
    web.world.clock.advance(0.05)
    web.world.settle()


# Output.


def test_first_comes_hello_then_the_past_then_the_present(web: Web) -> None:
    browser = web.attach(replay="1")
    say(web, b"three\r\n")
    assert browser.order == ["hello", "replay", "output", "replay", "cursor", "output"]
    assert browser.seen == b"two\r\nthree\r\n"
    hello = browser.hello
    assert hello["console"]["id"] == str(VM_A)
    assert (hello["mode"], hello["writers"], hello["window"]) == ("write", ["alice@10.1.2.9"], 512 * KIB)
    assert (hello["resumed"], hello["input_recorded"], hello["sequences"]) == (False, False, [])


def test_without_a_replay_only_the_present_comes(web: Web) -> None:
    browser = web.attach(replay="0")
    say(web, b"\xff\x00\x1b[c")
    assert browser.seen == b"\xff\x00\x1b[c"


def test_the_past_asks_the_terminal_nothing_and_its_cut_end_joins_its_rest(web: Web) -> None:
    say(web, b"\x1b[6nask\x1b[3")
    browser = web.attach(replay="1")
    say(web, b"1mred")
    assert b"\x1b[6n" not in browser.seen
    assert browser.seen.endswith(b"ask\x1b[31mred")


def test_what_is_said_during_the_replay_is_behind_it(web: Web) -> None:
    web.world.threads_held = True
    browser = web.attach()
    say(web, b"three\r\n")
    web.world.threads_held = False
    web.world.release_threads()
    say(web, b"four\r\n")
    assert browser.live == b"three\r\nfour\r\n"
    assert browser.seen == b"one\r\ntwo\r\nthree\r\nfour\r\n"


def test_output_goes_on_at_a_cursor(web: Web) -> None:
    first = web.attach()
    say(web, b"three\r\n")
    web.world.clock.advance(1)
    cursor = first.cursor
    say(web, b"four\r\n")
    second = web.attach(from_=cursor)
    say(web, b"five\r\n")
    assert second.hello["resumed"] is True
    assert second.seen == b"four\r\nfive\r\n"
    assert second.order == ["hello", "replay", "output", "replay", "cursor", "output"]
    third = web.attach(from_=second.cursor)
    assert third.hello["resumed"] is True


def test_a_cursor_is_good_after_rotation(web: Web) -> None:
    cursor = web.attach().cursor
    say(web, b"before\r\n")
    for number in range(30):
        web.world.writer.rotation.use(RotationPolicy(size=1))
        web.world.tick(0)
        say(web, b"%d\r\n" % number)
    assert len(segments(web.world.console().log.path)) > 2
    say(web, b"behind\r\n")
    browser = web.attach(from_=cursor)
    web.world.settle()
    numbers = b"".join(b"%d\r\n" % number for number in range(30))
    assert browser.seen == b"before\r\n" + numbers + b"behind\r\n"


@pytest.mark.parametrize("cursor", ["nonsense", "A" * 36])
def test_a_cursor_that_means_nothing_gives_the_last_lines(web: Web, cursor: str) -> None:
    browser = web.attach(from_=cursor, replay="1")
    assert browser.hello["resumed"] is False
    assert browser.seen == b"two\r\n"


def test_hundreds_that_come_back_with_cursors_of_another_run_have_a_few_logs_opened_at_once(web: Web) -> None:
    log = web.world.console().log
    cursor = web.attach().cursor
    log.file.begin_anew(log.file.base)  # the files are to say whether it is good
    web.world.threads_held = True
    browsers = [web.attach(from_=cursor, replay="1") for _ in range(5 * THREADS)]
    assert web.world.waiting_for_threads == THREADS
    web.world.threads_held = False
    while web.world.waiting_for_threads:
        web.world.release_threads()
        web.world.settle()
    assert [browser.hello["resumed"] for browser in browsers] == [False] * len(browsers)
    assert {browser.seen for browser in browsers} == {b"two\r\n"}


def test_more_than_4_mib_are_not_brought_again(web: Web) -> None:
    cursor = web.attach().cursor
    for _ in range(65):
        say(web, b"x" * (64 * KIB))
    browser = web.attach(from_=cursor, replay="1")
    assert browser.hello["resumed"] is False


def test_3_mib_from_the_log_join_what_is_said_meanwhile(web: Web) -> None:
    cursor = web.attach().cursor
    lines = [b"%07d\r\n" % number for number in range(350_000)]
    for at in range(0, len(lines), 5000):
        say(web, b"".join(lines[at : at + 5000]))
    browser = web.attach(from_=cursor)
    browser.acknowledges = False
    assert len(browser.seen) <= 512 * KIB
    assert len(browser.seen) < 9 * len(lines)
    more = b"more\r\n" * 1000
    say(web, more)
    browser.acknowledges = True
    for _ in range(200):
        browser.read()
        web.world.settle()
    say(web, b"live")
    assert browser.seen == b"".join(lines) + more + b"live"
    assert not browser.told("skipped")


def test_what_was_not_recorded_is_told_as_a_hole(web: Web) -> None:
    cursor = web.attach().cursor
    console = web.world.console()
    say(web, b"a")
    console.set_logging(False, "carol")
    say(web, b"12345")
    console.set_logging(True, "carol")
    say(web, b"b")
    browser = web.attach(from_=cursor)
    web.world.settle()
    assert browser.seen == b"ab"
    assert [told["bytes"] for told in browser.told("skipped")] == [5]


def test_cursors_come_each_second_while_bytes_do(web: Web) -> None:
    browser = web.attach()
    for _ in range(5):
        say(web, b"x")
    web.world.clock.advance(1)
    assert browser.order[-2:] == ["output", "cursor"]
    count = len(browser.told("cursor"))
    web.world.clock.advance(10)
    assert len(browser.told("cursor")) == count
    for _ in range(5):
        say(web, b"x" * (64 * KIB))
    assert len(browser.told("cursor")) == count + 1


def test_all_viewers_get_the_same_frame(web: Web) -> None:
    browsers = [web.attach(user=user, replay="0") for user in ("alice", "bob", "carol")]
    written: list[bytes] = []
    for browser in browsers:
        browser.read()
        browser.transport.write = written.append
    say(web, b"shared")
    web.world.clock.advance(0.05)
    frames = [data for data in written if data.endswith(b"shared")]
    assert len(frames) == 3
    assert frames[0] is frames[1] is frames[2]


def test_many_pieces_become_few_frames_for_many_viewers_and_keep_their_order(web: Web) -> None:
    browsers = [web.attach(user=f"u{number}", replay="0") for number in range(30)]
    for number in range(100):
        web.world.console().feed(b"%02d " % number)
    web.world.console().viewers.tell(Alerted("warning", "disk", "full"))
    web.world.clock.advance(1)
    for browser in browsers:
        assert browser.seen == b"".join(b"%02d " % number for number in range(100))
        assert browser.order[-3:] == ["output", "notice", "cursor"]
        assert browser.order.count("output") == 2  # the first at once


def test_one_viewer_sees_each_piece_at_once(web: Web) -> None:
    browser = web.attach(replay="0")
    for letter in (b"a", b"a", b"a"):
        web.world.console().feed(letter)
    assert [part for part in browser.got if isinstance(part, bytes)] == [b"a", b"a", b"a"]


def test_who_comes_while_a_frame_waits_does_not_get_it(web: Web) -> None:
    first, second = web.attach(user="alice", replay="0"), web.attach(user="bob", replay="0")
    console = web.world.console()
    console.feed(b"at once ")
    console.feed(b"waits ")
    third = web.attach(user="carol", replay="0")
    console.feed(b"for all")
    web.world.clock.advance(1)
    assert first.seen == second.seen == b"at once waits for all"
    assert third.seen == b"for all"


def test_what_does_not_fit_is_skipped_and_told_to_the_byte(web: Web) -> None:
    slow, quick = web.attach(user="alice", replay="0"), web.attach(user="bob", replay="0")
    slow.acknowledges = False
    said = [bytes((number,)) * 100_000 for number in range(20)]
    for piece in said:
        web.world.console().feed(piece)
        web.world.clock.advance(0.1)
        quick.read()
    whole = b"".join(said)
    assert quick.seen == whole
    assert slow.seen == whole[: 512 * KIB]
    assert slow.socket.queued == 0
    slow.say(type="ack", bytes=448 * KIB)
    assert not slow.told("skipped")  # 64 KiB are still under way
    slow.say(type="ack", bytes=1)
    assert [told["bytes"] for told in slow.told("skipped")] == [len(whole) - 512 * KIB]
    say(web, b"and on")
    web.world.clock.advance(0.1)
    assert slow.seen == whole[: 512 * KIB] + b"and on"
    assert {viewer.who: viewer.skipped for viewer in web.world.console().viewers.all} == {
        "alice@10.1.2.9": len(whole) - 512 * KIB,
        "bob@10.1.2.9": 0,
    }


def test_a_client_that_never_reads_has_a_bounded_queue_and_is_ended(web: Web) -> None:
    browser = web.attach(replay="0")
    browser.full()
    for _ in range(100):
        say(web, b"x" * 60_000)
    assert browser.socket.queued <= 512 * KIB + 10 * KIB
    for _ in range(4):
        web.world.clock.advance(25)
    web.world.clock.advance(2)
    assert browser.transport.aborted
    assert not web.world.console().viewers.all


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ack","bytes":1}',
        '{"type":"ack","bytes":-1}',
        '{"type":"ack","bytes":"1"}',
        '{"type":"ack"}',
        "[]",
        "{}",
        "no JSON",
        '{"type":"resize","id":1}',
        '{"type":"take","id":[1]}',
        '{"type":"take","id":"%s"}' % ("x" * 65),
        "[" * 50_000,
        '{"type":"note","id":1,"text":' + '{"a":' * 600 + "1" + "}" * 601,
    ],
)
def test_what_is_none_of_the_protocol_ends_it(web: Web, text: str) -> None:
    browser = web.attach(replay="0")
    browser.acknowledges = False
    from wsproto.events import TextMessage

    browser.raw(browser.wire.send(TextMessage(text)))
    assert browser.close is not None
    assert browser.close[0] == 1008


def test_acknowledging_each_frame_is_not_too_often(web: Web) -> None:
    browser = web.attach(replay="0")
    for _ in range(200):
        web.world.console().feed(b"x")
        browser.read()
    assert browser.close is None
    assert browser.seen == b"x" * 200


def test_pauses_lose_nothing(web: Web) -> None:
    browser = web.attach(replay="0")
    say(web, b"a")
    assert browser.ask("pause")["type"] == "done"
    say(web, b"b")
    assert browser.seen == b"a"
    assert browser.ask("resume")["resumed"] is True
    say(web, b"c")
    assert browser.seen == b"abc"
    assert [v.who for v in web.world.console().write_access.writers] == ["alice@10.1.2.9"]


def test_a_pause_may_end_at_a_cursor_or_with_the_last_lines(web: Web) -> None:
    browser = web.attach(replay="0")
    cursor = browser.cursor
    say(web, b"a\r\n")
    browser.ask("pause")
    say(web, b"b\r\n")
    browser.take()
    browser.ask("resume", **{"from": cursor})
    assert browser.order == ["done", "replay", "output", "replay", "cursor"]
    assert browser.seen == b"a\r\nb\r\n"


def test_a_pause_that_ends_at_a_place_that_means_nothing_ends_with_the_last_lines(web: Web) -> None:
    browser = web.attach(replay="1")
    browser.ask("pause")
    browser.read()
    browser.take()
    assert browser.ask("resume", **{"from": "nonsense"})["resumed"] is False
    assert browser.seen == b"two\r\n"


def test_one_resume_is_under_way_at_a_time(web: Web) -> None:
    browser = web.attach(replay="0")
    browser.ask("pause")
    web.world.threads_held = True
    browser.say(type="resume", id="first")
    web.world.settle()
    for _ in range(20):
        assert browser.refused("resume") == "too-many"
    assert browser.refused("pause") == "too-many"
    assert web.world.waiting_for_threads == 1
    web.world.threads_held = False
    web.world.release_threads()
    say(web, b"live")
    assert browser.seen == b"live"
    browser.ask("pause")
    assert browser.ask("resume")["resumed"] is True


def test_a_log_that_fails_while_it_is_read_is_told_and_left(web: Web) -> None:
    cursor = web.attach().cursor
    data = b"x" * (1024 * KIB)
    say(web, data)
    browser = web.attach(from_=cursor)
    browser.acknowledges = False
    seen = len(browser.seen)
    assert seen < len(data)
    console = web.world.console()
    console.set_logging(False, "carol")
    say(web, b"y" * (200 * KIB))
    browser.acknowledges = True
    for _ in range(40):
        browser.read()
        web.world.clock.advance(0.5)
        web.world.settle()
    say(web, b"live")
    assert browser.live == b"live"
    skipped = sum(told["bytes"] for told in browser.told("skipped"))
    assert len(browser.seen) + skipped == len(data) + 200 * KIB + 4


def test_a_long_pause_ends_with_the_last_lines(web: Web) -> None:
    browser = web.attach(replay="2")
    browser.ask("pause")
    for _ in range(70):
        say(web, b"x" * (64 * KIB))
    say(web, b"\r\nnear\r\nend\r\n")
    browser.read()
    browser.take()
    assert browser.ask("resume")["resumed"] is False
    say(web, b"live")
    assert browser.order == ["done", "replay", "output", "replay", "cursor", "output"]
    assert browser.seen == b"near\r\nend\r\nlive"


# Keys and write access.


def test_keys_reach_the_vm_as_they_are(web: Web) -> None:
    browser = web.attach()
    browser.keys(b"ls\r\xff\x00\x05c.")
    assert web.world.console().link.written == b"ls\r\xff\x00\x05c."


def test_early_keys_wait_until_it_is_attached(w: SSHWorld) -> None:
    w.vm()
    web = Web(w)
    early = bytes((0x82, 0x83)) + bytes(4) + b"ls\r"
    web.attach(early=early)
    assert w.console().link.written == b"ls\r"


def test_keys_of_who_does_not_write_are_dropped_and_that_is_said_now_and_then(web: Web) -> None:
    browser = web.attach(mode="spy")
    for _ in range(3):
        browser.keys(b"x")
    assert web.world.console().link.written == b""
    assert [told["event"] for told in browser.told("notice")] == ["not-sent"]
    assert web.world.console().write_access.writers == ()


def test_the_second_waits_and_is_promoted(web: Web) -> None:
    alice, bob = web.attach(user="alice"), web.attach(user="bob")
    assert (bob.hello["mode"], bob.hello["writers"]) == ("waits", ["alice@10.1.2.9"])
    assert [told["event"] for told in alice.told("notice")] == ["joined"]
    assert alice.ask("drop")["type"] == "done"
    assert bob.told("pen") == [
        {"type": "pen", "mode": "write", "writers": ["bob@10.1.2.9"], "by": None, "reason": None}
    ]
    assert alice.told("pen")[-1]["mode"] == "spy"
    assert alice.ask("take")["type"] == "done"
    assert alice.told("pen")[-1]["mode"] == "waits"
    assert [line["event"] for line in web.world.audited("attach", "drop", "promote")] == [
        "attach",
        "attach",
        "drop",
        "promote",
    ]


def test_force_takes_write_access_with_a_reason_where_one_is_needed(web: Web) -> None:
    alice, bob = web.attach(user="alice"), web.attach(user="bob")
    web.world.use_policy(None, [{"on": ["*"], "force-reason": True}])
    assert bob.refused("force") == "reason-needed"
    assert bob.ask("force", reason="it burns")["type"] == "done"
    pen = alice.told("pen")[-1]
    assert (pen["mode"], pen["by"], pen["reason"]) == ("waits", "bob@10.1.2.9", "it burns")
    (line,) = web.world.audited("force")
    assert (line["was"], line["reason"], line["front"]) == ("alice@10.1.2.9", "it burns", "web")


def test_a_shared_console_may_be_joined_another_not(web: Web) -> None:
    web.attach(user="alice")
    bob = web.attach(user="bob")
    assert bob.refused("join") == "in-use"
    web.world.use_policy(None, [{"on": ["*"], "write": "shared"}])
    assert bob.ask("join")["type"] == "done"
    assert bob.told("pen")[-1]["writers"] == ["alice@10.1.2.9", "bob@10.1.2.9"]
    assert web.attach(user="carol", mode="join").hello["mode"] == "write"


def test_attaching_by_force(web: Web) -> None:
    alice = web.attach(user="alice")
    bob = web.attach(user="bob", mode="force", reason="late")
    assert bob.hello["mode"] == "write"
    assert alice.told("pen")[-1]["by"] == "bob@10.1.2.9"


def test_breaks_and_sequences_need_write_access(web: Web) -> None:
    web.world.use_policy(None, [{"on": ["*"], "sequences": {"sysrq": "<break>h"}}])
    alice, bob = web.attach(user="alice"), web.attach(user="bob")
    assert bob.refused("break") == "in-use"
    assert bob.refused("sequence", name="sysrq") == "in-use"
    link = web.world.console().link
    assert alice.ask("break")["type"] == "done"
    assert link.breaks == 1
    assert alice.hello["sequences"] == ["sysrq"]
    assert alice.ask("sequence", name="sysrq")["type"] == "done"
    assert (link.breaks, link.written) == (2, b"h")
    assert alice.refused("sequence", name="none") == "not-found"
    assert [line["event"] for line in web.world.audited("break", "sequence")] == ["break", "sequence"]


def test_messages_and_notes(web: Web) -> None:
    alice, bob = web.attach(user="alice"), web.attach(user="bob")
    assert alice.ask("message", text="hello")["told"] == 1
    notice = bob.told("notice")[-1]
    assert (notice["event"], notice["who"], notice["message"], notice["text"]) == (
        "message",
        "alice@10.1.2.9",
        "hello",
        "[-- message from alice@10.1.2.9: hello --]",
    )
    assert alice.refused("message", text="") == "bad-request"
    assert alice.refused("note", text="x" * 1001) == "bad-request"
    assert alice.ask("note", text="seen")["type"] == "done"
    assert web.world.trail(web.world.console(), "note")[0]["text"] == "seen"
    answers = [alice.ask("message", text="again")["type"] for _ in range(12)]
    assert answers[-1] == "reject"


def test_input_is_held_and_goes_on(web: Web) -> None:
    browser = web.attach()
    console = web.world.console()
    console.link.ready = False
    browser.keys(b"x" * (60 * KIB))
    assert not browser.told("hold")
    browser.keys(b"x" * (10 * KIB))
    assert browser.told("hold") == [{"type": "hold", "on": True}]
    browser.say(type="message", id=1, text="still heard")
    assert browser.told("done")
    browser.keys(b"x" * (60 * KIB))
    assert browser.transport.producerState == "producing"
    browser.keys(b"x" * (60 * KIB))
    assert browser.transport.producerState == "paused"
    for _ in range(8):  # for longer than a client waits for a beat, or the server for a pong
        web.world.clock.advance(25)
        browser.read()
    assert len(browser.told("beat")) >= 6
    console.link.ready = True
    console.link_ready()
    assert browser.told("hold")[-1] == {"type": "hold", "on": False}
    assert browser.transport.producerState == "producing"
    assert len(console.link.written) == 190 * KIB


# Rights, notices, ends.


def rejected(browser: Browser) -> tuple[str, int]:
    (reject,) = browser.told("reject")
    assert browser.close is not None
    return reject["problem"]["type"], browser.close[0]


def test_hidden_and_absent_consoles_are_told_alike(web: Web) -> None:
    web.world.rules(("*", "write", "db*"))
    hidden, absent = web.attach("web01"), web.attach("web99")
    assert hidden.got == absent.got
    assert rejected(hidden) == ("/problems/not-found", 4404)
    assert not web.world.console().viewers.all
    assert len(web.fanouts) == 0


def test_who_may_only_see_is_told_so(web: Web) -> None:
    web.world.rules(("*", "see", "*"))
    assert rejected(web.attach()) == ("/problems/forbidden", 4403)


def test_who_may_not_write_spies(web: Web) -> None:
    web.world.rules(("*", "spy", "*"))
    browser = web.attach()
    assert browser.hello["mode"] == "spy"
    assert browser.refused("take") == "forbidden"
    assert browser.refused("force") == "forbidden"
    assert browser.refused("break") == "forbidden"
    assert rejected(web.attach(mode="force")) == ("/problems/forbidden", 4403)


def test_several_that_are_meant_are_named(web: Web) -> None:
    web.world.vm("web02", VM_B)
    (reject,) = web.attach("web0").told("reject")
    assert {one["name"] for one in reject["problem"]["candidates"]} == {"web01", "web02"}


@pytest.mark.parametrize("query", [{"mode": "rw"}, {"replay": "-1"}, {"replay": "1e9"}, {"replay": "9" * 30}])
def test_a_query_that_means_nothing_is_told(web: Web, query: dict[str, str]) -> None:
    assert rejected(web.attach(early=b"", **query)) == ("/problems/bad-request", 1008)


def test_other_rules_hold_at_once(web: Web) -> None:
    browser = web.attach()
    web.world.rules(("*", "spy", "*"))
    web.world.settle()
    assert browser.told("pen")[-1]["mode"] == "spy"
    assert browser.told("notice")[-1]["event"] == "rules-changed"
    web.world.rules(("*", "see", "*"))
    web.world.settle()
    assert browser.close is not None
    assert browser.close[0] == 4403
    assert not web.world.console().viewers.all


def test_notices_have_their_name_fields_and_words(web: Web) -> None:
    browser = web.attach()
    web.world.console().viewers.tell(LineDown("connection lost", EPOCH))
    notice = browser.told("notice")[-1]
    assert (notice["event"], notice["reason"], notice["at"]) == (
        "line-down",
        "connection lost",
        "2023-11-14T22:13:20.000Z",
    )
    assert re.fullmatch(r"\[-- web01: line down \(connection lost\) .* --\]", notice["text"])


def test_who_is_kicked_is_told_by_whom_and_why(web: Web) -> None:
    browser = web.attach()
    console = web.world.console()
    console.viewers.kick(console.viewers.all[0], "carol@10.1.2.8", "lunch")
    assert browser.close == (4407, "carol@10.1.2.8: lunch")
    assert browser.told("notice")[-1]["event"] == "kicked"
    assert not console.viewers.all


def test_the_end_of_the_server_is_told_and_a_cursor_goes_on_behind_it(web: Web) -> None:
    browser = web.attach(replay="0")
    say(web, b"last")
    web.world.services.shut_down()
    assert browser.close == (1001, "the server stops")
    assert web.world.console().viewers.all == ()


def test_leaving_leaves_nothing_behind(web: Web) -> None:
    bob = FakeViewer("bob@10.1.2.8")
    web.world.console().viewers.attach(bob, write=True)
    browser = web.attach(mode="force")
    say(web, b"x")
    browser.leave()
    browser.socket.connectionLost(Failure(ConnectionLost()))
    assert web.world.console().viewers.all == (bob,)
    assert web.world.console().write_access.writer is bob
    assert (len(web.fanouts), len(web.sockets.all)) == (0, 0)
    assert [line["event"] for line in web.world.audited("attach", "detach")] == ["attach", "detach"]
    say(web, b"y")


def test_who_goes_before_it_is_attached_is_never_attached(web: Web) -> None:
    web.world.runner.held = True
    browser = web.attach()
    browser.socket.connectionLost(Failure(ConnectionLost()))
    web.world.runner.release()
    web.world.settle()
    assert not web.world.console().viewers.all
    assert len(web.fanouts) == 0


def test_a_beat_tells_that_the_server_is_there(web: Web) -> None:
    browser = web.attach()
    for _ in range(3):
        web.world.clock.advance(25)
        browser.read()
    assert len(browser.told("beat")) == 2


def test_a_viewer_that_fails_ends_alone(web: Web) -> None:
    first, second = web.attach(user="alice", replay="0"), web.attach(user="bob", replay="0")
    first.transport.write = lambda data: 1 / 0
    say(web, b"x")
    web.world.clock.advance(0.1)
    assert second.seen == b"x"
    assert [viewer.who for viewer in web.world.console().viewers.all] == ["bob@10.1.2.9"]
