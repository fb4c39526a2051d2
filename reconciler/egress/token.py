"""A token endpoint's answer: the access token in it, or why there is none, in words for people. Pure.

Called by `egress.auth` with what arrived, unmasked; what goes out of here for people holds nothing of the token. The
words of an answer decide only what people are told to check, never what is done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from reconciler.models.credential import OAuth2

TOKEN_MAX_CHARACTERS: Final = 16 * 1024
LIFE_UNKNOWN_SECONDS: Final = 300.0  # where the answer names none (RFC 6749, section 5.1, only recommends it)
LIFE_MAX_SECONDS: Final = 86_400.0
REFRESH_SHARE: Final = 0.8  # of its life, after which a token is renewed, while it still serves
TRAVEL_SECONDS: Final = 5.0  # before its end, in which a token might expire on the way


class Cause(StrEnum):
    """Why there is no access token."""

    KEY = "key"  # of ours, which cannot sign
    SIGNATURE = "signature"
    KEY_ID = "key_id"
    AUDIENCE = "audience"
    CLOCK = "clock"
    REUSED = "reused"
    CLIENT = "client"
    SCOPE = "scope"
    DPOP = "dpop"
    GRANT = "grant"
    THROTTLED = "throttled"
    AWAY = "away"  # the endpoint cannot be reached
    FAILING = "failing"  # it answers that it cannot
    WRONG_URL = "wrong_url"
    ANSWER = "answer"  # it makes no sense


CHECKS: Final[Mapping[Cause, tuple[str, ...]]] = {
    Cause.KEY: ("give the private key as PEM or JWK; `reconciler auth test NAME` shows how it is read",),
    Cause.SIGNATURE: (
        "is the private key the other half of the public key that is registered for this client?",
        "compare the thumbprint that `reconciler auth test NAME` shows with that of the registered key",
    ),
    Cause.KEY_ID: ("is `key_id` the `kid` of a key that is registered for this client, and active?",),
    Cause.AUDIENCE: ("is `token_url` the very URL of the token endpoint, host and path? It is the assertion's `aud`",),
    Cause.CLOCK: ("is the clock of this machine right? Assertions hold for five minutes",),
    Cause.REUSED: ("does something between here and there send requests twice?",),
    Cause.CLIENT: (
        "is `client_id` right, and the client active?",
        "does it authenticate as the manifest says (private key, or client secret by header or body)? For its own "
        "scopes Okta takes a private key only",
    ),
    Cause.SCOPE: (
        "is every one of `scopes` granted to this client? In Okta: the application's tab Okta API Scopes",
        "Okta Workflows wants okta.workflows.invoke.manage, from the org's own authorization server",
    ),
    Cause.DPOP: (
        "untick `Require Demonstrating Proof of Possession (DPoP) header in token requests` in the application's "
        "General settings: it is on for new API Services applications, and flows are invoked without",
    ),
    Cause.GRANT: (
        "is the grant type Client Credentials allowed for this client, and does a policy let it have tokens?",
    ),
    Cause.THROTTLED: ("deliveries wait; how much of the rate limit this client may use is set at the server",),
    Cause.AWAY: (
        "is the host in `token_url` right, and reached from the machine that sends?",
        "is its certificate from an authority of your own? Then name it with `--ca FILE`",
    ),
    Cause.FAILING: ("the authorization server fails by itself: look at its status page; deliveries wait meanwhile",),
    Cause.WRONG_URL: (
        "is the path in `token_url` right? Okta's org authorization server has /oauth2/v1/token",
        "tokens of a custom authorization server (/oauth2/default/…) do not open Okta Workflows",
    ),
    Cause.ANSWER: ("does `token_url` lead to an OAuth 2.0 token endpoint?",),
}
REMEDIES: Final[Mapping[Cause, str]] = {  # a few words, where a detail has no room for the checks
    Cause.SIGNATURE: "wrong private key?",
    Cause.KEY_ID: "wrong `key_id`?",
    Cause.AUDIENCE: "wrong `token_url`?",
    Cause.CLOCK: "is the clock right?",
    Cause.CLIENT: "wrong `client_id`, key or secret?",
    Cause.SCOPE: "grant the scope to the client",
    Cause.DPOP: "untick Require DPoP in the application's settings",
    Cause.GRANT: "allow Client Credentials for the client",
    Cause.WRONG_URL: "wrong `token_url`?",
}
LASTING: Final = frozenset(Cause) - {
    Cause.THROTTLED,
    Cause.AWAY,
    Cause.FAILING,
    Cause.CLOCK,
    Cause.REUSED,
    Cause.ANSWER,
}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; times in seconds since the epoch. `scopes` are those that the answer says are granted, None
    where it says nothing."""

    value: str
    obtained_at: float
    life_seconds: float
    scopes: tuple[str, ...] | None

    @property
    def ends_at(self) -> float:
        """Until when it may be sent."""
        return self.obtained_at + max(self.life_seconds - TRAVEL_SECONDS, self.life_seconds / 2)

    @property
    def refresh_at(self) -> float:
        """From when on another one is asked for."""
        return self.obtained_at + self.life_seconds * min(REFRESH_SHARE, self._share_sent)

    @property
    def _share_sent(self) -> float:
        return (self.ends_at - self.obtained_at) / self.life_seconds if self.life_seconds else 0.0

    def __repr__(self) -> str:
        return f"Token(life_seconds={self.life_seconds})"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an answer holds no token: `fact` says what came, unmasked and in full."""

    cause: Cause
    fact: str


def read_answer(status: int, reason_phrase: str, body: bytes, oauth2: OAuth2, *, now: float) -> Token | Refusal:
    """The token of a 200, or what an answer says against one (RFC 6749, sections 5.1 and 5.2)."""
    answer = _object(body)
    if status == 200:
        return _token(answer, now=now)
    said = _said(answer)
    fact = f"answered {status} {reason_phrase}".rstrip() + (f": {said}" if said else "")
    return Refusal(_cause(status, answer, said.lower(), oauth2), fact)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _token(answer: Mapping[str, Any], *, now: float) -> Token | Refusal:
    """Only a token that a header can carry, and that is a bearer's."""
    value, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    if not isinstance(value, str) or not value:
        return Refusal(Cause.ANSWER, "answered 200 without an access_token")
    if isinstance(kind, str) and kind.lower() == "dpop":
        return Refusal(Cause.DPOP, "answered with a token that is bound to a proof of possession (DPoP)")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return Refusal(Cause.ANSWER, "answered with a token that is no bearer token")
    if len(value) > TOKEN_MAX_CHARACTERS or any(not "!" <= character <= "~" for character in value):
        return Refusal(Cause.ANSWER, "answered with an access_token that no header can carry")
    scope = answer.get("scope")
    scopes = tuple(scope.split()) if isinstance(scope, str) else None
    return Token(value, now, _life_seconds(answer.get("expires_in")), scopes)


def _life_seconds(said: object) -> float:
    try:
        seconds = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else None
    except ValueError:
        seconds = None
    if seconds is None or seconds != seconds:
        return LIFE_UNKNOWN_SECONDS
    return min(max(seconds, 0.0), LIFE_MAX_SECONDS)


def _said(answer: Mapping[str, Any]) -> str:
    """The error and its description: OAuth's, or those of Okta's other endpoints."""
    pairs = (("error", "error_description"), ("errorCode", "errorSummary"))
    parts = next((found for pair in pairs if (found := [answer[key] for key in pair if key in answer])), [])
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def _cause(status: int, answer: Mapping[str, Any], said: str, oauth2: OAuth2) -> Cause:
    # 1. by status, where it says all  2. by OAuth's error code  3. by the words, for what to check alone
    if status == 429:
        return Cause.THROTTLED
    if status >= 500 or status == 408:
        return Cause.FAILING
    error = answer.get("error")
    match error if isinstance(error, str) else None:
        case "invalid_dpop_proof" | "use_dpop_nonce":
            return Cause.DPOP
        case "invalid_scope":
            return Cause.SCOPE
        case "unauthorized_client" | "unsupported_grant_type" | "access_denied":
            return Cause.SCOPE if "scope" in said else Cause.GRANT
        case "invalid_client" | "invalid_grant" | "invalid_request" if oauth2.private_key is not None:
            return _of_assertion(said)
        case "invalid_client":
            return Cause.CLIENT
    if status in (404, 405) or 300 <= status < 400:
        return Cause.WRONG_URL
    return Cause.CLIENT if status == 401 else Cause.ANSWER


def _of_assertion(said: str) -> Cause:
    """What is wrong with an assertion, as far as servers tell."""
    telling = (
        (("dpop",), Cause.DPOP),
        (("audience", " aud "), Cause.AUDIENCE),
        (("kid", "key id"), Cause.KEY_ID),
        (("signature",), Cause.SIGNATURE),
        (("expir", " exp ", "issued in the future", " iat ", "not yet valid"), Cause.CLOCK),
        (("jti", "replay", "already been used"), Cause.REUSED),
    )
    return next((cause for words, cause in telling if any(word in said for word in words)), Cause.CLIENT)
