"""Acting on many consoles at once: waiting for them, typing at them."""

from __future__ import annotations

import pytest

from tests.support.fakes import VM_B, VM_C, FakeLink, FakeViewer
from tests.support.ssh import RemoteChannel, SSHWorld


@pytest.fixture
def three(w: SSHWorld) -> SSHWorld:
    """The consoles web1, web2 and db1."""
    for name, uuid in (("web1", VM_B), ("web2", VM_C)):
        w.vm(name, uuid)
    w.vm("db1")
    w.settle()
    return w


def say(w: SSHWorld, channel: RemoteChannel, name: str, data: bytes) -> None:
    w.console(name).feed(data)
    w.store.flush()
    channel.client.pump()


def test_the_first_of_many_that_prints_it(three: SSHWorld) -> None:
    channel = three.login().run("expect 'web*' login:")
    say(three, channel, "db1", b"login:\n")
    say(three, channel, "web2", b"booting\n")
    assert channel.status is None
    say(three, channel, "web2", b"\x1b[1mlogin:\x1b[m root\nlogin: again\n")
    assert (channel.out, channel.status) == (b"web2 | login: root\n", 0)
    assert three.store.line_feed.subscribers == ()


def test_all_of_them(three: SSHWorld) -> None:
    channel = three.login().run("expect * READY -i --all --timeout 50")
    for name in ("web1", "web1", "db1"):
        say(three, channel, name, b"ready\n")
    assert channel.status is None
    three.clock.advance(4)
    say(three, channel, "web2", b"ready")  # a prompt
    three.clock.advance(1)
    three.writer.lines.work()
    channel.client.pump()
    assert channel.out == b"web1 | ready\ndb1  | ready\nweb2 | ready\n"
    assert channel.status == 0


def test_those_that_have_not_are_named_in_the_end(three: SSHWorld) -> None:
    channel = three.login().run("expect 'web*' ready --all --timeout 5")
    say(three, channel, "web1", b"ready\n")
    three.clock.advance(5)
    channel.client.pump()
    assert channel.status == 8
    assert b"nothing matched within 5 s: web2\n" in channel.err


def test_globs_and_names_together(three: SSHWorld) -> None:
    channel = three.login().run("expect 'web1*' db1 uuid:nothing* ready --all")
    assert (channel.status, b"uuid:nothing*" in channel.err) == (3, True)
    channel = three.login().run("expect 'web1*' db1 ready --all")
    say(three, channel, "web2", b"ready\n")
    say(three, channel, "web1", b"ready\n")
    assert channel.status is None
    say(three, channel, "db1", b"ready\n")
    assert (channel.out, channel.status) == (b"web1 | ready\ndb1  | ready\n", 0)
    assert b"quote a name with blanks" in three.login().run("expect old web1 login:").err


@pytest.mark.parametrize("words", ["'web*' x --send y", "'web*' x --since 1h", "'web*' x --raw", "web1 x --all"])
def test_what_does_not_go_together(three: SSHWorld, words: str) -> None:
    assert three.login().run(f"expect {words}").status == 2


# Typing at many.


def written(w: SSHWorld) -> dict[str, bytes]:
    links = {name: w.console(name).link for name in ("web1", "web2", "db1")}
    return {name: link.written for name, link in links.items() if isinstance(link, FakeLink) and link.written}


def terminal(w: SSHWorld, command: str) -> RemoteChannel:
    channel = w.login().open()
    channel.pty()
    channel.exec(command)
    return channel


def test_a_script_types_at_many(three: SSHWorld) -> None:
    channel = three.login().run("send 'web*' --yes systemctl restart nginx")
    assert channel.status == 0
    assert written(three) == dict.fromkeys(("web1", "web2"), b"systemctl restart nginx\r")
    assert b"[-- 24 bytes for 2 consoles: --]\nweb1, web2\n" in channel.err
    assert channel.err.endswith(b"[-- typed at 2 of 2 consoles --]\n")
    (many,) = three.audited("send-many")
    assert (many["consoles"], many["bytes"]) == (2, 24)
    assert {entry["console"] for entry in three.audited("send")} == {"web1", "web2"}
    assert not three.console("web1").viewers.all


def test_several_globs_end_before_the_text(three: SSHWorld) -> None:
    assert three.login().run("send --yes 'web1*' db1 -- echo -- x").status == 0
    assert written(three) == dict.fromkeys(("web1", "db1"), b"echo -- x\r")
    assert three.login().run("send web2 git log -- db1").status == 0  # `git' is no console
    assert written(three)["web2"] == b"git log -- db1\r"


@pytest.mark.parametrize(("typed", "status"), [(b"y\r", 0), (b"yes\r", 0), (b"n\r", 1), (b"\r", 1), (b"\x03", 1)])
def test_at_a_terminal_it_is_asked_for(three: SSHWorld, typed: bytes, status: int) -> None:
    channel = terminal(three, "send 'web*' -n x")
    assert b"Type it at 2 consoles? [y/N] " in channel.screen
    assert written(three) == {}
    channel.type(typed)
    assert channel.status == status
    assert written(three) == ({} if status else {"web1": b"x", "web2": b"x"})


def test_without_a_terminal_it_must_be_said(three: SSHWorld) -> None:
    channel = three.login().run("send * x")
    assert (channel.status, written(three)) == (2, {})
    for words in ("* --yes", "* --yes --force x", "* --yes --rate 9600 x"):
        assert three.login().run(f"send {words}").status == 2


def test_with_a_console_in_the_user_name_a_pattern_is_a_text(three: SSHWorld) -> None:
    assert three.login("web1").run("send 'ls *'").status == 0
    assert written(three) == {"web1": b"ls *\r"}


def test_it_needs_a_right_of_its_own(three: SSHWorld) -> None:
    three.rules(("alice", "write", "db*"), ("alice", "many", "web1"), ("alice", "force raw", "*"))
    channel = three.login().run("send * --yes x")
    assert (channel.status, written(three)) == (0, {"web1": b"x\r"})
    assert b"[-- at 2 more you may not --]" in channel.err
    assert three.login().run("send 'd*' --yes x").status == 10
    assert three.login().run("send db1 x").status == 0


def test_the_rules_may_change_while_it_is_asked(three: SSHWorld) -> None:
    channel = terminal(three, "send 'web*' x")
    three.rules(("alice", "many", "web1"), ("alice", "write", "*"))
    channel.type(b"y\r")
    assert (channel.status, written(three)) == (1, {"web1": b"x\r"})
    assert b"web2: you may not type at many consoles" in channel.screen


def test_the_new_name_of_what_is_hidden_meanwhile_is_not_told(three: SSHWorld) -> None:
    three.rules(("alice", "many", "web*"))
    channel = terminal(three, "send 'web*' x")
    three.directory.rename(three.console("web2"), "secret")
    channel.type(b"y\r")
    assert (channel.status, written_at(three, "web1"), written_at(three, "secret")) == (1, b"x\r", b"")
    assert b"no such console any more" in channel.screen
    assert b"secret" not in channel.screen


def written_at(w: SSHWorld, name: str) -> bytes:
    link = w.console(name).link
    assert isinstance(link, FakeLink)
    return bytes(link.written)


def test_who_takes_nothing_is_told(three: SSHWorld) -> None:
    three.lose(three.console("db1"))
    three.console("web2").viewers.attach(FakeViewer(), write=True)
    channel = three.login().run("send * --yes x")
    assert (channel.status, written(three)) == (1, {"web1": b"x\r"})
    assert b"[-- 1 more are down --]" in channel.err
    assert b"web2: alice@10.1.2.9 is attached" in channel.err
    assert b"[-- typed at 1 of 2 consoles --]" in channel.err


def test_a_vm_that_takes_nothing_holds_nobody_up_for_long(three: SSHWorld) -> None:
    link = three.console("web2").link
    assert isinstance(link, FakeLink)
    link.ready = False
    channel = three.login().run("send 'web*' --yes x")
    assert channel.status is None
    assert not three.console("web1").viewers.all  # others may write there
    assert three.console("web2").viewers.all
    for _ in range(11):
        three.clock.advance(1)
    channel.client.pump()
    assert channel.status == 1
    assert b"web2: not taken within 10 s" in channel.err
    assert not three.console("web2").viewers.all


def test_a_terminal_of_one_column_is_wide_enough(three: SSHWorld) -> None:
    channel = three.login().open()
    channel.pty(width=1)
    channel.exec("send 'web*' --yes x")
    assert channel.status == 0
    assert b"internal error" not in channel.err


def test_one_that_is_forgotten_is_not_waited_for(three: SSHWorld) -> None:
    channel = three.login().run("expect 'web*' ready --all --timeout 50")
    say(three, channel, "web1", b"ready\n")
    three.lose(three.console("web2"))
    three.directory.forget(three.console("web2"), "bob")
    three.store.flush()
    three.clock.advance(0.1)
    channel.client.pump()
    assert channel.status == 3
    assert b"forgotten before anything matched: web2\n" in channel.err
