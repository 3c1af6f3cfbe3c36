"""Certificates for hosts: files in, OpenSSL contexts or all problems out.

Everything is read and tried before anything is used, so that a file that has become wrong changes nothing. Which
certificate a host is shown is decided by the name that it asks for (SNI): the first that is made out for that name, or
the first of all, which is also for hosts that ask for none, as those do that connect to an address.

Only what is needed is spoken: TLS 1.2 and later with forward secrecy and authenticated encryption, no renegotiation
(a client could make us sign without end), no compression, no resumption (a host connects once in months, and a
certificate authority that is not trusted any more must count at once).
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from vmproxy.base import values
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import setting
from vmproxy.errors import ConfigError

FILE_LIMIT = 1024 * 1024
SOON_DAYS = 30

VERSIONS = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}
OLD = ("1.0", "1.1")

_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    ":ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_NEW_CIPHERS = (
    b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"  # TLS 1.3, in the same order
)
# What ESXi 5 and 6.0 have. SHA-1 in signatures, which TLS 1.0 and 1.1 need, is only had at level 0.
_OLD_CIPHERS = (
    ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384"
    ":ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
    ":AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:@SECLEVEL=0"
)
_OPTIONS = SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET


class CertificateError(ConfigError):
    """Files that cannot be used; each problem names its file.

    :ivar of_authorities: how many of the problems, the first, are those of ``vm.client-ca``.
    """

    def __init__(self, problems: list[str], of_authorities: int = 0) -> None:
        super().__init__(problems)
        self.of_authorities = of_authorities

    @property
    def by_setting(self) -> list[str]:
        """The problems, each with the setting that names the file."""
        keys = ("vm.certificates", "vm.client-ca")
        return [f"{keys[n < self.of_authorities]}: {problem}" for n, problem in enumerate(self.problems)]


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """Files and limits of TLS.

    :ivar pairs: PEM files: the certificate, followed by those that lead to its root, and its private key, which may be
        in the same file. The first is for who asks for none of the others' names.
    :ivar minimum: the oldest version that is spoken, a key of :data:`VERSIONS`.
    :ivar client_ca: the PEM file of the authorities, one of which must have signed the host's own certificate; None
        where hosts need none.
    """

    pairs: tuple[tuple[Path, Path], ...] = setting(values.key_pairs("vm"), (), key="certificates")
    minimum: str = setting(values.one_of(tuple(VERSIONS)), "1.2", key="tls-minimum")
    client_ca: Path | None = setting(values.or_empty(values.file, None), None)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, for people to read and for hosts to be shown.

    :ivar names: the names that it is made out for, addresses among them.
    :ivar thumbprint: what vSphere wants to see: the SHA-1 of the DER, as ``AA:BB:...``.
    """

    file: Path
    names: tuple[str, ...]
    thumbprint: str
    valid_from: datetime.datetime
    valid_until: datetime.datetime
    context: SSL.Context

    def warning(self, now: datetime.datetime) -> str:
        """A warning about its time; empty if there is none."""
        if now < self.valid_from:
            return f"{self.file}: is not valid before {_day(self.valid_from)}"
        if now >= self.valid_until:
            return f"{self.file}: has expired at {_day(self.valid_until)}"
        if now >= self.valid_until - datetime.timedelta(days=SOON_DAYS):
            return f"{self.file}: expires at {_day(self.valid_until)}"
        return ""


class Credentials:
    """The certificates for hosts, and what is asked of hosts; never changed.

    :ivar certificates: in the order of the settings.
    """

    def __init__(self, settings: TLSSettings, certificates: tuple[Certificate, ...]) -> None:
        self.settings = settings
        self.certificates = certificates
        self._by_name: dict[str, SSL.Context] = {}
        for certificate in certificates:
            for name in certificate.names:
                self._by_name.setdefault(name.casefold(), certificate.context)

    @property
    def context(self) -> SSL.Context:
        """For a host of which no name is known yet."""
        return self.certificates[0].context

    def for_name(self, name: bytes | None) -> SSL.Context:
        """The context for a name that a host asks for (RFC 6066); wildcards stand for one label (RFC 9525)."""
        if not name:
            return self.context
        text = name.decode("ascii", "replace").casefold().rstrip(".")
        found = self._by_name.get(text) or self._by_name.get("*." + text.partition(".")[2])
        return found or self.context

    def thumbprints(self) -> tuple[str, ...]:
        """The thumbprints of the certificates."""
        return tuple(certificate.thumbprint for certificate in self.certificates)

    def warnings(self, now: datetime.datetime) -> list[str]:
        """Warnings for people."""
        found = [warning for one in self.certificates if (warning := one.warning(now))]
        if self.settings.minimum in OLD:
            found.append(
                f"TLS {self.settings.minimum} is allowed towards hosts (vm.tls-minimum): it can be broken; turn it"
                " off as soon as the last ESXi 5 or 6.0 is gone"
            )
        return found


def load(settings: TLSSettings) -> Credentials | None:
    """Read the certificates, keys and authorities, and try them.

    :returns: None where there are none in the settings.
    :raises CertificateError: with everything that is wrong.
    """
    problems: list[str] = []
    authorities: list[x509.Certificate] = []
    if settings.client_ca is not None:
        try:
            authorities = _certificates(settings.client_ca)
        except CertificateError as error:
            problems += error.problems
    of_authorities = len(problems)
    found = []
    for file, key_file in settings.pairs:
        try:
            found.append(_load(file, key_file, settings, authorities))
        except CertificateError as error:
            problems += error.problems
    if problems:
        raise CertificateError(problems, of_authorities)
    if not found:
        return None
    credentials = Credentials(settings, tuple(found))

    def choose(connection: SSL.Connection) -> None:
        connection.set_context(credentials.for_name(connection.get_servername()))

    if len(found) > 1:
        credentials.context.set_tlsext_servername_callback(choose)
    return credentials


def thumbprint(certificate: x509.Certificate) -> str:
    """The SHA-1 of a certificate as vSphere's ``#thumbprint=`` has it: ``AA:BB:...``."""
    digest = hashlib.sha1(certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
    return digest.hex(":").upper()


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses of a certificate, else its common name."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(one.value) for one in common[:1])
    found = [*extension.get_values_for_type(x509.DNSName)]
    addresses: Iterable[object] = extension.get_values_for_type(x509.IPAddress)
    return (*found, *(str(one) for one in addresses if isinstance(one, _ADDRESSES)))


_ADDRESSES = (ipaddress.IPv4Address, ipaddress.IPv6Address)


def _day(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _read(path: Path, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            if private and os.fstat(file.fileno()).st_mode & 0o007:
                raise CertificateError([f"{path}: everybody may read this private key; chmod o= it"])
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise CertificateError([f"{path}: {error.strerror}"]) from None
    if len(data) > FILE_LIMIT:
        raise CertificateError([f"{path}: larger than {FILE_LIMIT} bytes: no certificate, no key"])
    return data


def _certificates(path: Path) -> list[x509.Certificate]:
    data = _read(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError([f"{path}: no certificate in PEM form ({_first_line(error)})"]) from None


def _key(path: Path) -> PrivateKeyTypes:
    data = _read(path, private=True)
    start = data.find(b"-----BEGIN", 0)
    while start >= 0 and b"PRIVATE KEY-----" not in data[start : data.find(b"\n", start) + 1]:
        start = data.find(b"-----BEGIN", start + 1)
    if start < 0:
        raise CertificateError([f"{path}: no private key in PEM form"])
    try:
        return load_pem_private_key(data[start:], None)
    except TypeError:
        raise CertificateError([f"{path}: has a passphrase, which nobody is there to enter"]) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError([f"{path}: no private key in PEM form ({_first_line(error)})"]) from None


def _load(file: Path, key_file: Path, settings: TLSSettings, authorities: list[x509.Certificate]) -> Certificate:
    chain = _certificates(file)
    key = _key(key_file)
    certificate = chain[0]
    try:
        if _public(key.public_key()) != _public(certificate.public_key()):
            raise CertificateError([f"{key_file}: this is not the private key of {file}"])
        context = _context(settings, authorities)
        context.use_certificate(certificate)
        for one in chain[1:]:
            context.add_extra_chain_cert(one)
        context.use_privatekey(key)  # type: ignore[arg-type]
        context.check_privatekey()
    except SSL.Error as error:
        raise CertificateError([f"{file}: TLS cannot use it ({reasons(error)})"]) from None
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError([f"{file}: TLS cannot use it ({_first_line(error)})"]) from None
    return Certificate(
        file,
        names(certificate),
        thumbprint(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        context,
    )


def _context(settings: TLSSettings, authorities: list[x509.Certificate]) -> SSL.Context:
    old = settings.minimum in OLD
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_options(_OPTIONS)
    context.set_min_proto_version(VERSIONS[settings.minimum])
    context.set_cipher_list((_CIPHERS + (_OLD_CIPHERS if old else "")).encode("ascii"))
    context.set_tls13_ciphersuites(_NEW_CIPHERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 32 KiB less for each connection that is silent
    if settings.client_ca is not None:
        store = context.get_cert_store()
        assert store is not None
        for authority in authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
            context.add_client_ca(authority)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def _public(key: object) -> bytes:
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return data


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [error.__class__.__name__]
    return visible(lines[0].partition(" See https:")[0], 200)


def reasons(error: SSL.Error) -> str:
    """The reasons that OpenSSL gives, without its bookkeeping."""
    found = [str(item[-1]) for item in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return found[-1] if found else "no reason given"  # the first ones say where in OpenSSL it was noticed
