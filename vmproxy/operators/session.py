"""Session: the client at the other end, as commands, the menu and console sessions know it.

An SSH session channel is one; other fronts have others. Nothing in this package knows which it is.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from vmproxy.operators.client import Client
from vmproxy.operators.input_router import InputRouter


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


class Session(OutputStream, Client, Protocol):
    """One operator at one terminal, or one script."""

    @property
    def router(self) -> InputRouter:
        """The activities of the session, and what is typed for them."""

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
    def no_color(self) -> bool:
        """Whether the client wants no colours: it has ``NO_COLOR`` in its environment."""

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


def tell(session: Session, text: str) -> None:
    """Print text to the client's stderr, with a line's end."""
    text = text if text.endswith("\n") else text + "\n"
    session.send_err((text.replace("\n", "\r\n") if session.has_pty else text).encode("utf-8", "backslashreplace"))
