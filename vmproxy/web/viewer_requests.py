"""What the client of an attachment may want: write access, breaks, sequences, messages, notes, pauses.

Each is answered by ``done`` or ``reject`` with its ``id``. What may be done is decided here, by the operator's rights
as they are at that moment; :mod:`vmproxy.operators.write_request` decides who may write.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from vmproxy.access.policy import Right
from vmproxy.base.ratelimit import TokenBucket
from vmproxy.base.sanitize import visible
from vmproxy.base.tasks import spawn
from vmproxy.console.console import Console
from vmproxy.console.notices import Message
from vmproxy.errors import VMProxyError
from vmproxy.operators.messages import state_line
from vmproxy.operators.sequences import Player
from vmproxy.operators.services import NOTES_PER_MINUTE
from vmproxy.operators.write_request import Answer, WriteRequest, ask
from vmproxy.web.attachment import Attachment
from vmproxy.web.problem import Problem

TEXT_LIMIT = 1000
ID_LIMIT = 64
DEPTH_LIMIT = 500  # characters of what is no text: JSON that is nested deeply is not read
MESSAGES, MESSAGES_PER_SECOND = 10.0, 1.0

Fields = dict[str, Any]


class BadMessage(VMProxyError):
    """A text message that is none of the protocol."""


class Requests:
    """The requests of one attachment."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._bucket = TokenBucket(MESSAGES, attachment.services.clock.seconds())
        self._resuming = False

    def perform(self, text: str) -> None:
        """Do what a text message wants, and answer it.

        :raises BadMessage: if it is none of the protocol, or :class:`BadAcknowledgement`.
        """
        message = _parsed(text)
        kind = message["type"]
        if kind == "ack":
            self._attachment.flow.acknowledge(_whole(message.get("bytes")))
            return
        request = _REQUESTS.get(kind)
        if request is None:
            raise BadMessage(f"no such message: {visible(kind, 40)}")
        number = message.get("id")
        if isinstance(number, bool) or not isinstance(number, str | int | float | None) or len(str(number)) > ID_LIMIT:
            raise BadMessage(f"an id is a number or at most {ID_LIMIT} characters")
        answer = _Answer(self._attachment, number)
        try:
            request(self, message, answer)
        except Problem as problem:
            answer.reject(problem)

    # Write access.

    def _ask(self, join: bool = False, force: bool = False, reason: str = "") -> None:
        """Decide a write request.

        :raises Problem: if it is refused.
        """
        attachment = self._attachment
        request = WriteRequest(False, join, force, reason)
        if (
            refused := refusal(
                ask(attachment.operator.view, attachment.console, request, attachment), attachment.console
            )
        ) is not None:
            raise refused

    def take(self, message: Fields, answer: _Answer) -> None:
        """Take write access if nobody has it, or wait for it."""
        attachment = self._attachment
        self._ask()
        had = attachment.writing
        if attachment.console.viewers.take_write(attachment) and not had:
            attachment.audit("take")
        self._changed(answer)

    def join(self, message: Fields, answer: _Answer) -> None:
        """Write beside the writer."""
        attachment = self._attachment
        self._ask(join=True)
        had = attachment.writing
        if not attachment.console.viewers.join_write(attachment):
            if attachment.console.writers:
                raise Problem("in-use", "this console has one writer at a time", writers=_writers(attachment.console))
            attachment.console.viewers.take_write(attachment)
        if not had:
            attachment.audit("join")
        self._changed(answer)

    def force(self, message: Fields, answer: _Answer) -> None:
        """Take write access from the writer, with a reason where one is required."""
        attachment, reason = self._attachment, _text(message, "reason", "")
        self._ask(force=True, reason=reason)
        losers = attachment.console.viewers.force_write(attachment, reason)
        attachment.forced([loser.who for loser in losers], reason)
        self._changed(answer)

    def drop(self, message: Fields, answer: _Answer) -> None:
        """Give write access up."""
        attachment = self._attachment
        if attachment.writing:
            attachment.audit("drop")
        attachment.console.viewers.drop_write(attachment)
        self._changed(answer)

    def _changed(self, answer: _Answer) -> None:
        self._attachment.see_pen()
        answer.done()

    # What is sent.

    def _check_writes(self) -> None:
        attachment = self._attachment
        console = attachment.console
        if not attachment.writing:
            if not attachment.may(Right.WRITE):
                raise Problem("forbidden", "you may not write to this console")
            raise Problem("in-use", "you do not write here", writers=_writers(console))
        if console.state == "down":
            raise Problem("down", state_line(console, attachment.services.wall()))

    def send_break(self, message: Fields, answer: _Answer) -> None:
        """Send a break to the guest."""
        attachment = self._attachment
        self._check_writes()
        attachment.typed_now()
        if not attachment.console.send_break(attachment.who):
            raise Problem("down", "the console takes nothing")
        attachment.audit("break")
        answer.done()

    def sequence(self, message: Fields, answer: _Answer) -> None:
        """Send a named sequence, as long as there is write access."""
        attachment, name = self._attachment, _text(message, "name")
        console = attachment.console
        self._check_writes()
        if attachment.playing is not None:
            raise Problem("in-use", "a sequence is being sent", writers=_writers(console))
        sequence = next((one for one in console.options.sequences if one.name == name), None)
        if sequence is None:
            raise Problem("not-found", "there is no such sequence here")
        attachment.typed_now()
        attachment.audit("sequence", name=visible(name))

        def deliver(part: bytes | None) -> bool:
            if attachment.gone or not attachment.writing:
                return False
            return console.send_break(attachment.who) if part is None else console.send(part, attachment.who)

        def done(complete: bool) -> None:
            attachment.play(None)
            if complete:
                answer.done()
            else:
                answer.reject(Problem("down", "the sequence was broken off"))

        player = Player(attachment.services.clock, sequence, deliver, done)
        attachment.play(player)
        player.go_on()

    def message(self, message: Fields, answer: _Answer) -> None:
        """Tell the others who are here something."""
        attachment, text = self._attachment, _text(message, "text")
        if not self._bucket.take(attachment.services.clock.seconds(), MESSAGES_PER_SECOND, MESSAGES):
            raise Problem("too-many", f"{MESSAGES_PER_SECOND:.0f} message a second is the most")
        attachment.console.viewers.tell(Message(attachment.who, text), but=attachment)
        answer.done(told=len(attachment.console.viewers.all) - 1)

    def note(self, message: Fields, answer: _Answer) -> None:
        """Write a note into the event trail."""
        attachment, text = self._attachment, _text(message, "text")
        if not attachment.services.may_note(attachment.console, attachment.operator.name):
            raise Problem("too-many", f"{NOTES_PER_MINUTE} notes a minute are the most")
        attachment.console.log.event("note", who=attachment.who, text=text)
        attachment.audit("note")
        answer.done()

    # Pauses.

    def pause(self, message: Fields, answer: _Answer) -> None:
        """Want no output."""
        self._check_resumed()
        self._attachment.flow.pause()
        answer.done()

    def resume(self, message: Fields, answer: _Answer) -> None:
        """Want output again."""
        attachment = self._attachment
        cursor = _text(message, "from") if message.get("from") is not None else ""
        self._check_resumed()
        self._resuming = True
        spawn(attachment.flow.resume(cursor, attachment.lines, lambda on: answer.done(resumed=on))).addErrback(
            attachment.flow.broken
        ).addBoth(self._resumed)

    def _resumed(self, _: object) -> None:
        self._resuming = False

    def _check_resumed(self) -> None:
        if self._resuming:  # each has the log opened, and would go on behind a pause
            raise Problem("too-many", "output is about to go on")


class _Answer:
    """The answer to one request."""

    __slots__ = ("_attachment", "_id")

    def __init__(self, attachment: Attachment, number: str | float | None) -> None:
        self._attachment = attachment
        self._id = number

    def done(self, **fields: object) -> None:
        """It is done."""
        if self._id is not None:
            self._attachment.tell("done", id=self._id, **fields)

    def reject(self, problem: Problem) -> None:
        """It is not done."""
        self._attachment.tell("reject", id=self._id, problem=problem.json())


_REQUESTS: dict[str, Callable[[Requests, Fields, _Answer], None]] = {
    "take": Requests.take,
    "drop": Requests.drop,
    "join": Requests.join,
    "force": Requests.force,
    "break": Requests.send_break,
    "sequence": Requests.sequence,
    "message": Requests.message,
    "note": Requests.note,
    "pause": Requests.pause,
    "resume": Requests.resume,
}


def refusal(answer: Answer, console: Console) -> Problem | None:
    """The problem of a write request; None if it is granted, or waits."""
    match answer:
        case Answer.NO_RIGHT | Answer.READ_ONLY:
            return Problem("forbidden", "you may not write to this console")
        case Answer.NO_FORCE:
            return Problem("forbidden", "you may not take over from others")
        case Answer.REASON:
            return Problem("reason-needed", "taking over needs a reason here")
        case Answer.NO_JOIN:
            return Problem("in-use", "this console has one writer at a time", writers=_writers(console))
    return None


def _writers(console: Console) -> list[str]:
    return [writer.who for writer in console.writers]


def _parsed(text: str) -> Fields:
    if text.count("[") + text.count("{") > DEPTH_LIMIT:
        raise BadMessage("no JSON object of this protocol")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("no JSON object") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise BadMessage("no JSON object with a type")
    return message


def _whole(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadMessage("bytes is a whole number")
    return number


def _text(message: Fields, name: str, default: str | None = None) -> str:
    text = message.get(name, default)
    if not isinstance(text, str) or len(text) > TEXT_LIMIT or (default is None and not text.strip()):
        raise Problem(
            "bad-request",
            f"{name}: 1 to {TEXT_LIMIT} characters",
            errors=[{"parameter": name, "reason": f"1 to {TEXT_LIMIT} characters"}],
        )
    return text
