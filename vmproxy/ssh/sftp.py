"""SFTP, read-only: ``sftp`` and ``scp`` fetch logs and event trails, and change nothing.

conch's server parses the requests. Guards stand against its faults: it keeps all bytes until a packet is whole, of any
length; it answers without regard to the client's reading; it handles any number of requests at once; it never answers a
malformed request, so that the client waits for ever; it names handles by addresses in memory; it logs each packet. Here
requests are handled one after the other: the next one when the answer to the last is on its way and not too much waits
for the client, whose window stays shut meanwhile. Bound: open files are counted where they are opened, for all sessions
of an operator together.
"""

from __future__ import annotations

import errno
import struct

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.filetransfer import (
    FX_BAD_MESSAGE,
    FX_EOF,
    FX_FAILURE,
    FX_NO_SUCH_FILE,
    FX_OP_UNSUPPORTED,
    FX_PERMISSION_DENIED,
    FXP_HANDLE,
    FXP_INIT,
    FXP_STATUS,
    FileTransferServer,
)
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmproxy.base.tasks import spawn
from vmproxy.operators import exit_status, log_listing
from vmproxy.operators.session import Session, tell
from vmproxy.ssh.conch_log import QuietLogger
from vmproxy.ssh.sftp_folder import LogFolder, SFTPFile, as_bytes, denied

PACKET_LIMIT = 34_000
INPUT_HIGH = 64 * 1024
OUTPUT_HIGH = 128 * 1024

_Name = tuple[bytes, bytes, dict[str, int]]
_CODES = {errno.ENOENT: FX_NO_SUCH_FILE, errno.ENOTDIR: FX_NO_SUCH_FILE, errno.EACCES: FX_PERMISSION_DENIED}
_CHANGES = frozenset((b"WRITE", b"SETSTAT", b"FSETSTAT", b"REMOVE", b"MKDIR", b"RMDIR", b"RENAME", b"SYMLINK"))
_log = Logger()


class SFTP(FileTransferServer):
    """One SFTP session: an activity of a session channel."""

    _log = QuietLogger()

    def __init__(self, channel: Session) -> None:
        super().__init__(avatar=LogFolder(channel.operator, channel.services))
        self._channel = channel
        self._input = bytearray()
        self._begun = False  # the client has sent its version
        self._answering = False  # a request is being handled
        self._in_turn = False
        self._later = False
        self._no_more = False
        self._handles = 0

    # The activity.

    def typed(self, data: bytes) -> None:
        self._input += data
        self._go_on()

    def drained(self) -> None:
        self._go_on()

    def send_break(self) -> None:
        """Nothing to do: there is no console."""

    def resized(self, width: int, height: int) -> None:
        """Nothing to do: there is no terminal."""

    def eof(self) -> None:
        self._no_more = True
        self._go_on()

    def stop(self) -> None:
        self._input.clear()
        files, self.openFiles = self.openFiles, {}
        folders, self.openDirs = self.openDirs, {}
        for file in files.values():
            file.close()
        for folder, _ in folders.values():
            folder.close()

    # One request after the other.

    def _go_on(self) -> None:
        if self._in_turn:
            return
        self._in_turn = True
        try:
            while self._may_take():
                packet = self._packet()
                if packet is None:
                    break
                self._handle(packet[0], packet[1:])
        finally:
            self._in_turn = False
        busy = self._answering or self._later or self._channel.queued > 0
        self._channel.router.hold(busy and len(self._input) > INPUT_HIGH)
        if self._no_more and not busy:
            self._channel.finish(exit_status.OK)

    def _may_take(self) -> bool:
        if self._answering or self._later or self._channel.over or self._channel.queued > OUTPUT_HIGH:
            return False
        operator, turns = self._channel.operator, self._channel.services.turns
        if not (turns.open() and operator.view.prepare(turns.open)):  # an answer has waited: there may be other rules
            self._later = True
            turns.wait(operator.name, self._next_turn)
            return False
        return True

    def _next_turn(self) -> None:
        self._later = False
        if not self._channel.over:
            self._go_on()

    def _packet(self) -> bytes | None:
        if len(self._input) < 5:
            return None
        (length,) = struct.unpack_from("!L", self._input)
        if not 5 <= length <= PACKET_LIMIT:
            self._break_off("a packet of an impossible length")
            return None
        if len(self._input) < 4 + length:
            return None
        packet = bytes(self._input[4 : 4 + length])
        del self._input[: 4 + length]
        return packet

    def _handle(self, kind: int, data: bytes) -> None:
        if (kind == FXP_INIT) == self._begun:
            self._break_off("a packet at the wrong time")
            return
        self._answering = True
        try:
            if kind == FXP_INIT:
                self._begun = True
                self.packet_INIT(data)
                return
            name = self.packetTypes.get(kind, "")
            handler = getattr(self, f"packet_{name}", None)
            if handler is None:
                self._send_status(data[:4], FX_OP_UNSUPPORTED, b"there is no such request")
            elif name.encode() in _CHANGES:
                self._ebStatus(Failure(denied()), data[:4])
            else:
                handler(data)
        except Exception:  # whatever conch's parsers raise
            if kind == FXP_INIT:
                self._break_off("a greeting that makes no sense")
            elif self._answering:
                self._send_status(data[:4], FX_BAD_MESSAGE, b"that request makes no sense")

    def _break_off(self, why: str) -> None:
        self._input.clear()
        tell(self._channel, f"sftp: {why}")
        self._channel.finish(exit_status.USAGE)

    # Answers: overrides of conch's.

    def sendPacket(self, kind: int, data: bytes) -> None:
        """Send an answer, one for each request, and go on to the next request."""
        self._answering = False
        self._channel.send(struct.pack("!LB", len(data) + 1, kind) + data)
        self._go_on()

    def _send_status(self, request: bytes, code: int, text: bytes) -> None:
        self.sendPacket(FXP_STATUS, request + struct.pack("!L", code) + NS(text) + NS(b""))

    def _cbOpenFile(self, fileObj: SFTPFile, requestId: bytes) -> None:
        if self._channel.over:
            fileObj.close()
            return
        handle = self._new_handle()
        self.openFiles[handle] = fileObj
        self.sendPacket(FXP_HANDLE, requestId + NS(handle))

    def _cbOpenDirectory(self, dirObj: log_listing.Listing, requestId: bytes) -> None:
        handle = self._new_handle()
        self.openDirs[handle] = [dirObj, dirObj]
        self.sendPacket(FXP_HANDLE, requestId + NS(handle))

    def _new_handle(self) -> bytes:
        self._handles += 1
        return b"%d" % self._handles

    def _scanDirectory(self, dirIter: log_listing.Listing, f: object) -> Deferred[list[_Name]]:
        return spawn(self._names(dirIter))

    async def _names(self, listing: log_listing.Listing) -> list[_Name]:
        entries = await listing.read()
        if not entries:
            raise EOFError("that is all")
        return [(as_bytes(entry.name), as_bytes(entry.line), entry.attributes) for entry in entries]

    def _ebRead(self, reason: Failure, requestId: bytes) -> None:
        self._ebStatus(reason, requestId)

    def _ebStatus(self, reason: Failure, requestId: bytes, msg: bytes = b"") -> None:
        error = reason.value
        text = str(error)
        if isinstance(error, OSError):
            code = _CODES.get(error.errno or 0, FX_FAILURE)
            text = error.strerror or text
        elif isinstance(error, EOFError):
            code, text = FX_EOF, "end of file"
        elif isinstance(error, NotImplementedError):
            code = FX_OP_UNSUPPORTED
        elif isinstance(error, KeyError):
            code, text = FX_FAILURE, "there is no such handle"
        else:
            _log.failure("an SFTP request of {who} failed", failure=reason, who=self._channel.operator.who)
            code, text = FX_FAILURE, "internal error; the daemon's log says more"
        self._send_status(requestId, code, text.encode("utf-8", "backslashreplace"))
