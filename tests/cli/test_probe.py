"""``vmproxy probe``: a host against concentrators that are good, bad, silent, or none at all."""

from __future__ import annotations

import io
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from functools import partial

import pytest

from vmproxy.cli import main, probe
from vmproxy.wire.telnet import (
    BINARY,
    DO,
    DONT,
    VMWARE_EXT,
    WILL,
    WONT,
    Negotiation,
    Scanner,
    Subnegotiation,
    negotiation,
    subnegotiation,
)
from vmproxy.wire.vmware import SUPPORTED, Sub, message

Server = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def serve() -> Iterator[Server]:
    """Starts a server of which a function has each connection; gives its URI."""
    with ExitStack() as stack:

        def start(play: Callable[[socket.socket], None]) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        sock, _ = listening.accept()
                        stack.callback(sock.close)
                        threading.Thread(target=quietly, args=(sock,), daemon=True).start()

            def quietly(sock: socket.socket) -> None:
                with suppress(OSError):
                    play(sock)

            threading.Thread(target=accept, daemon=True).start()
            return f"telnet://127.0.0.1:{listening.getsockname()[1]}"

        yield start


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main.main(["probe", *words])
    found = capsys.readouterr()
    return status, found.out + found.err


def run_at_once(uris: list[str]) -> list[tuple[int, str]]:
    """The probe of each: it waits for what does not come, which many can do at once."""
    told: dict[int, list[str]] = defaultdict(list)

    class Told(io.StringIO):
        def write(self, text: str) -> int:
            told[threading.get_ident()].append(text)
            return len(text)

    def one(uri: str) -> tuple[int, str]:
        told.pop(threading.get_ident(), None)
        status = main.main(["probe", uri])
        return status, "".join(told[threading.get_ident()])

    with redirect_stdout(Told()), redirect_stderr(Told()), ThreadPoolExecutor(len(uris)) as pool:
        return list(pool.map(one, uris))


def proxy(sock: socket.socket, *, without: str = "") -> None:
    """A concentrator with a fault, or none."""
    agreed = {(WILL, VMWARE_EXT)} if without == "ext" else set[tuple[int, int]]()
    scanner = Scanner()

    def say(code: int, parameters: bytes = b"") -> None:
        sock.sendall(subnegotiation(VMWARE_EXT, message(code, parameters)))

    if without != "binary":
        sock.sendall(negotiation(WILL, BINARY) + negotiation(DO, BINARY))
    while data := sock.recv(4096):
        for token in scanner.feed(data):
            match token:
                case Negotiation(verb=verb, option=option):
                    if (verb, option) in agreed and without != "manners":
                        continue
                    agreed.add((verb, option))
                    if option == VMWARE_EXT and verb == WILL:
                        sock.sendall(negotiation(DO, option))
                    elif option == BINARY and without == "manners":
                        sock.sendall(negotiation(WILL if verb == DO else DO, option))
                    elif option != BINARY and verb in (WILL, DO):
                        sock.sendall(negotiation(DONT if verb == WILL else WONT, option))
                case Subnegotiation(payload=payload):
                    code, rest = payload[0], payload[1:]
                    if code == Sub.KNOWN_SUBOPTIONS_1:
                        say(Sub.KNOWN_SUBOPTIONS_2, SUPPORTED)
                    elif code == Sub.DO_PROXY:
                        say(Sub.WONT_PROXY if rest == b"Sother" else Sub.WILL_PROXY)
                        if without != "identity":
                            say(Sub.GET_VM_VC_UUID)
                            say(Sub.GET_VM_NAME)
                    elif code == Sub.VMOTION_BEGIN:
                        say(
                            Sub.VMOTION_GOAHEAD,
                            rest.replace(b"\xff", b"") + b"secret" if without == "doubling" else rest + b"secret",
                        )
                    elif code == Sub.VMOTION_PEER and (rest.endswith(b"secret") or without == "secret"):
                        say(Sub.VMOTION_PEER_OK, rest[:4])
                    elif code == 99 and without != "unknown":
                        say(Sub.UNKNOWN_SUBOPTION_RCVD_2, rest or bytes([99]))


def test_a_good_one_has_nothing_wrong(serve: Server, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = run(capsys, serve(proxy))
    assert "WRONG" not in told
    assert "note" not in told
    assert told.endswith("nothing wrong\n")
    assert "the VM has moved" in told
    assert status == 0


FAULTS = {
    "ext": "it is no concentrator for ESXi",
    "binary": "it does not do BINARY",
    "identity": "it never asks for the VC UUID",
    "unknown": "is not answered with UNKNOWN-SUBOPTION-RCVD-2",
    "manners": "a loop",
    "doubling": "is a byte 255 doubled",
    "secret": "that does not know the secret",
}


def test_each_fault_is_named(serve: Server) -> None:
    found = run_at_once([serve(partial(proxy, without=fault)) for fault in FAULTS])
    for told, (status, said) in zip(FAULTS.values(), found, strict=True):
        assert status == 1
        (wrong,) = [line for line in said.splitlines() if line.startswith("WRONG")]
        assert told in wrong


def test_a_refused_service_uri_is_named(serve: Server, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(capsys, serve(proxy), "--service-uri", "other")
    assert status == 1
    assert "it refuses the Port URI other (WONT-PROXY); see --service-uri" in said


def silent(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


def flood(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"x" * 65536)


def nonsense(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n\xff\xfa\xe8" + bytes(5000) + b"\xff\xf0\xff\xf0")
    sock.close()


def test_whatever_is_there_the_probe_ends(serve: Server) -> None:
    for status, said in run_at_once([serve(play) for play in (silent, flood, nonsense, lambda sock: sock.close())]):
        assert status == 1
        assert "WRONG" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("uri", ["http://x:1", "telnet://", "telnet://x:99999", "13370", "telnet://[::1", "tcp://h:1"])
def test_a_uri_that_is_none(capsys: pytest.CaptureFixture[str], uri: str) -> None:
    status, said = run(capsys, uri)
    assert status == 2
    assert uri in said


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    status, said = run(capsys, f"telnet://127.0.0.1:{port}")
    assert status == 1
    assert "broken off" in said


def test_a_connection_that_ends_behind_a_question_has_ended_and_nothing_is_wrong() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        host = probe.Host(ours)
        theirs.sendall(negotiation(DO, BINARY) + negotiation(WILL, BINARY))
        theirs.close()  # no answer can be sent any more
        assert not host.wait(lambda: False)
        assert host.closed
        assert host.has(WILL, BINARY)
