"""``tail``: the lines of many consoles as they come, who joins and goes, and what becomes of a slow client."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from tests.support.fakes import VM_A, VM_B, VM_C
from tests.support.requirements import expressions
from tests.support.ssh import RemoteChannel, SSHWorld
from tests.support.terminal import Terminal
from vmproxy.console.console import Console
from vmproxy.operators import line_follower, line_queue
from vmproxy.operators.commands import tail as tail_command
from vmproxy.operators.commands.context import in_turns
from vmproxy.operators.line_choice import LineChoice, LineStyle
from vmproxy.operators.session import Session


def tail(w: SSHWorld, command: str, user: str = "alice", pty: bool = False, **env: str) -> RemoteChannel:
    """A client that follows."""
    channel = w.login(user).open()
    return start(channel, command, pty, **env)


def start(channel: RemoteChannel, command: str, pty: bool = False, **env: str) -> RemoteChannel:
    for name, value in env.items():
        channel.request(b"env", ns(name) + ns(value), reply=False)
    if pty:
        channel.pty()
    channel.exec(command)
    return channel


def ns(text: str) -> bytes:
    return len(text).to_bytes(4, "big") + text.encode()


def say(w: SSHWorld, channel: RemoteChannel, *said: tuple[str, bytes]) -> None:
    """Consoles print, and the client reads."""
    for name, data in said:
        w.console(name).feed(data)
    w.store.flush()
    channel.client.pump()
    w.clock.advance(0.1)
    channel.client.pump()


@pytest.fixture
def two(w: SSHWorld) -> SSHWorld:
    """The consoles web01 and db1."""
    w.vm()
    w.vm("db1", VM_B)
    w.settle()
    return w


@pytest.mark.parametrize("command", ["tail", "tail *", "tail web01 db1", "log -f web01 db1", "log -f 'w*' 'd*'"])
def test_lines_of_several_consoles_come_in_their_order(two: SSHWorld, command: str) -> None:
    channel = tail(two, command)
    assert channel.err == b"[-- 2 consoles --]\n"
    say(two, channel, ("web01", b"one\r\nunfin"), ("db1", b"\x1b[1mtwo\x1b[m\r\nthree\n"))
    say(two, channel, ("web01", b"ished\n"))
    assert channel.out == b"web01 | one\ndb1   | two\ndb1   | three\nweb01 | unfinished\n"
    assert two.audited("tail")[0]["consoles"] == 2


def test_one_name_is_followed_byte_for_byte_as_before(two: SSHWorld) -> None:
    channel = tail(two, "log -f web01")
    say(two, channel, ("web01", b"un\x1b[1mfin"), ("db1", b"two\n"))
    assert channel.out == b"un\x1b[1mfin"
    assert tail(two, "log -f nobody").status == 3


@expressions
def test_a_terminal_shows_names_and_matches_in_colour(two: SSHWorld) -> None:
    channel = tail(two, "tail --match b.d", pty=True)
    say(two, channel, ("web01", b"good\nbad bed\n"), ("db1", b"bud\n"))
    lines = [
        re.fullmatch(rb"(\x1b\[[0-9;]+m)(web01|db1  )\x1b\[m \| (.*)", line) for line in channel.out.split(b"\r\n")[:-1]
    ]
    assert [match and match[3] for match in lines] == [
        b"\x1b[1;31mbad\x1b[m \x1b[1;31mbed\x1b[m",
        b"\x1b[1;31mbud\x1b[m",
    ]
    colours = [match and match[1] for match in lines]
    assert colours[0] != colours[1]
    again = tail(two, "tail", pty=True)
    say(two, again, ("web01", b"more\n"))
    assert again.out.startswith(colours[0] or b"-")


def test_no_color_is_heeded(two: SSHWorld) -> None:
    channel = tail(two, "tail --match bad", pty=True, NO_COLOR="1", LANG="C")
    say(two, channel, ("web01", b"bad\n"))
    assert channel.out == b"web01 | bad\r\n"
    assert b"\x1b" in tail_of(two, "tail --match bad", NO_COLOR="")


def tail_of(w: SSHWorld, command: str, **env: str) -> bytes:
    channel = tail(w, command, pty=True, **env)
    say(w, channel, ("web01", b"bad\n"))
    return channel.out


@expressions
def test_lines_are_chosen_by_patterns(two: SSHWorld) -> None:
    channel = tail(two, "tail -i --match ERROR --not harmless")
    say(two, channel, ("web01", b"error 1\nharmless error\nfine\nError 2\n"))
    assert channel.out == b"web01 | error 1\nweb01 | Error 2\n"
    channel = tail(two, "tail --not ^$")
    say(two, channel, ("web01", b"\r\n\r\ntext\r\n\r\n"))
    assert channel.out == b"web01 | text\n"
    assert tail(two, "tail --match '('").status == 2
    assert tail(two, "tail -C 1").status == 2


def test_context_is_that_of_the_console(two: SSHWorld) -> None:
    channel = tail(two, "tail --match bad -C 1 --not noise")
    say(two, channel, ("web01", b"far\nbefore\nnoise\n"), ("db1", b"other\n"))
    say(two, channel, ("web01", b"bad\n"), ("db1", b"other\n"))
    say(two, channel, ("web01", b"after\nlater\nlater\nbad\n"))
    assert channel.out.replace(b"web01 ", b"") == b"- before\n| bad\n- after\n- later\n| bad\n"


def test_context_has_a_bound_in_bytes_that_consoles_share(two: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_queue, "CONTEXT_LIMIT", 3000)
    channel = tail(two, "tail --match bad -C 9")
    say(two, channel, ("web01", b"".join(b"%d%s\n" % (n, b"x" * 399) for n in range(9))), ("db1", b"1\n2\n"))
    say(two, channel, ("web01", b"bad\n"), ("db1", b"bad\n"))
    assert [line[:9] for line in channel.out.splitlines()] == [
        *(b"web01 - 7", b"web01 - 8", b"web01 | b"),
        *(b"db1   - 1", b"db1   - 2", b"db1   | b"),
    ]


def test_scripts_get_objects(two: SSHWorld) -> None:
    channel = tail(two, "tail --json --match two -C 1")
    say(two, channel, ("web01", b"one\xff\r\ntwo\tx\n"))
    first, second = map(json.loads, channel.out.splitlines())
    assert (first["offset"], first["text"], first["context"]) == (0, "one\\xff", True)
    assert (second["offset"], second["text"], second["console"]) == (6, "two\tx", "web01")
    assert second["uuid"] == str(VM_A)
    assert re.fullmatch(r"20..-..-..T..:..:..\....Z", second["at"])


def test_what_a_vm_prints_is_made_safe(two: SSHWorld) -> None:
    channel = tail(two, "tail", pty=True, NO_COLOR="1")
    say(two, channel, ("web01", "a\tb \u202egnp \x9b31m caf\xe9\n".encode()))
    assert channel.out == "web01 | a       b \\u202egnp  caf\xe9\r\n".encode()


def test_times_stand_in_front(two: SSHWorld) -> None:
    channel = tail(two, "tail -t")
    say(two, channel, ("web01", b"one\n"))
    assert re.fullmatch(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\S+ web01 \| one\n", channel.out)


# Who joins, and who goes.


def test_consoles_that_fit_join_and_those_that_go_say_so(two: SSHWorld) -> None:
    channel = tail(two, "tail 'w*'")
    two.vm("web02", VM_C)
    two.vm("other", UUID(int=7))
    two.settle()
    say(two, channel, ("web02", b"hello\n"), ("other", b"unseen\n"))
    two.lose(two.console(), "power off")
    say(two, channel)
    two.vm(peer="10.9.9.9")
    say(two, channel)
    assert channel.out == b"web02 | hello\n"
    notices = channel.err.decode().splitlines()
    assert notices[:2] == ["[-- 1 console --]", "[-- web02: new --]"]
    assert re.fullmatch(r"\[-- web01: line down \(power off\) \S+ --\]", notices[2])
    assert re.fullmatch(r"\[-- web01: line up \(10.9.9.9\) \S+ --\]", notices[3])


@pytest.mark.parametrize("command", ["tail 'w*'", "tail 'w*' -n 5"])
def test_a_console_that_comes_while_the_others_are_looked_for_joins(
    two: SSHWorld, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:

    async def meanwhile(session: Session, consoles: Sequence[Console]) -> AsyncIterator[Console]:
        async for console in in_turns(session, consoles):
            if VM_C not in {other.uuid for other in two.directory}:
                two.vm("web02", VM_C)
                two.settle()
            yield console

    monkeypatch.setattr(tail_command, "in_turns", meanwhile)
    channel = tail(two, command)
    say(two, channel, ("web02", b"hello\n"))
    assert channel.err == b"[-- 2 consoles --]\n"
    assert channel.out == b"web02 | hello\n"


def test_the_past_of_no_consoles_is_short(w: SSHWorld) -> None:
    channel = tail(w, "tail -n 5")
    w.vm()
    w.settle()
    say(w, channel, ("web01", b"hello\n"))
    assert channel.out == b"web01 | hello\n"


def test_of_many_that_come_at_once_the_first_are_named(two: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_follower, "NOTICES_LIMIT", 2)
    channel = tail(two, "tail")
    for number in range(5):
        two.vm(f"vm{number}", UUID(int=100 + number))
    two.store.flush()
    say(two, channel)
    notices = channel.err.decode().splitlines()
    assert notices[1] == "[-- vm0: new --]"
    assert sum("new --]" in line for line in notices) + sum(map(more, notices)) == 5


def more(line: str) -> int:
    found = re.fullmatch(r"\[-- (\d+) more came or went --\]", line)
    return int(found[1]) if found else 0


def test_the_rules_hold_and_their_changes_too(two: SSHWorld) -> None:
    two.rules(("alice", "spy", "web*"), ("alice", "see", "*"))
    channel = tail(two, "tail")
    say(two, channel, ("web01", b"one\n"), ("db1", b"secret\n"))
    assert (channel.out, channel.err) == (b"web01 | one\n", b"[-- 1 console --]\n")
    two.rules(("alice", "spy", "db*"), ("alice", "see", "*"))
    say(two, channel, ("web01", b"secret\n"), ("db1", b"unseen yet\n"))
    two.clock.advance(1)
    say(two, channel, ("web01", b"secret\n"), ("db1", b"two\n"))
    assert b"secret" not in channel.out
    assert channel.out.endswith(b"db1   | two\n")
    assert b"[-- web01: the rules have changed, you may no longer read it --]\n" in channel.err
    two.rules(("alice", "see", "*"))
    two.clock.advance(1)
    channel.client.pump()
    assert channel.status == 10


def test_a_console_that_is_renamed_out_of_sight_is_gone_at_once(two: SSHWorld) -> None:
    two.rules(("alice", "spy", "web*"))
    channel = tail(two, "tail")
    two.console().feed(b"before\nsecret\n")
    two.directory.names.rename(two.console(), "hidden")
    say(two, channel)
    assert channel.out == b""
    assert b"hidden" not in channel.err
    assert b"web01: the rules have changed" in channel.err


def test_a_console_that_is_forgotten_says_so_and_is_let_go(two: SSHWorld) -> None:
    channel = tail(two, "tail")
    say(two, channel, ("web01", b"last\n"))
    (queue,) = two.store.line_feed.subscribers
    assert isinstance(queue, line_queue.LineQueue)
    two.lose(two.console())
    say(two, channel)
    two.directory.forget(two.console(), "bob")
    say(two, channel)
    assert channel.err.endswith(b"[-- web01: forgotten --]\n")
    assert [console.title for console in queue.consoles.values()] == ["db1"]
    assert not queue._watched
    two.vm()
    say(two, channel, ("web01", b"anew\n"))
    assert channel.out.endswith(b"web01 | anew\n")


def test_a_name_that_is_there_no_more_ends_nothing_when_the_rules_change(two: SSHWorld) -> None:
    channel = tail(two, "tail web01 'db*'")
    two.lose(two.console())
    two.directory.forget(two.console(), "bob")
    two.rules(("alice", "spy", "*"))
    two.clock.advance(1)
    say(two, channel, ("db1", b"still here\n"))
    assert channel.status is None
    assert channel.out == b"db1   | still here\n"


def test_nothing_is_left_when_it_ends(two: SSHWorld) -> None:
    channel = tail(two, "tail", pty=True)
    feed = two.store.line_feed
    assert len(feed.subscribers) == len(two.store.event_followers) == 1
    channel.type(b"\x03")
    assert channel.status == 130
    assert feed.subscribers == ()
    assert not two.store.event_followers


def test_enter_goes_to_the_console_of_the_last_line_and_back(two: SSHWorld) -> None:
    channel = tail(two, "tail", pty=True)
    say(two, channel, ("web01", b"first\n"), ("db1", b"panic\n"))
    channel.type(b"\r")
    shown_until(two, channel, b"Console: db1\x1b[K")
    say(two, channel, ("db1", b"waits\n"))
    assert b"waits" not in channel.screen
    channel.type(b"\r")
    assert [viewer.who for viewer in two.console("db1").viewers.all] == ["alice@10.1.2.9"]
    channel.type(b"\x05c.")
    assert two.console("db1").viewers.all == ()
    shown_until(two, channel, b"[-- back; what came meanwhile is left out --]\r\n")
    say(two, channel, ("web01", b"again\n"))
    shown_until(two, channel, b"again\r\n")
    channel.type(b"\r")
    channel.type(b"\x03")
    assert channel.status is None
    channel.type(b"q")
    assert channel.status == 0
    assert two.store.line_feed.subscribers == ()


def test_what_is_typed_beside_the_lines_is_for_nobody(two: SSHWorld) -> None:
    channel = tail(two, "tail", pty=True)
    channel.type(b"ls -l")
    channel.type(b"\rweb01,nonsense\r")
    shown_until(two, channel, b"[-- back; what came meanwhile is left out --]\r\n")
    assert b"ls -l" not in channel.screen
    assert b"nonsense: no such option" in channel.screen
    channel.type(b"\x03")
    assert channel.status == 130


def shown_until(w: SSHWorld, channel: RemoteChannel, end: bytes) -> None:
    """What is on the screen ends so, once the client had time to answer between its two streams."""
    for _ in range(3):
        w.clock.advance(1)
        channel.client.pump()
    assert channel.screen.endswith(end)


# Too slow.


def test_a_client_that_reads_slowly_is_told_what_it_missed(two: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_queue, "QUEUE_LIMIT", 100)
    client = two.login("alice")
    channel = client.run("tail", window=64)
    for number in range(1000):
        two.console().feed(b"line %04d\n" % number)
        two.store.flush()
    assert client.server.transport is not None
    for _ in range(200):
        channel.adjust(4096)
        two.clock.advance(0.1)
        client.pump()
    shown = channel.out.count(b"\n")
    skipped = re.findall(rb"\[-- ([\d,]+) lines skipped: your connection is too slow --\]", channel.err)
    assert shown + sum(int(number.replace(b",", b"")) for number in skipped) == 1000
    assert 0 < shown < 100
    say(two, channel, ("web01", b"live again\n"))
    assert channel.out.endswith(b"web01 | live again\n")


def test_lines_without_text_have_a_bound_too(two: SSHWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_queue, "PIECES_LIMIT", 10)
    channel = tail(two, "tail")
    for _ in range(20):
        two.console().feed(b"\n")
        two.store.flush()
    say(two, channel)
    assert channel.out == b"web01 | \n" * 11  # the first of them is shown at once
    assert channel.err.endswith(b"[-- 9 lines skipped: your connection is too slow --]\n")


def test_names_that_begin_alike_are_told_apart(w: SSHWorld) -> None:
    names = [f"a-name-that-is-as-long-as-those-of-vms-often-are-{n}" for n in (1, 2)]
    for name, uuid in zip(names, (VM_A, VM_B), strict=True):
        w.vm(name, uuid)
    w.vm("web01", VM_C)
    channel = tail(w, "tail")
    say(w, channel, *((name, b"x\n") for name in (*names, "web01")))
    assert channel.out.decode().splitlines() == [*(f"{name} | x" for name in names), f"{'web01':24} | x"]


# The past.


def test_the_past_comes_first_and_the_seam_has_no_hole(two: SSHWorld) -> None:
    say_past(two, "web01", b"one\r\n")
    say_past(two, "db1", b"two\r\n")
    say_past(two, "web01", b"three\r\nunfin")
    two.store.line_feed.subscribe(other := line_queue.LineQueue(two.store.line_feed, *choice()))
    channel = two.login().open()
    two.threads_held = True
    start(channel, "tail -n 10")
    two.console().feed(b"ished\nlive\n")
    two.store.flush()
    two.threads_held = False
    two.release_threads()
    say(two, channel)
    assert channel.out == b"web01 | one\ndb1   | two\nweb01 | three\nweb01 | unfinished\nweb01 | live\n"
    other.stop()
    limited = tail(two, "tail -n 2 --not three")
    say(two, limited)
    assert limited.out == b"web01 | unfinished\nweb01 | live\n"


def test_what_is_written_just_before_the_seam_is_past_and_nothing_else(two: SSHWorld) -> None:
    say_past(two, "web01", b"one\n")
    channel = two.login().open()
    two.runner.held = True
    two.console().feed(b"two\n")
    start(channel, "tail -n 10")
    two.runner.release()
    say(two, channel)
    assert channel.out == b"web01 | one\nweb01 | two\n"


def choice() -> tuple[LineChoice, LineStyle]:
    return LineChoice(), LineStyle()


def say_past(w: SSHWorld, name: str, data: bytes) -> None:
    w.console(name).feed(data)
    w.store.flush()
    w.clock.advance(10)


def test_what_did_not_fit_beside_the_past_is_not_blamed_on_the_client(
    two: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_queue, "QUEUE_LIMIT", 30)
    say_past(two, "web01", b"one\n")
    channel = two.login().open()
    two.threads_held = True
    start(channel, "tail -n 10")
    for line in (b"two\n", b"three\n", b"four\n"):
        two.console().feed(line)
        two.store.flush()
    two.threads_held = False
    two.release_threads()
    say(two, channel, ("web01", b"five\n"))
    assert channel.out == b"".join(b"web01 | %s\n" % word for word in (b"one", b"two", b"three", b"five"))
    assert channel.err.endswith(b"[-- 1 line skipped: the past was shown meanwhile --]\n")


def test_of_many_lines_of_the_past_less_is_kept(two: SSHWorld) -> None:
    say_past(two, "web01", b"x" * 5000 + b"\n")
    for command, size in (("tail -n 1", 4096), ("tail -n 10000", 838)):
        channel = tail(two, command)
        say(two, channel)
        assert channel.out.count(b"x") == size


def test_the_past_since_a_time(two: SSHWorld) -> None:
    for number in range(5):
        say_past(two, "web01", b"line %d\n" % number)
    channel = tail(two, "tail --since 25s --match line")
    say(two, channel)
    assert channel.out == b"web01 | line 3\nweb01 | line 4\n"


# Choosing a line.

UP, DOWN, PAGE_UP = b"\x1b[A", b"\x1b[B", b"\x1b[5~"


def seen(channel: RemoteChannel) -> list[str]:
    terminal = Terminal()
    terminal.feed(channel.screen)
    return terminal.lines


def test_a_line_is_selected_and_leads_to_its_console(two: SSHWorld) -> None:
    channel = tail(two, "tail", pty=True)
    for name, data in (("web01", b"one\n"), ("db1", b"two\nthree\n"), ("web01", b"four\n")):
        say(two, channel, (name, data))
    say(two, channel)
    channel.type(UP)
    assert seen(channel)[:4] == ["web01 | one", "db1   | two", "db1   | three", "web01 | four"]
    assert seen(channel)[-1].startswith(" 4/4  web01")
    say(two, channel, ("web01", b"meanwhile\n"))
    assert "meanwhile" not in "".join(seen(channel))
    channel.type(UP)
    assert seen(channel)[-1].startswith(" 3/4  db1")
    channel.type(b"q")
    two.clock.advance(1)
    channel.client.pump()
    assert "web01 | meanwhile" in seen(channel)
    channel.type(b"k" + PAGE_UP + DOWN + b"\r")
    channel.client.pump()
    assert [viewer.who for viewer in two.console("db1").viewers.all] == ["alice@10.1.2.9"]
    assert "[attached]" in seen(channel)
    channel.type(b"\x05c.")
    assert not two.console("db1").viewers.all
    assert "[-- back; what came meanwhile is left out --]" in seen(channel)
    channel.type(UP + b"q")
    channel.type(b"q")
    assert channel.status == 0


def test_what_may_no_longer_be_read_cannot_be_selected(two: SSHWorld) -> None:
    channel = tail(two, "tail", pty=True)
    say(two, channel, ("web01", b"one\n"), ("db1", b"two\n"))
    two.rules(("alice", "spy", "db*"))
    two.clock.advance(1)
    channel.client.pump()
    channel.type(UP)
    assert [line for line in seen(channel)[:-1] if line] == ["db1   | two"]
    two.rules(("alice", "see", "db*"))
    channel.type(b"\r")
    assert not two.console("db1").viewers.all
    two.clock.advance(1)
    channel.client.pump()
    assert channel.status == 10


def test_the_terminal_is_right_however_it_ends(two: SSHWorld) -> None:
    channel = tail(two, "tail", pty=True)
    say(two, channel, ("web01", b"one\n"))
    channel.type(UP)
    channel.request(b"signal", ns("HUP"))
    channel.client.pump()
    terminal = Terminal()
    terminal.feed(channel.screen)
    assert (channel.ended, terminal.alternate) == (True, False)


def test_who_types_nothing_for_too_long_looks_no_more(two: SSHWorld) -> None:
    two.use_policy(None, [{"on": ["web*"], "idle-disconnect": "1m"}, {"on": ["db*"], "idle-disconnect": "3m"}])
    channel = tail(two, "tail", pty=True)
    for _ in range(3):
        two.clock.advance(15)
        channel.client.pump()
    channel.type(b"x")  # which means nothing, and is typed all the same
    for _ in range(11):
        two.clock.advance(5)
        channel.client.pump()
    assert b"nothing typed" not in channel.err
    for _ in range(4):
        two.clock.advance(5)
        channel.client.pump()
    assert b"[-- web01: nothing typed for 1m00s --]" in channel.err
    say(two, channel, ("web01", b"secret\n"), ("db1", b"two\n"))
    assert b"secret" not in channel.out
    assert b"two" in channel.out
    for _ in range(30):
        two.clock.advance(5)
        channel.client.pump()
    assert channel.status == 7
    assert b"disconnected: nothing typed for 3m00s" in channel.err


def test_a_line_of_the_past_may_be_selected(two: SSHWorld) -> None:
    say_past(two, "web01", b"one\r\n")
    channel = tail(two, "tail -n 5", pty=True)
    say(two, channel)
    channel.type(UP)
    assert seen(channel)[0] == "web01 | one"
