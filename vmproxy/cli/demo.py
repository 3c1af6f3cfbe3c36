"""``vmproxy demo``: a concentrator, a few simulated VMs, and the exact commands to reach them.

For a first look, on a machine without any preparation: it listens on the loopback address only, takes other ports if
its own are in use, and makes a throw-away key and an ``ssh`` configuration, so that one short command is enough.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

OPERATOR = "demo"
NAMES = ("web01", "db01", "mail01")
START_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, default=Path("var/demo"), help="its folder (default: %(default)s)")
    parser.add_argument("--vm-port", type=int, default=13370, help="for VMs, if free (default: %(default)s)")
    parser.add_argument("--ssh-port", type=int, default=2222, help="for operators, if free (default: %(default)s)")
    parser.add_argument("--web-port", type=int, default=8080, help="for browsers, if free (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the demonstration until SIGINT, SIGTERM or SIGHUP.

    :returns: the exit status: 1 if it could not start, or one of its parts ended by itself.
    """
    folder: Path = args.dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    vm_port, ssh_port, web_port = map(_free_port, (args.vm_port, args.ssh_port, args.web_port))
    host_key = _keys(folder)
    _ssh_config(folder, ssh_port, host_key)
    password = _operators(folder)
    (folder / "vmproxy.toml").write_text(_toml(folder, vm_port, ssh_port, web_port), encoding="utf-8")
    (folder / "watch.toml").write_text(_WATCH, encoding="utf-8")
    stop = _Stop()
    _say("Starting a concentrator and three simulated VMs ...")
    with _Children(folder) as children:
        children.start(
            "concentrator", [sys.executable, "-m", "vmproxy", "run", "--config", str(folder / "vmproxy.toml")]
        )
        if not _wait_for(lambda: _listening(ssh_port) and _listening(vm_port), children, stop):
            return _report(children, stop)
        simulate = [sys.executable, "-m", "vmproxy", "simulate", "--port", str(vm_port)]
        children.start("simulator", [*simulate, "-n", str(len(NAMES)), "--names", ",".join(NAMES), "--chatter", "20"])
        logs = [folder / "log" / "by-name" / f"{name}.log" for name in NAMES]
        if not _wait_for(lambda: all(log.exists() for log in logs), children, stop):
            return _report(children, stop)
        _say(_what_to_try(folder, f"http://127.0.0.1:{web_port}/", password))
        while not stop.asked and children.alive():
            time.sleep(0.2)
        return _report(children, stop)


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone: SIGHUP says so
        print(text, flush=True)


class _Stop:
    """Notes SIGINT, SIGTERM, and SIGHUP: the end of the terminal ends the demonstration."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


class _Children:
    """The processes of the demonstration; all of them end with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[tuple[str, subprocess.Popen[bytes], Path]] = []

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        for _name, process, _output in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def start(self, name: str, command: list[str]) -> None:
        """Start a process; what it says goes to a file."""
        output = self._folder / f"{name}.out"
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        with output.open("wb") as file:
            # A session of its own: ^C on the terminal is for us, and we stop them in order.
            process = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
        self._processes.append((name, process, output))

    def alive(self) -> bool:
        """Whether all of them run."""
        return all(process.poll() is None for _, process, _ in self._processes)

    def ended(self) -> list[tuple[str, int, Path]]:
        """Those that ended by themselves, with their exit statuses and what they said."""
        return [(name, p.returncode, output) for name, p, output in self._processes if p.poll() is not None]


def _wait_for(condition: object, children: _Children, stop: _Stop) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while not stop.asked and children.alive() and time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


def _report(children: _Children, stop: _Stop) -> int:
    if stop.asked:
        _say("\nStopped.")
        return 0
    for name, status, output in children.ended():
        print(f"The {name} ended with status {status}; the end of {output}:", file=sys.stderr)
        print("\n".join(output.read_text(errors="replace").splitlines()[-15:]), file=sys.stderr)
    if children.alive():
        print(f"It did not start within {START_SECONDS:.0f} s.", file=sys.stderr)
    return 1


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no free port on 127.0.0.1")


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _keys(folder: Path) -> str:
    # Imported late: `vmproxy simulate` needs none of it.
    from vmproxy.ssh.host_keys import load_or_make, make_key

    if not (folder / "key").exists():
        make_key(folder / "key", "ed25519")
    return bytes(load_or_make(folder)[0].public().toString("openssh")).decode()


def _ssh_config(folder: Path, port: int, host_key: str) -> None:
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n", encoding="utf-8")
    (folder / "ssh_config").write_text(
        "Host demo\n"
        "  HostName 127.0.0.1\n"
        f"  Port {port}\n"
        f'  IdentityFile "{folder / "key"}"\n'
        "  IdentitiesOnly yes\n"
        f'  UserKnownHostsFile "{folder / "known_hosts"}"\n'
        "  StrictHostKeyChecking yes\n"
        "  LogLevel ERROR\n",
        encoding="utf-8",
    )


def _operators(folder: Path) -> str:
    """Write the operators file; :returns: the password, which is another one each time."""
    from vmproxy.auth.passwords import hash_password

    password = secrets.token_urlsafe(9)
    file = folder / "operators.toml"
    file.touch(0o600)
    file.write_text(
        f"[operators.{OPERATOR}]\nkeys-file = ['key.pub']\npassword = '{hash_password(password)}'\n", encoding="utf-8"
    )
    return password


def _toml(folder: Path, vm_port: int, ssh_port: int, web_port: int) -> str:
    def quoted(path: Path) -> str:
        return "'" + str(path) + "'" if "'" not in str(path) else '"' + str(path) + '"'

    return (
        f"state-dir = {quoted(folder)}\n"
        f'[vm]\nlisten = ["tcp:{vm_port}:interface=127.0.0.1"]\n'
        f'[ssh]\nlisten = ["tcp:{ssh_port}:interface=127.0.0.1"]\n'
        f"operators-file = {quoted(folder / 'operators.toml')}\n"
        f'[web]\nlisten = ["tcp:{web_port}:interface=127.0.0.1"]\n'
        f"[log]\ndir = {quoted(folder / 'log')}\n"
        f"[alerts]\nwatch-file = {quoted(folder / 'watch.toml')}\n"
    )


_WATCH = """
[[watch]]
name = "kernel-panic"
match = "Kernel panic"
severity = "critical"
"""


def _what_to_try(folder: Path, link: str, password: str) -> str:
    try:
        short = folder.relative_to(Path.cwd())
    except ValueError:
        short = folder
    ssh = f"ssh -F {shlex.quote(str(short / 'ssh_config'))}"
    log = shlex.quote(str(short / "log" / "by-name" / "web01.log"))
    return f"""
Three virtual machines are up: {", ".join(NAMES)}.
In another terminal, in this folder:

    {ssh} web01@demo
        The console of web01. Press Enter, log in as root, type "vmotion":
        the VM moves to another host while you type. "panic" raises an
        alert.
        ^Ec. (Ctrl-E, c, full stop) detaches, ^Ec? is help.

    {ssh} demo
        The menu: type to filter, Enter attaches, ^D leaves.

    {ssh} demo list
        A command. Others: status web01, log --since 10m web01,
        search login, help.

    tail -F {log}
        The log of web01, live.

In a browser:

    {link}
        Log in as {OPERATOR} with the password {password}

Press Ctrl-C here to stop.
"""
