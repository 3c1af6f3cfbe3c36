"""Certificates of a test's own, and hosts that speak TLS: OpenSSL's client side on memory, byte for byte."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.support.vm import AUTHENTICATION, IAC, SB, SE, WILL, Host, HostTransport, VMWorld, verb
from vmproxy.cli.make_cert import make
from vmproxy.vm.certificates import TLSSettings, load
from vmproxy.vm.settings import Encryption
from vmproxy.vm.telnet import HostTelnet

ASKED = bytes((IAC, SB, AUTHENTICATION, 1, 7, 0, IAC, SE))
START = bytes((IAC, SB, AUTHENTICATION, 0, 7, 0, 1, IAC, SE))
DECLINED = bytes((IAC, SB, AUTHENTICATION, 0, 0, 0, IAC, SE))
ACCEPTED = bytes((IAC, SB, AUTHENTICATION, 2, 7, 0, 2, IAC, SE))
OFFER = verb(WILL, AUTHENTICATION)
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def write_pem(path: Path, *names: str, kind: str = "ecdsa", days: int = 36500) -> Path:
    """Make a certificate with its key."""
    _, pem = make([*names], days, kind, NOW)
    path.write_bytes(pem)
    path.chmod(0o600)
    return path


def use_tls(w: VMWorld, *files: Path, encryption: str = "offer", minimum: str = "1.2", ca: Path | None = None) -> None:
    """Have a concentrator show these certificates."""
    w.front.tls.credentials = load(TLSSettings(tuple((file, file) for file in files), minimum, ca))
    w.front.settings = replace(w.front.settings, encryption=Encryption(encryption))


def client_context(
    ask: str = "",
    newest: int | None = None,
    certificate: Path | None = None,
) -> SSL.Context:
    """A host's side; it verifies nothing, as one that is given no thumbprint."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if newest is not None:
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(newest)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
    if certificate is not None:
        context.use_certificate_file(str(certificate))
        context.use_privatekey_file(str(certificate))
    return context


def write_signed(path: Path, name: str, authority: Path | None = None) -> Path:
    """Make a certificate for a host, signed by an authority; or an authority."""
    key = generate_private_key(SECP256R1())
    subject = issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = key
    if authority is not None:
        issuer = x509.load_pem_x509_certificate(authority.read_bytes()).subject
        loaded = load_pem_private_key(authority.with_suffix(".key").read_bytes(), None)
        assert isinstance(loaded, EllipticCurvePrivateKey)
        signer = loaded
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .sign(signer, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + (secret if authority is not None else b""))
    path.with_suffix(".key").write_bytes(secret)
    return path


class MemoryTransport(HostTransport):
    """Nothing waits below it: what arrives is handed to the protocol at once."""

    def doRead(self) -> None: ...


@implementer(ISystemHandle)
class WaitingTransport(MemoryTransport):
    """What has arrived may wait in a real socket, to be looked at."""

    def __init__(self, clock: Clock, host: str) -> None:
        super().__init__(clock, host)
        self.near, self.far = socket.socketpair()

    def getHandle(self) -> socket.socket:
        return self.near

    def close(self) -> None:
        self.near.close()
        self.far.close()


class TLSHost(Host):
    """A host that speaks TLS, from the start or from where it switches.

    :ivar ended: why its side of TLS ended, if it has.
    """

    def __init__(
        self,
        world: VMWorld,
        address: str = "10.0.0.1",
        *,
        from_start: bool = True,
        name: str = "",
        context: SSL.Context | None = None,
        shake: bool = True,
        transport: MemoryTransport | None = None,
    ) -> None:
        self.world = world
        self.address = address
        self.transport = transport or MemoryTransport(world.clock, address)
        self.plain = b""
        self.ended = ""
        self.tls = SSL.Connection(context or client_context(), None)
        self.tls.set_connect_state()
        if name:
            self.tls.set_tlsext_host_name(name.encode())
        self.secure = from_start
        if from_start:
            layer = world.front.tls.over(world.factory).buildProtocol(self.transport.peerAddr)
            assert layer is not None
            self.transport.protocol = layer  # type: ignore[assignment]  # what is behind TLS is below
            layer.makeConnection(self.transport)
            assert isinstance(layer.wrappedProtocol, HostTelnet)
            self.protocol = layer.wrappedProtocol
            if shake:
                self.shake()
        else:
            protocol = world.factory.buildProtocol(self.transport.peerAddr)
            assert protocol is not None
            self.protocol = self.transport.protocol = protocol
            protocol.makeConnection(self.transport)

    def wire(self, data: bytes, cuts: Iterable[int] | None = None) -> None:
        """Bytes arrive at the concentrator as they are, cut anywhere."""
        at = 0
        for cut in sorted({len(data), *(c for c in cuts or () if 0 < c < len(data))}):
            if self.closed or not data:
                break
            self.transport.protocol.dataReceived(data[at:cut])
            self.world.turn()
            at = cut

    def outgoing(self) -> bytes:
        """What the host's TLS wants to send."""
        out = b""
        while True:
            try:
                out += self.tls.bio_read(65536)
            except SSL.WantReadError:
                return out

    def take(self) -> None:
        """Take in what the concentrator has sent."""
        data = self.transport.value()
        self.transport.clear()
        if not self.secure:
            self.plain += data
            return
        if data:
            self.tls.bio_write(data)
        while not self.ended:
            try:
                self.plain += self.tls.recv(65536)
            except SSL.WantReadError:
                return
            except (SSL.ZeroReturnError, SSL.Error) as error:
                self.ended = repr(error)

    def shake(self, bytewise: bool = False) -> None:
        """Do the handshake, as far as it goes."""
        for _ in range(6):
            try:
                self.tls.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                self.ended = repr(error)
                return
            out = self.outgoing()
            self.wire(out, range(len(out)) if bytewise else None)
            self.take()

    def encrypted(self, data: bytes) -> bytes:
        """What the host would send for this."""
        self.take()
        while data:
            data = data[self.tls.send(data) :]  # one record
        return self.outgoing()

    def feed(self, data: bytes, cuts: Iterable[int] | None = None) -> TLSHost:  # type: ignore[override]  # of its own kind
        self.wire(self.encrypted(data) if self.secure else data, cuts)
        self.take()
        return self

    def sent(self) -> bytes:
        self.take()
        data, self.plain = self.plain, b""
        return data

    def switch(self, behind: bytes = b"", shake: bool = True) -> TLSHost:
        """Offer TLS, be asked, say START (with something behind it), and go on in TLS."""
        self.feed(OFFER)
        assert ASKED in self.sent()
        self.wire(START + behind)
        self.take()
        assert self.sent().endswith(ACCEPTED)
        self.secure = True
        if shake:
            self.shake()
        return self


class RawRecords:
    """The records of one side of TLS 1.3, written by hand: what OpenSSL would never say.

    Begin with :meth:`watch` before the handshake; from the first record on, OpenSSL's own side can say nothing more.
    """

    def __init__(self, side: bytes = b"CLIENT") -> None:
        self._label = side + b"_TRAFFIC_SECRET_0"
        self._tickets = 0 if side == b"CLIENT" else 2  # which OpenSSL says of itself behind the handshake
        self._secret = b""

    def watch(self, context: SSL.Context | None = None) -> SSL.Context:
        """The context, by default a host's, for the side whose secret this takes."""
        context = context or client_context()
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        context.set_keylog_callback(self._take)
        return context

    def _take(self, _: SSL.Connection, line: bytes) -> None:
        if line.startswith(self._label):
            self._use(bytes.fromhex(line.split()[-1].decode()))
            self._number = self._tickets

    def _use(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._key, self._iv = AESGCM(self._derived(b"key", 16)), self._derived(b"iv", 12)

    def _derived(self, label: bytes, size: int) -> bytes:
        # RFC 8446, section 7.1
        info = size.to_bytes(2, "big") + bytes((6 + len(label),)) + b"tls13 " + label + b"\0"
        return HKDFExpand(SHA256(), size, info).derive(self._secret)

    def record(self, data: bytes, kind: int = 23) -> bytes:
        """A record; ``kind`` 23 is data, 22 a message of a handshake."""
        header = b"\x17\x03\x03" + (len(data) + 17).to_bytes(2, "big")
        number = self._number.to_bytes(12, "big")
        self._number += 1
        nonce = bytes(a ^ b for a, b in zip(self._iv, number, strict=True))
        return header + self._key.encrypt(nonce, data + bytes((kind,)), header)

    def new_keys(self, asked: bool) -> bytes:
        """A record with a KeyUpdate; ``asked``: whether the other side is to take new keys, too."""
        record = self.record(b"\x18\0\0\x01" + bytes((asked,)), 22)
        self._use(self._derived(b"traffic upd", 32))
        return record
