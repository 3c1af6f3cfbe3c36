"""May it be dialled, and where is it: look-ups, refusals, other rules while it runs; Telnet and TLS on the way."""

from __future__ import annotations

import ipaddress
from unittest.mock import patch

import pytest

from tests.support.fakes import Logged
from tests.support.outbound import Net, bridged, client, wish
from tests.support.vm import DO_PROXY, SPELLED_A, VC_UUID, WILL_PROXY, WONT_PROXY, Host, VMWorld, com, sub, verb
from vmproxy.base.turns import SPAN
from vmproxy.console.console import Console
from vmproxy.vm.admission import Admission, AdmissionLimits
from vmproxy.vm.outbound.bridge import LONGEST_PAUSE
from vmproxy.vm.outbound.connection import COMMANDS_PER_SECOND, CONTROL_LIMIT, SMALL_READ
from vmproxy.vm.outbound.connector import CONNECT_SECONDS, NO_ROOM
from vmproxy.vm.outbound.resolver import ADDRESSES_LIMIT, LOOKUP_SECONDS, LOOKUPS_LIMIT, is_own
from vmproxy.wire.dialuri import parse
from vmproxy.wire.nvtclient import NvtClient

WILL, WONT, DO, DONT = 251, 252, 253, 254
BINARY, SGA = 0, 3
BREAK_TO_FAR = b"\xff\xf3"
WILL_IT, WONT_IT = bytes((WILL_PROXY,)), bytes((WONT_PROXY,))


@pytest.fixture
def net(w: VMWorld) -> Net:
    return Net(w)


# Refusals.


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        (b"tcp://11.1.2.3:4000", "no [[dial]] rule allows it"),
        (b"tcp://127.0.0.1:4000", "no [[dial]] rule allows it"),
        (b"tcp://far.evil.org:4000", "no [[dial]] rule allows 192.0.2.66"),
        (b"tcp://rebound.example.com:22", "no [[dial]] rule allows 127.0.0.1"),
        (b"ftp://10.1.2.3:21", "there is no scheme ftp://"),
        (b"tcp://root@10.1.2.3:4000", "a user or password"),
        (b"tcp://10.1.2.3:99999", "a port is a number"),
        (b"\x1b[2J\r\nroot:1", "characters that no URI"),
        (b"", "names no host"),
    ],
)
def test_what_is_refused_gets_wont_proxy_and_a_reason(
    w: VMWorld, net: Net, logged: list[str], uri: bytes, why: str
) -> None:
    net.hosts = {"far.evil.org": ["192.0.2.66"], "rebound.example.com": ["127.0.0.1"]}
    host = w.connect().feed(wish(uri))
    w.turn()
    w.turn()
    assert WONT_IT in host.subs()
    (line,) = [line for line in logged if "WONT-PROXY" in line]
    assert why in line
    assert line.isprintable()
    assert net.calls == []
    assert len(w.directory) == 0
    w.clock.advance(31)
    assert host.closed


def test_a_refusal_by_the_rules_is_in_the_audit_trail(w: VMWorld, net: Net) -> None:
    w.connect().feed(sub(VC_UUID, SPELLED_A) + wish(b"tcp://11.1.2.3:4000"))
    (entry,) = net.audit
    assert entry["event"] == "dial-refused"
    assert (entry["to"], entry["host"]) == ("tcp://11.1.2.3:4000", "10.0.0.1")
    assert entry["uuid"] == "01234567-89ab-cdef-fedc-ba9800000000"


def test_the_audit_trail_has_a_bound(w: VMWorld, net: Net) -> None:
    host = w.connect().feed(wish(b"tcp://11.1.2.3:4000"))
    for _ in range(700):
        host.feed(sub(DO_PROXY, b"Ctcp://11.1.2.3:4000"))
    assert len(net.audit) == 600
    w.clock.advance(61)
    w.connect().feed(wish(b"tcp://11.1.2.3:4000"))
    assert [e for e in net.audit[600:] if e["event"] == "lost"] == [{"event": "lost", "events": 101}]


def test_without_rules_direction_c_is_not_offered(w: VMWorld, net: Net, logged: list[str]) -> None:
    net.use()
    host = w.connect().feed(wish(b"tcp://10.1.2.3:4000"))
    assert WONT_IT in host.subs()
    assert any("direction C (to tcp://10.1.2.3:4000) is not offered: there are no [[dial]] rules" in m for m in logged)


# Names.


def test_a_name_is_looked_up_before_the_proxy_says_that_it_will(w: VMWorld, net: Net) -> None:
    net.hosts["far.example.com"] = ["192.0.2.1"]
    net.silent = True
    host = w.connect().feed(wish(b"tcp://far.example.com:4000"))
    assert not {WILL_IT, WONT_IT} & set(host.subs())
    assert len(w.directory) == 0
    net.speak()
    w.turn()
    assert WILL_IT in host.subs()
    assert net.call.to == ("192.0.2.1", 4000)  # the address, so that nobody looks up again
    assert w.console.uri == "tcp://far.example.com:4000"


def test_a_host_that_goes_while_its_wish_is_looked_up_is_forgotten(w: VMWorld, net: Net) -> None:
    net.silent = True
    host = w.connect().feed(wish(b"tcp://far.example.com:4000"))
    host.die()
    net.hosts["far.example.com"] = ["192.0.2.1"]
    net.speak()
    assert len(w.directory) == 0
    assert net.calls == []


def test_the_last_wish_counts(w: VMWorld, net: Net) -> None:
    net.silent = True
    net.hosts["far.example.com"] = ["192.0.2.1"]
    host = w.connect().feed(wish(b"tcp://far.example.com:4000") + sub(DO_PROXY, b"Svmproxy"))
    net.speak()
    w.turn()
    assert w.console.uri == "vmproxy"
    assert host.subs().count(WILL_IT) == 1
    assert net.calls == []


def test_a_host_that_wishes_all_the_time_keeps_one_name_server_busy_and_not_all_of_them(w: VMWorld, net: Net) -> None:
    net.silent = True
    host = w.connect().feed(b"".join(sub(DO_PROXY, b"Ctcp://a%d.example.com:1" % n) for n in range(100)))
    assert net.asked == ["a0.example.com"]
    net.hosts = {"a99.example.com": ["10.1.1.1"]}
    net.speak()
    w.turn()
    assert net.asked == ["a0.example.com", "a99.example.com"]
    assert [s for s in host.subs() if s[0] in (WILL_PROXY, WONT_PROXY)] == [WILL_IT]
    host.feed(sub(VC_UUID, SPELLED_A))
    assert w.console.uri == "tcp://a99.example.com:1"


@pytest.mark.parametrize("last", [b"Snone-of-ours", b"Cftp://10.1.2.3:21", b"Ctcp://11.1.1.1:1", b"X"])
def test_a_wish_that_is_refused_changes_nothing_of_what_was_agreed(w: VMWorld, net: Net, last: bytes) -> None:
    host = w.connect().feed(sub(DO_PROXY, b"Ctcp://10.1.2.3:1") + sub(DO_PROXY, last) + sub(VC_UUID, SPELLED_A))
    assert [s[:1] for s in host.subs() if s[0] in (WILL_PROXY, WONT_PROXY)] == [WILL_IT, WONT_IT]
    assert w.console.remote is not None
    assert w.console.remote.place == w.console.uri == "tcp://10.1.2.3:1"


def test_input_that_waited_for_the_vm_comes_behind_the_answer_to_its_request(w: VMWorld, net: Net) -> None:
    net.hosts["far.example.com"] = ["10.1.2.3"]
    first = w.connect().feed(wish(b"tcp://far.example.com:4000"))
    assert w.console.link is first.protocol
    first.transport.producer.pauseProducing()
    w.console.send(b"typed")
    net.silent = True
    second = w.connect("10.0.0.2").feed(wish(b"tcp://far.example.com:4000"))
    second.sent()
    net.speak()
    assert w.console.link is second.protocol
    assert second.sent() == sub(WILL_PROXY) + b"typed"


def test_what_is_still_looked_up_when_a_vm_is_served_comes_too_late(w: VMWorld, net: Net) -> None:
    net.silent = True
    net.hosts = {"a.example.com": ["10.1.1.1"]}
    host = w.connect().feed(sub(DO_PROXY, b"Svmproxy") + sub(DO_PROXY, b"Ctcp://a.example.com:1"))
    host.feed(sub(VC_UUID, SPELLED_A))
    assert (w.console.uri, w.console.remote) == ("vmproxy", None)
    net.speak()
    assert [s[:1] for s in host.subs() if s[0] in (WILL_PROXY, WONT_PROXY)] == [WILL_IT, WONT_IT]
    assert (w.console.uri, w.console.remote) == ("vmproxy", None)
    assert net.calls == []


def test_a_name_that_nobody_knows_is_no_refusal(w: VMWorld, net: Net) -> None:
    _, console = client_after_lookup(net, b"tcp://gone.example.com:4000")
    w.turn()
    assert console.remote is not None
    assert (console.remote.state, console.remote.reason) == ("down", "gone.example.com: there is no such host")
    net.hosts["gone.example.com"] = ["192.0.2.1"]
    w.clock.advance(2)
    w.turn()
    assert net.call.to == ("192.0.2.1", 4000)


def client_after_lookup(net: Net, uri: bytes) -> tuple[Host, Console]:
    host = net.world.connect().feed(wish(uri))
    net.world.turn()
    return host, net.world.console


def test_name_servers_have_a_deadline(w: VMWorld, net: Net) -> None:
    net.silent = True
    w.connect().feed(wish(b"tcp://far.example.com:4000"))
    w.clock.advance(LOOKUP_SECONDS)  # of the question whether it may
    assert w.console.remote is not None
    w.clock.advance(LOOKUP_SECONDS)  # of where it is
    assert w.console.remote.reason == f"far.example.com: the name server has not answered within {LOOKUP_SECONDS:g} s"
    net.hosts["far.example.com"] = ["192.0.2.1"]
    net.speak()  # too late for those, and nobody is confused by it
    w.clock.advance(2)
    assert net.call.to == ("192.0.2.1", 4000)


def test_look_ups_are_bounded(w: VMWorld, net: Net) -> None:
    net.silent = True
    asked = []
    for _ in range(LOOKUPS_LIMIT + 10):
        net.connector.judge(parse("tcp://far.example.com:4000"), lambda _, refusal: asked.append(refusal))
    assert len(net.asked) == LOOKUPS_LIMIT
    assert asked == [""] * 10  # no refusal: it may be found later
    net.speak()
    net.asked.clear()
    w.connect().feed(sub(DO_PROXY, b"Ctcp://far.example.com:4000"))
    assert net.asked


def test_a_name_with_very_many_addresses_is_not_judged_at_length(w: VMWorld, net: Net) -> None:
    judged: list[object] = []
    net.connector._is_own = lambda address: bool(judged.append(address))
    net.hosts["far.example.com"] = [f"10.{n >> 8}.{n & 255}.1" for n in range(4000)]
    client(net, b"tcp://far.example.com:4000")
    w.turn()
    assert net.call.to == ("10.0.0.1", 4000)
    assert len(judged) <= 2 * ADDRESSES_LIMIT  # once for the VM's wish, once when it was dialled


def test_several_addresses_are_tried_one_after_the_other(w: VMWorld, net: Net) -> None:
    net.hosts["far.example.com"] = ["127.0.0.1", "2001:db8::1", "192.0.2.1", "192.0.2.2"]
    _, console = client_after_lookup(net, b"tcp://far.example.com:4000")
    w.turn()
    assert net.call.to[0] == "2001:db8::1"
    net.call.fail()
    assert net.call.to[0] == "192.0.2.1"
    w.clock.advance(10)  # it does not say a word
    assert net.call.to[0] == "192.0.2.2"
    net.call.answer()
    assert console.remote.state == "up"
    assert console.remote.address == "192.0.2.2"
    assert [call.to[0] for call in net.calls] == ["2001:db8::1", "192.0.2.1", "192.0.2.2"]  # 127.0.0.1 never


def test_far_ends_take_room_of_hosts_and_leave_them_the_last_of_it(w: VMWorld, net: Net) -> None:
    front = w.front
    front.admission = Admission(w.clock, AdmissionLimits(), 32, others=front._outbound_sockets)
    hosts = [bridged(net, b"tcp://10.1.2.3:%d" % port)[0] for port in range(1, 16)]  # each with a UUID of its own port
    assert (len(front.admission), net.connector.sockets) == (15, 15)
    assert front.admission.scarce  # 30 of 32, and two are the last sixteenth
    late = w.connect().feed(wish(b"tcp://10.1.2.3:99"))
    dialled = len(net.calls)
    w.clock.advance(5)
    assert len(net.calls) == dialled
    console = next(c for c in w.directory if c.link is late.protocol)
    assert console.remote is not None
    assert (console.remote.state, console.remote.reason) == ("down", NO_ROOM)
    w.connect()
    assert not front.admission.enter("10.9.9.9")
    for host in hosts:
        host.lose()
    w.turn()
    assert net.connector.sockets == 0
    w.clock.advance(LONGEST_PAUSE)
    assert len(net.calls) == dialled + 1


def test_every_connection_is_counted_until_its_socket_is_gone(w: VMWorld, net: Net) -> None:
    def sockets() -> int:
        return net.connector.sockets

    host, _, far = bridged(net)
    assert sockets() == 1
    far.lose()
    assert sockets() == 0
    w.clock.advance(2)
    assert sockets() == 1
    net.call.fail()
    assert sockets() == 0
    w.clock.advance(5)
    far = net.call.answer()
    far.full(True)
    host.feed(b"x")
    assert sockets() == 1
    host.lose()
    assert sockets() == 0
    host, _ = client(net)
    assert sockets() == 1
    host.lose()  # before anybody answered
    assert sockets() == 0
    client(net)
    w.clock.advance(CONNECT_SECONDS)
    assert sockets() == 0


def test_one_that_answers_when_nobody_waits_any_more_is_counted_out(w: VMWorld, net: Net) -> None:
    host, _ = client(net)
    net.call.state = "answering"  # it cannot be stopped
    host.lose()
    assert net.connector.sockets == 1
    net.call.answer()
    assert net.connector.sockets == 0


def test_dns_cannot_change_under_us(w: VMWorld, net: Net, logged: list[str]) -> None:
    net.hosts["far.example.com"] = ["192.0.2.1"]
    host, console = client_after_lookup(net, b"tcp://far.example.com:4000")
    w.turn()
    far = net.call.answer()
    net.hosts["far.example.com"] = ["127.0.0.1"]
    far.say(b"fine")
    assert not far.closed  # connected is connected
    far.lose()
    w.clock.advance(2)
    w.turn()
    assert len(net.calls) == 1  # and the next time it is judged anew
    assert console.state == "down"
    assert "no [[dial]] rule allows 127.0.0.1" in console.reason
    assert host.closed
    assert [e["event"] for e in net.audit] == ["dialled", "far-end-lost", "dial-refused"]
    assert len(w.trail(console, "dial-refused")) == 1


def test_this_machine_under_another_of_its_addresses_is_not_spoken_to(w: VMWorld, net: Net) -> None:
    host, console = client(net, b"tcp://10.1.2.3:13370")
    far = net.call.answer(ours="10.1.2.3")
    assert far.heard() == b""
    assert far.closed
    w.turn()
    assert console.state == "down"
    assert "that is this machine itself" in console.reason
    assert host.closed


@pytest.mark.parametrize("uri", [b"tcp://10.1.2.3:13370", b"tcp://us.example.com:13370"])
def test_this_machine_is_mostly_known_before(w: VMWorld, net: Net, logged: list[str], uri: bytes) -> None:
    net.ours.add(ipaddress.ip_address("10.1.2.3"))
    net.hosts["us.example.com"] = ["10.1.2.3"]
    host = w.connect().feed(wish(uri))
    w.turn()
    assert WONT_IT in host.subs()
    assert any("that is this machine itself, and no [[dial]] rule names its address" in line for line in logged)
    net.use({"to": ["10.1.2.3"], "ports": "*"})
    host.feed(sub(DO_PROXY, b"C" + uri))
    w.turn()
    assert host.subs() == [WILL_IT]


def test_how_this_machine_is_known() -> None:
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("192.0.2.1"))


def test_it_can_be_named(w: VMWorld) -> None:
    net = Net(w, {"to": ["10.1.2.3"], "ports": [4000]})
    host, console = client(net, b"tcp://10.1.2.3:4000")
    assert not net.call.answer(ours="10.1.2.3").closed
    assert console.remote is not None
    assert console.remote.state == "up"
    assert not host.closed


# Other rules while it runs.


def test_other_rules_cut_what_is_not_allowed_any_more(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    net.use({"to": ["10.0.0.0/8"], "ports": [5000]})
    assert far.closed
    assert host.closed
    w.turn()
    assert console.state == "down"
    assert "no [[dial]] rule allows it now" in console.reason
    host = w.connect().feed(wish(b"tcp://10.1.2.3:4000"))
    assert WONT_IT in host.subs()


def test_other_rules_leave_alone_what_is_allowed(w: VMWorld, net: Net) -> None:
    host, _console, far = bridged(net)
    net.use({"to": ["10.1.2.3"], "ports": [4000]})
    assert not far.closed
    far.say(b"on")
    assert host.data() == b"on"


def test_other_rules_end_waiting_for_what_they_do_not_allow(w: VMWorld, net: Net) -> None:
    host, _console = client(net)
    net.call.fail()
    net.use()
    w.turn()
    assert host.closed
    w.clock.advance(100)
    assert len(net.calls) == 1


def test_other_rules_have_what_is_waited_for_tried_at_once(w: VMWorld, net: Net) -> None:
    client(net)
    for _ in range(4):
        net.call.fail()
        w.clock.advance(10)
    net.call.fail()
    calls = len(net.calls)
    net.use({"to": "*", "ports": "*"})
    assert len(net.calls) == calls + 1
    net.call.fail()
    w.clock.advance(1.3)  # and the pauses begin anew
    assert len(net.calls) == calls + 2


def test_other_rules_have_what_is_being_dialled_tried_under_them(w: VMWorld, net: Net) -> None:
    client(net)
    for _ in range(5):
        net.call.fail()
        w.clock.advance(20)
    old = net.call
    assert old.state == "connecting"
    net.use({"to": "*", "ports": "*"})
    assert old.state == "disconnected"
    assert net.call is not old
    calls = len(net.calls)
    net.call.fail()
    w.clock.advance(1.3)
    assert len(net.calls) == calls + 1


def test_other_rules_while_it_is_being_dialled(w: VMWorld, net: Net) -> None:
    host, _ = client(net, b"tcp://10.1.2.3:4000")
    net.use({"to": ["*"], "ports": [4000]})
    assert not host.closed
    net.connector.rules = Net(w, {"to": "11.0.0.0/8", "ports": "*"}).connector.rules  # unnoticed until it answers
    assert net.call.answer().closed
    w.turn()
    assert host.closed


def test_a_cut_in_a_vmotion_has_the_destination_cut_too(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net)
    pair = host.begin(b"\x01\x02\x03\x04")
    destination = w.destination(pair)
    host.die()
    net.use()
    assert far.closed
    destination.feed(sub(46, b"\x01\x02\x03\x04"))
    w.turn()
    assert destination.closed
    assert console.state == "down"


def test_another_way_to_verify_means_nothing_where_there_is_no_tls(w: VMWorld, net: Net) -> None:
    _host, _console, far = bridged(net)
    net.use({"to": ["10.0.0.0/8"], "ports": "*", "verify": False})
    assert not far.closed


# Telnet.


def test_telnet_is_spoken_where_the_uri_says_so(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net, b"telnet://10.1.2.3:4000")
    opening = far.heard()
    assert sorted(opening[n : n + 3] for n in (0, 3, 6, 9)) == sorted(
        verb(v, o) for v in (WILL, DO) for o in (BINARY, SGA)
    )
    host.feed(b"a\r\xff\xff")
    assert far.heard() == b"a\r\0\xff\xff"  # not agreed yet
    far.say(verb(DO, BINARY) + verb(WILL, BINARY) + b"x\r\xff\xff")
    host.feed(b"b\r\xff\xff")
    assert far.heard() == b"b\r\xff\xff"
    assert host.data() == b"x\r\xff"
    assert w.logged(console) == b"a\r\xffb\r\xff"


@pytest.mark.parametrize(
    ("uri", "small"),
    [
        (b"telnet://10.9.9.9:4000", True),
        (b"telnets://10.9.9.9:4000", True),
        (b"ssl://10.9.9.9:4000", True),
        (b"tcp://10.9.9.9:4000", False),
    ],
)
def test_what_costs_more_than_data_is_read_in_small_portions(w: VMWorld, net: Net, uri: bytes, small: bool) -> None:
    client(net, uri)
    transport = net.calls[0].answer().transport
    assert (transport.__dict__.get("bufferSize") == SMALL_READ) is small, "of TCP's own, also below TLS"


def test_plain_tcp_has_no_telnet(w: VMWorld, net: Net) -> None:
    host, _, far = bridged(net)
    assert far.heard() == b""
    far.say(verb(DO, BINARY))
    assert host.data() == verb(DO, BINARY)


def test_breaks_pass_both_ways(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net, b"telnet://10.1.2.3:4000")
    host.feed(verb(WILL, 44))
    far.heard()
    host.sent()
    far.say(b"before" + BREAK_TO_FAR + b"behind")
    assert host.tokens() == [("data", b"before"), ("command", 243), ("data", b"behind")]
    host.feed(com(5, b"\x05") + com(5, b"\x06"))
    assert far.heard() == BREAK_TO_FAR
    assert [e["who"] for e in w.trail(console, "break")] == ["telnet://10.1.2.3:4000"]


def test_breaks_without_end_do_not_fill_the_trail(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net, b"telnet://10.1.2.3:4000")
    host.sent()
    for _ in range(3):
        far.say(BREAK_TO_FAR * 300)
        w.clock.advance(1)
    assert host.tokens() == [("command", 243)] * 900
    assert len(w.trail(console, "break")) == 3


def test_every_break_of_the_guest_reaches_the_far_end_in_its_place(w: VMWorld, net: Net) -> None:
    host, console, far = bridged(net, b"telnet://10.1.2.3:4000")
    broken = com(5, b"\x05") + com(5, b"\x06")
    host.feed(verb(WILL, 44) + broken + b"one" + broken)
    assert far.heard().endswith(BREAK_TO_FAR + b"one" + BREAK_TO_FAR)
    assert len(w.trail(console, "guest-break")) == 1
    far.full(True)
    host.protocol.dataReceived(b"two" + broken + b"three")
    assert far.heard() == b""
    far.full(False)
    assert far.heard() == b"two" + BREAK_TO_FAR + b"three"
    far.lose()
    host.feed(b"four" + broken + b"five")
    w.clock.advance(2)
    again = net.call.answer()
    assert again.heard().endswith(b"four" + BREAK_TO_FAR + b"five")
    again.full(True)
    host.protocol.dataReceived(broken + b"last")
    host.lose()
    assert again.heard() == BREAK_TO_FAR + b"last"


def test_a_far_end_that_floods_with_commands_is_hung_up_on(w: VMWorld, net: Net) -> None:
    _, console, far = bridged(net, b"telnet://10.1.2.3:4000")
    w.clock.advance(5)
    for _ in range(3):
        far.say(b"\xff\xf1" * (COMMANDS_PER_SECOND + 1))
    w.turn()
    assert far.closed
    assert console.remote is not None
    assert console.remote.reason == "it sends too many Telnet commands"


@pytest.mark.parametrize("lost", [False, True])
def test_telnet_of_far_ends_has_its_turns_and_keeps_its_order(w: VMWorld, net: Net, lost: bool) -> None:
    host, _, far = bridged(net, b"telnet://10.1.2.3:4000")
    host.sent()
    assert far.transport.__dict__["bufferSize"] == SMALL_READ
    w.turn()
    assert w.front.turns.open()
    w.clock.rightNow += SPAN  # the turn has been used up by others
    line = far.transport.protocol
    line.dataReceived(b"one\xff\xf1")
    line.dataReceived(b"two")
    assert far.transport.producerState == "paused"
    assert host.data() == b""
    if lost:
        far.lose()
    w.turn()
    assert host.data() == b"onetwo"
    assert lost or far.transport.producerState == "producing"


def test_tls_with_a_far_end_begins_in_a_turn_with_time_for_it(w: VMWorld, net: Net) -> None:
    client(net, b"telnets://10.1.2.3:4000")
    (far,) = net.calls
    w.turn()
    assert w.front.turns.open()
    w.clock.rightNow += SPAN
    with patch.object(w, "turn"):
        far.answer()
    assert not far.read
    assert far.heard() == b""
    w.turn()
    assert far.heard().startswith(b"\x16\x03")
    assert far.read


def test_what_fails_in_its_turn_costs_the_connection_to_the_far_end(
    w: VMWorld, net: Net, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(client: NvtClient, data: bytes) -> None:
        raise RuntimeError("a fault of ours")

    _, _, far = bridged(net, b"telnet://10.1.2.3:4000")
    w.turn()
    assert w.front.turns.open()
    w.clock.rightNow += SPAN
    far.transport.protocol.dataReceived(b"one\xff\xf1")
    monkeypatch.setattr(NvtClient, "feed", fails)
    w.turn()
    assert logged.tracebacks
    assert far.closed


def test_a_far_end_that_asks_and_does_not_read_is_hung_up_on(w: VMWorld, net: Net) -> None:
    _, console, far = bridged(net, b"telnet://10.1.2.3:4000")
    far.say(verb(DO, BINARY))
    far.full(True)
    for _ in range(CONTROL_LIMIT // 100):
        w.clock.advance(1)
        far.say((verb(DONT, BINARY) + verb(DO, BINARY)) * 50)
        if far.closed:
            break
    w.turn()
    assert far.closed
    assert console.remote is not None
    assert console.remote.reason == "it keeps asking but does not read the answers"
