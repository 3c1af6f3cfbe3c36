"""What an operator who has logged in may open: sessions, and raw streams to consoles. Nothing else."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from twisted.conch.avatar import ConchUser
from twisted.conch.error import ConchError
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import (
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
    SSHConnection,
)

from vmproxy.auth.accounts_file import Account
from vmproxy.operators.visible import View
from vmproxy.ssh.channel import FlowChannel
from vmproxy.ssh.conch_log import QuietLogger
from vmproxy.ssh.direct_tcpip import open_raw
from vmproxy.ssh.session import SessionChannel
from vmproxy.ssh.transport import OperatorTransport

if TYPE_CHECKING:
    from vmproxy.ssh.frontend import SSHFront

CHANNELS_LIMIT = 64
SMALLEST_PACKET = 64


class Operator(ConchUser):
    """Who has logged in.

    :ivar account: what is known of him; with a key that is restricted, less may be had.
    :ivar name: who it is, by the credential.
    :ivar user: the SSH user name that was given; it may name a console.
    :ivar peer: where from.
    :ivar view: the consoles that he may see, and what he may do there.
    :ivar escape: the two bytes of his escape.
    :ivar quiet: whether he wants fewer notices.
    """

    def __init__(self, front: SSHFront, account: Account) -> None:
        super().__init__()
        self.front = front
        self.account = account
        self.name = account.name
        self.groups = account.groups
        self.user = ""
        self.peer = ""
        self.view = View(front.directory, lambda: front.grants(account))
        self.escape = account.escape or front.settings.escape
        self.quiet = front.settings.quiet if account.quiet is None else account.quiet

    @property
    def who(self) -> str:
        """``alice@10.1.2.9``"""
        return f"{self.name}@{self.peer}"

    def audit(self, event: str, **fields: object) -> None:
        """Record that the operator did something: see :meth:`Audit.record`."""
        self.front.audit.record(event, **{"who": self.name, "from": self.peer, **fields})

    def logged_in(self, user: str, peer: str) -> None:
        """Told by the login what else is known."""
        self.user = user
        self.peer = peer

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> int:
        """Nothing is offered: no remote forwarding. Keepalives are satisfied with the refusal."""
        return 0


class OperatorConnection(SSHConnection):
    """The channels of one login."""

    _log = QuietLogger()

    def getChannel(self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes) -> SSHChannel:
        """Open a channel that the client asks for.

        :raises ConchError: if it may not be opened; the client is told why.
        """
        operator = cast(Operator, cast(OperatorTransport, self.transport).avatar)
        if len(self.channels) >= CHANNELS_LIMIT:
            raise ConchError("too many channels on this connection", OPEN_RESOURCE_SHORTAGE)
        if maxPacket < SMALLEST_PACKET:
            raise ConchError("the packets that you take are too small", OPEN_ADMINISTRATIVELY_PROHIBITED)
        channel: FlowChannel
        if channelType == b"session":
            channel = SessionChannel(operator, windowSize, maxPacket)
        elif channelType == b"direct-tcpip":
            if not operator.account.forwarding:
                raise ConchError("this key may not be used for raw streams", OPEN_ADMINISTRATIVELY_PROHIBITED)
            host, rest = getNS(data)
            (port,) = struct.unpack(">L", rest[:4])
            channel = open_raw(operator, host.decode("utf-8", "replace"), port, windowSize, maxPacket)
        else:
            raise ConchError("only sessions and consoles can be opened", OPEN_UNKNOWN_CHANNEL_TYPE)
        channel.conn = self
        return channel

    def ssh_CHANNEL_OPEN(self, packet: bytes) -> None:
        """The client wants a channel. conch would log each refusal with a traceback."""
        transport = cast(OperatorTransport, self.transport)
        kind, rest = getNS(packet)
        theirs, window, max_packet = struct.unpack(">3L", rest[:12])
        try:
            channel = self.getChannel(kind, window, max_packet, rest[12:])
        except ConchError as error:
            text, reason = error.args
            refusal = struct.pack(">2L", theirs, reason) + NS(text.encode()) + NS(b"")
            transport.sendPacket(MSG_CHANNEL_OPEN_FAILURE, refusal)
            return
        ours = self.localChannelID
        channel.id = ours  # type: ignore[assignment]  # conch annotates only the None that it starts with
        self.localChannelID += 1
        self.channels[ours] = channel
        self.channelsToRemoteChannel[channel] = theirs
        self.localToRemoteChannel[ours] = theirs
        confirmation = struct.pack(">4L", theirs, ours, channel.localWindowSize, channel.localMaxPacket)
        transport.sendPacket(MSG_CHANNEL_OPEN_CONFIRMATION, confirmation)
        channel.channelOpen(rest[12:])

    def adjustWindow(self, channel: SSHChannel, bytesToAdd: int) -> None:
        """Let the client send more, unless the channel holds its input."""
        if not (isinstance(channel, FlowChannel) and channel.holding):
            super().adjustWindow(channel, bytesToAdd)

    def go_on(self) -> None:
        """The client reads again: send what waits."""
        for channel in list(self.channels.values()):
            if isinstance(channel, FlowChannel):
                channel.pump()
