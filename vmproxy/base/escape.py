"""The escape as people write it: ``^Ec`` for the two bytes that precede a command."""

from __future__ import annotations

from vmproxy.base.sanitize import visible
from vmproxy.errors import VMProxyError

DEFAULT_ESCAPE = b"\x05c"  # ^E c
_RIGHT = "write a control character and another one, such as ^Ec or ^]q"


class BadEscape(VMProxyError):
    """An invalid escape; the text says which are valid."""


def parse_escape(text: str) -> bytes:
    """Read an escape as people write it: ``^Ec``, ``^]q``, or ``C-ec`` where a shell has its own idea of ``^``.

    :returns: its two bytes.
    :raises BadEscape: if it is not a control character and a printable one.
    """
    short = f"^{text[2:]}" if text[:2] in ("C-", "c-") else text
    if len(short) == 3 and short[0] == "^" and "?" < short[1].upper() <= "_" and short[2].isascii():
        return check_escape(bytes((ord(short[1].upper()) ^ 0x40, ord(short[2]))))
    raise BadEscape(f"{visible(text)!r} is not an escape; {_RIGHT}")


def check_escape(keys: bytes) -> bytes:
    """Check the two bytes of an escape.

    :returns: the same bytes.
    :raises BadEscape: if they are not valid.
    """
    control, key = keys
    # These are a guest's line ends, its flow control, and nothing at all.
    if not 0 < control < 0x20 or control in (0x0A, 0x0D, 0x11, 0x13):
        raise BadEscape(f"no escape can begin with {_name(control)}; {_RIGHT}")
    if not 0x21 <= key <= 0x7E:
        raise BadEscape(f"no escape can end with {_name(key)}; {_RIGHT}")
    return keys


def _name(byte: int) -> str:
    return f"^{chr(byte ^ 0x40)}" if byte < 0x20 or byte == 0x7F else ascii(chr(byte))


def show_escape(escape: bytes) -> str:
    """``^Ec`` for its two bytes."""
    return f"^{chr(escape[0] ^ 0x40)}{chr(escape[1])}"
