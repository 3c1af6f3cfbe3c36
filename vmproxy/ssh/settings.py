"""``[ssh]``: how operators are served."""

from __future__ import annotations

from dataclasses import dataclass

from vmproxy.auth.keyring import AccountSettings
from vmproxy.auth.limits import LoginLimits
from vmproxy.base import values
from vmproxy.base.schema import group, setting
from vmproxy.operators.operator import OperatorSettings
from vmproxy.ssh.algorithms import Algorithms


@dataclass(frozen=True, slots=True)
class SSHSettings:
    """How operators are served.

    :ivar listen: endpoints.
    :ivar accounts: the files with accounts and keys.
    :ivar limits: how many connections there may be.
    :ivar login_timeout: seconds that a client has to log in.
    :ivar keepalive: seconds of silence after which a client is asked whether it is still there; 0 is never.
    :ivar algorithms: what clients are offered.
    :ivar banner: a text for everybody who connects, before the login; may be empty.
    :ivar operators: defaults of sessions.
    """

    listen: tuple[str, ...] = setting(values.endpoints(), ("tcp:2222",), option="ssh-listen")
    accounts: AccountSettings = group(AccountSettings)
    limits: LoginLimits = group(LoginLimits)
    login_timeout: float = setting(values.seconds(1, 3600), 60.0)
    keepalive: float = setting(values.seconds(0, 3600), 30.0)
    algorithms: Algorithms = group(Algorithms)
    banner: str = setting(values.text, "")
    operators: OperatorSettings = group(OperatorSettings)
