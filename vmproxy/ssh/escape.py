"""The escape: ``^E c`` and a key, picked out of what an operator types.

A pure state machine: keys in, data and commands out. A lone ``^E`` may be meant for the guest (bash, emacs), so it is
held only until the next key or, by whoever owns the clock, for a second: see :attr:`EscapeScanner.waiting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PREFIX = 0x05  # ^E
SECOND = ord("c")


@dataclass(frozen=True, slots=True)
class Key:
    """A command: the key, or keys, behind the escape."""

    keys: bytes


class EscapeScanner:
    """Separates commands from data.

    :ivar waiting: whether bytes are held that become data if nothing follows soon: call :meth:`timeout` then. An escape
        that is complete but for its key waits for the key, however long.
    """

    __slots__ = ("_held", "waiting")

    def __init__(self) -> None:
        self._held = b""
        self.waiting = False

    def feed(self, data: bytes) -> Iterator[bytes | Key]:
        """:returns: data (``bytes``) and commands (:class:`Key`), in order."""
        plain = bytearray()
        for byte in data:
            held = self._held
            if not held:
                if byte == PREFIX:
                    self._held = bytes((byte,))
                else:
                    plain.append(byte)
            elif len(held) == 1:
                if byte == SECOND:
                    self._held = held + bytes((byte,))
                    continue
                self._held = b""
                plain.append(PREFIX)  # ^E ^E is one ^E; ^E and anything else are both meant for the guest
                if byte != PREFIX:
                    plain.append(byte)
            else:
                if byte == PREFIX and len(held) > 2:
                    self._held = bytes((byte,))  # no second key came, but a new escape
                    continue
                keys = held[2:] + bytes((byte,))
                if keys == b"l":  # a second key says which sequence
                    self._held = held + b"l"
                    continue
                self._held = b""
                if plain:
                    yield bytes(plain)
                    plain.clear()
                yield Key(keys)
        self.waiting = len(self._held) == 1
        if plain:
            yield bytes(plain)

    def timeout(self) -> bytes:
        """Nothing has followed: :returns: the data that was held."""
        held = b""
        if self.waiting:
            held, self._held = self._held, b""
            self.waiting = False
        return held
