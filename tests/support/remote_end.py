"""The far end of a VM with direction "client", in plain sockets: it listens, and somebody calls."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE = 30.0


class FarEnd:
    """Listens on the loopback address; of several callers the last is the one that is spoken to.

    :ivar data: what has arrived, from all callers.
    :ivar callers: how many have called; those whose handshake came to nothing do not count.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._tls = tls
        self._changed = threading.Condition()
        self._line: socket.socket | None = None
        self._lines: list[socket.socket] = []
        self._reads = threading.Event()
        self._reads.set()
        self.data = bytearray()
        self.callers = 0
        self.ended = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            line.settimeout(PATIENCE)
            if self._tls is not None:
                try:
                    line = self._tls.wrap_socket(line, server_side=True)
                except OSError:
                    line.close()
                    continue
            line.settimeout(None)
            with self._changed:
                self._line = line
                self._lines.append(line)
                self.callers += 1
                self._changed.notify_all()
            thread = threading.Thread(target=self._read, args=(line,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _read(self, line: socket.socket) -> None:
        while True:
            self._reads.wait()
            try:
                data = line.recv(65536)
            except OSError:
                data = b""
            with self._changed:
                self.data += data
                self.ended += not data
                self._changed.notify_all()
            if not data:
                line.close()
                return

    def reads(self, on: bool) -> None:
        """Read what comes, or leave it."""
        if on:
            self._reads.set()
        else:
            self._reads.clear()

    def say(self, data: bytes) -> None:
        """Send to the last caller."""
        assert self._line is not None
        self._line.sendall(data)

    def hang_up(self) -> None:
        """Close the connection of the last caller, in order."""
        assert self._line is not None
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def wait_caller(self, number: int = 1) -> FarEnd:
        """Wait until so many have called."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.callers >= number, PATIENCE), f"{self.callers} callers"
        return self

    def wait_data(self, wanted: bytes) -> None:
        """Wait until something is among what has arrived."""
        with self._changed:
            ok = self._changed.wait_for(lambda: wanted in self.data, PATIENCE)
            assert ok, f"{wanted!r} never came; there is {bytes(self.data)[-500:]!r}"

    def wait_size(self, size: int) -> None:
        """Wait until so many bytes have arrived."""
        with self._changed:
            ok = self._changed.wait_for(lambda: len(self.data) >= size, PATIENCE)
            assert ok, f"{len(self.data)} of {size} came"

    def wait_ended(self, number: int = 1) -> None:
        """Wait until so many callers have gone."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended >= number, PATIENCE), f"{self.ended} have gone"

    def close(self) -> None:
        """Listen no more, and hang up."""
        self.reads(True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(PATIENCE)


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 and localhost that nobody has signed but itself.

    :returns: its file, and the context of a server that has it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "far end")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    file, secret = folder / "far.pem", folder / "far.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return file, context
