"""``GET events``: what happened to consoles, and what happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from hashlib import blake2b

from vmproxy.access.policy import Right
from vmproxy.base.timeparse import BadTime, parse_when
from vmproxy.operators.commands.context import sleep
from vmproxy.operators.event_reading import (
    EVENTS,
    EVENTS_LIMIT,
    EVENTS_SINCE,
    FOLLOW_SECONDS,
    ConsoleEvent,
    EventStream,
    newest,
)
from vmproxy.web.answer import Answer, Stream
from vmproxy.web.api.log import BEAT_SECONDS, EVENTS_MEDIA, FOLLOW, event
from vmproxy.web.api.reading import Body, asked, consoles_of, require_login
from vmproxy.web.api.search import NDJSON
from vmproxy.web.call import Call
from vmproxy.web.parameters import ON, SINCE, seconds, too_many, whole
from vmproxy.web.problem import bad_request
from vmproxy.web.route import Reply, Route

AT_ONCE = 32
SAME_MOMENT = 64
"""How many events of one millisecond are told apart where a stream is resumed."""


class _Ids:
    """What each event is called in a stream: its time, and which ones of that time there were up to it."""

    def __init__(self) -> None:
        self._at = ""
        self._seen: list[str] = []

    def of(self, one: ConsoleEvent) -> str:
        at = str(one.fields["at"])
        if at != self._at:
            self._at, self._seen = at, []
        if len(self._seen) < SAME_MOMENT:
            self._seen.append(_digest(one))
        return f"{at}~{'~'.join(self._seen)}"


def _digest(one: ConsoleEvent) -> str:
    return blake2b(one.json.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


async def events(call: Call) -> Answer:
    """The newest events, the oldest of them first, and then new ones."""
    query = call.query
    since, as_events = seconds(call, "since"), EVENTS_MEDIA in call.headers.get("accept", "")
    at, _, rest = call.headers.get("last-event-id", "").partition("~") if as_events else ("", "", "")
    known = frozenset(rest.split("~"))
    if at:
        try:
            since = parse_when(at[:40], call.services.wall())
        except BadTime:
            raise bad_request([("Last-Event-ID", "is none of this stream")]) from None
    limit = query["limit"] or (EVENTS if since is None else EVENTS_SINCE)
    if at:
        limit = max(limit, EVENTS_SINCE)  # what was asked for was how many come at first
    # In front of the answer, so that what is wrong can be told.
    consoles = await consoles_of(call, Right.SPY)
    stream = EventStream(call, lambda: asked(consoles_of(call, Right.SPY))) if query["follow"] else None
    if stream is not None and not call.services.sessions.take(stream, call.operator.name):
        raise too_many(call.services.sessions.problem(call.operator.name))
    ids = _Ids()

    def sent_before(one: ConsoleEvent) -> bool:
        return bool(at) and str(one.fields["at"]) == at and _digest(one) in known

    def shown(found: Iterable[ConsoleEvent]) -> bytes:
        may = call.operator.view.may
        made: list[bytes] = []
        for one in found:
            if sent_before(one):
                continue
            if may(one.console, Right.SPY):  # the rules may have changed
                line = one.json.encode()
                made.append(
                    b"id: %s\nevent: event\ndata: %s\n" % (ids.of(one).encode("ascii", "replace"), line)
                    if as_events
                    else line
                )
        return b"".join(made)

    async def past() -> AsyncGenerator[bytes, None]:
        # With one more than are wanted, beside those that were sent, it is known whether some are left out.
        most = limit + 1 + len(known) if at else limit
        found = await (newest(call, consoles, most, since) if stream is None else stream.past(most, since))
        if at:
            found = [one for one in found if not sent_before(one)]
            if len(found) > limit:
                yield event("skipped", {"events": None})  # how many, nobody has counted
                del found[:-limit]
        for start in range(0, len(found), AT_ONCE):
            await call.turn()
            yield shown(found[start : start + AT_ONCE])

    async def pieces() -> AsyncGenerator[bytes, None]:
        if stream is None:
            async for piece in past():
                yield piece
            return
        with stream:
            async for piece in past():
                yield piece
            quiet = 0.0
            while True:
                await sleep(call, FOLLOW_SECONDS)
                require_login(call)
                fresh, skipped = await stream.fresh()
                for start in range(0, len(fresh), AT_ONCE):
                    await call.turn()
                    yield shown(fresh[start : start + AT_ONCE])
                if skipped:
                    yield event("skipped", {"events": skipped}) if as_events else b'{"skipped":%d}\n' % skipped
                quiet = 0.0 if fresh else quiet + FOLLOW_SECONDS
                if as_events and quiet >= BEAT_SECONDS:
                    quiet = 0.0
                    yield b":\n\n"

    media = EVENTS_MEDIA if as_events else NDJSON
    done = (lambda: None) if stream is None else (lambda: call.services.sessions.give_back(stream))
    return Stream(media, Body(call, None, pieces(), done))


ROUTES = (
    Route(
        "GET",
        "/api/v1/events",
        events,
        "What happened to consoles, and what happens",
        query=(
            ON,
            SINCE,
            whole("limit", 1, EVENTS_LIMIT, f"how many past ones: {EVENTS}, or {EVENTS_SINCE} with since, if not said"),
            FOLLOW,
        ),
        answer=Reply(NDJSON, help=f"an object a line, as `events --json`; or {EVENTS_MEDIA}"),
        kind="stream",
        problems=("forbidden", "ambiguous", "too-many"),
    ),
)
