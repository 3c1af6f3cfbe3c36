"""Files that people write, with whatever editor."""

from __future__ import annotations

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def plain_text(data: bytes) -> bytes:
    """The text of a file that people write, without the mark that editors put in front of UTF-8.

    :raises ValueError: if it is UTF-16.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16; save it as UTF-8")
    return data.removeprefix(BYTE_ORDER_MARK)
