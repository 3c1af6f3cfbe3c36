"""Operators at a console over a websocket, in memory."""

from __future__ import annotations

from typing import Any

from wsproto.connection import ConnectionState

from tests.support.ssh import SSHWorld
from tests.support.websocket import Client
from vmproxy.auth.accounts_file import Account
from vmproxy.web.attach import Attaching, Wish
from vmproxy.web.fanout import Fanouts
from vmproxy.web.problem import Problem
from vmproxy.web.websocket import WebSockets


class Web:
    """The websockets of a world."""

    def __init__(self, world: SSHWorld) -> None:
        self.world = world
        self.sockets = WebSockets(world.clock, world.services.turns)
        self.fanouts = Fanouts(world.clock, world.services.turns)

    def attach(self, name: str = "web01", user: str = "alice", *, early: bytes = b"", **query: str) -> Browser:
        operator = self.world.services.operator(Account(user), user, "10.1.2.9", "web")
        wish: Wish | Problem
        try:
            wish = Wish.of(name, {key.rstrip("_"): value for key, value in query.items()})
        except Problem as problem:
            wish = problem
        browser = Browser(self.world, Attaching(operator, self.world.services, self.fanouts, wish), self.sockets, early)
        self.world.settle()
        return browser


class Browser(Client):
    """A client of ``vmproxy.v1``.

    :ivar acknowledges: whether it acknowledges what comes.
    """

    def __init__(self, world: SSHWorld, listener: Any, sockets: WebSockets, early: bytes = b"") -> None:
        self.world = world
        self.acknowledges = True
        self._acknowledged = self._asked = 0
        super().__init__(listener, sockets, early)

    def read(self) -> None:
        super().read()
        while self.acknowledges and self.open and self._acknowledged < len(self.bytes_got()):
            size = len(self.bytes_got()) - self._acknowledged
            self._acknowledged += size
            self.say(type="ack", bytes=size)
            super().read()

    @property
    def open(self) -> bool:
        """Whether nobody has closed."""
        return self.wire.state is ConnectionState.OPEN

    def take(self) -> list[Any]:
        got = super().take()
        self._acknowledged = 0
        return got

    def bytes_got(self) -> bytes:
        """The output that has been read."""
        return b"".join(part for part in self._got if isinstance(part, bytes))

    @property
    def seen(self) -> bytes:
        """All output."""
        self.read()
        return self.bytes_got()

    @property
    def live(self) -> bytes:
        """The output that was not a replay."""
        self.read()
        seen, past = b"", False
        for part in self._got:
            if isinstance(part, bytes):
                seen += b"" if past else part
            elif isinstance(part, dict) and part["type"] == "replay":
                past = part["on"]
        return seen

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The messages of a type."""
        return [part for part in self.got if isinstance(part, dict) and part["type"] == kind]

    @property
    def hello(self) -> dict[str, Any]:
        (hello,) = self.told("hello")
        return hello

    @property
    def order(self) -> list[str]:
        """What came, in short."""
        return [
            "output" if isinstance(part, bytes) else part["type"] for part in self.got if isinstance(part, bytes | dict)
        ]

    @property
    def cursor(self) -> str:
        """The last cursor."""
        return str(self.told("cursor")[-1]["cursor"])

    def ask(self, kind: str, **fields: object) -> dict[str, Any]:
        """Make a request; :returns: the answer."""
        self._asked += 1
        self.say(type=kind, id=self._asked, **fields)
        self.world.settle()
        (answer,) = [told for told in self.told("done") + self.told("reject") if told["id"] == self._asked]
        return answer

    def refused(self, kind: str, **fields: object) -> str:
        """Make a request that is refused; :returns: the problem."""
        answer = self.ask(kind, **fields)
        assert answer["type"] == "reject", answer
        return str(answer["problem"]["type"].rpartition("/")[2])
