"""VMware's extension (option 232) on one connection: identity and request of a VM.

The parts of an identity may come in any order and at any time. vMotion is not treated here but in
:mod:`vmproxy.vm.session_machine`, whose part this is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol
from uuid import UUID

from vmproxy.base.sanitize import visible
from vmproxy.console.info import BIOS_UUID, LOCATION_UUID
from vmproxy.errors import WireError
from vmproxy.vm.actions import Claim, Count, DialRefused, Judge, Outbox
from vmproxy.vm.beginning import NAME_LIMIT, Beginnings, ExtensionState, Introduction, Request
from vmproxy.wire import dialuri, serviceuri
from vmproxy.wire.dialuri import DialError, DialURI
from vmproxy.wire.telnet import VMWARE_EXT, subnegotiation
from vmproxy.wire.vmware import QUESTIONS, SUPPORTED, Sub, message, parse_do_proxy, parse_name, parse_uuid

_OTHER_CONSOLE = "this connection has another console already"
_UNKNOWN_RECEIVED = int(Sub.UNKNOWN_SUBOPTION_RCVD_2)
_GET_NAME = int(Sub.GET_VM_NAME)
_GET_BIOS = bytes((Sub.GET_VM_BIOS_UUID,))
_BIOS_ASKED = 1 << int(Sub.GET_VM_BIOS_UUID)
_BIOS_ANSWERED = 1  # no question has that number
_BIOS_STATE = _BIOS_ASKED | _BIOS_ANSWERED
_GET_VC = bytes((Sub.GET_VM_VC_UUID,))
_VC_ASKED = 1 << int(Sub.GET_VM_VC_UUID)
_NO_VC = 2  # nor has that; the host has said, in one way or another, that there is no VC UUID


def _never() -> bool:
    return False


@dataclass(slots=True)
class Terms:
    """Settings and sums that all sessions share.

    :ivar service_uris: the services that are accepted; ``*`` is any.
    :ivar client_word: whether a VM of direction "client" that names the service instead of a destination is served.
    :ivar signature: what a VM is told when it asks, over COM-PORT, who serves its port.
    :ivar needs_name: whether a VM's name must be known before its console, because logs are named after it.
    :ivar dials: tells whether VMs with direction "client" are served at all.
    :ivar early: bytes of output in all sessions that wait because nobody knows yet whose they are.
    :ivar beginnings: what hosts say first.
    """

    service_uris: tuple[str, ...]
    signature: bytes
    needs_name: bool = False
    dials: Callable[[], bool] = field(default=_never)
    client_word: bool = False
    early: int = 0
    beginnings: Beginnings = field(default_factory=Beginnings)

    def count_early(self, size: int) -> None:
        """Add to the sum of early output, or take away from it."""
        self.early += size

    def accept(self, service_uris: tuple[str, ...], client_word: bool = False) -> None:
        """Accept other services from now on."""
        self.service_uris = service_uris
        self.client_word = client_word
        self.beginnings.forget()


class Carried(Protocol):
    """The console of a connection, or of its vMotion."""

    @property
    def vc_uuid(self) -> UUID | None: ...

    @property
    def port(self) -> str: ...

    @property
    def uri(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CarriedState:
    """A console that is carried, as a value."""

    vc_uuid: UUID | None
    port: str
    uri: str


class Contradiction(WireError):
    """The host says that it is another VM than before."""


@cache
def suboption(code: int) -> bytes:
    """A suboption without parameters, as it travels."""
    return subnegotiation(VMWARE_EXT, message(code))


_LIST = subnegotiation(VMWARE_EXT, message(Sub.KNOWN_SUBOPTIONS_2, SUPPORTED))
_WILL_PROXY = suboption(Sub.WILL_PROXY)
_WONT_PROXY = suboption(Sub.WONT_PROXY)


def _may_tell_bios(asked: int) -> bool:
    # It was asked, or it is not known yet what it can be asked.
    return not asked or asked & _BIOS_STATE == _BIOS_ASKED


def first_claim(state: ExtensionState, request: Request, told: Introduction, needs_name: bool) -> Claim | None:
    """The claim of a VM that has said who it is in one read, before anything else was known of it.

    :returns: None if something is waited for: see :meth:`Extension.claim`.
    """
    asked = state.asked
    if needs_name and told.name is None and asked >> _GET_NAME & 1:
        return None
    awaited = told.bios is None and _may_tell_bios(asked)
    name = told.name or ""
    return Claim(told.uuid, request.port, request.uri, name, None, request.word, told.bios, awaited, told.location)


class Extension:
    """Option 232 on one connection.

    :ivar name: the VM's name, as far as it has been told here.
    :ivar uri: the service URI that was agreed on; None where there is none, or it claims nothing any more.
    :ivar wish: what the VM would like to be connected to, while that is looked at.
    :ivar ripe: whether something was said that may be all that was missing to claim a console. What follows it at once
        is awaited: it is mostly the name, and the console is better found and announced with it.
    """

    __slots__ = (
        "_asked",
        "_judging",
        "_list_sent",
        "_named",
        "_out",
        "_target",
        "_terms",
        "bios_uuid",
        "location_uuid",
        "name",
        "ripe",
        "uri",
        "uuid",
        "wish",
    )

    def __init__(self, terms: Terms, out: Outbox) -> None:
        self._terms = terms
        self._out = out
        self.uuid: UUID | None = None
        self.bios_uuid: UUID | None = None
        self.location_uuid: UUID | None = None
        self.name = ""
        self._named = False
        self.uri: str | None = None
        self._target: DialURI | None = None  # what the proxy is to connect the VM to, if that was agreed on
        self.wish: DialURI | None = None
        self._judging = False  # whether a destination is being looked up
        self.ripe = False
        self._asked = 0  # bit per question
        self._list_sent = False

    def received(self, payload: bytes, carried: Carried | None) -> None:
        """Take in a suboption: its code and parameters.

        :raises Contradiction: if the host says that it is another VM than before.
        """
        self.tell_list()
        handler = _HANDLERS.get(payload[0])
        try:
            if handler is not None:
                handler(self, payload[1:], carried)
            elif payload[0] != _UNKNOWN_RECEIVED:
                # Never an error in answer to an error, or two proxies could talk to each other for ever.
                self._out.actions.append(Count("unknown suboptions"))
                self._out.control(subnegotiation(VMWARE_EXT, message(_UNKNOWN_RECEIVED, payload[:1])))
        except Contradiction:
            raise
        except WireError as error:
            self._out.complain("wrong suboptions", str(error))

    def tell_list(self) -> None:
        """Send the list of what the proxy knows, once."""
        if not self._list_sent:
            self._list_sent = True
            self._out.control(_LIST)

    def settle(self) -> None:
        """Nothing is awaited any more behind what was said."""
        self.ripe = False

    def claim_nothing(self) -> None:
        """Claim no console any more, nor when it is taken leave of."""
        self.uri = None

    def claim(self, late: bool, overdue: bool = False) -> Claim | None:
        """The claim of the console, if it is known which.

        :param late: do not wait for a name that log files are named after, nor for a VC UUID that there is not.
        :param overdue: do not wait for a VC UUID at all.
        """
        uuid, known_by = self.uuid, ""
        if uuid is None and (overdue or (late and self._asked & _NO_VC)):
            uuid, known_by = (self.bios_uuid, BIOS_UUID) if self.bios_uuid else (self.location_uuid, LOCATION_UUID)
        if uuid is None or self.uri is None:
            return None
        if self._terms.needs_name and not self._named and not late and self._asked >> _GET_NAME & 1:
            return None
        uri = serviceuri.parse(self.uri)
        word = serviceuri.label(uri, self._terms.service_uris) if self._target is None else None
        awaited = not late and self.bios_uuid is None and _may_tell_bios(self._asked)
        bios, location = self.bios_uuid, self.location_uuid
        return Claim(uuid, uri.port, self.uri, self.name, self._target, word, bios, awaited, location, known_by)

    def request(self) -> Request | None:
        """What the VM has asked for and been promised; None where that is nothing, or a destination."""
        if self.uri is None or self._target is not None:
            return None
        uri = serviceuri.parse(self.uri)
        return Request(self.uri, uri.port, serviceuri.label(uri, self._terms.service_uris))

    def introduce(self, told: Introduction) -> None:
        """Take in what a VM has said of itself in one read."""
        self.uuid, self.bios_uuid, self.location_uuid = told.uuid, told.bios, told.location
        if told.name is not None:
            self.name = told.name
            self._named = True
        if told.bios is not None:
            self._asked |= _BIOS_ANSWERED

    @property
    def has_no_vc_uuid(self) -> bool:
        """Whether only something else than a VC UUID is awaited, or has come, to claim a console."""
        return bool(self._asked & _NO_VC) and self.uuid is None and self.uri is not None

    def forget(self) -> None:
        """Forget the VM's request: it has to ask again."""
        self.uri = self._target = self.wish = None

    # Who it is and what it wants.

    def _known_suboptions(self, codes: bytes, _: Carried | None) -> None:
        for code in QUESTIONS:
            if code in codes and not self._asked >> code & 1:
                self._asked |= 1 << code
                self._out.control(suboption(code))
        if not self._asked & _VC_ASKED:
            self._without_vc_uuid()

    def _without_vc_uuid(self) -> None:
        self._asked |= _NO_VC
        self.ripe = self.uri is not None

    def _unknown_suboption(self, codes: bytes, _: Carried | None) -> None:
        self._out.actions.append(Count(f"suboption {codes[:1].hex()} unknown to a VM"))
        if codes[:1] == _GET_VC:
            self._without_vc_uuid()
        elif codes[:1] == _GET_BIOS:
            self._asked |= _BIOS_ANSWERED
            self.ripe = self.uri is not None

    def _do_proxy(self, parameters: bytes, carried: Carried | None) -> None:
        self.wish = None
        try:
            wanted = parse_do_proxy(parameters)
        except WireError as error:
            self._wont_proxy(str(error))
            return
        uri = serviceuri.parse(wanted.uri)
        served = serviceuri.matches(uri, self._terms.service_uris)
        if wanted.direction == "C" and not (served and uri.bare and self._terms.client_word):
            if served and uri.bare:
                self._wont_proxy(
                    f"direction C with {visible(wanted.uri)!r}, which is the word of a server: set the direction of"
                    ' the serial port to "server" (or vm.client-word = "serve" here)'
                )
            else:
                self._do_dial(wanted.uri.strip(), carried)
        elif not served:
            self._wont_proxy(f"the service URI {visible(wanted.uri)!r} is not served (vm.service-uri)")
        else:
            self._agree(wanted.uri, None, carried)

    def _do_dial(self, text: str, carried: Carried | None) -> None:
        if not self._terms.dials():
            self._wont_proxy(f"direction C (to {visible(text)}) is not offered: there are no [[dial]] rules")
            return
        try:
            uri = dialuri.parse(text)
        except DialError as error:
            self._wont_proxy(f"direction C: {error}")
            return
        if carried is not None and carried.uri != str(uri):
            self._wont_proxy(_OTHER_CONSOLE)
            return
        self.wish = uri
        if not self._judging:  # one at a time: name servers are for all VMs
            self.judge()

    def judge(self) -> None:
        """Ask whether the VM may be connected to what it wishes."""
        if self.wish is not None:
            self._judging = True
            self._out.actions.append(Judge(self.wish))

    def judged(self, uri: DialURI, refusal: str, carried: Carried | None) -> None:
        """Take the answer to :class:`Judge`, perhaps late.

        The VM may have asked for something else meanwhile.
        """
        self._judging = False
        if self.wish != uri:
            self.judge()
            return
        self.wish = None
        if refusal:
            self._wont_proxy(f"direction C, to {uri}: {refusal}")
            self._out.actions.append(DialRefused(uri, refusal, self.uuid, self.name))
        else:
            self._agree(str(uri), uri, carried)

    def _agree(self, uri: str, target: DialURI | None, carried: Carried | None) -> None:
        if carried is not None and carried.uri != uri:
            self._wont_proxy(_OTHER_CONSOLE)
            return
        self._out.control(_WILL_PROXY)
        if carried is None:
            self.uri = uri
            self._target = target
            self.ripe = True

    def _wont_proxy(self, reason: str) -> None:
        self._out.complain("refused proxy requests", f"WONT-PROXY: {reason}")
        self._out.control(_WONT_PROXY)

    def _vc_uuid(self, parameters: bytes, carried: Carried | None) -> None:
        try:
            uuid = parse_uuid(parameters)
        except WireError:
            self._without_vc_uuid()
            raise
        expected = self.uuid if carried is None else carried.vc_uuid
        if expected is not None and uuid != expected:
            self.claim_nothing()
            raise Contradiction(f"it says that it is {uuid} and was {expected} before")
        self.uuid = uuid
        self.ripe = True

    def _bios(self, parameters: bytes, _: Carried | None) -> None:
        self._asked |= _BIOS_ANSWERED
        self.ripe = self.uri is not None
        self.bios_uuid = parse_uuid(parameters)

    def _location(self, parameters: bytes, _: Carried | None) -> None:
        self.ripe = self.ripe or bool(self._asked & _NO_VC)
        self.location_uuid = parse_uuid(parameters)

    def _vm_name(self, parameters: bytes, _: Carried | None) -> None:
        self.name = parse_name(parameters)[:NAME_LIMIT]
        self._named = True
        self.ripe = True

    # Handing over.

    def snapshot(self) -> ExtensionState:
        """The extension as a value."""
        return ExtensionState(
            uuid=self.uuid,
            bios_uuid=self.bios_uuid,
            location_uuid=self.location_uuid,
            name=self.name,
            named=self._named,
            uri=self.uri,
            target=_text(self._target),
            wish=_text(self.wish),
            judging=self._judging,
            ripe=self.ripe,
            asked=self._asked,
            list_sent=self._list_sent,
        )

    def restore(self, state: ExtensionState) -> None:
        """Go on where another connection's extension was."""
        self.uuid = state.uuid
        self.bios_uuid = state.bios_uuid
        self.location_uuid = state.location_uuid
        self.name = state.name
        self._named = state.named
        self.uri = state.uri
        self._target, self.wish = (dialuri.parse(text) if text else None for text in (state.target, state.wish))
        self._judging = state.judging
        self.ripe = state.ripe
        self._asked = state.asked
        self._list_sent = state.list_sent


def _text(value: object) -> str:
    return "" if value is None else str(value)


_HANDLERS: dict[int, Callable[[Extension, bytes, Carried | None], None]] = {
    Sub.KNOWN_SUBOPTIONS_1: Extension._known_suboptions,
    Sub.UNKNOWN_SUBOPTION_RCVD_1: Extension._unknown_suboption,
    Sub.DO_PROXY: Extension._do_proxy,
    Sub.VM_VC_UUID: Extension._vc_uuid,
    Sub.VM_NAME: Extension._vm_name,
    Sub.VM_BIOS_UUID: Extension._bios,
    Sub.VM_LOCATION_UUID: Extension._location,
}
DETAILS = frozenset((Sub.VM_NAME, Sub.VM_BIOS_UUID, Sub.VM_LOCATION_UUID))
"""The suboptions that a console is told of at once."""
