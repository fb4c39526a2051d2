"""Okta's org authorization server, as far as service apps use it: tokens for client credentials, checked for real.

Called by `okta` for requests to TOKEN_PATH and for flows that are secured with OAuth 2.0. Sources: Okta's developer
guide on OAuth for service apps (private_key_jwt, one hour, DPoP on by default for new apps), RFC 6749, 7521 and 7523;
the texts of refusals are those that Okta's support pages quote.
"""

import base64
import binascii
import hmac
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote_plus, urlencode

import orjson

from reconciler.errors import OptionError
from reconciler.sandbox.exchange import TOKEN_PATH, Answer, Request

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

    Key = RSAKey | ECKey | OctKey | OKPKey

DEFAULT_SCOPE: Final = "okta.workflows.invoke.manage"
DEFAULT_ORG: Final = "acme.okta.com"
LIFE_SECONDS: Final = 3600  # fixed, at Okta
ASSERTION_MAX_SECONDS: Final = 3600
SKEW_SECONDS: Final = 60  # that clocks may differ
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
MASK: Final = "***"

_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A service app: its public keys, or a client secret; `needs_dpop` as Okta has it for new ones."""

    id: str
    keys: "tuple[Key, ...]" = ()
    secret: str | None = None
    scopes: tuple[str, ...] = (DEFAULT_SCOPE,)
    needs_dpop: bool = False


@dataclass(slots=True)
class Issued:
    """A token that was given out; times in seconds since the epoch."""

    client: str
    scopes: tuple[str, ...]
    ends_at: float


class Refused(Exception):
    """A request for a token that gets none."""

    def __init__(self, status: int, error: str, description: str, **headers: str) -> None:
        super().__init__(description)
        self.answer = Answer(
            status,
            {"content-type": _JSON, **headers},
            orjson.dumps({"error": error, "error_description": description}),
        )


class AuthorizationServer:
    """The clients and what they were given. `issued` holds every token, `claims` those of every assertion that was
    taken."""

    def __init__(self, clients: Iterable[OAuthClient], *, hosts: Iterable[str], life_seconds: float) -> None:
        self._clients = {client.id: client for client in clients}
        self._audiences = frozenset(f"https://{host}{TOKEN_PATH}" for host in hosts)
        self._life_seconds = life_seconds
        self._used: dict[tuple[str, str], float] = {}  # (client, jti) until the assertion ends
        self.issued: dict[str, Issued] = {}
        self.claims: list[dict[str, Any]] = []
        if any(client.keys for client in self._clients.values()):
            from joserfc import jwt  # noqa: F401  now, not in the middle of the first request

    def answer(self, request: Request, *, epoch: float) -> Answer:
        """A token, or why there is none."""
        if request.method != "POST":
            return Answer(405, {"content-type": _JSON, "allow": "POST"}, orjson.dumps({"error": "only POST"}))
        try:
            return self._grant(request, epoch)
        except Refused as refusal:
            return refusal.answer

    def revoke_all(self) -> None:
        """Have every token refused from now on."""
        self.issued.clear()

    def refuse_invocation(self, request: Request, *, epoch: float) -> Answer | None:
        """What a flow that is secured with OAuth 2.0 says against a request (RFC 6750, section 3.1); None: nothing."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            return _unauthorized("", "an access token is required")
        issued = self.issued.get(token.strip())
        if issued is None or epoch >= issued.ends_at:
            return _unauthorized("invalid_token", "the access token is invalid or has expired")
        if DEFAULT_SCOPE not in issued.scopes:
            return _unauthorized("insufficient_scope", f"the access token lacks {DEFAULT_SCOPE}", status=403)
        return None

    def _grant(self, request: Request, epoch: float) -> Answer:
        form = _form(request)
        if form.get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type", "The authorization grant type is not supported.")
        client = self._authenticated(request, form, epoch)
        if client.needs_dpop and "dpop" not in request.headers:
            raise Refused(400, "invalid_dpop_proof", "The DPoP proof JWT header is missing.")
        if client.needs_dpop:
            nonce = {"dpop-nonce": uuid.uuid4().hex}
            raise Refused(400, "use_dpop_nonce", "Authorization server requires nonce in DPoP proof.", **nonce)
        scopes = tuple(form.get("scope", "").split())
        if not scopes:
            raise Refused(400, "invalid_scope", "The client must specify at least one scope.")
        if missing := [scope for scope in scopes if scope not in client.scopes]:
            text = f"One or more scopes are not granted to the client: {' '.join(missing)}."
            raise Refused(400, "invalid_scope", text)
        token = f"sandbox-{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self.issued[token] = Issued(client.id, scopes, epoch + self._life_seconds)
        body = {
            "token_type": "Bearer",
            "expires_in": int(self._life_seconds),
            "access_token": token,
            "scope": " ".join(scopes),
        }
        return Answer(200, {"content-type": _JSON, "cache-control": "no-store"}, orjson.dumps(body))

    def _authenticated(self, request: Request, form: Mapping[str, str], epoch: float) -> OAuthClient:
        """The client that proves to be it: by an assertion, by basic authentication, or by a secret in the form."""
        if "client_assertion" in form or "client_assertion_type" in form:
            return self._by_assertion(form, epoch)
        client_id, secret = _basic(request.headers.get("authorization", ""))
        if client_id is None:
            client_id, secret = form.get("client_id"), form.get("client_secret")
        client = self._clients.get(client_id or "")
        if client is not None and client.keys:
            raise Refused(401, "invalid_client", "Client Credentials requests to this client must use private_key_jwt.")
        expected = client.secret if client is not None else None
        if client is None or expected is None or not hmac.compare_digest((secret or "").encode(), expected.encode()):
            raise Refused(401, "invalid_client", "Either the client id or the client secret is invalid.")
        return client

    def _by_assertion(self, form: Mapping[str, str], epoch: float) -> OAuthClient:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise Refused(400, "invalid_request", "The client_assertion_type is invalid.")
        assertion = form.get("client_assertion", "")
        named = _unverified(assertion)
        client = self._clients.get(str(named.get("sub")))
        if client is None or not client.keys or named.get("iss") != named.get("sub"):
            raise Refused(401, "invalid_client", "The client_assertion token has an invalid issuer or subject.")
        claims = _verified(assertion, client.keys)
        self._judge_claims(client, claims, epoch)
        self.claims.append(claims)
        return client

    def _judge_claims(self, client: OAuthClient, claims: Mapping[str, Any], epoch: float) -> None:
        audience, ends_at, issued_at = claims.get("aud"), claims.get("exp"), claims.get("iat")
        audiences = audience if isinstance(audience, list) else [audience]
        if not self._audiences & {item for item in audiences if isinstance(item, str)}:
            text = "The audience claim for client_assertion must be the endpoint invoked for the request."
            raise Refused(401, "invalid_client", text)
        if not isinstance(ends_at, int | float) or ends_at <= epoch - SKEW_SECONDS:
            raise Refused(401, "invalid_client", "The client_assertion token is expired.")
        if ends_at > epoch + ASSERTION_MAX_SECONDS + SKEW_SECONDS:
            text = "The client_assertion token has an expiration too far into the future."
            raise Refused(401, "invalid_client", text)
        if isinstance(issued_at, int | float) and issued_at > epoch + SKEW_SECONDS:
            raise Refused(401, "invalid_client", "The client_assertion token was issued in the future.")
        unique = claims.get("jti")
        if isinstance(unique, str):
            self._used = {key: until for key, until in self._used.items() if until > epoch - SKEW_SECONDS}
            if (client.id, unique) in self._used:
                text = "The client_assertion token has already been used: its jti is known."
                raise Refused(401, "invalid_client", text)
            self._used[client.id, unique] = ends_at


def masked_form(body: bytes) -> bytes:
    """The form of a request for a token as it may be recorded: without secrets, an assertion without its signature."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True)
    except (UnicodeDecodeError, ValueError):
        return MASK.encode()
    shown = []
    for name, value in pairs:
        if name == "client_assertion":
            value = f"{value.rpartition('.')[0]}.{MASK}"
        shown.append((name, MASK if name == "client_secret" else value))
    return urlencode(shown, safe="*").encode()


def parse_client(text: str, *, needs_dpop: Iterable[str], scopes: tuple[str, ...]) -> OAuthClient:
    """`ID=FILE`, the file a public key in PEM, a JWK or a JWKS; of a private key its public half counts. Raises
    OptionError, which never shows a key."""
    client_id, equals, file = text.partition("=")
    if not equals or not client_id or not file:
        raise OptionError(f"`--oauth-client` cannot be read: {text[:60]}", hint="write ID=FILE")
    try:
        keys = _keys(Path(file).read_text("utf-8"))
    except OSError as exc:
        raise OptionError(f"`--oauth-client` cannot be read: {file}: {(exc.strerror or str(exc)).lower()}") from exc
    except ValueError:
        hint = "give a public key in PEM, a JWK or a JWKS"
        raise OptionError(f"`--oauth-client` holds no key that can be read: {file}", hint=hint) from None
    return OAuthClient(client_id, keys, scopes=scopes, needs_dpop=client_id in frozenset(needs_dpop))


def parse_secret(text: str, *, scopes: tuple[str, ...]) -> OAuthClient:
    """`ID=SECRET`. Raises OptionError, which never shows the secret."""
    client_id, equals, secret = text.partition("=")
    if not equals or not client_id or not secret:
        raise OptionError(f"`--oauth-secret` cannot be read: {client_id}{'=***' if equals else ''}", hint="ID=SECRET")
    return OAuthClient(client_id, secret=secret, scopes=scopes)


def _keys(text: str) -> "tuple[Key, ...]":
    """Raises ValueError."""
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    try:
        if not text.lstrip().startswith("{"):
            kind: Any
            for kind in ("RSA", "EC"):
                try:
                    return (import_key(text, kind),)
                except (JoseError, ValueError, TypeError):
                    continue
            raise ValueError("no key")
        value = json.loads(text)
        found = value.get("keys", [value])
        return tuple(import_key(item) for item in found)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("no key") from None


def _verified(assertion: str, keys: "tuple[Key, ...]") -> dict[str, Any]:
    """The claims of an assertion that one of the keys has signed. A key of PEM has no id and fits any `kid`."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    header = _part(assertion, 0)
    kid = header.get("kid")
    own = [key for key in keys if key.kid is None or key.kid == kid]
    if not isinstance(kid, str) or not own:
        raise Refused(401, "invalid_client", "The client_assertion JWT kid is invalid.")
    if header.get("alg") not in ALGORITHMS:
        raise Refused(401, "invalid_client", "The client_assertion JWT alg is invalid.")
    for key in own:
        try:
            return dict(jwt.decode(assertion, key, algorithms=[str(header["alg"])]).claims)
        except (JoseError, ValueError, TypeError):
            continue
    raise Refused(401, "invalid_client", "The client_assertion signature is invalid.")


def _unverified(assertion: str) -> dict[str, Any]:
    return _part(assertion, 1)


def _part(assertion: str, index: int) -> dict[str, Any]:
    """The JSON in a part of a JWT. Raises Refused."""
    parts = assertion.split(".")
    try:
        if len(parts) == 3:
            text = parts[index] + "=" * (-len(parts[index]) % 4)
            value = json.loads(base64.urlsafe_b64decode(text))
            if isinstance(value, dict):
                return value
    except (ValueError, binascii.Error, RecursionError):
        pass
    raise Refused(401, "invalid_client", "The client_assertion token is not a JWT.")


def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(400, "invalid_request", "The content type must be application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(request.body.decode("utf-8"), keep_blank_values=True)
    except (UnicodeDecodeError, ValueError):
        raise Refused(400, "invalid_request", "The form cannot be read.") from None
    if len(dict(pairs)) < len(pairs):  # RFC 6749, section 3.2
        raise Refused(400, "invalid_request", "A parameter is there twice.")
    return dict(pairs)


def _basic(header: str) -> tuple[str | None, str | None]:
    """Client id and secret of basic authentication, both form-decoded (RFC 6749, section 2.3.1)."""
    kind, _, credential = header.partition(" ")
    if kind.lower() != "basic":
        return None, None
    try:
        client_id, colon, secret = base64.b64decode(credential, validate=True).decode("utf-8").partition(":")
    except (ValueError, binascii.Error):
        return "", None
    return unquote_plus(client_id), unquote_plus(secret) if colon else None


def _unauthorized(error: str, message: str, *, status: int = 401) -> Answer:
    challenge = "Bearer" + (f' error="{error}"' if error else "")
    return Answer(status, {"content-type": _JSON, "www-authenticate": challenge}, orjson.dumps({"error": message}))
