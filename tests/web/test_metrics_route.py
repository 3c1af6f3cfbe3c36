"""Who gets the metrics: where they are told, or with a token for them; and what the front tells of itself."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import succeed

from tests.support.metrics import OPENMETRICS, families, series, value
from tests.support.web import HOST, WebPipe, WebWorld
from vmproxy.access.selector import Selector
from vmproxy.base.metrics import Families
from vmproxy.web.console_metrics import console_families
from vmproxy.web.http_metrics import CODES, HTTPMetrics
from vmproxy.web.metrics import Exposition
from vmproxy.web.server import WebChannel


class Scraped(WebWorld):
    """A front with its metrics."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.http = HTTPMetrics(self.front)

        def read(consoles: bool) -> Families:
            yield from self.http.families()
            if consoles:
                yield from console_families(self.directory, (Selector("*"),))

        self.web.scrape_with(Exposition(read, self.services.turns, lambda call: succeed(call())).text)

    def scrape(self) -> str:
        return self.get("/metrics", token=self.token("alice", "metrics")).body.decode()


@pytest.fixture
def w(tmp_path: Path) -> Iterator[Scraped]:
    world = Scraped(tmp_path, metrics_from=(ip_network("10.7.0.0/16"),))
    yield world
    world.stop()


class TestWho:
    def test_a_stranger_is_told_to_show_a_token(self, w: Scraped) -> None:
        got = w.get("/metrics")
        assert (got.status, got.problem, got.headers["www-authenticate"]) == (401, "unauthenticated", "Bearer")

    @pytest.mark.parametrize(("scope", "status"), [("metrics", 200), ("read", 403), ("write", 403)])
    def test_a_token_is_for_the_metrics_or_for_something_else(self, w: Scraped, scope: str, status: int) -> None:
        assert w.get("/metrics", token=w.token("alice", scope)).status == status

    def test_a_token_for_the_metrics_is_for_nothing_else(self, w: Scraped) -> None:
        assert w.get("/api/v1/whoami", token=w.token("alice", "metrics")).status == 403

    def test_networks_that_are_told_need_none(self, w: Scraped) -> None:
        client = w.client("10.7.1.2")
        got = client.ask("GET", "/metrics")
        assert (got.status, got.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert client.ask("GET", "/api/v1/whoami").status == 401

    def test_where_nothing_else_is_served_all_who_come_get_them_and_nothing_else(self, w: Scraped) -> None:
        for path, status in (("/metrics", 200), ("/healthz", 200), ("/api/v1/whoami", 404), ("/", 404)):
            channel = WebChannel(w.front, for_metrics=True)
            pipe = WebPipe(channel, "192.0.2.1")
            channel.makeConnection(pipe)
            channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            w.settle()
            assert pipe.sent.startswith(f"HTTP/1.1 {status} ".encode()), path

    def test_the_format_is_that_which_the_client_wants(self, w: Scraped) -> None:
        got = w.get("/metrics", token=w.token("alice", "metrics"), headers=[("Accept", OPENMETRICS)])
        assert got.headers["content-type"].startswith("application/openmetrics-text")
        assert got.body.endswith(b"# EOF\n")


class TestSingleConsoles:
    def test_they_are_told_to_nobody_who_may_not_see_all(self, w: Scraped) -> None:
        w.rules(("alice", "admin", "*"), ("bob", "admin", "db*"))
        w.vm("web01")
        for operator, on, told in (("alice", ["*"], True), ("alice", ["db*"], False), ("bob", ["*"], False)):
            got = w.get("/metrics", token=w.token(operator, "metrics", on))
            assert got.status == 200
            assert (b"web01" in got.body) is told, (operator, on)


class TestTheFront:
    def test_requests_are_counted_by_route_and_class_and_nothing_of_what_was_asked_is_told(self, w: Scraped) -> None:
        w.vm("secret-name")
        for path in ("/api/v1/whoami", "/api/v1/nothing-secret", "/healthz"):
            w.get(path, token=w.token())
        w.get("/api/v1/whoami")
        text = w.scrape()
        requests = "vmproxy_http_requests_total"
        assert value(text, requests, route="GET /api/v1/whoami", code="2xx") == 1
        assert value(text, requests, route="GET /api/v1/whoami", code="4xx") in (0, 1)  # refused before it had a route
        assert value(text, requests, route="GET /healthz", code="2xx") == 1
        assert value(text, requests, route="", code="4xx") >= 1
        assert "nothing-secret" not in text
        durations = families(text)["vmproxy_http_request_duration_seconds"]
        (read,) = (s for s in durations.samples if s.name.endswith("_count") and s.labels["kind"] == "read")
        assert read.value == 2

    def test_all_its_series_are_there_from_the_start(self, w: Scraped) -> None:
        w.scrape()
        before = series(w.scrape()).keys()
        sockets = w.web.sockets.all
        sockets.closed["attach", 4403] += 1
        sockets.closed["live", 3333] += 2  # a client's own
        after = w.scrape()
        mine = {key for key in series(after) if not key[0].startswith("vmproxy_console_")}
        assert mine == {key for key in before if not key[0].startswith("vmproxy_console_")}
        assert value(after, "vmproxy_websockets_closed_total", kind="attach", code="4403") == 1
        assert value(after, "vmproxy_websockets_closed_total", kind="live", code="other") == 2

    def test_close_codes_are_those_that_are_used(self) -> None:
        used = {1000, 1001, 1007, 1008, 1009, 4401, 4403, 4404, 4407, 4408, 4409, 4429}
        assert used <= set(CODES)
