"""The small interfaces through which a console knows the world: its link to the VM, and its viewers.

Whatever provides them plugs in: a Telnet connection from a host, an SSH session, a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from vmproxy.console.console import Console
    from vmproxy.console.notices import Notice


class ILink(Interface):
    """A connection that carries, or is about to carry, one serial port of one VM."""

    peer: str = Attribute("The address of the host, for people to read.")
    encrypted: bool = Attribute("Whether nobody between here and the host can read along.")
    ready: bool = Attribute("Whether the VM takes data now; when it becomes true, Console.link_ready is called.")

    def write(data: bytes) -> None:
        """Send serial data to the VM. Called only while ``ready``."""

    def send_break() -> None:
        """Send a break to the guest."""

    def serve(console: Console) -> None:
        """It is your turn: hand the console what came early, then everything as it comes."""

    def wait(console: Console) -> None:
        """You carry this console, but keep what the VM says until it is your turn: :meth:`serve`."""

    def drain() -> None:
        """Hand on what the operating system has received already, before something else happens."""

    def retire(done: Callable[[], None]) -> None:
        """You no longer carry your console, another link does: hand on what is still on its way, and call ``done``,
        once, when that is all. Close, soon, if the host does not."""

    def release() -> int:
        """You will not carry the console that you were to carry: forget it and what came early.

        :returns: how many bytes that were.
        """

    def close(reason: str) -> None:
        """Close the connection, at once. ``reason`` goes to the log."""

    def hold_output(on: bool) -> None:
        """Stop (and start again) reading from the VM: its log is behind."""


class IViewer(Interface):
    """Somebody who looks at a console, and may write."""

    who: str = Attribute("The operator and where he comes from, for people to read: ``alice@10.1.2.9``.")
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


class IFarEnd(IViewer):
    """What the concentrator connects a console to because its VM has direction "client"; it is a viewer too."""

    place: str = Attribute("Where it is, for people to read: ``tcp://10.1.2.3:4000``.")
    address: str = Attribute("The address that it was last connected at; empty if never.")
    state: str = Attribute("``dialling``, ``up``, ``down`` (it will be dialled again) or ``refused``.")
    since: float = Attribute("Since when, seconds since the epoch.")
    reason: str = Attribute("Why it is not up.")
    again: float = Attribute("When it will be dialled again, seconds since the epoch; 0 if that is not due.")

    def hang_up(reason: str) -> None:
        """The VM is gone, or wants something else: send what is left to send, and close."""
