"""What a host says in VMware's extension (option 232), and what follows from it.

Who the VM is, what it wants, and where it moves to; the connection that carries it all is
:class:`vmproxy.vm.connection.VMConnection`. Identity may come in any order and any time: the connection gets its
console as soon as enough is known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from vmproxy.base.sanitize import visible
from vmproxy.console.console import Console
from vmproxy.console.duplicates import ClaimRefused
from vmproxy.console.migration import PeerRefused
from vmproxy.console.registry import Identity
from vmproxy.errors import WireError
from vmproxy.vm.frontend import Hub
from vmproxy.wire import dialuri, serviceuri
from vmproxy.wire.dialuri import DialError, DialURI
from vmproxy.wire.telnet import VMWARE_EXT, subnegotiation
from vmproxy.wire.vmware import QUESTIONS, SUPPORTED, Sub, message, parse_do_proxy, parse_name, parse_uuid

if TYPE_CHECKING:
    from vmproxy.vm.connection import VMConnection

NAME_LIMIT = 1024
_LIST = subnegotiation(VMWARE_EXT, message(Sub.KNOWN_SUBOPTIONS_2, SUPPORTED))


class Conversation:
    """Option 232 on one connection.

    :ivar name: the VM's name, as far as it has been told here.
    """

    __slots__ = (
        "_asked",
        "_bios_uuid",
        "_hub",
        "_judging",
        "_link",
        "_list_sent",
        "_location_uuid",
        "_named",
        "_target",
        "_uri",
        "_uri_text",
        "_uuid",
        "_wish",
        "name",
    )

    def __init__(self, link: VMConnection, hub: Hub) -> None:
        self._link = link
        self._hub = hub
        self._uuid: UUID | None = None
        self._bios_uuid: UUID | None = None
        self._location_uuid: UUID | None = None
        self.name = ""
        self._named = False
        self._uri: serviceuri.ServiceURI | None = None
        self._uri_text = ""
        self._target: DialURI | None = None  # what the proxy is to connect the VM to, if that was agreed on
        self._wish: DialURI | None = None  # what it would like to be connected to: that is looked at
        self._judging = False  # whether somebody looks up where that is
        self._asked = 0  # bit per question
        self._list_sent = False

    def received(self, payload: bytes) -> None:
        """Take in a suboption: its code and parameters."""
        self.tell_list()
        handler = _HANDLERS.get(payload[0])
        try:
            if handler is not None:
                handler(self, payload[1:])
            elif payload[0] != Sub.UNKNOWN_SUBOPTION_RCVD_2:
                # Never an error in answer to an error, or two proxies could talk to each other for ever.
                self._hub.counters["unknown suboptions"] += 1
                self._link.suboption(Sub.UNKNOWN_SUBOPTION_RCVD_2, payload[:1])
        except WireError as error:
            self._complain("wrong suboptions", str(error))

    def in_service(self, console: Console) -> None:
        """The connection serves a console now: tell it what was told here."""
        console.set_uuids(self._bios_uuid, self._location_uuid)
        if self.name and console.name != self.name:
            self._hub.directory.rename(console, self.name)

    def released(self) -> None:
        """The connection has no console any more, and what it asked for is forgotten."""
        self._uri = self._target = self._wish = None

    def _complain(self, kind: str, what: str) -> None:
        self._hub.complain(kind, self._link.peer, what)

    def tell_list(self) -> None:
        """Send the list of what the proxy knows, once."""
        if not self._list_sent:
            self._list_sent = True
            self._link.control(_LIST)

    # Who it is and what it wants.

    def _known_suboptions(self, codes: bytes) -> None:
        for code in QUESTIONS:
            if code in codes and not self._asked >> code & 1:
                self._asked |= 1 << code
                self._link.suboption(code)

    def _unknown_suboption(self, codes: bytes) -> None:
        self._hub.counters[f"suboption {codes[:1].hex()} unknown to a VM"] += 1

    def _do_proxy(self, parameters: bytes) -> None:
        self._wish = None
        try:
            wanted = parse_do_proxy(parameters)
        except WireError as error:
            self._wont_proxy(str(error))
            return
        uri = serviceuri.parse(wanted.uri)
        pending = self._hub.migrations.pending_at(self._link)
        console = self._link.console if pending is None else pending.console
        if wanted.direction == "C":
            self._do_dial(wanted.uri, console)
        elif not serviceuri.matches(uri, self._hub.settings.service_uri):
            self._wont_proxy(f"the service URI {visible(wanted.uri)!r} is none of ours")
        elif console is not None and console.uri != wanted.uri:
            self._wont_proxy("this connection has another console already")
        else:
            self._link.suboption(Sub.WILL_PROXY)
            if console is None:
                self._uri = uri
                self._target = None
                self._uri_text = wanted.uri
                self._link.ripe = True

    def _do_dial(self, text: str, console: Console | None) -> None:
        dialler = self._hub.dialler
        if dialler is None or not dialler.rules.rules:
            self._wont_proxy(f"direction C (to {visible(text)}) is not offered: there are no [[dial]] rules")
            return
        try:
            uri = dialuri.parse(text)
        except DialError as error:
            self._wont_proxy(f"direction C: {error}")
            return
        if console is not None and console.uri != str(uri):
            self._wont_proxy("this connection has another console already")
            return
        self._wish = uri
        if not self._judging:  # one at a time: name servers are for all VMs
            self._judging = True
            dialler.judge(uri, self._judged)

    def _judged(self, uri: DialURI, refusal: str) -> None:
        # It may have been looked up meanwhile, and the VM have gone or asked for something else.
        self._judging = False
        wish, dialler = self._wish, self._hub.dialler
        if wish is None or dialler is None or self._link not in self._hub.connections:
            return
        if wish != uri:
            self._judging = True
            dialler.judge(wish, self._judged)
            return
        self._wish = None
        if refusal:
            self._wont_proxy(f"direction C, to {uri}: {refusal}")
            uuid = {"uuid": str(self._uuid)} if self._uuid is not None else {}
            told = {"host": self._link.peer, "name": visible(self.name), **uuid}
            dialler.record("dial-refused", to=uri.place, reason=refusal, **told)
            return
        console = self._link.console
        if console is not None and console.uri != str(uri):
            self._wont_proxy("this connection has another console already")
            return
        self._link.suboption(Sub.WILL_PROXY)
        if console is None:
            self._target = uri
            self._uri_text = str(uri)
            self._uri = serviceuri.parse(self._uri_text)
            self._link.ripe = True
            if uri.address is None:  # this is no read, and nothing follows at once
                self.settle()

    def _wont_proxy(self, reason: str) -> None:
        self._complain("refused proxy requests", f"WONT-PROXY: {reason}")
        self._link.suboption(Sub.WONT_PROXY)

    def _vc_uuid(self, parameters: bytes) -> None:
        uuid = parse_uuid(parameters)
        pending = self._hub.migrations.pending_at(self._link)
        expected = self._uuid
        if self._link.console is not None:
            expected = self._link.console.uuid
        elif pending is not None:
            expected = pending.console.uuid
        if expected is not None and uuid != expected:
            self._uri = None  # it claims nothing any more, nor when it is taken leave of
            self._link.give_up(f"it says that it is {uuid} and was {expected} before")
            return
        self._uuid = uuid
        self._link.ripe = True

    def _bios(self, parameters: bytes) -> None:
        self._bios_uuid = parse_uuid(parameters)
        if self._link.console is not None:
            self._link.console.set_uuids(self._bios_uuid, None)

    def _location(self, parameters: bytes) -> None:
        self._location_uuid = parse_uuid(parameters)
        if self._link.console is not None:
            self._link.console.set_uuids(None, self._location_uuid)

    def _vm_name(self, parameters: bytes) -> None:
        self.name = parse_name(parameters)[:NAME_LIMIT]
        self._named = True
        if self._link.console is None:
            self._link.ripe = True
        elif self._link.in_service and self.name:
            self._hub.directory.rename(self._link.console, self.name)

    def settle(self) -> None:
        """Nothing more has come for now: claim the console if what has come is enough."""
        if self._link.ripe:
            self._link.ripe = False
            self.identify()

    def identify(self, late: bool = False) -> bool:
        """Claim the console, if it is known which.

        :param late: do not wait for a name that log files are named after.
        :returns: whether this connection has its console now.
        """
        if self._uuid is None or self._uri is None or self._link.console is not None:
            return False
        if self._hub.migrations.pending_at(self._link) is not None:
            return False  # the pair said already what it is
        if self._hub.needs_name and not self._named and not late and self._asked >> Sub.GET_VM_NAME & 1:
            return False
        target, dialler = self._target, self._hub.dialler
        dial = partial(dialler.dial, uri=target) if target is not None and dialler is not None else None
        identity = Identity(self._uuid, self._uri.port, self._uri_text, self.name, dial)
        try:
            self._hub.directory.claim(identity, self._link)
        except ClaimRefused as error:
            self._uri = None  # it asked, and was answered
            self._hub.counters["refused second connections"] += 1
            self._link.give_up(str(error))
            return False
        return True

    # vMotion.

    def _vmotion_begin(self, sequence: bytes) -> None:
        self.settle()
        console = self._link.console
        if console is None or not self._link.in_service or self._hub.stopping:
            self._complain("refused vMotions", "NOTNOW: no console is served here, or not any more")
            self._link.suboption(Sub.VMOTION_NOTNOW, sequence)
            return
        migration = self._hub.migrations.begin(console, self._link, sequence)
        # Everything for the VM has been written to this connection before, or waits in the console.
        self._link.suboption(Sub.VMOTION_GOAHEAD, sequence + migration.secret)

    def _vmotion_peer(self, pair: bytes) -> None:
        self.settle()
        if self._link.console is not None:
            self._complain("refused peers", "PEER on a connection that has its console already")
            return
        if self._hub.admission.closed_out(self._link.peer):
            # Not even looked at, or connections that were opened before could go on guessing.
            self._link.give_up("closed out for its wrong migration pairs")
            return
        try:
            migration = self._hub.migrations.peer(self._link, pair, self._uuid)
        except PeerRefused as error:
            self._complain("refused peers", f"PEER refused: {error}")
            if error.guess and self._hub.admission.wrong_pair(self._link.peer):
                self._hub.counters["addresses closed out"] += 1
                self._link.give_up("too many wrong migration pairs; its address is closed out for a minute")
            return
        self._hub.unidentified.discard(self._link)
        self._link.suboption(Sub.VMOTION_PEER_OK, migration.sequence)

    def _vmotion_complete(self, sequence: bytes) -> None:
        if not self._hub.migrations.complete(self._link, sequence):
            self._complain("stray COMPLETEs", "COMPLETE, but no vMotion is pending here")

    def _vmotion_abort(self, sequence: bytes) -> None:
        console = self._link.console
        if console is None or not self._hub.migrations.abort(self._link, console, sequence):
            self._complain("stray ABORTs", "ABORT, but no vMotion is pending here")


_HANDLERS: dict[int, Callable[[Conversation, bytes], None]] = {
    Sub.KNOWN_SUBOPTIONS_1: Conversation._known_suboptions,
    Sub.UNKNOWN_SUBOPTION_RCVD_1: Conversation._unknown_suboption,
    Sub.VMOTION_BEGIN: Conversation._vmotion_begin,
    Sub.VMOTION_PEER: Conversation._vmotion_peer,
    Sub.VMOTION_COMPLETE: Conversation._vmotion_complete,
    Sub.VMOTION_ABORT: Conversation._vmotion_abort,
    Sub.DO_PROXY: Conversation._do_proxy,
    Sub.VM_VC_UUID: Conversation._vc_uuid,
    Sub.VM_NAME: Conversation._vm_name,
    Sub.VM_BIOS_UUID: Conversation._bios,
    Sub.VM_LOCATION_UUID: Conversation._location,
}
