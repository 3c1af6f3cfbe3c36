"""Problems: the answers that say what is wrong, after RFC 9457."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmproxy.errors import VMProxyError

MEDIA = "application/problem+json"


class Kind(NamedTuple):
    """One kind of problem."""

    status: int
    title: str


KINDS = {
    "bad-request": Kind(400, "The request cannot be understood"),
    "unauthenticated": Kind(401, "Nobody has logged in"),
    "forbidden": Kind(403, "You may not do that"),
    "cross-site": Kind(403, "The request comes from another site"),
    "not-found": Kind(404, "There is no such thing"),
    "method-not-allowed": Kind(405, "That cannot be done with it"),
    "ambiguous": Kind(409, "That could be several consoles"),
    "down": Kind(409, "The console is down"),
    "in-use": Kind(409, "Somebody else has write access"),
    "reason-needed": Kind(409, "A reason is needed here"),
    "gone": Kind(410, "That place of the log is not there any more"),
    "too-large": Kind(413, "The body is too large"),
    "bad-range": Kind(416, "That part cannot be had"),
    "misdirected": Kind(421, "This is another host"),
    "upgrade-needed": Kind(426, "This is a websocket"),
    "too-many": Kind(429, "Too many"),
    "failed": Kind(500, "Something is wrong here; the log of vmproxy says what"),
    "unavailable": Kind(503, "Not now"),
}
"""All kinds, by name. ``/problems/NAME`` is their type."""


class Problem(VMProxyError):
    """An answer that says what is wrong; may be raised by any handler.

    :ivar name: a key of :data:`KINDS`.
    :ivar headers: of the answer.
    """

    def __init__(self, name: str, detail: str = "", headers: Sequence[tuple[str, str]] = (), **fields: object) -> None:
        """
        :param detail: for people; nothing secret.
        :param fields: more fields of the answer.
        """
        super().__init__(detail or KINDS[name].title)
        self.name = name
        self.detail = detail
        self.headers = tuple(headers)
        self.fields = fields

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.name].status

    def json(self) -> dict[str, object]:
        """The answer's body."""
        kind = KINDS[self.name]
        shown = {"detail": self.detail} if self.detail else {}
        return {
            "type": f"/problems/{self.name}",
            "title": kind.title,
            "status": kind.status,
            **shown,
            **self.fields,
        }


def bad_request(errors: Sequence[tuple[str, str]]) -> Problem:
    """The problem of a request with wrong parameters.

    :param errors: the parameters, each with what is wrong with it.
    """
    listed = [{"parameter": name, "reason": reason} for name, reason in errors]
    return Problem("bad-request", "; ".join(f"{name}: {reason}" for name, reason in errors), errors=listed)
