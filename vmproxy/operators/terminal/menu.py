"""The menu: a list of consoles to attach to, and a command line.

This module handles keys and gives the terminal away: the menu rests while a console is attached or a command runs, and
is shown again afterwards. It uses the alternate screen of the terminal.
Invariant: :meth:`Menu.farewell` is sent before the session ends, so the terminal is left as it was.
"""

from __future__ import annotations

from enum import Enum, auto

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.countdown import Countdown
from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.console.notices import Notice, ShuttingDown
from vmproxy.operators import exit_status
from vmproxy.operators.attachment import go_to
from vmproxy.operators.commands.parser import split
from vmproxy.operators.commands.registry import COMMANDS, execute, no_command
from vmproxy.operators.console_filter import begins_column
from vmproxy.operators.input_router import InputOnly
from vmproxy.operators.messages import notice_text
from vmproxy.operators.resolve import TargetError, check, locate
from vmproxy.operators.session import Session
from vmproxy.operators.target import BadTarget, Target, parse
from vmproxy.operators.terminal import keys
from vmproxy.operators.terminal.keys import KeyDecoder
from vmproxy.operators.terminal.menu_actions import ATTACH, READ_ONLY, line, possible, words
from vmproxy.operators.terminal.menu_selection import IN_LIST, MARKS_LIMIT
from vmproxy.operators.terminal.menu_view import MenuView
from vmproxy.operators.terminal.screen import usable

ESCAPE_SECONDS = 0.3
UNREAD_LIMIT = 128 * 1024  # bytes not sent yet; above it keys that might make more are ignored

_log = Logger()


class _Mode(Enum):
    """The state of the menu."""

    LIST = auto()  # the list is shown and gets the keys
    ACTIONS = auto()  # the list is shown, a key chooses what is done with the selected console
    PROMPT = auto()  # the list is shown, the command line below it gets the keys
    TEXT = auto()  # a text is shown instead of the list until a key is pressed
    COMMAND = auto()  # a command runs on the main screen
    ENDED = auto()  # a command has ended; a key brings the list back
    AWAY = auto()  # a console is attached


_SAME = {
    "^P": keys.UP,
    "^N": keys.DOWN,
    "^B": keys.PAGE_UP,
    "^F": keys.PAGE_DOWN,
    "^A": keys.HOME,
    "^E": keys.END,
    "^U": keys.ESCAPE,
    "^T": keys.INSERT,
}


class Menu(InputOnly):
    """One operator's menu, as an activity of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._consoles = session.operator.view
        self._mode = _Mode.AWAY
        self._view = MenuView(session)
        self._keys = KeyDecoder()
        self._task: Deferred[int] | None = None
        self._lone_escape = Countdown(session.services.clock)
        self._offered: list[Console] = []  # what the actions that are shown are about

    def start(self) -> None:
        """Show the menu; on a terminal that cannot, list the consoles and end the session."""
        self._session.router.push(self, self._begin)

    def _begin(self) -> None:
        if usable(self._session.term):
            self._come_back()
        else:
            self._run(["list"], then_end=True)

    # The session's life.

    def stop(self) -> None:
        self.farewell()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def interrupt(self) -> None:
        """End the command that runs."""
        if self._task is not None:
            self._task.cancel()

    def farewell(self) -> bytes:
        """What puts the terminal right: to be sent before the session is ended. Nothing more is drawn afterwards."""
        self._lone_escape.stop()
        self._mode = _Mode.AWAY
        return self._view.hide()

    def notice(self, notice: Notice) -> None:
        """A notice to all operators: a message, or the stop of the server."""
        if self._mode is _Mode.AWAY:
            return
        text = notice_text(notice, "")
        if not self._view.shown:
            self._session.print(f"\n{text}\n")
        if isinstance(notice, ShuttingDown):
            self._leave(exit_status.SHUTTING_DOWN, f"{text}\n" if self._view.shown else "")
        elif self._view.shown:
            self._view.add_message(text)

    def drained(self) -> None:
        self._view.drained()

    def resized(self, width: int, height: int) -> None:
        self._view.resized()
        self._view.draw()

    def eof(self) -> None:
        """The end of the input ends the menu; a command may still end by itself."""
        if self._mode not in (_Mode.AWAY, _Mode.COMMAND):
            self._leave(exit_status.OK)

    def _leave(self, status: int, words: str = "") -> None:
        task, self._task = self._task, None
        self._session.send(self.farewell())
        self._session.print(words)
        self._session.finish(status)
        if task is not None:
            task.cancel()

    def _come_back(self, note: str = "") -> None:
        """Show the list as it was."""
        if self._session.over:
            return
        if self._session.input_ended:
            self._leave(exit_status.OK)
            return
        self._mode = _Mode.LIST
        self._keys = KeyDecoder()
        self._view.show(note)

    def _go_away(self, to: _Mode) -> None:
        """Give the terminal to a console or a command."""
        self._session.send(self.farewell())
        self._mode = to

    # Keys.

    def typed(self, data: bytes) -> None:
        self._lone_escape.stop()
        while data:
            if self._session.queued > UNREAD_LIMIT and self._mode not in (_Mode.COMMAND, _Mode.AWAY):
                return  # the operator cannot have seen what the keys would act on
            match self._mode:
                case _Mode.LIST:
                    data = self._typed_in_list(data)
                case _Mode.ACTIONS:
                    data = self._typed_in_actions(data)
                case _Mode.PROMPT:
                    data = self._typed_in_prompt(data)
                case _Mode.TEXT:
                    data = b""  # any key
                    if not self._view.next_page():
                        self._mode = _Mode.LIST
                case _Mode.ENDED:
                    self._session.print("\n")  # behind it the next command's output will stand
                    self._come_back()
                    data = data if data.startswith(b":") else b""
                case _Mode.COMMAND if self._session.router.activity is self:
                    if b"\x03" in data:
                        self.interrupt()
                    return
                case _Mode.COMMAND | _Mode.AWAY:
                    # Another activity has become current meanwhile.
                    if self._session.router.activity is not self:
                        self._session.router.feed(data)
                    return
        self._view.draw_soon()

    def _typed_in_list(self, data: bytes) -> bytes:
        self._view.dismiss()
        for key, behind in self._keys.feed(data):
            self._key(key)
            if self._mode is not _Mode.LIST:
                return data[behind:]
        if self._keys.waiting:
            self._lone_escape.start(ESCAPE_SECONDS, self._escape_was_meant)
        return b""

    def _escape_was_meant(self) -> None:
        if self._mode is _Mode.LIST and self._keys.timeout():
            self._key(keys.ESCAPE)
            self._view.draw()

    def _key(self, key: str) -> None:
        selection = self._view.selection
        key = _SAME.get(key, key)
        if key in IN_LIST and not selection.ready():
            return
        match key:
            case keys.ENTER | keys.TAB:
                self._attach(read_only=key == keys.TAB)
            case keys.RIGHT:
                self._offer_actions()
            case keys.INSERT:
                if not selection.mark():
                    self._view.show_note(f"at most {MARKS_LIMIT} consoles are marked")
            case _ if key in IN_LIST:
                selection.move(key)
            case keys.BACKSPACE:
                selection.type(selection.filter[:-1])
            case keys.ESCAPE if not selection.filter:
                selection.unmark()
            case keys.ESCAPE:
                selection.type("")
            case "^X":
                selection.toggle_down()
            case "^O":
                self._view.next_order()
            case "^L":
                self._view.forget()
            case "^C" | "^D":
                self._leave(exit_status.OK)
            case ":" if not begins_column(selection.filter):
                self._prompt()
            case "?" if not selection.filter:
                self._view.show_help()
                self._mode = _Mode.TEXT
            case _ if len(key) == 1:
                selection.type(selection.filter + key)

    # Consoles.

    def _attach(self, read_only: bool) -> None:
        entry = self._view.selection.entry
        if entry is None:
            return
        if entry.console in self._consoles:
            self._attach_to(entry.console, read_only)
        else:
            # By the name in the list: its new one may be none of the operator's business.
            self._view.show_note(f"{entry.title}: no such console")

    def _attach_to(self, console: Console, read_only: bool) -> None:
        target = Target(console.title, read_only=read_only)
        try:
            check(self._consoles, console, target, True)
        except TargetError as refused:
            self._view.show_note(str(refused))
        else:
            self._go_away(_Mode.AWAY)
            self._go_to(console, target)

    def _go_to(self, console: Console, target: Target) -> None:
        self._mode = _Mode.AWAY
        go_to(self._session, console, target, lambda status, title: self._come_back(_why_left(title, status)))

    # Actions.

    def _offer_actions(self) -> None:
        consoles = self._view.selection.meant()
        actions = possible(consoles, self._session.operator, self._session.services.actions) if consoles else []
        if actions:
            self._mode = _Mode.ACTIONS
            self._offered = consoles  # whichever is selected when the key comes
            self._view.offer(actions, consoles)

    def _typed_in_actions(self, data: bytes) -> bytes:
        key, behind = next(self._keys.feed(data), ("", len(data)))
        self._mode, self._keys = _Mode.LIST, KeyDecoder()
        offered, self._offered = self._offered, []
        consoles = [console for console in offered if console in self._consoles]
        actions = (
            possible(consoles, self._session.operator, self._session.services.actions) if consoles else []
        )  # by the rights as they are now
        action = next((one for one in actions if one.key == key and (one.many or len(offered) == 1)), None)
        self._view.dismiss()
        if action is None:
            return data[behind:]
        if action in (ATTACH, READ_ONLY):
            self._attach_to(consoles[0], read_only=action is READ_ONLY)
        elif action.asks:
            self._prompt()
            self._view.command_line.begin(line(action, consoles, self._consoles))
        else:
            self._go_away(_Mode.COMMAND)
            self._run(words(action, consoles, self._consoles))
        return data[behind:]

    # Commands.

    def _prompt(self) -> None:
        self._mode = _Mode.PROMPT
        self._view.prompt(True)

    def _typed_in_prompt(self, data: bytes) -> bytes:
        self._view.dismiss()
        command_line = self._view.command_line
        line = command_line.feed(data)
        if line is not None:
            self._mode = _Mode.LIST
            self._view.prompt(False)
            self._entered(line)
        return command_line.rest

    def _entered(self, typed: str) -> None:
        said = split(typed)
        if not said:
            return
        if said[0] == "q" or (said[0] in COMMANDS and COMMANDS[said[0]].name == "exit"):
            self._leave(exit_status.OK)
            return
        self._go_away(_Mode.COMMAND)
        self._session.print(f":{typed}\n")
        if said[0] in COMMANDS:
            self._run(said)
            return
        try:
            target = parse(typed if said == typed.split() else " ".join(said))
            console = locate(self._consoles, target)
            check(self._consoles, console, target, True)
        except (TargetError, BadTarget) as error:
            text = str(error)
            if isinstance(error, TargetError) and error.status == exit_status.NO_SUCH_CONSOLE:
                text = f"{text.splitlines()[0]}\n{no_command(said[0])}"
            self._session.print(f"{text}\n")
            self._command_ended(error.status if isinstance(error, TargetError) else exit_status.USAGE)
        else:
            self._go_to(console, target)

    def _run(self, command: list[str], then_end: bool = False) -> None:
        self._mode = _Mode.COMMAND
        self._task = task = spawn(execute(self._session, command))
        task.addErrback(self._command_failed)
        task.addCallback(self._session.finish if then_end else self._command_ended)

    def _command_failed(self, failure: Failure) -> int:
        if failure.check(CancelledError) is None:
            _log.failure("a command of {who} failed", failure=failure, who=self._session.operator.who)
            self._session.print("\ninternal error; the daemon's log says more\n")
            return exit_status.FAILED
        return exit_status.INTERRUPTED

    def _command_ended(self, status: int) -> None:
        self._task = None
        if self._mode is not _Mode.COMMAND or self._session.over:
            return
        if self._session.input_ended:
            self._leave(status)
            return
        self._mode = _Mode.ENDED
        result = f"status {status}; " if status else ""
        self._session.print(f"\n[{result}any key: back to the menu]")


def _why_left(title: str, status: int) -> str:
    """The note about a console that was left."""
    match status:
        case exit_status.OK:
            return f"{title}: detached"
        case exit_status.KICKED:
            return f"{title}: disconnected by an administrator"
        case exit_status.NO_SUCH_CONSOLE:
            return f"{title}: no such console"
        case exit_status.FORBIDDEN:
            return f"{title}: no longer allowed"
    return f"{title}: left, status {status}"
