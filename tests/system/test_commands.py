"""Every command over the real OpenSSH client against the running daemon: output, JSON, exit statuses, ^C."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Client, Daemon, eventually
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]
MakeClient = Callable[..., Client]
MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def daemon(shared_daemon: MakeDaemon) -> Daemon:
    """The daemon of all tests here that do not change its settings or want everything that it has."""
    return shared_daemon()


def run(daemon: Daemon, *words: str, typed: bytes = b"", user: str = "") -> tuple[bytes, bytes, int]:
    """Run a command to its end: stdout, stderr, status."""
    line = daemon.ssh("127.0.0.1", "--", *words, user=user)
    done = subprocess.run(line, capture_output=True, input=typed, timeout=PATIENCE, check=False)
    return done.stdout, done.stderr, done.returncode


def say(daemon: Daemon, vm: FakeVM, data: bytes) -> None:
    """A VM says something, and it is in the log."""
    vm.connected.say(data)
    log = daemon.log(vm.name)
    eventually(lambda: log.exists() and log.read_bytes().endswith(data), "it is logged")


def json_lines(data: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in data.splitlines()]


def test_list_who_whoami_version_and_help(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = make_daemon()
    make_vm(daemon)
    make_vm(daemon, "db01")
    out, err, status = run(daemon, "list", "'web*'", "-c", "name,host")
    assert [line.split() for line in out.splitlines()] == [[b"NAME", b"HOST"], [b"web01", b"127.0.0.1"]]
    assert (err, status) == (b"", 0)
    assert run(daemon, "list", "nosuch*")[::2] == (b"", 3)
    assert len(run(daemon, "console", "-i")[0].splitlines()) == 2
    who = json.loads(run(daemon, "who", "--json")[0])
    assert [row["console"] for row in who] == [None]
    me = json.loads(run(daemon, "whoami", "--json")[0])
    assert me["consoles"]["admin"] == 2
    assert me["from"] == "127.0.0.1"
    assert run(daemon, "version")[0].startswith(b"vmproxy ")
    out, _, status = run(daemon, "help")
    assert (b"  search      search all logs" in out, status) == (True, 0)
    assert run(daemon, "help", "expect")[0].startswith(b"expect NAME... PATTERN")


def test_a_log_by_time_and_followed(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web11")
    say(daemon, vm, b"one\r\ntwo\r\n")
    assert run(daemon, "log", "web11", "--since", "1h") == (b"one\r\ntwo\r\n", b"", 0)
    assert run(daemon, "log", "web11", "--until", "1h")[0] == b""
    stamped = run(daemon, "log", "web11", "-t")[0].splitlines()
    assert re.fullmatch(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:?\d\d) two", stamped[1])
    follower = client("127.0.0.1", "log", "-f", "web11", "--since", "1h")
    follower.expect(b"two\r\n")
    vm.connected.say(b"three\r\n")
    follower.expect(b"three\r\n")
    assert bytes(follower.out) == b"one\r\ntwo\r\nthree\r\n"


def test_search(daemon: Daemon, make_vm: MakeVM) -> None:
    web, db = make_vm(daemon, "web12"), make_vm(daemon, "db12")
    say(daemon, web, b"kernel panic - not syncing\r\n")
    say(daemon, db, b"all is well\r\n")
    out, err, status = run(daemon, "search", "-i", "PANIC")
    assert re.fullmatch(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)  web12: kernel panic - not syncing\n", out)
    assert (err, status) == (b"", 0)
    assert run(daemon, "search", "panic", "db12")[::2] == (b"", 1)
    (hit,) = json_lines(run(daemon, "search", "--json", "'is w.ll'")[0])
    assert (hit["console"], hit["uuid"]) == ("db12", str(db.uuid))
    out, err, status = run(daemon, "search", "'('")
    assert (out, status) == (b"", 2)


def test_events(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web13")
    eventually(lambda: run(daemon, "events", "web13")[0].count(b"  up"), "it is in the trail")
    follower = client("127.0.0.1", "events", "-f", "-n", "0", "--json", "web13")

    def shown() -> bool:  # whether it has begun to follow cannot be seen otherwise
        assert run(daemon, "break", "web13")[2] == 0
        return b'"event": "break"' in follower.out

    eventually(shown, "it follows")
    vm.close()
    follower.expect(b'"event": "down"')
    assert all(event["console"] == "web13" for event in json_lines(bytes(follower.out)))


def test_replay_and_record(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon, "web14")
    say(daemon, vm, "grün\r\n".encode())
    assert run(daemon, "replay", "web14", "--speed", "1000") == ("grün\r\n".encode(), b"", 0)
    out, err, status = run(daemon, "record", "web14", "--since", "1h")
    header, *events = map(json.loads, out.splitlines())
    assert (header["version"], header["title"]) == (2, "web14")
    assert "".join(data for _, kind, data in events if kind == "o") == "grün\r\n"
    assert (err, status) == (b"", 0)


def test_send_takes_a_file_to_the_console_and_break_a_break(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon, "web15")
    data = os.urandom(1_000_000)
    assert run(daemon, "send", "web15", typed=data) == (b"", b"", 0)
    vm.connected.wait_size(len(data))
    assert bytes(vm.connected.data) == data
    assert run(daemon, "break", user="web15") == (b"", b"", 0)
    vm.connected.wait_break()
    assert json.loads(run(daemon, "status", "web15", "--json")[0])["writer"] is None


def test_a_console_in_use_is_status_9_and_can_be_forced(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web16")
    person = client("-tt", "127.0.0.1", terminal=True, user="web16")
    person.expect(b"[attached]")
    out, err, status = run(daemon, "send", "web16", typed=b"x")
    assert (out, status) == (b"", 9)
    assert b"is attached, idle" in err
    assert run(daemon, "send", "--force", "web16", typed=b"forced")[2] == 0
    vm.connected.wait_data(b"forced")
    person.expect(b"forced to `spy' mode by")
    person.expect(b"[attached]", person.expect(b"forced to"))


def test_expect(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web17")
    waiting = client("127.0.0.1", "expect", "web17", "login:", "--timeout", "300")
    eventually(lambda: daemon.status("web17")["viewers"], "it watches")
    vm.connected.say(b"booting\r\nweb17 login: ")
    assert waiting.end() == 0
    assert bytes(waiting.out) == b"web17 login: \n"
    assert run(daemon, "expect", "web17", "login:", "--since", "1h")[0] == b"web17 login: \n"
    out, err, status = run(daemon, "expect", "web17", "nothing", "--timeout", "0.2")
    assert (out, status) == (b"", 8)
    assert b"nothing matched within 0.2 s" in err
    asking = client("127.0.0.1", "expect", "web17", "'uid=0'", "--send", r"'id\r'")
    vm.connected.wait_data(b"id\r")
    vm.connected.say(b"uid=0(root)\r\n")
    assert asking.end() == 0


def test_kick_and_broadcast(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    make_vm(daemon, "web18")
    person = client("-tt", "127.0.0.1", terminal=True, user="web18")
    person.expect(b"[attached]")
    assert run(daemon, "broadcast", "'down at five'")[2] == 0
    person.expect(b"down at five")
    name = json.loads(run(daemon, "who", "--json", "web18")[0])[0]["who"]
    assert run(daemon, "kick", "web18", name, "--reason", "'go home'")[2] == 0
    person.expect(b"disconnected by " + name.encode() + b": go home --]")
    assert person.end() == 7


def test_ssh_config_makes_ssh_reach_the_consoles(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    make_vm(daemon, "VM (old)")
    out, err, status = run(daemon, "ssh-config", "--prefix", "con-")
    assert (err, status) == (b"", 0)
    common = daemon.ssh()
    options = "".join(f"  {word}\n" for word in common if "=" in word)
    config = daemon.folder / "ssh_config"
    config.write_bytes(out + f"Host *\n{options}  IdentityFile {common[common.index('-i') + 1]}\n".encode())
    explained = subprocess.run(["ssh", "-F", str(config), "-G", "con-VM-old"], capture_output=True, check=True).stdout
    assert f"port {daemon.ssh_port}\n".encode() in explained
    assert b"hostname 127.0.0.1\n" in explained
    assert re.search(rb"^user .+:VM-old$", explained, re.MULTILINE)
    session = Client(["ssh", "-F", str(config), "con-VM-old"], terminal=True)
    try:
        session.expect(b"[VM (old) -- up")
        session.expect(b"[attached]")
        session.type(b"\x05c.")
        assert session.end() == 0
    finally:
        session.close()


@pytest.mark.parametrize(("name", "command"), [("c1", "log -f c1"), ("c2", "events -f"), ("c3", "expect c3 nothing")])
def test_control_c_ends_a_command(daemon: Daemon, make_vm: MakeVM, client: MakeClient, name: str, command: str) -> None:
    vm = make_vm(daemon, name)
    say(daemon, vm, b"first\r\n")
    session = client("-tt", "127.0.0.1", command, terminal=True)
    if command.startswith("expect"):
        eventually(lambda: daemon.status(name)["viewers"], "it watches")
    else:
        session.expect(b"  up" if command.startswith("events") else b"first")
    session.type(b"\x03")
    assert session.end() == 130
    eventually(lambda: not daemon.status(name)["viewers"], "nobody is left on it")


def test_a_client_that_dies_lets_go_of_the_pen(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    make_vm(daemon, "web19")
    sender = client("127.0.0.1", "send", "web19")
    eventually(lambda: daemon.status("web19")["writer"], "it has the pen")
    sender.process.kill()
    eventually(lambda: not daemon.status("web19")["writer"], "it has let go")


def test_a_client_that_closes_its_output_ends_the_command(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon, "web20")
    say(daemon, vm, b"x" * 3_000_000)
    line = daemon.ssh("127.0.0.1", "--", "log", "web20")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert len(process.stdout.read(1000)) == 1000
        process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    assert process.returncode is not None
    assert daemon.run("list").returncode == 0


def test_what_goes_wrong_has_the_statuses_of_the_reference(daemon: Daemon, make_vm: MakeVM) -> None:
    make_vm(daemon, "web21").close()
    make_vm(daemon, "web21b")
    eventually(lambda: daemon.status("web21").get("state") == "down", "it is down")
    for words, status in (
        ("log nosuch", 3),
        ("events nosuch", 3),
        ("search x nosuch", 3),
        ("send nosuch", 3),
        ("log web", 4),
        ("console -k web21", 5),
        ("send web21", 5),
        ("break web21", 5),
        ("log --since never web21b", 2),
        ("frobnicate", 3),
    ):
        out, err, got = run(daemon, *words.split())
        assert (words, got, out) == (words, status, b"")
        assert err.strip()


def test_clients_that_die_while_they_read_leave_no_file_open(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon, "web22")
    say(daemon, vm, b"0123456789 abcdef\r\n" * 400_000)
    log, process = daemon.log("web22").resolve(), Path(f"/proc/{daemon.process.pid}")

    def held() -> int:
        """How often the log is open for reading only."""
        count = 0
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                info = (process / "fdinfo" / fd.name).read_text()
                reads_only = int(re.findall(r"flags:\s+(\d+)", info)[0], 8) & os.O_ACCMODE == os.O_RDONLY
                count += reads_only and fd.readlink() == log
        return count

    commands = ("log web22", "log -t web22", "record web22", "log -f -n 999999 web22", "replay web22 --speed 1000")
    readers = [  # whose output nobody reads
        subprocess.Popen(daemon.ssh("127.0.0.1", command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for command in commands
    ]
    try:
        eventually(lambda: held() == len(commands), "all of them hold it open")
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
    eventually(lambda: held() == 0, "nobody holds it open")
    eventually(lambda: not daemon.status("web22")["viewers"], "nobody looks on any more")


def test_a_log_that_is_being_read_ends_when_the_rules_forbid_it(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon)
    for _ in range(16):
        vm.connected.say(b"x" * 1_000_000 + b"\r\n")
    say(daemon, vm, b"the end\r\n")
    line = daemon.ssh("127.0.0.1", "--", "log", "web01")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.read(1000) == b"x" * 1000  # and no more for now: what comes next waits at the server
            daemon.reload('[[rule]]\nwho = "*"\nmay = ["see"]\non = "*"\n')
            out, err = reader.communicate(timeout=PATIENCE)
        finally:
            reader.kill()
    assert b"the end" not in out
    assert len(out) < 12_000_000
    assert err.strip() == b"web01: the rules have changed, you may no longer do that"
    assert reader.returncode == 10
    assert daemon.run("status", "web01", "--json").returncode == 0
    assert daemon.status("web01")["log"] == "web01.log"


def test_a_script_that_types_is_told_where_that_is_recorded(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon)
    eventually(lambda: daemon.status("web01"), "it is known")
    daemon.reload('[[console]]\non = "web*"\nrecord-input = true\n')
    assert run(daemon, "send", "web01", typed=b"hello\r") == (b"", b"[what is typed here is recorded]\n", 0)
    vm.connected.wait_data(b"hello\r")
    assert run(daemon, "break", "web01") == (b"", b"[what is typed here is recorded]\n", 0)


def test_a_host_and_a_vm_are_traced_from_afar_and_on_the_machine_itself(
    make_daemon: MakeDaemon, make_vm: MakeVM, client: MakeClient
) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon)
    host = client("127.0.0.1", "--", "trace", "localhost", "--for", "600", at=daemon)
    host.expect_err(b"[-- tracing localhost ")
    login = ["-l", "operator", "-i", str(daemon.identity)]
    config = daemon.folder / "local.toml"
    config.write_text(f'[ssh]\nlisten = ["tcp:{daemon.ssh_port}"]\n')
    local = [sys.executable, "-m", "vmproxy", "trace", "-c", str(config), *login, "-n", "3", "web01"]
    here = Client(local)
    here.expect_err(b"[-- tracing web01 ")
    vm.connected.say(b"secret output")
    source = vm.migrate(b"\x01\x02\x03\x04")
    pair = source.wait_sub(41)
    assert here.end() == 0
    assert [line.split(b" ", 3)[3] for line in bytes(here.out).splitlines()] == [
        b"< (13 bytes of data)",
        b"< 40 VMOTION-BEGIN [01 02 03 04]",
        b"> 41 VMOTION-GOAHEAD (%d bytes of sequence and secret)" % len(pair),
    ]
    make_vm(daemon, "db01")
    host.expect(b'< 82 VM-NAME "db01"')
    host.expect(b"< 46 VMOTION-COMPLETE [01 02 03 04]")
    for hidden in (b"secret output", pair[4:].hex(" ").encode()):
        assert hidden not in bytes(host.out)
    assert [event["of"] for event in daemon.audited("trace", count=2)] == ["localhost", "web01"]
    here.close()
