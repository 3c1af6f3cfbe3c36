"""An operator who attaches to a console, and what they see."""

from __future__ import annotations

from typing import Any

from tests.support.fakes import VM_A
from tests.support.ssh import RemoteChannel, SSHWorld

LOG = f"{VM_A}.log".encode()


def attach(w: SSHWorld, user: str = "web01", **options: Any) -> RemoteChannel:
    channel = w.login(user).attach(**options)
    assert not channel.ended, channel.screen
    return channel


def fresh(w: SSHWorld, user: str = "web01", **options: Any) -> RemoteChannel:
    """Attached, and the greeting forgotten."""
    channel = attach(w, user, **options)
    channel.clear()
    return channel


def lines(data: bytes) -> list[str]:
    return data.decode().replace("\r\n", "\n").splitlines()


def feed(w: SSHWorld, data: bytes, *channels: RemoteChannel, name: str = "web01") -> None:
    w.console(name).feed(data)
    for channel in channels:
        channel.client.pump()
