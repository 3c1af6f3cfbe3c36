"""What a connection begins with: the options that are asked for, those that are agreed to, and the bytes that say so.

They are the same for every connection of a configuration, so they are made once.
"""

from __future__ import annotations

from functools import cache

from vmproxy.wire.options import Acceptable, Options, Side
from vmproxy.wire.telnet import AUTHENTICATION, BINARY, COM_PORT, ECHO, SGA, VMWARE_EXT

_ASKED = (
    (BINARY, Side.US),
    (SGA, Side.US),
    (ECHO, Side.US),
    (BINARY, Side.HIM),
    (SGA, Side.HIM),
)
_OURS = (BINARY, SGA, ECHO, VMWARE_EXT)


@cache
def _opening(com_port: bool, tls: bool, guarded: bool) -> tuple[Options, bytes]:
    his = (BINARY, SGA, VMWARE_EXT, *((COM_PORT,) if com_port else ()), *((AUTHENTICATION,) if tls else ()))
    options = Options(Acceptable(_OURS, his))
    # Where nothing is believed before TLS, VMware's extension waits for it.
    asked = (*_ASKED, (AUTHENTICATION if guarded else VMWARE_EXT, Side.HIM))
    return options, b"".join(options.ask(option, side, True) for option, side in asked)


def opening(com_port: bool, tls: bool = False, guarded: bool = False) -> tuple[Options, bytes]:
    """How a connection begins.

    :param com_port: whether port control is agreed to; ``tls``: whether TLS is, in-band.
    :param guarded: whether TLS is asked for, and VMware's extension is not yet.
    :returns: the state of its options, and the bytes that ask for them.
    """
    options, asked = _opening(com_port, tls, guarded)
    return options.copy(), asked
