"""Where the password of an operator is checked: by the file, a directory, or PAM; and what the time tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.logins import SECRET, cheap_hash
from vmproxy.auth.accounts_file import parse_operators
from vmproxy.auth.keyring import Keyring
from vmproxy.auth.ldap import LDAPSettings
from vmproxy.auth.password_sources import ANSWER_SECONDS, PasswordSources
from vmproxy.auth.passwords import AT_ONCE, CannotCheck
from vmproxy.auth.revocation import Revoked
from vmproxy.base.schema import read
from vmproxy.config.settings import parse_config
from vmproxy.errors import ConfigError

FILE = f"""
[operators.alice]
password = '{cheap_hash()}'
[operators.bob]
password = "ldap"
directory-name = "Bob Smith"
[operators.carol]
password = "pam"
[operators.dan]
password = "none"
[operators.erin]
"""


class Fake:
    """A source in which everybody has one password."""

    def __init__(self, secret: bytes = b"elsewhere", error: str = "") -> None:
        self.asked: list[str] = []
        self.secret, self.error = secret, error
        self.stopped = False

    def check(self, name: str, secret: bytes) -> bool:
        self.asked.append(name)
        if self.error:
            raise CannotCheck(self.error)
        return secret == self.secret

    def stop(self) -> None:
        self.stopped = True


def keyring(text: str = FILE) -> Keyring:
    found = parse_operators(text.encode(), "operators.toml", Path("/"))
    hashes = {name: entry.hashed for name, entry in found.entries.items() if entry.hashed is not None}
    return Keyring(found, {}, frozenset(), frozenset(), Revoked(), hashes)


def at_once(call: Callable[[], object]) -> Deferred[object]:
    done: Deferred[object] = Deferred()
    try:
        done.callback(call())
    except Exception:
        done.errback(Failure())
    return done


class World:
    """The sources, and one who gives passwords."""

    def __init__(self, text: str = FILE, slow: Callable[[Callable[[], object]], Deferred[object]] = at_once) -> None:
        self.clock = Clock()
        self.ldap, self.pam = Fake(), Fake(b"system")
        self.checker = PasswordSources(lambda: keyring(text), at_once, slow, self.clock)
        self.checker.use({"ldap": self.ldap, "pam": self.pam})

    def begin(self, name: str, secret: str) -> list[object]:
        found: list[object] = []
        Deferred.fromCoroutine(self.checker.check(name, secret.encode(), "192.0.2.1", lambda: True)).addBoth(
            found.append
        )
        return found

    def check(self, name: str, secret: str) -> object:
        found = self.begin(name, secret)
        self.clock.advance(ANSWER_SECONDS)
        return found[0]


def test_each_operator_has_the_password_of_one_source() -> None:
    w = World()
    assert w.check("alice", SECRET) == "alice"
    assert w.check("bob", "elsewhere") == "bob"
    assert w.check("carol", "system") == "carol"
    assert (w.ldap.asked, w.pam.asked) == (["Bob Smith"], ["carol"])
    for name, secret in (("alice", "elsewhere"), ("bob", SECRET), ("bob", "system"), ("carol", "elsewhere")):
        assert w.check(name, secret) is None
    for name in ("dan", "erin", "nobody", "Bob Smith"):
        for secret in (SECRET, "elsewhere", "system", ""):
            assert w.check(name, secret) is None
    assert (w.ldap.asked, w.pam.asked) == (["Bob Smith"] * 3, ["carol"] * 2)


def test_a_file_may_name_one_source_for_all() -> None:
    w = World(f'default-password = "ldap"\n{FILE}')
    assert w.check("erin", "elsewhere") == "erin"
    assert w.check("dan", "elsewhere") is None
    assert w.check("nobody", "elsewhere") == "nobody"  # the authenticator knows that there is no such operator
    assert w.check("*)(uid=*", "elsewhere") is None
    assert w.ldap.asked == ["erin", "nobody"]
    assert keyring(f'default-password = "pam"\n{FILE}').source_of("bob") == ("ldap", "Bob Smith")


def test_the_time_of_a_refusal_does_not_tell_the_source() -> None:
    w = World()
    waiting = {name: w.begin(name, "wrong") for name in ("alice", "bob", "carol", "dan", "nobody")}
    w.clock.advance(ANSWER_SECONDS - 0.01)
    assert not any(waiting.values())
    w.clock.advance(0.01)
    assert all(found == [None] for found in waiting.values())
    assert w.begin("alice", SECRET) == ["alice"], "who is right need not wait"
    w.checker.use({})
    assert w.begin("alice", "wrong") == [None], "with the file alone all take the same time"


def test_a_source_that_does_not_answer_keeps_only_its_own_waiting() -> None:
    running: list[Deferred[object]] = []
    w = World(slow=lambda call: running.append(Deferred()) or running[-1])
    waiting = [w.begin("bob", "elsewhere") for _ in range(AT_ONCE + 1)]
    assert w.begin("carol", "system") == []
    assert len(running) == AT_ONCE + 1
    assert w.check("alice", SECRET) == "alice"
    assert not any(waiting)


def test_what_cannot_be_checked_is_nobodys_fault() -> None:
    w = World()
    w.ldap.error = "no server answers"
    failure = w.check("bob", "elsewhere")
    assert isinstance(failure, Failure)
    assert failure.check(CannotCheck)
    w.checker.use({})
    failure = w.check("bob", "elsewhere")
    assert "there is no [ldap] in the settings" in str(failure)
    w.checker.use({"pam": w.pam})
    w.checker.stop()
    assert w.pam.stopped


def settings(text: str) -> list[str]:
    return parse_config(text.encode(), "vmproxy.toml", {}).problems


def test_settings_that_would_send_passwords_in_clear_or_mean_nothing() -> None:
    good = 'servers = "ldaps://ldap.example.com"\nuser-dn = "uid={name},dc=example,dc=com"'
    assert settings(f"[ldap]\n{good}") == []
    assert settings('[ldap]\nservers = "ldap://127.0.0.1"\nbase = "dc=example,dc=com"') == []
    wrong = {
        '[ldap]\nservers = "ldap://ldap.example.com"\nbase = "dc=com"': "in clear",
        '[ldap]\nservers = "ldaps://ldap.example.com"': "either user-dn, or base",
        f'[ldap]\n{good}\nbase = "dc=com"': "either user-dn, or base",
        f'[ldap]\n{good}\nbind-dn = "cn=reader"': "go together",
        '[ldap]\nservers = "ldap.example.com"': "not a server such as",
        '[ldap]\nservers = "ldaps://alice:secret@ldap"': "not a server such as",
        '[ldap]\nuser-dn = "uid=alice"': "has no {name}",
        '[ldap]\nfilter = "(uid=alice)"': "has no {name}",
        '[pam]\nservice = "../shadow"': "not the name of a file",
    }
    for text, problem in wrong.items():
        (found,) = settings(text)
        assert problem in found


def test_files_that_cannot_be_used_are_told_before_they_count(tmp_path: Path) -> None:
    def usable(**given: object) -> str:
        table = {"servers": "ldaps://ldap.example.com", "base": "dc=com", **given}
        made = read(LDAPSettings, table, [])
        assert made is not None
        with pytest.raises(ConfigError) as caught:
            made.usable()
        return str(caught.value)

    assert "ldap.password-file" in usable(**{"bind-dn": "cn=x", "password-file": str(tmp_path / "none")})
    (tmp_path / "empty").write_text("\nsecret")
    assert "first line is empty" in usable(**{"bind-dn": "cn=x", "password-file": str(tmp_path / "empty")})
    assert "ldap.ca-file" in usable(**{"ca-file": str(tmp_path / "none")})
    (tmp_path / "ca").write_text("no certificate")
    assert "ldap.ca-file" in usable(**{"ca-file": str(tmp_path / "ca")})
    none = read(LDAPSettings, {}, [])
    assert none is not None
    assert none.usable() is None
