"""The daemon as a real process, the real OpenSSH client, and waiting for what must become true."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"

OTHERS = ("ldap", "pam", "vcenter", "web.oidc")
"""Sections that are taken as they are."""


def eventually(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> object:
    """Wait until a condition holds; fail if it does not in good time.

    Looking takes half of the time at most: the next command over SSH would take what the daemon needs to get there.
    """
    deadline = time.monotonic() + patience
    while True:
        began = time.monotonic()
        result = condition()
        if result:
            return result
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"still not true after {patience:.0f} s: {what}")
        time.sleep(max(0.005, now - began))


def environment() -> dict[str, str]:
    """The environment of our processes: the checkout importable, no agent, nobody's own ssh configuration."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    return {**env, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}


class Daemon:
    """A concentrator of a test's own.

    :ivar within: a command that runs it, and its operators' clients, somewhere else: in a network namespace, say.
    :ivar vm_address: where it listens for VMs.
    :ivar web_port: the port for browsers, with ``[web] listen = ["tcp:0:interface=127.0.0.1"]``; ``web_tls_port``: the
        one with TLS, of ``tls-listen``.
    :ivar preload: a library that its process loads first; empty for none.
    :ivar patience: seconds that it may take to start.
    :ivar prefix: a command that starts the daemon: what follows it is run in its place.
    :ivar options: for twistd, such as ``--uid``.
    :ivar environment: of the process; ``pass_fds``: descriptors that it inherits.
    :ivar named: the names of VMs that a test has connected to it, and which test.
    """

    within: tuple[str, ...] = ()
    vm_address = "127.0.0.1"
    preload = ""
    patience = PATIENCE

    def __init__(
        self, folder: Path, keys: Path, extra: str = "", log_dir: Path | None = None, descriptors: int = 0
    ) -> None:
        """:param descriptors: how many it may have; 0: as many as the tests themselves."""
        self.folder = folder
        self.state = folder / "state"
        self.log_dir = log_dir or folder / "log"
        self.output = folder / "daemon.out"
        self.config = folder / "vmproxy.toml"
        self.identity = keys / "operator"
        self._host_key = (keys / "ssh_host_ed25519_key.pub").read_text()
        self._extra = extra
        self.prefix = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh"] if descriptors else []
        self._process: subprocess.Popen[bytes] | None = None
        self.vm_port = self.ssh_port = self.web_port = self.web_tls_port = 0
        self.listen = ("", "")  # what the configuration says: on a port of the system's choice, then on the same again
        self.options: list[str] = ["--pidfile="]
        self.environment = environment()
        self.pass_fds: tuple[int, ...] = ()
        self.named: dict[str, str] = {}
        self._kept = contextlib.ExitStack()  # the ports, while it is stopped
        weakref.finalize(self, self._kept.close)
        self.state.mkdir(parents=True, exist_ok=True)
        for kind in ("ed25519", "rsa"):  # made once for all tests: an RSA key takes a while
            shutil.copy(keys / f"ssh_host_{kind}_key", self.state)

    def start(self) -> Daemon:
        """Start it, and wait until it is ready. A second start takes the same ports."""
        self.listen = ("", "")
        self.write_config()
        said = len(self.said())
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self.within, *self.prefix, *self.command()],
                cwd=self.folder,
                env=self.environment | ({"LD_PRELOAD": self.preload} if self.preload else {}),
                pass_fds=self.pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def ready() -> bool:
            assert self.process.poll() is None, self.said()
            return "State: " in self.said()[said:]

        eventually(ready, "the daemon is ready", self.patience)
        fresh = self.said()[said:]
        self.vm_port = int(re.findall(r"Virtual machines connect to +[0-9.]+:(\d+)", fresh)[-1])
        self.ssh_port = int(re.findall(r"Operators connect to +127\.0\.0\.1:(\d+)", fresh)[-1])
        links = dict(re.findall(r"(https?)://127\.0\.0\.1:(\d+)/", fresh))
        self.web_port, self.web_tls_port = int(links.get("http", 0)), int(links.get("https", 0))
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.ssh_port} {self._host_key}")
        self._kept.close()
        return self

    def command(self) -> list[str]:
        """What starts it."""
        return [sys.executable, "-c", TWISTD, "-n", *self.options, "vmproxy", "--config", str(self.config)]

    def write_config(self) -> None:
        """Write the configuration file, as :meth:`start` does."""
        if not any(self.listen):
            vm = f"tcp:{self.vm_port}:interface={self.vm_address}"
            self.listen = (vm, f"tcp:{self.ssh_port}:interface=127.0.0.1")
        top, _, _ = self._extra.partition("[")
        tables = re.search(r"^\[\[.*", self._extra, re.MULTILINE | re.DOTALL)  # rules and consoles stand last
        self.config.write_text(
            f'state-dir = "{self.state}"\n{top}\n'
            f'[log]\ndir = "{self.log_dir}"\n'
            f"{_section(self._extra, 'log')}\n"
            f"[alerts]\n{_section(self._extra, 'alerts')}\n"
            f'[vm]\nlisten = ["{self.listen[0]}"]\n'
            f"{_section(self._extra, 'vm')}\n"
            f'[ssh]\nlisten = ["{self.listen[1]}"]\n'
            f'authorized-keys = ["{self.identity}.pub"]\n{_section(self._extra, "ssh")}\n'
            f"[web]\n{self._web()}\n"
            f"{''.join(f'[{name}]{chr(10)}{_section(self._extra, name)}{chr(10)}' for name in OTHERS)}"
            f"{tables[0] if tables else ''}"
        )

    def _web(self) -> str:
        text = _section(self._extra, "web")
        if not self.web_port:
            return text
        return re.sub(r"(?m)^(listen = .*?)tcp:0:", rf"\1tcp:{self.web_port}:", text)

    def reload(self, extra: str, said: str = "the configuration is in force") -> None:
        """Have it read another configuration, and wait until it has said so."""
        before = len(self.said())
        self._extra = extra
        self.write_config()
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: said in self.said()[before:], f"it says {said!r}", self.patience)

    def audited(self, *kinds: str, count: int = 0) -> list[dict[str, object]]:
        """The audit trail, or what of it is of these kinds; as soon as there are so many."""
        if count:
            eventually(lambda: len(self.audited(*kinds)) >= count, f"{count} lines of {kinds} in the audit trail")
        events = json_lines(self.state / "audit.jsonl")
        return [event for event in events if not kinds or event["event"] in kinds]

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """Everything that it has printed."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def says(self, text: str) -> None:
        """Wait until it has said something: others may learn what it did before its log has it."""
        eventually(lambda: text in self.said(), f"it says {text!r}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and wait for it.

        :returns: the exit status.
        """
        if self.running:
            self.process.send_signal(how)
        status = self.process.wait(PATIENCE)
        self._keep_ports()
        return status

    def _keep_ports(self) -> None:
        # So the system gives them to nobody else. Who is bound and does not listen is in nobody's way.
        self._kept.close()
        for port in filter(None, (self.vm_port, self.ssh_port, self.web_port, self.web_tls_port)):
            one = self._kept.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):  # somebody else listens there: who handed it over, or a second daemon
                one.bind(("127.0.0.1", port))

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """It does nothing for a while, as if the machine had no time for it."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def memory(self) -> int:
        """Its resident memory, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None
        return 1024 * int(match[1])

    def open_files(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def busy(self) -> float:
        """How many seconds of processor time it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # The operator.

    def ssh(self, *words: str, identity: Path | None = None, user: str = "") -> list[str]:
        """The command line of an OpenSSH client; ``words`` come behind its options."""
        return [
            *self.within,
            "ssh",
            "-F",
            "none",
            "-p",
            str(self.ssh_port),
            "-i",
            str(identity or self.identity),
            *(("-l", user) if user else ()),
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            f"UserKnownHostsFile={self.folder / 'known_hosts'}",
            "-o",
            "LogLevel=INFO",
            *words,
        ]

    def run(self, *command: str, identity: Path | None = None, user: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run a command over SSH to its end."""
        line = self.ssh("127.0.0.1", "--", *command, identity=identity, user=user)
        return subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, timeout=self.patience, check=False)

    def status(self, name: str) -> dict[str, object]:
        """What ``status NAME --json`` says; empty while there is no such console."""
        done = self.run("status", name, "--json")
        result: dict[str, object] = json.loads(done.stdout) if done.returncode == 0 else {}
        return result

    def log(self, name: str) -> Path:
        """The log of a console, by the link that people use."""
        return self.log_dir / "by-name" / f"{name}.log"

    def log_file(self, name: str) -> Path:
        """The log of a console itself, once its link is there."""
        eventually(self.log(name).is_symlink, f"the log of {name} has its link")
        return self.log(name).resolve()

    def logged(self, name: str) -> bytes:
        """What is in the log of a console; nothing, while there is none."""
        log = self.log(name)
        return log.read_bytes() if log.exists() else b""

    def events(self, name: str) -> list[dict[str, object]]:
        """The event trail of a console, without the time marks."""
        trail = self.log(name).resolve()
        lines = json_lines(trail.with_name(trail.name + ".events"))
        return [event for event in lines if event["event"] not in ("time", "format")]


def json_lines(path: Path) -> list[dict[str, object]]:
    """The lines of a file that grows, without one that is just being written; none, if there is no file."""
    whole, _, _ = (path.read_bytes() if path.exists() else b"").rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


def _section(extra: str, name: str) -> str:
    match = re.search(rf"^\[{name}\]\n(.*?)(?=^\[|\Z)", extra, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


class Client:
    """A running OpenSSH client, on pipes, or on a terminal of its own as a person would be.

    :ivar out: what it printed on stdout; on a terminal, that is everything.
    """

    def __init__(self, command: list[str], terminal: bool = False) -> None:
        self._changed = threading.Condition()
        self.out = bytearray()
        self.err = bytearray()
        self._readers: list[threading.Thread] = []
        if terminal:
            master, slave = pty.openpty()
            termios.tcsetwinsize(slave, (24, 80))
            self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
            os.close(slave)
            self._input = master
            self._read(master, self.out)
        else:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            assert self.process.stderr is not None
            self._input = os.dup(self.process.stdin.fileno())
            self.process.stdin.close()
            self._read(os.dup(self.process.stdout.fileno()), self.out)
            self._read(os.dup(self.process.stderr.fileno()), self.err)
            self.process.stdout.close()
            self.process.stderr.close()

    def _read(self, fd: int, into: bytearray) -> None:
        def loop() -> None:
            while True:
                try:
                    data = os.read(fd, 65536)
                except OSError:  # a terminal whose other end is closed
                    data = b""
                if not data:
                    break
                with self._changed:
                    into.extend(data)
                    self._changed.notify_all()
            if fd != self._input:
                os.close(fd)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self._readers.append(thread)

    def type(self, data: bytes) -> None:
        """Type, or write to its stdin."""
        while data:
            data = data[os.write(self._input, data) :]

    def expect(self, wanted: bytes, start: int = 0) -> int:
        """Wait for bytes on stdout.

        :returns: where they end.
        """
        return self._expect(self.out, wanted, start)

    def expect_err(self, wanted: bytes, start: int = 0) -> int:
        """Wait for bytes on stderr."""
        return self._expect(self.err, wanted, start)

    def _expect(self, where: bytearray, wanted: bytes, start: int) -> int:
        with self._changed:
            ok = self._changed.wait_for(lambda: where.find(wanted, start) >= 0, PATIENCE)
            assert ok, f"{wanted!r} never came; there is {bytes(where[start:])[-2000:]!r}; stderr {bytes(self.err)!r}"
            return where.find(wanted, start) + len(wanted)

    def wait_size(self, size: int) -> None:
        """Wait until so many bytes have come on stdout."""
        with self._changed:
            ok = self._changed.wait_for(lambda: len(self.out) >= size, PATIENCE)
            assert ok, f"only {len(self.out)} of {size} bytes came; stderr {bytes(self.err)!r}"

    def end(self) -> int:
        """Wait until it ends.

        :returns: its exit status.
        """
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        if self._input >= 0:
            os.close(self._input)
            self._input = -1
