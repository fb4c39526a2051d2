"""A token endpoint's answer, whatever it holds: a token that can be sent, or a reason on one line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauth_room import by_secret, oauth2

from reconciler.egress.token import CHECKS, LIFE_MAX_SECONDS, LIFE_UNKNOWN_SECONDS, Cause, Refusal, Token, read_answer
from reconciler.models.credential import OAuth2

BY_KEY = OAuth2.model_validate(oauth2(), strict=False)
BY_SECRET = OAuth2.model_validate(by_secret(), strict=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(("access_token", "token_type", "expires_in", "scope", "error", "error_description", "errorCode"))


def in_bytes(value: Any) -> bytes:
    """As JSON that may hold numbers of any size, and what is none."""
    return json.dumps(value).encode()


def read(status: int, body: Any, client: OAuth2 = BY_KEY) -> Token | Refusal:
    raw = body if isinstance(body, bytes) else in_bytes(body)
    return read_answer(status, "Phrase", raw, client, now=1000.0)


@given(status=st.integers(200, 599), body=st.binary(max_size=60) | st.dictionaries(KEYS, JSON).map(in_bytes))
def test_no_answer_is_too_strange(status: int, body: bytes) -> None:
    """Law: a token is one line of visible ASCII and ends after it begins; a refusal is short and of a known cause."""
    for client in (BY_KEY, BY_SECRET):
        found = read(status, body, client)
        if isinstance(found, Token):
            assert status == 200
            assert found.value.isascii()
            assert found.value.isprintable()
            assert " " not in found.value
            assert 1000.0 <= found.refresh_at <= found.ends_at <= 1000.0 + LIFE_MAX_SECONDS
        else:
            assert len(found.fact) < 300
            assert CHECKS[found.cause]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        *((3600, 3600.0), ("3600", 3600.0), (0, 0.0), (-5, 0.0), (10**12, LIFE_MAX_SECONDS), (1.5, 1.5)),
        *((None, LIFE_UNKNOWN_SECONDS), ("soon", LIFE_UNKNOWN_SECONDS), (True, LIFE_UNKNOWN_SECONDS)),
        *(("nan", LIFE_UNKNOWN_SECONDS), ([], LIFE_UNKNOWN_SECONDS)),
    ],
)
def test_how_long_a_token_lives_is_bounded(said: object, seconds: float) -> None:
    found = read(200, {"access_token": "a", "expires_in": said})

    assert isinstance(found, Token)
    assert found.life_seconds == seconds


@pytest.mark.parametrize(
    ("status", "error", "said", "cause"),
    [
        (401, "invalid_client", "The client_assertion signature is invalid.", Cause.SIGNATURE),
        (401, "invalid_client", "The client_assertion JWT kid is invalid.", Cause.KEY_ID),
        (401, "invalid_client", "The audience claim for client_assertion must be the endpoint", Cause.AUDIENCE),
        (401, "invalid_client", "The client_assertion token is expired.", Cause.CLOCK),
        (401, "invalid_client", "The client_assertion token has already been used", Cause.REUSED),
        (401, "invalid_client", "No client credentials found.", Cause.CLIENT),
        (400, "invalid_client", "", Cause.CLIENT),
        (400, "invalid_dpop_proof", "The DPoP proof JWT header is missing.", Cause.DPOP),
        (401, "use_dpop_nonce", "", Cause.DPOP),
        (400, "invalid_scope", "", Cause.SCOPE),
        (400, "access_denied", "Policy evaluation failed", Cause.GRANT),
        (403, "access_denied", "You are not allowed any of the requested scopes.", Cause.SCOPE),
        (400, "unauthorized_client", "", Cause.GRANT),
        (404, None, "", Cause.WRONG_URL),
        (302, None, "", Cause.WRONG_URL),
        (401, None, "", Cause.CLIENT),
        (429, "invalid_client", "", Cause.THROTTLED),
        (503, "invalid_client", "", Cause.FAILING),
        (400, None, "", Cause.ANSWER),
    ],
)
def test_each_refusal_has_its_cause(status: int, error: str | None, said: str, cause: Cause) -> None:
    """RFC 6749, section 5.2, and what Okta's support pages quote."""
    found = read(status, {"error": error, "error_description": said})

    assert isinstance(found, Refusal)
    assert found.cause is cause


def test_every_cause_has_something_to_check() -> None:
    assert set(CHECKS) == set(Cause)
    assert all(checks for checks in CHECKS.values())
