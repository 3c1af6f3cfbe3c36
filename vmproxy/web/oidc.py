"""OpenID Connect: what a provider says of who has logged in there (OpenID Connect Core 1.0, code flow with PKCE).

All of this waits for the network, and is for a thread. Bound: :data:`SECONDS` for each request, :data:`ANSWER_LIMIT`
for each answer; what the provider says of itself is kept for :data:`KEPT_SECONDS`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from vmproxy.base.sanitize import visible
from vmproxy.base.schema import InvalidValue
from vmproxy.base.text_file import first_line
from vmproxy.errors import ConfigError, VMProxyError
from vmproxy.web.settings import OIDCSettings, provider_address

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

SECONDS = 5.0
ANSWER_LIMIT = 256 * 1024
KEPT_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 60.0
LEEWAY = 60
ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA")
"""The signatures that count; never one by a secret that both have, and never none."""


class ProviderError(VMProxyError):
    """A provider that does not answer, or not as it must; for our logs."""


class NotProven(VMProxyError):
    """A login that the provider does not vouch for; for our logs."""


def usable(settings: OIDCSettings) -> Provider | None:
    """The provider; None if there is none. Reads files, on any thread.

    :raises ConfigError: if a file cannot be read, or a package is not installed.
    """
    if not settings.issuer:
        return None
    try:
        # An extra, which few installations have; it is loaded before privileges are dropped.
        import joserfc.jwt  # noqa: F401
    except ImportError:
        raise ConfigError(["web.oidc.issuer: this needs the package joserfc: install vmproxy[oidc]"]) from None
    secret = ""
    if settings.client_secret_file is not None:
        secret = first_line(settings.client_secret_file, "web.oidc.client-secret-file")
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # an SSLError is one
        why = error.strerror if not isinstance(error, ssl.SSLError) else "no certificates in it"
        raise ConfigError([f"web.oidc.ca-file: {settings.ca_file}: {why}"]) from None
    return Provider(settings, secret, context)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one login is tied to, and nobody else may know before it is over.

    :ivar state: comes back with the answer; ``nonce`` comes back in the signed token.
    :ivar verifier: shows that who fetches the token has begun the login (RFC 7636).
    """

    state: str
    nonce: str
    verifier: str

    @classmethod
    def make(cls) -> Challenge:
        """A new one."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @property
    def code_challenge(self) -> str:
        """The hash of the verifier, which goes first."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())


class Provider:
    """A provider, as far as it is known."""

    def __init__(self, settings: OIDCSettings, secret: str, context: ssl.SSLContext) -> None:
        """:param secret: what we share with it; empty without one."""
        self.settings = settings
        self._secret = secret
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({}), _NoRedirect()
        )
        self._lock = threading.Lock()
        self._document: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def login_address(self, challenge: Challenge, redirect: str) -> str:
        """Where the browser is sent to.

        :param redirect: where it comes back to.
        :raises ProviderError: if the provider does not answer.
        """
        address = self._endpoint("authorization_endpoint")
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(self.settings.scopes),
            "state": challenge.state,
            "nonce": challenge.nonce,
            "code_challenge": challenge.code_challenge,
            "code_challenge_method": "S256",
        }
        return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"

    def who(self, code: str, challenge: Challenge, redirect: str) -> str:
        """The name of who has logged in, as the claim says it.

        :param code: what the browser has brought back.
        :raises ProviderError: if the provider does not answer.
        :raises NotProven: if it does not vouch for the login.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": challenge.verifier,
            "client_id": self.settings.client_id,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self._secret:
            pair = f"{quote(self.settings.client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = self._ask(self._endpoint("token_endpoint"), urlencode(form).encode(), headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotProven("the provider has given no id_token")
        claims = self._claims(token)
        if not secrets.compare_digest(str(claims.get("nonce", "")), challenge.nonce):
            raise NotProven("the token is of another login (nonce)")
        name = claims.get(self.settings.claim)
        if not isinstance(name, str) or not name:
            raise NotProven(f"the token has no {visible(self.settings.claim, 40)}")
        return name

    def _claims(self, token: str) -> Mapping[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        wanted = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": str(self._known()["issuer"])},
            aud={"essential": True, "value": self.settings.client_id},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            try:
                found = jwt.decode(token, self._key_set(), algorithms=list(ALGORITHMS))
            except (JoseError, ValueError):  # the provider may have other keys by now
                found = jwt.decode(token, self._key_set(KEYS_AGAIN_SECONDS), algorithms=list(ALGORITHMS))
            claims: Mapping[str, Any] = found.claims
            wanted.validate(found.claims)
        except (JoseError, ValueError) as error:
            raise NotProven(f"the token is not valid: {visible(str(error), 200)}") from None
        # Core, section 3.1.3.7: a token for several has to say who of them has asked for it.
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", "" if several else self.settings.client_id) != self.settings.client_id:
            raise NotProven("the token is for somebody else (azp)")
        return claims

    def _known(self) -> Mapping[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        with self._lock:
            if self._document is not None and time.monotonic() - self._document[0] < KEPT_SECONDS:
                return self._document[1]
        said = self._ask(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        if str(said.get("issuer", "")).rstrip("/") != self.settings.issuer.rstrip("/"):
            raise ProviderError(f"the provider says that it is {visible(str(said.get('issuer')), 200)}")
        with self._lock:
            self._document = time.monotonic(), said
        return said

    def _endpoint(self, name: str) -> str:
        said = str(self._known().get(name, ""))
        try:
            provider_address(said.partition("?")[0])
        except InvalidValue:
            raise ProviderError(f"the provider has no {name} that can be trusted") from None
        return said

    def _key_set(self, kept: float = KEPT_SECONDS) -> KeySet:
        """The provider's keys; fetched anew if those we have are older than so many seconds."""
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        with self._lock:
            if self._keys is not None and time.monotonic() - self._keys[0] < kept:
                return self._keys[1]
        try:
            keys = KeySet.import_key_set(self._ask(self._endpoint("jwks_uri")))  # type: ignore[arg-type]  # or it raises
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderError(f"the provider's keys cannot be used: {visible(str(error), 200)}") from None
        with self._lock:
            self._keys = time.monotonic(), keys
        return keys

    def _ask(self, address: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - http and https alone, and no file
            address, data, {"Accept": "application/json", **(headers or {})}
        )
        host = urlsplit(address).hostname
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                text = _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                said = _error(_read(error))
            if data is not None and 400 <= error.code < 500:
                raise NotProven(f"{host}: status {error.code}{said}") from None
            raise ProviderError(f"{host}: status {error.code}{said}") from None
        except (OSError, ValueError, HTTPException) as error:  # a URLError is an OSError
            raise ProviderError(f"{host}: {visible(str(getattr(error, 'reason', error)), 200)}") from None
        if len(text) > ANSWER_LIMIT:
            raise ProviderError(f"{host}: the answer is larger than {ANSWER_LIMIT} bytes")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ProviderError(f"{host}: the answer is no JSON object")
        return found


class _Answer(Protocol):
    """An answer over HTTP."""

    def read1(self, n: int, /) -> bytes: ...


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: an answer from elsewhere is not the provider's."""

    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        return None


def _read(answer: _Answer) -> bytes:
    """An answer, up to one byte more than there may be; not forever, however slowly it comes."""
    text, until = b"", time.monotonic() + SECONDS
    while len(text) <= ANSWER_LIMIT and (piece := answer.read1(ANSWER_LIMIT + 1 - len(text))):
        text += piece
        if time.monotonic() > until:
            raise TimeoutError("the answer comes too slowly")
    return text


def _error(text: bytes) -> str:
    try:
        said = json.loads(text)
        return f": {visible(str(said['error']), 80)}"
    except (ValueError, KeyError, TypeError):
        return ""


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
