"""Accounts for tests of logins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from tests.support.logins import (
    Authority,
    cheap_hash,
    line,
)
from tests.support.ssh import (
    Client,
    SSHWorld,
    ed25519_key,
)
from vmproxy.auth.authenticator import Authenticator
from vmproxy.auth.keyring import AccountSettings
from vmproxy.auth.passwords import PasswordChecker

ED = ed25519_key()


TWO = f"""
[operators.alice]
keys = [{line(0)}]
password = '{cheap_hash()}'
groups = ["admins", "night"]
escape = "^]q"
quiet = true

[operators.bob]
keys = [{line(1)}]
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def who(client: Client) -> str:
    return client.operator.name


class Elsewhere:
    """Another source of passwords, slow and sometimes not there."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, str]] = []
        self.answer: Deferred[str | None] = Deferred()

    async def check(self, name: str, secret: bytes, address: str, wanted: Callable[[], bool]) -> str | None:
        self.asked.append((name, secret, address))
        return await self.answer


def use_source(w: SSHWorld, source: PasswordChecker) -> None:
    """Have another source of passwords asked, from now on."""
    path = w.folder / "operators.toml"
    accounts = Authenticator(AccountSettings(path), "nobody", w.services.in_thread, w.clock, w.audit.record, source)
    w.factory.use_accounts(accounts)
