"""How somebody else reaches a console: the line for their shell, and the address for their browser."""

from __future__ import annotations

from urllib.parse import quote

from vmproxy.console.console import Console
from vmproxy.operators.session import Session

_HOST = "HOST"


def ssh_line(session: Session, console: Console, operator: str = "") -> str:
    """``ssh -p 2222 web01@10.1.2.3``, with the address at which this session has reached us.

    :param operator: who logs in; empty for whoever the key says.
    """
    host, port = session.local_address or ("", 0)
    alias = session.operator.view.alias(console)
    user = f"{operator}:{alias}" if operator else alias
    option = f" -p {port}" if port not in (0, 22) else ""
    return f"ssh{option} {user}@{host or _HOST}"


def web_address(public_url: str, console: Console) -> str:
    """The page of a console in the web front, which may be found at that address; empty where there is none."""
    port = "" if console.port == "1" else f".{console.port}"
    return f"{public_url}/c/{quote(f'{console.uuid}{port}')}" if public_url else ""


def ways(session: Session, console: Console) -> list[str]:
    """All ways to a console, a line for each."""
    link = session.services.web_link(console)
    return [ssh_line(session, console), *([link] if link else [])]
