"""Ways into the web front of a real daemon: certificates of clients."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon
from tests.support.tls import write_pem, write_signed


def whoami(daemon: Daemon, context: ssl.SSLContext) -> tuple[int, Any]:
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.web_port, timeout=30, context=context)
    try:
        connection.request("GET", "/api/v1/whoami")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_certificate_of_a_client_says_who_it_is(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    server = write_pem(tmp_path / "web.pem", "127.0.0.1")
    authority = write_signed(tmp_path / "ca.pem", "an authority")
    operators = tmp_path / "operators.toml"
    operators.touch(0o600)
    operators.write_text('[operators.carol]\ncertificate-names = ["CN=Carol Example"]\n[operators.dan]\n')
    daemon = make_daemon(
        f'[ssh]\noperators-file = "{operators}"\n'
        f'[web]\ntls-listen = ["tcp:0:interface=127.0.0.1"]\ncertificates = ["{server}"]\nclient-ca = "{authority}"\n'
    )

    def client(name: str = "", signer: Path = authority) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(server))
        if name:
            own = write_signed(tmp_path / f"{name}.pem", name, signer)
            context.load_cert_chain(own, own.with_suffix(".key"))
        return context

    status, who = whoami(daemon, client("Carol Example"))
    assert (status, who["operator"]) == (200, "carol")
    assert whoami(daemon, client("dan"))[0] == 401, "a likeness is not enough"
    assert whoami(daemon, client())[0] == 401
    stranger = write_signed(tmp_path / "other.pem", "another authority")
    try:
        status, _ = whoami(daemon, client("Carol Example", stranger))
    except (ssl.SSLError, ConnectionError):
        status = 0
    assert status == 0, "a certificate of another authority is refused before anything is read"
    (event,) = daemon.audited("login", count=1)
    assert (event["who"], event["method"], event["certificate"]) == ("carol", "certificate", "CN=Carol Example")
    operators.write_text("[operators.carol]\n")
    assert whoami(daemon, client("Carol Example"))[0] == 401
