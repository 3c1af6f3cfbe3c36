"""Write requests: the one decision who may write, join the writer, or take over, and whether a reason is required.

Callers word the answer; none of them decides. Rights are those of the moment: whoever asks a question first, asks here
again when it is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.console.interfaces import IViewer
from vmproxy.operators.visible import VisibleConsoles


class Answer(Enum):
    """The answer to a write request. The last three grant it."""

    READ_ONLY = auto()  # the session is to be read-only
    NO_RIGHT = auto()  # the operator may not write
    NO_FORCE = auto()  # the operator may not take over
    NO_JOIN = auto()  # somebody writes, and the console has one writer at a time
    REASON = auto()  # somebody writes, and taking over requires a reason
    OCCUPIED = auto()  # somebody writes; wait for it
    WRITE = auto()
    JOIN = auto()
    FORCE = auto()


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """A wish to write.

    :ivar read_only: no wish at all: the session is to be read-only.
    :ivar join: write beside the writer, where the console is shared.
    :ivar force: take over from the writer, for this ``reason``.
    """

    read_only: bool = False
    join: bool = False
    force: bool = False
    reason: str = ""


def decide(request: WriteRequest, rights: Right, shared: bool, reason_required: bool, others_write: bool) -> Answer:
    """Decide a write request.

    :param rights: the operator's rights on the console.
    :param shared: whether the console may have several writers; ``reason_required``: to take over.
    :param others_write: whether another viewer writes now.
    """
    if request.read_only:
        return Answer.READ_ONLY
    if Right.WRITE not in rights:
        return Answer.NO_RIGHT
    if request.join and shared:
        return Answer.JOIN if others_write else Answer.WRITE
    if request.force and Right.FORCE not in rights:
        return Answer.NO_FORCE
    if not others_write:
        return Answer.WRITE
    if request.force:
        return Answer.REASON if reason_required and not request.reason.strip() else Answer.FORCE
    return Answer.NO_JOIN if request.join else Answer.OCCUPIED


def ask(
    view: VisibleConsoles,
    console: Console,
    request: WriteRequest,
    viewer: IViewer | None = None,
    contested: bool = False,
) -> Answer:
    """Decide a write request as things are now.

    :param viewer: the viewer for which it is, if there is one already.
    :param contested: whether to decide as if another viewer wrote.
    """
    others = contested or any(writer is not viewer for writer in console.write_access.writers)
    return decide(request, view.rights(console), console.options.shared, console.options.force_reason, others)
