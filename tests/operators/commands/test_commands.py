"""Commands: what they print, where, and the status that scripts see."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from uuid import UUID

import pytest

from tests.support.cases import each
from tests.support.commands import result, run
from tests.support.fakes import VM_A, VM_B, FakeViewer, Logged
from tests.support.ssh import USERAUTH_REQUEST, USERAUTH_SUCCESS, SSHWorld, ed25519_key
from vmproxy.console.info import NAMED
from vmproxy.operators.commands.declaration import Command
from vmproxy.operators.commands.examples import EXAMPLES
from vmproxy.operators.commands.help import coloured, details
from vmproxy.operators.commands.parser import read_arguments, split
from vmproxy.operators.commands.registry import COMMANDS, TABLE
from vmproxy.ssh.session import COMMAND_LIMIT
from vmproxy.ssh.userauth import USER_LIMIT


def test_every_command_ends_with_end_of_output_a_status_and_the_close_in_this_order(w: SSHWorld) -> None:
    w.vm()
    client = w.login()
    client.got.clear()
    client.run("list")
    assert [n for n in client.numbers if n != 91] == [94, 98, 96, 97]


def test_list_shows_every_console_with_its_ssh_name_state_writer_and_viewers(w: SSHWorld) -> None:
    w.vm("web01")
    link = w.vm("VM (old)", uuid=VM_B)
    w.directory.lost(w.console("VM (old)"), link, "gone")
    w.console().viewers.attach(FakeViewer("bob@10.1.2.8"), write=True)
    out, err, status = result(run(w, "list"))
    head, *rows = out.splitlines()
    assert head.split() == ["NAME", "SSH", "NAME", "STATE", "WRITER", "VIEWERS"]
    assert [row.split("  ")[0] for row in rows] == ["VM (old)", "web01"]
    assert "VM-old" in rows[0]
    assert "down since" in rows[0]
    assert rows[1].split()[-2:] == ["bob@10.1.2.8", "1"]
    assert (err, status) == ("", 0)


def test_an_empty_list_says_so(w: SSHWorld) -> None:
    out, _, status = result(run(w, "list"))
    assert out.startswith("no consoles are known yet")
    assert status == 0
    assert json.loads(run(w, "list --json").out) == []


def test_list_as_json_holds_everything_about_every_console(w: SSHWorld) -> None:
    w.vm("web01")
    w.vm("w\udcff\u202e", uuid=VM_B)
    viewer = FakeViewer("bob@10.1.2.8")
    viewer.skipped = 5
    w.console().viewers.attach(viewer, write=True)
    listed = json.loads(run(w, "list --json").out)
    (web,) = [c for c in listed if c["name"] == "web01"]
    assert web["uuid"] == str(VM_A)
    assert web["state"] == "up"
    assert web["since"] == "2023-11-14T22:13:20.000Z"
    assert web["writer"] == "bob@10.1.2.8"
    assert web["viewers"] == [
        {"who": "bob@10.1.2.8", "mode": "write", "since": "2023-11-14T22:13:20.000Z", "skipped": 5}
    ]
    assert web["log"].endswith(f"{VM_A}.log")
    assert web["reason"] is None
    assert run(w, "list --json").out.isascii()


def test_of_hundreds_of_viewers_some_are_named_and_all_are_counted(w: SSHWorld) -> None:
    w.vm()
    w.console().set_options(replace(w.console().options, shared=True))
    for number in range(100):
        w.console().viewers.attach(FakeViewer(f"o{number}@10.1.2.8"), write=number < 80, join=True)
    (web,) = json.loads(run(w, "list --json").out)
    assert [one["who"] for one in web["viewers"]] == [f"o{number}@10.1.2.8" for number in range(NAMED)]
    assert web["writers"] == [f"o{number}@10.1.2.8" for number in range(NAMED)]
    assert (web["viewer_count"], web["writer_count"]) == (100, 80)
    assert run(w, "list -i").out.split(b":")[-2] == b"100"
    assert len(json.loads(run(w, "who --json").out)) >= 100


def test_status_of_one_console_for_people_and_for_scripts(w: SSHWorld) -> None:
    w.vm()
    w.console().feed(b"12345")
    out, err, status = result(run(w, "status web01"))
    assert f"VC UUID: {VM_A}" in out
    assert "log size: 5" in out
    assert (err, status) == ("", 0)
    told = json.loads(run(w, "status --json web01").out)
    assert told["log_size"] == 5
    assert told["name"] == "web01"
    assert json.loads(run(w, "status web01 --json").out)["uuid"] == told["uuid"]


@pytest.mark.parametrize("command", ["status", "log -n 5", "console -s"])
def test_a_command_without_a_name_means_the_console_of_the_user_name(w: SSHWorld, command: str) -> None:
    w.vm()
    w.console().feed(b"x")
    channel = run(w, command, "alice:web01")
    assert channel.status in (0, None)
    without = run(w, command)
    assert without.status == 2
    assert "which console" in without.err.decode()


@pytest.mark.parametrize(
    "asked",
    ["web01", "WEB", "we", str(VM_A), VM_A.hex, str(VM_A).upper(), "{" + str(VM_A) + "}", "web01.1", "web01,port=1"],
)
def test_a_console_is_found_by_whatever_people_know_of_it(w: SSHWorld, asked: str) -> None:
    w.vm()
    w.vm("db01", uuid=VM_B)
    assert json.loads(run(w, f"status --json {asked}").out)["name"] == "web01"


@pytest.mark.parametrize("command", ["status x", "log x", "x", "console x", "log -f x", "status web01,port=9"])
def test_what_there_is_not_is_said_with_status_3(w: SSHWorld, command: str) -> None:
    w.vm()
    out, err, status = result(run(w, command))
    assert (out, status) == ("", 3)
    assert "no such console" in err


def test_an_unknown_name_is_shown_without_its_control_characters(w: SSHWorld) -> None:
    _, err, status = result(run(w, "\x1b[2J\x07"))
    assert status == 3
    assert all(line.isprintable() for line in err.split("\n"))


@pytest.mark.parametrize("command", ["status web", "web", "log web"])
def test_what_could_be_several_is_listed_with_uuids_and_status_4(w: SSHWorld, command: str) -> None:
    w.vm("web01")
    w.vm("web02", uuid=VM_B)
    out, err, status = result(run(w, command))
    assert (out, status) == ("", 4)
    assert str(VM_A) in err
    assert str(VM_B) in err


def test_a_very_ambiguous_name_does_not_list_thousands(w: SSHWorld) -> None:
    for n in range(100):
        w.vm(f"web{n}", uuid=UUID(int=n + 1))
    _, err, _ = result(run(w, "web"))
    assert len(err.splitlines()) == 22
    assert err.splitlines()[-1].strip() == "and 80 more"


def test_a_prefix_never_selects_for_force(w: SSHWorld) -> None:
    w.vm()
    for command in ("console -f we", "we,force"):
        out, err, status = result(run(w, command))
        assert (out, status) == ("", 2)
        assert "web01" in err
    assert w.console().viewers.all == ()


@each(
    "command",
    [
        "list --frob",
        "list -c name,frob",
        "list -u -i",
        "list -c",
        "list query:",
        "log --since frob web01",
        "log -n 3 --since 1h web01",
        "log -f --until now web01",
        "search",
        "search ''",
        "search (",
        "search -n 0 x",
        "events -n x",
        "events --since 30:00",
        "replay web01 --speed 0",
        "replay web01 --speed x",
        "record web01 --width 0",
        "expect web01",
        "expect web01 x y",
        "expect web01 (",
        "expect web01 ''",
        "expect web01 x --timeout -1",
        "expect web01 x --timeout nan",
        "break web01 nothing-like-that",
        "broadcast",
        "whoami web01",
        "version web01",
        "help frob",
        "ssh-config --port 0",
        "ssh-config --host 'a b'",
        "ssh-config --prefix 'a b'",
        "status -x web01",
        "log -n web01",
        "log -n",
        "log -n -5 web01",
        "log -x web01",
        "log --json web01",
        "console -a -s web01",
        "console -z web01",
        "web01,frob",
        "status web01,frob",
        "log -n \u0663 web01",
    ],
)
def test_wrong_usage_is_said_with_status_2_on_stderr(w: SSHWorld, command: str) -> None:
    w.vm()
    out, err, status = result(run(w, command))
    assert (out, status) == ("", 2)
    assert err.strip()


@pytest.mark.parametrize(
    ("command", "mode"), [("console web01", "write"), ("console -s web01", "spy"), ("web01", "write")]
)
def test_a_console_by_command_is_attached_to(w: SSHWorld, command: str, mode: str) -> None:
    link = w.vm()
    channel = run(w, command)
    channel.type(b"x")
    assert (link.written == b"x") == (mode == "write")
    assert channel.status is None


def test_a_name_with_spaces_quotes_and_parentheses_can_be_asked_for(w: SSHWorld) -> None:
    for n, name in enumerate(["VM (old)", "Bob's VM", 'a "b" c', "-dash", "list of things"]):
        w.vm(name, uuid=UUID(int=n + 1))
    for name in ["VM (old)", "Bob's VM", 'a "b" c', "-dash"]:
        channel = run(w, name)
        assert f"[{name} -- up" in channel.err.decode()
    assert "[list of things -- up" in run(w, "console list of things").err.decode()


def test_without_a_command_and_a_console_one_is_told_what_there_is(w: SSHWorld) -> None:
    w.vm()
    channel = w.login().attach(pty=False)
    out, err, status = result(channel)
    assert out.startswith("You are alice.")
    assert "web01" in out
    assert "show the log of a console" in out
    assert (err, status) == ("", 0)


def test_the_help_gives_only_examples_that_openssh_accepts(w: SSHWorld) -> None:
    # `ssh -W NAME:0` ends with "Bad stdio forwarding specification".
    out, _, status = result(run(w, "help"))
    assert status == 0
    assert "-W NAME:1" in out
    assert ":0" not in out


def test_help_fits_eighty_columns_and_is_coloured_at_a_terminal(w: SSHWorld) -> None:
    plain = result(run(w, "help"))[0]
    assert max(map(len, plain.splitlines())) < 80
    assert plain.count("\n") < 70
    for env, escapes in ((("NO_COLOR", "1"), False), (("LANG", "C"), True)):
        channel = w.login().open()
        channel.request(b"env", b"".join(len(x).to_bytes(4, "big") + x.encode() for x in env), reply=False)
        channel.pty()
        channel.exec("help")
        text = channel.out.decode().replace("\r\n", "\n")
        assert ("\x1b" in text) == escapes
        assert re.sub(r"\x1b\[[\d;]*m", "", text) == plain
    assert "\x1b[1mAt a console:\x1b[m\n  \x1b[1;36mconsole\x1b[m" in text


@each("command", TABLE)
def test_help_of_a_command_fits_and_its_examples_are_understood(command: Command) -> None:
    shown = details(command)
    assert max(map(len, shown.splitlines())) < 85
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured(shown)) == shown
    for line in EXAMPLES.get(command.name, ()):
        name, *words = split(line)
        assert COMMANDS[name] is command
        assert read_arguments(command, words, 1_795_363_000.0, lambda: None)


def test_there_are_examples_of_commands_only() -> None:
    assert EXAMPLES.keys() <= COMMANDS.keys()


def test_a_command_line_too_long_is_refused(w: SSHWorld) -> None:
    client = w.login()
    channel = client.open()
    channel.request(b"exec", len(b"x" * (COMMAND_LIMIT + 1)).to_bytes(4, "big") + b"x" * (COMMAND_LIMIT + 1))
    assert channel.replies == [100]


@pytest.mark.parametrize("user", ["web01,replay=" + "9" * 900, "x" * USER_LIMIT, "," * 900, "web01" + ",frob" * 180])
def test_a_long_user_name_is_told_in_few_words(w: SSHWorld, logged: Logged, user: str) -> None:
    w.vm()
    channel = w.login(user).attach()
    assert channel.status in (2, 3)
    assert 0 < len(channel.err) < 1000
    assert not logged.tracebacks


@pytest.mark.parametrize("user", ["x" * (USER_LIMIT + 1), "x" * 30_000, "web01" + ",ro" * 3000])
def test_a_longer_user_name_logs_nobody_in(w: SSHWorld, logged: Logged, user: str) -> None:
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(user.encode(), ed25519_key()))
    assert not client.taken(USERAUTH_SUCCESS)
    assert not logged.tracebacks


def test_a_target_in_the_user_name_that_means_nothing_is_told_with_status_2(w: SSHWorld) -> None:
    channel = w.login("web01,frob").attach()
    assert channel.status == 2
    assert b"no such option" in channel.err


# log


def fill(w: SSHWorld, count: int, width: int = 10) -> bytes:
    w.vm()
    data = b"".join(b"%d".rjust(1) % n + b"." * width + b"\r\n" for n in range(count))
    for at in range(0, len(data), 60_000):
        w.console().feed(data[at : at + 60_000])
        w.store.flush()
    return data


def test_a_log_is_printed_byte_for_byte(w: SSHWorld) -> None:
    w.vm()
    data = bytes(range(256)) * 1000
    w.console().feed(data)
    channel = run(w, "log web01")
    assert channel.out == data
    assert (channel.err, channel.status) == (b"", 0)


@pytest.mark.parametrize("options", ["-n 3", "-n3"])
def test_the_last_lines_of_a_log(w: SSHWorld, options: str) -> None:
    data = fill(w, 100)
    channel = run(w, f"log {options} web01")
    assert channel.out == b"".join(data.splitlines(keepends=True)[-3:])
    assert channel.status == 0
    assert run(w, "log -n 0 web01").out == b""
    assert run(w, "log web01 -n 99999").out == data


def test_as_many_lines_as_are_asked_for_are_printed_however_long(w: SSHWorld) -> None:
    data = fill(w, 8000, width=100)
    assert run(w, "log -n 7000 web01").out == b"".join(data.splitlines(keepends=True)[-7000:])


def test_a_log_that_is_not_there_yet_is_empty_and_no_error(w: SSHWorld) -> None:
    w.vm()
    w.store.flush()
    w.console().log.path.unlink(missing_ok=True)
    assert result(run(w, "log web01")) == ("", "", 0)


def test_a_log_that_cannot_be_read_is_told_with_status_1(w: SSHWorld, logged: Logged) -> None:
    fill(w, 1)
    path = w.console().log.path
    path.unlink()
    path.mkdir()
    out, err, status = result(run(w, "log web01"))
    assert (out, status) == ("", 1)
    assert "Is a directory" in err
    assert not [line for line in logged.tracebacks if "command" in line]


def test_a_log_is_followed_from_its_last_lines_on_without_banner_or_notices(w: SSHWorld) -> None:
    data = fill(w, 100)
    channel = run(w, "log -f -n 2 web01")
    w.login("web01").attach()
    w.console().feed(b"new\r\n")
    channel.client.pump()
    assert channel.out == b"".join(data.splitlines(keepends=True)[-2:]) + b"new\r\n"
    assert channel.err == b""
    channel.type(b"not for the VM")
    assert w.console().bytes_in == 0
    assert channel.err == b""


def test_following_a_log_never_takes_the_pen(w: SSHWorld) -> None:
    w.vm()
    run(w, "log -f web01,force")
    run(w, "log -f web01")
    assert w.console().write_access.writer is None
    assert len(w.console().viewers.all) == 2


def test_a_reader_who_leaves_in_the_middle_of_a_log_leaves_nothing_behind(w: SSHWorld, logged: Logged) -> None:
    fill(w, 20_000, width=100)
    client = w.login()
    channel = client.run("log web01", window=1000)
    channel.close()
    client.run("log web01", window=1000)
    client.tcp.closed()
    assert not logged.tracebacks


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("complete we", "web01\n"),
        ("complete list --so", "--sort\n"),
        ("complete 'log --since 1h w'", "web01\n"),
        ('complete status "VM"', "'VM (old)'\n"),
        ("complete alert", "alerts\n"),
        ("complete vau", ""),
        ("complete 'status '", "db01\n'VM (old)'\nweb01\n"),
    ],
)
def test_complete_says_how_a_command_could_go_on(w: SSHWorld, line: str, choices: str) -> None:
    for number, name in enumerate(("web01", "VM (old)", "db01", "vault")):
        w.vm(name, UUID(int=number + 1))
    w.rules(("*", "", "vault"), ("*", "see", "*"))
    out, err, status = result(run(w, line))
    assert (sorted(out.replace("'db01'", "db01").replace("'web01'", "web01").splitlines()), err, status) == (
        sorted(choices.splitlines()),
        "",
        0,
    )
