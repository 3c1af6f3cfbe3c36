"""Certificates of users (OpenSSH's PROTOCOL.certkeys): a trusted authority names the owners of a key, and its limits.

The ``cryptography`` library parses the format and checks the authority's signature. The fields that it does not give
(the bytes of the two keys, the algorithm of the signature) are read from the same bytes here. Invariant: no signature
is checked before the authority is found to be a trusted one, so that a stranger cannot make the server compute.

The library cannot parse certificates for security keys (``sk-...``), or those that a security key has signed: they are
refused. So are certificates with options out of order or given twice; ``ssh-keygen`` sorts them.
"""

from __future__ import annotations

import base64
from collections.abc import Container
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType, load_ssh_public_identity

from vmproxy.auth.authorized_keys import shown_time
from vmproxy.auth.public_keys import SECURITY_KEY, Fields, fingerprint, key_type, take_certified_key
from vmproxy.auth.revocation import Revoked
from vmproxy.base.addresses import BadAddresses, parse_networks, within
from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

SIGNATURE_OF: dict[bytes, bytes] = {
    b"ssh-ed25519-cert-v01@openssh.com": b"ssh-ed25519",
    b"ecdsa-sha2-nistp256-cert-v01@openssh.com": b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384-cert-v01@openssh.com": b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521-cert-v01@openssh.com": b"ecdsa-sha2-nistp521",
    b"rsa-sha2-512-cert-v01@openssh.com": b"rsa-sha2-512",
    b"rsa-sha2-256-cert-v01@openssh.com": b"rsa-sha2-256",
}
"""The algorithms of logins with certificates, each with the algorithm that the signature must name."""

CERTIFICATE_LIMIT = 32 * 1024
"""Bound: bytes of a certificate."""
PRINCIPALS_LIMIT = 256
"""Bound: principals in one certificate, as in OpenSSH."""
RSA_BITS = range(2048, 16384 + 1)
"""The accepted sizes of RSA keys, of users and of authorities."""

_AUTHORITY_SIGNATURES = frozenset(
    (
        b"ssh-ed25519",
        b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384",
        b"ecdsa-sha2-nistp521",
        b"rsa-sha2-256",
        b"rsa-sha2-512",
    )
)


class BadCertificate(VMProxyError):
    """A refused certificate; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The fields of an accepted certificate.

    :ivar principals: the names it is for; at least one.
    :ivar key_id: what its authority calls it; safe to show.
    :ivar serial: its number; 0 if its authority does not number them.
    :ivar key_blob: the public key inside, whose signature the login needs.
    :ivar authority: the fingerprint of the key that signed it.
    :ivar pty: whether it allows a terminal (``permit-pty``).
    :ivar forwarding: whether it allows forwarding (``permit-port-forwarding``), which here is raw access.
    """

    principals: tuple[str, ...]
    key_id: str
    serial: int
    key_blob: bytes
    authority: str
    pty: bool
    forwarding: bool

    def takes(self, algorithm: bytes) -> bool:
        """Whether a login with it may use an algorithm of :data:`SIGNATURE_OF`."""
        signature = SIGNATURE_OF.get(algorithm, b"")
        kind = key_type(self.key_blob)
        return signature in (b"rsa-sha2-256", b"rsa-sha2-512") if kind == b"ssh-rsa" else signature == kind

    def fields(self) -> dict[str, str | int]:
        """Its fields in the audit trail."""
        return {
            "certificate": self.key_id,
            "serial": self.serial,
            "key": fingerprint(self.key_blob),
            "authority": self.authority,
        }


@dataclass(frozen=True, slots=True)
class _Raw:
    """The fields that are read from the bytes before the library sees them."""

    key: bytes
    authority: bytes
    signature_algorithm: bytes


def check_certificate(
    blob: bytes, authorities: Container[bytes], revoked: Revoked, address: str, now: float
) -> Certificate:
    """Check a certificate. The login checks that the client has its key.

    :param blob: the certificate as the client sent it.
    :param authorities: the public keys, in SSH's format, that are trusted to sign.
    :param address: the client's numeric address.
    :param now: seconds since the epoch.
    :raises BadCertificate: if not, whatever the bytes are; nothing else is raised.
    """
    raw = _split(blob)
    if raw.authority not in authorities:
        raise BadCertificate(f"signed by {fingerprint(raw.authority)}, which is not a trusted authority")
    for what, key in (("signed by", raw.authority), ("for", raw.key)):
        if key_type(key).startswith(SECURITY_KEY):
            raise BadCertificate(f"{what} a security key; such certificates cannot be checked here")
    if raw.signature_algorithm not in _AUTHORITY_SIGNATURES:
        shown = visible(raw.signature_algorithm.decode("ascii", "replace"), 40)
        raise BadCertificate(f"the algorithm of the authority's signature is not accepted: {shown}")
    certificate = _load(blob)
    key_id = visible(certificate.key_id.decode("utf-8", "replace"), 256)
    try:
        _check_keys(certificate)
        if certificate.type is not SSHCertificateType.USER:
            raise BadCertificate("it is for a host, not for a user")
        if problem := revoked.certificate_problem(raw.key, raw.authority, certificate.serial, certificate.key_id):
            raise BadCertificate(problem)
        _check_time(certificate, now)
        principals = _principals(certificate)
        _check_options(certificate.critical_options, address)
    except BadCertificate as error:
        raise BadCertificate(f"{error} (certificate {key_id!r}, serial {certificate.serial})") from None
    allowed = certificate.extensions
    return Certificate(
        principals,
        key_id,
        certificate.serial,
        raw.key,
        fingerprint(raw.authority),
        pty=b"permit-pty" in allowed,
        forwarding=b"permit-port-forwarding" in allowed,
    )


def _split(blob: bytes) -> _Raw:
    if len(blob) > CERTIFICATE_LIMIT:
        raise BadCertificate(f"longer than {CERTIFICATE_LIMIT} bytes")
    try:
        fields = Fields(blob)
        key = take_certified_key(fields)
        fields.take(8 + 4)  # serial number, type
        fields.string()  # key id
        fields.string()  # principals
        fields.take(8 + 8)  # valid after, valid before
        fields.string()  # critical options
        fields.string()  # extensions
        fields.string()  # reserved
        authority = fields.string()
        algorithm = Fields(fields.string()).string()
    except ValueError as error:
        raise BadCertificate(f"malformed: {error}") from None
    if fields.more:
        raise BadCertificate("malformed: data after its end")
    return _Raw(key, authority, algorithm)


def _load(blob: bytes) -> SSHCertificate:
    """Parse a certificate and check the authority's signature, with the library."""
    try:
        certificate = load_ssh_public_identity(key_type(blob) + b" " + base64.b64encode(blob))
        assert isinstance(certificate, SSHCertificate)
        certificate.verify_cert_signature()
    except InvalidSignature:
        raise BadCertificate("the authority's signature is wrong") from None
    except Exception as error:  # the library's parsers raise whatever comes their way
        why = visible(str(error), 120) or error.__class__.__name__
        raise BadCertificate(f"malformed: {why}") from None
    return certificate


def _check_keys(certificate: SSHCertificate) -> None:
    for what, key in (("key", certificate.public_key()), ("authority", certificate.signature_key())):
        if isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS:
            raise BadCertificate(
                f"its {what} is an RSA key of {key.key_size} bits; {RSA_BITS[0]} to {RSA_BITS[-1]} are accepted"
            )


def _check_time(certificate: SSHCertificate, now: float) -> None:
    if now < certificate.valid_after:
        raise BadCertificate(f"it is not valid before {shown_time(certificate.valid_after)}")
    if now >= certificate.valid_before:
        raise BadCertificate(f"it expired at {shown_time(certificate.valid_before)}")


def _principals(certificate: SSHCertificate) -> tuple[str, ...]:
    """The principals, without those that cannot be names of operators."""
    written = certificate.valid_principals
    if not written:
        raise BadCertificate("it names no principals, which would make it valid for everybody")
    if len(written) > PRINCIPALS_LIMIT:
        raise BadCertificate(f"it has more than {PRINCIPALS_LIMIT} principals")
    names = []
    for name in written:
        try:
            names.append(name.decode("utf-8"))
        except UnicodeDecodeError:
            continue
    if not any(names):
        raise BadCertificate("none of its principals is a name")
    return tuple(name for name in names if name)


def _check_options(options: dict[bytes, bytes], address: str) -> None:
    """Enforce the critical options, or refuse what cannot be enforced.

    Extensions are no ground for a refusal: each allows something that is denied without it.
    """
    for name, value in options.items():
        match name:
            case b"source-address":
                _check_source(value, address)
            case b"verify-required":
                raise BadCertificate("verify-required, which only a security key can prove")
            case b"force-command":
                raise BadCertificate("force-command, and there are no commands to be forced here")
            case _:
                shown = visible(name.decode("utf-8", "replace"), 80)
                raise BadCertificate(f"a critical option that is not known: {shown}")


def _check_source(value: bytes, address: str) -> None:
    try:
        networks = parse_networks(value.decode("ascii"))
    except (BadAddresses, UnicodeDecodeError) as error:
        raise BadCertificate(f"a source-address that makes no sense: {visible(str(error), 120)}") from None
    if not within(address, networks):
        shown = visible(value.decode("ascii"), 120)
        raise BadCertificate(f"not for use from {visible(address, 80)} (source-address {shown})")
