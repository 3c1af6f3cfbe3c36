"""What a session can be busy with: a console, the menu, a command, SFTP. One at a time."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class Activity(Protocol):
    """What a session is busy with, if it takes input or must be ended."""

    def typed(self, data: bytes) -> None:
        """Input."""

    def drained(self) -> None:
        """All output is sent."""

    def send_break(self) -> None:
        """The client asks for a break (RFC 4335)."""

    def stop(self) -> None:
        """The session is over."""

    def resized(self, width: int, height: int) -> None:
        """The terminal has another size, in characters."""


@runtime_checkable
class TakesEnd(Protocol):
    """An activity that wants to know that no more input comes."""

    def eof(self) -> None:
        """That was all."""


@runtime_checkable
class TakesScreen(Protocol):
    """An activity that has the terminal in a state of its own while it lasts."""

    def farewell(self) -> bytes:
        """What puts the terminal right; nothing if it is."""
