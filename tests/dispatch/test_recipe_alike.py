"""Webhooks that differ in their URL alone share what their requests are made of; nobody can tell."""

import base64
import itertools
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_room import HOST, START, claimed_of, flow

from reconciler.dispatch.recipe import Recipe, Recipes
from reconciler.egress.deliver import Deliverer, _to_request
from reconciler.egress.http1 import request_bytes
from reconciler.egress.mask import Masker
from reconciler.errors import SecretError, TemplateError
from reconciler.models.webhook import Webhook, WebhookUid, host_of
from reconciler.settings import EgressSettings

EVENT = {"event_type": "AccessRequestCreated", "event_time": 1.50, "data": {"id": "r1"}}
SECRETS = {name: "whsec_" + base64.b64encode(name.encode() * 24).decode() for name in ("a", "b")}
CLAIMED = claimed_of(EVENT)
PLAIN: dict[str, Any] = {
    "headers": {"x-api-client-token": "${secret:a}"},
    "body_template": '{"type": "{{event_type}}", "at": "{{event_time}}"}',
    "signing": {"keys": [{"key": "${secret:b}"}]},
}
OTHERS: tuple[dict[str, Any], ...] = (
    {},
    {"url": "https://hooks.example.com/plain"},
    {"url": f"https://{HOST}./plain"},
    {"method": "PUT"},
    {"method": "GET", "body_template": None},
    {"content_type": "text/plain"},
    {"timeout_in_sec": 7},
    {"query": {"k": "v"}},
    {"headers": {"x-api-client-token": "${secret:b}"}},
    {"headers": {"X-Api-Client-Token": "${secret:a}"}},
    {"headers": {"x-api-client-token": "${secret:a}", "x-more": "1"}},
    {"signing": None},
    {"signing": {"keys": [{"key": "${secret:a}"}]}},
    {"signing": {"keys": [{"key": "${secret:b}"}, {"key": "${secret:a}"}]}},
    {"signing": {"keys": [{"key": "${secret:b}", "not_after": "2026-11-23T10:00:00Z"}, {"key": "${secret:a}"}]}},
    {"auth": {"bearer": {"token": "${secret:b}"}}},
    {"auth": {"basic": {"username": "u", "password": "${secret:b}"}}},
    {"auth": {"basic": {"username": "w", "password": "${secret:b}"}}},
    {"body_template": None},
    {"body_template": '{"type": "{{event_type}}", "key": "${secret:a}"}'},
    {"body_template": {"at": "{{event_time}}", "n": 1}},
    {"body_template": {"at": "{{event_time}}", "n": True}},
    {"body_template": '{"p": "{{> p}}"}', "partials": {"p": "one"}},
    {"body_template": '{"p": "{{> p}}"}', "partials": {"p": "two"}},
    {"response_validators": [{"json_path": "$.n", "expected_values": [1]}]},
    {"response_validators": [{"json_path": "$.n", "expected_values": [True]}]},
)
PATHS = st.text(st.sampled_from("ab1/.-_~%2?=&;:@$*{}"), max_size=12) | st.sampled_from(
    (
        "/${secret:a}",
        "/x?y=${secret:b}",
        "/./a",
        "/a/../b",
        "/a//b",
        "/%41",
        "/a?b",
        "/a/",
        "",
        "/" + "a" * 300,
        ":8443/a",
    )
)


def deliverer() -> Deliverer:
    masker = Masker()
    for value in SECRETS.values():
        masker.add(value)
    return Deliverer(EgressSettings(), masker=masker)


def of(recipe: Recipe) -> dict[str, Any]:
    """All that a recipe makes of one delivery."""
    draft = recipe.draft(CLAIMED, now=START)
    found: dict[str, Any] = {"draft": draft, "pace_key": recipe.pace_key, "credentials": recipe.credentials}
    try:
        found["prepared"] = recipe.prepared(draft)
    except TemplateError as exc:
        found["prepared"] = exc.message
    if recipe.form is not None:
        form = recipe.form
        assert form.fill(draft) == request_bytes(_to_request(found["prepared"][0]))  # as httpx understands the URL
        found["form"] = (form.fill(draft), form.show(draft), form.origin, form.timeout_seconds, form.validators)
    return found


def same(recipes: Recipes, one: Deliverer, uid: str, webhook: Webhook) -> None:
    """The recipe makes what is made without any other recipe."""
    try:
        alone = of(Recipe(webhook, SECRETS, one))
    except (SecretError, TemplateError) as exc:
        with pytest.raises(type(exc)):
            of(recipes.of(WebhookUid(uid), webhook, SECRETS))
    else:
        assert of(recipes.of(WebhookUid(uid), webhook, SECRETS)) == alone


@given(st.lists(PATHS, min_size=1, max_size=4), st.sampled_from(OTHERS))
def test_whatever_their_urls_their_requests_are_those_of_each_alone(paths: list[str], other: dict[str, Any]) -> None:
    """Also where a path is encoded, holds a secret, or leads elsewhere."""
    one = deliverer()
    recipes = Recipes(one)
    for index, path in enumerate(["/plain", *paths, "/a/plain/one"]):
        same(recipes, one, f"u{index}", flow(f"w{index}", **{**PLAIN, **other, "url": f"https://{HOST}{path}"}))


def test_what_differs_in_more_than_the_url_is_told_apart() -> None:
    """Each after each other."""
    one = deliverer()
    recipes = Recipes(one)
    webhooks = [flow(f"w{index}", **{**PLAIN, **other}) for index, other in enumerate(OTHERS)]
    for index, webhook in enumerate(itertools.chain(webhooks, reversed(webhooks))):
        same(recipes, one, f"u{index}", webhook)


def test_a_rotated_secret_holds_for_those_that_share() -> None:
    """Whichever of them is sent to first."""
    recipes = Recipes(deliverer())
    found = []
    for value in ("first-value", "second-value"):
        for name in ("w1", "w2"):
            webhook = flow(name, **{**PLAIN, "url": f"https://{HOST}/{name}"})
            recipe = recipes.of(WebhookUid(name), webhook, {**SECRETS, "a": value})
            assert recipe.form is not None
            sent = recipe.form.fill(recipe.draft(CLAIMED, now=START))
            found.append([token for token in ("first-value", "second-value") if token.encode() in sent])

    assert found == [["first-value"], ["first-value"], ["second-value"], ["second-value"]]


def test_a_secret_in_a_path_of_its_own_is_masked() -> None:
    """What is shown of a webhook's URL is looked at for each of them."""
    one = deliverer()
    recipes = Recipes(one)
    secret = SECRETS["a"]
    for name, path in (("w1", "/plain"), ("w2", f"/{secret}/plain")):
        recipe = recipes.of(WebhookUid(name), flow(name, **{**PLAIN, "url": f"https://{HOST}{path}"}), SECRETS)
        assert recipe.form is not None
        shown = recipe.form.show(recipe.draft(CLAIMED, now=START))
        assert (secret in shown.url, "***" in shown.url) == (False, name == "w2")


@given(st.sampled_from((HOST, f"{HOST}.", HOST.upper(), "h.example.com", "1.2.3.4")), PATHS)
def test_a_pace_key_is_host_and_path(host: str, path: str) -> None:
    """However it is found."""
    url = f"https://{host}{path if path.startswith('/') else f'/{path}'}"

    assert flow("w", url=url).pace_key == f"{host_of(url)}{urlsplit(url).path or '/'}"
