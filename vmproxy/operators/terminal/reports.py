"""What a terminal sends by itself, among what a person types: answers to a guest's questions, the mouse, the focus.

Such reports are for the guest, if anybody's. They are not typing: whoever only looks on is not to be told that they may
not write, a question on the screen is not answered with them, and nobody seems to be busy because of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmproxy.wire.ecma48 import unfinished

# The position of the cursor looks like the key F3 with a modifier where the line is the first; that is a key.
_REPORT = re.compile(
    rb"\x1b(?:\[(?:\??(?!1;\d{1,2}R)\d+;\d+(?:;\d+)?R|[?>=][0-9;]*c|\??[0-9;]*n|\??[0-9;]+\$y|[0-9;]+[tx]|\?[0-9]+u|[IO]"
    rb"|<[0-9;]+[Mm]|M[\x20-\xff]{3})|\][^\x00-\x1f]*(?:\x07|\x1b\\)|(?:P[0-9>!]|_G)[^\x00-\x1f]*\x1b\\)"
)
# ESC P and ESC _ alone are keys with Alt. No report holds a control: an Enter or an escape ends what seemed to be one.
_BEGUN = re.compile(rb"\x1b(?:\[[?>=<0-9]|(?:\][0-9lL]|P[0-9>!]|_G)[^\x00-\x1f]*\x1b?\Z)")


class Reports:
    """Tells reports and typing apart, however the input is cut.

    Nothing is held back. So a report that is cut within its first three bytes counts as typed.

    :ivar begun: the beginning of a report whose end has not come yet.
    """

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = b""

    def forget(self) -> None:
        """What has begun is looked through by somebody else."""
        self.begun = b""

    def split(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Take input.

        :returns: its parts in order: whether it is a report, and the bytes.
        """
        known = len(self.begun)
        whole = self.begun + data
        self.begun = b""
        end = unfinished(whole)
        if end < len(whole) and _BEGUN.match(whole, end):
            self.begun = whole[end:]
        else:
            end = len(whole)
        at = known
        for match in _REPORT.finditer(whole, 0, end):
            if match.start() > at:
                yield False, whole[at : match.start()]
            if match.end() > at:
                yield True, whole[max(at, match.start()) : match.end()]
                at = match.end()
        if at < end:
            yield False, whole[at:end]
        if max(at, end) < len(whole):
            yield True, whole[max(at, end) :]
