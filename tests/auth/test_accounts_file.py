"""The operators file: what it may say, everything that can be wrong with it, and what of it is in force."""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import Logged
from tests.support.logins import cheap_hash, line
from tests.support.ssh import authorized_line, ed25519_key
from vmproxy.auth.accounts_file import Account, OperatorEntry, Operators, load_operators, parse_operators
from vmproxy.auth.keyring import AccountSettings, KeyringReader
from vmproxy.base.schema import settings_of
from vmproxy.errors import ConfigError

HERE = Path("/etc/vmproxy")
SAMPLE = Path(__file__).resolve().parents[2] / "etc" / "operators.toml"


def read(text: str) -> Operators:
    return parse_operators(text.encode(), "the-file", HERE)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.problems


def blob(number: int) -> bytes:
    return bytes(ed25519_key(number).public().blob())


def test_everything_that_may_be_said_is_understood() -> None:
    found = read(
        f"""
        certificate-authorities = [{line(8)}]
        certificate-authorities-file = "ca.pub"
        revoked-keys = "/var/revoked"
        [operators.alice]
        keys = [{line(0)}, {line(1, 'from="10.0.0.0/8",restrict')}]
        keys-file = ["alice.keys", "/else/where/*"]
        password = '{cheap_hash()}'
        groups = ["admins", "night", "admins"]
        escape = "^]q"
        quiet = true
        [operators.bob]
        """
    )
    assert list(found.entries) == ["alice", "bob"]
    alice = found.entries["alice"]
    assert alice.account == Account("alice", ("admins", "night"), b"\x1dq", True)
    assert [key.blob for key in alice.keys] == [blob(0), blob(1)]
    assert alice.keys[1].problem("192.0.2.1", 0)
    assert alice.key_files == ("/etc/vmproxy/alice.keys", "/else/where/*")
    assert alice.password == cheap_hash()
    assert found.entries["bob"].account == Account("bob")
    assert found.authorities == {blob(8)}
    assert found.authority_files == ("/etc/vmproxy/ca.pub",)
    assert found.revoked == "/var/revoked"


def test_an_empty_file_lets_nobody_in() -> None:
    assert read("") == Operators({})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "not a TOML file"),
        pytest.param("a = " + "1" * 5000, "not a TOML file", id="a long number"),
        ("operator = 1", "operator: there is no such setting; did you mean operators?"),
        ("operators = 1", "operators: this is a section; write [operators.NAME]"),
        ("[operators]\nalice = 1", "operators.alice: write [operators.NAME]"),
        (
            "[operators.alice]\nkyes = []",
            "operators.alice.kyes: there is no such setting; did you mean operators.alice.keys?",
        ),
        ("[operators.alice]\nkeys = 1", "operators.alice.keys: 1 is not a public key"),
        ("[operators.alice]\nkeys = [1]", "operators.alice.keys: 1 is not a public key"),
        ("[operators.alice]\nkeys = ['ssh-ed25519 AAAA']", "operators.alice.keys: 'ssh-ed25519 AAAA' is not"),
        ("[operators.alice]\nkeys = ['']", "is not a public key"),
        (f"[operators.alice]\nkeys = [{line(0, 'cert-authority')}]", "is not a public key"),
        (f"[operators.alice]\nkeys = [{line(0)}, '# x']", "'# x' is not a public key"),
        ("[operators.alice]\nkeys-file = 1", "operators.alice.keys-file: 1 is not the name of a file"),
        ("[operators.alice]\nkeys-file = ''", "'' is not the name of a file"),
        ("[operators.alice]\npassword = 1", "operators.alice.password: not a string"),
        (
            "[operators.alice]\npassword = 'hunter2'",
            "operators.alice.password: this is not an argon2id hash; make one with",
        ),
        ("[operators.alice]\ngroups = ['a b']", "operators.alice.groups: 'a b' is not a name for a group"),
        ("[operators.alice]\nescape = 'xx'", "operators.alice.escape: 'xx' is not an escape"),
        ("[operators.alice]\nescape = 5", "operators.alice.escape: 5 is not a string"),
        ("[operators.alice]\nquiet = 1", "operators.alice.quiet: 1 is neither true nor false"),
        ("[operators.'a:b']", "operators.a:b: not a name for an operator; it may have letters"),
        ("[operators.'a+b']", "not a name for an operator"),
        ("[operators.'a,b']", "not a name for an operator"),
        ("[operators.'']", "not a name for an operator"),
        ("[operators.-a]", "not a name for an operator"),
        (f"[operators.{'a' * 65}]", "64 at most"),
        ("[operators.ä]".replace("ä", "'ä'"), "not a name for an operator"),
        ("[operators.alice]\n[operators.Alice]", "operators.Alice: differs from alice in capitals only"),
        (
            f"[operators.a]\nkeys=[{line()}]\n[operators.b]\nkeys=[{line()}]",
            "operators.b.keys: has a key of a as well",
        ),
        ("certificate-authorities = ['x']", "certificate-authorities: 'x' is not an authority's key"),
        (f"certificate-authorities = [{line(0, 'restrict')}]", "is not an authority's key"),
        ("revoked-keys = 5", "revoked-keys: 5 is not the name of a file"),
    ],
)
def test_what_is_wrong_is_told_with_the_file_the_key_and_what_would_be_right(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert re.match("the-file(:[1-4])?: ", problem)
    assert said in problem
    assert "hunter2" not in problem
    assert problem.isprintable()


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(problems("x = 1\n[operators.a]\nquiet = 1\nescape = 1\n[operators.'b:c']\nkeys = 1")) == 5


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        parse_operators(data, "the-file", HERE)


def test_a_file_that_is_not_there_or_too_large_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_operators(tmp_path / "none")
    monkeypatch.setattr("vmproxy.auth.accounts_file.OPERATORS_LIMIT", 10)
    (tmp_path / "large").write_text("#" * 11)
    with pytest.raises(ConfigError, match="larger than"):
        load_operators(tmp_path / "large")


# The sample


def test_the_sample_is_loadable_and_lets_nobody_in() -> None:
    assert load_operators(SAMPLE) == Operators({})


def test_the_sample_explains_every_key_with_an_example_that_is_right() -> None:
    # An example has nothing between it and its "#"; text has a blank there.
    rows = [
        row[1:] for row in SAMPLE.read_text().splitlines() if row.startswith("#") and row[1:2] not in ("", " ", ":")
    ]
    text = "\n".join(rows).replace("$argon2id$...", cheap_hash())
    for number in range(text.count("ssh-ed25519 AAAA...")):
        text = text.replace("ssh-ed25519 AAAA...", authorized_line(ed25519_key(number)).decode(), 1)
    table = tomllib.loads(text)
    assert set(table) == set(settings_of(Operators)) | {"operators"}
    said = {key for settings in table["operators"].values() for key in settings}
    assert said == {*settings_of(Account), *settings_of(OperatorEntry)}
    assert read(text).entries


# What is in force


def test_files_are_read_again_only_when_they_have_changed(tmp_path: Path) -> None:
    keys, operators = tmp_path / "keys", tmp_path / "operators.toml"
    keys.write_bytes(authorized_line(ed25519_key(0)))
    operators.write_text("[operators.alice]\nkeys-file = 'keys'")
    operators.chmod(0o600)
    for path in (keys, operators):
        os.utime(path, (1, 1))
    reader = KeyringReader(AccountSettings(operators), "nobody")
    first = reader.read()
    assert set(first.owners) == {blob(0)}
    keys.write_bytes(authorized_line(ed25519_key(1)))
    assert set(reader.read().owners) == {blob(1)}
    keys.unlink()
    assert set(reader.read().owners) == set()


def test_a_change_that_the_files_time_does_not_tell_counts_if_it_comes_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two writes may get the same time: the kernel's clock for files ticks every few milliseconds.
    keys = tmp_path / "keys"
    keys.write_bytes(authorized_line(ed25519_key(0)))
    status, real = keys.stat(), os.stat

    def same(path: str, **options: bool) -> os.stat_result:
        return status if path == str(keys) else real(path, **options)

    monkeypatch.setattr("vmproxy.auth.keyring.os.stat", same)
    reader = KeyringReader(AccountSettings(None, (str(keys),)), "me")
    assert set(reader.read().owners) == {blob(0)}
    keys.write_bytes(authorized_line(ed25519_key(1)))
    assert set(reader.read().owners) == {blob(1)}


def test_what_has_not_changed_for_a_while_is_the_same_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(authorized_line(ed25519_key(0)))
    reader = KeyringReader(AccountSettings(None, (str(keys), str(tmp_path / "none*"))), "me")
    monkeypatch.setattr("vmproxy.auth.keyring.SETTLED", -1e12)
    first = reader.read()
    assert reader.read() is first
    assert first.owners[blob(0)][0] == "me"


def test_a_file_of_keys_that_is_not_there_is_warned_of_once(tmp_path: Path, logged: Logged) -> None:
    operators = tmp_path / "operators.toml"
    operators.write_text(f"[operators.alice]\nkeys = [{line()}]\nkeys-file = ['none', 'no*']")
    operators.chmod(0o600)
    reader = KeyringReader(AccountSettings(operators), "nobody")
    for _ in range(3):
        assert set(reader.read().owners) == {blob(0)}
    assert len([text for text in logged if "none" in text]) == 1


def test_keys_beyond_the_limit_of_a_file_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = authorized_line(ed25519_key(0)), authorized_line(ed25519_key(1))
    monkeypatch.setattr("vmproxy.auth.keyring.FILE_LIMIT", len(first) + 10)
    (tmp_path / "keys").write_bytes(first + b"\n" + second)
    assert set(KeyringReader(AccountSettings(None, (str(tmp_path / "keys"),)), "me").read().owners) == {blob(0)}


def test_an_operators_file_that_is_wrong_from_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "operators.toml").write_text("[operators.alice]\nkyes = []")
    reader = KeyringReader(AccountSettings(tmp_path / "operators.toml"), "nobody")
    with pytest.raises(ConfigError, match="kyes"):
        reader.read()
    (tmp_path / "operators.toml").write_text("[operators.alice]")
    assert reader.read().account("alice") == Account("alice")


def test_one_that_becomes_wrong_leaves_the_old_in_force_and_is_logged(tmp_path: Path, logged: Logged) -> None:
    path = tmp_path / "operators.toml"
    path.write_text("[operators.alice]")
    reader = KeyringReader(AccountSettings(path), "nobody")
    reader.read()
    path.write_text("[operators.alice]\nkyes = []")
    assert reader.read().account("alice") == Account("alice")
    assert any("did you mean operators.alice.keys" in text for text in logged)
    path.write_text("[operators.bob]")
    assert reader.read().account("alice") is None
    assert reader.read().account("bob") == Account("bob")


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, f"[operators.a]\npassword = '{cheap_hash()}'", "may read the hashes"),
        (0o640, f"[operators.a]\npassword = '{cheap_hash()}'", ""),
        (0o644, "[operators.a]", ""),
        (0o666, f"[operators.a]\npassword = '{cheap_hash()}'", "chown root:vmproxy and chmod 640"),
        (0o600, f"[operators.a]\npassword = '{cheap_hash()}'", ""),
        (0o622, "[operators.a]", "may change who may log in"),
    ],
)
def test_permissions_that_are_too_wide_are_warned_of(
    tmp_path: Path, mode: int, text: str, said: str, logged: Logged
) -> None:
    path = tmp_path / "operators.toml"
    path.write_text(text)
    path.chmod(mode)
    KeyringReader(AccountSettings(path), "nobody").read()
    assert [said in entry for entry in logged] == ([True] if said else [])


def test_authorities_come_from_the_file_and_from_files_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "ca.pub").write_bytes(b"cert-authority " + authorized_line(ed25519_key(3)) + b"\n# x\n")
    path = tmp_path / "operators.toml"
    path.write_text(f"certificate-authorities = [{line(2)}]\ncertificate-authorities-file = 'ca.pub'")
    assert KeyringReader(AccountSettings(path), "nobody").read().authorities == {blob(2), blob(3)}


def test_a_list_of_revoked_keys_that_cannot_be_read_revokes_everything_and_says_so(
    tmp_path: Path, logged: Logged
) -> None:
    path = tmp_path / "operators.toml"
    path.write_text(f"revoked-keys = 'none'\n[operators.alice]\nkeys = [{line()}]")
    assert KeyringReader(AccountSettings(path), "nobody").read().revoked.key_problem(blob(0))
    assert any("no key lets anybody in" in text for text in logged)


def test_one_key_with_two_operators_is_an_error_in_the_log(tmp_path: Path, logged: Logged) -> None:
    (tmp_path / "keys").write_bytes(authorized_line(ed25519_key(0)))
    path = tmp_path / "operators.toml"
    path.write_text(
        "[operators.a]\nkeys-file = 'keys'\n[operators.b]\nkeys-file = 'keys'\n[operators.c]\nkeys-file = 'keys'"
    )
    keyring = KeyringReader(AccountSettings(path), "nobody").read()
    assert keyring.shared == {blob(0)}
    assert len([text for text in logged if "the same key" in text]) == 1
