"""The SSH connection after the login: its channels are sessions and raw streams, nothing else."""

from __future__ import annotations

import struct
from typing import cast

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

from vmproxy.operators.operator import Operator
from vmproxy.ssh.channel import FlowChannel
from vmproxy.ssh.conch_log import QuietLogger
from vmproxy.ssh.direct_tcpip import open_raw
from vmproxy.ssh.session import SessionChannel
from vmproxy.ssh.transport import OperatorTransport

CHANNELS_LIMIT = 64
SMALLEST_PACKET = 4096  # each costs as much as encrypting several kilobytes; RFC 4253 (6.1) asks for 32768


class OperatorConnection(SSHConnection):
    """The channels of one login."""

    _log = QuietLogger()

    def serviceStarted(self) -> None:
        """Nothing to do: conch would have the operator know this, and the two would keep each other."""

    def getChannel(self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes) -> SSHChannel:
        """Make the channel that the client requests.

        :raises ConchError: if it may not be opened; the client is told why.
        """
        transport = cast(OperatorTransport, self.transport)
        operator, services = cast(Operator, transport.avatar), transport.services
        if len(self.channels) >= CHANNELS_LIMIT:
            raise ConchError("too many channels on this connection", OPEN_RESOURCE_SHORTAGE)
        if problem := services.sessions.problem(operator.name):
            raise ConchError(f"too many sessions: {problem}", OPEN_RESOURCE_SHORTAGE)
        if maxPacket < SMALLEST_PACKET:
            raise ConchError("the packets that you take are too small", OPEN_ADMINISTRATIVELY_PROHIBITED)
        channel: FlowChannel
        if channelType == b"session":
            channel = SessionChannel(operator, services, windowSize, maxPacket)
        elif channelType == b"direct-tcpip":
            if not operator.account.forwarding:
                raise ConchError("this key may not be used for raw streams", OPEN_ADMINISTRATIVELY_PROHIBITED)
            host, rest = getNS(data)
            (port,) = struct.unpack(">L", rest[:4])
            channel = open_raw(operator, services, host.decode("utf-8", "replace"), port, windowSize, maxPacket)
        else:
            raise ConchError("only sessions and consoles can be opened", OPEN_UNKNOWN_CHANNEL_TYPE)
        channel.conn = self
        services.sessions.take(channel, operator.name)
        return channel

    def channelClosed(self, channel: SSHChannel) -> None:
        """Let go of a channel."""
        super().channelClosed(channel)
        cast(OperatorTransport, self.transport).services.sessions.give_back(channel)

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> int:
        """Refuse every global request: there is no remote forwarding, and keepalives are content with a refusal."""
        return 0

    def ssh_CHANNEL_OPEN(self, packet: bytes) -> None:
        """Open a channel. conch would log each refusal with a traceback."""
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

    def close_one(self) -> bool:
        """Close a channel, as the connection is lost; :returns: whether there was one."""
        for channel in self.channelsToRemoteChannel:
            self.channelClosed(channel)
            return True
        return False

    def go_on(self) -> None:
        """Send the queues of all channels: the client reads again."""
        for channel in list(self.channels.values()):
            if isinstance(channel, FlowChannel):
                channel.pump()
