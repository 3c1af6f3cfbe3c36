"""Routes: a method, a path, what it needs, what it takes and answers; values that say all of it in one place.

From the same table come the routing, the answer 405, the OpenAPI document, the reference and the metrics' labels.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vmproxy.access.policy import Right
from vmproxy.web.answer import Answer
from vmproxy.web.call import Call

BODY_LIMIT = 64 * 1024
JSON_MEDIA = "application/json"
BYTES_MEDIA = "application/octet-stream"

Schema = Mapping[str, Any]
Handler = Callable[[Call], Awaitable[Answer]]


class Needs(enum.Enum):
    """What a request needs: nothing, a login, a right on the console in the path, or on everything."""

    ANYONE = "anyone"
    LOGIN = "login"
    SEE = "see"
    SPY = "spy"
    WRITE = "write"
    ADMIN = "admin"
    ADMIN_ALL = "admin of all"

    @property
    def right(self) -> Right:
        """The right on the console in the path."""
        return _RIGHTS.get(self, Right.NONE)


_RIGHTS = {Needs.SEE: Right.SEE, Needs.SPY: Right.SPY, Needs.WRITE: Right.WRITE, Needs.ADMIN: Right.ADMIN}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query.

    :ivar parse: understands its text; raises ValueError with the reason if that cannot be done.
    :ivar schema: of the text, for the OpenAPI document.
    :ivar default: where it is not given.
    """

    name: str
    parse: Callable[[str], Any]
    schema: Schema
    help: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """A body of a request.

    :ivar limit: bytes.
    :ivar schema: of JSON: what does not fit is refused before the handler.
    :ivar optional: whether no body is as good as an empty object.
    """

    media: str = JSON_MEDIA
    limit: int = BODY_LIMIT
    schema: Schema = field(default_factory=dict)
    help: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered where nothing is wrong.

    :ivar media: its type; empty for no body.
    :ivar schema: of JSON.
    """

    media: str = JSON_MEDIA
    schema: Schema = field(default_factory=dict)
    status: int = 200
    help: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    :ivar path: ``/api/v1/consoles/{console}/log``: a part in braces matches one part of a path, one that ends in
        ``*}`` the whole rest. ``{console}`` is found among what the operator may see.
    :ivar summary: a line for the document.
    :ivar needs: what the request needs.
    :ivar scope: the scope of a token that is enough: ``read``, ``write`` or ``metrics``; empty: no token is.
    :ivar body: None where there is none.
    :ivar kind: ``read``, ``stream``, ``write`` or ``asset``.
    :ivar upgrade: whether it becomes a websocket.
    :ivar problems: kinds of problems beyond those that follow from the rest.
    :ivar hidden: whether it is left out of the document: pages and assets.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    needs: Needs = field(default=Needs.LOGIN, kw_only=True)
    scope: str = field(default="read", kw_only=True)
    query: tuple[Parameter, ...] = field(default=(), kw_only=True)
    body: Body | None = field(default=None, kw_only=True)
    answer: Reply = field(default=Reply(), kw_only=True)
    kind: str = field(default="read", kw_only=True)
    upgrade: bool = field(default=False, kw_only=True)
    problems: tuple[str, ...] = field(default=(), kw_only=True)
    hidden: bool = field(default=False, kw_only=True)

    @property
    def label(self) -> str:
        """How it is called in metrics: ``GET /api/v1/consoles/{console}``."""
        return f"{self.method} {self.path}"
