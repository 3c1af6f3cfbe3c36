"""A connection that is gone is gone: nothing of it waits for the cyclic collector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.living import nothing_left
from tests.support.tls import TLSHost, use_tls, write_pem
from tests.support.vm import BEGIN, COM_PORT, DO_PROXY, MIGRATION_TIMEOUT, PEER, WILL, VMWorld, com, session, sub, verb
from vmproxy.console.migration import Migration
from vmproxy.vm.actions import Outbox
from vmproxy.vm.comport import PortControl
from vmproxy.vm.extension import Extension
from vmproxy.vm.negotiation import LineNegotiation
from vmproxy.vm.session import VMSession
from vmproxy.vm.telnet import HostTelnet
from vmproxy.vm.tls import Layer
from vmproxy.wire.telnet import Scanner

PARTS = (
    HostTelnet, VMSession, Extension, LineNegotiation, Outbox, PortControl, Scanner, Layer, Migration,
)  # fmt: skip


def served(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(b"some output")
    console.send(b"some input", "alice")
    host.lose()


def broken(w: VMWorld) -> None:
    w.vm()[0].die()


def with_port_control(w: VMWorld) -> None:
    host, _ = w.vm()
    host.feed(verb(WILL, COM_PORT) + com(1, b"\0\0\x25\x80") + com(5, b"\5"))
    host.lose()


def unidentified(w: VMWorld) -> None:
    w.connect().feed(b"nothing that makes sense \xff\xfa\xe8").lose()


def overdue(w: VMWorld) -> None:
    w.connect()
    w.clock.advance(60)


def refused(w: VMWorld) -> None:
    w.connect().feed(sub(DO_PROXY, b"Sno word of ours")).lose()


def wrong_peer(w: VMWorld) -> None:
    w.connect().feed(sub(PEER, b"no pair of ours")).lose()


def replaced(w: VMWorld) -> None:
    before, _ = w.vm()
    after = w.connect().feed(session())
    before.lose()
    after.lose()


def migrated(w: VMWorld) -> None:
    source, _ = w.vm()
    destination = w.destination(source.begin())
    source.lose()
    destination.feed(sub(46, b"\x01\x02\x03\x04"))
    destination.lose()


def migrated_and_retired(w: VMWorld) -> None:
    source, _ = w.vm()
    destination = w.destination(source.begin())
    destination.feed(sub(46, b"\x01\x02\x03\x04"))
    w.clock.advance(20)
    destination.lose()


def began_and_expired(w: VMWorld) -> None:
    source, _ = w.vm()
    source.begin()
    w.clock.advance(MIGRATION_TIMEOUT + 1)
    source.lose()


def began_and_lost(w: VMWorld) -> None:
    source, _ = w.vm()
    source.begin()
    source.lose()
    w.clock.advance(MIGRATION_TIMEOUT + 1)


def flooding(w: VMWorld) -> None:
    host = w.connect().feed(b"\xff\xf1" * 5000)
    w.clock.advance(2)
    host.lose()


def after_a_question(w: VMWorld) -> None:
    w.vm()[0].feed(sub(BEGIN, b"abcd") + b"behind it").lose()


def tls_from_the_start(w: VMWorld) -> None:
    TLSHost(w).feed(session()).lose()


def tls_in_band(w: VMWorld) -> None:
    TLSHost(w, from_start=False).switch().feed(session()).lose()


def tls_nonsense(w: VMWorld) -> None:
    TLSHost(w, shake=False).wire(b"GET / HTTP/1.0\r\n\r\n")
    w.clock.advance(30)


@pytest.mark.parametrize(
    "course",
    [
        served, broken, with_port_control, unidentified, overdue, refused, wrong_peer, replaced, migrated,
        migrated_and_retired, began_and_expired, began_and_lost, flooding, after_a_question,
        tls_from_the_start, tls_in_band, tls_nonsense,
    ],
    ids=lambda course: course.__name__,
)  # fmt: skip
def test_nothing_is_left_of_a_connection(w: VMWorld, tmp_path: Path, course: Callable[[VMWorld], None]) -> None:
    if "tls" in course.__name__:
        use_tls(w, write_pem(tmp_path / "vm.pem", "localhost"))
    with nothing_left(*PARTS):
        course(w)
        w.clock.advance(15)
        w.clock.advance(MIGRATION_TIMEOUT)
