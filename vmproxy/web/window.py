"""The window of a viewer: how much output may be under way, and what does not fit, counted to the byte."""

from __future__ import annotations

from collections.abc import Callable

from vmproxy.errors import VMProxyError

WINDOW = 512 * 1024
GO_ON_BELOW = 64 * 1024


class BadAcknowledgement(VMProxyError):
    """An acknowledgement of bytes that were not sent."""


class Window:
    """Output that is under way to a viewer.

    Bound: :data:`WINDOW` bytes that are not acknowledged. Once something did not fit, all is skipped until less than
    :data:`GO_ON_BELOW` are.

    :ivar under_way: bytes that were sent and not acknowledged.
    :ivar skipping: bytes that were skipped and not told; ``skipped``: in all.
    """

    __slots__ = ("_on_skip", "skipped", "skipping", "under_way")

    def __init__(self, on_skip: Callable[[int], object] = lambda size: None) -> None:
        """:param on_skip: told how many bytes did not fit, each time."""
        self._on_skip = on_skip
        self.under_way = self.skipping = self.skipped = 0

    @property
    def room(self) -> int:
        """Bytes that fit."""
        return WINDOW - self.under_way

    def fit(self, size: int) -> int:
        """Take bytes that the VM has said.

        :returns: how many of them are to be sent, from the first on; the others are skipped.
        """
        fits = 0 if self.skipping else min(size, WINDOW - self.under_way)
        self.under_way += fits
        if fits < size:
            self.skipping += size - fits
            self.skipped += size - fits
            self._on_skip(size - fits)
        return fits

    def skip(self, size: int) -> None:
        """Count bytes that did not fit elsewhere; they come before what is skipped from now on."""
        self.skipping += size
        self.skipped += size

    def acknowledge(self, size: int) -> None:
        """The terminal has processed bytes.

        :raises BadAcknowledgement: if so many were not under way.
        """
        if not 0 <= size <= self.under_way:
            raise BadAcknowledgement(f"{size} bytes acknowledged, {self.under_way} under way")
        self.under_way -= size

    def take_skipped(self, now: bool = False) -> int:
        """How many bytes were skipped, if that can be told now and output goes on behind them; else 0.

        :param now: whether it is told in any case.
        """
        if self.under_way >= GO_ON_BELOW and not now:
            return 0
        skipped, self.skipping = self.skipping, 0
        return skipped
