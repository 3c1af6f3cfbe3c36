"""Pictures of what operators see: a daemon, VMs, and the real OpenSSH client on a terminal, drawn as SVG.

``python -m docs.terminal_pictures FOLDER [NAME...]`` draws all of them, or those that are named; with ``--png`` they
are rendered by Chromium, too, to be looked at. README has two; ``make pictures`` draws them anew.
"""

from __future__ import annotations

import argparse
import os
import pty
import shutil
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import groupby
from pathlib import Path

from pyte.screens import Char

from tests.support.daemon import PATIENCE, ROOT, Daemon, environment, eventually
from tests.support.host import FakeVM
from tests.support.terminal import Terminal
from vmproxy.ssh.host_keys import make_key

CELL, LINE, SIZE, MARGIN = 8.4, 18, 14, 12
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
QUIET_SECONDS = 0.4  # without output after which a screen is complete

_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white", "brightblack")
_DARK = ("#1d2229", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#c9d1d9", "#7d8590")
_LIGHT = ("#ffffff", "#cf222e", "#1a7f37", "#8a6100", "#0969da", "#8250df", "#1b7c83", "#24292f", "#818b98")


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of a terminal."""

    ground: str
    text: str
    named: tuple[str, ...]

    def of(self, name: str) -> str:
        """The colour of a name of pyte's; the text's for all others."""
        return self.named[_NAMES.index(name)] if name in _NAMES else self.text


DARK, LIGHT = Colours("#0d1117", "#c9d1d9", _DARK), Colours("#ffffff", "#24292f", _LIGHT)


def svg(terminal: Terminal, colours: Colours) -> str:
    """A screen as an SVG document."""
    screen = terminal.screen
    width, height = screen.columns * CELL + 2 * MARGIN, screen.lines * LINE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" font-family="{escape(FONTS)}" font-size="{SIZE}">',
        f'<rect width="100%" height="100%" rx="8" fill="{colours.ground}"/>',
    ]
    for number in range(screen.lines):
        row, column = screen.buffer[number], 0
        cells = [row[x] for x in range(screen.columns)]
        for (front, ground, bold), found in groupby(cells, lambda cell: _style(cell, colours)):
            text = "".join(cell.data for cell in found)
            size = len(text)
            x, y, wide = MARGIN + column * CELL, MARGIN + number * LINE, size * CELL
            column += size
            if ground != colours.ground:
                parts.append(f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{LINE}" fill="{ground}"/>')
            if text.strip():
                weight = ' font-weight="bold"' if bold else ""
                place = f'x="{x:g}" y="{y + SIZE:g}" textLength="{wide:g}" xml:space="preserve"'
                parts.append(f'<text {place} fill="{front}"{weight}>{escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _style(cell: Char, colours: Colours) -> tuple[str, str, bool]:
    front, ground = colours.of(cell.fg), colours.ground if cell.bg == "default" else colours.of(cell.bg)
    return (ground, front, cell.bold) if cell.reverse else (front, ground, cell.bold)


class Person:
    """Somebody at a terminal of their own."""

    def __init__(self, command: list[str], width: int, height: int) -> None:
        self.terminal = Terminal(width, height)
        self._lock = threading.Lock()
        self._heard = time.monotonic()
        self._own, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (height, width))
        env = environment() | {"TERM": "xterm-256color"}
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=env
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._own, 65536)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                return
            with self._lock:
                self._heard = time.monotonic()
                self.terminal.feed(data.replace(b"\x1b[2m", b"\x1b[90m"))  # pyte knows no dim text

    def shows(self, text: str) -> bool:
        """Whether a text is on the screen."""
        with self._lock:
            return bool(self.terminal.line(text))

    def do(self, *steps: str) -> None:
        """Type, and wait until the screen does not change any more; ``>text`` waits for a text."""
        for step in steps:
            if step.startswith(">"):
                try:
                    eventually(partial(self.shows, step[1:]), f"{step[1:]!r} is shown")
                except AssertionError:
                    raise AssertionError(f"{step[1:]!r} is not in {self.terminal.lines}") from None
            else:
                os.write(self._own, step.encode())
                self.heard(time.monotonic())
            eventually(lambda: time.monotonic() - self._heard > QUIET_SECONDS, "the screen is complete")

    def heard(self, at: float) -> None:
        """The screen may change from now on."""
        with self._lock:
            self._heard = max(self._heard, at)

    def draw(self, colours: Colours) -> str:
        """What is on the screen."""
        with self._lock:
            return svg(self.terminal, colours)

    def close(self) -> None:
        """Leave."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._own)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    :ivar words: behind ``ssh``.
    :ivar steps: what is typed, and what is waited for; see :meth:`Person.do`.
    """

    words: tuple[str, ...]
    steps: tuple[str, ...]
    size: tuple[int, int] = (80, 24)
    colours: Colours = DARK


_MENU = (("127.0.0.1",), (">db02", "\x1b[B"))
_PAGER = (("web01@127.0.0.1",), (">[-- live --]", "\x05c/", "error\r", "n"))
_TAIL = (("127.0.0.1", "tail", "--match", "'error|warn|fail|ready'", "--since", "1h"), (">consoles", ">fail"))
PICTURES = {
    "menu": Picture(*_MENU),
    "menu-light": Picture(*_MENU, colours=LIGHT),
    "menu-wide": Picture(*_MENU, (200, 50)),
    "menu-small": Picture(*_MENU, (40, 10)),
    "tail": Picture(*_TAIL, (100, 24)),
    "tail-line": Picture(_TAIL[0], (*_TAIL[1], "\x1b[A", "\x1b[A\x1b[A"), (100, 24)),
    "pager": Picture(*_PAGER),
    "pager-light": Picture(*_PAGER, colours=LIGHT),
    "pager-small": Picture(*_PAGER, (40, 10)),
    "alerts": Picture(("127.0.0.1", "alerts"), (">critical",), (100, 16)),
    "help": Picture(("127.0.0.1", "help", "log"), (">Examples",), (80, 34)),
    "help-light": Picture(("127.0.0.1", "help"), (">Exit statuses",), (80, 64), LIGHT),
}

_BOOT = (
    "[    0.000000] Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)",
    "[    0.412207] pci 0000:00:0f.0: vgaarb: setting as boot VGA device",
    "[    1.204431] VMware vmxnet3 virtual NIC driver - version 1.7.0.0-k-NAPI",
    "[    2.010774] EXT4-fs (sda1): mounted filesystem with ordered data mode",
    "[    2.871003] systemd[1]: Detected virtualization vmware.",
    "[  OK  ] Started OpenBSD Secure Shell server.",
    "[  OK  ] Reached target Multi-User System.",
)
_WORK = (
    "nginx[812]: upstream timed out, error 110 while reading response header",
    "kernel: vmxnet3 0000:0b:00.0 ens192: NIC Link is Up 10000 Mbps",
    "sshd[1044]: Accepted publickey for deploy from 10.1.7.20",
    "systemd[1]: logrotate.service: Deactivated successfully.",
    "nginx[812]: worker process 4211 exited, ready to restart",
    "CRON[2210]: (root) CMD (run-parts /etc/cron.hourly)",
    "nginx[812]: connect() failed, error 111: Connection refused",
    "systemd-resolved[401]: Clock change detected. Flushing caches.",
)
_PANIC = "[ 8412.331] Kernel panic - not syncing: Fatal exception in interrupt"
_DISK = "[ 9120.112] EXT4-fs (sda1): Remounting filesystem read-only"
_NAMED = (
    "web01",
    "web02",
    "web03",
    "db01",
    "db02",
    "mail01",
    "build-linux-x86-64-07",
    "VM (old)",
    "gateway",
    "vault01",
)


@contextmanager
def consoles() -> Iterator[Daemon]:
    """A daemon with some VMs that have something to tell."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="pictures"))
        stack.callback(shutil.rmtree, folder)
        for name, kind in (("operator", "ed25519"), ("ssh_host_ed25519_key", "ed25519"), ("ssh_host_rsa_key", "rsa")):
            make_key(folder / name, kind)
        daemon = Daemon(folder / "daemon", folder, f'[alerts]\nwatch-file = "{ROOT / "etc" / "watch.toml"}"\n')
        stack.callback(daemon.stop)
        daemon.start()
        busy: list[FakeVM] = []
        for number, name in enumerate(_NAMED):
            vm = FakeVM(daemon.vm_port, name, "vmproxy").connect()
            stack.callback(vm.close)
            lines = [*_BOOT, "", f"{name} login: "] if number % 3 == 2 else [*_BOOT, *_WORK * 12]
            lines += [_PANIC] if name == "db02" else []
            vm.connected.say("\r\n".join(lines).encode() + (b"" if number % 3 == 2 else b"\r\n"))
            if name == "VM (old)":
                vm.close()
            elif number % 3 != 2:
                busy.append(vm)
        for line in (*_WORK, *_WORK[:3], _DISK):
            for vm in busy[: 3 if line is not _DISK else 1]:
                vm.connected.say(f"{line}\r\n".encode())
                time.sleep(0.02)  # a mark of its own in the trail, so that each has a place among the others
        eventually(lambda: daemon.run("alerts").stdout.count(b"\n") >= 2, "the trouble is told")
        yield daemon


def draw(daemon: Daemon, picture: Picture) -> str:
    """Draw a picture of a session."""
    person = Person([word.replace("=INFO", "=ERROR") for word in daemon.ssh("-tt", *picture.words)], *picture.size)
    try:
        person.do(*picture.steps)
        return person.draw(picture.colours)
    finally:
        person.close()


def main(words: list[str] | None = None, say: Callable[[str], object] = print) -> None:
    """Draw pictures into a folder."""
    parser = argparse.ArgumentParser(description="Pictures of what operators see.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; default: all")
    parser.add_argument("--png", action="store_true", help="render them by Chromium, too")
    args = parser.parse_args(words)
    args.folder.mkdir(parents=True, exist_ok=True)
    with consoles() as daemon:
        for name in args.names or PICTURES:
            path = args.folder / f"{name}.svg"
            path.write_text(draw(daemon, PICTURES[name]))
            say(f"{path}: {path.stat().st_size} bytes")
            if args.png:
                _render(path, PICTURES[name].size)


def _render(path: Path, size: tuple[int, int]) -> None:
    width, height = int(size[0] * CELL + 2 * MARGIN), size[1] * LINE + 2 * MARGIN
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}")
    line = ["chromium", *flags, f"--screenshot={path.with_suffix('.png')}", path.resolve().as_uri()]
    subprocess.run(line, check=True, capture_output=True, timeout=PATIENCE)


if __name__ == "__main__":
    main()
