"""The OpenAPI document: it is valid, and what is served is in it and the reverse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.web import WebWorld
from vmproxy.web.json_schema import unknown_words
from vmproxy.web.openapi import PATH, document, problems_of
from vmproxy.web.problem import KINDS
from vmproxy.web.route import JSON_MEDIA
from vmproxy.web.table import ROUTES


@pytest.fixture
def served(web: WebWorld) -> dict[str, Any]:
    """The document, as it is served before a login."""
    got = web.get(PATH)
    assert got.status == 200
    found: dict[str, Any] = got.json
    return found


def test_the_document_is_valid(served: dict[str, Any]) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(served)
    assert served["openapi"] == "3.1.0"


def test_what_is_served_is_in_the_document_and_the_reverse(served: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, operations in served["paths"].items() for method in operations}
    assert told == {(route.method, route.path) for route in ROUTES if not route.hidden}
    assert all(route.path.startswith("/api/v1/") is not route.hidden for route in ROUTES if route.kind == "asset")
    operations = [operation for path in served["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert served == document(ROUTES)


def test_what_a_body_has_to_be_is_checked_before_the_handler() -> None:
    for route in ROUTES:
        if route.body is not None and route.body.media == JSON_MEDIA:
            assert unknown_words(route.body.schema) == set(), route.label
            assert route.body.schema["additionalProperties"] is False, route.label


def test_every_route_says_what_may_go_wrong() -> None:
    for route in ROUTES:
        assert problems_of(route) <= KINDS.keys()
        assert route.kind in ("read", "stream", "write", "asset")
        assert route.scope in ("", "read", "write", "metrics")
        if route.method in ("POST", "PUT", "DELETE") and route.path not in ("/api/v1/login",):
            assert route.scope != "read" or route.path.endswith("/expect"), route.label


def test_problems_of_the_document_are_those_that_there_are(served: dict[str, Any]) -> None:
    told = served["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert told == [f"/problems/{name}" for name in KINDS]
