"""tmux as an operator's terminal: a real one, which answers what it is asked and keeps the modes that are turned on."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile

from tests.support.daemon import PATIENCE, environment, eventually


class Tmux:
    """A tmux server of its own with one pane of 80 by 24, in which a shell runs; a context manager that ends it."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="tmux")  # short: it holds a socket

    def __enter__(self) -> Tmux:
        shell = "env PS1='here> ' sh -i"
        self._run("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", shell)
        self._run("set", "-g", "status", "off")
        self.wait("here>")
        return self

    def __exit__(self, *error: object) -> None:
        self._run("kill-server")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, *words: str) -> str:
        line = ["tmux", "-S", f"{self._folder}/s", *words]
        done = subprocess.run(
            line, capture_output=True, timeout=PATIENCE, check=True, env=environment() | {"TERM": "xterm"}
        )
        return done.stdout.decode()

    def command(self, words: list[str]) -> None:
        """Type a command line into the shell."""
        self.type(f"clear; {shlex.join(words)}\r")

    def type(self, text: str) -> None:
        """Type."""
        self._run("send-keys", "-l", "--", text)

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return self._run("capture-pane", "-p").splitlines()

    def wait(self, text: str) -> None:
        """Wait until a text is on the screen."""
        eventually(lambda: any(text in line for line in self.lines), f"{text!r} is on the screen")

    def flags(self, *names: str) -> dict[str, str]:
        """The state of the terminal, by tmux's names for it."""
        told = self._run("display-message", "-p", " ".join(f"#{{{name}}}" for name in names)).split()
        return dict(zip(names, told, strict=True))
