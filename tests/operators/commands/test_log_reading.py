"""What readers of logs hold at a time: bytes, whatever their items are."""

from __future__ import annotations

import os

import pytest
from twisted.conch.ssh.common import NS

from tests.support.ssh import SSHWorld
from vmproxy.operators.commands.context import CHUNK
from vmproxy.operators.log_reading import BatchReader

LARGE = 64 * 1024


@pytest.mark.parametrize(
    "command",
    [
        "replay web01",
        "record web01",
        "log web01",
        "log -t web01",
        "search x",
        "search --json x",
        "expect web01 never --since 1h",
    ],
)
def test_a_reader_holds_little_more_than_one_piece(w: SSHWorld, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    w.vm()
    for _ in range(64):
        w.console().feed(os.urandom(LARGE // 2).hex().encode() + b"x\r\n")
    w.settle()
    sizes: list[int] = []
    take = BatchReader._take

    def measured(reader: BatchReader[object]) -> list[object]:
        taken = take(reader)
        sizes.append(sum(map(reader._size, taken)))
        return taken

    monkeypatch.setattr(BatchReader, "_take", measured)
    channel = w.login().open()
    channel.request(b"exec", NS(command.encode()))
    for _ in range(20):
        w.clock.advance(2)
        w.store.flush()
        channel.client.pump()
    assert sizes
    assert max(sizes) < CHUNK + 2 * LARGE
    assert sum(sizes) > 0
