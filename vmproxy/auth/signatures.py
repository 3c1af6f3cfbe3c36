"""Signatures over a login: they prove that a client holds the private key."""

from __future__ import annotations

from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from twisted.logger import Logger

from vmproxy.auth.authorized_keys import AuthorizedKey
from vmproxy.auth.public_keys import SECURITY_KEY, Fields, key_type, load_key

SIGNATURES = (
    b"ssh-ed25519",
    b"sk-ssh-ed25519@openssh.com",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"sk-ecdsa-sha2-nistp256@openssh.com",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)
"""The signature algorithms that operators' keys may use."""

_HASHES: dict[bytes, HashAlgorithm] = {
    b"ecdsa-sha2-nistp256": SHA256(),
    b"ecdsa-sha2-nistp384": SHA384(),
    b"ecdsa-sha2-nistp521": SHA512(),
    b"sk-ecdsa-sha2-nistp256@openssh.com": SHA256(),
    b"rsa-sha2-512": SHA512(),
    b"rsa-sha2-256": SHA256(),
}
_USER_PRESENT, _USER_VERIFIED = 1, 4  # flags of a security key: it was touched; it has verified its owner
_log = Logger()


def fits(algorithm: bytes, blob: bytes) -> bool:
    """Whether a key makes signatures of an algorithm.

    :param algorithm: a plain signature algorithm such as ``rsa-sha2-256``.
    :param blob: a plain public key.
    """
    kind = key_type(blob)
    return algorithm in (b"rsa-sha2-256", b"rsa-sha2-512") if kind == b"ssh-rsa" else algorithm == kind


def verify_signature(key: AuthorizedKey, algorithm: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature is valid.

    :param key: the plain key, with the conditions for signatures of a security key.
    :param algorithm: the agreed algorithm.
    :param data: the signed data.
    """
    try:
        fields = Fields(signature)
        # The algorithm inside the signature counts, and must be the agreed one: no SHA-1 by the back door.
        if fields.string() != algorithm or not fits(algorithm, key.blob):
            return False
        raw = fields.string()
        if algorithm.startswith(SECURITY_KEY):
            flags, counter = fields.take(1), fields.take(4)
            if key.touch_required and not flags[0] & _USER_PRESENT:
                return False
            if key.verify_required and not flags[0] & _USER_VERIFIED:
                return False
            # OpenSSH's PROTOCOL.u2f: the security key signs hashes, with its flags and its counter between them.
            application = Fields(key.blob).strings()[-1]
            data = sha256(application).digest() + flags + counter + sha256(data).digest()
        if fields.more:
            return False
        _verify(key.blob, algorithm, raw, data)
    except Exception as error:  # whatever a forged signature makes the parsers raise, it verify_signature nothing
        if not isinstance(error, InvalidSignature):
            _log.debug("signature not understood: {error!r}", error=error)
        return False
    return True


def _verify(blob: bytes, algorithm: bytes, raw: bytes, data: bytes) -> None:
    match load_key(blob):
        case Ed25519PublicKey() as public:
            public.verify(raw, data)
        case RSAPublicKey() as public:
            public.verify(raw, data, PKCS1v15(), _HASHES[algorithm])
        case EllipticCurvePublicKey() as public:
            r, s = Fields(raw).strings()
            der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
            public.verify(der, data, ECDSA(_HASHES[algorithm]))
        case _:
            raise ValueError("a key of another kind")
