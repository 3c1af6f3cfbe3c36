"""A VM with the worst of names, and an operator who types no better: what people and files get of it.

Everything that is shown is held against a list of what may be there: printable characters, line ends, and on a terminal
the few sequences that our own screens are made of. Nothing is searched for, so nothing can be forgotten.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import PATIENCE, Client, Daemon, eventually
from tests.support.host import FakeVM, HostConnection

MakeVM = Callable[..., FakeVM]

# None of these is a sequence that we use ourselves: whatever of it comes through stands out.
WORST = "\x1b]0;title\x07\x1b[6n\x9b5n\x1bP1$r\x1b\\\r\n[fake]\x00\x7f\x08\u202eesrever\u2066\u200b\u2028\ufeff"
NAME = f"../web{WORST}$(id)`id`;'\"\\ %s {{0}} é"
URI = f"vmproxy?port=1&x={WORST}"

OURS = re.compile(
    r"\x1b\[\??[0-9;]*[HJKmhlABCDGrX]"  # moving, erasing, colours, modes
    r"|\x1b[78=>]|\x1b\(B\x0f?|[\r\n\b\t]"
)
SAFE_FILE = re.compile(r"[\w.,+-]+")


def clean_text(data: bytes, where: str) -> str:
    """Printable lines, and nothing else."""
    text = data.decode()
    for line in text.replace("\r\n", "\n").split("\n"):
        assert line.isprintable(), f"{where}: {line!r}"
    return text


def clean_json(data: bytes, where: str) -> list[dict[str, object]]:
    """JSON in ASCII: one object a line, or one list or object in all."""
    assert clean_text(data, where).isascii(), f"{where}: {data!r}"
    lines = data.decode().splitlines()
    if lines and lines[0] in ("[", "{"):
        whole = json.loads(data)
        return whole if isinstance(whole, list) else [whole]
    return [row for line in lines for row in _rows(json.loads(line))]


def _rows(value: Any) -> list[dict[str, object]]:
    return value if isinstance(value, list) else [value]


def clean_screen(data: bytes, where: str) -> str:
    """What a terminal may be sent: text and our own few sequences."""
    text = data.decode()
    rest = OURS.sub("", text)
    assert rest.isprintable(), f"{where}: {rest!r}"
    assert "\x1b[6n" not in text
    return rest


def run(daemon: Daemon, *words: str, user: str = "", status: int = 0) -> tuple[bytes, bytes]:
    """A command over SSH; what it said, both checked for nothing but its exit status."""
    line = daemon.ssh("127.0.0.1", "--", *words, user=user)
    done = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert done.returncode == status, (words, done)
    return done.stdout, done.stderr


@pytest.fixture
def vm(daemon: Daemon, make_vm: MakeVM) -> FakeVM:
    """The VM with the worst of names, which has said something, was renamed, and asked for odd things before."""
    scan = HostConnection(daemon.vm_port)
    scan.negotiate()
    scan.sub(70, f"Sother{WORST}".encode())
    scan.sub(70, f"Ctcp://{WORST}".encode())
    scan.sub(70, WORST.encode())
    scan.sub(80, WORST.encode())
    scan.wait_sub(73)
    scan.close()
    vm = make_vm(daemon, "web", URI)
    uuid = str(vm.uuid)
    vm.connected.sub(82, NAME.encode())
    vm.connected.say(b"needle \x1b[6n\x1b]0;x\x07\xe2\x80\xae\xff end\r\n")
    eventually(lambda: daemon.status(uuid).get("name", "web") != "web", "it is renamed")
    log = daemon.log_dir / f"{uuid}.log"
    eventually(lambda: log.exists() and log.read_bytes().endswith(b"end\r\n"), "what it said is logged")
    return vm


def test_commands_show_nothing_but_printable_lines(daemon: Daemon, vm: FakeVM) -> None:
    uuid = str(vm.uuid)
    for words in (
        ["list"],
        ["list", "uuid:*"],
        ["status", uuid],
        ["who"],
        ["whoami"],
        ["events", uuid],
        ["search", "needle"],
        ["ssh-config"],
        ["help"],
    ):
        out, err = run(daemon, *words)
        assert out, words
        clean_text(out, " ".join(words))
        clean_text(err, " ".join(words))
    for words in (
        ["list", "--json"],
        ["status", uuid, "--json"],
        ["who", "--json"],
        ["whoami", "--json"],
        ["events", uuid, "--json"],
        ["search", "needle", "--json"],
    ):
        out, _ = run(daemon, *words)
        assert clean_json(out, " ".join(words)), words
    # The name itself is not lost: JSON says what it was.
    (row,) = clean_json(run(daemon, "list", "--json")[0], "list")
    assert "web" in str(row["name"])


def test_what_an_operator_types_is_shown_no_better(daemon: Daemon, vm: FakeVM) -> None:
    uuid = str(vm.uuid)
    typed = WORST.replace("\x00", "").replace("\n", "")  # what no argument can hold
    for words in (
        [f"'{typed}'"],
        ["status", f"'{typed}'"],
        ["log", uuid, "--since", f"'{typed}'"],
        ["search", f"'({typed}'"],
        ["list", f"'--{typed}'"],
        ["help", f"'{typed}'"],
        ["events", f"'uuid:{typed}'"],
        ["kick", uuid, f"'{typed}'"],
    ):
        line = daemon.ssh("127.0.0.1", "--", *words)
        done = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        assert done.returncode not in (0, 255), (words, done)
        assert done.stderr
        clean_text(done.stderr, " ".join(words))
        clean_text(done.stdout, " ".join(words))
    # A user name may hold anything but what OpenSSH's client refuses by itself.
    for user, command in (
        ("a\u202eb\u200bc\x9b6n", "status"),
        ("a\u202eb,nonsense=\x9b6n", ""),
        ("\x9b6n:web", "list"),
    ):
        line = daemon.ssh("127.0.0.1", *([command] if command else []), user=user)
        done = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        assert done.returncode != 0
        clean_text(done.stdout, f"user {user!r}")
        # Among its own words, the client repeats the user's name as it was given: that is its business.
        ours = [row for row in done.stderr.decode().splitlines() if "ermission denied (" not in row]
        clean_text("\n".join(ours).encode(), f"user {user!r}")
    clean_log(daemon)


@pytest.fixture
def come(daemon: Daemon) -> Iterator[Callable[..., Client]]:
    """Somebody with a terminal."""
    clients: list[Client] = []

    def start(*words: str, user: str = "") -> Client:
        line = ["env", "TERM=xterm-256color", *daemon.ssh("-tt", "127.0.0.1", *words, user=user)]
        clients.append(Client(line, terminal=True))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def test_screens_get_text_and_our_own_sequences(
    daemon: Daemon, vm: FakeVM, come: Callable[..., Client], make_vm: MakeVM
) -> None:
    uuid = str(vm.uuid)
    # Attached: the banner, notices of others, of a renaming, of the line, information, a broadcast.
    first = come(user=f"{uuid},replay=0")
    first.expect(b"attached")
    at = len(first.out)
    second = come(user=f"{uuid},replay=0")
    second.expect(b"attached")
    for keys in (b"\x05ci", b"\x05cw", b"\x05cu", b"\x05c?"):
        first.type(keys)
    run(daemon, "broadcast", f"'hello {WORST}'".replace("\x00", "").replace("\n", ""))
    first.expect(b"hello", at)
    vm.connected.sub(82, (NAME + "2").encode())
    vm.close()
    first.expect(b"line down", at)
    make_vm(daemon, "web", URI).connected.sub(82, NAME.encode())
    first.expect(b"line up", at)
    second.type(b"\x05c.")
    assert second.end() == 0
    first.type(b"\x05c.")
    assert first.end() == 0
    for who, client in (("first", first), ("second", second)):
        clean_screen(bytes(client.out), who)
    # The menu: the list, what is shown of one, the prompt and what TAB offers there.
    menu = come()
    menu.expect(b"web")
    menu.type(b":status \t")
    menu.expect(b":status web-0-")  # TAB completes to what needs no quotes
    menu.type(b"\r")
    menu.expect(b"back to the menu]", menu.expect(uuid.encode()))  # the end of what it says
    menu.close()
    assert "web" in clean_screen(bytes(menu.out), "menu")


def clean_log(daemon: Daemon) -> None:
    """The process's own log: one line an event, and nothing in it that does anything."""
    for line in daemon.output.read_bytes().decode().split("\n"):
        assert line.isprintable(), f"the process's log: {line!r}"
        assert not line.startswith("[fake]")


def test_files_have_safe_names_and_safe_lines(daemon: Daemon, vm: FakeVM, tmp_path: Path) -> None:
    assert run(daemon, "status", str(vm.uuid))[0]
    before = {path.name for path in tmp_path.iterdir()}
    # The link by name follows in its own time.
    eventually(lambda: any("web-" in path.name for path in daemon.log_dir.rglob("*")), "the link has the new name")
    paths = [path for top in (daemon.state, daemon.log_dir) for path in top.rglob("*")]
    for path in paths:
        assert SAFE_FILE.fullmatch(path.name), path
        assert path.resolve().is_relative_to(daemon.folder), path
        assert len(path.name.encode()) < 200
    lines = 0
    for path in paths:
        if path.name.endswith((".events", ".jsonl")) and not path.is_symlink():
            lines += len(clean_json(path.read_bytes(), path.name))
    assert lines > 3
    clean_log(daemon)
    said = daemon.said()
    for wanted in ("WONT-PROXY", "\\x1b]0;title\\x07", "not a UUID"):
        assert wanted in said
    assert {path.name for path in tmp_path.iterdir()} == before
    # What sftp lists is what a shell may complete.
    options = daemon.ssh()[5:]
    line = ["sftp", "-F", "none", "-P", str(daemon.ssh_port), *options, "127.0.0.1"]
    done = subprocess.run(
        line, input=b"ls -l\nls -l by-name\n", capture_output=True, timeout=PATIENCE, check=False, cwd=tmp_path
    )
    listing = clean_text(done.stdout, "sftp")
    assert "web" in listing
    for line_ in listing.splitlines():
        if ".log" in line_:
            assert SAFE_FILE.fullmatch(line_.split()[-1]), line_
