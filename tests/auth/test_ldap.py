"""What a directory may answer to a password: right, wrong, or nothing that says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from vmproxy.auth.ldap import LDAPSettings
from vmproxy.auth.passwords import CannotCheck

INVALID_CREDENTIALS, STRONGER_AUTH_REQUIRED, BUSY = 49, 8, 51


@contextmanager
def server(code: int) -> Iterator[str]:
    """One that answers one bind with a result; :returns: its address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        client, _ = listening.accept()
        with client:
            asked = client.recv(4096)
            client.sendall(bytes([0x30, 12, 2, 1, asked[4], 0x61, 7, 10, 1, code, 4, 0, 4, 0]))
            client.recv(4096)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    with listening:
        yield f"ldap://127.0.0.1:{listening.getsockname()[1]}"
    thread.join()


@pytest.mark.parametrize(
    ("codes", "right"),
    [([0], True), ([INVALID_CREDENTIALS], False), ([BUSY, 0], True), ([STRONGER_AUTH_REQUIRED, BUSY], None)],
)
def test_only_an_answer_about_the_password_is_one(codes: list[int], right: bool | None) -> None:
    with ExitStack() as stack:
        servers = tuple(stack.enter_context(server(code)) for code in codes)
        directory = LDAPSettings(servers=servers, user_dn="uid={name},dc=example").usable()
        assert directory is not None
        if right is None:
            with pytest.raises(CannotCheck, match=r"strongerAuthRequired.*busy"):
                directory.check("alice", b"secret")
        else:
            assert directory.check("alice", b"secret") is right
