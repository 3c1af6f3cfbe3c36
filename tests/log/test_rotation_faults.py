"""Rotation and compression when calls of the system fail, and when the process ends between two of them."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consoles import World
from tests.support.fakes import EPOCH
from tests.support.log_files import in_order, whole
from tests.support.properties import examples
from vmproxy.log.files import trail_of
from vmproxy.log.rotation import RotationPolicy


class Crash(BaseException):
    """The power fails."""


class Faults:
    """Stands before what rotation asks of the system: each call may fail, or be the last."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.plan: list[str] = []
        self.dead = False
        for name in ("rename", "unlink", "open", "fsync"):
            patch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            if self.dead:
                raise Crash
            step = self.plan.pop(0) if self.plan else "ok"
            if step == "fail":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if step == "crash":
                self.dead = True
                raise Crash
            return call(*args, **kwargs)

        return wrapped


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in whole(trail_of(path)).splitlines()]


STEPS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=12),
        st.sampled_from(["tick", "event", "age", "reopen"]),
        st.lists(st.sampled_from(["ok", "ok", "ok", "fail"]), max_size=12).map(tuple),
    ),
    max_size=40,
)


class TestWhateverFails:
    @examples(60)
    @given(STEPS, st.booleans(), st.booleans())
    def test_no_byte_is_lost_or_doubled(self, steps: list[Any], packed: bool, plain: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder))
            world.writer.rotation.use(RotationPolicy(size=8, age=50, compress=packed))
            world.writer.plain = plain
            log = world.log()
            fed = b""
            notes = 0
            with pytest.MonkeyPatch.context() as patch:
                faults = Faults(patch)
                for step in steps:
                    match step:
                        case bytes():
                            fed += step
                            log.append(step)
                        case "event":
                            notes += 1
                            log.event("note", n=notes)
                        case "tick":
                            world.store.flush()
                            world.tick(1)
                        case "age":
                            world.tick(70)
                        case "reopen":
                            world.store.reopen()
                        case tuple():
                            faults.plan = list(step)
                faults.plan = []
                world.tick(1)
                assert whole(log.path) == fed  # also before what failed is tried again
                for _ in range(5):
                    world.store.flush()
                    world.tick(61)
            world.stop()
            assert whole(log.path) == fed
            assert not list(log.path.parent.glob("*.tmp"))
            assert [event["n"] for event in events(log.path) if event["event"] == "note"] == list(range(1, notes + 1))

    @examples(60)
    @given(
        st.lists(
            st.tuples(st.lists(st.binary(min_size=1, max_size=12), max_size=6), st.integers(0, 40), st.booleans()),
            min_size=1,
            max_size=6,
        )
    )
    def test_nor_if_the_process_ends_at_any_step(self, lives: list[tuple[list[bytes], int, bool]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fed = b""
            at = EPOCH
            for pieces, fate, packed in lives:
                world = World(Path(folder))
                world.clock.rightNow = at
                world.writer.rotation.use(RotationPolicy(size=8, compress=packed))
                log = world.log()
                with pytest.MonkeyPatch.context() as patch:
                    faults = Faults(patch)
                    faults.plan = ["ok"] * fate + ["crash"]
                    with suppress(Crash):
                        for piece in pieces:
                            log.append(piece)
                            world.store.flush()
                            fed += piece
                            world.tick(1)
                at = world.clock.seconds() + 1
                world.writer._pool.close()
                assert whole(log.path) == fed
            world = World(Path(folder))
            world.clock.rightNow = at
            world.writer.rotation.use(RotationPolicy(size=8, compress=True))
            for _ in range(30):
                world.tick(1)
            log = world.log()
            assert whole(log.path) == fed
            in_order(log.path)
            assert not list(log.path.parent.glob("*.tmp"))
            world.stop()
