"""``vmproxy token``: tokens that the daemon finds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vmproxy.auth.tokens import FILE_LIMIT, KEPT_FOR_REVOKING, TokenError, TokenFile, looks_like_token, make
from vmproxy.cli.main import main


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    file = tmp_path / "vmproxy.toml"
    file.write_text(f'state-dir = "{tmp_path}"\n')
    return ["token", "--config", str(file)]


def test_a_token_is_made_listed_and_revoked(
    config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["create", "alice", "--name", "ci", "--scope", "write", "--expires", "7d", "--on", "web*", "--on", "db01"]
    assert main([*config, *words]) == 0
    shown = capsys.readouterr().out.strip()
    assert looks_like_token(shown)
    file = tmp_path / "tokens.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    assert shown not in file.read_text()
    (token,) = TokenFile(file).read().values()
    assert (token.operator, token.scope, token.on) == ("alice", "write", ("web*", "db01"))
    assert round(token.expires - token.created) == 7 * 86400
    assert main([*config, "list"]) == 0
    listed = capsys.readouterr().out
    assert f"{token.token_id}  alice  ci  write  web* db01  until " in listed
    assert main([*config, "list", "bob"]) == 0
    assert capsys.readouterr().out == ""
    assert main([*config, "revoke", "alice", "ci"]) == 0
    assert TokenFile(file).read() == {}


@pytest.mark.parametrize(
    "words",
    [
        ["create", "alice", "--name", "", "--expires", "7d"],
        ["create", "alice", "--name", "x", "--expires", "500d"],
        ["create", "alice", "--name", "x", "--expires", "soon"],
        ["create", "alice", "--name", "x", "--on", ""],
        ["revoke", "alice", "x"],
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    config: list[str], tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*config, *words]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_the_folders_owner_the_file_and_nothing_that_is_put_in_its_place(
    config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state := tmp_path / "state").mkdir()
    os.chown(state, 12345, 12345)
    (tmp_path / "vmproxy.toml").write_text(f'state-dir = "{state}"\n')
    assert main([*config, "create", "alice", "--name", "ci"]) == 0
    path, secret = state / "tokens.jsonl", tmp_path / "shadow"
    assert path.stat().st_uid == 12345
    secret.write_text("root's own")
    add = TokenFile.add

    def replaced(put: Callable[[Path, Path], None]) -> Callable[..., Any]:
        def added(self: TokenFile, *args: Any) -> Any:
            made = add(self, *args)
            path.unlink()
            put(secret, path)
            return made

        return added

    for name, put in (("soft", os.symlink), ("hard", os.link)):
        path.unlink()
        monkeypatch.setattr(TokenFile, "add", replaced(put))
        main([*config, "create", "alice", "--name", name])
        assert secret.stat().st_uid == 0


def test_a_torn_or_foreign_line_is_ignored(config: list[str], tmp_path: Path) -> None:
    assert main([*config, "create", "alice", "--name", "ci"]) == 0
    path = tmp_path / "tokens.jsonl"
    path.write_bytes(path.read_bytes() + b'{"token_id": 1}\nnonsense\n{"token_id": "to')
    file = TokenFile(path)
    assert [one.name for one in file.read().values()] == ["ci"]
    assert main([*config, "create", "alice", "--name", "more"]) == 0
    assert [one.name for one in file.read().values()] == ["ci", "more"]
    path.write_text("")
    assert file.read() == {}


def test_where_there_is_no_place_for_another_one_can_be_revoked(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.jsonl")
    token, _ = tokens.add(lambda others: make("alice", "ci", "read", ["*"], 60, 0, others), 0)
    with tokens.path.open("ab") as file:
        file.write(b" " * (FILE_LIMIT - KEPT_FOR_REVOKING - file.tell() - 1) + b"\n")
    with pytest.raises(TokenError, match="is full"):
        tokens.add(lambda others: make("alice", "other", "read", ["*"], 60, 0, others), 0)
    assert tokens.revoke(lambda one: True) == [token]
    assert TokenFile(tokens.path).read() == {}
