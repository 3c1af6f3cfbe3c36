"""The small interfaces through which a console knows the world: its link to the VM, and its viewers.

Whatever provides them plugs in: a Telnet connection from a host, an SSH session, a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from zope.interface import Attribute, Interface

from vmproxy.console.notices import Notice

C = TypeVar("C", contravariant=True)


class IReceiver(Protocol):
    """The part of a link that takes input for a VM."""

    @property
    def ready(self) -> bool:
        """Whether the VM takes data now; when it becomes true, ``Console.link_ready`` is called."""

    def write(self, data: bytes) -> None:
        """Send serial data to the VM. Called only while ``ready``."""

    def send_break(self) -> None:
        """Send a break to the guest."""


class ILink(IReceiver, Protocol[C]):
    """A connection that carries, or is about to carry, one serial port of one VM, for consoles of the class C."""

    @property
    def peer(self) -> str:
        """The address of the host, for people to read."""

    @property
    def encrypted(self) -> bool:
        """Whether nobody between here and the host can read along."""

    def serve(self, console: C) -> None:
        """Hand the console all output that came early, then everything as it comes: it is this link's turn."""

    def wait(self, console: C) -> None:
        """Carry the console, but keep its output until :meth:`serve` is called."""

    def drain(self) -> None:
        """Hand on what the operating system has received already, before something else happens."""

    def retire(self, done: Callable[[], None]) -> None:
        """Hand on what is still on its way: another link carries the console. Close, soon, if the host does not.

        :param done: to be called, once, when that is all.
        """

    def release(self) -> int:
        """Forget the console that this link was to carry, and its early output.

        :returns: how many bytes that were.
        """

    def close(self, reason: str) -> None:
        """Close the connection, at once. ``reason`` goes to the log."""

    def hold_output(self, on: bool) -> None:
        """Stop (and start again) reading from the VM: its log is behind."""


class IViewer(Interface):
    """Somebody who looks at a console, and may write."""

    who: str = Attribute("The operator and the address, for people to read: ``alice@10.1.2.9``.")
    since: float = Attribute("When the viewer attached, seconds since the epoch.")
    last_input: float = Attribute("When it was last typed at; ``since`` if never.")
    skipped: int = Attribute("How many bytes it was too slow for.")

    def output(data: bytes) -> None:
        """Bytes from the VM. Must neither block, nor fail, nor keep more than a bounded number of them."""

    def notice(notice: Notice) -> None:
        """Something happened to the console, or to the viewer's part in it."""

    def hold_input(on: bool) -> None:
        """Stop (and start again) handing input to the console: it has enough to deliver."""

    def rules_changed() -> None:
        """Other rules hold from now on: see whether you may still be here, and write."""


class IRemoteEnd(IViewer):
    """What the concentrator connects a console to because its VM has direction "client"; it is a viewer too."""

    place: str = Attribute("Where it is, for people to read: ``tcp://10.1.2.3:4000``.")
    address: str = Attribute("The address that it was last connected at; empty if never.")
    state: str = Attribute("``dialling``, ``up``, ``down`` (it will be dialled again) or ``refused``.")
    since: float = Attribute("Since when, seconds since the epoch.")
    reason: str = Attribute("Why it is not up.")
    again: float = Attribute("When it will be dialled again, seconds since the epoch; 0 if that is not due.")

    def hang_up(reason: str) -> None:
        """The VM is gone, or wants something else: send what is left to send, and close."""
