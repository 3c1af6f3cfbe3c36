"""The router: from a method and a path to a route, by the parts of the path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from vmproxy.web.problem import Problem
from vmproxy.web.route import Route


@dataclass(slots=True)
class _Node:
    """The routes that go on behind a part of a path."""

    literal: dict[str, _Node] = field(default_factory=dict)
    named: _Node | None = None
    rest: dict[str, Route] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """What is found for a path.

    :ivar routes: by method.
    :ivar parts: the parts that stand for names in braces, in their order.
    """

    routes: dict[str, Route]
    parts: tuple[str, ...]

    def of(self, method: str) -> tuple[Route, dict[str, str]]:
        """The route of a method, and the values of the names.

        :raises Problem: if there is none.
        """
        route = self.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = sorted({*self.routes, *(["HEAD"] if "GET" in self.routes else [])})
            raise Problem("method-not-allowed", headers=[("Allow", ", ".join(allowed))])
        names = [part[1:-1].rstrip("*") for part in route.path.split("/") if part.startswith("{")]
        return route, dict(zip(names, self.parts, strict=True))


class Router:
    """All routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for part in route.path.split("/")[1:]:
                if part.endswith("*}"):
                    node.rest[route.method] = route
                    break
                if part.startswith("{"):
                    node.named = node.named or _Node()
                    node = node.named
                else:
                    node = node.literal.setdefault(part, _Node())
            else:
                assert route.method not in node.routes, f"two routes are {route.label}"
                node.routes[route.method] = route

    def find(self, path: str) -> Match | None:
        """What is found for a path as it is sent, with its escapes; None if there is nothing.

        :raises Problem: if it is no text.
        """
        try:
            parts = [unquote_to_bytes(part).decode("utf-8") for part in path.split("/")[1:]]
        except UnicodeDecodeError:
            raise Problem("bad-request", "the path is not UTF-8") from None
        return self._find(self._root, parts, ()) if path.startswith("/") else None

    def _find(self, node: _Node, parts: list[str], found: tuple[str, ...]) -> Match | None:
        if not parts:
            return Match(node.routes, found) if node.routes else None
        first, *more = parts
        if (following := node.literal.get(first)) is not None:
            match = self._find(following, more, found)
            if match is not None:
                return match
        if node.named is not None and first:
            match = self._find(node.named, more, (*found, first))
            if match is not None:
                return match
        return Match(node.rest, (*found, "/".join(parts))) if node.rest else None
