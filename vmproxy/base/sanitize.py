"""The sanitizer for hostile text: from a VM, a remote end, a client.

A VM's name may hold path separators, newlines, terminal escapes, text that runs backwards, or ten thousand
characters. :func:`visible` makes it fit for a terminal or a log line, :func:`safe_word` for a file name, an SSH user
name and a shell.
"""

from __future__ import annotations

import re
import unicodedata

_SAFE = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)
_UNSAFE = re.compile(r"[^\w.-]+")


def visible(text: str, limit: int = 128) -> str:
    """Make text safe to show: one line, no control characters, no invisible or reordering ones.

    :param limit: characters of the result at most, an ellipsis included.
    :returns: the text with everything unprintable shown as an escape such as ``\\x1b``.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe_word(text: str, limit: int = 100) -> str:
    """Reduce text to letters, digits, ``_``, ``.`` and ``-``.

    :param limit: bytes of UTF-8 at most, so that it fits a file name with something before and behind it.
    :returns: the word: it neither begins nor ends with ``.`` or ``-``; empty where nothing is left.
    """
    if len(text) <= limit and _SAFE.fullmatch(text):
        return text
    word = _UNSAFE.sub("-", unicodedata.normalize("NFC", text[: 4 * limit])).strip("-.")
    return word.encode("utf-8", "ignore")[:limit].decode("utf-8", "ignore").strip("-.")


def human_bytes(count: int) -> str:
    """``118.4 kB`` for 118400: the figure that notices and tables show."""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if round(value, 1) < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def human_span(seconds: float) -> str:
    """``7s``, ``1m48s``, ``2h05m`` or ``3d04h`` for a span of time: its two largest units."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{secs:02d}s" if minutes else f"{secs}s"
