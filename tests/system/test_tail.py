"""The lines of many consoles over the real OpenSSH client, with a terminal and without one."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM
from tests.support.terminal import Terminal

MakeVM = Callable[..., FakeVM]
MakeClient = Callable[..., Client]
FLOOD = 40_000


def test_tail_without_and_with_a_terminal(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    web, db = make_vm(daemon, "web01"), make_vm(daemon, "db1")
    script = client("127.0.0.1", "tail", "'w*'", "--json")
    person = client("-tt", "127.0.0.1", "log", "-f", "web01", "db1", terminal=True)
    script.expect_err(b"[-- 1 console --]")
    person.expect(b"[-- 2 consoles --]")
    db.connected.say(b"unheard\r\n")
    web.connected.say(b"\x1b[31merror\x1b[m\r\nlogin: ")
    person.expect(b"login: ")  # a prompt
    later = make_vm(daemon, "web02")
    script.expect_err(b"[-- web02: new --]")
    later.connected.say(b"hello\r\n")
    script.expect(b'"hello"')
    eventually(lambda: script.out.endswith(b"\n"), "the line is whole")
    assert [json.loads(line)["text"] for line in script.out.splitlines()] == ["error", "login: ", "hello"]
    db.close()
    person.expect(b"[-- db1: line down")
    screen = Terminal()
    screen.feed(bytes(person.out))
    assert {"web01 | error", "db1   | unheard", "web01 | login:"} <= set(screen.lines)
    assert re.search(rb"\x1b\[[\d;]+mweb01\x1b\[m \| error\r\n", person.out)
    person.type(b"\x03")
    assert person.end() == 130
    assert daemon.audited("tail", count=2)


def test_a_client_that_stops_costs_nobody_anything(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon)
    stopped = client("127.0.0.1", "tail")
    other = client("127.0.0.1", "tail", "--match", "'^the end'")
    for one in (stopped, other):
        one.expect_err(b"[-- 1 console --]")
    stopped.process.send_signal(signal.SIGSTOP)
    text = b"".join(b"line %06d %s\r\n" % (number, b"x" * 80) for number in range(FLOOD))
    vm.connected.say(text + b"the end\r\n")
    eventually(lambda: daemon.logged("web01").endswith(b"the end\r\n"), "the VM is not held up")
    eventually(lambda: b"the end" in other.out or b"skipped" in other.err, "the other goes on")
    stopped.process.send_signal(signal.SIGCONT)
    eventually(lambda: shown_and_skipped(stopped) == FLOOD + 1, "each line is shown or counted")


def test_typing_at_many_and_waiting_for_all_of_them(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vms = [make_vm(daemon, name) for name in ("web1", "web2")]
    make_vm(daemon, "db1")
    waiting = client("127.0.0.1", "expect", "'web*'", "done:", "--all", "--timeout", "300")
    eventually(lambda: daemon.audited("tail"), "it watches")
    person = client("-tt", "127.0.0.1", "send", "'web*'", "reboot", terminal=True)
    person.expect(b"Type it at 2 consoles? [y/N] ")
    person.type(b"y\r")
    for vm in vms:
        vm.connected.wait_data(b"reboot\r")
        vm.connected.say(b"done: ")  # a prompt
    assert person.end() == 0
    assert waiting.end() == 0
    assert sorted(waiting.out.splitlines()) == [b"web1 | done: ", b"web2 | done: "]


def shown_and_skipped(client: Client) -> int:
    numbers = re.findall(rb"\[-- ([\d,]+) lines? skipped", client.err)
    return client.out.count(b"\n") + sum(int(number.replace(b",", b"")) for number in numbers)
