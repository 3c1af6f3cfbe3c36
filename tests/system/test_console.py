"""An operator on a console: the real daemon, the real OpenSSH client, a VM in plain sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Client, Daemon, eventually
from tests.support.host import FakeVM

MakeVM = Callable[..., FakeVM]
MakeClient = Callable[..., Client]
MakeDaemon = Callable[..., Daemon]
ALL_BYTES = bytes(range(256)) + b"\r\n\r\0\r\xff\xff\xff\xf0\r"


@pytest.fixture
def daemon(shared_daemon: MakeDaemon) -> Daemon:
    """The daemon of all tests here but two."""
    return shared_daemon()


def logged(daemon: Daemon, name: str) -> bytes:
    """What the log holds; nothing while there is none."""
    return daemon.log(name).read_bytes() if daemon.log(name).exists() else b""


def attach(client: MakeClient, name: str) -> Client:
    """Attach on a terminal, and wait until live."""
    session = client("-tt", "127.0.0.1", terminal=True, user=name)
    session.expect(b"[attached]")
    return session


def test_a_person_attaches_by_name_types_reads_and_detaches(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    vm = make_vm(daemon, "web01")
    session = client("-tt", "127.0.0.1", terminal=True, user="web01")
    session.expect(b"[Enter `^Ec?' for help]\r\n[web01 -- up ")
    session.expect(b"[attached]\r\n")
    session.type(b"ls\r")
    vm.connected.wait_data(b"ls\r")
    vm.connected.say(b"bin  etc\r\n$ ")
    session.expect(b"bin  etc\r\n$ ")
    session.type(b"\x05c.")
    session.expect(b"[detached]")
    assert session.end() == 0
    eventually(lambda: logged(daemon, "web01") == b"bin  etc\r\n$ ", "the log holds exactly that")
    assert bytes(vm.connected.data) == b"ls\r"


def test_the_exec_form_reaches_names_that_ssh_refuses_as_a_user(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    make_vm(daemon, "VM (old)")
    session = client("-tt", "127.0.0.1", "VM (old)", terminal=True)
    session.expect(b"[VM (old) -- up")
    session.expect(b"[attached]")
    session.type(b"\x05c.")
    assert session.end() == 0


def test_the_last_lines_are_replayed_and_join_live_output(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web02")
    lines = [b"line %d\r\n" % n for n in range(100)]
    vm.connected.say(b"".join(lines) + b"login: ")
    eventually(lambda: daemon.log("web02").exists() and daemon.log("web02").stat().st_size > 890, "it is logged")
    session = client("127.0.0.1", user="web02")
    session.expect(b"login: ")
    vm.connected.say(b"more\r\n")
    session.expect(b"more\r\n")
    assert bytes(session.out) == b"".join(lines[81:]) + b"login: more\r\n"
    session.expect_err(b"[-- last 20 lines --]\n")


def test_on_a_terminal_banner_replay_and_live_output_come_in_order(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    vm = make_vm(daemon, "web03")
    vm.connected.say(b"one\r\ntwo\r\nlogin: ")
    eventually(lambda: logged(daemon, "web03").endswith(b"login: "), "it is logged")
    session = attach(client, "web03")
    session.expect(b"[-- live --]\r\n")
    wanted = b"[attached]\r\n[-- last 3 lines --]\r\none\r\ntwo\r\nlogin: \r\n[-- live --]\r\n"
    assert wanted in bytes(session.out)


def test_a_stop_is_told_to_viewers_who_leave_with_an_exit_status(
    make_daemon: MakeDaemon, make_vm: MakeVM, client: MakeClient
) -> None:
    daemon = make_daemon()
    make_vm(daemon)
    session = client("-n", "127.0.0.1", user="web01", at=daemon)
    session.expect_err(b"[attached]")
    daemon.stop()
    assert session.end() == 6
    assert b"[-- console server shutting down --]\n" in session.err
    assert daemon.events("web01")[-2]["event"] == "detach"


def test_a_console_that_is_down_can_be_left_alone(daemon: Daemon, make_vm: MakeVM) -> None:
    make_vm(daemon, "web04").close()
    eventually(lambda: daemon.status("web04").get("state") == "down", "it is down")
    refused = daemon.run("console", "-k", "web04")
    assert refused.returncode == 5
    assert refused.stderr.startswith(b"web04: down since ")


def test_without_a_terminal_stdout_is_the_vms_bytes_and_the_end_of_input_ends_nothing(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    vm = make_vm(daemon, "web05")
    session = client("-n", "127.0.0.1", user="web05")
    session.expect_err(b"[attached]")
    vm.connected.say(ALL_BYTES)
    session.wait_size(len(ALL_BYTES))
    assert bytes(session.out) == ALL_BYTES
    assert session.process.poll() is None


def test_the_raw_stream_is_eight_bit_clean_both_ways(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web06")
    raw = client("-W", "web06:1", "127.0.0.1")
    eventually(lambda: daemon.status("web06")["writer"], "the raw stream has the pen")
    raw.type(ALL_BYTES)
    vm.connected.wait_size(len(ALL_BYTES))
    assert bytes(vm.connected.data) == ALL_BYTES
    vm.connected.say(ALL_BYTES)
    raw.wait_size(len(ALL_BYTES))
    assert bytes(raw.out) == ALL_BYTES
    eventually(lambda: logged(daemon, "web06") == ALL_BYTES, "the log holds exactly that")


def test_a_raw_stream_to_a_console_in_use_is_refused_with_the_reason(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    make_vm(daemon, "web07")
    attach(client, "web07")
    raw = client("-W", "web07:1", "127.0.0.1")
    assert raw.end() == 255
    assert b"is attached, idle" in raw.err


def test_the_second_operator_spies_until_the_first_leaves(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web08")
    first = attach(client, "web08")
    second = client("-tt", "127.0.0.1", terminal=True, user="web08")
    second.expect(b"is attached, idle ")
    second.type(b"not heard\r")
    second.expect(b"[read-only")
    first.type(b"heard\r")
    vm.connected.wait_data(b"heard\r")
    first.type(b"\x05c.")
    second.expect(b"[attached]")
    second.type(b"now\r")
    vm.connected.wait_data(b"now\r")
    assert bytes(vm.connected.data) == b"heard\rnow\r"


def test_force_takes_the_pen_and_tells_who_lost_it(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web09")
    first = attach(client, "web09")
    second = client("-tt", "127.0.0.1", terminal=True, user="web09")
    second.expect(b"is attached")
    second.type(b"\x05cf")
    second.expect(b"[attached -- ")
    first.expect(b"[forced to `spy' mode by ")
    second.type(b"mine\r")
    vm.connected.wait_data(b"mine\r")
    second.type(b"\x05cs")
    first.expect(b"[attached]", first.expect(b"forced"))


def test_the_escape_shows_help_who_and_info_and_sends_a_break(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    vm = make_vm(daemon, "web10")
    session = attach(client, "web10")
    session.type(b"\x05c?")
    session.expect(b" .    detach\r\n")
    session.type(b"\x05cw")
    session.expect(b"* ")
    session.expect(b"write")
    session.type(b"\x05ci")
    session.expect(str(vm.uuid).encode())
    session.type(b"\x05cl0")
    session.expect(b"[halt sent]")
    vm.connected.wait_break()
    session.type(b"\x05\x05")
    vm.connected.wait_data(b"\x05")
    session.type(b"\x05")
    vm.connected.wait_size(2)  # a lone ^E, after a second
    assert bytes(vm.connected.data) == b"\x05\x05"


def test_the_clients_own_break_request_is_a_break(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web11")
    session = attach(client, "web11")
    session.type(b"\r~B")
    vm.connected.wait_break()


def test_the_line_going_down_and_up_is_told_and_the_session_stays(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    vm = make_vm(daemon, "web12")
    session = attach(client, "web12")
    vm.close()
    session.expect(b"[-- web12: line down (closed by 127.0.0.1) ")
    session.type(b"lost\r")
    session.expect(b"[-- not sent: down since ")
    vm.connect()
    session.expect(b"[-- web12: line up (127.0.0.1) after ")
    vm.connected.say(b"back\r\n")
    session.expect(b"back\r\n")


def test_a_console_that_is_down_can_be_attached_to_and_goes_live(
    daemon: Daemon, make_vm: MakeVM, client: MakeClient
) -> None:
    vm = make_vm(daemon, "web13")
    vm.connected.say(b"last words\r\n")
    eventually(lambda: daemon.log("web13").exists(), "it is logged")
    vm.close()
    eventually(lambda: daemon.status("web13")["state"] == "down", "it is down")
    session = client("127.0.0.1", user="web13")
    session.expect_err(b"[web13 -- down since ")
    session.expect(b"last words\r\n")
    vm.connect()
    session.expect_err(b"line up (127.0.0.1)")
    vm.connected.say(b"hello again\r\n")
    session.expect(b"hello again\r\n")


def test_commands_answer_with_text_json_and_exit_statuses(daemon: Daemon, make_vm: MakeVM) -> None:
    vm = make_vm(daemon, "web14")
    make_vm(daemon, "db14").connected.say(b"one\r\ntwo\r\nthree\r\n")
    eventually(lambda: logged(daemon, "db14") == b"one\r\ntwo\r\nthree\r\n", "it is logged")
    listed = daemon.run("list", "'*14'")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.decode().splitlines()] == ["NAME", "db14", "web14"]
    as_json = json.loads(daemon.run("list", "'*14'", "--json").stdout)
    assert [(c["name"], c["state"], c["uuid"]) for c in as_json][1] == ("web14", "up", str(vm.uuid))
    assert daemon.run("status", "db1").stdout.lstrip().startswith(b"console: db14")
    assert daemon.run("status", str(vm.uuid).upper(), "--json").returncode == 0
    assert daemon.run("log", "db14").stdout == b"one\r\ntwo\r\nthree\r\n"
    assert daemon.run("log", "db14", "-n", "2").stdout == b"two\r\nthree\r\n"
    unknown = daemon.run("status", "nosuch")
    assert unknown.returncode == 3
    assert unknown.stderr.startswith(b"nosuch: no such console\n")
    assert daemon.run(user="nosuch").returncode == 3
    assert daemon.run("status").returncode == 2
    assert daemon.run("list", "--nonsense").returncode == 2


def test_two_vms_of_one_name_are_told_apart_by_their_uuids(daemon: Daemon, make_vm: MakeVM) -> None:
    first, second = make_vm(daemon, "web15"), FakeVM(daemon.vm_port, "other")
    second.name = "web15"
    try:
        second.connect()
        eventually(lambda: daemon.run("status", "web15").returncode == 4, "there are two")
        refused = daemon.run("status", "web15").stderr.decode()
        assert str(first.uuid) in refused
        assert str(second.uuid) in refused
        assert json.loads(daemon.run("status", str(second.uuid), "--json").stdout)["uuid"] == str(second.uuid)
        aliases = [c["alias"] for c in json.loads(daemon.run("list", "web15", "--json").stdout)]
        assert len(set(aliases)) == 2
        for alias in aliases:
            assert daemon.run("status", alias).returncode == 0
    finally:
        second.close()


def test_a_log_can_be_followed(daemon: Daemon, make_vm: MakeVM, client: MakeClient) -> None:
    vm = make_vm(daemon, "web16")
    vm.connected.say(b"before\r\n")
    eventually(lambda: daemon.log("web16").exists(), "it is logged")
    follower = client("127.0.0.1", "log", "web16", "-f")
    follower.expect(b"before\r\n")
    vm.connected.say(b"after\r\n")
    follower.expect(b"after\r\n")
    assert bytes(follower.out) == b"before\r\nafter\r\n"
    assert bytes(follower.err) == b""


def test_a_stranger_is_refused_and_learns_nothing(daemon: Daemon, make_vm: MakeVM, keys: Path) -> None:
    make_vm(daemon, "web17")
    for user in ("web17", "nosuch"):
        refused = daemon.run("list", identity=keys / "stranger", user=user)
        assert refused.returncode == 255
        assert refused.stdout == b""
        assert b"web17" not in refused.stderr.replace(b"web17@", b"")


def test_a_claim_to_be_another_operator_is_refused(daemon: Daemon, make_vm: MakeVM) -> None:
    make_vm(daemon, "web18")
    assert daemon.run("list", user="somebody-else:web18").returncode == 255


def test_a_hostile_name_reaches_neither_terminal_nor_file_system(make_daemon: MakeDaemon, make_vm: MakeVM) -> None:
    daemon = make_daemon()
    vm = make_vm(daemon, "../../x\x1b[2J\n\udcff" + "n" * 500)
    vm.connected.say(b"text\r\n")
    eventually(lambda: list(daemon.log_dir.glob("*.log")), "it is logged")
    for command in (["list"], ["status", str(vm.uuid)]):
        shown = daemon.run(*command)
        assert shown.returncode == 0
        assert b"\x1b" not in shown.stdout
        assert b"\n\xff" not in shown.stdout
    eventually(lambda: len(list((daemon.log_dir / "by-name").iterdir())) == 2, "the log and its trail are linked")
    links = list((daemon.log_dir / "by-name").iterdir())
    assert {link.resolve().parent for link in links} == {daemon.log_dir.resolve()}
    assert sorted(p.name for p in daemon.folder.iterdir()) == [
        "daemon.out",
        "known_hosts",
        "log",
        "state",
        "vmproxy.toml",
    ]
