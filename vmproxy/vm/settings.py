"""``[vm]``: how ESXi hosts and their VMs are served."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vmproxy.base import values
from vmproxy.base.schema import InvalidValue, group, setting
from vmproxy.console.duplicates import REPLACE, DuplicatePolicy
from vmproxy.console.migrations import BEGINS_PER_MINUTE
from vmproxy.console.newcomers import ConsoleLimits
from vmproxy.vm.admission import MOST, AdmissionLimits
from vmproxy.vm.certificates import TLSSettings
from vmproxy.wire.serviceuri import COMMON_WORDS


def _service(value: Any) -> str:
    if not isinstance(value, str) or not value or "?" in value:
        raise InvalidValue(f"{value!r} is not a service")
    return value


def _traced(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidValue(f"{value!r} is no address and no name")
    return value.strip()


class Encryption(Enum):
    """What is done about TLS on connections that begin in clear."""

    OFF = "off"
    OFFER = "offer"
    REQUIRE = "require"


class ClientWord(Enum):
    """What is done about a VM of direction "client" that names the service instead of a destination."""

    REFUSE = "refuse"
    SERVE = "serve"


_ENDPOINTS = values.endpoints(values.endpoint_without_tls("vm"), may_be_empty=True)
_TRACED = values.list_of(_traced, 'addresses or names such as ["10.1.2.3"]', may_be_empty=True, most=16)
_SERVICES = values.list_of(_service, 'words without "?" such as ["vmproxy"], or ["*"] for any')


@dataclass(frozen=True, slots=True)
class VMSettings:
    """How VMs are served.

    :ivar listen: endpoints where connections begin in clear.
    :ivar tls_listen: endpoints where connections begin with TLS.
    :ivar encryption: whether connections that begin in clear switch to TLS.
    :ivar handshake_timeout: seconds that a TLS handshake may take.
    :ivar service_uri: the services that are accepted; ``*`` is any.
    :ivar client_word: whether a VM of direction "client" with such a service is served as if it were a server.
    :ivar com_port: whether port control (RFC 2217) is accepted.
    :ivar keep_idle: seconds, as the hosts' serialN.keepIdle; 0 is off.
    :ivar identify_timeout: seconds that a connection has to say which VM it is.
    :ivar vmotion_timeout: seconds that a vMotion waits for a connection: the destination's, or one that was lost.
    :ivar vmotions_per_minute: how many vMotions one console may begin within a minute.
    :ivar limits: networks, numbers and rates of connections.
    :ivar trace: addresses of hosts, or names of VMs on them, whose connections are traced in the log.
    :ivar duplicates: the policy for a second connection of a console.
    :ivar consoles: how many consoles there may be, and new ones in a minute.
    """

    listen: tuple[str, ...] = setting(_ENDPOINTS, ("tcp:13370",), option="vm-listen")
    tls_listen: tuple[str, ...] = setting(_ENDPOINTS, ())
    tls: TLSSettings = group(TLSSettings)
    encryption: Encryption = setting(values.member(Encryption), Encryption.OFFER)
    handshake_timeout: float = setting(values.seconds(1, 3600), 20.0)
    service_uri: tuple[str, ...] = setting(_SERVICES, COMMON_WORDS, option="service-uri")
    client_word: ClientWord = setting(values.member(ClientWord), ClientWord.REFUSE)
    com_port: bool = setting(values.flag, True)
    keep_idle: int = setting(values.whole(0, 32767), 300)
    identify_timeout: float = setting(values.seconds(1, 3600), 30.0)
    vmotion_timeout: float = setting(values.seconds(1, 3600), 300.0)
    vmotions_per_minute: int = setting(values.whole(1, MOST), BEGINS_PER_MINUTE)
    limits: AdmissionLimits = group(AdmissionLimits)
    duplicates: DuplicatePolicy = group(DuplicatePolicy)
    trace: tuple[str, ...] = setting(_TRACED, ())
    consoles: ConsoleLimits = group(ConsoleLimits)

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        """The values that do not go with others."""
        if not self.listen and not self.tls_listen and not {"listen", "tls-listen"} & set(wrong):
            yield "listen", 'no VM could connect; give this, or vm.tls-listen, endpoints such as ["tcp:13370"]'
        if not self.tls.pairs and "certificates" not in wrong:
            needy = {
                "tls-listen": bool(self.tls_listen),
                "encryption": self.encryption is Encryption.REQUIRE,
                "client-ca": self.tls.client_ca is not None,
            }
            for key in (key for key, needs in needy.items() if needs):
                yield key, "this needs a certificate in vm.certificates; `vmproxy make-cert' makes one"
        if self.keep_idle == 0 and self.duplicates.policy != REPLACE and "keep-idle" not in wrong:
            yield (
                "second-connection",
                f"{self.duplicates.policy!r} needs vm.keep-idle, or the VMs of a host that lost power could never come"
                ' back; give "replace", or a keep-idle such as 300',
            )
