"""The order in which another configuration is taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor

from tests.support.fakes import VM_A, FakeLink
from vmproxy.app.service import VMProxyService
from vmproxy.config.settings import Config, load
from vmproxy.console.registry import ConsoleIdentity
from vmproxy.vm.settings import Encryption


@pytest.fixture
def reactor() -> Iterator[EPollReactor]:
    made = EPollReactor()
    yield made
    for reader in made.removeAll():
        reader.connectionLost(None)
    made._poller.close()


def test_who_comes_by_a_new_listener_meets_the_new_rules(tmp_path: Path, reactor: EPollReactor) -> None:
    file = tmp_path / "vmproxy.toml"

    def read(vm: str) -> Config:
        file.write_text(f"state-dir = {json.dumps(str(tmp_path))}\n[vm]\n{vm}")
        return load(file, {})

    service = VMProxyService(read('encryption = "offer"\n'), reactor)
    let_in: list[tuple[bool, Encryption, str]] = []

    async def listen_anew(new: Config) -> tuple[Config, list[str]]:
        front = service.vms.front
        let_in.append(
            (
                front.admission.enter("203.0.113.9"),
                front.settings.encryption,
                service.consoles.registry.duplicates.policy,
            )
        )
        return new, []

    service._listen_anew = listen_anew
    new = read('encryption = "off"\nnetworks = ["192.0.2.0/24"]\nsecond-connection = "refuse"\n')
    failed: list[object] = []
    Deferred.fromCoroutine(service._take(new, service._check(new))).addErrback(failed.append)
    assert (let_in, failed) == ([(False, Encryption.OFF, "refuse")], [])


def test_with_sockets_of_systemd_alone_the_web_is_on(tmp_path: Path, reactor: EPollReactor) -> None:
    file = tmp_path / "vmproxy.toml"
    file.write_text(f'state-dir = {json.dumps(str(tmp_path))}\n[web]\npublic-url = "https://con.example"\n')
    service = VMProxyService(load(file, {}), reactor)
    console = service.consoles.registry.claim(ConsoleIdentity(VM_A, None, "vmproxy", "web01"), FakeLink())
    assert service._web_link(console) == ""
    service.web.use_sockets({"web.tls-listen"})
    assert service._web_link(console) == f"https://con.example/c/{VM_A}"
    before = len(reactor.getDelayedCalls())
    service._watch_over()
    assert len(reactor.getDelayedCalls()) == before + 1  # it measures how late timers are
    service.metrics.stop()
