"""Ways into the web front of a real daemon: certificates of clients, and a provider of single sign-on."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import Message as HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.ports import free_port
from tests.support.tls import write_pem, write_signed


def whoami(daemon: Daemon, context: ssl.SSLContext) -> tuple[int, Any]:
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.web_tls_port, timeout=30, context=context)
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


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[str]:
    """A provider of OpenID Connect, as a process; its address."""
    port = free_port()
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "oidc_provider_mock",
        "--port",
        str(port),
        "--require-nonce",
        "true",
    ]
    with (tmp_path / "provider.out").open("wb") as output:
        process = subprocess.Popen([*command, "--user", "alice"], stdout=output, stderr=subprocess.STDOUT)
    try:

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "provider.out").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(answers, "the provider answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def request(method: str, address: str, cookie: str = "", body: str = "") -> tuple[int, HTTPMessage, str]:
    """One request, which follows nothing."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    headers = {"Cookie": cookie} if cookie else {}
    if body:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.msg, answer.read().decode()
    finally:
        connection.close()


def cookies(answer: HTTPMessage) -> str:
    return "; ".join(value.partition(";")[0] for value in answer.get_all("Set-Cookie", []))


def test_a_provider_says_who_it_is(make_daemon: Callable[..., Daemon], tmp_path: Path, provider: str) -> None:
    operators = tmp_path / "operators.toml"
    operators.touch(0o600)
    operators.write_text('[operators.alice]\n[operators.bob]\noidc-name = "robert"\n')
    (tmp_path / "secret").write_text("anything\n")
    daemon = make_daemon(
        f'[ssh]\noperators-file = "{operators}"\n'
        '[web]\nlisten = ["tcp:0:interface=127.0.0.1"]\n'
        f'[web.oidc]\nissuer = "{provider}"\nclient-id = "vmproxy"\nclaim = "sub"\n'
        f'client-secret-file = "{tmp_path}/secret"\n'
    )
    here = f"http://127.0.0.1:{daemon.web_port}"

    def login(who: str) -> tuple[int, str]:
        status, answer, _ = request("GET", f"{here}/login/oidc?to=/wall")
        assert status == 303
        there, kept = answer["Location"], cookies(answer)
        assert request("PUT", f"{provider}/users/{who}", body="{}")[0] < 500
        status, answer, text = request("POST", there, body=f"sub={who}")
        assert status == 302, text
        back = answer["Location"]
        assert back.startswith(f"{here}/login/oidc/done?")
        status, answer, text = request("GET", back, kept)
        assert ("0;url=/wall" in text) == (status == 200)
        if status == 200:
            assert request("GET", back, kept)[0] == 403, "a code counts once"
        return status, cookies(answer)

    for who, name in (("alice", "alice"), ("robert", "bob")):
        status, session = login(who)
        assert status == 200
        assert json.loads(request("GET", f"{here}/api/v1/whoami", session)[2])["operator"] == name
    assert login("mallory")[0] == 403
    assert [(event["who"], event["method"]) for event in daemon.audited("login", count=2)] == [
        ("alice", "oidc"),
        ("bob", "oidc"),
    ]
    assert any("mallory is no operator" in str(event["reason"]) for event in daemon.audited("login-failed", count=3))
