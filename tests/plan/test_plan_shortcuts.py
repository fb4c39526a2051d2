"""What is told quickly of texts, hosts and webhooks is what the long way says: a plan asks half a million times."""

import json
import re
import tracemalloc
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from plan_samples import hook

from reconciler.cli import view
from reconciler.cli.view_field import NORMAL
from reconciler.cli.view_value import value_text
from reconciler.models.unopened import Seal, Unopened
from reconciler.models.webhook import SECRET_REFERENCE, Webhook, host_of, secret_names
from reconciler.plan.redact import MASK, shown, shown_document

HEX_OR_NOT = st.text("0123456789abcdefABCDEF", min_size=50, max_size=200) | st.text("0aFgZ- .\n", max_size=70)
URLS = st.from_regex(r"https?://[a-zA-Z0-9.:@\[\]ä-]{0,12}[/?#\t ]?[a-z?#@:/]{0,6}", fullmatch=True)
TEXTS = st.text() | st.sampled_from(["${secret:one}", "a ${secret:two} b", "$${secret:three}", "${secret:", "${"])
VALUES = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(HEX_OR_NOT, max_size=5).map("".join))
@example("x" * 7 + " " + "0" * 64)
@example("é" + "f" * 64 + "-")
@example("0" * 65)
def test_every_token_is_masked_wherever_it_stands_and_nothing_else(text: str) -> None:
    """Also where a token begins between two of the characters that are looked at first."""
    masked = re.sub(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64}(?![0-9A-Za-z])", MASK, text)

    assert shown(("spec", "body_template"), text) == masked


@pytest.mark.parametrize("offset", range(20))
def test_a_token_is_masked_at_every_offset(offset: int) -> None:
    assert shown(("metadata", "title"), " " * offset + "0123456789abcdef" * 4) == " " * offset + MASK


DOCUMENT = {
    "metadata": {"name": "one", "labels": {"api-key": "literal", "url": "?token=kept"}},
    "spec": {
        "url": "https://example.com/?token=literal&a=b&key={{id}}",
        "headers": {"x-client-token": "literal", "cookie": "${secret:one}", "x": "0123456789abcdef" * 4, "y": "a"},
        "auth": {"oauth2": {"key": "literal", "password": ["one", {"y": "z"}], "scopes": ["a"], "n": 1, "none": None}},
    },
}


def test_what_a_document_masks_is_told_by_name_place_and_form() -> None:
    """A name that bears a secret counts for the items of a list too; parameters only in `spec.url`."""
    assert shown_document(DOCUMENT) == {
        "metadata": {"name": "one", "labels": {"api-key": MASK, "url": "?token=kept"}},
        "spec": {
            "url": f"https://example.com/?token={MASK}&a=b&key={{{{id}}}}",
            "headers": {"x-client-token": MASK, "cookie": "${secret:one}", "x": MASK, "y": "a"},
            "auth": {"oauth2": {"key": MASK, "password": [MASK, {"y": "z"}], "scopes": ["a"], "n": 1, "none": None}},
        },
    }


@given(URLS)
@example("https://hooks.example.com./a")
@example("https://a.example\t.com/")
@example("https://user@hooks.example.com/")
@example("https://hooks.example.com:8443/")
def test_a_host_is_that_of_the_whole_grammar(url: str) -> None:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        host = ""

    assert host_of(url) == host


@given(VALUES)
def test_secrets_are_found_in_every_text_and_key_of_a_value(value: Any) -> None:
    found = {match[1] for text in texts_of(value) for match in SECRET_REFERENCE.finditer(text) if match[1]}

    assert secret_names(value) == found


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts_of(item)


@given(VALUES)
def test_a_value_is_written_as_the_encoder_writes_it(value: Any) -> None:
    assert value_text(value, NORMAL.room) == view.distinct(json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize("said", [{}, {"protect": True}, {"protect": False}, {"title": '"protect": true'}])
@pytest.mark.parametrize(
    "spec", [{}, {"status": "inactive"}, {"headers": {"x": "inactive"}}, {"headers": {"x": '"status":"inactive"'}}]
)
def test_protection_and_activity_are_told_without_opening_a_webhook(said: dict[str, Any], spec: dict[str, Any]) -> None:
    webhook = hook("one", said, **spec)

    unopened = Unopened.of(Seal(webhook.name, partial(bytes, webhook.canonical()), webhook.digest()))

    assert unopened.protect == webhook.protect
    assert unopened.is_active == webhook.is_active
    assert type(unopened) is not Webhook


def test_a_canonical_document_takes_no_more_memory_than_it_is_long() -> None:
    """A plan holds ten thousand of them. Python's own counting is told, not the length again."""
    webhook = hook("one", body_template="x" * 1000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        documents = [webhook.canonical() for _ in range(100)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 1.2 * sum(map(len, documents))
