"""DeliveryStore.claim_one: one delivery leased out of turn, as if the claim had come to it."""

from store_make import COMMIT, add, claim, claim_ids, delivered, make_lane, retried

from reconciler.models.delivery import DeliveryId
from reconciler.store.base import Claimed, Store

ONE = DeliveryId("d2")


async def claim_one(store: Store, id_: DeliveryId = ONE, *, now: int = 0, **facts: object) -> Claimed | None:
    lane = make_lane("a", **facts)
    return await store.claim_one(id_, lane, now=now, lease_until=now + 100, revision=1, commit=COMMIT)


async def test_one_delivery_is_leased_whatever_waits_before_it(served: Store) -> None:
    """With its attempt recorded as started, fenced by a token of its own."""
    await add(served, "a", "d1", "d2", "d3")

    claimed = await claim_one(served)

    assert claimed is not None
    assert (claimed.delivery_id, claimed.number, claimed.event_id, claimed.started_at) == ("d2", 1, "event d2", 0)
    assert await claim_ids(served, 0) == ["d1", "d3"]
    assert await served.finish([delivered(claimed)]) == ()


async def test_what_is_not_pending_is_not_leased(served: Store) -> None:
    """In flight, finished, unknown."""
    await add(served, "a", "d1", "d2")
    first = await claim_one(served)
    assert first is not None

    assert await claim_one(served) is None
    await served.finish([delivered(first)])
    assert await claim_one(served) is None
    assert await claim_one(served, DeliveryId("nowhere")) is None


async def test_it_needs_no_lane_before(served: Store) -> None:
    """Nobody has configured the store since a webhook was applied; the others stay as they are."""
    await served.configure(1, [make_lane("b")])
    await add(served, "a", "d1", "d2")
    await add(served, "b", "other")

    claimed = await claim_one(served)

    assert claimed is not None
    await served.finish([retried(claimed, 50)])
    assert sorted(await claim_ids(served, 60)) == ["d1", "d2", "other"]


async def test_it_takes_a_token_of_its_pace_key(served: Store) -> None:
    """So that the daemon's own attempts keep the rate after it."""
    await served.configure(1, [make_lane("a", per_second=1.0)])
    await add(served, "a", "d1", "d2")

    await claim_one(served, per_second=1.0)

    assert await claim(served, 999) == ()
    assert await claim_ids(served, 1_000) == ["d1"]
