"""Tags of VMs, by vCenter's REST API (``/rest``, of vSphere 6.5 to 8); pyVmomi does not have them. For a thread.

Bound: :data:`TAGS_LIMIT` tags, :data:`ANSWER_LIMIT` of an answer, and :data:`ANSWER_SECONDS` for each.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPException, HTTPSConnection
from typing import Any

from vmproxy.access.labels import Pair

TAGS_LIMIT = 2000
TOGETHER = 100  # tags in a question
ANSWER_LIMIT = 64 * 1024 * 1024
ANSWER_SECONDS = 60.0
_TAGGING = "/rest/com/vmware/cis/tagging"


class _API:
    """A session of the REST API."""

    def __init__(self, connection: HTTPSConnection) -> None:
        self._connection = connection
        self._session: dict[str, str] = {}

    def log_in(self, user: str, password: str) -> None:
        basic = b64encode(f"{user}:{password}".encode()).decode("ascii")
        token = self.ask("POST", "/rest/com/vmware/cis/session", headers={"Authorization": f"Basic {basic}"})
        self._session = {"vmware-api-session-id": str(token)}

    def log_out(self) -> None:
        with suppress(OSError, HTTPException, ValueError):
            self.ask("DELETE", "/rest/com/vmware/cis/session")

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The value of an answer.

        :raises OSError, HTTPException, ValueError: if there is none.
        """
        data = None if body is None else json.dumps(body)
        types = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request(method, path, data, {**self._session, **types, **(headers or {})})
        answer = self._connection.getresponse()
        text = answer.read(ANSWER_LIMIT + 1)
        if answer.status != 200 or len(text) > ANSWER_LIMIT:
            raise HTTPException(f"the REST API answers {answer.status} to {path.partition('?')[0]}")
        return json.loads(text)["value"] if text else None


def tags_of(address: tuple[str, int], context: ssl.SSLContext, user: str, password: str) -> dict[str, list[Pair]]:
    """The tags of all VMs, as category and tag, by the VM's id.

    :raises OSError, HTTPException, ValueError: if they cannot be read.
    """
    with closing(HTTPSConnection(*address, context=context, timeout=ANSWER_SECONDS)) as connection:
        api = _API(connection)
        api.log_in(user, password)
        try:
            found: dict[str, list[Pair]] = {}
            for pair, vms in _tagged(api):
                for vm in vms:
                    found.setdefault(vm, []).append(pair)
            return found
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the REST API answers something else: {error!r}") from None
        finally:
            api.log_out()


def _tagged(api: _API) -> Iterator[tuple[Pair, list[str]]]:
    categories: dict[str, str] = {}
    names: dict[str, Pair] = {}
    for tag in (api.ask("GET", f"{_TAGGING}/tag") or [])[:TAGS_LIMIT]:
        about = api.ask("GET", f"{_TAGGING}/tag/id:{tag}")
        category = about["category_id"]
        if category not in categories:
            categories[category] = str(api.ask("GET", f"{_TAGGING}/category/id:{category}")["name"])
        names[tag] = categories[category], str(about["name"])
    tags = list(names)
    for start in range(0, len(tags), TOGETHER):
        body = {"tag_ids": tags[start : start + TOGETHER]}
        path = f"{_TAGGING}/tag-association?~action=list-attached-objects-on-tags"
        for one in api.ask("POST", path, body) or []:
            things = one["object_ids"] or []
            yield names[one["tag_id"]], [str(thing["id"]) for thing in things if thing["type"] == "VirtualMachine"]
