"""Attach: from the request for a console's websocket to an operator who is on it, or is told why not.

Before the handshake is answered, a page could not see why it failed; so all that depends on the console is told behind
it, as ``reject`` and a close code. Consoles that are hidden get the answer of those that are not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.access.console_options import REPLAY_LIMIT
from vmproxy.access.policy import Right
from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.console.naming import AmbiguousConsole, NoSuchConsole
from vmproxy.log.stream import LogStream
from vmproxy.operators.attachment import REPLAY_LINES
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.operators.write_request import Answer, WriteRequest, ask
from vmproxy.web.attachment import RIGHTS_GONE, Attachment
from vmproxy.web.console_id import console_id
from vmproxy.web.fanout import Fanouts
from vmproxy.web.problem import Problem, bad_request
from vmproxy.web.viewer_messages import BEAT, message_frame
from vmproxy.web.viewer_requests import BadMessage, Requests, refusal
from vmproxy.web.websocket import WebSocket
from vmproxy.web.websocket_frames import FAULT, GOING_AWAY, POLICY
from vmproxy.web.window import BadAcknowledgement

SUBPROTOCOL = "vmproxy.v1"
MODES = ("write", "spy", "force", "join")
ABSENT, NOT_NOW, TOO_MANY = 4404, 4409, 4429
CODES = {"forbidden": RIGHTS_GONE, "not-found": ABSENT, "too-many": TOO_MANY, "bad-request": POLICY}
"""The close codes of problems; of all others, :data:`NOT_NOW`."""

_log = Logger()


@dataclass(frozen=True, slots=True)
class Wish:
    """How somebody wants to attach.

    :ivar name: of the console; may be any NAME.
    :ivar mode: one of :data:`MODES`.
    :ivar lines: of the log that are shown; None: as many as usual.
    :ivar cursor: where output goes on; empty for nowhere.
    """

    name: str
    mode: str = "write"
    lines: int | None = None
    reason: str = ""
    cursor: str = ""

    @classmethod
    def of(cls, name: str, query: Mapping[str, str]) -> Wish:
        """The wish of a query.

        :raises Problem: if it means nothing.
        """
        mode, lines = query.get("mode") or "write", query.get("replay")
        errors = []
        if mode not in MODES:
            errors.append(("mode", f"one of {', '.join(MODES)}"))
        if lines is not None and not (lines.isascii() and lines.isdecimal() and int(lines[:9]) <= REPLAY_LIMIT):
            errors.append(("replay", f"a number of lines, 0 to {REPLAY_LIMIT}"))
        if errors:
            raise bad_request(errors)
        return cls(
            name, mode, None if lines is None else int(lines[:9]), query.get("reason", "")[:1000], query.get("from", "")
        )


class Attaching:
    """The listener of an attachment's websocket: attaches, then hands on what comes."""

    kind = "attach"

    def __init__(self, operator: Operator, services: Services, fanouts: Fanouts, wish: Wish | Problem) -> None:
        """:param wish: or what is wrong with it."""
        self._operator = operator
        self._services = services
        self._fanouts = fanouts
        self._wish = wish
        self._socket: WebSocket | None = None
        self._attachment: Attachment | None = None
        self._requests: Requests | None = None

    def opened(self, socket: WebSocket) -> None:
        """Attach."""
        self._socket = socket
        socket.hold(True)  # what is said early waits in the socket
        spawn(self._attach(socket)).addErrback(self._refused, socket)

    def _refused(self, failure: Failure, socket: WebSocket) -> None:
        if failure.check(CancelledError):
            return
        problem = failure.value
        if not isinstance(problem, Problem):
            _log.failure("a websocket of {who} failed", failure=failure, who=self._operator.who)
            socket.close(FAULT, "an error of the server")
            return
        socket.send(message_frame("reject", problem=problem.json()))
        socket.close(CODES.get(problem.name, NOT_NOW), problem.detail)

    async def _attach(self, socket: WebSocket) -> None:
        wish, view, services = self._wish, self._operator.view, self._services
        if isinstance(wish, Problem):
            raise wish
        await view.ready(services.turns, self._operator.name)
        console = self._find(wish)
        log = console.log
        with suppress(OSError):
            await log.on_writer(lambda _path: log.settle())  # what is behind this has an absolute offset
        lines = next((n for n in (wish.lines, console.options.replay) if n is not None), REPLAY_LINES)
        attachment = Attachment(socket, self._operator, services, self._fanouts, console, lines)
        try:
            stream = await attachment.flow.find(wish.cursor) if wish.cursor else None
            if self._socket is None or services.stopping:  # it is over meanwhile
                attachment.flow.drop(stream)
                socket.close(GOING_AWAY, "the server stops")
                return
            await view.ready(services.turns, self._operator.name)
            if self._socket is None:
                attachment.flow.drop(stream)
                return
            self._enter(attachment, wish, stream)
        finally:
            if self._attachment is None:
                self._fanouts.done(console, attachment)

    def _find(self, wish: Wish) -> Console:
        """The console, if the operator may read it.

        :raises Problem: if not.
        """
        view = self._operator.view
        try:
            console = view.find(wish.name)
        except NoSuchConsole:
            raise Problem("not-found") from None
        except AmbiguousConsole as error:
            choices = [{"id": console_id(one), "name": one.title} for one in error.choices]
            raise Problem("ambiguous", candidates=choices) from None
        self._check(console)
        if wish.mode == "force" and not view.is_exact(wish.name, console):
            raise bad_request([("mode", "force needs a whole name")])
        return console

    def _check(self, console: Console) -> None:
        view = self._operator.view
        if not view.may(console, Right.SEE):
            raise Problem("not-found")
        if not view.may(console, Right.SPY):
            raise Problem("forbidden", "you may list this console, but not read it")

    def _enter(self, attachment: Attachment, wish: Wish, stream: LogStream | None) -> None:
        console, view = attachment.console, self._operator.view
        force, join = wish.mode == "force", wish.mode == "join"
        try:
            self._check(console)  # rules may have changed
            request = WriteRequest(wish.mode == "spy", join, force, wish.reason)
            if force and (problem := refusal(ask(view, console, request, contested=True), console)) is not None:
                raise problem
        except Problem:
            attachment.flow.drop(stream)
            raise
        take = ask(view, console, request, attachment) is Answer.FORCE
        self._attachment = attachment
        self._requests = Requests(attachment)
        attachment.enter(wish.mode != "spy", take, join, wish.reason, stream)
        attachment.socket.hold(False)

    # From the websocket.

    def text(self, text: str) -> None:
        """Do what a message wants."""
        try:
            if self._requests is not None:
                self._requests.perform(text)
        except (BadMessage, BadAcknowledgement) as error:
            if self._socket is not None:
                self._socket.close(POLICY, str(error))

    def binary(self, data: bytes) -> None:
        """Type."""
        if self._attachment is not None:
            self._attachment.typed(data)

    def drained(self) -> None:
        """Nothing: what waits is bounded by what is acknowledged."""

    @property
    def beat(self) -> bytes:
        """What has the page see that the server is there; nothing before the first message."""
        return BEAT if self._attachment is not None else b""

    def closed(self, code: int, reason: str) -> None:
        """Leave the console."""
        self._socket = self._requests = None
        attachment, self._attachment = self._attachment, None  # which has the websocket, which has this
        if attachment is not None:
            attachment.leave()
