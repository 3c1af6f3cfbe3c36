"""The web front of a real daemon."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.daemon import ROOT, Daemon, environment, eventually
from tests.support.host import FakeVM
from tests.support.tls import write_pem
from tests.support.web_daemon import WEB, token_of, web_settings
from tests.system.test_systemd import hand_over

REFUSED = "connection refused"


def ask(daemon: Daemon, method: str, path: str, token: str = "") -> tuple[int, dict[str, str], Any]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.web_port, timeout=30)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(body)
    finally:
        connection.close()


def test_the_web_serves_scripts_and_is_turned_off_and_on_again(
    make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM], keys: Path
) -> None:
    extra = web_settings(keys)
    daemon = make_daemon(extra)
    assert daemon.web_port
    assert ask(daemon, "GET", "/readyz")[0] == 200
    status, headers, problem = ask(daemon, "GET", "/api/v1/whoami")
    assert (status, problem["type"]) == (401, "/problems/unauthenticated")
    assert "server" not in headers
    make_vm(daemon)
    token = token_of(daemon, "alice")
    status, _, who = ask(daemon, "GET", "/api/v1/whoami", token)
    assert (status, who["operator"], who["consoles"]["admin"]) == (200, "alice", 1)
    assert (daemon.state / "tokens.jsonl").stat().st_mode & 0o777 == 0o600
    status, _, found = ask(daemon, "GET", "/api/v1/status", token)
    assert (status, found["reload"], found["gauges"]["consoles"]) == (200, None, {"up": 1})
    assert found["listeners"]["web.listen"] == [f"127.0.0.1:{daemon.web_port}"]
    before = len(daemon.said())
    daemon.reload(extra.replace(WEB, ""))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", daemon.web_port)) != 0
    daemon.reload(extra)
    assert ask(daemon, "GET", "/api/v1/whoami", token)[0] == 200
    reloaded = ask(daemon, "GET", "/api/v1/status", token)[2]["reload"]
    assert (reloaded["ok"], reloaded["changed"], reloaded["problems"]) == (True, ["web.listen"], [])
    daemon.process.send_signal(signal.SIGUSR2)
    eventually(lambda: "web connections" in daemon.said()[before:], "it reports its connections")
    assert daemon.stop() == -signal.SIGTERM


def test_off_it_costs_no_import_and_no_listener() -> None:
    script = (
        "import sys\n"
        "import vmproxy.app.service\n"
        "loaded = sorted(name for name in sys.modules if name.startswith(('vmproxy.web', 'twisted.web', 'wsproto')))\n"
        "assert loaded == ['vmproxy.web', 'vmproxy.web.settings'], loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_with_tls_and_a_socket_of_systemd(prepare_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    pem = write_pem(tmp_path / "web.pem", "localhost", "127.0.0.1")
    tls = f'tls-listen = ["tcp:0:interface=127.0.0.1"]\ncertificates = ["{pem}"]\n'
    daemon = prepare_daemon(f"[web]\n{tls}")
    with socket.create_server(("127.0.0.1", 0)) as handed:
        hand_over(daemon, web=handed)
        daemon.start()
        assert daemon.web_port == handed.getsockname()[1]
        assert ask(daemon, "GET", "/healthz")[0] == 200
        context = ssl.create_default_context(cafile=str(pem))
        connection = http.client.HTTPSConnection("localhost", daemon.web_tls_port, timeout=30, context=context)
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"status":"ok"}\n')
        assert (answer.getheader("Strict-Transport-Security") or "").startswith("max-age=")
        connection.close()
        assert daemon.stop() == -signal.SIGTERM


def test_a_socket_in_clear_that_others_reach_is_not_served(prepare_daemon: Callable[..., Daemon]) -> None:
    daemon = prepare_daemon()
    with socket.create_server(("0.0.0.0", 0)) as handed:
        hand_over(daemon, web=handed)
        daemon.write_config()
        done = subprocess.run(
            [*daemon.prefix, *daemon.command()],
            env=daemon.environment, cwd=daemon.folder, pass_fds=daemon.pass_fds, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode != 0
    assert "in clear on 0.0.0.0:" in done.stderr + done.stdout
