"""Places: good, or gone, whatever becomes of the log; never another place than they were made for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World
from vmproxy.log.passage import Passage
from vmproxy.log.place import Place, PlaceGone, check, is_known
from vmproxy.log.reader import open_segments
from vmproxy.log.rotation import RotationPolicy
from vmproxy.log.store import ConsoleLog

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 60)),
        st.tuples(st.sampled_from(["mark", "stop", "kill", "forget", "wipe", "leave", "note"]), st.just(0)),
        st.tuples(st.just("lose"), st.integers(1, 30)),
    ),
    max_size=25,
)


class Life:
    """A log over restarts, and what has to be found in it.

    :ivar kept: what it has to have.
    :ivar marks: places, each with how much was in front of it; None where that was lost.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = bytearray()
        self.marks: dict[Place, int | None] = {}
        self._letters = 0
        self.log: ConsoleLog
        self.begin()

    def begin(self) -> None:
        """A process begins."""
        self.world = World(self.folder)
        self.world.writer.rotation.use(RotationPolicy(size=50, keep=100))
        self.reopen()

    def reopen(self) -> None:
        self.log = self.world.log("vm.log")
        self.log.mend()

    def mark(self) -> None:
        assert self.log.offset is not None
        place = self.log.place(self.log.offset)
        trails = self.log.path.parent.glob("vm.log.events*")
        if any(place.run.encode() in trail.read_bytes() for trail in trails):  # else nothing will know of it later
            self.marks[place] = len(self.kept)

    def text(self, size: int) -> bytes:
        self._letters += 1
        return b"%d|" % self._letters * size

    def take(self, step: str, size: int) -> None:
        match step:
            case "say":
                self.log.append(data := self.text(size))
                self.kept += data
                self.world.store.flush()
                self.world.writer.tick()
            case "mark":
                self.mark()
            case "note":
                self.log.event("note")
                self.world.store.flush()
            case "lose":  # a process that is killed has said it to viewers, and not to the disk
                self.log.append(self.text(size))
                assert self.log.offset is not None
                place = self.log.place(self.log.offset)
                self.begin()
                self.marks[place] = None
            case "leave":
                self.world.store.forget(self.log, remove=False)
                self.reopen()
            case "forget":
                self.world.store.forget(self.log, remove=True)
                self.gone()
                self.reopen()
            case "wipe":
                self.world.store.stop()
                for file in self.log.path.parent.glob("vm.log*"):
                    file.unlink()
                self.gone()
                self.begin()
            case "stop" | "kill":
                if step == "stop":
                    self.world.store.stop()
                self.begin()

    def gone(self) -> None:
        self.marks = dict.fromkeys(self.marks)
        self.kept.clear()

    def verify(self) -> None:
        self.world.store.flush()
        for place, size in self.marks.items():
            with open_segments(self.log.path) as files:
                if size is None:
                    assert not is_known(self.log.file, place)
                    with pytest.raises(PlaceGone):
                        check(self.log.file, place, files)
                else:
                    check(self.log.file, place, files)
                    pieces = Passage(files, start=place.offset).pieces()
                    assert b"".join(piece.data for piece in pieces) == self.kept[size:]


@given(STEPS)
def test_a_place_is_good_or_gone(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder))
        for step, size in steps:
            life.take(step, size)
            life.verify()
        life.world.store.stop()


def test_what_an_older_version_wrote_leads_nowhere_else(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.take("say", 5)
    life.mark()
    life.world.store.stop()
    for trail in life.log.path.parent.glob("*.events*"):  # as if it had written them
        trail.write_bytes(trail.read_bytes().replace(b'"run"', b'"ran"'))
    life.begin()
    life.take("say", 5)
    life.marks = dict.fromkeys(life.marks)
    life.verify()
    life.marks.clear()
    life.mark()
    life.take("stop", 0)
    life.take("say", 5)
    life.verify()
