"""ColumnWidths that text takes on a terminal, and text cut and wrapped to them.

A character that a reader sees may be several code points: a letter and its accents, a family of emoji, a Hangul
syllable. Text is measured and cut between such clusters. Invariant: no cluster is wider than two columns or longer than
:data:`CLUSTER_LIMIT`, whatever the text is.
"""

from __future__ import annotations

from collections.abc import Iterator

from wcwidth import iter_graphemes, wcswidth, wcwidth

MARKS_LIMIT = 2  # marks in a row on one character; more of them spoil the lines above and below
CLUSTER_LIMIT = 24  # code points


def clusters(text: str) -> Iterator[tuple[str, int]]:
    """The clusters of a text, with their columns. Marks beyond the limits are left out."""
    for cluster in iter_graphemes(text):
        if len(cluster) > 1:
            cluster = _bounded(cluster)
        # Not of the whole text: wcswidth() takes the square of the time for a row of flags. A NUL takes a column, as
        # all control characters do, and as it does in a text of ASCII.
        width = 1 if cluster == "\0" else wcswidth(cluster)
        if 0 <= width <= 2:
            yield cluster, width
        else:
            for char in cluster:
                yield char, _width(char)


def _bounded(cluster: str) -> str:
    kept = ""
    marks = 0
    for char in cluster[:CLUSTER_LIMIT]:
        marks = 0 if wcwidth(char) else marks + 1
        if marks <= MARKS_LIMIT:
            kept += char
    return kept


def _width(char: str) -> int:
    width = wcwidth(char)
    return width if width >= 0 else 1


def cells(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(width for _, width in clusters(text))


def cut(text: str, width: int) -> str:
    """The beginning of a text that fits so many columns, with an ellipsis where something is missing.

    Bound: no more is looked at than what could fit.
    """
    if text.isascii():
        return text if len(text) <= width else text[: width - 1] + "…" if width > 0 else ""
    kept: list[str] = []
    used = 0
    ellipsis_at = 0  # what may stay if an ellipsis must follow
    for cluster, size in clusters(text[: CLUSTER_LIMIT * (width + 1)]):
        if used + size > width:
            return "".join(kept[:ellipsis_at]) + "…" if width > 0 else ""
        if size or kept:
            used += size
            kept.append(cluster)
        if used < width:
            ellipsis_at = len(kept)
    return "".join(kept)


def tail(text: str, width: int) -> str:
    """The end of a text that fits so many columns."""
    if text.isascii():
        return text[max(0, len(text) - width) :]
    kept: list[str] = []
    for cluster, size in reversed(list(clusters(text))):
        if size > width:
            break
        width -= size
        kept.append(cluster)
    return "".join(reversed(kept))


def fill(text: str, width: int) -> str:
    """A text with blanks behind it, so that it takes so many columns at least."""
    return text + " " * (width - cells(text))


def pad(text: str, width: int) -> str:
    """A text as exactly so many columns: cut, or with blanks behind it."""
    return fill(cut(text, width), width)


def wrap(text: str, width: int, limit: int) -> list[str]:
    """A text as lines of so many columns at most.

    :param limit: lines at most; where there would be more, the last one ends in an ellipsis.
    """
    lines: list[str] = []
    line = ""
    words = [piece for word in text.split() for piece in _pieces(word, width)]
    for word in words:
        if line and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line = word
            if len(lines) == limit:
                return [*lines[:-1], cut(lines[-1] + " " + word + " " * width, width)]
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def _pieces(word: str, width: int) -> list[str]:
    pieces = [""]
    used = 0
    for cluster, size in clusters(word):
        if used + size > width:
            pieces.append("")
            used = 0
        pieces[-1] += cluster
        used += size
    return pieces
