"""Started as root: what it does as root, what is left of that, what it can still read, and where it writes at all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, TWISTD, Daemon, eventually
from tests.support.host import FakeVM

PrepareDaemon = Callable[..., Daemon]
MakeVM = Callable[..., FakeVM]
NOBODY = 65534

# Lets everybody read what Python and vmproxy are made of, where folders above them are closed: in a mount namespace of
# its own, each closed folder is covered by an empty one that holds nothing else.
OPEN_UP = """
set -e
kept=$(mktemp -d)
chmod 755 "$kept"
n=0
for folder in $needed; do n=$((n+1)); mkdir "$kept/$n"; mount --bind "$folder" "$kept/$n"; done
for closed in $closed; do mount -t tmpfs -o mode=755 tmpfs "$closed"; done
n=0
for folder in $needed; do n=$((n+1)); mkdir -p "$folder"; mount --bind "$kept/$n" "$folder"; done
"""
READ_ONLY = """
set -e
for folder in $writable; do mount --bind "$folder" "$folder"; done
awk '{print $5}' /proc/self/mountinfo | sort -u | while read -r point; do
    case " $writable " in *" $point "*) continue;; esac
    case "$point" in /proc|/proc/*) continue;; esac
    mount -o remount,bind,ro "$point"
done
for folder in /tmp "$elsewhere"; do
    if touch "$folder/probe" 2>/dev/null; then echo "$folder can be written to"; exit 99; fi
done
"""


def needs_root() -> None:
    """Skip where this cannot be tried."""
    if os.geteuid() or shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("this needs root, and unshare and mount (Debian: util-linux, mount)")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a mount namespace cannot be made here")


def in_namespace(script: str, daemon: Daemon, *arguments: str, **variables: str) -> None:
    """Have the daemon started in a mount namespace of its own, prepared by a script."""
    daemon.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script + 'exec "$@"', "sh", *arguments]
    daemon.environment |= variables


def closed_folders() -> tuple[list[Path], list[Path]]:
    """The topmost folders that keep others from Python and from vmproxy, and what of them has to be there."""
    closed, needed = set(), set()
    for path in {Path(sys.base_prefix), Path(sys.prefix).resolve(), ROOT}:
        for parent in reversed(path.parents):
            if not parent.stat().st_mode & stat.S_IXOTH:
                closed.add(parent)
                needed.add(path)
                break
    return sorted(closed), sorted(needed)


@pytest.fixture
def place(keys: Path) -> Iterator[Path]:
    """A folder that everybody may look into, with the keys, and ``var``, which is nobody's."""
    needs_root()
    folder = Path(tempfile.mkdtemp(prefix="vmproxy-test-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copytree(keys, folder / "keys")
    (folder / "keys").chmod(0o755)
    (folder / "keys" / "operator.pub").chmod(0o644)
    (folder / "var").mkdir(mode=0o755)
    os.chown(folder / "var", NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def low_port() -> int:
    """A free port that only root may open."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")


def dropping(prepare_daemon: PrepareDaemon, place: Path, extra: str = "", umask: str = "022") -> Daemon:
    """A daemon that is started as root and told to become nobody."""
    daemon = prepare_daemon(extra, place / "var" / "log", folder=place / "var", keys=place / "keys")
    for path in (daemon.state, *daemon.state.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    closed, needed = closed_folders()
    words = {"closed": " ".join(map(str, closed)), "needed": " ".join(map(str, needed))}
    in_namespace(f"umask 022;{OPEN_UP} umask {umask};", daemon, **words)
    daemon.environment |= {"HOME": "/nonexistent"}
    daemon.options += [f"--uid={NOBODY}", f"--gid={NOBODY}"]
    return daemon


def refused(daemon: Daemon) -> str:
    """What a daemon says that does not start."""
    done = subprocess.run(
        [*daemon.prefix, *daemon.command()],
        env=daemon.environment,
        cwd=daemon.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    return said


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def test_root_opens_low_ports_and_is_root_no_more(place: Path, prepare_daemon: PrepareDaemon, make_vm: MakeVM) -> None:
    daemon = dropping(prepare_daemon, place)
    daemon.vm_port = low_port()
    daemon.start()
    assert daemon.vm_port < 1024
    now = status_of(daemon.process.pid)
    assert now["Uid"] == now["Gid"] == [str(NOBODY)] * 4
    assert set(now["Groups"]) <= {str(NOBODY)}
    assert {now[name][0].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    make_vm(daemon)
    assert daemon.status("web01")["state"] == "up"
    assert "runs as root" not in daemon.said()


@pytest.mark.parametrize("umask", ["000", "077"])
def test_files_are_made_for_the_account_and_its_group_whatever_the_umask(
    place: Path, prepare_daemon: PrepareDaemon, make_vm: MakeVM, umask: str
) -> None:
    extra = '[log]\nplain = true\nrotate-size = "64 KiB"\n[[console]]\non = "*"\nrecord-input = true\n'
    daemon = dropping(prepare_daemon, place, extra, umask)
    shutil.rmtree(daemon.state)  # so that all is made by the daemon, its host keys too
    daemon.start()
    vm = make_vm(daemon)
    for _ in range(3):
        vm.connected.say(b"x" * 60_000 + b"\r\n")
    eventually(lambda: list(daemon.log_dir.glob("*.gz")), "a log is rotated and compressed")
    eventually(lambda: (daemon.state / "consoles.jsonl").exists(), "the console is remembered")
    assert daemon.stop() == -signal.SIGTERM
    made = [path for top in (daemon.state, daemon.log_dir) for path in (top, *top.rglob("*")) if not path.is_symlink()]
    modes = {str(path.relative_to(place)): (path.stat().st_uid, oct(path.stat().st_mode & 0o7777)) for path in made}
    secret = {f"var/state/ssh_host_{kind}_key" for kind in ("ed25519", "rsa")} | {"var/state/input.jsonl"}
    wanted = {
        name: (NOBODY, "0o750" if (place / name).is_dir() else "0o600" if name in secret else "0o640") for name in modes
    }
    assert modes == wanted
    assert len([name for name in modes if "/log/" in name]) >= 4
    assert {name for name in secret if "ssh_host" in name} < set(modes)


def test_twistds_own_log_is_for_the_account_and_its_group_too(place: Path, prepare_daemon: PrepareDaemon) -> None:
    daemon = prepare_daemon("", place / "var" / "log", folder=place / "var", keys=place / "keys")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        daemon.vm_port = taken.getsockname()[1]
        daemon.write_config()
        for number, words in enumerate((["-n"], [])):  # in the foreground, and as a daemon that says how it went
            log = place / f"twistd{number}.log"
            command = ["sh", "-c", 'umask 000; exec "$@"', "sh", sys.executable, "-c", TWISTD, *words, "--pidfile="]
            done = subprocess.run(
                [*command, f"--logfile={log}", "vmproxy", "--config", str(daemon.config)],
                env=daemon.environment,
                cwd=place,
                capture_output=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 1
            assert oct(log.stat().st_mode & 0o777) == "0o640"


def test_a_configuration_that_only_root_can_read_serves_until_it_is_to_be_read_again(
    place: Path, prepare_daemon: PrepareDaemon, make_vm: MakeVM
) -> None:
    daemon = dropping(prepare_daemon, place)
    daemon.write_config()
    daemon.config.chmod(0o600)
    daemon.start()
    warning = f"the account {NOBODY} cannot read {daemon.config}, so SIGHUP will fail"
    eventually(lambda: warning in daemon.said(), "it warns")
    make_vm(daemon)
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the configuration stays as it was" in daemon.said(), "the reload fails")
    assert daemon.status("web01")["state"] == "up"
    os.chown(daemon.config, 0, NOBODY)
    daemon.config.chmod(0o640)
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the configuration is in force" in daemon.said(), "the reload succeeds")
    assert daemon.status("web01")["state"] == "up"


@pytest.mark.parametrize("closed", ["ssh_host_ed25519_key", "operators.toml"])
def test_what_the_account_cannot_read_is_said_at_the_start(
    place: Path, prepare_daemon: PrepareDaemon, closed: str
) -> None:
    operators = place / "operators.toml"
    operators.write_text("[alice]\n")
    daemon = dropping(prepare_daemon, place, f'[ssh]\noperators-file = "{operators}"\n')
    path = operators if closed == "operators.toml" else daemon.state / closed
    os.chown(path, 0, 0)
    path.chmod(0o600)
    daemon.write_config()
    config = daemon.config.read_text()
    daemon.config.write_text(re.sub(r"authorized-keys = .*\n", "", config))
    said = refused(daemon)
    assert re.search(
        rf"vmproxy cannot start: .*{re.escape(str(path))}.*ermission denied|.*ermission denied.*{closed}", said
    ), said


def test_an_account_that_cannot_read_its_own_code_is_told_so_at_the_start(
    place: Path, prepare_daemon: PrepareDaemon
) -> None:
    daemon = dropping(prepare_daemon, place)
    code = place / "code"
    code.mkdir(mode=0o700)
    for name in ("vmproxy", "twisted"):
        shutil.copytree(ROOT / name, code / name)
    daemon.environment["PYTHONPATH"] = str(code)
    daemon.write_config()
    said = refused(daemon)
    assert f"vmproxy cannot start: the account {NOBODY} cannot read its own code, such as {code}/" in said


def test_it_says_that_it_need_not_be_root(place: Path, prepare_daemon: PrepareDaemon) -> None:
    daemon = prepare_daemon("", place / "var" / "log", folder=place / "var", keys=place / "keys").start()
    eventually(lambda: "vmproxy runs as root, which it does not need" in daemon.said(), "it warns")


def test_it_writes_nowhere_but_in_its_own_folders(place: Path, prepare_daemon: PrepareDaemon, make_vm: MakeVM) -> None:
    extra = '[log]\nplain = true\nrotate-size = "64 KiB"\n[[console]]\non = "*"\nrecord-input = true\n'
    daemon = prepare_daemon(extra, place / "var" / "log", folder=place / "var", keys=place / "keys")
    daemon.log_dir.mkdir()
    in_namespace(
        READ_ONLY, daemon, writable=f"{daemon.state} {daemon.log_dir}", elsewhere=str(place), HOME="/nonexistent"
    )
    daemon.start()
    vm = make_vm(daemon)
    for _ in range(3):
        vm.connected.say(b"x" * 60_000 + b"\r\n")
    eventually(lambda: list(daemon.log_dir.glob("*.gz")), "a log is rotated and compressed")
    assert daemon.run("list").returncode == 0
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the configuration is in force" in daemon.said(), "it reads its configuration again")
    vm.connected.say(b"after\r\n")
    log = daemon.log("web01")
    eventually(lambda: log.exists() and log.read_bytes().endswith(b"after\r\n"), "it goes on")
    assert daemon.audited("login", count=1)
    assert daemon.stop() == -signal.SIGTERM
    for wrong in ("Read-only file system", "Errno 30", "cannot be written"):
        assert wrong not in daemon.said()
