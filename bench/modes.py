"""The modes by name."""

from __future__ import annotations

from collections.abc import Callable

from bench import (
    modes_beside,
    modes_browsers,
    modes_machines,
    modes_operators,
    modes_scrape,
    modes_sockets,
    modes_tls,
    modes_web,
)
from bench.modes_machines import Samples, Start

MODES: dict[str, Callable[[Start], Samples]] = {
    "storm": modes_machines.storms,
    "storm-beside": modes_beside.beside,
    "idle": modes_machines.idle,
    "lines": modes_machines.lines,
    "watch": modes_machines.watch,
    "many": modes_machines.many,
    "bulk": modes_machines.bulk,
    "migrations": modes_machines.migrations,
    "migrations-flood": modes_machines.migrations_flood,
    "migrations-crowd": modes_machines.migrations_crowd,
    "migrations-files": modes_machines.migrations_files,
    "typing": modes_operators.typing,
    "fanout": modes_operators.fanout,
    "tail": modes_operators.tail,
    "replay": modes_operators.replay,
    "start": modes_operators.starting,
    "tls": modes_tls.tls,
    "web": modes_web.web,
    "web-fanout": modes_browsers.fanout,
    "web-idle": modes_sockets.idle,
    "web-attach": modes_sockets.attach,
    "web-storm": modes_sockets.storms,
    "web-scrape": modes_scrape.scrape,
}

_WEB = tuple(name for name in MODES if name.startswith("web"))
_ALONE = ("storm-beside", "typing", "fanout", "tail", "replay", "start", "tls", *_WEB)
_ON_ONE_PLACE = ("storm", "idle", *(name for name in _ALONE if name != "typing"))
ON_EVERY_PLACE = {name for name in MODES if name not in _ON_ONE_PLACE}
"""Where it counts what the logs are on; the others run with the first folder only."""

NEED_THE_WIRE_ONLY = {name for name in MODES if name not in _ALONE}
"""Where a peer takes part, of which nothing is known but where machines connect."""
