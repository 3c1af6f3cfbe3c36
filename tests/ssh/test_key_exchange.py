"""Key exchanges: known answers, and what a client must not send."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh.common import MP, NS, getMP, getNS

from tests.support.cases import each
from tests.support.properties import examples
from vmproxy.ssh.key_exchange import METHODS, MODULUS_BITS, Agreed, Exchange, available, derived, modulus

GEX = b"diffie-hellman-group-exchange-sha256"
FIXED = {b"diffie-hellman-group16-sha512": 4096, b"diffie-hellman-group18-sha512": 8192}
CURVES: dict[bytes, ec.EllipticCurve] = {
    b"ecdh-sha2-nistp256": ec.SECP256R1(),
    b"ecdh-sha2-nistp384": ec.SECP384R1(),
    b"ecdh-sha2-nistp521": ec.SECP521R1(),
}


def ready(name: bytes) -> Exchange:
    exchange = METHODS[name].make()
    if exchange.chooses_group:
        exchange.group((2048).to_bytes(4, "big") + (3072).to_bytes(4, "big") + (8192).to_bytes(4, "big"))
    return exchange


def agreed(exchange: Exchange, value: bytes) -> Agreed:
    exchange.begin(value)
    return exchange.finish()


LARGE = [(6144, 929484), (8192, 4743158)]  # a second and two


@pytest.mark.parametrize(
    ("bits", "offset"),
    [(3072, 1690314), (4096, 240904), *(pytest.param(*large, marks=pytest.mark.slow) for large in LARGE)],
    ids=str,
)
def test_the_groups_are_those_of_rfc_3526(bits: int, offset: int) -> None:
    # The digits of RFC 3526 that all groups begin with, the form of the others, and that p and (p - 1) / 2 are prime.
    prime = modulus(bits)
    assert f"{prime:x}".startswith("ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22")
    assert prime % 2**64 == 2**64 - 1
    assert pow(2, (prime - 1) // 2, prime) == 1
    if bits == 3072:
        assert f"{prime:x}".endswith("4b82d120a93ad2caffffffffffffffff")
    assert (bits, offset) in zip(MODULUS_BITS, (1690314, 240904, 929484, 4743158), strict=True)


@each("name", list(METHODS))
def test_every_method_works_here(name: bytes) -> None:
    assert available(name)


@pytest.mark.parametrize("name", [*FIXED, GEX])
def test_both_sides_of_diffie_hellman_come_to_the_same(name: bytes) -> None:
    exchange = ready(name)
    prime = modulus(FIXED.get(name, 3072))
    exponent = 2**260 + 12345
    found = agreed(exchange, MP(pow(2, exponent, prime)))
    theirs, _ = getMP(found.ours)
    assert found.secret == MP(pow(theirs, exponent, prime))
    assert found.hashed.endswith(MP(pow(2, exponent, prime)) + found.ours)


def test_a_client_that_chooses_has_its_range_and_the_group_in_the_hash() -> None:
    exchange = METHODS[GEX].make()
    request = b"".join(bits.to_bytes(4, "big") for bits in (2048, 4096, 8192))
    group = exchange.group(request)
    assert group == MP(modulus(4096)) + MP(2)
    assert agreed(exchange, MP(4)).hashed.startswith(request + group + MP(4))


@pytest.mark.parametrize(
    ("least", "wanted", "most", "bits"),
    [
        (1024, 2048, 8192, 3072),
        (3073, 3073, 8192, 4096),
        (2048, 7680, 8192, 8192),
        (2048, 5000, 5000, 4096),
        (1, 1, 2**32 - 1, 3072),
        (4096, 4096, 4096, 4096),
        (3072, 2**32 - 1, 2**32 - 1, 8192),
    ],
)
def test_the_group_is_the_smallest_that_is_wanted_or_the_largest_there_is(
    least: int, wanted: int, most: int, bits: int
) -> None:
    request = b"".join(number.to_bytes(4, "big") for number in (least, wanted, most))
    assert getMP(METHODS[GEX].make().group(request))[0] == modulus(bits)


@pytest.mark.parametrize(
    "numbers", [(1024, 1024, 1024), (2048, 2048, 2048), (4096, 2048, 8192), (2048, 8192, 4096), (9000, 9000, 9999)]
)
def test_a_range_without_a_safe_group_or_without_sense_is_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"range|no group"):
        METHODS[GEX].make().group(b"".join(number.to_bytes(4, "big") for number in numbers))


@pytest.mark.parametrize("request_", [b"", bytes(4), bytes(11), (b"\0\0\x10\0" * 3) + b"x"])
def test_a_malformed_range_is_refused(request_: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|range"):
        METHODS[GEX].make().group(request_)


@pytest.mark.parametrize("name", list(CURVES))
def test_both_sides_of_a_nist_curve_come_to_the_same(name: bytes) -> None:
    exchange, key = ready(name), ec.generate_private_key(CURVES[name])
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    found = agreed(exchange, NS(point))
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[name], getNS(found.ours)[0])
    assert found.secret == MP(int.from_bytes(key.exchange(ec.ECDH(), theirs), "big"))
    assert found.hashed == NS(point) + found.ours


def test_both_sides_of_x25519_come_to_the_same() -> None:
    exchange, key = ready(b"curve25519-sha256"), X25519PrivateKey.generate()
    found = agreed(exchange, NS(key.public_key().public_bytes_raw()))
    secret = key.exchange(X25519PublicKey.from_public_bytes(getNS(found.ours)[0]))
    assert found.secret == MP(int.from_bytes(secret, "big"))


def wrong_values(name: bytes) -> list[bytes]:
    values = [b"", b"\0\0\0", b"\xff\xff\xff\xff", NS(b""), NS(b"x") + b"y", NS(b"\0" * 5000)]
    if name in CURVES:
        other = ec.generate_private_key(ec.SECP256R1() if name != b"ecdh-sha2-nistp256" else ec.SECP384R1())
        point = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        size = (CURVES[name].key_size + 7) // 8
        return [*values, NS(point), NS(b"\0"), NS(b"\4" + b"\1" * 2 * size), NS(b"\4" + b"\xff" * 2 * size)]
    if name in FIXED or name == GEX:
        prime = modulus(FIXED.get(name, 3072))
        return [*values, *(MP(value) for value in (1, prime - 1, prime, prime + 2, 2**16000)), NS(b"\xff" * 9000)]
    return [*values, NS(b"\0" * 32), NS(b"\1" + b"\0" * 31), NS(b"x" * 31), NS(b"x" * 33), NS(b"\0" * 1216)]


@each("name", list(METHODS))
def test_values_that_give_the_secret_away_or_make_no_sense_are_refused(name: bytes) -> None:
    for value in wrong_values(name):
        with pytest.raises(ValueError):  # noqa: PT011  # whatever the libraries say
            agreed(ready(name), value)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in FIXED and name != GEX])
@examples(40)
@given(value=st.binary(max_size=1300))
def test_any_value_is_agreed_on_or_refused(name: bytes, value: bytes) -> None:
    try:
        agreed(ready(name), NS(value))
    except ValueError:
        return


def test_key_material_is_made_as_rfc_4253_says() -> None:
    secret, digest, session = MP(2**200), b"H" * 32, b"S" * 32
    first = hashlib.sha256(secret + digest + b"A" + session).digest()
    second = hashlib.sha256(secret + digest + first).digest()
    assert derived("sha256", secret, digest, session, b"A") == first + second
