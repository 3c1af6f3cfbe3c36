"""Places in the output of a console that stay what they are: an offset, and the run of the log in which it was said.

A run is what one process wrote to one log, from the offset on at which it found the log to end. Its name and that
offset stand in each ``format`` line of the trail. So an offset of another run is good up to where the next one began;
behind that, the bytes that it counted were lost, or the log was removed and has begun anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vmproxy.errors import VMProxyError
from vmproxy.log.file_state import LogFile
from vmproxy.log.reader import Segments
from vmproxy.log.time_index import Format, time_index_of


class PlaceGone(VMProxyError):
    """A place that is not in the log any more, or not yet."""


class Place(NamedTuple):
    """A place in the output of a console.

    :ivar run: as the trail calls it.
    :ivar offset: of the byte behind it.
    """

    run: str
    offset: int


def place_in(file: LogFile, offset: int) -> Place:
    """The place of an offset, as the log stands now."""
    # Where nothing is written, the trail never hears of this run.
    return Place(file.run_before if file.run_before and offset <= file.base else file.run, offset)


def is_known(file: LogFile, place: Place) -> bool:
    """Whether a place is good, as far as that is known without looking at the trails."""
    return place.run == file.run or (place.run == file.run_before and place.offset <= file.base)


def check(file: LogFile, place: Place, files: Segments) -> None:
    """See whether a place is good. It waits for the disk.

    :param files: of the log, with their trails.
    :raises PlaceGone: if it is not.
    """
    if not is_known(file, place):
        trails = (time_index_of(segment) for segment in reversed(files))
        end = _end_of(place.run, (line for trail in trails if trail is not None for line in reversed(trail.formats)))
        if place.offset > (file.base if end is None else end):
            raise PlaceGone("that part of the log is not there any more")


def _end_of(run: str, newest_first: Iterable[Format]) -> int | None:
    """Where the run behind a run began; None where there is none; less than 0 where the run itself is not there."""
    behind: int | None = None
    for line in newest_first:
        if line.run == run:
            return behind
        behind = line.begun
    return -1
