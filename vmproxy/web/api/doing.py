"""What is done to a console: input, breaks, notes, and waiting for what it says.

It is done as the commands of SSH do it: as a viewer with write access, by the same decision who may have that.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import visible
from vmproxy.base.timeparse import BadTime, parse_when
from vmproxy.console.console import Console
from vmproxy.log.line_match import Expecter
from vmproxy.log.pattern import PATTERN_LIMIT, BadPattern
from vmproxy.operators import exit_status
from vmproxy.operators.commands.errors import CommandError
from vmproxy.operators.commands.expect import expect_line
from vmproxy.operators.commands.send import deliver, play, sequence_of
from vmproxy.operators.commands.watcher import REASON_LIMIT, Watcher
from vmproxy.operators.log_search import text_of
from vmproxy.operators.operator import Operator
from vmproxy.operators.services import Services
from vmproxy.operators.session import Session
from vmproxy.operators.target import Target
from vmproxy.operators.write_request import Answer as Writing
from vmproxy.operators.write_request import ask
from vmproxy.web.answer import JSON, Answer, Empty
from vmproxy.web.call import Call
from vmproxy.web.parameters import flag, too_many, words
from vmproxy.web.problem import Problem, bad_request
from vmproxy.web.route import BYTES_MEDIA, Body, Needs, Reply, Route

INPUT_LIMIT = 1024 * 1024
TEXT_LIMIT = 1000
SEND_LIMIT = 4096
EXPECT_SECONDS = 300

T = TypeVar("T")


class Hand:
    """What writes at a console knows of a session, for one request: nothing is shown, and nothing is typed beside."""

    has_pty = False

    def __init__(self, call: Call) -> None:
        self.operator: Operator = call.operator
        self.services: Services = call.services

    @property
    def router(self) -> Hand:
        """Itself: there is no other input that could be held."""
        return self

    def hold(self, on: bool) -> None:
        """The body is there already."""

    def send_err(self, data: bytes) -> None:
        """The answer says it."""


async def _done(call: Call, target: Target, work: Awaitable[T]) -> T:
    """The result of work at a console; what goes wrong with it is a problem."""
    console = _console(call)
    before = ask(call.operator.view, console, target.write_request)
    try:
        return await work
    except CommandError as error:
        raise _problem(call, console, before, error) from None


def _problem(call: Call, console: Console, before: Writing, error: CommandError) -> Problem:
    match error.status:
        case exit_status.FORBIDDEN:
            return Problem("forbidden", str(error))
        case exit_status.DOWN:
            return Problem("down", str(error))
        case exit_status.BUSY:
            return Problem("in-use", str(error), writers=[writer.who for writer in console.write_access.writers])
        case exit_status.NO_SUCH_CONSOLE:
            return Problem("not-found", "there is none, or none that you may see")
        case exit_status.SHUTTING_DOWN:
            return Problem("unavailable", str(error), headers=[("Retry-After", "5")])
        case exit_status.USAGE if before is Writing.REASON:
            return Problem("reason-needed", "taking write access from others needs a reason here")
        case exit_status.USAGE:
            return bad_request([("the request", str(error))])
        case exit_status.KICKED:
            return Problem("in-use", str(error), writers=[])
    return Problem("down", str(error))


def _console(call: Call) -> Console:
    assert call.console is not None, "it is in the path"
    return call.console


def _hand(call: Call) -> Session:
    return cast(Session, Hand(call))


def _target(call: Call, wanted: dict[str, Any]) -> Target:
    force, join, reason = bool(wanted.get("force")), bool(wanted.get("join")), wanted.get("reason") or ""
    if force and join:
        raise bad_request([("join", "one takes over, the other does not: not with force")])
    if reason and not force:
        raise bad_request([("reason", "it is for force")])
    return Target(call.named, force=force, join=join, reason=visible(str(reason).strip(), REASON_LIMIT))


async def type_input(call: Call) -> Answer:
    """Type bytes as they are; the answer comes when the VM's host has taken them."""
    console, target = _console(call), _target(call, call.query)

    async def work() -> None:
        with Watcher(_hand(call), console, target) as watcher:
            call.operator.audit("send", console=console.title, uuid=str(console.uuid), bytes=len(call.body))
            await deliver(_hand(call), watcher, call.body)

    await _done(call, target, work())
    return JSON({"delivered": len(call.body)})


async def send_break(call: Call) -> Answer:
    """Send a break, or a named sequence."""
    console, target = _console(call), _target(call, call.json)

    async def work() -> None:
        await play(_hand(call), console, target, sequence_of(console, call.json.get("sequence") or ""))

    await _done(call, target, work())
    return Empty()


async def expect(call: Call) -> Answer:
    """Wait for a line that matches, after typing a text if there is one."""
    console, wanted = _console(call), call.json
    text = str(wanted.get("send") or "").encode("utf-8", "surrogatepass")
    if text and not call.may(Right.WRITE):
        raise Problem("forbidden", "you may not write here")
    if text and call.credential is not None and not call.credential.allows("write"):
        raise Problem("forbidden", "to send something a token needs the scope write")
    target = _target(call, wanted)
    try:
        expecter = Expecter(
            wanted["pattern"], bool(wanted.get("ignore_case")), bool(wanted.get("fixed")), text_of(console)
        )
    except BadPattern as error:
        raise bad_request([("pattern", str(error))]) from None
    since = _since(call, wanted.get("since"))
    seconds = float(wanted.get("timeout", 60))
    try:
        line = await _expected(call, target, expect_line(_hand(call), console, expecter, seconds, since, text, target))
    except TimeoutError:
        return JSON({"matched": False, "line": None})
    return JSON({"matched": True, "line": line})


async def _expected(call: Call, target: Target, work: Awaitable[str]) -> str:
    async def timed() -> str:
        try:
            return await work
        except CommandError as error:
            if error.status == exit_status.TIMEOUT:
                raise TimeoutError from None
            raise

    return await _done(call, target, timed())


def _since(call: Call, text: str | None) -> float | None:
    if text is None or text == "now":
        return None
    try:
        return parse_when(text, call.services.wall())
    except BadTime as error:
        raise bad_request([("since", str(error))]) from None


async def note(call: Call) -> Answer:
    """Write a note into the event trail."""
    console, operator = _console(call), call.operator
    text = visible(call.json["text"].strip(), TEXT_LIMIT)
    if not text:
        raise bad_request([("text", "is empty")])
    if not call.services.may_note(console, operator.name):
        raise too_many("notes on this console within a minute", 60)
    console.log.event("note", who=operator.who, text=text)
    operator.audit("note", console=console.title, uuid=str(console.uuid))
    return Empty()


async def reopen(call: Call) -> Answer:
    """Drop the VM's connection, so that its host connects again."""
    console, operator = _console(call), call.operator
    writers = [writer.who for writer in console.write_access.writers]
    if writers and not call.may(Right.ADMIN):
        raise Problem("in-use", "only the writer or an administrator may close the connection", writers=writers)
    if not console.reopen(operator.who):
        raise Problem("down", f"it is {console.state}")
    operator.audit("reopen", console=console.title, uuid=str(console.uuid))
    return Empty()


async def set_logging(call: Call) -> Answer:
    """Turn the recording of a console on or off."""
    console, operator, on = _console(call), call.operator, bool(call.json["on"])
    if console.logging != on:
        operator.audit("logging-on" if on else "logging-off", console=console.title, uuid=str(console.uuid))
        console.set_logging(on, operator.who)
    return Empty()


_QUERY = (
    flag("force", "take write access from the writer"),
    flag("join", "write beside others, if the console is shared"),
    words("reason", "why force is needed", REASON_LIMIT),
)
_WRITE = {
    "force": {"type": "boolean", "description": "take write access from the writer"},
    "join": {"type": "boolean", "description": "write beside others, if the console is shared"},
    "reason": {"type": "string", "maxLength": REASON_LIMIT, "description": "why force is needed"},
}
_TEXT = {"type": "string", "minLength": 1, "maxLength": TEXT_LIMIT}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_PATH = "/api/v1/consoles/{console}"
_WRITING = ("down", "in-use", "reason-needed", "unavailable")

ROUTES = (
    Route(
        "POST",
        f"{_PATH}/input",
        type_input,
        "Type bytes at a console; answered when the VM's host has taken them",
        needs=Needs.WRITE,
        scope="write",
        query=_QUERY,
        body=Body(BYTES_MEDIA, INPUT_LIMIT),
        answer=Reply(schema=_object(["delivered"], delivered={"type": "integer"})),
        kind="write",
        problems=_WRITING,
    ),
    Route(
        "POST",
        f"{_PATH}/break",
        send_break,
        "Send a break, or a named sequence",
        needs=Needs.WRITE,
        scope="write",
        body=Body(schema=_object([], sequence={"type": "string", "maxLength": 200}, **_WRITE), optional=True),
        answer=Reply("", status=204),
        kind="write",
        problems=_WRITING,
    ),
    Route(
        "POST",
        f"{_PATH}/expect",
        expect,
        "Wait until a console prints a line that matches",
        needs=Needs.SPY,
        body=Body(
            schema=_object(
                ["pattern"],
                pattern={"type": "string", "minLength": 1, "maxLength": PATTERN_LIMIT},
                ignore_case={"type": "boolean"},
                fixed={"type": "boolean"},
                since={"type": "string", "maxLength": 100},
                send={"type": "string", "maxLength": SEND_LIMIT},
                timeout={"type": "number", "minimum": 0, "maximum": EXPECT_SECONDS},
                **_WRITE,
            )
        ),
        answer=Reply(
            schema=_object(["matched", "line"], matched={"type": "boolean"}, line={"type": ["string", "null"]})
        ),
        kind="stream",
        problems=_WRITING,
    ),
    Route(
        "POST",
        f"{_PATH}/notes",
        note,
        "Write a note into the event trail",
        needs=Needs.WRITE,
        scope="write",
        body=Body(schema=_object(["text"], text=_TEXT)),
        answer=Reply("", status=204),
        kind="write",
        problems=("too-many",),
    ),
    Route(
        "POST",
        f"{_PATH}/reopen",
        reopen,
        "Drop the VM's connection, so that its host connects again",
        needs=Needs.WRITE,
        scope="write",
        answer=Reply("", status=204),
        kind="write",
        problems=("down", "in-use"),
    ),
    Route(
        "PUT",
        f"{_PATH}/logging",
        set_logging,
        "Turn the recording of a console on or off",
        needs=Needs.ADMIN,
        scope="write",
        body=Body(schema=_object(["on"], on={"type": "boolean"})),
        answer=Reply("", status=204),
        kind="write",
    ),
)
