"""Live: what the pages show of many consoles, kept up to date over a websocket.

A page watches the consoles in view; it is told their rows when they change, how many consoles are in which state, and
how many alerts are open. Each watched console is looked at once, twice a second, however many pages watch it, in turns
of the reactor; an idle page costs nothing of its own. Consoles that may not be seen are never told of.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.tasks import spawn
from vmproxy.console.alert_marks import AlertMarks
from vmproxy.console.console import Console
from vmproxy.errors import VMProxyError
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import in_turns
from vmproxy.operators.operator import Operator
from vmproxy.operators.presentation import Fields
from vmproxy.operators.services import Services
from vmproxy.web.console_id import console_id
from vmproxy.web.viewer_messages import BEAT, message_frame
from vmproxy.web.websocket import WebSocket
from vmproxy.web.websocket_frames import POLICY

WATCHED = 200
LOOK_SECONDS = 0.5
COUNT_LOOKS = 4  # so many looks to one count
AT_ONCE = 32

Rows = Callable[[Client, Sequence[Console]], Awaitable[list[Fields]]]
"""Makes the rows of consoles as a client may see them; none for one that it may not see any more."""

_log = Logger()


class LivePages:
    """All pages that are kept up to date.

    Bound: one timer, which stands still while there are no pages.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self._pages: dict[LivePage, None] = {}
        self._watched: dict[Console, tuple[Hashable, dict[LivePage, None]]] = {}
        self._timer: IDelayedCall | None = None
        self._looking = False
        self._looks = 0
        self._everything: Hashable = None  # what was counted last
        self._policy = services.registry.policy

    def opened(self, page: LivePage) -> None:
        """A page is there."""
        self._pages[page] = None
        self._everything = None  # it has to be told
        self._looks = 0
        self._wait()

    def closed(self, page: LivePage) -> None:
        """A page is gone."""
        self._pages.pop(page, None)
        self.watch(page, ())
        if not self._pages and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self, page: LivePage, consoles: Iterable[Console]) -> list[Console]:
        """Have a page told of these consoles and of no others; :returns: those that are new to it."""
        wanted: dict[Console, None] = dict.fromkeys(consoles)
        for console in [one for one in page.consoles if one not in wanted]:
            pages = self._watched[console][1]
            del pages[page]
            if not pages:
                del self._watched[console]
        new = [console for console in wanted if console not in page.consoles]
        for console in new:
            self._watched.setdefault(console, (_mark(console), {}))[1][page] = None
        page.consoles = wanted
        return new

    def _wait(self) -> None:
        if self._timer is None and self._pages:
            self._timer = self.services.clock.callLater(LOOK_SECONDS, self._due)

    def _due(self) -> None:
        self._timer = None
        self._wait()
        if not self._looking:  # what takes longer is not begun again
            self._looking = True
            spawn(self._look()).addErrback(_failed).addCallback(self._looked)

    def _looked(self, _: object) -> None:
        self._looking = False

    async def _look(self) -> None:
        changed: dict[LivePage, None] = {}
        if self._policy is not self.services.registry.policy:
            self._policy = self.services.registry.policy
            self._everything = None
            for page in self._pages:
                page.changed.update(page.consoles)
        for number, console in enumerate(list(self._watched)):
            if number % AT_ONCE == 0:
                await self._turn()
            found = self._watched.get(console)
            if found is None or (mark := _mark(console)) == found[0]:
                continue
            self._watched[console] = mark, found[1]
            for page in found[1]:
                page.changed[console] = None
                changed[page] = None
        for page in [*changed, *(one for one in self._pages if one.changed and one not in changed)]:
            await self._turn()
            page.tell_rows()
        if self._looks % COUNT_LOOKS == 0:
            await self._count()
        self._looks += 1

    async def _turn(self) -> None:
        turns = self.services.turns
        while not turns.open():
            await turns.next("")

    async def _count(self) -> None:
        """Tell the pages how many consoles are in which state, if any of that has changed."""
        registry = self.services.registry
        seen: list[Hashable] = [registry.policy]
        for number, console in enumerate(list(registry)):
            if number % AT_ONCE == 0:
                await self._turn()
            seen.append((console.state, console.alerts))
        everything = hash(tuple(seen))
        if everything == self._everything:
            return
        self._everything = everything
        of_rules: dict[Hashable, tuple[Fields, Fields]] = {}
        for page in list(self._pages):
            view = page.operator.view
            await view.ready(self.services.turns, page.operator.name)
            rules = self.services.grants(page.operator.account)
            if rules not in of_rules:
                of_rules[rules] = await self._count_for(page.operator)
            page.tell_counts(*of_rules[rules])

    async def _count_for(self, operator: Operator) -> tuple[Fields, Fields]:
        states: Counter[str] = Counter({"up": 0, "down": 0, "migrating": 0})
        marks = [0, 0, 0]
        view = operator.view
        for number, console in enumerate(list(view)):
            if number % AT_ONCE == 0:
                await view.ready(self.services.turns, operator.name)
            states[console.state] += 1
            if console.alerts.total:
                marks = [sum(pair) for pair in zip(marks, view.alerts(console), strict=True)]
        alerts = AlertMarks(*marks)
        return {"counts": dict(states), "total": states.total()}, {"open": alerts.total, **alerts.fields()}


def _mark(console: Console) -> Hashable:
    """What of a console a row shows, so that two are equal if nothing has changed."""
    return (
        console.name,
        console.link,
        console.migrating,
        console.since,
        console.log.file.offset,  # not what has come: the row shows what the log has, a moment later
        console.bytes_in,
        console.watchers,
        console.writers,
        console.alerts,
        console.logging,
        console.log.problem,
        console.options,
        console.forgotten,
        None if console.remote is None else console.remote.state,
    )


def _failed(failure: Failure) -> None:
    _log.failure("pages could not be told of changes", failure=failure)


class LivePage:
    """One page: the listener of its websocket.

    Bound: :data:`WATCHED` consoles.

    :ivar consoles: that it watches; ``changed``: those of them that it has to be told of.
    """

    kind = "live"
    beat = BEAT

    def __init__(self, operator: Operator, pages: LivePages, rows: Rows) -> None:
        self.operator = operator
        self.services = pages.services
        self.consoles: dict[Console, None] = {}
        self.changed: dict[Console, None] = {}
        self._pages = pages
        self._rows = rows
        self._socket: WebSocket | None = None
        self._telling = False
        self._wanted: list[str] | None = None  # the last wish, while one before it is found
        self._finding = False
        self._counts: list[Fields] = []

    def opened(self, socket: WebSocket) -> None:
        """Tell it of changes from now on."""
        self._socket = socket
        self._pages.opened(self)

    def closed(self, code: int, reason: str) -> None:
        """Tell it of nothing more."""
        self._socket = None
        self.changed.clear()
        self._pages.closed(self)

    def drained(self) -> None:
        """Nothing: what has changed meanwhile is told at the next look."""

    def binary(self, data: bytes) -> None:
        """There are no such messages."""
        if self._socket is not None:
            self._socket.close(POLICY, "no message of this protocol")

    def text(self, text: str) -> None:
        """Watch other consoles."""
        try:
            message = json.loads(text) if len(text) < 64 * WATCHED * 2 else None
        except (ValueError, RecursionError):
            message = None
        ids = message.get("ids") if isinstance(message, dict) and message.get("type") == "watch" else None
        if not isinstance(ids, list) or len(ids) > WATCHED or not all(isinstance(one, str) for one in ids):
            if self._socket is not None:
                self._socket.close(POLICY, f"the only message is watch, with at most {WATCHED} ids")
            return
        self._wanted = ids
        if not self._finding:
            self._finding = True
            spawn(self._find()).addErrback(_failed)

    async def _find(self) -> None:
        view, turns, found = self.operator.view, self.services.turns, dict[Console, None]()
        try:
            while (ids := self._wanted) is not None and self._socket is not None:
                self._wanted = None
                found.clear()
                for one in ids:
                    await view.ready(turns, self.operator.name)
                    try:
                        console = view.find(one)
                    except VMProxyError:
                        continue
                    found[console] = None
                if self._socket is not None:
                    self.changed.update(dict.fromkeys(self._pages.watch(self, found)))
                    self.tell_rows()
        finally:
            self._finding = False

    def tell_rows(self) -> None:
        """Tell the page what has changed, unless it does not read."""
        if self.changed and not self._telling and self._socket is not None and not self._socket.queued:
            self._telling = True
            spawn(self._tell()).addErrback(_failed)

    async def _tell(self) -> None:
        consoles, self.changed = [one for one in self.changed if one in self.consoles], {}
        try:
            seen: list[Console] = []
            rows: list[Fields] = []
            async for console in in_turns(self, consoles):
                if console in self.operator.view:
                    seen.append(console)
                else:
                    rows.append({"id": console_id(console), "gone": True})
            rows += await self._rows(self, seen)
            if rows and self._socket is not None:
                self._socket.send(message_frame("rows", rows=rows))
        finally:
            self._telling = False

    def tell_counts(self, counts: Fields, alerts: Fields) -> None:
        """Tell the page how many there are, if that is news to it."""
        if self._socket is not None and [counts, alerts] != self._counts:
            self._counts = [counts, alerts]
            self._socket.send(message_frame("counts", **counts))
            self._socket.send(message_frame("alerts", **alerts))
