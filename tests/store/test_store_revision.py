"""RevisionStore: applied states, and the compare-and-set that adds one."""

import pytest
from store_make import (
    COMMIT,
    FAR,
    add,
    claim,
    dead,
    delivered,
    make_change_set,
    make_event,
    make_lane,
    make_live,
    publish,
    retried,
    state_of,
)

from reconciler.errors import NotInStoreError, StalePlanError, StoreError
from reconciler.models.delivery import Reason, State
from reconciler.models.webhook import Policy
from reconciler.store.base import Page, Store


async def test_a_new_store_is_at_revision_0_with_a_lineage_of_its_own(store: Store) -> None:
    """Revision 0 is a store never applied to; its lineage is made with it."""
    live = await store.live_state()

    assert (await store.live_revision(), live.revision, live.commit, live.webhooks) == (0, 0, None, ())
    assert len(live.lineage) == 36
    assert await store.revisions() == ()


async def test_publish_makes_the_next_revision_live(store: Store) -> None:
    """What was published is read back whole, by name."""
    one, two = make_live("u1", "zebra", title="Zebra", is_protected=True), make_live("u2", "ant", owner="iam")

    revision = await store.publish(make_change_set(0, [one, two]))

    live = await store.live_state()
    assert (revision.number, await store.live_revision(), live.revision, live.commit) == (1, 1, 1, COMMIT)
    assert [(held.uid, held.webhook.name, held.revision) for held in live.webhooks] == [
        ("u2", "ant", 1),
        ("u1", "zebra", 1),
    ]
    assert live.webhooks[1].webhook == one.webhook
    assert (live.webhooks[1].digest, live.webhooks[1].is_protected, live.webhooks[0].owner) == (one.digest, True, "iam")


async def test_a_store_with_its_lineage_is_applied_to_from_revision_0(store: Store) -> None:
    """A plan made on an empty store knows its lineage; one made without a store has none. Both apply to it."""
    live = await store.live_state()

    assert (await store.publish(make_change_set(0, [make_live("u1", "a")], lineage=live.lineage))).number == 1


async def test_a_moved_base_is_stale_and_changes_nothing(store: Store) -> None:
    """Compare-and-set: the loser learns where the store stands."""
    await publish(store, make_live("u1", "a"))
    lineage = (await store.live_state()).lineage
    await publish(store, make_live("u2", "b"))

    with pytest.raises(StalePlanError, match="from revision 1 to 2") as caught:
        await store.publish(make_change_set(1, [make_live("u3", "c")], lineage=lineage))

    assert (caught.value.base_revision, caught.value.live_revision) == (1, 2)
    assert [held.webhook.name for held in (await store.live_state()).webhooks] == ["a", "b"]
    assert len(await store.revisions()) == 2


async def test_a_plan_is_usable_once(store: Store) -> None:
    """The refusal names the revision that used it."""
    change_set = make_change_set(0, [make_live("u1", "a")], plan_id="plan-1")
    await store.publish(change_set)

    with pytest.raises(StalePlanError, match="applied already: revision 1"):
        await store.publish(change_set)


@pytest.mark.parametrize(("lineage", "base"), [("another", 0), ("another", 1), ("", 1), ("", 0)])
async def test_a_plan_for_another_store_is_stale(store: Store, lineage: str, base: int) -> None:
    """A plan made without a store applies only while there is none; one made for another store never."""
    await publish(store, make_live("u1", "a"))

    with pytest.raises(StalePlanError):
        await store.publish(make_change_set(base, [make_live("u2", "b")], lineage=lineage))


async def test_a_foreign_lineage_is_stale_on_a_new_store(store: Store) -> None:
    """Revision 0 of one store is not revision 0 of another."""
    with pytest.raises(StalePlanError, match="another store"):
        await store.publish(make_change_set(0, [make_live("u1", "a")], lineage="another"))


async def test_any_revision_can_be_rebuilt(store: Store) -> None:
    """Versions are kept per revision, deletions included."""
    await publish(store, make_live("u1", "a", title="first"), make_live("u2", "b"))
    await publish(store, make_live("u1", "a", title="second"), deletes=["u2"])
    await publish(store, make_live("u3", "b"))

    titles = {}
    for number in (0, 1, 2, 3):
        state = await store.live_state(number)
        assert state.revision == number
        titles[number] = [(held.uid, held.webhook.metadata.title, held.revision) for held in state.webhooks]

    assert titles[0] == []
    assert titles[1] == [("u1", "first", 1), ("u2", None, 1)]
    assert titles[2] == [("u1", "second", 2)]
    assert titles[3] == [("u1", "second", 2), ("u3", None, 3)]
    assert (await store.live_state()) == (await store.live_state(3))


@pytest.mark.parametrize("number", [-1, 2, 99])
async def test_a_revision_that_never_was_is_an_error(store: Store, number: int) -> None:
    """The refusal says which one is live."""
    await publish(store, make_live("u1", "a"))

    with pytest.raises(StoreError, match="the live one is 1"):
        await store.live_state(number)


async def test_names_may_swap_in_one_apply(store: Store) -> None:
    """Names move among upserts in any way; uids stay."""
    await publish(store, make_live("u1", "a"), make_live("u2", "b"), make_live("u3", "c"))

    await publish(store, make_live("u1", "b"), make_live("u2", "c"), make_live("u3", "a"))

    live = await store.live_state()
    assert [(held.webhook.name, held.uid) for held in live.webhooks] == [("a", "u3"), ("b", "u1"), ("c", "u2")]


@pytest.mark.parametrize("twin", [["u1", "u2"], ["u2"]])
async def test_two_webhooks_of_one_name_are_refused_whole(store: Store, twin: list[str]) -> None:
    """Names are unique in a store, among the upserts and beside what is live."""
    await publish(store, make_live("u3", "a"))

    with pytest.raises(NotInStoreError, match="one name: a"):
        await publish(store, *(make_live(uid, "a") for uid in twin))

    assert await store.live_revision() == 1


async def test_a_deleted_name_is_free_again_in_the_same_apply(store: Store) -> None:
    """Replace: delete one uid, create another under its name."""
    await publish(store, make_live("u1", "a"))

    await publish(store, make_live("u2", "a"), deletes=["u1"])

    assert [held.uid for held in (await store.live_state()).webhooks] == ["u2"]


async def test_policies_belong_to_owner_and_revision(store: Store) -> None:
    """None leaves the owner's policy as it is."""
    strict, loose = Policy(max_delete_percent=10, allowed_hosts=("a.example",)), Policy()
    await publish(store, make_live("u1", "a"), policy=strict, owner="iam")
    await publish(store, make_live("u2", "b"), policy=None, owner="iam")
    await publish(store, policy=loose, owner="sec")
    await publish(store, policy=loose, owner="iam")

    assert (await store.live_state(0)).policies == {}
    assert (await store.live_state(2)).policies == {"iam": strict}
    assert (await store.live_state()).policies == {"iam": loose, "sec": loose}


async def test_the_history_is_newest_first_in_pages(store: Store) -> None:
    """Listings carry no changes; one revision does, in order."""
    changes = tuple({"address": f"webhook.w{number}", "change": {"after": "\ud800"}} for number in range(1_200))
    await publish(store, make_live("u1", "a"), changes=changes)
    await publish(store, make_live("u2", "b"))
    await publish(store, deletes=["u1"])

    listed = await store.revisions(Page(limit=2))
    rest = await store.revisions(Page(limit=2, before=str(listed[-1].number)))

    assert [(revision.number, revision.changes) for revision in (*listed, *rest)] == [(3, ()), (2, ()), (1, ())]
    assert (listed[0].applied_by, listed[0].commit, listed[0].deleted) == ("ann", COMMIT, 1)
    found = await store.revision(1)
    assert found is not None
    assert found.changes == changes
    assert await store.revision(4) is None
    with pytest.raises(NotInStoreError, match="there is no revision 4"):
        await store.live_state(4)


@pytest.mark.parametrize("before", ["x", "-1", "²", "9" * 30])
async def test_what_is_no_number_of_a_revision_is_said_so(store: Store, before: str) -> None:
    """Whatever somebody writes as `--before`."""
    with pytest.raises(NotInStoreError, match="not the number of a revision"):
        await store.revisions(Page(before=before))


@pytest.mark.parametrize(("is_deleted", "reason"), [(True, Reason.WEBHOOK_DELETED), (False, Reason.WEBHOOK_INACTIVE)])
async def test_pending_deliveries_of_what_is_gone_are_cancelled(
    served: Store, is_deleted: bool, reason: Reason
) -> None:
    """In the transaction of the publish, heads and those that wait for them; other webhooks keep theirs."""
    await add(served, "a", "d1", "d2", "d3", order_key="r")
    await add(served, "a", "d4")
    await add(served, "b", "d5")

    gone = {"deletes": ["a"]} if is_deleted else {}
    await publish(served, *(() if is_deleted else (make_live("a", "a", status="inactive"),)), **gone)

    found = {delivery.id: delivery for delivery in await served.deliveries()}
    assert {found[id_].state for id_ in ("d1", "d2", "d3", "d4")} == {State.CANCELLED}
    assert {found[id_].reason for id_ in ("d1", "d2", "d3", "d4")} == {reason}
    assert (found["d5"].state, found["d1"].next_attempt_at) == (State.PENDING, None)
    assert [claimed.delivery_id for claimed in await claim(served, 10)] == ["d5"]
    assert await served.unfinished() == {"b": 1}


async def test_what_is_in_flight_of_a_deleted_webhook_is_cancelled_when_it_comes_back(served: Store) -> None:
    """Undelivered becomes cancelled, delivered and dead stay what they are; a renewed webhook does not revive them."""
    await add(served, "a", "d1", "d2", "d3", "d4")
    flying = {claimed.delivery_id: claimed for claimed in await claim(served, 10)}
    await publish(served, deletes=["a"])
    assert await state_of(served, "d1") is State.IN_FLIGHT
    await publish(served, make_live("a", "a"))

    lost = await served.finish([retried(flying["d1"], 99), delivered(flying["d2"]), dead(flying["d3"])])
    await served.release([flying["d4"]], due_at=99)

    assert lost == ()
    found = {delivery.id: (delivery.state, delivery.reason) for delivery in await served.deliveries()}
    assert found == {
        "d1": (State.CANCELLED, Reason.WEBHOOK_DELETED),
        "d2": (State.DELIVERED, None),
        "d3": (State.DEAD, Reason.PERMANENT),
        "d4": (State.CANCELLED, Reason.WEBHOOK_DELETED),
    }
    assert await served.unfinished() == {}


async def test_a_webhook_made_active_again_starts_afresh(served: Store) -> None:
    """Cancelled deliveries stay cancelled; new events are delivered."""
    await add(served, "a", "d0", "d1", order_key="r")
    await publish(served, make_live("a", "a", status="inactive"))
    await publish(served, make_live("a", "a"))
    await served.configure(3, [make_lane("a")])

    await add(served, "a", "d2", order_key="r")

    assert [claimed.delivery_id for claimed in await claim(served, 10)] == ["d2"]


async def test_a_renamed_webhook_keeps_its_deliveries(served: Store) -> None:
    """The uid outlives renames; listings show the new name."""
    await add(served, "a", "d1")

    await publish(served, make_live("a", "renamed"))

    (delivery,) = await served.deliveries()
    assert (delivery.webhook, delivery.webhook_uid, delivery.state) == ("renamed", "a", State.PENDING)


async def test_the_unfinished_are_counted_per_webhook(served: Store) -> None:
    """Pending and in flight; a plan says what a delete would cancel."""
    await add(served, "a", "d1", "d2", "d3")
    await add(served, "b", "d4")
    assert await served.unfinished() == {"a": 3, "b": 1}

    (first, *_) = await claim(served, 10, limit=1)
    await served.finish([delivered(first)])

    assert sum((await served.unfinished()).values()) == 3


async def test_a_delivery_shows_the_name_of_a_deleted_webhook(served: Store) -> None:
    """The record outlives the webhook."""
    await add(served, "a", "d1")
    await publish(served, deletes=["a"])

    (delivery,) = await served.deliveries()

    assert delivery.webhook == "a"


async def test_a_large_publish_is_one_revision(store: Store) -> None:
    """Staged in portions, read back whole; unchanged documents are kept once."""
    webhooks = [make_live(f"u{number:04}", f"w{number:04}") for number in range(1_300)]

    await store.publish(make_change_set(0, webhooks))

    live = await store.live_state()
    assert [held.webhook for held in live.webhooks] == [given.webhook for given in webhooks]
    assert {held.revision for held in live.webhooks} == {1}


async def test_an_empty_change_set_is_a_revision_too(store: Store) -> None:
    """Whether there is anything to apply is the plan's judgement, not the store's."""
    assert await publish(store) == 1
    assert await store.accept([make_event("e")], revision=1)
    assert (await store.claim(now=0, lease_until=FAR, limit=1, revision=1, commit=None)) == ()
