"""Notices as JSON: for websockets and for streams of events."""

from __future__ import annotations

import re
from dataclasses import fields

from vmproxy.console.notices import Notice
from vmproxy.log.events import timestamp
from vmproxy.operators.messages import notice_text
from vmproxy.operators.presentation import Fields

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def notice_fields(notice: Notice, title: str) -> Fields:
    """A notice: its name in kebab-case, its fields, and the words that SSH has for it in ``text``.

    What an operator wrote is in ``message``.

    :param title: of the console.
    """
    told = {field.name: getattr(notice, field.name) for field in fields(notice)}
    if "at" in told:
        told["at"] = timestamp(told["at"])
    if "text" in told:
        told["message"] = told.pop("text")
    event = _CAPITAL.sub("-", type(notice).__name__).lower()
    return {"event": event, **told, "essential": notice.essential, "text": notice_text(notice, title)}
