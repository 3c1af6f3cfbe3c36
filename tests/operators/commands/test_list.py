"""``list``, ``who``, ``whoami``, ``help``, ``ssh-config``: what one sees of consoles and people, and what not."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from tests.support.commands import result, run
from tests.support.fakes import VM_A, VM_B, FakeViewer
from tests.support.ssh import SSHWorld
from tests.support.terminal import Terminal
from vmproxy.access.console_options import ConsoleOptions
from vmproxy.access.policy import Grants, Rule
from vmproxy.access.selector import Subject
from vmproxy.base.turns import SPAN
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.console.journal import Journal
from vmproxy.console.migrations import Migrations
from vmproxy.console.registry import ConsoleRegistry
from vmproxy.operators.commands.list import WATCH_SECONDS
from vmproxy.operators.commands.registry import TABLE
from vmproxy.operators.terminal.width import cells


def unused(w: SSHWorld) -> tuple[Journal, Migrations]:
    """What a directory needs besides."""
    journal = Journal(w.folder / "other.jsonl", w.runner.submit)
    return journal, Migrations(w.clock, 60.0, lambda: b"12345678")


def three(w: SSHWorld) -> None:
    w.vm("web01")
    w.vm("web02", uuid=VM_B)
    w.vm("db01", uuid=UUID(int=7), peer="10.1.2.4")


# list


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        ("'web*'", ["web01", "web02"]),
        ("'WEB0?'", ["web01", "web02"]),
        ("db01 'web02'", ["db01", "web02"]),
        (f"uuid:{str(VM_A)[:6]}*", ["web01"]),
        (VM_A.hex, ["web01"]),
        ("d", ["db01"]),
        ("query:x", None),
    ],
)
def test_list_takes_globs_and_whatever_names_a_console(w: SSHWorld, globs: str, names: list[str] | None) -> None:
    three(w)
    channel = run(w, f"list --json {globs}")
    if names is None:
        assert result(channel)[::2] == ("", 3)
    else:
        assert ([c["name"] for c in json.loads(channel.out)], channel.status) == (names, 0)


def test_list_shows_the_columns_that_are_asked_for_in_their_order(w: SSHWorld) -> None:
    three(w)
    out, err, status = result(run(w, "list -c uuid,host,name db01"))
    assert [line.split() for line in out.splitlines()] == [
        ["VC", "UUID", "HOST", "NAME"],
        [str(UUID(int=7)), "10.1.2.4", "db01"],
    ]
    assert (err, status) == ("", 0)


def test_columns_are_straight_behind_wide_names(w: SSHWorld) -> None:
    w.vm("日本語")
    w.vm("e\u0301tude", uuid=VM_B)
    w.console("日本語").viewers.attach(FakeViewer("bob@10.1.2.8"), write=True)
    w.console("e\u0301tude").viewers.attach(FakeViewer("carol@10.1.2.8"), write=True)
    for command, column in (("list -c name,host", "10.1.2.3"), ("who", "write")):
        out, _, _ = result(run(w, command))
        _, *rows = out.splitlines()
        before = [row.partition(column)[0] for row in rows if column in row]
        assert len(before) == 2
        assert len({cells(text) for text in before}) == 1


def test_every_column_can_be_shown(w: SSHWorld) -> None:
    from vmproxy.operators.commands.list import COLUMNS

    three(w)
    for column in COLUMNS:
        out, err, status = result(run(w, f"list -c {column}"))
        assert (len(out.splitlines()), err, status) == (4, "", 0)


def test_conservers_forms_of_the_list(w: SSHWorld) -> None:
    three(w)
    w.console().viewers.attach(FakeViewer("bob@10.1.2.8"), write=True)
    w.console().viewers.attach(FakeViewer("eve@10.1.2.8"), write=False)
    assert "bob@10.1.2.8, eve@10.1.2.8 (spy)" in run(w, "list -u web01").out.decode()
    assert "SERVICE URI" in run(w, "list -x").out.decode()
    assert run(w, "list -w").out == run(w, "who").out
    lines = run(w, "list -i").out.decode().splitlines()
    assert [len(line.split(":")) for line in lines] == [11] * 3
    assert lines[1].startswith(f"web01:web01:{VM_A}:1:up:2023-11-14T22%3A13%3A20.000Z:10.1.2.3:")
    for form in "uxiw":
        assert run(w, f"console -{form}").out == run(w, f"list -{form}").out


def test_ssh_names_that_are_the_names_are_left_out_and_reasons_are_for_status(w: SSHWorld) -> None:
    three(w)
    w.lose(w.console("db01"), "a reason of many words that would make each row of the table as wide as itself")
    head, *rows = run(w, "list").out.decode().splitlines()
    assert head.split() == ["NAME", "STATE", "WRITER", "VIEWERS"]
    assert rows[0].split() == ["db01", "down", "since", "2023-11-14", "22:13:20Z", "-", "0"]
    assert "of many words" in run(w, "list -c name,reason db01").out.decode()
    assert "of many words" in run(w, "status db01").out.decode()
    assert "SSH NAME" in run(w, "list -c name,alias").out.decode()
    w.vm("VM (old)", uuid=UUID(int=9))
    head, *rows = run(w, "list").out.decode().splitlines()
    assert head.split()[:3] == ["NAME", "SSH", "NAME"]
    assert [row.split("  ")[0] for row in rows] == ["db01", "VM (old)", "web01", "web02"]
    assert rows[0].split()[:2] == ["db01", "db01"]


def test_whether_a_line_is_encrypted(w: SSHWorld) -> None:
    three(w)
    w.vm("web01").encrypted = True
    w.lose(w.console("db01"))
    rows = run(w, "list -x").out.decode().splitlines()
    assert [row.split()[2] for row in rows] == ["TLS", "-", "yes", "no"]
    assert "TLS: yes" in run(w, "status web01").out.decode()
    assert "TLS: no" in run(w, "status web02").out.decode()
    assert "TLS" not in run(w, "status db01").out.decode()


def test_the_values_of_the_status_stand_below_each_other_within_80_columns(w: SSHWorld) -> None:
    w.vm()
    lines = [line for line in run(w, "status web01").out.decode().splitlines() if " log: " not in line]
    assert len({line.index(": ") for line in lines}) == 1
    assert max(map(len, lines)) < 80


def test_hosts_are_counted_by_what_is_connected_from_them(w: SSHWorld) -> None:
    assert result(run(w, "hosts")) == ("no host has connected yet\n", "", 0)
    for n, (name, peer) in enumerate([("a", "10.1.2.10"), ("b", "10.1.2.9"), ("c", "10.1.2.9"), ("d", "fe80::1")]):
        w.vm(name, UUID(int=n + 1), peer=peer).encrypted = name == "b"
    w.lose(w.console("c"))
    rows = [line.split() for line in run(w, "hosts").out.decode().splitlines()]
    assert rows == [
        ["HOST", "UP", "TLS", "DOWN"],
        ["10.1.2.9", "1", "1", "1"],
        ["10.1.2.10", "1", "0", "0"],
        ["fe80::1", "1", "0", "0"],
    ]
    w.rules(("*", "", "b"), ("*", "see", "*"))
    first, *_ = run(w, "hosts --json").out.splitlines()
    assert json.loads(first) == {"host": "10.1.2.9", "up": 0, "tls": 0, "down": 1}


@pytest.mark.parametrize("command", ["list --json", "list -i", "list -c name,uuid,uri,log,bios,location,since,host"])
def test_what_is_hidden_while_a_client_reads_the_list_is_not_told(w: SSHWorld, command: str) -> None:
    for n in range(600):
        w.vm(f"vm{n:03}", uuid=UUID(int=n + 1))
    channel = run(w, command, window=1000)
    w.rules(("*", "see", "vm000"))
    channel.adjust(10_000_000)
    assert channel.status == 0
    assert b"vm000" in channel.out
    assert b"vm599" not in channel.out
    if command.endswith("json"):
        assert json.loads(channel.out)[0]["name"] == "vm000"


def test_a_crowd_at_one_console_is_listed_while_others_have_their_turn(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crowd(FakeViewer):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Crowd.compared += 1
            return self is other

        __hash__ = FakeViewer.__hash__

    w.vm("web01")
    for n in range(500):
        w.console().viewers.attach(Crowd(f"v{n:03}@x"), write=True)
    Crowd.compared = 0
    turns: list[float] = []
    call_later = w.clock.callLater
    monkeypatch.setattr(w.clock, "callLater", lambda s, *call: turns.append(s) or call_later(s, *call))
    seen = w.clock.seconds

    def each_takes_time() -> float:
        w.clock.rightNow += SPAN / 100
        return seen()

    monkeypatch.setattr(w.clock, "seconds", each_takes_time)
    lines = run(w, "who").out.decode().splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["v000@x", "web01", "write"], ["v001@x", "web01", "spy,"]]
    assert len(lines) == 502
    assert Crowd.compared < 1000
    assert turns.count(0) >= 9  # three times in each of looking at them, measuring and printing


def test_a_colon_or_a_line_end_in_a_name_does_not_break_the_lines_for_machines(w: SSHWorld) -> None:
    w.vm("a:b%\nc")
    (line,) = run(w, "list -i").out.decode().splitlines()
    assert line.startswith("a%3Ab%25\\x0ac:")


def test_list_tells_what_one_may_do(w: SSHWorld) -> None:
    three(w)
    w.rules(("alice", "spy", "web*"), ("alice", "see", "db*"))
    rights = {c["name"]: c["rights"] for c in json.loads(run(w, "list --json").out)}
    assert rights == {"db01": ["see"], "web01": ["see", "spy"], "web02": ["see", "spy"]}


def test_thousands_of_consoles_are_listed_while_others_have_their_turn(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(1700):
        w.vm(f"vm{n}", uuid=UUID(int=n + 1))
    turns: list[float] = []
    call_later = w.clock.callLater
    monkeypatch.setattr(w.clock, "callLater", lambda s, *call: turns.append(s) or call_later(s, *call))
    channel = run(w, "list")
    assert len(channel.out.splitlines()) == 1701
    assert channel.status == 0
    assert turns.count(0) >= 9  # three times in each of looking for them, measuring and printing


# What may not be seen

NAMED = [
    "status NAME",
    "log NAME",
    "log -f NAME",
    "NAME",
    "console NAME",
    "console -k NAME",
    "list NAME",
    "list --json NAME",
    "who NAME",
    "search x NAME",
    "events NAME",
    "replay NAME",
    "record NAME",
    "ssh-config NAME",
    "break NAME",
    "send NAME",
    "expect NAME x",
    "kick NAME",
    "forget NAME",
]


@pytest.mark.parametrize("command", NAMED)
def test_a_console_that_may_not_be_seen_does_not_exist(w: SSHWorld, command: str) -> None:
    three(w)
    w.rules(("alice", "admin", "web01"))
    hidden = result(run(w, command.replace("NAME", "db01")))
    nothing = result(run(w, command.replace("NAME", "xy99")))
    assert hidden == tuple(t.replace("xy99", "db01") if isinstance(t, str) else t for t in nothing)
    assert hidden[2] == 3


@pytest.mark.parametrize(
    "command", ["list", "list --json", "who", "search .", "events", "ssh-config", "whoami", "list -i"]
)
def test_of_what_may_not_be_seen_nothing_is_told(w: SSHWorld, command: str) -> None:
    w.vm("web01")
    w.rules(("alice", "admin", "web01"))
    before = result(run(w, command))
    w.vm("db01", uuid=VM_B)
    w.console("db01").feed(b"secret\r\n")
    w.console("db01").viewers.attach(FakeViewer("eve@10.9.9.9"), write=True)
    assert result(run(w, command)) == before


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "who",
        "search .",
        "events",
        "ssh-config",
        "whoami",
        "broadcast hello",
        "status web01",
        "status db01",
        "x",
    ],
)
def test_no_rule_is_asked_about_what_may_not_be_seen(
    w: SSHWorld, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """So the time that an answer takes does not tell of it."""
    asked: list[str] = []
    decides = Grants.decides

    def counted(grants: Grants, console: Subject) -> Rule | None:
        asked.append(console.name)
        return decides(grants, console)

    def questions() -> list[str]:
        run(w, command)  # what the operator sees now is found out once
        asked.clear()
        run(w, command)
        return list(asked)

    monkeypatch.setattr(Grants, "decides", counted)
    w.vm("web01")
    w.rules(("alice", "admin", "web01"))
    before = questions()
    for n, name in enumerate(("db01", "db02", "x1", "status")):
        w.vm(name, uuid=UUID(int=n + 100))
    assert questions() == before


@pytest.mark.parametrize(
    ("command", "may"),
    [
        ("log web01", "see"),
        ("log -f web01", "see"),
        ("search x web01", "see"),
        ("search x 'web*'", "see"),
        ("events web01", "see"),
        ("replay web01", "see"),
        ("record web01", "see"),
        ("expect web01 x", "see"),
        ("expect web01 x --send y", "spy"),
        ("send web01", "spy"),
        ("break web01", "spy"),
        ("kick web01", "write force raw"),
        ("forget web01", "write force raw"),
        ("broadcast hello", "write force raw"),
    ],
)
def test_what_one_may_see_but_not_do_is_refused_with_status_10(w: SSHWorld, command: str, may: str) -> None:
    w.vm()
    w.rules(("alice", may, "*"))
    out, err, status = result(run(w, command))
    assert (out, status) == ("", 10)
    assert err.strip()
    assert w.console().viewers.all == ()


@pytest.mark.parametrize(
    ("states", "names"),
    [("up", ["web01"]), ("DOWN", ["db01", "web02"]), ("down,migrating", ["db01", "web02"]), ("migrating", [])],
)
def test_list_by_state(w: SSHWorld, states: str, names: list[str]) -> None:
    three(w)
    for name in ("db01", "web02"):
        w.lose(w.console(name))
    for option in ("--state", "-s"):
        channel = run(w, f"list --json {option} {states}")
        assert ([c["name"] for c in json.loads(channel.out)], channel.status) == (names, 0)
    assert result(run(w, "list --state migrating")) == ("none of 3 consoles is migrating\n", "", 0)
    assert [line.split()[0] for line in run(w, f"list --state {states} 'web*'").out.decode().splitlines()[1:]] == [
        name for name in names if name.startswith("web")
    ]


@pytest.mark.parametrize("option", ["--state", "--state gone", "--state ''", "--state up,x", "-w --state up"])
def test_a_state_that_is_none(w: SSHWorld, option: str) -> None:
    w.vm()
    assert run(w, f"list {option}").status == 2


# who


def test_who_shows_who_is_where_and_who_is_nowhere(w: SSHWorld) -> None:
    w.vm()
    bob = FakeViewer("bob@10.1.2.8")
    bob.skipped = 5
    w.console().viewers.attach(bob, write=True)
    out, err, status = result(run(w, "who"))
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["OPERATOR", "CONSOLE", "MODE", "IDLE", "SINCE", "SKIPPED"]
    assert rows[1][:4] == ["bob@10.1.2.8", "web01", "write", "0s"]
    assert rows[1][-2:] == ["5", "bytes"]
    assert rows[2] == ["alice@10.1.2.9", "-", "-", "-", "-", "-"]
    assert (err, status) == ("", 0)
    told = json.loads(run(w, "who --json").out)
    assert told[0]["console"] == "web01"
    assert told[0]["skipped"] == 5
    assert told[1] == {
        "who": "alice@10.1.2.9",
        **dict.fromkeys(("console", "uuid", "port", "mode", "idle", "since", "skipped")),
    }
    assert [r["who"] for r in json.loads(run(w, "who --json web01").out)] == ["bob@10.1.2.8"]


def test_an_operator_on_a_hidden_console_looks_like_one_on_none(w: SSHWorld) -> None:
    w.vm("web01")
    w.vm("secret", uuid=VM_B)
    other = w.login()
    other.attach("secret")
    w.rules(("alice", "admin", "web01"))
    assert json.loads(run(w, "who --json").out)[0]["console"] is None


def test_nobody_is_said(w: SSHWorld) -> None:
    w.vm()
    assert result(run(w, "who web01")) == ("nobody is on these consoles\n", "", 0)
    assert json.loads(run(w, "who --json web01").out) == []


# The rest


def test_whoami_tells_who_one_is_and_what_one_may(w: SSHWorld) -> None:
    three(w)
    w.rules(("alice", "write", "web*"), ("alice", "see", "*"))
    out, err, status = result(run(w, "whoami"))
    assert "operator: alice\n" in out
    assert "from: 10.1.2.9\n" in out
    assert "consoles on which you may: see 3, spy 2, write 2, force 0, raw 0, many 0, admin 0\n" in out
    assert (err, status) == ("", 0)
    assert json.loads(run(w, "whoami --json").out)["consoles"]["write"] == 2


def test_help_knows_every_command_and_its_usage(w: SSHWorld) -> None:
    listed = [line.split()[0] for line in run(w, "help").out.decode().splitlines() if line.startswith("  ")]
    for command in TABLE:
        usage = f"{command.name} {command.usage}".rstrip()
        assert listed.count(command.name) == 1
        told, err, status = result(run(w, f"help {command.name}"))
        assert " ".join(told.split()).startswith(usage)
        assert (err, status) == ("", 0)


def test_help_about_a_command_tells_its_options_its_right_and_other_names(w: SSHWorld) -> None:
    out, _, _ = result(run(w, "help break"))
    assert "\n  right: write (force)\n" in out
    assert "\n--reason TEXT  " in out
    assert "\n  also: info\n" in result(run(w, "help info"))[0]
    assert "hidden" not in out
    out, _, _ = result(run(w, "help expect"))
    assert "\n  right: spy (write)\n" in out
    assert "\n--force" not in out


def test_version(w: SSHWorld) -> None:
    from vmproxy import __version__

    assert result(run(w, "version")) == (f"vmproxy {__version__}\n", "", 0)


def test_ssh_config_has_a_block_for_each_console(w: SSHWorld) -> None:
    three(w)
    w.vm("VM (old)", uuid=UUID(int=99))
    out, err, status = result(run(w, "ssh-config"))
    blocks = [block.splitlines() for block in out.strip().split("\n\n")]
    assert [block[1] for block in blocks] == ["Host db01", "Host VM-old", "Host web01", "Host web02"]
    assert blocks[1] == [
        "# VM (old)",
        "Host VM-old",
        "    HostName 10.1.2.1",
        "    Port 2222",
        "    User alice:VM-old",
        "    RequestTTY yes",
    ]
    assert (err, status) == ("", 0)
    out = run(w, "ssh-config --host con.example.com --port 22 --prefix con- web01").out.decode()
    assert out.splitlines()[1:4] == ["Host con-web01", "    HostName con.example.com", "    Port 22"]


# What must not cost much, and what must not be learned


def test_a_long_glob_is_refused(w: SSHWorld) -> None:
    three(w)
    assert run(w, f"list '{'w' * 255}*'").status == 3
    for command in ("list", "who", "search x", "events", "ssh-config"):
        assert result(run(w, f"{command} '{'[a' * 129}'")) == (
            "",
            f"{command.split()[0]}: a pattern of names has at most 256 characters\n",
            2,
        )


@pytest.mark.parametrize(("may", "shown"), [("admin", None), ("force raw", "web01.log")])
def test_only_an_administrator_is_told_the_path_of_a_log(w: SSHWorld, may: str, shown: str | None) -> None:
    w.directory = w.services.registry = ConsoleRegistry(w.clock, w.store, *unused(w), "{name}.log")
    w.vm("web01", uuid=VM_B)
    w.vm("web01")  # the other one has the name already: this one's log is called something with a ~
    path = str(w.console(str(VM_A)).log.path)
    assert "~" in path
    w.rules(("*", may, f"uuid:{VM_A}"))
    shown = shown or path
    assert json.loads(run(w, "status --json web01").out)["log"] == shown
    assert json.loads(run(w, "list --json").out)[0]["log"] == shown
    assert run(w, "list -c log").out.decode().splitlines()[1:] == [shown]
    assert run(w, "list -i").out.decode().rstrip().rpartition(":")[2] == shown
    w.console(str(VM_A)).set_logging(False, "alice")
    assert f"{shown} (NOT being recorded" in run(w, "list -c log").out.decode()


def test_what_cannot_be_read_of_a_log_is_told_by_the_name_that_one_knows(w: SSHWorld) -> None:
    w.directory = w.services.registry = ConsoleRegistry(w.clock, w.store, *unused(w), "{name}.log")
    w.vm("web01", uuid=VM_B)
    w.vm("web01")
    w.rules(("*", "spy", f"uuid:{VM_A}"))
    console = w.console(str(VM_A))
    console.feed(b"one\r\n")
    w.store.flush()
    console.log.path.with_name(f"{console.log.path.name}.1.gz").write_bytes(b"nonsense")
    for command in ("log web01", "search one"):
        channel = run(w, command)
        assert channel.err.decode().startswith("web01.log.1.gz: ")
        assert b"~" not in channel.err


def test_of_many_who_write_some_are_named(w: SSHWorld) -> None:
    three(w)
    w.console("web01").set_options(ConsoleOptions(shared=True))
    for number in range(12):
        w.console("web01").viewers.attach(FakeViewer(f"op{number}@10.1.2.8"), write=True, join=True)
    out = run(w, "list -c name,writer").out.decode()
    assert "op9@10.1.2.8, and 2 more\n" in out
    assert "op10" not in out


# Order, width, and the list again and again.


def test_list_sorts_by_a_column(w: SSHWorld) -> None:
    three(w)
    w.console("web02").feed(b"x" * 5000)
    w.console("db01").feed(b"x" * 700)
    w.console("web01").set_alerts(AlertMarks(0, 0, 3))
    w.console("db01").set_alerts(AlertMarks(0, 1, 0))

    def names(column: str) -> list[str]:
        return [line.split()[0] for line in run(w, f"list -c name,out --sort {column}").out.decode().splitlines()[1:]]

    assert names("name") == ["db01", "web01", "web02"]
    assert names("out") == ["web02", "db01", "web01"]
    assert names("host") == ["web01", "web02", "db01"]
    assert names("alerts") == ["db01", "web01", "web02"]
    assert names("viewers") == ["db01", "web01", "web02"]
    assert all(console._viewers is None for console in w.directory)  # nothing is made to count nobody
    assert "no such column" in run(w, "list --sort nonsense").err.decode()


def test_at_a_terminal_the_list_fits_unless_it_is_to_be_wide(w: SSHWorld) -> None:
    w.vm("a-rather-long-name-" * 4)

    def screen(command: str) -> str:
        channel = w.login().open()
        channel.pty(60, 24)
        channel.exec(command)
        return channel.screen.decode()

    narrow = screen("list -c name,uuid,state")
    assert max(map(cells, narrow.splitlines())) <= 60
    assert "…" in narrow
    wide = screen("list --wide -c name,uuid,state")
    assert str(VM_A) in wide
    assert "…" not in wide
    assert str(VM_A) in run(w, "list -c name,uuid,state").out.decode()


def test_list_is_watched_at_a_terminal_only(w: SSHWorld) -> None:
    three(w)
    assert run(w, "list --watch").status == 2
    channel = w.login().open()
    channel.pty(40, 5)
    channel.exec("list --watch --wide -c name,uuid,host")
    channel.client.pump()
    terminal = Terminal(40, 5)
    terminal.feed(channel.screen)
    assert [line.split()[0] for line in terminal.lines[:4]] == ["NAME", "db01", "web01", "web02"]
    w.vm("aa01", uuid=UUID(int=9))
    w.clock.advance(WATCH_SECONDS)
    channel.client.pump()
    terminal.feed(channel.screen)
    assert [line.split()[0] for line in terminal.lines[:3]] == ["NAME", "aa01", "db01"]
    assert terminal.lines[3] == "and 2 more"
    channel.type(b"\x03")
    channel.client.pump()
    assert channel.status == 130
