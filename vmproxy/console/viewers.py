"""The viewers of a console: who is attached, who may write, and what all of them are told.

A viewer's fault is the viewer's own: one that fails is detached, and the VM, its log and the other viewers go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from twisted.logger import Logger

from vmproxy.access.console_options import ConsoleOptions
from vmproxy.console.info import ViewerInfo
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Demoted, Joined, Kicked, Left, Notice, Promoted, Shares, TookOver
from vmproxy.console.state import ViewersState
from vmproxy.console.totals import REMOTE, Totals
from vmproxy.console.write_access import WriteAccess
from vmproxy.log.store import ConsoleLog

CROWD = 64
"""Viewers of a console; of more than this none is told of each that comes and goes."""

_log = Logger()


class Viewed(Protocol):
    """A console, as far as its viewers look at it."""

    log: ConsoleLog
    options: ConsoleOptions

    @property
    def totals(self) -> Totals:
        """What has happened on all consoles."""

    @property
    def title(self) -> str:
        """Its name, for people to read."""

    @property
    def congested(self) -> bool:
        """Whether writers should hold their input."""


class Viewers:
    """The viewers of one console.

    :ivar all: the viewers, in the order in which they came.
    """

    __slots__ = ("_access", "_console", "all")

    def __init__(self, console: Viewed) -> None:
        self._console = console
        self.all: tuple[IViewer, ...] = ()
        self._access: WriteAccess | None = None  # made when it is asked for: most consoles have no viewers

    @property
    def write_access(self) -> WriteAccess:
        """Which of them may write."""
        if self._access is None:
            self._access = WriteAccess()
        return self._access

    def attach(self, viewer: IViewer, write: bool, force: bool = False, join: bool = False, reason: str = "") -> bool:
        """Attach a viewer.

        :param write: whether it wants write access; if another viewer has it, this one waits for it.
        :param force: whether to take write access from whoever has it, for this ``reason``.
        :param join: whether to write beside the writer, where the console is shared.
        :returns: whether it may write.
        """
        self._are((*self.all, viewer))
        if write and force:
            self.force_write(viewer, reason)
        elif write and join and self._console.options.shared:
            self.write_access.join(viewer)
        elif write:
            self.write_access.take(viewer)
        writing = self.write_access.writes(viewer)
        if writing:
            self._hold((viewer,), self._console.congested)
        self._console.log.event("attach", who=viewer.who, mode="write" if writing else "spy")
        if len(self.all) <= CROWD:
            self.tell(Joined(viewer.who, writing), but=viewer)
        return writing

    def detach(self, viewer: IViewer) -> None:
        """Detach a viewer; nothing happens if it is not attached."""
        if viewer not in self.all:
            return
        self._are(tuple(v for v in self.all if v is not viewer))
        self._console.log.event("detach", who=viewer.who)
        if len(self.all) < CROWD:
            self.tell(Left(viewer.who))
        self._without_write(viewer)

    def _are(self, viewers: tuple[IViewer, ...]) -> None:
        self.all = viewers
        if viewers:
            self._console.totals.watched[self] = None
        else:
            self._console.totals.watched.pop(self, None)

    def kick(self, viewer: IViewer, by: str, reason: str) -> None:
        """Detach a viewer in the name of an operator."""
        self._console.log.event("kick", who=viewer.who, by=by, reason=reason)
        self.tell_one(viewer, Kicked(by, reason))
        self.detach(viewer)

    # Write access.

    def take_write(self, viewer: IViewer) -> bool:
        """Give a viewer write access if nobody has it; else let the viewer wait.

        :returns: whether it may write.
        """
        had = self.write_access.writes(viewer)
        if not self.write_access.take(viewer):
            return False
        if not had:
            self._console.log.event("take", who=viewer.who)
        self._hold((viewer,), self._console.congested)
        return self.write_access.writes(viewer)

    def force_write(self, viewer: IViewer, reason: str = "") -> tuple[IViewer, ...]:
        """Give a viewer write access, and take it from whoever has it.

        :param reason: why, for the trail and for the former writers; may be empty.
        :returns: the former writers, who are read-only now and wait.
        """
        losers = self.write_access.force(viewer)
        if losers:
            why = {"reason": reason} if reason else {}
            was = ", ".join(loser.who for loser in losers)
            self._console.log.event("force", who=viewer.who, was=was, **why)
            self._console.totals.forced[viewer.front] += 1
            self._hold(losers, False)
            for loser in losers:
                self.tell_one(loser, Demoted(viewer.who, reason))
            for other in self.all:
                if other is not viewer and other not in losers:
                    self.tell_one(other, TookOver(viewer.who, was))
        self._hold((viewer,), self._console.congested)
        return losers

    def join_write(self, viewer: IViewer) -> bool:
        """Let a viewer write beside the writer.

        :returns: whether it may write: not where only one may.
        """
        if not self._console.options.shared:
            return False
        if not self.write_access.writes(viewer):
            self.write_access.join(viewer)
            self._console.log.event("join", who=viewer.who)
            self.tell(Shares(viewer.who), but=viewer)
            self._hold((viewer,), self._console.congested)
        return self.write_access.writes(viewer)

    def drop_write(self, viewer: IViewer) -> None:
        """Take write access, or the place in the queue for it, from a viewer; the next one in the queue gets it."""
        if self.write_access.writes(viewer):
            self._console.log.event("drop", who=viewer.who)
        self._without_write(viewer)

    def one_writer(self) -> None:
        """Leave write access to one viewer alone: the console is not shared any more."""
        for viewer in self.write_access.writers[1:]:
            self.drop_write(viewer)
            self.tell_one(viewer, Demoted("the configuration"))

    def _without_write(self, viewer: IViewer) -> None:
        had = self.write_access.writes(viewer)
        promoted = self.write_access.drop(viewer)
        if had:
            self._hold((viewer,), False)
        if promoted is not None:
            self._console.log.event("promote", who=promoted.who)
            self._hold((promoted,), self._console.congested)
            self.tell_one(promoted, Promoted())

    def info(self, most: int | None = None) -> tuple[ViewerInfo, ...]:
        """Viewers as values: all, or so many at most."""
        access = self.write_access
        writing, waiting = frozenset(access.writers), frozenset(access.waiting)  # there may be thousands who wait
        some = self.all[:most]
        return tuple(ViewerInfo(v.who, v in writing, v in waiting, v.since, v.last_input, v.skipped) for v in some)

    def modes(self) -> Counter[tuple[str, ...]]:
        """How many there are, by front and mode; remote ends are none."""
        writing, waiting = frozenset(self.write_access.writers), frozenset(self.write_access.waiting)
        return Counter(
            (viewer.front, "write" if viewer in writing else "waits" if viewer in waiting else "spy")
            for viewer in self.all
            if viewer.front != REMOTE
        )

    # To all of them.

    def output(self, data: bytes) -> None:
        """Hand output of the VM to every viewer."""
        for viewer in self.all:
            try:
                viewer.output(data)
            except Exception:
                self._failed(viewer)

    def tell(self, notice: Notice, but: IViewer | None = None) -> None:
        """Tell all viewers something, but one."""
        for viewer in self.all:
            if viewer is not but:
                self.tell_one(viewer, notice)

    def tell_one(self, viewer: IViewer, notice: Notice) -> None:
        try:
            viewer.notice(notice)
        except Exception:
            self._failed(viewer)

    def hold_writers(self, on: bool) -> None:
        """Stop the input of the writers, or let it go on."""
        self._hold(self.write_access.writers, on)

    def rules_changed(self, viewer: IViewer) -> None:
        """Let a viewer check whether it may still be here, and write: the rules have changed."""
        if viewer in self.all:
            try:
                viewer.rules_changed()
            except Exception:
                self._failed(viewer)

    def _hold(self, viewers: Iterable[IViewer], on: bool) -> None:
        for viewer in viewers:
            try:
                viewer.hold_input(on)
            except Exception:
                self._failed(viewer)

    def _failed(self, viewer: IViewer) -> None:
        text = "viewer {who} of {console} failed and is removed"
        _log.failure(text, who=viewer.who, console=self._console.title)
        self.detach(viewer)

    # Handing over.

    def snapshot(self, name: Callable[[IViewer], str]) -> ViewersState:
        access = self.write_access
        return ViewersState(*(tuple(map(name, some)) for some in (self.all, access.writers, access.waiting)))

    def restore(self, state: ViewersState, viewers: Mapping[str, IViewer]) -> None:
        """Take over viewers; those that are not there any more are left out, and nothing is told."""
        self._are(tuple(viewers[name] for name in state.all if name in viewers))
        writers = (viewers[name] for name in state.writers if name in viewers)
        waiting = (viewers[name] for name in state.waiting if name in viewers)
        self.write_access.restore(writers, waiting)
