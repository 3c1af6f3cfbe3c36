"""Acting on many consoles at once: waiting for them."""

from __future__ import annotations

import pytest

from tests.support.fakes import VM_B, VM_C
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


@pytest.mark.parametrize("words", ["'web*' x --send y", "'web*' x --since 1h", "'web*' x --raw", "web1 x --all"])
def test_what_does_not_go_together(three: SSHWorld, words: str) -> None:
    assert three.login().run(f"expect {words}").status == 2
