"""The websockets of the front, and what those on the same console, or all pages, share."""

from __future__ import annotations

from collections.abc import Sequence

from vmproxy.console.console import Console
from vmproxy.operators.operator import Operator
from vmproxy.operators.presentation import Fields, console_fields, shown
from vmproxy.operators.services import Services
from vmproxy.web.fanout import Fanouts
from vmproxy.web.live import LivePages
from vmproxy.web.viewer_messages import console_id
from vmproxy.web.websocket import WebSockets


class Sockets:
    """All of them.

    :ivar all: the connections, their timers and counts.
    :ivar fanouts: the frames of consoles' output.
    :ivar pages: the pages that are kept up to date.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.all = WebSockets(services.clock, services.turns)
        self.fanouts = Fanouts(services.clock)
        self.pages = LivePages(services, self._rows)

    async def _rows(self, operator: Operator, consoles: Sequence[Console]) -> list[Fields]:
        rows: list[Fields] = []
        for console in consoles:
            await operator.view.ready(self._services.turns, operator.name)
            if console in operator.view:
                rows.append({"id": console_id(console), **console_fields(shown(console, operator.view))})
        return rows
