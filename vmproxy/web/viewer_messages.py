"""The messages to a viewer on the web, as JSON: what ``vmproxy.v1`` says."""

from __future__ import annotations

import json

from vmproxy.access.policy import Right
from vmproxy.console.console import Console
from vmproxy.console.info import NAMED
from vmproxy.console.interfaces import IViewer
from vmproxy.console.notices import Notice
from vmproxy.operators.messages import mode
from vmproxy.operators.operator import Operator
from vmproxy.operators.presentation import console_fields, shown
from vmproxy.operators.services import Services
from vmproxy.web.console_id import console_id
from vmproxy.web.notice_fields import notice_fields
from vmproxy.web.websocket_frames import text_frame
from vmproxy.web.window import WINDOW

_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def message_frame(kind: str, **told: object) -> bytes:
    """A message."""
    return text_frame(_compact({"type": kind, **told}))


BEAT = message_frame("beat")


def notice_frame(notice: Notice, title: str) -> bytes:
    """A notice to the viewers of a console with this title."""
    return message_frame("notice", **notice_fields(notice, title))


def pen_mode(console: Console, viewer: IViewer) -> str:
    """``write``, ``spy`` or ``waits``."""
    access = console.write_access
    return "write" if access.writes(viewer) else "waits" if access.waits(viewer) else "spy"


def writers(console: Console) -> list[str]:
    """Who writes."""
    return [writer.who for writer in console.writers[:NAMED]]


def hello_frame(console: Console, viewer: IViewer, operator: Operator, services: Services, resumed: bool) -> bytes:
    """The first message: where the viewer is, and what it may do there.

    :param resumed: whether output goes on at the cursor that was given.
    """
    about = console_fields(shown(console, operator.view))
    about["viewers"] = len(console.viewers.all)
    access = console.write_access
    named = console.viewers.all[:NAMED]
    if viewer not in named:
        named = (*named[:-1], viewer)
    return message_frame(
        "hello",
        console={"id": console_id(console), "title": console.title, **about},
        name=console.title,
        mode=pen_mode(console, viewer),
        pen=pen_mode(console, viewer),
        writers=writers(console),
        viewers=[
            {"who": other.who, "mode": mode(access.writes(other), access.waits(other)), "you": other is viewer}
            for other in named
        ],
        rights=operator.view.rights(console).words,
        window=WINDOW,
        resumed=resumed,
        message="\n".join(text for text in (services.settings.message, console.options.message) if text),
        input_recorded=console.options.record_input,
        sequences=[sequence.name for sequence in console.options.sequences],
        shared=console.options.shared,
        force_reason=console.options.force_reason,
        may_force=operator.view.may(console, Right.FORCE),
        ssh_port=services.ssh_port() or None,
    )
