"""An operator's terminal while it is lent: a screen of ours is shown on it, and the console goes on behind.

What the VM says meanwhile is kept as far as it fits. If it does not, nothing is kept: it is in the log, and only what
it would have done to the terminal is remembered, so that the terminal is given back in the state of that time.
"""

from __future__ import annotations

from collections.abc import Callable

from vmproxy.operators.terminal.guest_state import GuestState
from vmproxy.operators.terminal.screen import ENTER, LEAVE, TO_ALTERNATE, TO_USUAL
from vmproxy.operators.viewer_queue import ViewerQueue

KEPT_LIMIT = 256 * 1024


class LentTerminal:
    """A terminal that somebody else has.

    :ivar alternate: whether the guest had the alternate screen: what it has shown there is lost.
    :ivar dropped: whether what came was too much to be kept.
    :ivar told: called with what is said to the operator meanwhile.
    """

    def __init__(self, guest: GuestState, told: Callable[[str], None]) -> None:
        self.alternate = bool(guest.alternate)
        self.dropped = False
        self.told = told
        self._guest = guest
        self._queue = ViewerQueue(KEPT_LIMIT)

    def output(self, data: bytes, at: float) -> None:
        queue = self._queue
        if not self.dropped and queue.size + len(data) <= KEPT_LIMIT:
            queue.add(at, data)
            return
        self.dropped = True
        for _, kept in queue.take():
            self._guest.feed(kept)
        self._guest.feed(data)

    @property
    def paints(self) -> bool:
        """Whether the guest has painted a screen that is lost, and has it still."""
        return self.alternate and bool(self._guest.alternate)

    def take(self) -> list[tuple[float, bytes]]:
        """What has come, and when, if all of it was kept."""
        return self._queue.take()

    def enter(self) -> bytes:
        """What makes the terminal ready for a screen of ours."""
        # Where the guest has the alternate screen, the usual one is behind it and stays there.
        enter = ENTER.removeprefix(TO_ALTERNATE) if self.alternate else ENTER
        return self._guest.pause + enter

    def leave(self) -> bytes:
        """What gives it back."""
        guest, back = self._guest, LEAVE.removesuffix(TO_USUAL)
        if not self.alternate:
            # The cursor, which this moves, is put back by the change of screens.
            return back + guest.redo + TO_USUAL + guest.alternate
        for _, data in self._queue.take():
            guest.feed(data)  # it is painted with the rest
        return back + guest.redo + (b"" if guest.alternate else TO_USUAL)
