"""An attachment: an operator on a console over a websocket, as a viewer of it. Subprotocol ``vmproxy.v1``.

Binary messages are the VM's bytes, and keys; text messages are JSON objects. :mod:`vmproxy.web.viewer_output` has the
output, :mod:`vmproxy.web.viewer_messages` what else is told, :mod:`vmproxy.web.viewer_requests` what the client may
want. Invariant: rights are asked of the rules each time, so that other rules hold at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger
from zope.interface import implementer

from vmproxy.access.idle_times import IdleTimes
from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Demoted, Kicked, Notice, Promoted, ShuttingDown
from vmproxy.log.stream import LogStream
from vmproxy.operators.messages import state_line
from vmproxy.operators.operator import Operator
from vmproxy.operators.sequences import Player
from vmproxy.operators.services import Services
from vmproxy.web.fanout import Fanouts
from vmproxy.web.viewer_messages import hello_frame, message_frame, pen_mode, writers
from vmproxy.web.viewer_output import ViewerOutput
from vmproxy.web.websocket import WebSocket
from vmproxy.web.websocket_frames import GOING_AWAY
from vmproxy.web.window import WINDOW

NOTICES_LIMIT = 32 * 1024
UNDER_WAY_LIMIT = 64 * 1024  # keys behind a ``hold``
REMINDER_SECONDS = 5.0
RIGHTS_GONE, KICKED = 4403, 4407

_log = Logger()


@implementer(IViewer)
class Attachment:
    """One operator on one console.

    :ivar lines: of the log, that are shown where nothing better can be.
    :ivar flow: its output.
    :ivar playing: the named sequence that is being sent.
    :ivar gone: whether the console has been left.
    """

    def __init__(
        self,
        socket: WebSocket,
        operator: Operator,
        services: Services,
        fanouts: Fanouts,
        console: Console,
        lines: int,
    ) -> None:
        self.socket = socket
        self.operator = operator
        self.services = services
        self.console = console
        self.lines = lines
        self.who = operator.who
        self.front = operator.front
        self.since = self.last_input = services.wall()
        self.playing: Player | None = None
        self.gone = False
        self._fanouts = fanouts
        self._fanout = fanouts.use(console, self)
        self.flow = ViewerOutput(socket, console, services, self._fanout, operator)
        self._told: tuple[str, list[str]] = "", []
        self._could_write = False
        self._held = False
        self._under_way = 0
        self._reminded = 0.0

    # Coming and going.

    def enter(self, write: bool, force: bool, join: bool, reason: str, stream: LogStream | None) -> None:
        """Become a viewer, and show what is to be shown.

        :param force: whether write access is taken from others.
        :param stream: what is read first: from a cursor on; None: the last lines.
        """
        console = self.console
        self._could_write = self.may(Right.WRITE)
        before = [writer.who for writer in console.write_access.writers]
        writing = console.viewers.attach(self, write and self._could_write, force, join, reason)
        self.audit("attach", mode="write" if writing else "spy")
        if force:
            self.forced(before, reason)
        self._told = pen_mode(console, self), writers(console)
        self.socket.send(hello_frame(console, self, self.operator, self.services, stream is not None))
        if self._held:
            self.socket.send(message_frame("hold", on=True))
        if stream is not None:
            self.flow.begin_with(stream)
        else:
            self.flow.begin(self.lines)

    def leave(self) -> None:
        """Leave the console: the websocket is over."""
        if self.gone:
            return
        self.gone = True
        if self.playing is not None:
            self.playing.stop()
            self.playing = None
        self.flow.end()
        self._fanouts.done(self.console, self)
        self.console.viewers.detach(self)
        self.audit("detach")

    def may(self, right: Right) -> bool:
        """Whether the operator has a right on this console."""
        return self.operator.view.may(self.console, right)

    @property
    def writing(self) -> bool:
        """Whether it may write now."""
        return self.console.write_access.writes(self)

    def audit(self, event: str, **fields: object) -> None:
        """Record an action on this console in the audit trail."""
        self.operator.audit(event, console=self.console.title, uuid=str(self.console.uuid), **fields)

    def forced(self, losers: Iterable[str], reason: str) -> None:
        """Record that others lost write access to this viewer."""
        if was := ", ".join(losers):
            self.audit("force", was=was, **({"reason": reason} if reason else {}))

    def tell(self, kind: str, **fields: object) -> None:
        """Send a message, behind all output so far."""
        self._fanout.catch_up(self.flow)
        self.socket.send(message_frame(kind, **fields))

    # From the console.

    @property
    def skipped(self) -> int:
        """Bytes of output that it was too slow for."""
        return self.flow.skipped

    def output(self, data: bytes) -> None:
        self.flow.take(data)

    def notice(self, notice: Notice) -> None:
        if self.gone:
            return
        try:
            self._notice(notice)
        except Exception:
            _log.failure("a websocket of {who} failed", who=self.who)
            self.socket.fail()

    def _notice(self, notice: Notice) -> None:
        limit = WINDOW + NOTICES_LIMIT * (2 if notice.essential else 1)
        if (notice.essential or not self.operator.quiet) and self.socket.queued <= limit:
            self._fanout.catch_up(self.flow)
            self.socket.send(self._fanout.notice(notice))
        match notice:
            case ShuttingDown():
                self.socket.close(GOING_AWAY, "the server stops")
            case Kicked(by, reason):
                self.socket.close(KICKED, f"{by}: {reason}" if reason else by)
            case Demoted(by, reason):
                self.see_pen(by, reason)
            case _:
                if isinstance(notice, Promoted):
                    self.audit("promote")
                self.see_pen()

    def see_pen(self, by: str = "", reason: str = "") -> None:
        """Tell who writes, if that has changed since it was told."""
        now = pen_mode(self.console, self), writers(self.console)
        if now != self._told:
            self._told = now
            self.tell("pen", mode=now[0], writers=now[1], by=by or None, reason=reason or None)

    def hold_input(self, on: bool) -> None:
        if on == self._held:
            return
        self._held = on
        self._under_way = 0
        if self._told[0]:  # else the client has not been greeted
            self.tell("hold", on=on)
        if not on:
            self.socket.hold(False)

    def idle_times(self) -> IdleTimes:
        return self.operator.view.idle_times(self.console)

    def rules_changed(self) -> None:
        if not self.may(Right.SPY):
            self.socket.close(RIGHTS_GONE, "the rules have changed: you may no longer read this console")
            return
        could, self._could_write = self._could_write, self.may(Right.WRITE)
        if could and not self._could_write:
            self.console.viewers.drop_write(self)
        if could != self._could_write:
            words = "now" if self._could_write else "no longer"
            text = f"[the rules have changed: you may {words} write to this console]"
            rights = self.operator.view.rights(self.console).words
            self.tell("notice", event="rules-changed", rights=rights, essential=True, text=text)
        self.see_pen()

    # From the client.

    def typed(self, data: bytes) -> None:
        """Send keys to the VM, or say that they are not sent."""
        if not data:
            return
        self.last_input = self.services.wall()
        if self._held:
            self._under_way += len(data)
            if self._under_way > UNDER_WAY_LIMIT:
                self.socket.hold(True)
        if not self.writing:
            self._remind("[read-only]")
        elif not self.console.send(data, self.who):
            self._remind(f"[-- not sent: {state_line(self.console, self.services.wall())} --]")

    def typed_now(self) -> None:
        """Take note that the operator has done something."""
        self.last_input = self.services.wall()

    def play(self, sequence: Player | None) -> None:
        """Take note of a sequence that is being sent, or that it is over."""
        self.playing = sequence

    def _remind(self, text: str) -> None:
        now = self.services.clock.seconds()
        if not self._reminded or now - self._reminded >= REMINDER_SECONDS:
            self._reminded = now
            self.tell("notice", event="not-sent", essential=False, text=text)
