"""TLS towards far ends: what is made for whom. Who is believed to be whom is shown with real sockets elsewhere."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol

from vmproxy.vm.outbound.tls import tls_creator_for


def connection(host: str, verify: bool = True) -> SSL.Connection:
    made = tls_creator_for(host, verify, None).clientConnectionForTLS(Mock(TLSMemoryBIOProtocol))
    assert isinstance(made, SSL.Connection)
    return made


def test_hosts_that_vms_choose_share_a_context() -> None:
    first, second = connection("a.example.com"), connection("b.example.com")
    assert first.get_context() is second.get_context()
    assert [one.get_servername() for one in (first, second)] == [b"a.example.com", b"b.example.com"]
    assert first.get_verify_mode() & SSL.VERIFY_PEER
    assert connection("10.1.2.3").get_servername() is None
    assert connection("a.example.com", verify=False).get_context() is not first.get_context()


def test_a_name_that_no_certificate_can_be_for() -> None:
    with pytest.raises(ValueError, match="_"):
        tls_creator_for("a_b.example.com", True, None)
