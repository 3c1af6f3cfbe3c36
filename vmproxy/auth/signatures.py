"""What proves that a client holds the private half of a key: a signature over the login it asks for."""

from __future__ import annotations

from hashlib import sha256

from twisted.conch.ssh.common import getNS
from twisted.conch.ssh.keys import Key
from twisted.logger import Logger

from vmproxy.auth.authorized_keys import AuthorizedKey
from vmproxy.auth.public_keys import SECURITY_KEY, key_type

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

_USER_PRESENT, _USER_VERIFIED = 1, 4  # the flags of a security key that say that it was touched, and knew its owner
_log = Logger()


def fits(algorithm: bytes, blob: bytes) -> bool:
    """Whether a key is one that makes such signatures.

    :param algorithm: a plain signature algorithm such as ``rsa-sha2-256``.
    :param blob: a plain public key.
    """
    kind = key_type(blob)
    return algorithm in (b"rsa-sha2-256", b"rsa-sha2-512") if kind == b"ssh-rsa" else algorithm == kind


def proves(key: AuthorizedKey, algorithm: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature is right.

    :param key: the plain key, and what must be true of its signatures if it is a security key.
    :param algorithm: what was agreed to.
    :param data: what must have been signed.
    """
    try:
        # The algorithm inside the signature counts, and must be the one that was agreed to: no SHA-1 by the back door.
        inside, _, rest = getNS(signature, 2)
        if inside != algorithm or not fits(algorithm, key.blob):
            return False
        public = Key.fromString(key.blob, type="blob")
        if algorithm.startswith(SECURITY_KEY):
            flags, counter = rest[0], rest[1:5]
            if len(rest) != 5 or (key.touch_required and not flags & _USER_PRESENT):
                return False
            if key.verify_required and not flags & _USER_VERIFIED:
                return False
            # OpenSSH's PROTOCOL.u2f: the security key signs hashes, with its flags and its counter between them.
            data = sha256(public.application).digest() + rest[:1] + counter + sha256(data).digest()
        return bool(public.verify(signature, data))
    except Exception as error:  # whatever a forged signature makes the parsers raise, it proves nothing
        _log.debug("signature not understood: {error!r}", error=error)
        return False
