"""A concentrator of the tests' own, as unlike vmproxy on the wire as one may be: ``small_peer.py PORT FOLDER``.

It says nothing before the machine has spoken, sends its list only as the answer to the machine's, asks who the machine
is before it says WILL-PROXY, and wants nothing to do with COM-PORT. What it serves is served by a child of the process.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from bench import canned

_LIST = canned.sub(1, bytes((0, 1, 70, 71, 80, 81, 82, 83)))
_SUB = re.compile(re.escape(canned.SUB) + rb"(.)(.*?)" + re.escape(canned.END), re.DOTALL)
_ANSWERS = {0: _LIST, 70: canned.sub(81) + canned.sub(83), 80: canned.sub(71)}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    received = b""
    greeted = False
    try:
        while data := await reader.read(65536):
            received += data
            if not greeted and canned.WILL_VMWARE in received:
                greeted = True
                writer.write(canned.OPENING)
            if canned.WILL_COM_PORT in received:
                received = received.replace(canned.WILL_COM_PORT, b"")
                writer.write(canned.DONT_COM_PORT)
            end = 0
            for match in _SUB.finditer(received):
                code, said, end = match[1][0], match[2], match.end()
                if code == canned.BEGIN:
                    writer.write(canned.sub(canned.GOAHEAD, said + b"12345678"))
                elif code == canned.PEER:
                    writer.write(canned.sub(canned.PEER_OK, said[:4]))
                else:
                    writer.write(_ANSWERS.get(code, b""))
            received = received[max(end, len(received) - 1000) :]
    except ConnectionError:
        pass
    writer.close()


async def _main(port: int, folder: Path) -> None:
    (folder / "served by").write_text(str(os.getpid()))
    server = await asyncio.start_server(_serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if child := os.fork():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        os.waitpid(child, 0)
    else:
        asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2])))
