"""Logging in with the real OpenSSH client: keys, certificates, passwords at a prompt, and what is turned away."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.daemon import PATIENCE, Client, Daemon, environment, eventually
from tests.support.host import FakeVM
from vmproxy.auth.limits import LoginLimits
from vmproxy.auth.passwords import hash_password
from vmproxy.ssh.host_keys import make_key

MakeDaemon = Callable[..., Daemon]
SECRET = "correct horse"
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority's key."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen (Debian: openssh-client)")
    folder = tmp_path_factory.mktemp("authority")
    make_key(folder / "ca", "ed25519")
    return folder / "ca"


@pytest.fixture(scope="module")
def badly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two keys that may not be used: by now, and from here."""
    folder = tmp_path_factory.mktemp("badly")
    for name in ("old", "far"):
        make_key(folder / name, "ed25519")
    return folder


@pytest.fixture(scope="module")
def written(keys: Path, authority: Path, badly: Path) -> str:
    """Operators: alice with a key and a password, bob with a certificate, old and far with bad keys."""
    public = {path.stem: path.read_text().strip() for path in (keys / "operator.pub", *badly.glob("*.pub"))}
    return f"""
        certificate-authorities-file = '{authority}.pub'
        [operators.alice]
        keys = ['{public["operator"]}']
        password = '{hash_password(SECRET)}'
        [operators.bob]
        [operators.old]
        keys = ['expiry-time="20200101" {public["old"]}']
        [operators.far]
        keys = ['from="192.0.2.0/24,!127.0.0.1" {public["far"]}']
        """


def settings(folder: Path, written: str) -> str:
    """Settings with a file of operators, which is written into a folder."""
    operators = folder / "operators.toml"
    operators.touch(0o600)
    operators.write_text(written)
    return f'[ssh]\noperators-file = "{operators}"\n'


@pytest.fixture
def served(make_daemon: MakeDaemon, tmp_path: Path, written: str) -> Daemon:
    """A daemon of a test's own, as failures have those of the next wait; its file of operators is in ``tmp_path``."""
    return make_daemon(settings(tmp_path, written))


def asking(daemon: Daemon, *words: str, user: str, method: str) -> list[str]:
    """The command line of a client that asks for a password."""
    line = [word.replace("BatchMode=yes", "BatchMode=no") for word in daemon.ssh(*words, user=user)]
    at = line.index("-F")
    return [*line[:at], "-o", f"PreferredAuthentications={method}", *line[at:]]


def login(daemon: Daemon) -> dict[str, object]:
    """The only login there was, once it is in the audit trail."""
    eventually(lambda: daemon.audited("login"), "the login is in the audit trail")
    (event,) = daemon.audited("login")
    return event


@pytest.fixture
def terminal() -> Iterator[Callable[[list[str]], Client]]:
    """Runs a command on a terminal of its own, at which it can ask for a password: it opens /dev/tty for that."""
    with ExitStack() as stack:

        def start(command: list[str]) -> Client:
            client = Client([sys.executable, "-c", TAKE_TERMINAL, *command], terminal=True)
            stack.callback(client.close)
            return client

        yield start


def test_the_key_says_who_it_is(served: Daemon, keys: Path) -> None:
    assert served.run("list").returncode == 0
    event = login(served)
    assert (event["who"], event["method"], event["from"]) == ("alice", "publickey", "127.0.0.1")
    refused = served.run("list", user="bob:web01")
    assert (refused.returncode, b"Permission denied (publickey,password" in refused.stderr) == (255, True)
    assert served.run("list", identity=keys / "stranger").returncode == 255
    eventually(lambda: len(served.audited("login-failed")) == 2, "both failures are in the audit trail")


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_person_types_a_password(served: Daemon, method: str, terminal: Callable[[list[str]], Client]) -> None:
    client = terminal(asking(served, "127.0.0.1", "list", user="alice:web01", method=method))
    at = client.expect(b"assword: ")
    client.type(b"wrong\r")
    client.expect(b"assword: ", at)
    client.type(SECRET.encode() + b"\r")
    assert client.end() == 0
    assert (login(served)["who"], login(served)["method"]) == ("alice", method)
    (failure,) = served.audited("login-failed")
    assert failure["method"] == method
    told = served.said() + (served.state / "audit.jsonl").read_text() + bytes(client.out).decode()
    assert SECRET not in told
    assert "wrong\r" not in told


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_script_is_asked_by_way_of_askpass(served: Daemon, method: str, tmp_path: Path) -> None:
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\necho '{SECRET}'\n")
    askpass.chmod(0o700)
    env = {**environment(), "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    for user, status in (("alice", 0), ("bob", 255), ("web01", 255)):
        line = asking(served, "-o", "NumberOfPasswordPrompts=1", "127.0.0.1", "list", user=user, method=method)
        done = subprocess.run(
            line, capture_output=True, stdin=subprocess.DEVNULL, env=env, timeout=PATIENCE, check=False
        )
        assert done.returncode == status, done.stderr


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_certificate_says_who_it_is(served: Daemon, keys: Path, authority: Path, tmp_path: Path, kind: str) -> None:
    key = tmp_path / "user"
    if kind == "rsa":  # a new one takes a second
        for end in ("", ".pub"):
            shutil.copy(keys / f"ssh_host_rsa_key{end}", f"{key}{end}")
    else:
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True, capture_output=True)
    card = f"bob's {kind} card"
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", card, "-n", "bob,nobody", "-z", "42"]
    subprocess.run([*sign, "-V", "+1h", f"{key}.pub"], check=True, capture_output=True)
    assert served.run("list", identity=key, user="bob:web01").returncode == 0

    def with_it() -> list[tuple[object, object]]:
        return [(e["who"], e["serial"]) for e in served.audited("login") if e.get("certificate") == card]

    eventually(with_it, "the login is in the audit trail")
    assert with_it() == [("bob", 42)]
    failed = len(served.audited("login-failed"))
    subprocess.run([*sign, "-V", "20200101:20200102", f"{key}.pub"], check=True, capture_output=True)
    assert served.run("list", identity=key).returncode == 255
    eventually(
        lambda: any("certificate" in str(event["reason"]) for event in served.audited("login-failed")[failed:]),
        "the reason is in the audit trail",
    )


@pytest.mark.parametrize(("name", "reason"), [("old", "expired at 2020-01-01"), ("far", "may not be used from 127")])
def test_the_options_of_a_key_are_honoured(served: Daemon, badly: Path, name: str, reason: str) -> None:
    assert served.run("list", identity=badly / name).returncode == 255
    eventually(
        lambda: any(reason in str(event["reason"]) for event in served.audited("login-failed")),
        "it is in the audit trail",
    )
    served.says(reason)


def test_a_change_of_the_file_counts_at_once_and_a_mistake_in_it_does_not(served: Daemon, tmp_path: Path) -> None:
    operators = tmp_path / "operators.toml"
    text = operators.read_text()
    operators.write_text(text.replace("[operators.alice]", "[operators.carol]"))
    assert served.run("list").returncode == 0
    assert login(served)["who"] == "carol"
    operators.write_text(text.replace("keys =", "kyes ="))
    assert served.run("list").returncode == 0
    served.says("did you mean operators.alice.keys?")


def test_who_is_removed_is_told_so_and_his_session_ends(
    served: Daemon, make_vm: Callable[..., FakeVM], tmp_path: Path, terminal: Callable[[list[str]], Client]
) -> None:
    make_vm(served)
    session = terminal(served.ssh("-tt", "127.0.0.1", user="web01"))
    session.expect(b"[attached]")
    operators = tmp_path / "operators.toml"
    operators.write_text(operators.read_text().replace("[operators.alice]", "[operators.carol]"))
    assert served.run("list").returncode == 0, "whose login makes the file be read"
    session.expect(b"you are no longer an operator")
    assert session.end() == 255
    eventually(lambda: served.audited("login-ended"), "it is in the audit trail")
    assert served.audited("login-ended")[0]["who"] == "alice"


def test_a_certificate_that_permits_nothing_gives_no_terminal_and_no_raw_stream(
    served: Daemon, make_vm: Callable[..., FakeVM], authority: Path, tmp_path: Path, terminal: Callable[..., Client]
) -> None:
    make_vm(served)
    key = tmp_path / "user"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, capture_output=True)
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "card", "-n", "bob", "-O", "clear", f"{key}.pub"]
    subprocess.run(sign, check=True, capture_output=True)
    assert b"web01" in served.run("list", identity=key).stdout
    line = served.ssh("-W", "web01:1", "127.0.0.1", identity=key)
    raw = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert b"this key may not be used for raw streams" in raw.stderr
    session = terminal(served.ssh("-tt", "127.0.0.1", user="web01", identity=key))
    session.expect(b"PTY allocation request failed")


def test_connections_that_do_not_log_in_are_bounded_and_sessions_go_on(
    served: Daemon, make_vm: Callable[..., FakeVM], terminal: Callable[[list[str]], Client]
) -> None:
    make_vm(served)
    session = terminal(served.ssh("-tt", "127.0.0.1", "list"))
    assert session.end() == 0
    with ExitStack() as stack:
        for _ in range(LoginLimits().per_address):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", served.ssh_port), PATIENCE))
            assert stranger.recv(7) == b"SSH-2.0"
        refused = stack.enter_context(socket.create_connection(("127.0.0.1", served.ssh_port), PATIENCE))
        with suppress(ConnectionResetError):
            assert refused.recv(1) == b""
        eventually(lambda: served.audited("login-refused"), "it is in the audit trail")
    eventually(lambda: served.run("list").returncode == 0, "there is room again")


def test_a_flood_of_passwords_does_not_stall_a_console(
    served: Daemon, make_vm: Callable[..., FakeVM], tmp_path: Path, terminal: Callable[[list[str]], Client]
) -> None:
    vm = make_vm(served)
    session = terminal(served.ssh("-tt", "127.0.0.1", user="web01"))
    session.expect(b"[attached]")
    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\necho wrong\n")
    askpass.chmod(0o700)
    env = {**environment(), "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    line = asking(served, "127.0.0.1", "list", user="nobody", method="password")
    flood = [
        subprocess.Popen(line, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(10)
    ]
    try:
        eventually(lambda: len(served.audited("login-failed")) >= 2, "the flood has begun")
        for n in range(50):
            session.type(b"%d\r" % n)
            vm.connected.wait_data(b"%d\r" % n)
            vm.connected.say(b"<%d>" % n)
            session.expect(b"<%d>" % n)
        assert any(process.poll() is None for process in flood), "the console was faster than the flood"
    finally:
        for process in flood:
            process.kill()
            process.wait()
