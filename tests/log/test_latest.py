"""The last thing that a VM said, from the end of its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmproxy.log.latest import LINE_SHOWN, TAIL, Latest, latest
from vmproxy.log.shown import ShownText


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"login: ", "login:"),
        (b"one\r\ntwo\r\n\r\n  \r\n", "two"),
        (b"\x1b[1mred\x1b[0m\x1b]0;title\x07\r\n", "red"),
        (b"aaaa\rbb\r\n", "bbaa"),
        (b"x" * 5 * TAIL, "x" * (LINE_SHOWN - 1) + "…"),
        (b"last\n" + b"\xff\xfe\x9b31m\n", None),
        (b"\n \n", None),
        (b"z" * 5000 + b"\nend\n", "end"),
    ],
)
def test_the_last_line_that_is_not_blank_is_shown(tmp_path: Path, data: bytes, line: str | None) -> None:
    path = tmp_path / "web01.log"
    path.write_bytes(data)
    found = latest(path, ShownText())
    assert found.at == path.stat().st_mtime
    if line is not None:
        assert found.line == line
    else:
        assert found.line is None or found.line.isprintable()


def test_where_a_file_was_just_put_aside_the_one_before_counts(tmp_path: Path) -> None:
    path = tmp_path / "web01.log"
    assert latest(path, ShownText()) == Latest(None, None)
    (tmp_path / "web01.log.1").write_bytes(b"before\n")
    path.write_bytes(b"")
    assert latest(path, ShownText()).line == "before"
    assert latest(path, None) == Latest((tmp_path / "web01.log.1").stat().st_mtime, None)
