"""Small pictures: a PNG of many colours as one with a palette of 256."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(SIGNATURE)
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        yield kind, png[place + 8 : place + 8 + length]
        place += length + 12


def _rows(data: bytes, width: int, height: int, deep: int) -> Iterator[bytes]:
    """The rows of pixels, without their filters."""
    stride = width * deep
    above = bytes(stride)
    for number in range(height):
        start = number * (stride + 1)
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + stride])
        for i in range(stride) if kind else ():
            left, up, corner = (row[i - deep], above[i], above[i - deep]) if i >= deep else (0, above[i], 0)
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            else:
                near = left + up - corner
                guess = min((left, up, corner), key=lambda one: abs(near - one))
            row[i] = (row[i] + guess) & 255
        above = bytes(row)
        yield above


def _nearest(palette: list[tuple[int, int, int]], pixel: tuple[int, int, int]) -> int:
    def far(number: int) -> int:
        return sum(abs(one - other) for one, other in zip(palette[number], pixel, strict=True))

    return min(range(len(palette)), key=far)


def small(png: bytes) -> bytes:
    """A picture of a browser, 8 bits a colour, with the 256 colours that it has most."""
    parts = list(_chunks(png))
    width, height, _, colour = struct.unpack_from(">IIBB", parts[0][1])
    deep = {2: 3, 6: 4}[colour]
    pixels = [
        [(row[i], row[i + 1], row[i + 2]) for i in range(0, len(row), deep)]
        for row in _rows(
            zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT")), width, height, deep
        )
    ]
    palette = [one for one, _ in Counter(one for row in pixels for one in row).most_common(256)]
    place = {one: number for number, one in enumerate(palette)}
    lines = bytearray()
    for row in pixels:
        lines.append(0)
        for one in row:
            if one not in place:
                place[one] = _nearest(palette, one)
            lines.append(place[one])
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    body = (
        (b"IHDR", head),
        (b"PLTE", bytes(value for one in palette for value in one)),
        (b"IDAT", zlib.compress(bytes(lines), 9)),
    )
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (*body, (b"IEND", b""))
    )
