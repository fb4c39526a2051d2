"""A webhook that nobody has looked into is the webhook: whatever is asked of it, in whatever order."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from history_samples import webhooks
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import StoreError
from reconciler.models.unopened import Seal, Unopened
from reconciler.models.webhook import Webhook, WebhookName

QUESTIONS: dict[str, Callable[[Webhook], Any]] = {
    "name": lambda hook: hook.name,
    "address": lambda hook: hook.address,
    "renamed_from": lambda hook: hook.renamed_from,
    "protect": lambda hook: hook.protect,
    "is_active": lambda hook: hook.is_active,
    "host": lambda hook: hook.host,
    "pace_key": lambda hook: hook.pace_key,
    "secret_hosts": lambda hook: hook.secret_hosts(),
    "document": lambda hook: _ordered(hook.document()),
    "canonical": lambda hook: hook.canonical(),
    "digest": lambda hook: hook.digest(),
    "metadata": lambda hook: hook.metadata,
    "spec": lambda hook: hook.spec,
    "dump": lambda hook: hook.model_dump(mode="json", exclude_defaults=True),
    "copy": lambda hook: hook.model_copy(update={"spec": hook.spec.model_copy(update={"max_concurrency": 7})}),
    "repr": lambda hook: repr(hook.spec.url) in repr(hook),
    "equal": lambda hook: hook == Webhook.from_document(hook.canonical()),
}


def _ordered(document: dict[str, Any]) -> str:
    """The document with the order of what the models order; what people name is sorted in a stored one."""
    spec = document["spec"]
    named = {"labels": document["metadata"], **dict.fromkeys(("headers", "query", "partials"), spec)}
    named |= {"custom_fields": spec.get("filters", {})}
    for key, holder in named.items():
        if key in holder:
            holder[key] = dict(sorted(holder[key].items()))
    return json.dumps(document)


def unopened(webhook: Webhook, *, is_current: bool) -> Webhook:
    raw = webhook.canonical()
    digest = webhook.digest() if is_current else None
    return Unopened.of(Seal(webhook.name, lambda: raw, digest, webhook.renamed_from))


@given(webhooks, st.permutations(sorted(QUESTIONS)), st.booleans(), st.none() | st.just("former-name"))
def test_it_answers_as_the_webhook_does(
    webhook: Webhook, order: list[str], is_current: bool, former: WebhookName | None
) -> None:
    metadata = webhook.metadata.model_copy(update={"renamed_from": former})
    webhook = webhook.model_copy(update={"metadata": metadata})
    sealed = unopened(webhook, is_current=is_current)

    for question in order:
        assert QUESTIONS[question](sealed) == QUESTIONS[question](webhook), question

    assert sealed == webhook
    assert webhook == sealed
    assert type(sealed) is Webhook


@given(webhooks)
def test_two_that_nobody_has_looked_into_are_compared_by_what_they_say(webhook: Webhook) -> None:
    other = webhook.model_copy(update={"metadata": webhook.metadata.model_copy(update={"title": "another"})})

    assert unopened(webhook, is_current=True) == unopened(webhook, is_current=False)
    assert (unopened(webhook, is_current=True) == unopened(other, is_current=True)) is (webhook == other)


@pytest.mark.parametrize(
    "document", [b"{", b"{}", b'{"metadata": {"name": "b"}, "spec": {"url": "https://a.example", "triggers": []}}']
)
def test_a_document_that_cannot_be_read_is_an_error_of_the_store(document: bytes) -> None:
    sealed = Unopened.of(Seal(WebhookName("b"), lambda: document))

    with pytest.raises(StoreError, match="a stored webhook cannot be read: b"):
        _ = sealed.spec


@given(webhooks)
def test_a_document_of_another_name_is_an_error_of_the_store(webhook: Webhook) -> None:
    sealed = Unopened.of(Seal(WebhookName(f"not-{webhook.name}"), webhook.canonical))

    with pytest.raises(StoreError, match="cannot be read"):
        _ = sealed.metadata


def test_threads_may_look_at_the_same_time() -> None:
    """Each gets the whole answer, whoever opens it."""
    document = {"metadata": {"name": "a"}, "spec": {"url": "https://a.example.com/", "triggers": ["Manual"]}}
    webhook = Webhook.model_validate(document, strict=False)
    for _ in range(30):
        sealed, barrier, answers = unopened(webhook, is_current=True), threading.Barrier(4), []

        def ask(sealed: Webhook = sealed, barrier: threading.Barrier = barrier, answers: list[Any] = answers) -> None:
            barrier.wait()
            answers.append(
                [QUESTIONS[question](sealed) for question in ("canonical", "spec", "name", "digest", "dump")]
            )

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        expected = [QUESTIONS[question](webhook) for question in ("canonical", "spec", "name", "digest", "dump")]
        assert answers == [expected] * 4
