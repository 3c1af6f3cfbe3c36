"""A window of a recording: so many bytes from a place on, as an asciicast, and where the next window begins.

What stood before it comes first, as one event at 0, so that a player that has gone to the middle of a log has a screen.
What waits for the disk: call it on a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vmproxy.log.asciicast import MARKERS, cast
from vmproxy.log.passage import Places
from vmproxy.log.reader import Segment, Segments
from vmproxy.log.tail import from_safe_place
from vmproxy.log.time_index import time_index_of
from vmproxy.log.timeline import Timeline

LEAD = 64 * 1024
PIECES = 20_000
"""How many pieces of output and markers a window has at most: a VM may say one letter at a time."""


@dataclass(frozen=True, slots=True)
class CastForm:
    """How a recording is made; see :func:`~vmproxy.log.asciicast.cast`."""

    title: str
    width: int
    height: int
    encoding: str

    def lines(self, items: Iterator[tuple[float, object]], lead: bool = False) -> Iterator[bytes]:
        """The lines of a recording; ``lead``: its first item is what stood before."""
        return cast(items, self.title, self.width, self.height, encoding=self.encoding, lead=lead)


@dataclass(frozen=True, slots=True)
class Window:
    """A window.

    :ivar end: the offset at which the next one begins; None behind the last one, or if it is not known.
    :ivar more: when what follows came, where its offset is not known.
    """

    data: bytes
    end: int | None
    more: float | None


def window(
    files: Segments, form: CastForm, size: int, since: float | None, until: float | None, start: int | None
) -> Window:
    """A window of a log.

    :param size: bytes of output at most, beside the :data:`LEAD` before.
    :param since: where it begins, seconds since the epoch, and ``until``: where it ends at the latest.
    :param start: the offset at which it begins instead.
    :raises PlaceGone: if that is not there.
    """
    places = Places(files)
    begin = None if start is None else places.find(start) if any(segment.log for segment in files) else None
    if begin is not None:
        trail = time_index_of(begin[0])
        since = trail.times([begin[1]])[0] if trail is not None else None
    timeline = Timeline(files, since, until)
    items: list[tuple[float, object]] = []
    place = begin  # of the first byte
    left, end, more = size, None, None
    for at, item in timeline.items():
        if not isinstance(item, bytes):
            if begin is None and len(items) < PIECES and isinstance(item, dict) and item.get("event") in MARKERS:
                items.append((at, item))
            continue
        assert timeline.where is not None
        segment, byte = timeline.where
        if begin is not None:
            first, wanted = begin
            if segment.number > first.number or (segment.number == first.number and byte < wanted):
                continue
            if segment.number == first.number:
                item = item[max(0, len(item) - (byte - wanted)) :] if byte > wanted else b""
            begin = None
            if not item:
                continue
        if place is None:
            place = segment, byte - len(item)
        if not left or len(items) >= PIECES:
            end, more = places.offset(segment, byte - len(item)), at
            break
        kept = item[:left]
        left -= len(kept)
        items.append((at, kept))
        if len(kept) < len(item):
            end, more = places.offset(segment, byte - len(item) + len(kept)), at
            break
    lead = from_safe_place(_before(files, *place)) if place is not None else b""
    if place is not None and lead:
        items.insert(0, (next((at for at, _ in items), since or place[0].modified), lead))
    return Window(b"".join(form.lines(iter(items), bool(lead))), end, more if end is None else None)


def _before(files: Segments, segment: Segment, byte: int) -> bytes:
    """What stood before a place, as much as a screen can need."""
    data = b""
    for one in reversed(files):
        if one.number < segment.number or one.log is None:
            continue
        if data and one.log.compressed:
            break  # it would have to be unpacked from its beginning
        end = byte if one.number == segment.number else one.log.size
        missing = LEAD - len(data)
        data = b"".join(one.log.blocks(max(0, end - missing), end)) + data
        if len(data) >= LEAD:
            break
    return data
