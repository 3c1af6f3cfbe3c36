"""What is known of a console, for people."""

from __future__ import annotations

from vmproxy.access.policy import Right
from vmproxy.base.sanitize import human_bytes, visible
from vmproxy.console.console import Console
from vmproxy.operators.messages import far_line, recording, state_line
from vmproxy.operators.visible import View


def describe(console: Console, view: View, now: float) -> list[str]:
    """All that is known about a console, a line each."""
    writers = ", ".join(writer.who for writer in console.write_access.writers)
    path = console.log.path if view.may(console, Right.ADMIN) else f"{view.alias(console)}.log"
    link = [f"serial: {console.settings}"] if console.settings else []
    return [
        f"console: {console.title}  (ssh name {view.alias(console)})",
        f"state: {state_line(console, now)}",
        f"VC UUID: {console.uuid}  port {console.port}",
        f"BIOS UUID: {console.bios_uuid or '-'}  location UUID: {console.location_uuid or '-'}",
        f"service URI: {visible(console.uri)}",
        *link,
        *([f"far end: {far_line(console.remote)}"] if console.remote is not None else []),
        f"from the VM: {human_bytes(console.bytes_out)}  to the VM: {human_bytes(console.bytes_in)}",
        f"log: {path}  ({recording(console, view)})",
        f"writer: {writers or '-'}  viewers: {len(console.viewers.all)}",
    ]
