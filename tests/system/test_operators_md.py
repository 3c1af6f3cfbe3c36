"""What operators are promised of attaching, the escape and notices, line by line, as they meet it: two persons with
real OpenSSH clients on terminals of their own, a daemon, and VMs in plain sockets."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]
Start = Callable[..., Client]

RULES = """
[[rule]]
who = ["@admins"]
may = ["admin"]
on = ["*"]
[[rule]]
who = ["*"]
may = []
on = ["vault*"]
[[rule]]
who = ["*"]
may = ["force"]
on = ["web*", "shared*", "VM*", "need*"]
[[rule]]
who = ["*"]
may = ["spy"]
on = ["look*"]
[[rule]]
who = ["*"]
may = ["see"]
on = ["see*"]
"""
CONSOLES = """
[[console]]
on = ["shared*"]
write = "shared"
message = "Two may write here."
sequences = { sync = "<break>s", login = "root\\r<wait 0.2>toor\\r" }
[[console]]
on = ["need*"]
force-reason = true
record-input = true
replay = 2
"""


class Site:
    """A daemon with two operators: alice, an administrator, and bob, whose escape is his own."""

    def __init__(self, daemon: Daemon, keys: Path) -> None:
        self.daemon = daemon
        self._keys = keys
        self.clients: list[Client] = []

    def leave(self) -> None:
        """Nobody is at a console any more."""
        for client in self.clients:
            client.close()

    def key(self, who: str) -> Path:
        return self._keys / {"alice": "operator", "bob": "stranger"}[who]

    def attach(self, user: str, *command: str, who: str = "alice", terminal: bool = True) -> Client:
        """An ssh client of one of them."""
        words = ["-tt" if terminal else "-T", "127.0.0.1", *command]
        line = self.daemon.ssh(*words, user=user, identity=self.key(who))
        started = Client(line, terminal)
        self.clients.append(started)
        return started

    def at(self, user: str, *command: str, who: str = "alice") -> Client:
        """The same, when it is attached and may write."""
        session = self.attach(user, *command, who=who)
        session.expect(b"[attached")
        return session


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> str:
    """The settings for the two of them."""
    public = {name: (keys / f"{name}.pub").read_text().strip() for name in ("operator", "stranger")}
    operators = tmp_path_factory.mktemp("operators") / "operators.toml"
    operators.touch(0o600)
    operators.write_text(
        f"[operators.alice]\nkeys = ['{public['operator']}']\ngroups = ['admins']\n"
        f"[operators.bob]\nkeys = ['{public['stranger']}']\nescape = '^]q'\n"
    )
    return f'[ssh]\noperators-file = "{operators}"\n'


@pytest.fixture
def make_site(make_daemon: Callable[..., Daemon], operators: str, keys: Path) -> Iterator[Callable[..., Site]]:
    """Sites of a test's own, with other settings in ``[ssh]`` perhaps."""
    sites: list[Site] = []

    def make(extra: str = "") -> Site:
        sites.append(Site(make_daemon(f"{operators}{extra}\n{RULES}{CONSOLES}"), keys))
        return sites[-1]

    yield make
    for site in sites:
        site.leave()


@pytest.fixture
def site(shared_daemon: Callable[..., Daemon], operators: str, keys: Path) -> Iterator[Site]:
    """The site that all tests share that change nothing there and want no more of it than their own consoles."""
    site = Site(shared_daemon(operators + RULES + CONSOLES), keys)
    yield site
    site.leave()


def who_is(address: str = "127.0.0.1", name: str = "alice") -> bytes:
    return f"{name}@{address}".encode()


# Identity


def test_who_one_is_comes_from_the_credential(site: Site, make_vm: MakeVM) -> None:
    make_vm(site.daemon, "web01")
    for user in ("web01", "alice:web01", "alice+web01"):
        session = site.at(user)
        session.type(b"\x05cw")
        session.expect(b"* " + who_is())
        session.type(b"\x05c.")
        assert session.end() == 0
    assert site.attach("bob:web01", who="alice").end() == 255
    assert site.attach("alice:web01", who="bob").end() == 255

    def attached() -> list[tuple[object, object]]:
        return [(e["who"], e["from"]) for e in site.daemon.audited("attach") if e["console"] == "web01"]

    eventually(lambda: len(attached()) >= 3, "all of them are in the audit trail")
    assert set(attached()) == {("alice", "127.0.0.1")}


def test_nothing_about_vms_is_told_before_the_login(site: Site, make_vm: MakeVM) -> None:
    make_vm(site.daemon, "web02")
    said = []
    for user in ("bob:web02", "bob:nothing"):
        refused = site.attach(user, who="alice", terminal=False)
        assert refused.end() == 255
        said.append(bytes(refused.err).replace(user.encode(), b"USER"))
    assert said[0] == said[1]


# Reaching a console


def test_a_target_is_a_name_a_uuid_an_alias_or_a_unique_prefix(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "only01")
    other = make_vm(site.daemon, "VM (old)")
    alias = json.loads(site.daemon.run("status", str(other.uuid), "--json").stdout)["alias"]
    for user, name in (
        ("only01", "only01"),
        (str(vm.uuid), "only01"),
        (str(vm.uuid).upper().replace("-", ""), "only01"),
        ("ONLY", "only01"),
        (alias, "VM (old)"),
    ):
        session = site.attach(user)
        session.expect(f"[{name} -- up ".encode())
        session.expect(b"[attached]")
        session.type(b"\x05c.")
        assert session.end() == 0


def test_names_that_ssh_refuses_are_reached_as_a_command(site: Site, make_vm: MakeVM) -> None:
    make_vm(site.daemon, "VM (new)")
    session = site.attach("alice", "VM (new)")
    session.expect(b"[VM (new) -- up ")
    session.type(b"\x05c.")
    assert session.end() == 0


def test_an_ambiguous_prefix_lists_the_choices_and_a_prefix_never_forces(site: Site, make_vm: MakeVM) -> None:
    vms = [make_vm(site.daemon, name) for name in ("pair01", "pair02")]
    refused = site.attach("pair", terminal=False)
    assert refused.end() == 4
    for vm in vms:
        assert str(vm.uuid).encode() in refused.err
    forced = site.attach("pair02,force")
    forced.expect(b"[attached]")
    vms[0].close()
    refused = site.attach("pair0,force", terminal=False)
    assert refused.end() in (2, 4)
    refused = site.attach("pair2,force", terminal=False)
    assert refused.end() == 3


def test_a_prefix_that_is_unique_does_not_force_either(site: Site, make_vm: MakeVM) -> None:
    make_vm(site.daemon, "solo01")
    refused = site.attach("solo,force", terminal=False)
    assert refused.end() == 2
    assert b"force needs a whole name; did you mean solo01?" in refused.err


def test_a_second_serial_port_is_reached_both_ways(site: Site, make_vm: MakeVM) -> None:
    make_vm(site.daemon, "web03")
    second = make_vm(site.daemon, "web03", "vmproxy?port=2")
    for user in ("web03,port=2", "web03.2"):
        session = site.at(user)
        session.expect(b"[web03.2 -- up ")
        session.type(b"two\r\x05c.")
        assert session.end() == 0
    second.connected.wait_data(b"two\rtwo\r")


def test_unknown_and_hidden_consoles_are_told_alike(site: Site, make_vm: MakeVM) -> None:
    make_vm(site.daemon, "vault1")
    said = []
    for name in ("vault1", "vault2"):
        refused = site.attach(name, who="bob", terminal=False)
        assert refused.end() == 3
        assert refused.err.startswith(f"{name}: no such console\n".encode())
        said.append(bytes(refused.err).replace(name.encode(), b"NAME"))
    assert said[0] == said[1]
    assert site.at("vault1").process.poll() is None


def test_what_one_may_only_see_cannot_be_attached_to_and_what_one_may_only_look_at_not_written_to(
    site: Site, make_vm: MakeVM
) -> None:
    make_vm(site.daemon, "see1")
    vm = make_vm(site.daemon, "look1")
    refused = site.attach("see1", who="bob", terminal=False)
    assert refused.end() == 10
    spy = site.attach("look1", who="bob")
    spy.expect(b"[spy -- you may not write to this console]")
    spy.type(b"x\x1dqa")
    spy.expect(b"[read-only]")
    spy.expect(b"[read-only: you may not write to this console]")
    vm.connected.say(b"hello\r\n")
    spy.expect(b"hello\r\n")
    assert bytes(vm.connected.data) == b""


def test_the_options_of_a_target(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "web04")
    vm.connected.say(b"".join(b"%d\r\n" % n for n in range(1, 31)))
    eventually(lambda: site.daemon.logged("web04").endswith(b"30\r\n"), "it is logged")
    reader = site.attach("alice:web04,ro,replay=3,quiet,escape=^]q")
    reader.expect(b"[Enter `^]q?' for help]\r\n")
    reader.expect(b"[spy]\r\n[-- last 3 lines --]\r\n28\r\n29\r\n30\r\n[-- live --]\r\n")
    writer = site.at("web04")
    assert b"detached" not in reader.out
    forced = site.attach("web04,force,reason=it hangs", who="bob")
    forced.expect(b"[attached -- alice@127.0.0.1 is a spy now]")
    writer.expect(b"[forced to `spy' mode by bob@127.0.0.1: it hangs]")
    reader.type(b"\x1dqw")
    reader.expect(b"bob@127.0.0.1")
    assert b"attached --]" not in reader.out
    wrong = site.attach("web04,nonsense", terminal=False)
    assert wrong.end() in (2, 3)


def test_a_console_that_is_down_says_since_when_and_goes_live_when_it_returns(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "web05")
    vm.close()
    eventually(lambda: site.daemon.status("web05")["state"] == "down", "it is down")
    session = site.attach("web05")
    session.expect(b"[web05 -- down since ")
    session.expect(b"(closed by 127.0.0.1)")
    vm.connect()
    session.expect(b"[-- web05: line up (127.0.0.1) after ")
    session.type(b"ls\r")
    vm.connected.wait_data(b"ls\r")


# On attach


def test_the_greeting(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "shared1")
    first = site.at("shared1")
    assert b"\r\nTwo may write here.\r\n[attached]" in bytes(first.out)
    spies = [site.attach("shared1,ro", who="bob") for _ in range(2)]
    for spy in spies:
        spy.expect(b"[spy]")
    vm.connected.say(b"login: ")
    eventually(lambda: site.daemon.logged("shared1"), "it is logged")
    second = site.attach("shared1", who="bob")
    second.expect(b"^]qj joins]\r\n", second.expect(b"[-- live --]\r\n"))
    assert re.fullmatch(
        rb"\[Enter `\^\]q\?' for help\]\r\n"
        rb"\[shared1 -- up \d+s, from 127\.0\.0\.1, logging to shared1\.log\]\r\n"
        rb"Two may write here\.\r\n"
        rb"\[no, alice@127\.0\.0\.1 is attached, idle \d+s -- \^\]qf takes over, \^\]qj joins\]\r\n"
        rb"\[-- 2 others: bob@127\.0\.0\.1 \(spy\), bob@127\.0\.0\.1 \(spy\) --\]\r\n"
        rb"\[-- last 1 line --\]\r\n"
        rb"login: \r\n"
        rb"\[-- live --\]\r\n"
        rb"\[no, alice@127\.0\.0\.1 is attached, idle \d+s -- \^\]qf takes over, \^\]qj joins\]\r\n",
        bytes(second.out),
    ), bytes(second.out)


def test_banners_and_notices_do_not_get_into_a_file(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "web06")
    capture = site.attach("web06", terminal=False)
    capture.expect_err(b"[attached]\n")
    site.attach("web06,ro", who="bob").expect(b"[spy]")
    capture.expect_err(b"[-- bob@127.0.0.1 attached (spy) --]\n")
    vm.connected.say(bytes(range(256)))
    capture.wait_size(256)
    assert bytes(capture.out) == bytes(range(256))
    assert b"^E" not in capture.err


# Writing


def test_one_writes_the_next_waits_in_line_and_is_promoted(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "web07")
    first = site.at("web07")
    reader = site.attach("web07,ro")
    reader.expect(b"[spy]")
    second = site.attach("web07", who="bob")
    second.expect(b"[no, alice@127.0.0.1 is attached, idle ")
    second.type(b"x")
    second.expect(b"[read-only -- ^]qf takes over]")
    first.type(b"one\r")
    vm.connected.wait_data(b"one\r")
    first.type(b"\x05c.")
    assert first.end() == 0
    second.expect(b"\r\n[attached]\r\n")
    second.type(b"two\r")
    vm.connected.wait_data(b"two\r")
    assert bytes(vm.connected.data) == b"one\rtwo\r"
    second.type(b"\x1dq.")
    assert second.end() == 0
    reader.expect(b"[-- bob@127.0.0.1 detached --]")
    assert b"[attached]" not in reader.out


def test_join_shares_the_pen_where_the_console_allows_it(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "shared2")
    first = site.at("shared2")
    second = site.attach("shared2", who="bob")
    second.expect(b"joins]")
    second.type(b"\x1dqj")
    second.expect(b"\r\n[attached]\r\n")
    second.type(b"b")
    vm.connected.wait_data(b"b")
    first.type(b"a")
    vm.connected.wait_data(b"ba")
    third = site.attach("shared2,join", who="bob")
    third.expect(b"\r\n[attached]\r\n")


def test_where_force_needs_a_reason_it_is_asked_for_and_told(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "need1")
    first = site.at("need1")
    assert b"[what is typed here is recorded]\r\n" in first.out
    second = site.attach("need1,force", who="bob")
    second.expect(b"reason for taking over: ")
    second.type(b"disk fuxx\x7f\x7fll\r")
    second.expect(b"[attached -- alice@127.0.0.1 is a spy now]")
    first.expect(b"[forced to `spy' mode by bob@127.0.0.1: disk full]")

    def forces() -> list[dict[str, object]]:
        return [e for e in site.daemon.audited("force") if e["console"] == "need1"]

    eventually(forces, "it is in the audit trail")
    (forced,) = forces()
    assert (forced["who"], forced["was"], forced["reason"]) == ("bob", "alice@127.0.0.1", "disk full")
    assert site.attach("need1,force", terminal=False).end() == 2
    assert not vm.connected.data


# Escape


def test_every_key_behind_the_escape(make_site: Callable[..., Site], make_vm: MakeVM) -> None:
    site = make_site()
    vm = make_vm(site.daemon, "shared1")
    make_vm(site.daemon, "web02")
    vm.connected.say(b"".join(b"line %d\r\n" % n for n in range(1, 101)))
    eventually(lambda: site.daemon.logged("shared1").endswith(b"line 100\r\n"), "it is logged")
    alice = site.attach("shared1")
    alice.expect(b"[-- live --]")
    bob = site.attach("shared1", who="bob")
    bob.expect(b"[-- live --]")

    def key(keys: bytes, answer: bytes, session: Client = alice, escape: bytes = b"\x05c") -> None:
        start = len(session.out)
        session.type(escape + keys)
        session.expect(answer, start)

    key(b"?", b" u    all consoles that you may see\r\n")
    key(b"r", b"[-- last 20 lines --]\r\nline 81\r\n")
    key(b"p", b"[-- last 60 lines --]\r\nline 41\r\n")
    key(b"\x12", b"[-- last 1 line --]\r\nline 100\r\n[-- live --]\r\n")
    key(b"w", b"* alice@127.0.0.1              write       idle ")
    key(b"w", b"  bob@127.0.0.1                spy, waits  idle ")
    key(b"u", b"[2 consoles]\r\n* shared1")
    for wanted in (b"shared1", str(vm.uuid).encode(), b"127.0.0.1", b"from the VM: ", b"log size: ", b"up since: "):
        key(b"i", wanted)
    key(b"s", b"[spy]")
    bob.expect(b"\r\n[attached]\r\n")
    key(b"a", b"[no, bob@127.0.0.1 is attached -- waiting for write access: position 1]")
    key(b"f", b"[attached -- bob@127.0.0.1 is a spy now]")
    bob.expect(b"[forced to `spy' mode by alice@127.0.0.1]")
    key(b"j", b"[attached]\r\n", bob, b"\x1dq")
    key(b"bhello\r", b"[sent to 1 other]")
    bob.expect(b"[-- message from alice@127.0.0.1: hello --]")
    key(b"nfan replaced\r", b"[noted]")
    key(b"q", b"[quiet]")
    key(b"q", b"[all notices]")
    key(b"l?", b" l2   login\r\n")
    key(b"l0", b"[halt sent]")
    vm.connected.wait_break()
    key(b"l2", b"[sent: login]")
    vm.connected.wait_data(b"root\rtoor\r")
    alice.type(b"\x05c\\041\x05\x05\x05")
    vm.connected.wait_data(b"root\rtoor\r!\x05\x05")  # the last one after a second
    key(b"t", b"[times in front of lines: on")
    start, theirs = len(alice.out), len(bob.out)
    vm.connected.say(b"stamped\r\n")
    assert re.search(rb"\d\d:\d\d:\d\d stamped\r\n$", bytes(alice.out[: alice.expect(b"stamped\r\n", start)]))
    assert bytes(bob.out[theirs : bob.expect(b"stamped\r\n", theirs)]) == b"stamped\r\n"
    key(b"t", b"[times in front of lines: off]")
    key(b"L", b"[-- log: turned off by alice@127.0.0.1; NOT being recorded --]")
    bob.expect(b"[-- log: turned off by alice@127.0.0.1; NOT being recorded --]")
    key(b"L", b"[-- log: turned on by alice@127.0.0.1, 0 bytes not recorded --]")
    key(b"L", b"[only an administrator may turn logging off or on]", bob, b"\x1dq")
    for nothing in (b"z", b"|", b"c", b"x", b"g"):
        key(nothing, b"means nothing over SSH]")
    key(b"o", b"[connection closed; the VM's host connects again]")
    vm.connected.wait_closed()
    vm.close()
    vm.connect()
    alice.expect(b"[-- shared1: line up (127.0.0.1)")
    key(b"e\x1dq", b"[the escape is ^]q now]")
    key(b";we\t\r", b"[web02 -- up ", escape=b"\x1dq")
    alice.expect(b"[attached]", alice.expect(b"[web02 -- up "))
    key(b".", b"[detached]", escape=b"\x1dq")  # it has come along
    assert alice.end() == 0
    note = [e for e in site.daemon.events("shared1") if e["event"] == "note"]
    assert [(e["who"], e["text"]) for e in note] == [("alice@127.0.0.1", "fan replaced")]
    # Her client may have ended before the last line is written.
    eventually(lambda: [e["who"] for e in site.daemon.audited("detach")].count("alice") == 2, "she has gone")
    trail = (site.daemon.state / "audit.jsonl").read_text()
    done = [e["event"] for e in site.daemon.audited() if e["who"] == "alice" and e["event"] != "login"]
    assert done == [
        "attach",
        "drop",
        "force",
        "note",
        "break",
        "sequence",
        "logging-off",
        "logging-on",
        "reopen",
        "detach",
        "attach",
        "detach",
    ]
    for typed in ("toor", "fan replaced", "hello"):
        assert typed not in trail


def test_the_escape_is_redefinable_for_a_session_an_operator_and_the_server(
    make_site: Callable[..., Site], make_vm: MakeVM
) -> None:
    site = make_site('escape = "^Az"')
    make_vm(site.daemon)
    for user, who, shown, keys in (
        ("web01", "alice", b"`^Az?'", b"\x01z."),
        ("web01", "bob", b"`^]q?'", b"\x1dq."),
        ("web01,escape=^Ec", "bob", b"`^Ec?'", b"\x05c."),
    ):
        session = site.at(user, who=who)
        assert shown in session.out
        session.type(keys)
        assert session.end() == 0


def test_without_a_terminal_there_is_no_escape_and_the_clients_own_break_is_one(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "web08")
    plain = site.attach("web08", terminal=False)
    plain.expect_err(b"[attached]")
    plain.type(b"\x05c.\x05\x05")
    vm.connected.wait_data(b"\x05c.\x05\x05")
    plain.close()
    session = site.attach("web08")
    session.expect(b"[attached]")
    session.type(b"\r~B")
    vm.connected.wait_break()


# Notices


def test_notices_come_on_lines_of_their_own_and_not_into_the_log(
    make_site: Callable[..., Site], make_vm: MakeVM
) -> None:
    site = make_site()
    vm = make_vm(site.daemon)
    session = site.at("web01")
    quiet = site.attach("web01,ro,quiet", who="bob")
    quiet.expect(b"[spy]")
    session.expect(b"[-- bob@127.0.0.1 attached (spy) --]\r\n")
    vm.connected.say(b"half a line")
    session.expect(b"half a line")
    vm.migrate(b"sequence1")
    session.expect(b"half a line\r\n[-- web01: line up (127.0.0.1, vMotion) after ")
    vm.close()
    session.expect(b"[-- web01: line down (closed by 127.0.0.1) ")
    vm.connect()
    session.expect(b"[-- web01: line up (127.0.0.1) after ")
    vm.connected.say(b" goes on\r\n")
    quiet.expect(b"half a line goes on\r\n")
    log = site.daemon.log("web01")
    eventually(lambda: log.exists() and log.read_bytes() == b"half a line goes on\r\n", "the log holds exactly that")
    site.daemon.stop()
    for each in (session, quiet):
        each.expect(b"[-- console server shutting down --]\r\n")
        assert each.end() == 6
    assert b"line up" not in quiet.out


# Promises


def test_a_viewer_that_does_not_read_slows_nobody_and_is_told_what_it_skipped(site: Site, make_vm: MakeVM) -> None:
    vm = make_vm(site.daemon, "web09")
    slow, fast = site.at("web09"), site.attach("web09,ro", who="bob", terminal=False)
    fast.expect_err(b"[spy]")
    slow.process.send_signal(signal.SIGSTOP)
    size = 0
    try:
        for n in range(200):
            chunk = b"%06d" % n * 10_000 + b"\r\n"
            vm.connected.say(chunk)
            size += len(chunk)
            fast.wait_size(size)
        eventually(lambda: site.daemon.log("web09").stat().st_size == size, "all of it is in the log")
    finally:
        slow.process.send_signal(signal.SIGCONT)
    slow.expect(b" bytes skipped: your connection is too slow --]")
    match = re.search(rb"\[-- (\d+) bytes skipped: your connection is too slow --\]", bytes(slow.out))
    assert match is not None
    assert 0 < int(match[1]) < size
    vm.connected.say(b"\r\nlive again\r\n")
    slow.expect(b"live again")
    slow.type(b"\x05cw")
    slow.expect(b" skipped\r\n")


def test_a_reload_drops_no_console_and_who_may_not_any_more_is_told(
    make_site: Callable[..., Site], make_vm: MakeVM
) -> None:
    site = make_site()
    vm = make_vm(site.daemon)
    kept, dropped = site.at("web01"), site.attach("web01", who="bob")
    dropped.expect(b"is attached")
    site.daemon.reload(site.daemon._extra.replace('on = ["web*", ', "on = ["))
    dropped.expect(b"[-- the rules have changed: you may no longer read this console --]")
    assert dropped.end() == 3
    vm.connected.say(b"still here\r\n")
    kept.expect(b"still here\r\n")
    kept.type(b"yes\r")
    vm.connected.wait_data(b"yes\r")


def test_input_is_not_recorded_unless_a_console_is_set_to_and_then_everybody_is_told(
    make_site: Callable[..., Site], make_vm: MakeVM
) -> None:
    site = make_site()
    plain, recorded = make_vm(site.daemon), make_vm(site.daemon, "need1")
    for vm, name in ((plain, "web01"), (recorded, "need1")):
        session = site.at(name)
        session.type(b"secret\r")
        vm.connected.wait_data(b"secret\r")
        assert (b"[what is typed here is recorded]" in session.out) == (name == "need1")
        session.type(b"\x05c.")
        assert session.end() == 0
    site.daemon.stop()
    found = {path for path in site.daemon.folder.rglob("*") if path.is_file() and b"secret" in path.read_bytes()}
    assert found == {site.daemon.state / "input.jsonl"}
