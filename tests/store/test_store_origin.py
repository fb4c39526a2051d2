"""RevisionStore: where a revision came from, holds, and documents that somebody edited."""

import sqlite3
from dataclasses import replace

import pytest
from store_make import make_change_set, make_live, publish

from reconciler.errors import RefusedError, StalePlanError
from reconciler.models.revision import Hold
from reconciler.store.base import Store

HOLD = Hold("", 1_700_000_000_000, "ann", "the new template breaks the flow")


async def test_a_revision_says_which_manifests_it_came_from(store: Store) -> None:
    """An apply has their digest, a rollback the revision it restores and the reason; listings have both."""
    applied = await store.publish(replace(make_change_set(0, [make_live("u1", "a")]), manifest_digest="d1"))
    lineage = (await store.live_state()).lineage
    back = replace(make_change_set(1, [], lineage=lineage), restores=1, reason="it broke \ud800")
    rolled_back = await store.publish(back)

    assert (applied.manifest_digest, applied.restores, applied.reason) == ("d1", None, "")
    assert (rolled_back.manifest_digest, rolled_back.restores) == (None, 1)
    assert rolled_back.reason.startswith("it broke")
    assert await store.revisions() == (replace(rolled_back, changes=()), replace(applied, changes=()))
    assert await store.revision(2) == rolled_back


async def test_a_hold_refuses_its_owners_applies_until_it_is_released(store: Store) -> None:
    """Nothing is written, and the refusal says who, why and the way out; other owners go on."""
    await publish(store, make_live("u1", "a"))
    await store.set_hold("", HOLD)

    with pytest.raises(RefusedError, match=r"on hold since .* by ann: the new template breaks the flow") as caught:
        await publish(store, make_live("u2", "b"))
    assert "rollback --release" in caught.value.hint
    assert await store.live_revision() == 1
    assert await publish(store, make_live("u3", "c", owner="sec"), owner="sec") == 2

    await store.set_hold("", None)
    assert await publish(store, make_live("u2", "b")) == 3


async def test_holds_are_listed_by_owner_and_replaced(store: Store) -> None:
    """One an owner: the last word counts."""
    assert await store.holds() == ()
    await store.set_hold("sec", replace(HOLD, owner="sec", reason=""))
    await store.set_hold("", HOLD)
    await store.set_hold("", replace(HOLD, held_by="bob"))
    await store.set_hold("iam", None)

    assert [(hold.owner, hold.held_by, hold.reason) for hold in await store.holds()] == [
        ("", "bob", HOLD.reason),
        ("sec", "ann", ""),
    ]


async def test_a_rollback_passes_a_hold_and_may_set_one_in_the_same_step(store: Store) -> None:
    """No apply can slip in between."""
    await publish(store, make_live("u1", "a"))
    lineage = (await store.live_state()).lineage

    await store.publish(replace(make_change_set(1, [], lineage=lineage), restores=1, hold=HOLD))
    assert await store.holds() == (HOLD,)
    await store.publish(replace(make_change_set(2, [], lineage=lineage), restores=1))

    assert await store.live_revision() == 3
    assert await store.holds() == (HOLD,)


async def test_a_stale_rollback_sets_no_hold(store: Store) -> None:
    """All or nothing."""
    await publish(store, make_live("u1", "a"))

    with pytest.raises(StalePlanError):
        await store.publish(replace(make_change_set(0, []), restores=1, hold=HOLD))

    assert await store.holds() == ()


async def test_a_document_edited_by_hand_is_not_intact_until_it_is_written_again(store: Store, store_url: str) -> None:
    """What is read is what is stored, and whether it is what was applied; publishing it sets every revision right."""
    one = make_live("u1", "a", title="before")
    await publish(store, one, make_live("u2", "b"))
    with sqlite3.connect(store_url.removeprefix("sqlite:///")) as db:
        db.execute("UPDATE documents SET body = replace(body, 'before', 'after!') WHERE body LIKE '%before%'")
    db.close()

    held = {item.webhook.name: item for item in (await store.live_state()).webhooks}
    assert (held["a"].is_intact, held["a"].webhook.metadata.title, held["a"].digest) == (False, "after!", one.digest)
    assert held["b"].is_intact

    await publish(store, one)
    for number in (1, 2):
        mended = (await store.live_state(number)).webhooks[0]
        assert (mended.is_intact, mended.webhook.metadata.title) == (True, "before")
