"""Who a VM is and what it wants: identity, services, questions, refusals, deadline and bounds."""

from __future__ import annotations

import pytest

from tests.support.fakes import VM_A, VM_B
from tests.support.vm import (
    ABORT,
    AUTHENTICATION,
    BEGIN,
    BIOS,
    CAPTURED_LIST,
    COM_PORT,
    DO,
    DO_PROXY,
    DONT,
    EXT,
    GET_BIOS,
    GET_LOCATION,
    GET_NAME,
    GET_VC_UUID,
    IDENTIFY_TIMEOUT,
    KNOWN_1,
    KNOWN_2,
    LOCATION,
    NAME,
    NEGOTIATION,
    SPELLED_A,
    SPELLED_B,
    UNKNOWN_1,
    UNKNOWN_2,
    VC_UUID,
    WILL,
    WILL_PROXY,
    WONT,
    WONT_PROXY,
    Host,
    VMWorld,
    com,
    session,
    sub,
    verb,
    world,
)

EARLY_LIMIT = 256 * 1024
EARLY_LEAST = 4 * 1024


def unknown(host: Host) -> list[bytes]:
    return [s for s in host.subs() if s[0] == UNKNOWN_2]


# Identity.


@pytest.mark.parametrize(
    "spelling",
    [
        SPELLED_A,
        SPELLED_A.upper(),
        b"01234567-89ab-cdef-fedc-ba9800000000",
        b"0123456789abcdeffedcba9800000000",
        b"{01234567-89AB-CDEF-FEDC-BA9800000000}",
        b" 01 23 45 67 89 aB cD eF-fe dc ba 98 00 00 00 00\0",
    ],
)
def test_a_uuid_in_any_spelling_and_case_is_the_same_vm(w: VMWorld, spelling: bytes) -> None:
    w.connect().feed(session(spelling))
    assert w.console.uuid == VM_A


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"web",
        SPELLED_A[:-1],
        SPELLED_A + b" 00",
        b"0x" + SPELLED_A[2:],
        SPELLED_A.replace(b"f", b"g"),
        b"00 00 00 00 00 00 00 00-00 00 00 00 00 00 00 00",
        b"\xff" * 16,
        VM_A.bytes,
    ],
)
def test_a_uuid_that_is_none_is_refused_and_the_right_one_still_accepted(
    w: VMWorld, logged: list[str], nonsense: bytes
) -> None:
    host = w.connect().feed(session(nonsense))
    assert len(w.directory) == 0
    assert not host.closed
    assert [line for line in logged if "UUID" in line]
    host.feed(sub(VC_UUID, SPELLED_A))
    assert w.console.link is host.protocol


def test_the_same_identity_again_changes_nothing(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(sub(VC_UUID, SPELLED_A.upper()) + b"on")
    assert not host.closed
    assert (console.link, w.logged(console)) == (host.protocol, b"on")
    assert len(w.trail(console, "up")) == 1


def test_another_identity_before_the_service_is_known_closes_the_connection(w: VMWorld, logged: list[str]) -> None:
    host = w.connect().feed(NEGOTIATION + sub(VC_UUID, SPELLED_A) + sub(VC_UUID, SPELLED_B))
    assert host.closed
    assert len(w.directory) == 0
    assert any(str(VM_A) in line and str(VM_B) in line for line in logged)


def test_bios_and_location_uuid_are_kept_whenever_they_come(w: VMWorld) -> None:
    host = w.connect().feed(sub(BIOS, SPELLED_B) + session() + sub(LOCATION, SPELLED_B))
    assert (w.console.bios_uuid, w.console.location_uuid) == (VM_B, VM_B)
    host.feed(sub(BIOS, b"junk") + sub(LOCATION, SPELLED_A))
    assert (w.console.bios_uuid, w.console.location_uuid) == (VM_B, VM_A)


def test_a_name_may_change_while_the_vm_is_served(w: VMWorld) -> None:
    host, console = w.vm(name=b"web")
    host.feed(sub(NAME, "wéb\n\x1b[2J/../ÿ".encode()))
    assert console.name == "wéb\n\x1b[2J/../ÿ"
    assert console.title.isprintable()
    assert w.trail(console)[-1]["name"] == "wéb\\x0a\\x1b[2J/../ÿ"
    assert w.trail(console)[-1]["was"] == "web"


def test_a_vm_that_never_tells_its_name_is_served_without_one(w: VMWorld) -> None:
    w.connect().feed(NEGOTIATION + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
    assert (w.console.name, w.console.title) == ("", str(VM_A))


def test_a_name_that_the_log_needs_is_waited_for_until_the_deadline_and_no_longer() -> None:
    with world(needs_name=True) as w:
        host = w.connect().feed(
            NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A) + b"early"
        )
        w.clock.advance(IDENTIFY_TIMEOUT - 0.1)
        assert len(w.directory) == 0
        w.clock.advance(0.2)
        assert w.console.link is host.protocol
        assert not host.closed
        assert w.logged(w.console) == b"early"


def test_a_name_that_the_log_needs_is_not_waited_for_where_the_vm_cannot_tell_it() -> None:
    with world(needs_name=True) as w:
        codes = bytes(c for c in CAPTURED_LIST if c not in (NAME, GET_NAME))
        w.connect().feed(NEGOTIATION + sub(KNOWN_1, codes) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A))
        assert w.console.uuid == VM_A


# What comes before the identity.


def test_output_before_the_identity_is_held_and_given_to_the_console(w: VMWorld) -> None:
    host = w.connect().feed(b"BIOS " + NEGOTIATION + b"v1.0")
    w.clock.advance(IDENTIFY_TIMEOUT / 2)
    host.feed(sub(DO_PROXY, b"Svmproxy") + b"\r\n" + sub(VC_UUID, SPELLED_A) + b"login: ")
    assert w.logged(w.console) == b"BIOS v1.0\r\nlogin: "
    assert w.trail(w.console, "gap") == []


def test_output_before_the_identity_is_bounded_and_what_is_lost_is_told(w: VMWorld) -> None:
    host = w.connect().feed(NEGOTIATION)
    # Pieces that do not divide the limit: the last one is cut.
    for _ in range(300):
        host.feed(b"x" * 1000)
    host.feed(sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A) + b"after")
    assert w.logged(w.console) == b"x" * EARLY_LIMIT + b"after"
    (gap,) = w.trail(w.console, "gap")
    assert (gap["bytes"], gap["offset"]) == (300_000 - EARLY_LIMIT, EARLY_LIMIT)


# The service.


@pytest.mark.parametrize("uri", [b"vmproxy", b"vSPC.py", b"vmware-vspc", b"vmproxy?port=2&x=y", b"vmproxy\0"])
def test_a_service_of_the_list_gets_will_proxy(w: VMWorld, uri: bytes) -> None:
    host = w.connect().feed(NEGOTIATION + sub(DO_PROXY, b"S" + uri))
    assert [s for s in host.subs() if s[0] in (WILL_PROXY, WONT_PROXY)] == [bytes((WILL_PROXY,))]


@pytest.mark.parametrize("uri", [b"", b"VMPROXY", b"vmproxy2", b"xvmproxy", b"?port=2", b"vSPCxpy", b"*", b"\xff\xfe"])
def test_another_service_gets_wont_proxy_and_a_reason_in_the_log(w: VMWorld, logged: list[str], uri: bytes) -> None:
    host = w.connect("10.9.8.7").feed(session(uri=uri))
    assert [s for s in host.subs() if s[0] in (WILL_PROXY, WONT_PROXY)] == [bytes((WONT_PROXY,))]
    (line,) = [line for line in logged if "WONT-PROXY" in line]
    assert "10.9.8.7" in line
    assert "service URI" in line
    assert len(w.directory) == 0
    assert not host.closed


def test_a_star_accepts_any_service() -> None:
    with world(uris=["*"]) as w:
        host = w.connect().feed(session(uri=b"anything at all?port=7"))
        assert bytes((WILL_PROXY,)) in host.subs()
        assert w.console.port == "7"


def test_direction_c_gets_wont_proxy_and_a_reason(w: VMWorld, logged: list[str]) -> None:
    # The word matches: it must not be taken for direction S.
    host = w.connect().feed(NEGOTIATION + sub(DO_PROXY, b"Cvmproxy") + sub(VC_UUID, SPELLED_A))
    assert [s for s in host.subs() if s[0] in (WILL_PROXY, WONT_PROXY)] == [bytes((WONT_PROXY,))]
    assert any("direction C" in line for line in logged)
    assert len(w.directory) == 0


@pytest.mark.parametrize("wrong", [b"", b"s", b"svmproxy", b"Xvmproxy", b"\0", b"\xff", b"Cvmproxy", b"Sother", b"S"])
def test_a_wrong_do_proxy_is_refused_and_costs_the_connection_nothing(w: VMWorld, wrong: bytes) -> None:
    host = w.connect().feed(NEGOTIATION + b"early " + sub(DO_PROXY, b"Svmproxy"))
    host.sent()
    host.feed(sub(DO_PROXY, wrong))
    assert host.subs() == [bytes((WONT_PROXY,))]
    host.feed(sub(VC_UUID, SPELLED_A))
    assert w.console.link is host.protocol
    host.feed(sub(DO_PROXY, wrong) + b"late")
    assert host.subs() == [bytes((WONT_PROXY,))]
    assert w.console.link is host.protocol
    assert w.logged(w.console) == b"early late"
    w.console.send(b"in")
    assert host.data() == b"in"


def test_the_same_do_proxy_again_is_answered_and_changes_nothing(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(sub(DO_PROXY, b"Svmproxy"))
    assert host.subs() == [bytes((WILL_PROXY,))]
    assert console.link is host.protocol
    assert len(w.trail(console, "up")) == 1


def test_a_hostile_service_uri_is_shown_harmlessly(w: VMWorld, logged: list[str]) -> None:
    w.connect().feed(NEGOTIATION + sub(DO_PROXY, b"S\x1b]0;owned\x07\r\n" + b"x" * 3000))
    (line,) = [line for line in logged if "WONT-PROXY" in line]
    assert line.isprintable()
    assert len(line) < 500


# Suboptions.


@pytest.mark.parametrize("code", [4, 39, 42, 47, 49, 69, 72, 74, 79, 88, 200, 254, 255])
def test_an_unknown_suboption_is_answered_with_its_code(w: VMWorld, code: int) -> None:
    host, _ = w.vm()
    host.feed(sub(code) + sub(code, b"\xff\xf0 parameters"))
    assert host.subs() == [bytes((UNKNOWN_2, code))] * 2
    host.feed(sub(code))
    assert len(host.subs()) == 1


@pytest.mark.parametrize("code", [1, 41, 43, 45, 71, 73, 81, 83, 85, 87])
def test_a_suboption_that_only_a_proxy_sends_is_answered_as_unknown(w: VMWorld, code: int) -> None:
    host, _ = w.vm()
    host.feed(sub(code, b"x"))
    assert host.subs() == [bytes((UNKNOWN_2, code))]


@pytest.mark.parametrize("code", [UNKNOWN_1, UNKNOWN_2])
def test_a_complaint_about_a_suboption_is_never_answered(w: VMWorld, code: int) -> None:
    host, _ = w.vm()
    host.feed(sub(code, b"\x2a") + sub(code))
    assert host.sent() == b""


def test_nothing_is_asked_before_the_vm_has_listed_what_it_knows(w: VMWorld) -> None:
    host = w.connect().feed(NEGOTIATION)
    assert [s[0] for s in host.subs()] == [KNOWN_2]


@pytest.mark.parametrize("missing", [GET_VC_UUID, GET_NAME, GET_BIOS, GET_LOCATION])
def test_only_what_the_vm_lists_is_asked_for_and_only_once(w: VMWorld, missing: int) -> None:
    codes = bytes(c for c in CAPTURED_LIST if c != missing)
    host = w.connect().feed(NEGOTIATION + sub(KNOWN_1, codes) * 2)
    asked = [s[0] for s in host.subs() if s[0] != KNOWN_2]
    assert sorted(asked) == sorted({GET_VC_UUID, GET_NAME, GET_BIOS, GET_LOCATION} - {missing})


def test_our_list_is_sent_once_and_names_all_that_a_vmotion_needs(w: VMWorld) -> None:
    host = w.connect().feed(NEGOTIATION + verb(WILL, EXT) + session())
    lists = [s for s in host.subs() if s[0] == KNOWN_2]
    assert len(lists) == 1
    assert set(lists[0][1:]) == set(CAPTURED_LIST)


# Options.


def test_an_unknown_option_is_refused_once_and_never_again(w: VMWorld) -> None:
    host, _ = w.vm()
    for option in (2, 5, 6, 24, 31, 34, 39, 255):
        host.feed((verb(WILL, option) + verb(DO, option)) * 3)
        assert sorted(host.tokens()) == [("dont", option), ("wont", option)]


def test_authentication_is_refused_once(w: VMWorld) -> None:
    host = w.connect()
    host.sent()
    host.feed(verb(WILL, AUTHENTICATION) * 2)
    assert host.sent() == verb(DONT, AUTHENTICATION)


def test_what_is_on_already_gets_no_answer_so_nothing_loops(w: VMWorld) -> None:
    host, _ = w.vm()
    host.feed(verb(WILL, COM_PORT))
    host.sent()
    on = b"".join(verb(DO, o) for o in (0, 1, 3)) + b"".join(verb(WILL, o) for o in (0, 3, COM_PORT, EXT))
    host.feed(on * 5)
    assert host.sent() == b""


def test_a_peer_that_echoes_every_negotiation_back_falls_silent(w: VMWorld) -> None:
    # Whatever we say comes back as it was, and as its mirror image: neither may go on for ever.
    for mirror in ({}, {WILL: DO, DO: WILL, WONT: DONT, DONT: WONT}):
        host = w.connect()
        for _ in range(20):
            said = [t for t in host.tokens() if t[0] in ("will", "wont", "do", "dont")]
            if not said:
                break
            codes = {"will": WILL, "wont": WONT, "do": DO, "dont": DONT}
            for what, option in said:
                code = codes[str(what)]
                host.feed(verb(mirror.get(code, code), int(str(option))))
        else:
            pytest.fail("it never ends")


# The deadline.


def test_a_connection_that_says_nothing_is_closed_after_30_seconds(w: VMWorld, logged: list[str]) -> None:
    host = w.connect("10.6.6.6")
    w.clock.advance(IDENTIFY_TIMEOUT - 0.01)
    assert not host.closed
    w.clock.advance(0.02)
    assert host.closed
    assert any("10.6.6.6" in line and "which VM" in line for line in logged)
    w.turn()
    assert w.delayed() == []
    assert len(w.front.connections) == 0


@pytest.mark.parametrize(
    "half",
    [
        NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy"),
        NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(VC_UUID, SPELLED_A),
        NEGOTIATION + sub(DO_PROXY, b"Sother") + sub(VC_UUID, SPELLED_A),
        NEGOTIATION + sub(44, b"not a pair"),
    ],
)
def test_half_an_identity_does_not_stop_the_clock(w: VMWorld, half: bytes) -> None:
    host = w.connect().feed(half)
    for _ in range(31):
        w.clock.advance(1)
        if not host.closed:
            host.feed(b"still here" + sub(KNOWN_1, CAPTURED_LIST))
    assert host.closed
    assert len(w.directory) == 0


def test_a_vm_that_is_served_has_no_deadline(w: VMWorld) -> None:
    host, _ = w.vm()
    w.clock.advance(1_000_000)
    assert not host.closed
    assert w.delayed() == []


def test_each_connection_has_its_own_30_seconds(w: VMWorld) -> None:
    first = w.connect()
    w.clock.advance(10)
    second = w.connect()
    w.clock.advance(20)
    assert (first.closed, second.closed) == (True, False)
    w.clock.advance(9.9)
    assert not second.closed
    w.clock.advance(0.2)
    assert second.closed


def test_an_expiry_that_starts_another_wait_does_not_put_off_the_others() -> None:
    # At its deadline a VM without a name claims its console from the old connection, which by that becomes
    # unidentified itself, with a new deadline. A third connection, due in between, must not have to wait for that.
    with world(needs_name=True) as w:
        w.connect("10.0.0.1").feed(session())
        w.connect("10.0.0.2").feed(
            NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy") + sub(VC_UUID, SPELLED_A)
        )
        w.clock.advance(1)
        silent = w.connect("10.0.0.3")
        w.clock.advance(IDENTIFY_TIMEOUT - 1)
        assert w.console.host == "10.0.0.2"
        w.clock.advance(1.5)
        assert silent.closed


# Bounds.


def test_a_subnegotiation_of_4_kib_is_accepted(w: VMWorld) -> None:
    host, console = w.vm()
    host.feed(sub(NAME, b"n" * 4094) + b"ok")
    assert not host.closed
    assert console.name.startswith("nnnn")
    assert w.logged(console) == b"ok"


@pytest.mark.parametrize("piece", [1, 1000, 100_000])
@pytest.mark.parametrize("filler", [b"n", b"\xff\xff"])
def test_a_longer_one_is_logged_and_closes_the_connection(
    w: VMWorld, logged: list[str], piece: int, filler: bytes
) -> None:
    host, console = w.vm()
    data = b"before" + b"\xff\xfa\xe8\x52" + filler * 4200
    host.feed(data, range(0, len(data), piece))
    assert host.closed
    assert any("subnegotiation longer than" in line for line in logged)
    assert (console.state, "subnegotiation longer than" in console.reason) == ("down", True)
    assert w.logged(console) == b"before"


def test_a_host_that_asks_and_never_reads_is_closed_in_the_end(w: VMWorld) -> None:
    host, _ = w.vm()
    host.transport.producer.pauseProducing()
    for _ in range(2000):
        host.feed(sub(99) * 100)
        if host.closed:
            break
    assert host.closed
    assert len(host.transport.value()) < 2**20


def test_a_host_that_reads_slowly_may_ask_as_much_as_it_likes(w: VMWorld) -> None:
    host, _ = w.vm()
    for _ in range(400):
        host.transport.producer.pauseProducing()
        host.feed(sub(99) * 100)
        host.transport.producer.resumeProducing()
    assert not host.closed


def test_complaints_are_logged_at_a_bounded_rate_and_counted_all(w: VMWorld, logged: list[str]) -> None:
    host = w.connect()
    for _ in range(1000):
        host.feed(sub(DO_PROXY, b"X"))
    assert len(logged) <= 61
    assert w.front.counters["refused proxy requests"] == 1000
    w.clock.advance(0)


def test_port_control_before_it_was_agreed_on_is_not_answered(w: VMWorld) -> None:
    host, _ = w.vm()
    host.feed(com(1, bytes(4)))
    assert host.sent() == b""


def test_another_identity_while_the_name_is_awaited_claims_no_console() -> None:
    with world(needs_name=True) as w:
        served, console = w.vm()
        liar = w.connect("10.0.0.9").feed(NEGOTIATION + sub(KNOWN_1, CAPTURED_LIST) + sub(DO_PROXY, b"Svmproxy"))
        liar.feed(b"early" + sub(VC_UUID, SPELLED_A))
        liar.feed(sub(VC_UUID, SPELLED_B))
        w.turn()
        assert liar.closed
        assert (len(w.directory), console.link) == (1, served.protocol)
        assert w.logged(console) == b""


def test_what_is_kept_of_connections_that_are_nobodys_is_bounded_in_all(
    w: VMWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmproxy.vm.early.EARLY_IN_ALL", 4 * EARLY_LIMIT)
    strangers = [w.connect(f"10.0.1.{n}").feed(b"x" * 300_000) for n in range(20)]
    assert w.front.terms.early == 4 * EARLY_LIMIT + 16 * EARLY_LEAST
    assert sum(len(stranger.protocol.session._early) for stranger in strangers) == w.front.terms.early  # type: ignore[arg-type]  # a fake
    host = w.connect().feed(b"a boot screen of a few lines" + b"y" * EARLY_LIMIT).feed(session() + b"after")
    assert w.logged(w.console) == (b"a boot screen of a few lines" + b"y" * EARLY_LIMIT)[:EARLY_LEAST] + b"after"
    assert len(w.trail(w.console, "gap")) == 1
    pair = host.begin()
    w.destination(pair).feed(b"z" * 10_000)  # this one is somebody's
    assert w.front.terms.early == 4 * EARLY_LIMIT + 16 * EARLY_LEAST + 10_000
    host.feed(sub(ABORT))
    host.feed(sub(BEGIN, b"again"))
    w.clock.advance(IDENTIFY_TIMEOUT)
    assert all(stranger.closed for stranger in strangers)
    w.turn()
    host.die()
    assert w.front.terms.early == 0
    other, _ = w.vm(VM_B, "10.0.0.9")
    other.die()
    assert w.front.terms.early == 0
