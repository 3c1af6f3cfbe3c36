"""From the first byte to the login, between conch's client transport and ours."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.common import NS, getNS

from tests.support.fakes import Logged
from tests.support.logins import answered, request
from tests.support.ssh import (
    BANNER,
    EXT_INFO,
    LOGIN_TIMEOUT,
    PK_OK,
    SERVICE_ACCEPT,
    SERVICE_REQUEST,
    USERAUTH_FAILURE,
    USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
    Client,
    SSHWorld,
    authorized_line,
    ed25519_key,
    rsa_key,
)
from vmproxy.ssh.algorithms import Algorithms
from vmproxy.ssh.connection import OperatorConnection
from vmproxy.ssh.key_exchange import METHODS
from vmproxy.ssh.packets import CIPHERS, MACS
from vmproxy.ssh.userauth import TRIES, WAITING_LIMIT


def _lists(kexinit: bytes) -> list[list[bytes]]:
    return [s.split(b",") for s in getNS(kexinit[16:], 10)[:-1]]


def test_exactly_the_hardened_algorithms_are_offered(w: SSHWorld) -> None:
    kex, keys, cipher_in, cipher_out, mac_in, mac_out, zip_in, zip_out, *_ = _lists(w.connect().server_kexinit)
    assert kex == [
        b"mlkem768x25519-sha256",
        b"curve25519-sha256",
        b"curve25519-sha256@libssh.org",
        b"diffie-hellman-group16-sha512",
        b"diffie-hellman-group18-sha512",
        b"diffie-hellman-group-exchange-sha256",
        b"kex-strict-s-v00@openssh.com",
        b"ext-info-s",
    ]
    assert keys == [b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"]
    assert cipher_in == cipher_out == list(CIPHERS)
    assert mac_in == mac_out == list(MACS)
    assert zip_in == zip_out == [b"none"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("supportedCompressions", b"zlib"),
        ("supportedCiphers", b"aes128-cbc"),
        ("supportedMACs", b"hmac-sha1"),
        ("supportedKeyExchanges", b"diffie-hellman-group14-sha1"),
        ("supportedKeyExchanges", b"ecdh-sha2-nistp256"),
        ("supportedPublicKeys", b"ssh-rsa"),
    ],
)
def test_a_client_that_can_only_do_what_is_not_offered_is_refused_and_told_of(
    w: SSHWorld, field: str, value: bytes, logged: Logged
) -> None:
    client = Client(w)
    setattr(client, field, [value])
    client.begin()
    client.server.dataReceived(bytes(client.out.buffer))
    assert client.closed
    assert not logged.tracebacks
    assert f"the client has {value.decode()}" in "\n".join(logged)


@pytest.mark.filterwarnings("ignore:Diffie-Hellman")  # in conch's client
@pytest.mark.parametrize("kex", [name for name in METHODS if b"group1" not in name])  # which conch's client lacks
@pytest.mark.parametrize("host_key", [b"ssh-ed25519", b"rsa-sha2-256", b"rsa-sha2-512"])
@pytest.mark.parametrize("strict", [True, False])
def test_every_key_exchange_that_there_is_works(w: SSHWorld, kex: bytes, host_key: bytes, strict: bool) -> None:
    w.factory.use(Algorithms(kex=tuple(METHODS)), "")
    client = Client(w, strict)
    client.supportedKeyExchanges = [kex, *client.supportedKeyExchanges[1:]]
    client.supportedPublicKeys = [host_key]
    client.begin()
    client.pump()
    assert client.secure
    client.log_in()


@pytest.mark.parametrize("cipher", list(CIPHERS))
@pytest.mark.parametrize("mac", list(MACS))
def test_every_cipher_and_mac_works_also_after_another_key_exchange(w: SSHWorld, cipher: bytes, mac: bytes) -> None:
    w.vm()
    client = w.login("web01", cipher=cipher, mac=mac)
    channel = client.attach()
    for _ in range(3):
        channel.type(b"typed")
        w.console().feed(b"printed")
        client.pump()
        client.start_rekey()
        client.finish_rekey()
    assert channel.out == b"printed" * 3
    assert w.console().link.written == b"typed" * 3


def test_algorithms_count_for_new_connections(w: SSHWorld) -> None:
    before = w.login()
    w.factory.use(Algorithms(ciphers=(b"aes256-gcm@openssh.com",)), "")
    before.start_rekey()
    before.finish_rekey()
    assert before.run("whoami").status == 0
    client = Client(w)
    client.begin()
    client.pump()
    assert client.closed
    assert w.login(cipher=b"aes256-gcm@openssh.com").run("whoami").status == 0


def test_a_banner_is_shown_once_before_anybody_has_logged_in(w: SSHWorld) -> None:
    client = w.connect()
    client.ask_for_login()
    assert client.numbers[-1] == SERVICE_ACCEPT
    w.factory.use(w.factory.algorithms, "Authorized use only.\n\\x1b[2J é")
    client = w.connect()
    client.ask_for_login()
    assert client.taken(BANNER) == [NS("Authorized use only.\r\n\\x1b[2J é\r\n".encode()) + NS(b"")]
    client.send(USERAUTH_REQUEST, client.auth_packet(b"alice", ed25519_key()))
    assert client.numbers[-1] == USERAUTH_SUCCESS
    assert client.taken(BANNER) == []


def test_operators_are_told_which_signatures_may_be_used_and_not_those_of_the_host_keys(w: SSHWorld) -> None:
    (payload,) = w.connect().taken(EXT_INFO)
    name, value, _ = getNS(payload[4:], 2)
    assert name == b"server-sig-algs"
    assert b"ssh-ed25519" in value.split(b",")
    assert b"rsa-sha2-512" in value.split(b",")
    assert b"ssh-rsa" not in value.split(b",")


def test_the_holder_of_an_authorized_key_gets_in(w: SSHWorld) -> None:
    w.vm()
    client = w.login("alice:web01")
    assert isinstance(client.server.service, OperatorConnection)
    assert client.attach().screen.endswith(b"[attached]\r\n")
    assert w.console().write_access.writer is not None
    assert w.console().write_access.writer.who == "alice@10.1.2.9"


def test_the_key_decides_who_one_is_and_not_the_user_name(w: SSHWorld) -> None:
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(b"bob:web01", ed25519_key()))
    assert not answered(client)


def test_a_question_about_a_key_tells_only_of_accepted_ones(w: SSHWorld) -> None:
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(1), signed=False))
    assert client.taken(PK_OK) == []
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(), signed=False))
    assert client.taken(PK_OK) == [NS(b"ssh-ed25519") + NS(ed25519_key().public().blob())]
    assert USERAUTH_SUCCESS not in client.numbers


def test_only_public_keys_are_offered_as_a_method(w: SSHWorld) -> None:
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, NS(b"web01") + NS(b"ssh-connection") + NS(b"none"))
    assert client.taken(USERAUTH_FAILURE) == [NS(b"publickey") + b"\0"]
    client.send(USERAUTH_REQUEST, request("web01", b"password", b"\0" + NS(b"x")))
    client.send(USERAUTH_REQUEST, request("web01", b"keyboard-interactive", NS(b"") + NS(b"")))
    w.clock.advance(1)
    client.pump()
    w.clock.advance(1)
    client.pump()
    assert client.taken(USERAUTH_FAILURE) == [NS(b"publickey") + b"\0"] * 2


def test_rsa_works_with_sha2_and_not_with_sha1(w: SSHWorld) -> None:
    w.keys_file.write_bytes(authorized_line(rsa_key()))
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", rsa_key(), algorithm=b"ssh-rsa"))
    assert not answered(client)
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", rsa_key(), algorithm=b"rsa-sha2-256"))
    assert client.taken(USERAUTH_SUCCESS)


# The deadline


def _late(w: SSHWorld, client: Client) -> None:
    w.clock.advance(LOGIN_TIMEOUT - 0.01)
    client.pump()
    assert not client.closed
    w.clock.advance(0.02)
    client.pump()
    assert client.closed
    assert client.server not in w.front.transports


def test_a_client_that_says_nothing_is_cut_off(w: SSHWorld) -> None:
    client = Client(w)
    client.plain()
    client.out.buffer.clear()
    _late(w, client)


def test_a_client_that_stops_in_the_middle_of_the_key_exchange_is_cut_off(w: SSHWorld, logged: Logged) -> None:
    client = Client(w)
    client.begin()
    client.answer_kex = False
    client.pump()
    assert client.server_kexinit
    _late(w, client)
    assert not logged.tracebacks


def test_a_client_that_stops_after_the_key_exchange_or_after_a_bad_try_is_cut_off(w: SSHWorld) -> None:
    idle, tried = w.connect(), w.connect()
    tried.ask_for_login()
    tried.send(USERAUTH_REQUEST, tried.auth_packet(b"web01", ed25519_key(1)))
    _late(w, idle)
    tried.pump()
    assert tried.closed


def test_new_tries_do_not_prolong_the_deadline(w: SSHWorld) -> None:
    client = w.connect()
    w.clock.advance(LOGIN_TIMEOUT - 1)
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(), signed=False))
    w.clock.advance(2)
    client.pump()
    assert client.closed


def test_who_has_logged_in_has_no_deadline(w: SSHWorld) -> None:
    client = w.login()
    w.clock.advance(10 * LOGIN_TIMEOUT)
    client.pump()
    assert not client.closed
    assert len(w.front.deadline) == 0


def test_a_client_that_reads_nothing_cannot_outlive_the_deadline(w: SSHWorld) -> None:
    # loseConnection() waits until everything is written, which never happens here.
    client = Client(w)
    client.tcp.reads = False
    client.tcp.write(b"x" * 1_000_000)
    for _ in range(int(LOGIN_TIMEOUT) + 30):
        w.clock.advance(1)
    assert not client.tcp.connected
    assert client.server not in w.front.transports


# Attempts


def _tries(client: Client, count: int) -> None:
    for _ in range(count):
        if not client.closed:
            client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(1)))
            answered(client)


def test_the_number_of_tries_is_limited(w: SSHWorld) -> None:
    client = w.connect()
    client.ask_for_login()
    _tries(client, TRIES - 1)
    assert not client.closed
    _tries(client, 1)
    assert client.closed


def test_asking_for_the_login_service_anew_does_not_give_new_tries(w: SSHWorld) -> None:
    client = w.connect()
    for _ in range(TRIES):
        if not client.closed:
            client.ask_for_login()
        _tries(client, 2)
    assert client.closed


def test_the_login_service_is_not_started_again_for_who_is_logged_in(w: SSHWorld) -> None:
    w.vm()
    client = w.login("web01")
    client.attach()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(b"db01", ed25519_key()))
    assert client.closed or isinstance(client.server.service, OperatorConnection)
    assert USERAUTH_SUCCESS not in client.numbers


def test_tries_that_come_all_at_once_are_dealt_with_one_after_the_other(w: SSHWorld) -> None:
    # Each reads files on a thread: a client must not fill the pool that also serves logs and replays.
    client = w.connect()
    client.ask_for_login()
    w.threads_held = True
    packet = client.auth_packet(b"web01", ed25519_key(), signed=False)
    for _ in range(500):
        client.sendPacket(USERAUTH_REQUEST, packet)
    client.pump()
    assert w.waiting_for_threads <= 1
    assert client.closed, f"no more than {WAITING_LIMIT} are kept"
    w.release_threads()


def test_who_logged_in_is_told_by_the_request_that_was_proved(w: SSHWorld, logged: Logged) -> None:
    # While the keys are read another request may come in; its name was not checked.
    w.vm()
    client = w.connect()
    client.ask_for_login()
    w.threads_held = True
    client.sendPacket(USERAUTH_REQUEST, client.auth_packet(b"alice:web01", ed25519_key()))
    client.sendPacket(USERAUTH_REQUEST, NS(b"mallory:db01") + NS(b"ssh-connection") + NS(b"none"))
    client.pump()
    w.release_threads()
    client.pump()
    if not client.closed:
        assert client.operator.user == "alice:web01"
    assert not any("logged in as mallory" in line for line in logged)


def test_a_connection_lost_while_the_keys_are_read_logs_nobody_in(w: SSHWorld, logged: Logged) -> None:
    client = w.connect()
    client.ask_for_login()
    w.threads_held = True
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key()))
    client.tcp.closed()
    w.release_threads()
    assert not any("logged in" in line for line in logged)
    assert not logged.tracebacks


# Requests that make no sense


def _bad_requests() -> dict[str, bytes]:
    blob = ed25519_key().public().blob()
    head = NS(b"web01") + NS(b"ssh-connection") + NS(b"publickey")
    return {
        "empty": b"",
        "half a string": b"\0\0\0\x10abc",
        "no method": NS(b"a") + NS(b"b"),
        "no key": head,
        "an algorithm that is not ASCII": head + b"\0" + NS(b"\xff\xfe") + NS(b"bad"),
        "a key that is none": head + b"\0" + NS(b"ssh-ed25519") + NS(b"bad"),
        "a key cut short": head + b"\0" + NS(b"ssh-ed25519") + NS(blob[:-4]),
        "an empty key": head + b"\0" + NS(b"ssh-ed25519") + NS(b""),
        "an empty signature": head + b"\1" + NS(b"ssh-ed25519") + NS(blob) + NS(b""),
        "no signature": head + b"\1" + NS(b"ssh-ed25519") + NS(blob),
        "a signature that is none": head + b"\1" + NS(b"ssh-ed25519") + NS(blob) + NS(b"\xff" * 70),
        "a method that is not ASCII": NS(b"web01") + NS(b"ssh-connection") + NS(b"\xff"),
        "a name that is not UTF-8": NS(b"\xff\n\x1b[2J") + NS(b"ssh-connection") + NS(b"publickey") + head,
        "an RSA key without numbers": head + b"\0" + NS(b"rsa-sha2-256") + NS(NS(b"ssh-rsa")),
        "an RSA key of zeros": head + b"\0" + NS(b"rsa-sha2-256") + NS(NS(b"ssh-rsa") + NS(b"\0") + NS(b"\0")),
        "a curve that is none": head + b"\0" + NS(b"ecdsa-sha2-nistp256") + NS(NS(b"ecdsa-sha2-nistp256") + NS(b"x")),
        "a security key signed with nothing": head
        + b"\1"
        + NS(b"sk-ssh-ed25519@openssh.com")
        + NS(NS(b"sk-ssh-ed25519@openssh.com") + NS(b"\1" * 32) + NS(b"ssh:"))
        + NS(b""),
    }


@pytest.mark.parametrize("kind", _bad_requests())
def test_a_request_that_makes_no_sense_fails_quietly(w: SSHWorld, kind: str, logged: Logged) -> None:
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, _bad_requests()[kind])
    assert not answered(client)
    assert USERAUTH_SUCCESS not in client.numbers
    assert not logged.tracebacks


@pytest.mark.parametrize("service", [b"ssh-userauth", b"nonsense", b"", b"\xff"])
def test_a_login_for_another_service_fails_quietly(w: SSHWorld, service: bytes, logged: Logged) -> None:
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(b"web01", ed25519_key(), service=service))
    assert USERAUTH_SUCCESS not in client.numbers
    assert not logged.tracebacks
    w.clock.advance(LOGIN_TIMEOUT + 1)
    client.pump()
    assert client.closed, "it is not logged in, so the deadline counts"


def test_what_a_client_sends_is_never_taken_for_a_format_by_the_logger(w: SSHWorld, logged: Logged) -> None:
    # twisted.logger evaluates {log_source...}, calls included, in whatever it is given as a format.
    client = w.connect()
    client.ask_for_login()
    stopped: list[bool] = []
    w.front.stop = lambda: stopped.append(True)  # type: ignore[assignment, return-value]  # replaced
    for probe in (b"{log_source.transport._front.stop()}", b"{log_source.transport.factory.privateKeys}", b"{"):
        head = NS(b"web01") + NS(b"ssh-connection") + NS(b"publickey") + b"\0"
        client.send(USERAUTH_REQUEST, head + NS(probe) + NS(b"bad"))
        client.send(USERAUTH_REQUEST, NS(probe) + NS(probe) + NS(probe) + NS(probe))
    lines = "\n".join(logged)
    assert stopped == []
    assert "Private Key" not in lines
    assert "Unable to format" not in lines


@pytest.mark.parametrize("service", [b"ssh-connection", b"nonsense", b""])
def test_no_service_but_the_login_is_to_be_had_before_it(w: SSHWorld, service: bytes, logged: Logged) -> None:
    client = w.connect()
    client.send(SERVICE_REQUEST, NS(service))
    assert client.closed
    assert SERVICE_ACCEPT not in client.numbers
    assert not logged.tracebacks


def test_the_whole_log_of_a_login_is_short_and_names_who_and_where(w: SSHWorld, logged: Logged) -> None:
    client = w.login("alice:web01")
    client.tcp.closed()
    assert any("alice@10.1.2.9 logged in as alice:web01" in line for line in logged)
    assert logged.size < 2000


def test_a_refused_login_is_logged_with_a_name_that_is_safe_to_show(w: SSHWorld, logged: Logged) -> None:
    client = w.connect()
    client.ask_for_login()
    client.send(USERAUTH_REQUEST, client.auth_packet(b"a\x1b[2J\nb" + b"x" * 500, ed25519_key(1)))
    (line,) = [line for line in logged if "refused" in line]
    assert line.isprintable()
    assert len(line) < 250


def test_numbers_of_packets_start_again_behind_the_new_keys_when_strict(w: SSHWorld) -> None:
    strict, lax = w.connect(strict=True), w.connect(strict=False)
    strict.ask_for_login()
    lax.ask_for_login()
    assert strict.server.incomingPacketSequence == 1
    assert strict.server.outgoingPacketSequence == 2  # EXT_INFO and SERVICE_ACCEPT
    assert lax.server.incomingPacketSequence == 4  # KEXINIT, KEX_INIT and NEWKEYS before it
