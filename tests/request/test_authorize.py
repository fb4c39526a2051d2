"""The authorization header that `auth` makes: what is sent, and what is shown of it."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SecretError
from reconciler.models.webhook import Webhook
from reconciler.request.authorize import with_access_token
from reconciler.request.render import Prepared, blank_secrets, render_request

TOKEN = "tok3n-tok3n"
OAUTH2 = {
    "token_url": "https://login.example.org/token",
    "client_id": "c",
    "client_secret": "${secret:t}",
}
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=8, max_size=40)


def webhook(auth: Any, **headers: str) -> Webhook:
    spec = {"url": "https://hooks.example.com/in", "triggers": ["RequestCreated"], "auth": auth, "headers": headers}
    return Webhook.model_validate({"metadata": {"name": "a"}, "spec": spec}, strict=False)


def headers_of(hook: Webhook, secrets: dict[str, str]) -> dict[str, str]:
    prepared = render_request(hook, {}, b"{}", secrets=secrets, delivery_id="dlv_1")
    return dict(prepared.headers)


def shown_of(hook: Webhook) -> dict[str, str]:
    return headers_of(hook, blank_secrets(hook))


def test_a_bearer_token_is_sent_and_shown_masked() -> None:
    hook = webhook({"bearer": {"token": "${secret:t}"}})

    assert headers_of(hook, {"t": TOKEN})["authorization"] == f"Bearer {TOKEN}"
    assert shown_of(hook)["authorization"] == "Bearer ***"


@given(password=VALUES)
def test_a_basic_credential_is_read_back_as_it_was_written(password: str) -> None:
    """In UTF-8 (RFC 7617); what is shown holds nothing of it, not even in Base64."""
    hook = webhook({"basic": {"username": "zoë", "password": "${secret:t}"}})

    kind, credential = headers_of(hook, {"t": password})["authorization"].split(" ")

    assert (kind, base64.b64decode(credential).decode()) == ("Basic", f"zoë:{password}")
    assert shown_of(hook)["authorization"] == "Basic ***"


def test_a_user_name_that_holds_a_colon_is_not_sent() -> None:
    """It would be read as another name and another password. The value is not told."""
    hook = webhook({"basic": {"username": "${secret:u}", "password": "${secret:t}"}})

    with pytest.raises(SecretError) as caught:
        headers_of(hook, {"u": "name:rest-of-it", "t": TOKEN})

    assert caught.value.name == "u"
    assert "rest-of-it" not in caught.value.message


def test_the_place_of_an_access_token_is_kept() -> None:
    """Only sending obtains it."""
    hook = webhook({"oauth2": OAUTH2})
    prepared = render_request(hook, {}, b"{}", secrets={"t": TOKEN}, delivery_id="dlv_1")

    assert dict(prepared.headers)["authorization"] == "Bearer ***"
    assert dict(with_access_token(prepared, "abc").headers)["authorization"] == "Bearer abc"
    assert TOKEN not in repr(prepared)


def test_a_client_certificate_makes_no_header() -> None:
    hook = webhook({"mtls": {"certificate": "${secret:c}", "private_key": "${secret:k}"}})

    assert "authorization" not in headers_of(hook, {"c": "x", "k": "y"})


def test_auth_stands_in_for_a_header_that_a_store_still_holds() -> None:
    """The manifest's rule forbids both; a request never has two."""
    hook = webhook({"bearer": {"token": "${secret:t}"}}, Authorization="${secret:old}")
    prepared = render_request(hook, {}, b"{}", secrets={"t": TOKEN, "old": "older-token"}, delivery_id="dlv_1")

    found = [value for name, value in prepared.headers if name.lower() == "authorization"]

    assert found == [f"Bearer {TOKEN}"]


def test_nothing_else_of_a_request_is_touched() -> None:
    prepared = Prepared("POST", "https://a.example.com/", (("a", "Bearer ***"), ("authorization", "Bearer ***")), b"x")

    assert with_access_token(prepared, "t").headers == (("a", "Bearer ***"), ("authorization", "Bearer t"))
