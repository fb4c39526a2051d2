"""The live revision as an index: what the same webhooks were compiled to is kept, what was edited is not trusted."""

from dataclasses import replace
from typing import Any

from served import event, webhook

from reconciler.dispatch.live import Snapshot
from reconciler.models.event import make_event
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.request.condition import MatchState

EVENT = make_event(event(1, requester={"email": "ann@example.com"}), b"")


def live(item: Webhook, **facts: Any) -> LiveWebhook:
    made = LiveWebhook(WebhookUid(item.name), "", item, item.digest(), False, 1)
    return replace(made, **facts)


def state(revision: int, *lives: LiveWebhook) -> LiveState:
    return LiveState("lineage", revision, None, tuple(sorted(lives, key=lambda item: item.webhook.name)))


def wanting(snapshot: Snapshot) -> list[str]:
    return [item.webhook.name for item, verdict in snapshot.judge(EVENT) if verdict.state is MatchState.YES]


def test_a_new_revision_keeps_what_was_compiled_of_webhooks_that_are_the_same() -> None:
    """And judges by the new ones."""
    same, old = webhook("same", filters={"requester": ["*@example.com"]}), webhook("other")
    first = Snapshot.of(state(1, live(same), live(old)))

    second = Snapshot.of(state(2, live(same), live(webhook("other", when="false"))), previous=first)

    assert second.entries[same.digest()] is first.entries[same.digest()]
    assert old.digest() not in second.entries
    assert (wanting(first), wanting(second)) == (["other", "same"], ["same"])


def test_a_document_that_somebody_edited_is_compiled_as_it_is() -> None:
    """Its digest names what it was."""
    applied, edited = webhook("hook"), webhook("hook", filters={"requester": ["nobody"]})
    first = Snapshot.of(state(1, live(applied)))

    second = Snapshot.of(state(1, live(edited, digest=applied.digest(), is_intact=False)), previous=first)

    assert (wanting(first), wanting(second)) == (["hook"], [])


def test_inactive_webhooks_want_nothing_and_come_back() -> None:
    """They are in no index."""
    first = Snapshot.of(state(1, live(webhook("hook", status="inactive"))))

    assert wanting(first) == []
    assert wanting(Snapshot.of(state(2, live(webhook("hook"))), previous=first)) == ["hook"]
