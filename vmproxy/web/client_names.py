"""The names in the certificate of a client, as the operators file may give them."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

LIMIT = 32


def client_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The e-mail addresses, DNS names and URIs of a certificate, and its common name.

    :returns: :data:`LIMIT` of them at most; the common name is ``CN=...``.
    """
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = [f"CN={one.value}" for one in common if isinstance(one.value, str)]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return tuple(found[:LIMIT])
    for kind in (x509.RFC822Name, x509.DNSName, x509.UniformResourceIdentifier):
        found += names.get_values_for_type(kind)
    return tuple(found[:LIMIT])
