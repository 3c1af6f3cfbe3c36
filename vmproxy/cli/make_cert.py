"""``vmproxy make-cert``: a certificate for hosts that no authority has signed, and what vSphere has to be told of it.

A host that is given the certificate's SHA-1 in the URI accepts this certificate and no other, so an authority adds
nothing. ECDSA (P-256) by default: a handshake costs a quarter of what it costs with an RSA key that is as strong. RSA
is for hosts that understand nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import re
import socket
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as make_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as make_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vmproxy.base.sanitize import visible
from vmproxy.vm.certificates import thumbprint

RSA_BITS = 3072
KIND = "ecdsa"
NAMES_LIMIT = 100
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class BadName(ValueError):
    """A name that no certificate can be made out for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="where to write it: certificate and key, in PEM form")
    parser.add_argument(
        "--name",
        action="append",
        metavar="NAME",
        help="a name or an address by which hosts reach vmproxy, the first for the URI; may be given several times"
        " (default: this machine's)",
    )
    parser.add_argument(
        "--days", type=int, default=3650, metavar="N", help="days for which it is valid (default: 3650)"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--kind", choices=("ecdsa", "rsa"), default=KIND, help=f"kind of the key (default: {KIND})")
    parser.add_argument("--port", type=int, default=13370, help="for the URI of telnet:// (default: 13370)")
    parser.add_argument("--tls-port", type=int, default=13371, help="for the URI of telnets:// (default: 13371)")


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: the exit status."""
    names = args.name or [socket.gethostname()]
    try:
        if not 1 <= args.days <= 36500:
            raise BadName("--days is a number from 1 to 36500")
        certificate, pem = make(names, args.days, args.kind, datetime.datetime.now(datetime.UTC))
        new = args.file.with_name(args.file.name + ".new") if args.force else args.file
        if args.force:
            new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        new.replace(args.file)
    except BadName as error:
        print(error, file=sys.stderr)
        return 1
    except FileExistsError:
        print(f"{args.file}: it is there already; give another name, or --force to replace it", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{args.file}: {error.strerror}", file=sys.stderr)
        return 1
    host = f"[{names[0]}]" if ":" in names[0] else names[0]
    mark = f"#thumbprint={thumbprint(certificate)}"
    print(
        f"{args.file}: a certificate for {', '.join(names)}, valid until {certificate.not_valid_after_utc:%Y-%m-%d},"
        " and its private key. The account that runs vmproxy must be able to read it.\n"
        "\n"
        "In the configuration of vmproxy:\n"
        "\n"
        "  [vm]\n"
        f'  certificates = ["{args.file.absolute()}"]\n'
        f'  tls-listen = ["tcp:{args.tls_port}"]\n'
        "\n"
        "In vSphere, as vSPC URI of the serial port, TLS from the start:\n"
        "\n"
        f"  telnets://{host}:{args.tls_port}{mark}\n"
        "\n"
        "or on the port where it begins in clear:\n"
        "\n"
        f"  telnet://{host}:{args.port}{mark}"
    )
    return 0


def make(names: list[str], days: int, kind: str, now: datetime.datetime) -> tuple[x509.Certificate, bytes]:
    """Make a certificate that is signed by its own key.

    :param names: DNS names and addresses.
    :param kind: ``rsa`` or ``ecdsa``.
    :returns: it, and it and its key in PEM form.
    :raises BadName: for a name that cannot be in a certificate.
    """
    if len(names) > NAMES_LIMIT:
        raise BadName(f"more than {NAMES_LIMIT} names")
    key = make_rsa_key(65537, RSA_BITS) if kind == "rsa" else make_ec_key(SECP256R1())
    alternatives = [general_name(name) for name in names]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks of hosts differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate, certificate.public_bytes(Encoding.PEM) + secret


def general_name(name: str) -> x509.GeneralName:
    """A DNS name or an address as certificates have it.

    :raises BadName: if it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if len(name) > 253 or not _DNS_NAME.fullmatch(name):
            raise BadName(f"{visible(name)!r} is neither a DNS name nor an address") from None
        return x509.DNSName(name)
