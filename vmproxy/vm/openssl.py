"""OpenSSL's memory buffers, below pyOpenSSL: private names of it, the only module that uses them.

Each has a test that fails when pyOpenSSL changes it: ``tests/vm/test_openssl.py``.
"""

from __future__ import annotations

from typing import Any, cast

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _openssl

_PLAIN = _ffi.new("char[]", 128 * 1024)
_LARGE = 1024
MESSAGES = 32
"""Of a handshake, behind the handshake, in one go, answers included: new keys, mostly. Each costs 20 to 40 us."""


def decrypt(connection: SSL.Connection, data: bytes) -> tuple[bytes, SSL.Error | None]:
    """What data from the network says, in one piece.

    After data of more than a KiB OpenSSL's memory buffers are made anew: they would stay as large as they were once.

    Bound: :data:`MESSAGES`, more of them are an error.

    :param connection: all that was in its buffers has been taken out, but for what it reads now; there is no socket.
    :returns: what it says, and why there will be no more of it; None where there may be.
    """
    ours: Any = connection
    ssl = ours._ssl
    source = ours._into_ssl
    if len(data) > _LARGE:
        # Read where it is: a copy of each byte less.
        source = _openssl.BIO_new_mem_buf(_ffi.from_buffer(data), len(data))
        _openssl.BIO_set_mem_eof_return(source, -1)  # there may be more
        _openssl.SSL_set_bio(ssl, source, ours._from_ssl)  # which owns it
    elif data:
        connection.bio_write(data)
    pieces = []
    got = messages = 0
    error: SSL.Error | None = None
    while error is None:
        while (size := _openssl.SSL_read(ssl, _PLAIN + got, len(_PLAIN) - got)) > 0:
            got += size
            if got == len(_PLAIN):
                pieces.append(_ffi.buffer(_PLAIN, got)[:])
                got = 0
        try:
            ours._raise_ssl_error(ssl, size)
        except SSL.WantReadError:
            if not _size(source):
                break
            messages += 1
            if messages > MESSAGES:
                error = SSL.Error([("SSL routines", "", "too many messages behind the handshake")])
        except SSL.Error as raised:
            error = raised.with_traceback(None)
    pieces.append(_ffi.buffer(_PLAIN, got)[:])
    if len(data) > _LARGE:
        renew_buffers(connection)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), error


def count_messages(connection: SSL.Connection) -> None:
    """Have :func:`decrypt` see each message of a handshake, now that the handshake is complete."""
    _openssl.SSL_clear_mode(cast(Any, connection)._ssl, _openssl.SSL_MODE_AUTO_RETRY)


def to_send(connection: SSL.Connection) -> int:
    """How many bytes there are for the network."""
    return _size(cast(Any, connection)._from_ssl)


def _size(buffer: Any) -> int:
    return int(_openssl.BIO_get_mem_data(buffer, _ffi.NULL))


def renew_buffers(connection: SSL.Connection) -> None:
    """Make OpenSSL's memory buffers of a connection anew.

    :param connection: all that came in has been taken out; there is no socket.
    """
    ours: Any = connection
    out = _openssl.BIO_new(_openssl.BIO_s_mem())
    while (size := _openssl.BIO_read(ours._from_ssl, _PLAIN, len(_PLAIN))) > 0:
        _openssl.BIO_write(out, _PLAIN, size)
    ours._into_ssl, ours._from_ssl = _openssl.BIO_new(_openssl.BIO_s_mem()), out
    _openssl.SSL_set_bio(ours._ssl, ours._into_ssl, out)  # which owns them
