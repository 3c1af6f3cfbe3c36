"""Input that waits for its VM: in a vMotion, or while the VM takes none. Bytes and breaks, in order, bounded."""

from __future__ import annotations

from collections import deque

from vmproxy.console.interfaces import IReceiver

INPUT_HIGH = 64 * 1024
INPUT_LOW = 16 * 1024
INPUT_LIMIT = 1024 * 1024


class InputQueue:
    """What was typed and cannot be delivered yet.

    :ivar size: how much that is, in bytes; a break counts as one.
    :ivar congested: whether it is so much that the writers should hold theirs.
    """

    __slots__ = ("_items", "congested", "size")

    def __init__(self) -> None:
        self._items: deque[bytes | None] = deque()  # None is a break
        self.size = 0
        self.congested = False

    def put(self, data: bytes | None) -> bool:
        """Hold more: bytes, or None for a break.

        :returns: whether there was room for it.
        """
        size = 1 if data is None else len(data)
        if self.size + size > INPUT_LIMIT:
            return False
        self._items.append(data)
        self.size += size
        if self.size > INPUT_HIGH:
            self.congested = True
        return True

    def deliver(self, link: IReceiver) -> int:
        """Hand over what a link takes.

        :returns: how many bytes that were, breaks not counted.
        """
        delivered = 0
        while self._items and link.ready:
            data = self._items.popleft()
            if data is None:
                self.size -= 1
                link.send_break()
            else:
                self.size -= len(data)
                delivered += len(data)
                link.write(data)
        if self.size <= INPUT_LOW:
            self.congested = False
        return delivered

    def lost(self) -> int:
        """How many bytes are lost if nobody takes them any more, breaks not counted."""
        return sum(len(data) for data in self._items if data is not None)
