"""The websockets of the front, and what those on the same console, or all pages, share."""

from __future__ import annotations

from vmproxy.operators.services import Services
from vmproxy.web.fanout import Fanouts
from vmproxy.web.live import LivePages
from vmproxy.web.websocket import WebSockets


class Sockets:
    """All of them.

    :ivar all: the connections, their timers and counts.
    :ivar fanouts: the frames of consoles' output.
    :ivar pages: the pages that are kept up to date.
    """

    def __init__(self, services: Services) -> None:
        self.all = WebSockets(services.clock, services.turns)
        self.fanouts = Fanouts(services.clock, services.turns)
        self.pages = LivePages(services)
