"""Deliveries as people see them: pages, filters, counts."""

import pytest
from store_make import add, claim, dead, delivered, make_live, publish, retried

from reconciler.errors import NotInStoreError
from reconciler.models.delivery import State
from reconciler.store.base import DeliveryFilter, Page, Store


@pytest.fixture
async def mixed(served: Store) -> Store:
    """One delivery in each state for a (a0 … a4), two pending ones for b."""
    await add(served, "a", "a0", "a1", "a2", "a3")
    claimed = {item.delivery_id: item for item in await claim(served, 0)}
    await served.finish([delivered(claimed["a0"]), dead(claimed["a1"]), retried(claimed["a2"], 9)])
    await add(served, "b", "b0", "b1", at=5)
    await add(served, "a", "a4", at=7)
    return served


async def test_pages_are_newest_first_and_stand_still(mixed: Store) -> None:
    """What arrives meanwhile moves no page."""
    first = await mixed.deliveries(Page(limit=3))
    await add(mixed, "b", "b2", at=9)
    second = await mixed.deliveries(Page(limit=3, before=first[-1].id))
    third = await mixed.deliveries(Page(limit=3, before=second[-1].id))

    assert [delivery.id for delivery in first] == ["a4", "b1", "b0"]
    assert [delivery.id for delivery in second + third] == ["a3", "a2", "a1", "a0"]
    with pytest.raises(NotInStoreError, match="no delivery to continue from: x"):
        await mixed.deliveries(Page(before="x"))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (DeliveryFilter(webhook="b"), ["b1", "b0"]),
        (DeliveryFilter(state=State.PENDING), ["a4", "b1", "b0", "a2"]),
        (DeliveryFilter(state=State.IN_FLIGHT), ["a3"]),
        (DeliveryFilter(state=State.DELIVERED), ["a0"]),
        (DeliveryFilter(state=State.DEAD), ["a1"]),
        (DeliveryFilter(state=State.CANCELLED), []),
        (DeliveryFilter(webhook="a", state=State.PENDING), ["a4", "a2"]),
        (DeliveryFilter(event_id="event a1"), ["a1"]),
        (DeliveryFilter(event_id="event a1", webhook="b"), []),
        (DeliveryFilter(event_id="nowhere"), []),
        (DeliveryFilter(webhook="nobody"), []),
    ],
)
async def test_filters_hold_together(mixed: Store, where: DeliveryFilter, expected: list[str]) -> None:
    """None means any."""
    assert [delivery.id for delivery in await mixed.deliveries(where=where)] == expected


async def test_a_webhook_is_filtered_by_its_live_name(mixed: Store) -> None:
    """After a rename by the new one, with what came before it."""
    await publish(mixed, make_live("b", "bee"))

    assert await mixed.deliveries(where=DeliveryFilter(webhook="b")) == ()
    assert len(await mixed.deliveries(where=DeliveryFilter(webhook="bee"))) == 2


async def test_counts_tell_each_state_of_each_webhook(mixed: Store) -> None:
    """Kept as rows change, so that asking costs nothing; cancelled ones included."""
    await publish(mixed, deletes=["b"])

    counts = await mixed.counts()

    assert counts == {
        "a": {State.PENDING: 2, State.IN_FLIGHT: 1, State.DELIVERED: 1, State.DEAD: 1, State.CANCELLED: 0},
        "b": {State.PENDING: 0, State.IN_FLIGHT: 0, State.DELIVERED: 0, State.DEAD: 0, State.CANCELLED: 2},
    }


async def test_a_delivery_that_is_not_there_is_none(mixed: Store) -> None:
    """Asked for by id."""
    assert await mixed.delivery("nowhere") is None


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("b", ("b0", "b1")), ("a3", ("a3",)), ("a33", ()), ("B", ()), ("%", ()), ("", ("a0", "a1", "a2"))],
)
async def test_ids_are_found_by_how_they_begin(mixed: Store, prefix: str, expected: tuple[str, ...]) -> None:
    """In order and no more than asked for; case counts, and no character is special."""
    assert await mixed.delivery_ids(prefix, limit=3) == expected
    assert await mixed.event_ids(f"event {prefix}", limit=3) == tuple(f"event {found}" for found in expected)
