"""What conch's client lacks: the ciphers and MACs of which the other ends are in :mod:`vmproxy.ssh.packets`."""

from __future__ import annotations

from twisted.conch.ssh.transport import SSHCiphers, SSHClientTransport

from vmproxy.ssh import packets

NEWKEYS = 21


class AnyCipher(SSHClientTransport):
    """A client that takes what it is told to offer; where conch lacks that, its packets are made here."""

    _next: tuple[packets.Sealer, packets.Opener] | None = None
    _own: tuple[packets.Sealer, packets.Opener] | None = None
    _size = 0  # of the packet that is coming

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        cipher, mac = self.nextEncryptions.outCipType, self.nextEncryptions.outMACType
        if cipher in SSHCiphers.cipherMap and mac in SSHCiphers.macMap:
            super()._keySetup(sharedSecret, exchangeHash)
            return
        self.sessionID = self.sessionID or exchangeHash
        c_iv, s_iv, c_key, s_key, c_mac, s_mac = (
            self._getKey(bytes([letter]), sharedSecret, exchangeHash) for letter in b"ABCDEF"
        )
        self._next = (
            packets.make_sealer(cipher, mac, packets.Keys(c_iv, c_key, c_mac)),
            packets.make_opener(cipher, mac, packets.Keys(s_iv, s_key, s_mac)),
        )
        self.nextEncryptions.encBlockSize = 16  # conch's sign that the keys are there
        self.sendPacket(NEWKEYS, b"")

    def _newKeys(self) -> None:
        self._own, self._next = self._next, None
        super()._newKeys()

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        waits = self._keyExchangeState != self._KEY_EXCHANGE_NONE
        if self._own is None or (waits and not self._allowedKeyExchangeMessageType(messageType)):
            super().sendPacket(messageType, payload)
        else:
            packet = self._own[0].seal(self.outgoingPacketSequence, messageType, payload)
            self.outgoingPacketSequence += 1
            assert self.transport is not None
            self.transport.write(packet)

    def getPacket(self) -> bytes | None:
        if self._own is None:
            packet: bytes | None = super().getPacket()
            return packet
        opener = self._own[1]
        if not self._size:
            if len(self.buf) < opener.head:
                return None
            length = opener.length(self.incomingPacketSequence, self.buf[: opener.head])
            self._size = 4 + length + opener.tag
        if len(self.buf) < self._size:
            return None
        packet = opener.open(self.incomingPacketSequence, self.buf[: self._size])
        self.buf, self._size = self.buf[self._size :], 0
        self.incomingPacketSequence += 1
        return packet
