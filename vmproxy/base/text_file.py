"""Files that people write, with whatever editor."""

from __future__ import annotations

from pathlib import Path

from vmproxy.errors import ConfigError

LINE_LIMIT = 4096
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def plain_text(data: bytes) -> bytes:
    """The text of a file that people write, without the mark that editors put in front of UTF-8.

    :raises ValueError: if it is UTF-16.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16; save it as UTF-8")
    return data.removeprefix(BYTE_ORDER_MARK)


def first_line(path: Path, key: str) -> str:
    """The first line of a file that holds a secret.

    :param key: the setting that names the file.
    :raises ConfigError: if there is none.
    """
    try:
        with path.open("rb") as file:
            text = plain_text(file.read(LINE_LIMIT)).decode().partition("\n")[0].rstrip("\r")
    except (OSError, ValueError) as error:
        raise ConfigError([f"{key}: {path}: {getattr(error, 'strerror', None) or error}"]) from None
    if not text:
        raise ConfigError([f"{key}: {path}: its first line is empty"])
    return text
