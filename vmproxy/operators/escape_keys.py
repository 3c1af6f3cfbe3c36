"""The escape scanner: finds ``^E c`` and a key in the input of an operator.

A state machine without a clock: keys in, data and commands out, one command at a time, as the keys after a command may
answer its question. A lone ``^E`` may be meant for the guest (bash, emacs), so it is held only until the next key, or
for a second by the owner of the clock: see :attr:`EscapeScanner.waiting`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmproxy.base.escape import DEFAULT_ESCAPE

_OCTAL = re.compile(rb"\\([0-3][0-7]?)?")


@dataclass(frozen=True, slots=True)
class EscapeCommand:
    """A command: the key or keys after the escape."""

    keys: bytes


class EscapeScanner:
    """Separates commands from data.

    :ivar waiting: whether bytes are held that become data if no key follows soon: call :meth:`timeout` then. A complete
        escape waits for its key without limit.
    """

    __slots__ = ("_held", "escape", "waiting")

    def __init__(self, escape: bytes = DEFAULT_ESCAPE) -> None:
        """:param escape: the two bytes that precede a command."""
        self.escape = escape
        self._held = b""
        self.waiting = False

    def feed(self, data: bytes) -> tuple[bytes, EscapeCommand | None, bytes]:
        """Take input up to the first command in it.

        :returns: the data before the command, the command if there is one, and the input after it, which may be for
            another activity.
        """
        plain = bytearray()
        prefix, second = self.escape
        at = 0
        while at < len(data):
            held = self._held
            if not held:
                found = data.find(prefix, at)
                if found < 0:
                    plain += data[at:]
                    break
                plain += data[at:found]
                self._held = data[found : found + 1]
                at = found + 1
                continue
            byte = data[at]
            at += 1
            if len(held) == 1:
                if byte == second:
                    self._held = held + bytes((byte,))
                    continue
                self._held = b""
                plain.append(prefix)  # ^E ^E is one ^E; ^E and anything else are both meant for the guest
                if byte != prefix:
                    plain.append(byte)
                continue
            keys = held[2:] + bytes((byte,))
            if byte == prefix and len(keys) > 1 and not keys.startswith(b"e"):
                self._held = bytes((byte,))  # the rest of a command never came, but a new escape
            elif _goes_on(keys):
                self._held = held + bytes((byte,))
            else:
                self._held = b""
                self.waiting = False
                return bytes(plain), EscapeCommand(keys), data[at:]
        self.waiting = len(self._held) == 1
        return bytes(plain), None, b""

    def timeout(self) -> bytes:
        """Release the data that was held: no key has followed."""
        held = b""
        if self.waiting:
            held, self._held = self._held, b""
            self.waiting = False
        return held


def _goes_on(keys: bytes) -> bool:
    """Whether more keys belong to a command: ``l1``, ``\\015``, ``e`` and a new escape."""
    return keys == b"l" or (keys.startswith(b"e") and len(keys) < 3) or _OCTAL.fullmatch(keys) is not None
