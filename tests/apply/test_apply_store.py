"""What an apply does to the store it writes: uids, pending deliveries, ownership, and the count a plan gives."""

from collections.abc import AsyncIterator

import pytest
from apply_folder import Folder, webhook

from reconciler.apply import Provenance, apply_plan, new_id, read_live
from reconciler.errors import RefusedError, StalePlanError
from reconciler.models.delivery import DeliveryId, Reason, State
from reconciler.models.event import EventId
from reconciler.models.revision import Revision
from reconciler.models.webhook import Project, Webhook
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Desired, Plan, make_plan
from reconciler.store.base import NewDelivery, NewEvent, Store
from reconciler.store.open import open_store

BY = Provenance(applied_by="ada", applied_at=1_700_000_000_000, commit="c0ffee")


@pytest.fixture
async def store(folder: Folder) -> AsyncIterator[Store]:
    """A fresh store."""
    opened = open_store(f"sqlite:///{folder.path}/reconciler.db", create=True)
    assert opened is not None
    async with opened:
        yield opened


async def plan_for(store: Store, *webhooks: Webhook) -> Plan:
    """A plan from what is live now."""
    live, unfinished = await read_live(store)
    return guarded(make_plan(Desired(webhooks, Project(), "digest"), live, unfinished=unfinished))


async def apply(store: Store, *webhooks: Webhook) -> Revision | None:
    """Plan and apply."""
    return await apply_plan(store, await plan_for(store, *webhooks), plan_id=new_id(), by=BY)


async def accept(store: Store, *names: str) -> None:
    """One event with a pending delivery for each of these webhooks."""
    live = await store.live_state()
    uids = {item.webhook.name: item.uid for item in live.webhooks}
    deliveries = tuple(NewDelivery(DeliveryId(f"dlv-{name}"), uids[name], None, 0, 0) for name in names)
    event = NewEvent(EventId("e"), "AccessRequestCreated", None, None, "test", b"{}", "f", 0, deliveries=deliveries)
    await store.accept([event], revision=live.revision)


async def states(store: Store) -> dict[str, tuple[State, Reason | None, str]]:
    """State, reason and webhook of each delivery."""
    return {item.id: (item.state, item.reason, item.webhook) for item in await store.deliveries()}


async def test_uids_and_pending_deliveries_follow_a_swap(store: Store) -> None:
    """A delivery belongs to the webhook, not to its name."""
    await apply(store, webhook("a", method="PUT"), webhook("b"))
    await accept(store, "a")
    before = {item.webhook.name: item.uid for item in (await store.live_state()).webhooks}

    revision = await apply(
        store,
        webhook("b", {"renamed_from": "a"}, method="PUT", url="https://hooks.example.com/a"),
        webhook("a", {"renamed_from": "b"}, url="https://hooks.example.com/b"),
    )

    after = {item.webhook.name: item.uid for item in (await store.live_state()).webhooks}
    assert revision is not None
    assert (revision.renamed, revision.updated, revision.created, revision.deleted) == (2, 0, 0, 0)
    assert after == {"a": before["b"], "b": before["a"]}
    assert await states(store) == {"dlv-a": (State.PENDING, None, "b")}


async def test_a_plan_counts_what_the_apply_cancels(store: Store) -> None:
    """Deletes and inactivations end their pending deliveries; other webhooks' stay."""
    await apply(store, webhook("gone"), webhook("off"), webhook("stays"))
    await accept(store, "gone", "off", "stays")

    plan = await plan_for(store, webhook("off", status="inactive"), webhook("stays", method="PUT"))
    await apply_plan(store, plan, plan_id="p", by=BY)

    assert {change.name: change.cancels for change in plan.changes} == {"gone": 1, "off": 1, "stays": 0}
    assert {key: value[:2] for key, value in (await states(store)).items()} == {
        "dlv-gone": (State.CANCELLED, Reason.WEBHOOK_DELETED),
        "dlv-off": (State.CANCELLED, Reason.WEBHOOK_INACTIVE),
        "dlv-stays": (State.PENDING, None),
    }


async def test_an_apply_without_changes_writes_nothing(store: Store) -> None:
    """No revision, and no row of one."""
    await apply(store, webhook("a"))
    before = await store.live_state()

    assert await apply(store, webhook("a")) is None
    assert await store.live_state() == before
    assert len(await store.revisions()) == 1


async def test_an_empty_plan_made_before_the_daemon_made_the_store_is_not_stale(store: Store) -> None:
    """A store that was never applied to is as good as none."""
    nothing = make_plan(Desired((), Project(), "digest"), (await read_live(None))[0], unfinished={})

    assert await apply_plan(store, nothing, plan_id="p", by=BY) is None


async def test_a_refused_plan_is_never_published(store: Store) -> None:
    """Whoever calls: the guard is part of the plan."""
    with pytest.raises(RefusedError):
        await apply(store)

    assert await store.live_revision() == 0


async def test_the_loser_changes_nothing(store: Store) -> None:
    """Two plans from one base: the second to come is stale and leaves the store as the first made it."""
    await apply(store, webhook("a"))
    first, second = await plan_for(store, webhook("a"), webhook("b")), await plan_for(store, webhook("c"))
    await apply_plan(store, first, plan_id="first", by=BY)
    before = await store.live_state()

    with pytest.raises(StalePlanError) as caught:
        await apply_plan(store, second, plan_id="second", by=BY)

    assert (caught.value.base_revision, caught.value.live_revision) == (1, 2)
    assert await store.live_state() == before


async def test_the_history_keeps_what_changed(store: Store) -> None:
    """Each revision holds its resource changes, without the unchanged."""
    await apply(store, webhook("a"), webhook("b"))
    await apply(store, webhook("a"), webhook("b", method="PUT"))

    revision = await store.revision(2)

    assert revision is not None
    assert [(item["address"], item["change"]["actions"]) for item in revision.changes] == [("webhook.b", ["update"])]
    assert revision.changes[0]["change"]["after"]["spec"]["method"] == "PUT"
    assert (revision.applied_by, revision.commit) == ("ada", "c0ffee")
