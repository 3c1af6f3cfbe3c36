"""LDAP: the passwords of operators, checked by a directory.

A password is right if the directory lets its entry bind with it. The entry is found by a pattern for its name, or by a
search as another entry. All of this waits for the network, and is for a thread. Bound: :data:`SECONDS` for each server.
"""

from __future__ import annotations

import secrets
import ssl
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vmproxy.auth.passwords import CannotCheck
from vmproxy.base import values
from vmproxy.base.addresses import is_loopback
from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue, setting
from vmproxy.base.text_file import first_line
from vmproxy.errors import ConfigError

SECONDS = 5
SERVERS = 8
NAME = "{name}"
# What says nothing of the password (RFC 4511, appendix A): operationsError, protocolError, timeLimitExceeded,
# authMethodNotSupported, strongerAuthRequired, referral, adminLimitExceeded, confidentialityRequired, busy,
# unavailable, other.
_NO_ANSWERS = frozenset({1, 2, 3, 7, 8, 10, 11, 13, 51, 52, 80})

_NOT_INSTALLED = "the directory needs the package ldap3: install vmproxy[ldap]"


def _server(value: Any) -> str:
    text = values.word(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("ldap", "ldaps") and parts.hostname and parts.path in ("", "/") and not parts.query
        good = good and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InvalidValue(f"{visible(text)!r} is not a server such as ldaps://ldap.example.com")
    return text


def _with_name(value: Any) -> str:
    text = values.word(value)
    if NAME not in text:
        raise InvalidValue(f"{visible(text)!r} has no {NAME}, the place of the operator's name")
    return text


@dataclass(frozen=True, slots=True)
class LDAPSettings:
    """A directory with passwords.

    :ivar servers: asked in this order until one answers; none for no directory.
    :ivar start_tls: whether connections that begin in clear go on with TLS.
    :ivar ca_file: the authorities that sign the servers' certificates; None for those of the system.
    :ivar user_dn: the name of an operator's entry, with ``{name}``; empty for a search.
    :ivar base: where the search begins.
    :ivar filter: what the search looks for, with ``{name}``.
    :ivar bind_dn: the entry that searches; empty to search without a login.
    :ivar password_file: the file with its password.
    """

    servers: tuple[str, ...] = setting(values.list_of(_server, "", may_be_empty=True, most=SERVERS), ())
    start_tls: bool = setting(values.flag, False)
    ca_file: Path | None = setting(values.or_empty(values.file, None), None)
    user_dn: str = setting(values.or_empty(_with_name, ""), "")
    base: str = setting(values.or_empty(values.word, ""), "")
    filter: str = setting(_with_name, f"(uid={NAME})")
    bind_dn: str = setting(values.or_empty(values.word, ""), "")
    password_file: Path | None = setting(values.or_empty(values.file, None), None)

    def contradictions(self, wrong: Collection[str]) -> Iterator[tuple[str, str]]:
        """What does not go together."""
        if "servers" in wrong or not self.servers:
            return
        for server in self.servers:
            parts = urlsplit(server)
            if parts.scheme == "ldap" and not self.start_tls and not is_loopback(parts.hostname or ""):
                yield "servers", f"{server} would get passwords in clear; give ldaps:// or start-tls = true"
        if not {"user-dn", "base"} & set(wrong) and bool(self.user_dn) == bool(self.base):
            yield "servers", "give either user-dn, or base for a search"
        if bool(self.bind_dn) != (self.password_file is not None) and not {"bind-dn", "password-file"} & set(wrong):
            yield "bind-dn", "bind-dn and password-file go together"

    def usable(self) -> Directory | None:
        """The directory; None if there is none. Reads files, on any thread.

        :raises ConfigError: if a file cannot be read, or a package is not installed.
        """
        if not self.servers:
            return None
        secret = ""
        if self.password_file is not None:
            secret = first_line(self.password_file, "ldap.password-file")
        try:
            # An extra, which few installations have; it is loaded before privileges are dropped.
            import ldap3.core.exceptions  # noqa: F401
        except ImportError:
            raise ConfigError([f"ldap.servers: {_NOT_INSTALLED}"]) from None
        try:
            authorities = self.ca_file.read_text("ascii") if self.ca_file is not None else None
            ssl.create_default_context(cadata=authorities)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            why = getattr(error, "strerror", None) or "no certificates in it"
            raise ConfigError([f"ldap.ca-file: {self.ca_file}: {why}"]) from None
        return Directory(self, secret, authorities)


class Directory:
    """The servers of a directory."""

    def __init__(self, settings: LDAPSettings, secret: str, authorities: str | None) -> None:
        """
        :param secret: the password of the entry that searches.
        :param authorities: certificates in PEM; None for those of the system.
        """
        self._settings = settings
        self._secret = secret
        self._authorities = authorities
        self._lock = threading.Lock()
        self._open: set[Any] = set()
        self._stopped = False

    def check(self, name: str, secret: bytes) -> bool:
        """Whether the directory lets somebody bind with a password.

        :param name: the name in the directory.
        :raises CannotCheck: if no server answers, or the search is not possible.
        """
        from ldap3.core.exceptions import (
            LDAPCommunicationError,
            LDAPException,
            LDAPPasswordIsMandatoryError,
        )

        try:
            password = secret.decode()
        except UnicodeDecodeError:
            return False
        if not password or not name or "\0" in password + name:
            return False  # a bind without a password is no login, and lets everybody in
        failures = []
        for server in self._settings.servers:
            try:
                return self._ask(server, name, password)
            except LDAPPasswordIsMandatoryError:
                return False
            except (LDAPCommunicationError, OSError) as error:
                failures.append(f"{server}: {visible(str(error), 200)}")
            except LDAPException as error:
                raise CannotCheck(f"{server}: {visible(str(error), 200)}") from None
        raise CannotCheck(f"the directory does not answer: {'; '.join(failures)}")

    def _ask(self, server: str, name: str, password: str) -> bool:
        from ldap3.utils.dn import escape_rdn

        if self._settings.user_dn:
            return self._bind(server, self._settings.user_dn.replace(NAME, escape_rdn(name)), password)
        found = self._search(server, name)
        # For who is not there a bind is tried too, so that the time does not tell.
        return self._bind(server, found or f"uid={secrets.token_hex(8)},{self._settings.base}", password) and bool(
            found
        )

    def _search(self, server: str, name: str) -> str:
        """The name of the one entry; empty if there is none."""
        from ldap3 import SUBTREE
        from ldap3.utils.conv import escape_filter_chars

        wanted = self._settings.filter.replace(NAME, escape_filter_chars(name))
        with self._link(server, self._settings.bind_dn, self._secret) as link:
            if not link.bind():
                raise CannotCheck(f"{server}: bind-dn: {_why(link.result)}")
            link.search(self._settings.base, wanted, SUBTREE, attributes=[], size_limit=2, time_limit=SECONDS)
            entries = [str(one["dn"]) for one in link.response or () if one.get("type") == "searchResEntry"]
            if not entries and link.result["result"] not in (0, 4):
                raise CannotCheck(f"{server}: the search for operators: {_why(link.result)}")
        if len(entries) > 1:
            raise CannotCheck(f"{server}: more than one entry has the name {visible(name, 64)!r}")
        return entries[0] if entries else ""

    def _bind(self, server: str, entry: str, password: str) -> bool:
        with self._link(server, entry, password) as link:
            if link.bind():
                return True
            if link.result["result"] in _NO_ANSWERS:
                raise ConnectionError(_why(link.result))
            return False

    @contextmanager
    def _link(self, server: str, entry: str, password: str) -> Iterator[Any]:
        """A connection, which binds when it is told to."""
        import ldap3

        parts = urlsplit(server)
        secure = parts.scheme == "ldaps"
        tls = None
        if secure or self._settings.start_tls:
            tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_data=self._authorities, sni=parts.hostname)
        host = ldap3.Server(
            parts.hostname, parts.port, use_ssl=secure, tls=tls, get_info=ldap3.NONE, connect_timeout=SECONDS
        )
        link = ldap3.Connection(
            host, entry or None, password or None, receive_timeout=SECONDS, auto_referrals=False, read_only=True
        )
        with self._lock:
            if self._stopped:
                raise CannotCheck("vmproxy stops")
            self._open.add(link)
        try:
            link.open()
            if tls is not None and not secure:
                link.start_tls()
            yield link
        finally:
            with self._lock:
                self._open.discard(link)
            with suppress(
                ldap3.core.exceptions.LDAPException, OSError
            ):  # a server that is gone cannot be told that we go
                link.unbind()

    def stop(self) -> None:
        """Break off what is asked now; on any thread."""
        with self._lock:
            self._stopped = True
            for link in self._open:
                with suppress(OSError, AttributeError):  # it has no socket yet, or no more
                    link.socket.shutdown(2)


def _why(result: Any) -> str:
    return visible(f"{result['description']} {result['message'] or ''}".strip(), 200)
