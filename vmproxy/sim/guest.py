"""The guest: a small Linux-like machine with a serial console. No sockets: a clock and an output callback go in.

It boots, asks for a login, and offers a shell that echoes and edits input. It is frozen while a vMotion
carries it from host to host (stunned) and while its serial port takes no more (paused): it prints nothing then, its
programs stand still, and what is typed waits in the port's input buffer, which drops what does not fit, as a UART does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, Flag, auto
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vmproxy.sim import shell, texts
from vmproxy.sim.lineedit import Key, ShellLine

INPUT_LIMIT = 4096
_NAME_LIMIT = 32
_FLUSH_AT = 2048


class _Mode(Enum):
    OFF = auto()
    BOOTING = auto()  # and shutting down, and dead: nobody reads the port
    LOGIN = auto()
    PASSWORD = auto()
    SHELL = auto()


class _Frozen(Flag):
    STUNNED = auto()
    PAUSED = auto()


class LinuxGuest:
    """One simulated machine; a :class:`vmproxy.sim.interfaces.Guest`.

    :ivar overruns: how many typed bytes found no room.
    """

    __slots__ = (
        "_booted",
        "_chatter",
        "_chatter_timer",
        "_clock",
        "_delay",
        "_editor",
        "_frozen",
        "_input",
        "_mode",
        "_name",
        "_out",
        "_out_size",
        "_output",
        "_piece",
        "_pieces",
        "_pieces_speed",
        "_rng",
        "_speed",
        "_then",
        "_timer",
        "_user",
        "_vmotion",
        "_wall",
        "overruns",
    )

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        output: Callable[[bytes], None],
        *,
        vmotion: Callable[[], None] | None = None,
        boot_speed: float = 1.0,
        chatter: float = 0.0,
        rng: Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        :param name: the host name.
        :param output: takes the machine's output.
        :param vmotion: asks the host to migrate this machine. Must not do so before it returns.
        :param boot_speed: 2 boots twice as fast as 1, and 0 at once.
        :param chatter: how many seconds apart, on average, the idle machine logs a line; 0 is never.
        :param wall: the time of day.
        """
        self._name = name
        self._clock = clock
        self._output = output
        self._vmotion = vmotion
        self._speed = boot_speed
        self._chatter = chatter
        self._rng = rng or Random(name)  # noqa: S311 - nothing secret is drawn from it
        self._wall = wall
        self._mode = _Mode.OFF
        self._frozen = _Frozen(0)
        self._booted = clock.seconds()
        self._editor = ShellLine()
        self._user = ""
        self._input = bytearray()
        self._out: list[bytes] = []
        self._out_size = 0
        self._pieces: shell.Pieces | None = None  # what is printed bit by bit just now
        self._pieces_speed = 1.0
        self._piece: bytes | None = None  # waits for its time
        self._delay = 0.0
        self._then: Callable[[], None] = self._banner
        self._timer: IDelayedCall | None = None
        self._chatter_timer: IDelayedCall | None = None
        self.overruns = 0

    # -- the host's side ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Power on; without effect on a machine that runs."""
        if self._mode is _Mode.OFF:
            self._boot()
            self._schedule_chatter()
            self._flush()

    def stop(self) -> None:
        """Power off."""
        self._mode = _Mode.OFF
        self._pieces = self._piece = None
        self._input.clear()
        self._hold_timer()
        if self._chatter_timer is not None and self._chatter_timer.active():
            self._chatter_timer.cancel()
        self._chatter_timer = None

    def feed(self, data: bytes) -> None:
        """Take input."""
        if self._pieces is not None and b"\x03" in data:
            # A ^C gets through to a program that reads nothing, as on a real terminal.
            self._input.clear()
            data = data[data.rfind(3) :]
        while data:
            room = INPUT_LIMIT - len(self._input)
            if not room:
                self.overruns += len(data)
                break
            self._input += data[:room]
            data = data[room:]
            self._drain()
        self._flush()

    def break_received(self) -> None:
        """Take a break: the kernel lists its magic keys."""
        if not self._frozen and self._mode is not _Mode.OFF:
            self._interject(texts.stamped(self._uptime(), texts.SYSRQ_HELP))
            self._flush()

    def stun(self) -> None:
        """Time stands still from here on."""
        self._freeze(_Frozen.STUNNED)

    def unstun(self) -> None:
        """Time goes on."""
        self._thaw(_Frozen.STUNNED)

    def pause(self) -> None:
        """The serial port takes no more."""
        self._freeze(_Frozen.PAUSED)

    def resume(self) -> None:
        """The serial port has room again."""
        self._thaw(_Frozen.PAUSED)

    # -- output ------------------------------------------------------------------------------------------------

    def _print(self, data: bytes) -> None:
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        # Emptied first: the output may come back here, to pause us.
        data = b"".join(self._out)
        self._out.clear()
        self._out_size = 0
        if data:
            self._output(data)

    def _play(self, pieces: shell.Pieces, speed: float, then: Callable[[], None]) -> None:
        self._pieces = pieces
        self._pieces_speed = speed
        self._then = then
        self._next()

    def _next(self) -> None:
        """Print pieces up to the next that has to wait."""
        while self._pieces is not None and not self._frozen:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                self._then()
                return
            self._delay = piece[0] / self._pieces_speed if self._pieces_speed else 0
            if self._delay:
                self._piece = piece[1]
                self._timer = self._clock.callLater(self._delay, self._due)
                return
            self._print(piece[1])

    def _due(self) -> None:
        self._timer = None
        piece, self._piece = self._piece, None
        self._print(piece or b"")
        self._next()
        self._drain()
        self._flush()

    def _freeze(self, why: _Frozen) -> None:
        self._frozen |= why
        self._hold_timer()

    def _hold_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _thaw(self, why: _Frozen) -> None:
        was = self._frozen
        self._frozen &= ~why
        if not was or self._frozen:
            return
        if self._piece is not None:
            self._timer = self._clock.callLater(self._delay, self._due)
        elif self._pieces is not None:
            self._next()
        self._drain()
        self._flush()

    # -- input -------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while self._input and not self._frozen:
            if self._mode in (_Mode.BOOTING, _Mode.OFF):
                self._input.clear()
            elif self._pieces is not None:
                at = self._input.rfind(3)
                if at < 0:
                    return  # typed ahead of a program that runs
                del self._input[: at + 1]
                self._hold_timer()
                self._pieces = self._piece = None
                self._print(b"^C\r\n")
                self._prompt()
            else:
                code = self._input[0]
                del self._input[0]
                echo, key = self._editor.type(code)
                self._print(echo)
                if key is not None:
                    self._ended(key)

    def _ended(self, key: Key) -> None:
        match key, self._mode:
            case Key.ENTER, _Mode.SHELL:
                self._execute(self._editor.take(True).decode("utf-8", "surrogateescape"))
            case Key.END, _Mode.SHELL:
                self._print(b"logout\r\n")
                self._banner()
            case Key.ENTER, _Mode.LOGIN:
                self._named(self._editor.take(False).decode("utf-8", "replace").strip())
            case Key.ENTER, _Mode.PASSWORD:
                self._editor.take(False)
                self._welcome()
            case Key.CLEAR, _:
                self._prompt()
            case Key.INTERRUPT, _Mode.SHELL:
                self._prompt()
            case _:
                self._banner()

    def _named(self, user: str) -> None:
        self._user = user[:_NAME_LIMIT]
        if not user:
            self._prompt()
        elif user == "root":
            self._welcome()
        else:
            self._mode = _Mode.PASSWORD
            self._editor.set_echo(False)
            self._prompt()

    def _welcome(self) -> None:
        self._mode = _Mode.SHELL
        self._editor.set_echo(True)
        self._print(texts.files(self._name)["/etc/motd"].replace("\n", "\r\n").encode())
        self._prompt()

    def _execute(self, line: str) -> None:
        result = shell.execute(line, shell.Machine(self._name, self._user, self._uptime(), self._wall()))
        self._print(result.text.replace("\n", "\r\n").encode("utf-8", "surrogateescape"))
        if result.pieces is not None:
            self._play(result.pieces, 1.0, self._prompt)
            return
        match result.action:
            case shell.Action.LOGOUT:
                self._banner()
            case shell.Action.REBOOT:
                self._mode = _Mode.BOOTING
                self._play(texts.shutdown(self._uptime()), self._speed, self._boot)
            case shell.Action.PANIC:
                self._mode = _Mode.BOOTING
                self._play(texts.panic(self._uptime()), self._speed, self._boot)
            case shell.Action.VMOTION if self._vmotion is not None:
                self._prompt()
                self._vmotion()
            case _:
                self._prompt()

    # -- the machine -------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        self._mode = _Mode.BOOTING
        self._booted = self._clock.seconds()
        self._play(texts.boot(self._name), self._speed, self._banner)

    def _banner(self) -> None:
        self._mode = _Mode.LOGIN
        self._editor.forget()
        self._editor.set_echo(True)
        self._print(f"\r\n{texts.OS} {self._name} ttyS0\r\n\r\n".encode())
        self._prompt()

    def _prompt(self) -> None:
        match self._mode:
            case _Mode.LOGIN:
                prompt = f"{self._name} login: "
            case _Mode.PASSWORD:
                prompt = "Password: "
            case _:
                prompt = f"{self._user}@{self._name}:~{'#' if self._user == 'root' else '$'} "
        self._print(prompt.encode())
        if self._editor.echo:
            self._print(self._editor.line)

    def _interject(self, line: bytes) -> None:
        """Print a line of the kernel or a daemon in the middle of whatever is on the screen, then show that again."""
        if self._pieces is not None or self._mode is _Mode.BOOTING:
            self._print(line)
        else:
            self._print(b"\r\n" + line)
            self._prompt()

    def _uptime(self) -> float:
        return self._clock.seconds() - self._booted

    def _schedule_chatter(self) -> None:
        if self._chatter > 0:
            self._chatter_timer = self._clock.callLater(self._chatter * self._rng.uniform(0.5, 1.5), self._chat)

    def _chat(self) -> None:
        if not self._frozen and self._mode is not _Mode.BOOTING and self._pieces is None:
            when = datetime.fromtimestamp(self._wall(), UTC)
            self._interject(texts.chatter(self._rng, f"{when:%b %d %H:%M:%S}", self._name))
            self._flush()
        self._schedule_chatter()
