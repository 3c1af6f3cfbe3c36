"""The OpenAPI document (3.1), made from the table of routes: paths, parameters, bodies, answers and problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import vmproxy
from vmproxy.web.answer import JSON, Answer
from vmproxy.web.call import Call
from vmproxy.web.problem import KINDS, MEDIA
from vmproxy.web.route import Needs, Reply, Route

PATH = "/api/v1/openapi.json"
_ALWAYS = ("bad-request", "misdirected", "too-many", "failed")
_NAMES = {
    "console": "A console: its id, or whatever names it at a command, percent-encoded",
    "name": "A console: its id, or whatever names it at a command, percent-encoded",
}


def problems_of(route: Route) -> set[str]:
    """The kinds of problems that a route may answer."""
    found = {*_ALWAYS, *route.problems, "too-large"}
    if route.needs is not Needs.ANYONE:
        found |= {"unauthenticated", "forbidden"}
    if "{" in route.path:
        found.add("not-found")
    if "{console}" in route.path:
        found.add("ambiguous")
    if any(one.name == "on" for one in route.query):
        found |= {"not-found", "ambiguous"}
    if route.method in ("POST", "PUT", "DELETE") or route.upgrade:
        found.add("cross-site")
    return found


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document of some routes; hidden ones are left out."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if not route.hidden:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vmproxy",
            "version": vmproxy.__version__,
            "description": "The HTTP API of a concentrator of virtual serial ports. Fields may be added to answers.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}, {"session-in-clear": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token: vmp_..."},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-vmproxy"},
                "session-in-clear": {"type": "apiKey", "in": "cookie", "name": "vmproxy"},
            },
            "schemas": {"Problem": _PROBLEM},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    named = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _NAMES.get(name, name),
            "schema": {"type": "string", "minLength": 1},
        }
        for name in named
    ]
    parameters += [
        {"name": one.name, "in": "query", "required": one.required, "description": one.help, "schema": dict(one.schema)}
        for one in route.query
    ]
    words = [part.strip("{}").replace("_", "-") for part in route.path.split("/") if part not in ("", "api", "v1")]
    operation: dict[str, Any] = {
        "operationId": "-".join((route.method.lower(), *words)),
        "summary": route.summary,
        "description": _needs(route),
        "responses": {str(route.answer.status): _reply(route.answer), **_problems(route)},
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        binary = route.body.media != "application/json"
        schema = {} if binary else dict(route.body.schema)
        operation["requestBody"] = {
            "required": not (route.body.optional or binary),
            "description": route.body.help or f"At most {route.body.limit} bytes",
            "content": {route.body.media: {"schema": schema}},
        }
    if route.needs is Needs.ANYONE:
        operation["security"] = []
    elif not route.scope:
        operation["security"] = [{"session": []}, {"session-in-clear": []}]
    return operation


def _needs(route: Route) -> str:
    needs = {
        Needs.ANYONE: "Needs no login.",
        Needs.LOGIN: "Needs a login.",
        Needs.ADMIN_ALL: "For administrators from whom no console is hidden.",
    }.get(route.needs, f"Needs the right to {route.needs.value} on the console.")
    if route.needs is Needs.ANYONE:
        return needs
    return f"{needs} " + (f"Of a token: the scope {route.scope}." if route.scope else "No token is enough.")


def _reply(reply: Reply) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.help or "Done"}
    if reply.media:
        media = reply.media.partition(";")[0]
        described["content"] = {media: {"schema": dict(reply.schema) if media == "application/json" else {}}}
    return described


def _problems(route: Route) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for name in sorted(problems_of(route)):
        by_status.setdefault(KINDS[name].status, []).append(name)
    return {
        str(status): {
            "description": "; ".join(f"{name}: {KINDS[name].title}" for name in names),
            "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, names in sorted(by_status.items())
        if status != route.answer.status
    }


_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string", "enum": [f"/problems/{name}" for name in KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"parameter": {"type": "string"}, "reason": {"type": "string"}},
                "required": ["parameter", "reason"],
            },
        },
    },
    "required": ["type", "title", "status"],
}


def document_route(others: tuple[Route, ...]) -> Route:
    """The route that serves the document of the others, and of itself."""
    made: list[dict[str, Any]] = []

    async def show(call: Call) -> Answer:
        if not made:
            made.append(document((*others, route)))
        return JSON(made[0])

    route = Route(
        "GET",
        PATH,
        show,
        "This document",
        needs=Needs.ANYONE,
        answer=Reply(schema={"type": "object", "required": ["openapi", "info", "paths"]}),
    )
    return route
