"""Alerts: among the fakes, hooks that write down what they are told; for the daemon, a receiver of webhooks."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.support.consoles import World
from vmproxy.alerts.alert import Alert
from vmproxy.alerts.book import AlertBook
from vmproxy.alerts.center import AlertCenter
from vmproxy.alerts.watch import Watch
from vmproxy.log.audit import Audit


class FakeHooks:
    """Hooks that do nothing."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Alert, tuple[str, ...], tuple[str, ...]]] = []

    def tell(self, watch: Watch, alert: Alert, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        self.told.append((watch.name, alert, tuple(before), tuple(after)))


def alert_center(w: World, hooks: FakeHooks | None = None) -> AlertCenter:
    """The alerts of a world; ``alerts.jsonl`` is in its state folder."""
    book = AlertBook(w.folder / "state" / "alerts-kept.json", w.clock, w.runner.submit)
    record = Audit(w.folder / "state" / "alerts.jsonl", w.runner.submit, w.clock).record
    return AlertCenter(w.clock, w.directory, book, record, hooks or FakeHooks())


class Receiver:
    """An HTTP server that takes requests, on a port of its own.

    :ivar statuses: what it answers, one after the other, then 204.
    """

    def __init__(self, certificate: Path | None = None, away: bool = False) -> None:
        """:param away: whether it refuses connections until it is told to :meth:`come`."""
        self.got: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.server_bind()
        self.port = self._server.server_port
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        if not away:
            self.come()

    def come(self) -> None:
        """Take connections."""
        self._server.server_activate()
        self._thread.start()

    def close(self) -> None:
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def watch_file(folder: Path, text: str) -> str:
    """Write the watches; :returns: the setting that names them."""
    path = folder / "watch.toml"
    path.write_text(text)
    path.chmod(0o600)
    return f'[alerts]\nwatch-file = "{path}"\n'
