"""Websockets: a connection that a request was upgraded to, with back-pressure and bounds both ways.

:mod:`vmproxy.web.websocket_frames` reads and makes frames. What is sent waits here while the socket is full, so that a
frame which goes to many clients is in memory once. What is received is looked at in turns of the reactor, and not at
all while the listener holds it. :class:`WebSockets` has the timers of all of them: an idle websocket costs none.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Protocol as Interface

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from wsproto.frame_protocol import Opcode
from zope.interface import implementer

from vmproxy.base.deadlines import Deadlines
from vmproxy.base.rounds import Rounds
from vmproxy.base.turns import Turns
from vmproxy.errors import VMProxyError
from vmproxy.web.headers import head_bytes
from vmproxy.web.websocket_frames import (
    FAULT,
    GOING_AWAY,
    LOST,
    POLICY,
    Binary,
    Broken,
    Close,
    MessageReader,
    Ping,
    Pong,
    Text,
    close_frame,
    frame,
    text_frame,
)

PING_SECONDS = 25.0
PINGS_UNANSWERED = 3
LOGIN_ENDED, NO_ANSWER = 4401, 4408
CLOSE_SECONDS = 2.0
QUEUE_LIMIT = 1024 * 1024
TEXTS_PER_SECOND = 50
LATE_LIMIT = 256 * 1024  # that a client may send behind our close
_PING = frame(Opcode.PING, b"")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_log = Logger()


class BadHandshake(VMProxyError):
    """A request that cannot become a websocket.

    :ivar upgrade: whether it asked for none, or for another version.
    """

    def __init__(self, text: str, upgrade: bool = False) -> None:
        super().__init__(text)
        self.upgrade = upgrade


def accept(headers: Mapping[str, str], subprotocol: str, secure: bool = False) -> bytes:
    """The answer 101 to a request.

    :param headers: of the request, their names in lower case; ``subprotocol``: the one that is spoken here; ``secure``:
        whether it came over TLS.
    :raises BadHandshake: if it cannot be answered so.
    """

    def words(name: str) -> list[str]:
        return [word.strip() for word in headers.get(name, "").split(",")]

    if "websocket" not in map(str.lower, words("upgrade")) or "upgrade" not in map(str.lower, words("connection")):
        raise BadHandshake("this is a websocket: the request must ask for an upgrade to it", upgrade=True)
    if headers.get("sec-websocket-version", "").strip() != "13":
        raise BadHandshake("the version of websockets must be 13", upgrade=True)
    key = headers.get("sec-websocket-key", "").strip()
    try:
        nonce = base64.b64decode(key, validate=True) if len(key) == 24 else b""
    except ValueError:
        nonce = b""
    if len(nonce) != 16:
        raise BadHandshake("Sec-WebSocket-Key must be 16 bytes in base64")
    if subprotocol not in words("sec-websocket-protocol"):
        raise BadHandshake(f"Sec-WebSocket-Protocol must offer {subprotocol}")
    answer = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    told = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", answer),
        ("Sec-WebSocket-Protocol", subprotocol),
    ]
    return head_bytes("101 Switching Protocols", told, secure)


class Listener(Interface):
    """Who uses a websocket."""

    kind: str

    @property
    def beat(self) -> bytes:
        """The frames that are sent when nothing else was for :data:`PING_SECONDS`; may be empty."""

    def opened(self, socket: WebSocket) -> None:
        """The handshake is over."""

    def text(self, text: str) -> None:
        """Take a message of characters."""

    def binary(self, data: bytes) -> None:
        """Take a message of bytes."""

    def drained(self) -> None:
        """Everything was handed to the socket, which takes more."""

    def closed(self, code: int, reason: str) -> None:
        """It is over: nothing can be sent, and nothing comes. Called once."""


class WebSockets:
    """All websockets of a front.

    :ivar all: those whose connection is there.
    :ivar closed: how many are over, by kind and close code.
    """

    def __init__(self, clock: IReactorTime, turns: Turns) -> None:
        self.clock = clock
        self.turns = turns
        self.all: dict[WebSocket, None] = {}
        self.closed: Counter[tuple[str, int]] = Counter()
        self.pings: Rounds[WebSocket] = Rounds(clock, turns, "websockets", PING_SECONDS, lambda one: one.ping())
        self.closing: Deadlines[WebSocket] = Deadlines(clock, CLOSE_SECONDS, lambda socket: socket.abort())

    def see_logins(self) -> None:
        """Close those whose login counts no more: one has ended."""
        for socket in list(self.all):
            socket.see_login()

    def stop(self) -> None:
        """Close all of them: the server stops."""
        for socket in list(self.all):
            socket.leave()


@implementer(IPushProducer)
class WebSocket(Protocol):
    """One websocket, as the protocol of its connection.

    Bound: :data:`QUEUE_LIMIT` bytes wait for the socket; who has so many is disconnected.

    :ivar kind: what it is for.
    :ivar queued: bytes that wait until the socket takes more.
    """

    transport: Connection

    def __init__(
        self,
        listener: Listener,
        sockets: WebSockets,
        who: str,
        answer: bytes = b"",
        may_stay: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        :param who: whose turns of the reactor it uses.
        :param answer: to the request, see :func:`accept`.
        :param may_stay: whether the login still counts, asked each :data:`PING_SECONDS`.
        """
        self.kind = listener.kind
        self._answer = answer
        self._may_stay = may_stay
        self._listener = listener
        self._sockets = sockets
        self._who = who
        self._reader = MessageReader()
        self._queue: deque[bytes] = deque()
        self.queued = 0
        self._full = False  # the socket takes nothing now
        self._held = False  # the listener takes nothing now
        self._put_off = False  # what was received waits for a turn
        self._paused = False  # the socket is not read
        self._open = True  # messages come and go
        self._ended = False  # nothing is written or looked at any more
        self._lost = False  # there is no connection
        self._looking = False
        self._late = 0
        self._silent = False
        self._asked = 0  # pings without an answer
        self._second = 0.0
        self._texts = 0

    # The connection.

    def connectionMade(self) -> None:
        sockets = self._sockets
        sockets.all[self] = None
        sockets.pings.add(self)
        self.transport.registerProducer(self, True)
        if self._answer:
            self.transport.write(self._answer)
        self._tell(lambda: self._listener.opened(self))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        sockets = self._sockets
        sockets.all.pop(self, None)
        sockets.closing.discard(self)
        self._ended = self._lost = True
        self._queue.clear()
        self.queued = 0
        if self._open and not sockets.turns.open():  # hundreds may be lost at once
            sockets.turns.wait(self._who, lambda: self._over(LOST, ""))
        else:
            self._over(LOST, "")

    def pauseProducing(self) -> None:
        """The socket is full."""
        self._full = True

    def resumeProducing(self) -> None:
        """The socket takes more."""
        self._full = False
        self._pump()

    def stopProducing(self) -> None:
        """The socket is closed."""

    # What is sent.

    def send(self, frame: bytes) -> None:
        """Send a frame that was made before."""
        if not self._open:
            return
        self._silent = False
        if self.queued + len(frame) > QUEUE_LIMIT:
            self.close(NO_ANSWER, "too much waits for the client")
            self.abort()
        else:
            self._put(frame)

    def send_text(self, text: str) -> None:
        """Send a message of characters."""
        self.send(text_frame(text))

    def close(self, code: int, reason: str = "") -> None:
        """Close, behind what was sent; the listener is told at once."""
        if self._open:
            self._put(close_frame(code, reason))
            self._sockets.closing.start(self)
            self._over(code, reason)
            self._read_on()

    def fail(self) -> None:
        """End the connection at once, because of a fault here."""
        self._over(FAULT, "an error of the server")
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._ended = True
        self._queue.clear()
        if not self._lost:
            self.transport.abortConnection()

    def _put(self, frame: bytes) -> None:
        if self._full or self._queue:
            self._queue.append(frame)
            self.queued += len(frame)
        else:
            self.transport.write(frame)

    def _pump(self) -> None:
        while self._queue and not self._full:
            data = self._queue.popleft()
            self.queued -= len(data)
            self.transport.write(data)
        if self._open and not self._full:
            self._tell(self._listener.drained)

    def leave(self) -> None:
        """Close: the server stops."""
        self.close(GOING_AWAY, "the server stops")

    def see_login(self) -> bool:
        """Close if the login counts no more; :returns: whether it does."""
        if self._may_stay():
            return True
        self.close(LOGIN_ENDED, "the login has ended")
        return False

    def ping(self) -> None:
        """Ask whether the client is there; it was asked before :data:`PING_SECONDS`."""
        if not self.see_login():
            return
        if self._asked >= PINGS_UNANSWERED:
            self.close(NO_ANSWER, "no answer")
            return
        data = self._listener.beat if self._silent else b""
        self._silent = True
        if not self._held:  # else the answer would not be read
            self._asked += 1
            data += _PING
        if data:
            self._put(data)

    # What is received.

    def hold(self, on: bool) -> None:
        """Leave what comes in the socket, or take it again."""
        self._held = on
        self._read_on()

    def forgive(self) -> None:
        """Do not count the last text message towards :data:`TEXTS_PER_SECOND`."""
        self._texts -= 1

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            return
        if not self._open:
            self._late += len(data)
            if self._late > LATE_LIMIT:
                self.abort()
                return
        self._reader.feed(data)
        self._read_on()

    def _read_on(self) -> None:
        if not self._put_off and not self._looking:
            self._look()

    def _look(self) -> None:
        """Take what was received, as long as there is time for it."""
        self._put_off = False
        self._looking = True
        turns = self._sockets.turns
        while not self._ended and not (self._held and self._open):
            event = self._reader.next()
            if event is None:
                break
            self._take(event)
            if not turns.open():
                self._put_off = True
                turns.wait(self._who, self._look, self.abort)
                break
        self._looking = False
        self._see_reading()

    def _see_reading(self) -> None:
        pause = self._put_off or (self._held and self._open)
        if pause != self._paused and not self._ended:
            self._paused = pause
            (self.transport.pauseProducing if pause else self.transport.resumeProducing)()

    def _take(self, event: object) -> None:
        if not self._open:
            if isinstance(event, Close | Broken):
                self._hang_up()
            return
        match event:
            case Binary(data):
                self._tell(lambda: self._listener.binary(data))
            case Text(text):
                if self._may_say_more():
                    self._tell(lambda: self._listener.text(text))
                else:
                    self.close(POLICY, f"more than {TEXTS_PER_SECOND} text messages a second")
            case Pong():
                self._asked = 0
            case Ping(data) if not self._full:
                self._put(frame(Opcode.PONG, data))
            case Close(code, reason):
                self._queue.clear()
                self.queued = 0
                self._put(close_frame(code, ""))
                self._over(code, reason)
                self._sockets.closing.start(self)
                self._hang_up()
            case Broken(code, reason):
                self.close(code, reason)

    def _may_say_more(self) -> bool:
        now = self._sockets.clock.seconds()
        if not 0 <= now - self._second < 1:
            self._second, self._texts = now, 0
        self._texts += 1
        return self._texts <= TEXTS_PER_SECOND

    def _hang_up(self) -> None:
        """Close the connection when everything is written."""
        self._ended = True
        self.transport.unregisterProducer()
        for data in self._queue:
            self.transport.write(data)
        self._queue.clear()
        self.transport.loseConnection()

    def _over(self, code: int, reason: str) -> None:
        if self._open:
            self._open = False
            self._sockets.pings.discard(self)
            self._sockets.closed[self._listener.kind, code] += 1
            try:
                self._listener.closed(code, reason)
            except Exception:
                _log.failure("the end of a websocket of {who} failed", who=self._who)

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            _log.failure("a websocket of {who} failed", who=self._who)
            self.close(FAULT, "an error of the server")
