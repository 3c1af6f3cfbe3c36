"""Who is on which console, as an operator may know it.

An operator on a console that the asking operator may not see is shown as on none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from vmproxy.console.console import Console
from vmproxy.console.info import ViewerInfo
from vmproxy.console.interfaces import IViewer
from vmproxy.operators.client import Client
from vmproxy.operators.commands.context import chosen, in_turns


@dataclass(frozen=True, slots=True)
class Present:
    """An operator, and a console that they are on.

    :ivar front: how they came; empty for one who is on none.
    :ivar session: the id of theirs on the console; empty for one who is on none.
    """

    who: str
    console: Console | None = None
    viewer: ViewerInfo | None = None
    front: str = ""
    session: str = ""


def session_id(viewer: IViewer) -> str:
    """What tells a viewer's session on a console from all others, as long as it lasts."""
    return blake2b(f"{id(viewer)} {viewer.since} {viewer.who}".encode(), digest_size=9).hexdigest()


async def present(client: Client, globs: Sequence[str]) -> list[Present]:
    """Who is on consoles; without globs, also who is on none.

    :raises TargetError: if a glob finds nothing.
    """
    found: list[Present] = []
    seen: set[str] = set()
    async for console in in_turns(client, await chosen(client, globs)):
        if not console.watchers:
            continue
        async for viewer, info in in_turns(client, zip(console.watchers, console.viewers.info(), strict=True)):
            seen.add(info.who)
            found.append(Present(info.who, console, info, viewer.front, session_id(viewer)))
    if not globs and not client.operator.account.behalf:  # guests know of nobody elsewhere
        found += map(Present, sorted({operator.who for operator, _ in client.services.presence} - seen))
    return found
