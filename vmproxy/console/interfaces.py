"""The interfaces between a console and the world: its link to the VM, its viewers, its remote end.

A Telnet connection from a host provides one, so does an SSH session, or a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from zope.interface import Attribute, Interface

from vmproxy.access.idle_times import IdleTimes
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

    def release(self, reason: str) -> int:
        """Forget the console that this link was to carry, and its early output, and close.

        :returns: how many bytes that were.
        """

    def close(self, reason: str) -> None:
        """Close the connection, at once. ``reason`` goes to the log."""

    def hold_output(self, on: bool) -> None:
        """Stop (and start again) reading from the VM: its log is behind."""


class IViewer(Interface):
    """A viewer of a console, which may write."""

    who: str = Attribute("The operator and the address, for people to read: ``alice@10.1.2.9``.")
    front: str = Attribute("How the viewer came here: ``ssh``, ``web``, ``api``; of a remote end ``far-end``.")
    since: float = Attribute("When the viewer attached, seconds since the epoch.")
    last_input: float = Attribute("When it was last typed at; ``since`` if never.")
    skipped: int = Attribute("How many bytes it was too slow for.")

    def output(data: bytes) -> None:
        """Take output of the VM. Must neither block nor fail.

        Bound: a viewer keeps a bounded number of bytes.
        """

    def notice(notice: Notice) -> None:
        """Take a notice about the console, or about this viewer."""

    def hold_input(on: bool) -> None:
        """Stop, or start again, handing input to the console: its queue is full."""

    def idle_times() -> IdleTimes | None:
        """How long it may type nothing by the rules; None: no limit applies to it, whatever the console's options."""

    def rules_changed() -> None:
        """Check whether this viewer may still be here, and write: the access rules have changed."""


class IRemoteEnd(IViewer):
    """The remote end that a VM of direction "client" is connected to; it is a viewer too."""

    place: str = Attribute("Where it is, for people to read: ``tcp://10.1.2.3:4000``.")
    address: str = Attribute("The address that it was last connected at; empty if never.")
    state: str = Attribute("``dialling``, ``up``, ``down`` (it will be dialled again) or ``refused``.")
    since: float = Attribute("Since when, seconds since the epoch.")
    reason: str = Attribute("Why it is not up.")
    again: float = Attribute("When it will be dialled again, seconds since the epoch; 0 if that is not due.")

    def hang_up(reason: str) -> None:
        """Send queued output, and close: the VM is gone, or wants another remote end."""
