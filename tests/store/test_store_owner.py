"""RevisionStore: webhooks that change hands, and those that are released to nobody."""

import sqlite3
from dataclasses import replace

import pytest
from store_make import COMMIT, add, claim_ids, make_change_set, make_lane, make_live, publish

from reconciler.errors import NotInStoreError, StalePlanError
from reconciler.models.revision import NOBODY
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import Store

RELEASED = (WebhookUid("u1"),)


async def test_a_released_webhook_stays_live_and_belongs_to_nobody(store: Store) -> None:
    """Its document, protection and history stay; the revision that released it is the one that changed it last."""
    await publish(store, make_live("u1", "a", owner="iam", is_protected=True), make_live("u2", "b", owner="iam"))
    before = {item.uid: item for item in (await store.live_state()).webhooks}

    lineage = (await store.live_state()).lineage
    revision = await store.publish(
        replace(make_change_set(1, lineage=lineage, owner="iam"), released=RELEASED, forgotten=1)
    )

    after = {item.uid: item for item in (await store.live_state()).webhooks}
    assert after["u1"] == replace(before["u1"], owner=NOBODY, revision=2)
    assert after["u2"] == before["u2"]
    assert (revision.forgotten, revision.adopted, revision.deleted) == (1, 0, 0)
    assert {item.uid: item for item in (await store.live_state(1)).webhooks} == before


async def test_releasing_copies_what_is_stored_even_if_it_was_edited(store: Store, store_url: str) -> None:
    """A release says whose a webhook is, not what it does."""
    await publish(store, make_live("u1", "a", title="before"))
    with sqlite3.connect(store_url.removeprefix("sqlite:///")) as db:
        db.execute("UPDATE documents SET body = replace(body, 'before', 'edited')")
    db.close()

    await publish(store, released=RELEASED)

    (live,) = (await store.live_state()).webhooks
    assert (live.webhook.metadata.title, live.is_intact, live.owner) == ("edited", False, NOBODY)


async def test_deliveries_of_a_released_webhook_go_on(store: Store) -> None:
    """Nothing is cancelled."""
    await publish(store, make_live("u1", "a"))
    await store.configure(1, [make_lane("u1")])
    await add(store, "u1", "d1")

    await publish(store, released=RELEASED)

    assert await claim_ids(store, 0) == ["d1"]


async def test_a_released_name_is_still_taken(store: Store) -> None:
    """Names are unique among live webhooks, whoever owns them."""
    await publish(store, make_live("u1", "a"))

    with pytest.raises(NotInStoreError, match="one name: a"):
        await publish(store, make_live("u2", "a"), released=RELEASED)

    assert [item.owner for item in (await store.live_state()).webhooks] == [""]


async def test_an_adopted_webhook_is_its_new_owners(store: Store) -> None:
    """An upsert says whose a webhook is from now on; the count is the revision's."""
    await publish(store, make_live("u1", "a", owner="platform"))
    lineage = (await store.live_state()).lineage

    revision = await store.publish(
        replace(make_change_set(1, [make_live("u1", "a", owner="iam")], lineage=lineage, owner="iam"), adopted=1)
    )

    assert [(item.uid, item.owner) for item in (await store.live_state()).webhooks] == [("u1", "iam")]
    assert (await store.revisions())[0].adopted == revision.adopted == 1
    assert revision.to_json()["forgotten"] == 0
    assert revision.commit == COMMIT


async def test_a_used_plan_says_that_it_was_used(store: Store) -> None:
    """Whoever rebases stale plans must tell the two apart."""
    await publish(store, make_live("u1", "a"), plan_id="p")

    with pytest.raises(StalePlanError) as used:
        await publish(store, make_live("u2", "b"), plan_id="p")
    with pytest.raises(StalePlanError) as moved:
        await store.publish(make_change_set(0, [make_live("u2", "b")]))

    assert (used.value.is_used, moved.value.is_used) == (True, False)
