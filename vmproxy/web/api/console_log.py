"""``/console_log/{uuid}``: the end of a log for OpenStack installations, to the networks that may ask so."""

from __future__ import annotations

from pathlib import Path

from vmproxy.base.addresses import numeric_address
from vmproxy.console.naming import read_uuid
from vmproxy.errors import VMProxyError
from vmproxy.log.reader import Segments, open_segments
from vmproxy.log.tail import last_bytes
from vmproxy.operators.log_reading import opened_on_writer
from vmproxy.operators.readings import TooManyReadings
from vmproxy.web.answer import Answer, Bytes
from vmproxy.web.call import Call
from vmproxy.web.dispatch import NOT_FOUND
from vmproxy.web.parameters import too_many
from vmproxy.web.problem import Problem
from vmproxy.web.route import BYTES_MEDIA, Needs, Reply, Route

SIZE = 102_400
READER = "/console_log"
"""Whose readings these are: the name of no operator."""


async def console_log(call: Call) -> Answer:
    """The last bytes of what a VM has said at its first port."""
    peer = numeric_address(call.peer)
    allowed = peer is not None and any(peer in network for network in call.web.settings.console_log_from)
    uuid = read_uuid(call.path["uuid"]) if allowed else None
    if uuid is None:
        raise Problem("not-found", NOT_FOUND)
    services = call.services
    try:
        console = services.registry.names.find(str(uuid))
    except VMProxyError:
        raise Problem("not-found", NOT_FOUND) from None
    try:
        services.readings.begun(READER)
    except TooManyReadings as error:
        raise too_many(str(error)) from None
    try:
        files = await opened_on_writer(console.log, _opened)
        try:
            data = await services.readings.threads.run(services.in_thread, lambda: last_bytes(files, SIZE))
        finally:
            files.close()
    finally:
        services.readings.ended(READER)
    services.audit.record("log-read", console=console.title, uuid=str(console.uuid), **{"from": call.peer}, front="api")
    return Bytes(data, BYTES_MEDIA)


def _opened(path: Path) -> Segments:
    return open_segments(path, enough=SIZE, trails=False)


ROUTES = (
    Route(
        "GET",
        "/console_log/{uuid}",
        console_log,
        "The last 102,400 bytes of a VM's first port, for the networks in console-log-from",
        needs=Needs.ANYONE,
        answer=Reply(BYTES_MEDIA),
        problems=("not-found", "too-many"),
    ),
)
