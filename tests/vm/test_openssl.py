"""OpenSSL's memory buffers below pyOpenSSL: what is handed in comes out, and the buffers are new ones."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.support.tls import client_context, write_pem
from vmproxy.vm.certificates import TLSSettings, load
from vmproxy.vm.openssl import decrypt, renew_buffers


def shaken(tmp_path: Path, newest: int) -> tuple[SSL.Connection, SSL.Connection]:
    credentials = load(TLSSettings(((write_pem(tmp_path / "one.pem", "one.example.com"),) * 2,)))
    assert credentials is not None
    ours, theirs = SSL.Connection(credentials.context, None), SSL.Connection(client_context(newest=newest), None)
    ours.set_accept_state()
    theirs.set_connect_state()
    for _ in range(3):
        for one, other in ((theirs, ours), (ours, theirs)):
            with suppress(SSL.WantReadError):
                one.do_handshake()
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return ours, theirs


def said(connection: SSL.Connection, data: bytes) -> bytes:
    wire = b""
    while data:
        data = data[connection.send(data) :]
        wire += connection.bio_read(1 << 20)
    return wire


VERSIONS = pytest.mark.parametrize("newest", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])


@VERSIONS
def test_openssl_goes_on_with_new_buffers(tmp_path: Path, newest: int) -> None:
    ours, theirs = shaken(tmp_path, newest)
    for n in range(3):
        before = ours._into_ssl, ours._from_ssl
        ours.send(b"not sent yet")
        renew_buffers(ours)
        assert {ours._into_ssl, ours._from_ssl}.isdisjoint(before)
        theirs.bio_write(ours.bio_read(65536))
        assert theirs.recv(100) == b"not sent yet"
        assert decrypt(ours, said(theirs, b"%d" % n)) == (b"%d" % n, None)


@VERSIONS
@pytest.mark.parametrize("cut", [1_000_000, 16_389, 1025, 1024, 3])
def test_what_tls_says_comes_in_one_piece_however_it_is_cut(tmp_path: Path, newest: int, cut: int) -> None:
    ours, theirs = shaken(tmp_path, newest)
    text = b"".join(b"line %d\r\n" % n for n in range(20_000 if cut > 1000 else 300))
    wire = said(theirs, text)
    pieces = [decrypt(ours, wire[at : at + cut]) for at in range(0, len(wire), cut)]
    assert b"".join(plain for plain, _ in pieces) == text
    assert {error for _, error in pieces} == {None}
    if cut > len(wire):
        assert len(pieces) == 1, "and it is more than the buffer holds"


@VERSIONS
def test_the_end_of_tls_is_told_behind_what_was_said(tmp_path: Path, newest: int) -> None:
    ours, theirs = shaken(tmp_path, newest)
    wire = said(theirs, b"last words" * 500)
    theirs.shutdown()
    plain, error = decrypt(ours, wire + theirs.bio_read(65536))
    assert plain == b"last words" * 500
    assert isinstance(error, SSL.ZeroReturnError)
    ours, theirs = shaken(tmp_path, newest)
    wire = said(theirs, b"good") + said(theirs, b"bad" * 500)[:-1] + b"~"
    plain, error = decrypt(ours, wire)
    assert plain == b"good"
    assert isinstance(error, SSL.Error)
    assert not isinstance(error, SSL.ZeroReturnError)
