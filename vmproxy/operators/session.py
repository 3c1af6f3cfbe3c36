"""Session: the client at the other end, as commands, the menu and console sessions know it.

An SSH session channel is one; other fronts have others. Nothing in this package knows which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from vmproxy.console.console import Console
from vmproxy.operators.activity import Activity
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.operators.target import Target


class OutputStream(Protocol):
    """A stream of bytes to a client. Its queue has no limit: look at ``queued`` before adding much."""

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""

    @property
    def over(self) -> bool:
        """Whether it is closed, or about to be."""

    def send(self, data: bytes) -> None:
        """Send bytes, as soon as the client takes them."""


class Session(OutputStream, Protocol):
    """One operator at one terminal, or one script."""

    @property
    def operator(self) -> Operator:
        """The operator whose session it is."""

    @property
    def services(self) -> Services:
        """What all sessions share."""

    @property
    def has_pty(self) -> bool:
        """Whether the client has a terminal here."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, within bounds that a program can live with."""

    @property
    def term(self) -> str:
        """The kind of the terminal, ``xterm`` say; empty if there is none."""

    @property
    def local_address(self) -> tuple[str, int] | None:
        """Host and port at which the client has reached us, as far as they are known."""

    @property
    def input_ended(self) -> bool:
        """Whether the client has said that it sends no more."""

    def print(self, text: str) -> None:
        """Send text to the client's stdout."""

    def send_err(self, data: bytes) -> None:
        """Send bytes to the client's stderr."""

    def when_drained(self) -> Deferred[bool]:
        """Fires when everything is sent, with True; or with False if the session is over before."""

    def finish(self, status: int | None = None) -> None:
        """End the session with an exit status when everything queued is sent, with the terminal as it was found."""

    def hold(self, on: bool) -> None:
        """Keep the client from sending more input, or let it go on."""

    # Input and activities.

    activity: Activity | None
    """The current activity. One that is set gets what was typed before there was any.

    An activity that makes room for another with :meth:`attach` must not put itself back before it is told that that
    is left.
    """

    @property
    def title_left(self) -> str:
        """The title of the console that was left last."""

    def dataReceived(self, data: bytes) -> None:
        """Input."""

    def put_off(self, data: bytes) -> None:
        """Handle input in the next turn of the reactor, with all that comes behind it: there was much to do in this."""

    def attach(self, target: Target, plain: bool = False, on_leave: Callable[[int], None] | None = None) -> bool:
        """Go to a console and stay there.

        :param plain: only follow what it says: without a banner, notices, escape, or anything that is typed.
        :param on_leave: called with the exit status when the console is left, or when there is none to go to, instead
            of ending the session; only with a server that stops the session ends all the same.
        :returns: whether it is attached. If not, the operator has been told why.
        """

    def go_to(
        self,
        console: Console,
        target: Target,
        plain: bool = False,
        on_leave: Callable[[int], None] | None = None,
        stamps: bool = False,
    ) -> None:
        """Attach to a console that has been found, and that the operator may look at; see :meth:`attach`.

        :param stamps: whether there are times in front of lines.
        """

    def left(self, activity: Activity, title: str, status: int, on_leave: Callable[[int], None] | None) -> None:
        """An activity has left its console; see :meth:`attach`."""
