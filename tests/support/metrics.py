"""The concentrator as a whole without being run, and its metrics as a scrape would find them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from twisted.internet.defer import succeed
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock

from tests.support.fakes import FakeLink
from vmproxy.app.service import VMProxyService
from vmproxy.base.tasks import spawn
from vmproxy.base.turns import Turns
from vmproxy.config.settings import load
from vmproxy.console.console import Console
from vmproxy.console.registry import ConsoleIdentity
from vmproxy.web.metrics import Exposition

PROMTOOL = shutil.which("promtool") or "promtool"
WEB = '[web]\nlisten = ["tcp:0:interface=127.0.0.1"]'
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Whole:
    """All parts, made and loaded, on a reactor that does not run."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        file = folder / "vmproxy.toml"
        state = json.dumps(str(folder / "state"))
        file.write_text(f"state-dir = {state}\n{settings or WEB}\n")
        self.reactor = EPollReactor()
        self.service = VMProxyService(load(file, {}), self.reactor)
        config = self.service._config
        self.service._reconfigure(config, self.service._check(config))
        self.service.log.load()
        self.exposition = Exposition(self.service.web._families, Turns(Clock()), lambda call: succeed(call()))

    def close(self) -> None:
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)
        self.reactor._poller.close()

    def claim(self, number: int, name: str = "") -> Console:
        """A VM connects."""
        uuid = UUID(int=(0x50 << 120) + number)
        identity = ConsoleIdentity(uuid, None, "vmproxy", name or f"web{number}")
        return self.service.consoles.registry.claim(identity, FakeLink(f"10.1.{number >> 8 & 255}.{number & 255}"))

    def scrape(self, accept: str = "text/plain") -> str:
        """The text that somebody gets who accepts a format."""
        found: list[tuple[bytes, str]] = []
        spawn(self.exposition.text(accept, True)).addCallback(found.append)
        ((text, media),) = found
        assert media.startswith(accept.partition(";")[0])
        return text.decode("utf-8")


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    made = Whole(tmp_path)
    yield made
    made.close()


def families(text: str) -> dict[str, Metric]:
    """The families of a text, by name."""
    parse = parse_openmetrics if text.endswith("# EOF\n") else parse_text
    return {family.name: family for family in parse(text)}


def series(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The value of each series."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    """The value of one series."""
    return series(text)[name, frozenset(labels.items())]
