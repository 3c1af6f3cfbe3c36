"""A file that is written anew is there whole, or as it was before."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import pytest

from vmproxy.base.new_file import new_file


def test_a_new_file_takes_the_place_of_the_old_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("before")
    with new_file(path, 0o600) as file:
        file.write("after")
        assert path.read_text() == "before"
    assert (path.read_text(), path.stat().st_mode & 0o777, len(list(tmp_path.iterdir()))) == ("after", 0o600, 1)


def test_a_new_file_that_cannot_be_written_leaves_the_old_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("before")
    with pytest.raises(RuntimeError), new_file(path) as file:
        _fail(file)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("before", 1)


def _fail(file: TextIO) -> None:
    file.write("half")
    raise RuntimeError


def test_a_link_beside_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), new_file(tmp_path / "kept"):
        pass
    assert not (tmp_path / "elsewhere").exists()
