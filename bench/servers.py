"""The servers as processes: vmproxy as an administrator starts it, the reference, and what they have in common.

All run the same way, on one core, the load on another; what they use is read from the operating system.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from bench.machines import CAPTURED, Machine
from bench.sizes import KEPT_OPEN
from bench.text import Expected

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0
_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
_CPUCLOCK_SCHED = 2


class BenchError(Exception):
    """The bench cannot run; the text says why."""


def cores() -> tuple[set[int], set[int]]:
    """The core of the servers and that of the load; the same one where there are no two."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[-1]}


def process_seconds(pid: int) -> float:
    """The processor time that a process has used, all threads, those that have ended too."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def process_memory(pid: int) -> int:
    """What a process has in memory now, in bytes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    return 1024 * int(match[1]) if match else 0


class Server(ABC):
    """A server of any kind.

    :ivar vm_port: where machines connect.
    :ivar tls_port: where those connect who begin with TLS; 0 where there is no such port.
    :ivar logs: the folder of its logs.
    :ivar handshake: how machines connect to it.
    :ivar logs_are_known: whether it is known what its logs must hold.
    """

    handshake = CAPTURED
    logs_are_known = True
    tls_port = 0

    def __init__(self, folder: Path, core: set[int]) -> None:
        """
        :param folder: for everything that it writes.
        :param core: where it runs.
        """
        self.folder = folder
        self.logs = folder / "log"
        self.vm_port = 0
        self._core = core
        self._output = folder / "output"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def start(self) -> None:
        """Start it and wait until it is ready."""

    @abstractmethod
    def expected(self, machine: Machine) -> list[Expected]:
        """What its logs of a machine must hold."""

    def _spawn(self, command: list[str], session: bool = False) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**env, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, self._core),
                start_new_session=session,
            )

    def _wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE
        while True:
            said = self.said()
            match = re.search(pattern, said, re.DOTALL)
            if match is not None:
                return match
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{type(self).__name__} did not start:\n{said[-3000:]}")
            time.sleep(0.005)

    def said(self) -> str:
        """What it has printed."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self._process is not None
        return self._process

    def cpu(self) -> float:
        """The processor time that it has used so far, in seconds."""
        try:
            return process_seconds(self.process.pid)
        except OSError:
            return 0.0

    def memory(self) -> int:
        """What it has in memory now, in bytes."""
        return process_memory(self.process.pid)

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        try:
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except OSError:
            return 0

    def problems(self) -> list[str]:
        """What it complains about."""
        found = []
        if self._process is not None and self._process.poll() is not None:
            found.append(f"it ended with status {self._process.returncode}: {self.said()[-300:]}")
        if "Traceback" in self.said():
            found.append("it printed a traceback: " + self.said().partition("Traceback")[2][-300:])
        return found

    def stop(self, patience: float = PATIENCE) -> None:
        """Stop it, and have it gone."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Reference(Server):
    """The reference.

    :ivar viewer_port: where those connect who look on; ``tail_port``, those who want the last lines.
    """

    viewer_port = tail_port = 0

    def __init__(self, folder: Path, core: set[int], certificate: Path | None = None) -> None:
        """:param certificate: what hosts are shown, with its key; without it, there is no TLS."""
        super().__init__(folder, core)
        self._certificate = certificate

    def start(self) -> None:
        words = [str(self.logs), str(KEPT_OPEN), *([] if self._certificate is None else [str(self._certificate)])]
        self._spawn([sys.executable, "-m", "bench.reference", *words])
        match = self._wait_for(r"(\d+) (\d+) (\d+) (\d+)\n")
        self.vm_port, self.viewer_port, self.tail_port, self.tls_port = (int(match[n]) for n in (1, 2, 3, 4))

    def expected(self, machine: Machine) -> list[Expected]:
        return machine.logs_by_connection(self.logs)


class Daemon(Server):
    """vmproxy, with its defaults but for addresses, folders, and how many operators may log in at once.

    :ivar ssh_port: where operators connect.
    :ivar metrics_port: where the metrics are, once they are served.
    """

    ssh_port = metrics_port = 0

    def __init__(self, folder: Path, core: set[int], keys: Path, certificate: Path | None = None) -> None:
        """
        :param keys: a folder with an operator's key and host keys, or where they are to be kept.
        :param certificate: what hosts are shown, with its key; without it, there is no TLS.
        """
        super().__init__(folder, core)
        self._certificate = certificate
        self._config = folder / "vmproxy.toml"
        self._keys = keys
        self._state = folder / "state"
        self._state.mkdir(exist_ok=True)
        for key in keys.glob("ssh_host_*"):  # making an RSA key takes a while
            shutil.copy(key, self._state)

    def start(self) -> None:
        tls = ""
        if self._certificate is not None:
            listen = f"tcp:{self.tls_port}:interface=127.0.0.1"
            tls = f'certificates = ["{self._certificate}"]\ntls-listen = ["{listen}"]\n'
        self._config.write_text(
            f'state-dir = "{self._state}"\n'
            f'[log]\ndir = "{self.logs}"\n'
            f'[vm]\nlisten = ["tcp:{self.vm_port}:interface=127.0.0.1"]\nvmotions-per-minute = 1000000\n{tls}'
            f'[ssh]\nlisten = ["tcp:{self.ssh_port}:interface=127.0.0.1"]\n'
            f'authorized-keys = ["{self._keys / "operator.pub"}"]\n'
            "connections = 1000\nconnections-per-address = 1000\n"
        )
        self._spawn([sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "vmproxy", "--config", str(self._config)])
        match = self._wait_for(
            r"Virtual machines connect to +127\.0\.0\.1:(\d+).*Operators connect to +127\.0\.0\.1:(\d+).*State: "
        )
        self.vm_port, self.ssh_port = int(match[1]), int(match[2])
        if tls:
            self.tls_port = int(self._wait_for(r"With TLS from the start, to +127\.0\.0\.1:(\d+)")[1])
        for key in self._state.glob("ssh_host_*"):
            if not (self._keys / key.name).exists():
                shutil.copy(key, self._keys)

    def serve_browsers(self) -> int:
        """Serve browsers from now on, over TLS; :returns: the port."""
        with self._config.open("a") as config:
            config.write(
                '[web]\ntls-listen = ["tcp:0:interface=127.0.0.1"]\n'
                f'certificates = ["{self._certificate}"]\nconnections-per-operator = 1000\n'
            )
        self.process.send_signal(signal.SIGHUP)
        return int(self._wait_for(r"web\.tls-listen is now 127\.0\.0\.1:(\d+)")[1])

    def watch(self) -> None:
        """Look for what the sample watches are about from now on."""
        with self._config.open("a") as config:
            config.write(f'[alerts]\nwatch-file = "{ROOT / "etc" / "watch.toml"}"\n')
        self.process.send_signal(signal.SIGHUP)
        self._wait_for(r"the configuration is in force; changed: [^\n]*watches")

    def serve_web(self, rules: str) -> int:
        """Serve scripts from now on.

        :param rules: of access, as the configuration has them.
        :returns: the port.
        """
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        with self._config.open("a") as config:
            config.write(f'[web]\nlisten = ["tcp:{port}:interface=127.0.0.1"]\n{rules}')
        self.process.send_signal(signal.SIGHUP)
        self._wait_for(r"the configuration is in force; changed: [^\n]*web")
        return port

    def token(self, operator: str) -> str:
        """A token that gives all rights of an operator."""
        command = [sys.executable, "-m", "vmproxy", "token", "--config", str(self._config), "create", operator]
        command += ["--name", "bench", "--expires", "1d", "--scope", "write"]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        token = re.search(r"vmp_\S+", made.stdout)
        if token is None:
            raise BenchError(f"token create: {made.stdout}{made.stderr}")
        return token[0]

    def serve_metrics(self, consoles: str) -> int:
        """Serve metrics from now on.

        :param consoles: a glob of those that have their own; empty for none.
        :returns: the port.
        """
        own = f'metrics-consoles = ["{consoles}"]' if consoles else ""
        listen = f'metrics-listen = ["tcp:{self.metrics_port}:interface=127.0.0.1"]'
        before = self._config.read_text().partition("[web]")[0]
        self._config.write_text(f"{before}[web]\n{listen}\n{own}\n")
        self.process.send_signal(signal.SIGHUP)
        if not self.metrics_port:
            self.metrics_port = int(self._wait_for(r"web\.metrics-listen is now [^\n]*:(\d+)")[1])
        else:
            self._wait_for(r"changed: [^\n]*web\.metrics-consoles")
        return self.metrics_port

    def expected(self, machine: Machine) -> list[Expected]:
        return [machine.log(self.logs / f"{machine.uuid}.log")]

    def ssh(self, name: str, options: str = "", terminal: bool = False) -> list[str]:
        """The command line of an OpenSSH client at a machine's console, as ``name`` and options such as ``,ro``.

        :param name: of the machine; empty for none, where a command follows.
        """
        target = f":{name}{options}" if name else ""
        known = f"UserKnownHostsFile={os.devnull}"
        words = ["ssh", "-F", "none", "-p", str(self.ssh_port), "-l", f"{getpass.getuser()}{target}"]
        words += ["-i", str(self._keys / "operator"), "-tt" if terminal else "-T", "-o", "IdentitiesOnly=yes"]
        for setting in ("BatchMode=yes", "StrictHostKeyChecking=no", known, "LogLevel=ERROR"):
            words += ["-o", setting]
        return [*words, "127.0.0.1"]


def make_certificate(folder: Path, *words: str) -> Path:
    """Make a certificate for hosts, as an administrator does.

    :param words: more for the command line of ``vmproxy make-cert``.
    :raises BenchError: if it cannot.
    """
    file = folder / f"{'-'.join(('vm', *words)).replace('-' * 3, '-')}.pem"
    if not file.exists():
        command = [sys.executable, "-m", "vmproxy", "make-cert", str(file), "--name", "vmproxy.example.com", *words]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if made.returncode:
            raise BenchError(f"make-cert: {made.stderr.strip()}")
    return file


def make_operator_key(folder: Path) -> None:
    """Make the key that the bench logs in with.

    :raises BenchError: if it cannot.
    """
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        raise BenchError("there is no OpenSSH client (Debian: openssh-client)")
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "operator")],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if made.returncode:
        raise BenchError(f"ssh-keygen: {made.stderr.strip()}")
