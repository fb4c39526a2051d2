"""What is found out once for a webhook is found out anew when it no longer holds."""

import base64
import gc
import json
import ssl
from typing import Any

import pytest
import trustme
from worker_room import START, claimed_of, flow

from reconciler.dispatch.recipe import Recipe, Recipes
from reconciler.egress import identity
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.errors import SecretError, TemplateError
from reconciler.models.delivery import DeliveryId
from reconciler.models.webhook import WebhookUid
from reconciler.request.render import Prepared
from reconciler.settings import EgressSettings
from reconciler.store.base import Claimed

EVENT = {"event_type": "AccessRequestCreated", "event_time": 1, "data": {"id": "r1"}}
KEYS = {name: "whsec_" + base64.b64encode(name.encode() * 24).decode() for name in ("a", "b")}


UID = WebhookUid("u1")
DELIVERER = Deliverer(EgressSettings(), masker=Masker())


def claimed(delivery: str = "dlv_1") -> Claimed:
    return claimed_of(EVENT, delivery_id=DeliveryId(delivery))


@pytest.fixture
def recipes() -> Recipes:
    return Recipes(DELIVERER)


def by(recipe: Recipe, *, delivery: str = "dlv_1", now: int = START) -> tuple[Prepared, Prepared]:
    """The request of one delivery, and the same as people are shown it."""
    return recipe.prepared(recipe.draft(claimed(delivery), now=now))


def both(recipes: Recipes, webhook: Any, secrets: dict[str, str], *, now: int = START) -> tuple[Prepared, Prepared]:
    """By the recipe, which must make what is made without one."""
    found = by(recipes.of(UID, webhook, secrets), now=now)
    assert found == by(Recipe(webhook, secrets, DELIVERER), now=now)
    return found


def test_a_rotated_secret_is_sent_with_the_next_attempt(recipes: Recipes) -> None:
    """In the URL, in a header and in the body; people are shown none of them."""
    webhook = flow(
        "w", headers={"x-api-client-token": "${secret:token}"}, query={"k": "${secret:token}"},
        body_template='{"token": "${secret:token}", "type": "{{event_type}}"}',
    )  # fmt: skip
    for value in ("first-value", "second-value", "first-value"):
        prepared, shown = both(recipes, webhook, {"token": value})
        assert json.loads(prepared.body or b"") == {"token": value, "type": "AccessRequestCreated"}
        assert dict(prepared.headers)["x-api-client-token"] == value and prepared.url.endswith(f"?k={value}")
        assert json.loads(shown.body or b"")["token"] == "***"
        assert value not in f"{shown}"


def test_an_applied_change_is_sent_with_the_next_attempt(recipes: Recipes) -> None:
    """Another webhook under the same uid is another revision."""
    for text in ("one", "two"):
        prepared, _ = both(recipes, flow("w", body_template=f'{{"a": "{text}"}}'), {})
        assert json.loads(prepared.body or b"") == {"a": text}


def test_each_delivery_has_its_own_id_and_body(recipes: Recipes) -> None:
    """Only what they have in common is kept."""
    webhook = flow("w")

    one, _ = by(recipes.of(UID, webhook, {}), delivery="dlv_1")
    two, _ = by(recipes.of(UID, webhook, {}), delivery="dlv_2")

    assert dict(one.headers)["webhook-id"] == "dlv_1"
    assert dict(two.headers)["webhook-id"] == "dlv_2"


def test_keys_sign_in_their_windows_also_where_the_clock_is_set_back(recipes: Recipes) -> None:
    """`a` signs up to a moment and `b` from it."""
    turn = "2026-11-23T10:00:00Z"
    webhook = flow("w", signing={"keys": [
        {"key": "${secret:a}", "not_after": turn}, {"key": "${secret:b}", "not_before": turn},
    ]})  # fmt: skip
    hour = 3_600_000

    signatures = [
        dict(both(recipes, webhook, KEYS, now=at)[0].headers)["webhook-signature"]
        for at in (START, START + 2 * hour, START + 1, START + hour - 1, START + hour)
    ]

    assert len({signatures[0], signatures[2]}) == 1  # the timestamp has whole seconds
    assert len(set(signatures)) == 4


def test_a_key_whose_window_has_ended_is_used_no_more(recipes: Recipes) -> None:
    """What no key signs now is not sent, however many attempts came before."""
    webhook = flow("w", signing={"keys": [{"key": "${secret:a}", "not_after": "2026-11-23T10:00:00Z"}]})
    both(recipes, webhook, KEYS)

    with pytest.raises(SecretError, match="the last signing key ended"):
        by(recipes.of(UID, webhook, KEYS), now=START + 3_600_000)


def test_a_request_that_is_too_large_is_refused_each_time(recipes: Recipes) -> None:
    """A recipe holds no judgement of a body."""
    webhook = flow("w", headers={"x-long": "${secret:long}"})

    for _ in range(2):
        with pytest.raises(TemplateError, match="the header x-long has"):
            by(recipes.of(UID, webhook, {"long": "x" * 100_000}))


def test_recipes_keep_no_contexts_of_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context is large; how many are kept is bounded elsewhere."""
    monkeypatch.setattr(identity, "CONTEXTS_MAX", 1)
    recipes = Recipes(Deliverer(EgressSettings(), masker=Masker()))
    before = contexts()

    for number in range(4):
        secrets = {"ca": trustme.CA().cert_pem.bytes().decode()}
        recipe = recipes.of(WebhookUid(f"u{number}"), flow(f"w{number}", tls={"ca": "${secret:ca}"}), secrets)
        assert recipe.credentials.identity is not None
        assert recipe.form is not None

    del recipe
    assert contexts() - before <= 1


def contexts() -> int:
    gc.collect()
    return sum(isinstance(item, ssl.SSLContext) for item in gc.get_objects())
