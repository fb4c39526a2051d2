"""Retention: what is old and over goes, with all that hangs on it; what somebody still needs stays."""

import pytest
from store_make import (
    HOUR,
    add,
    claim,
    claim_ids,
    dead,
    delivered,
    make_delivery,
    make_event,
    make_live,
    publish,
    retried,
    state_of,
)

from reconciler.errors import NotInStoreError
from reconciler.models.delivery import Action, Intervention, State
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import EventStatus, Store
from reconciler.store.match_error import NewMatchError
from reconciler.store.operate import Selection, Terms
from reconciler.store.retention import Pruned

DAY = 24 * HOUR


async def prune_all(store: Store, before: int) -> Pruned:
    total = await store.prune(before=before)
    while total.following is not None:
        total = total.plus(await store.prune(before=before, at=total.following))
    return total


async def deliver(store: Store, uid: str, *ids: str, at: int) -> None:
    await add(store, uid, *ids, at=at)
    await store.finish([delivered(claimed, at=at) for claimed in await claim(store, at)])


async def ids_of(store: Store) -> list[str]:
    return [event.id for event in await store.events()]


async def test_what_is_old_and_finished_goes_with_its_attempts(served: Store) -> None:
    """An event goes whole: deliveries, attempts, match errors."""
    await deliver(served, "a", "d1", "d2", at=0)
    await deliver(served, "a", "d3", at=10 * DAY)

    pruned = await prune_all(served, 5 * DAY)

    assert pruned == Pruned(events=2, deliveries=2, attempts=2)
    assert await ids_of(served) == ["event d3"]
    assert await served.delivery("d1") is None
    assert await prune_all(served, 5 * DAY) == Pruned()


async def test_counts_keep_what_is_pruned(served: Store) -> None:
    """How much was ever delivered is no matter of what is kept."""
    await add(served, "a", "d1", "d2", at=0)
    one, other = await claim(served, 0)
    await served.finish([delivered(one, at=0), dead(other, at=0)])
    await add(served, "a", "d3", at=DAY)
    before = await served.counts()

    await prune_all(served, HOUR)

    assert await served.counts() == before
    assert before[WebhookUid("a")][State.DELIVERED] == before[WebhookUid("a")][State.DEAD] == 1
    assert await served.unfinished() == {"a": 1}


async def test_what_is_pending_or_in_flight_keeps_its_event(served: Store) -> None:
    """However old it is; and with it what else became of the event."""
    shared = make_event("shared", make_delivery("sa", "a", 0), make_delivery("sb", "b", 0))
    await served.accept([shared], revision=1)
    await add(served, "b", "late", at=DAY)
    claims = {str(claimed.delivery_id): claimed for claimed in await claim(served, 0)}
    await served.finish([delivered(claims["sa"], at=0)])

    assert await prune_all(served, HOUR) == Pruned()
    await served.finish([retried(claims["sb"], 2 * DAY, at=0)])
    assert await prune_all(served, HOUR) == Pruned()

    assert await state_of(served, "sa") is State.DELIVERED
    assert await claim_ids(served, 2 * DAY) == ["late", "sb"]


async def test_an_attempt_since_keeps_its_event(served: Store) -> None:
    """Every attempt is kept for the whole time, be it that of a replay."""
    await deliver(served, "a", "d1", "newest", at=0)
    how = Intervention("again", Action.REPLAY, 9 * DAY, "ann")
    await served.intervene(Selection(ids=("d1",)), how)
    await served.finish([delivered(claimed, at=9 * DAY) for claimed in await claim(served, 9 * DAY)])

    assert await prune_all(served, 5 * DAY) == Pruned()

    assert (await prune_all(served, 10 * DAY)) == Pruned(events=1, deliveries=1, attempts=2)


async def test_a_replay_under_a_new_id_goes_with_its_original(served: Store) -> None:
    """They are of one event."""
    await deliver(served, "a", "d1", at=0)
    how = Intervention("anew", Action.REPLAY, DAY, "ann")
    await served.intervene(Selection(ids=("d1",)), how, terms=Terms(is_new_id=True))
    await served.finish([delivered(claimed, at=DAY) for claimed in await claim(served, DAY)])
    await deliver(served, "a", "d2", at=3 * DAY)

    assert await prune_all(served, 2 * DAY) == Pruned(events=1, deliveries=2, attempts=2)


async def test_quarantined_events_and_match_errors_go_too(served: Store) -> None:
    """What nobody mended in all that time."""
    bad = make_event("bad", problem="not JSON")
    untold = make_event("untold", match_errors=(NewMatchError(WebhookUid("a"), "no such field"),))
    await served.accept([bad, untold], revision=1)
    await add(served, "a", "d1", at=DAY)

    assert await prune_all(served, HOUR) == Pruned(events=2)

    assert await served.match_errors() == ()
    assert await served.events(status=EventStatus.QUARANTINED) == ()


async def test_an_event_that_is_gone_is_new_when_it_comes_again(served: Store) -> None:
    """How long an event is known is how long it is kept."""
    await deliver(served, "a", "d1", at=0)
    await deliver(served, "a", "d2", at=DAY)
    event = make_event("event d1", make_delivery("d1", "a", 0))
    assert await served.accept([event], revision=1) == (EventStatus.DUPLICATE,)

    await prune_all(served, HOUR)

    assert await served.accept([event], revision=1) == (EventStatus.ACCEPTED,)


async def test_the_newest_rows_stay_so_that_no_number_comes_twice(served: Store) -> None:
    """A place in a listing, and a portion's end, must not come to mean other rows."""
    await deliver(served, "a", "d1", "d2", at=0)

    await prune_all(served, DAY)

    assert await ids_of(served) == ["event d2"]


async def test_order_holds_over_what_is_gone(served: Store) -> None:
    """The next of an access request waits for the one before it, and for nothing that was pruned."""
    await add(served, "a", "r1", at=0, order_key="R")
    (first,) = await claim(served, 0)
    await served.finish([delivered(first, at=0)])
    await add(served, "b", "other", at=0)
    await prune_all(served, HOUR)

    await add(served, "a", "r2", "r3", at=DAY, order_key="R")

    second, other = sorted(await claim(served, DAY), key=lambda claimed: claimed.delivery_id, reverse=True)
    assert (second.delivery_id, other.delivery_id) == ("r2", "other")
    await served.finish([delivered(second, at=DAY)])
    assert await claim_ids(served, DAY) == ["r3"]


async def test_an_event_wanted_by_very_many_goes_in_many_steps(served: Store) -> None:
    """No step is larger for it, and in between the store is whole."""
    await publish(served, *(make_live(f"w{number}", f"w{number}") for number in range(1200)))
    fan_out = [make_delivery(f"d{number}", f"w{number}", 0) for number in range(1200)]
    await served.accept([make_event("wide", *fan_out)], revision=2)
    stop, wide = Intervention("stop", Action.CANCEL, 0, "ann"), Selection(event_id="wide")
    portion = await served.intervene(wide, stop)
    await served.intervene(wide, stop, at=portion.following)
    await served.accept([make_event("last", make_delivery("last", "a", 0), at=DAY)], revision=2)

    steps = [await served.prune(before=HOUR)]
    while steps[-1].following is not None:
        steps.append(await served.prune(before=HOUR, at=steps[-1].following))

    assert [step.deliveries for step in steps] == [250, 250, 250, 250, 200]
    assert sum(step.events for step in steps) == 1


async def test_large_events_go_a_few_at_a_time(served: Store) -> None:
    """A step is bounded by bytes as well."""
    large = [make_event(f"e{number}", raw=b"x" * 262_144) for number in range(20)]
    for event in large:
        await served.accept([event], revision=1)
    await add(served, "a", "d1", at=DAY)

    step = await served.prune(before=HOUR)

    assert 0 < step.events < 20
    assert (await prune_all(served, HOUR)).events == 20 - step.events


async def test_many_events_that_must_stay_are_passed_over(served: Store) -> None:
    """A backlog that is older than the time does not keep what came after it."""
    await add(served, "a", *(f"p{number}" for number in range(300)), at=0)
    await add(served, "b", "d1", "d2", at=HOUR)
    done = [claimed for claimed in await claim(served, HOUR, limit=1000) if claimed.webhook_uid == "b"]
    await served.finish([delivered(claimed, at=HOUR) for claimed in done])

    assert (await prune_all(served, DAY)).events == 1


async def test_a_place_that_nothing_gave_is_refused(served: Store) -> None:
    """Rather than begun at anywhere."""
    await deliver(served, "a", "d1", at=0)

    with pytest.raises(NotInStoreError, match="there is no place to continue from: x"):
        await served.prune(before=DAY, at="x")


async def test_the_load_tells_what_is_left_to_do_and_how_much_fits(served: Store) -> None:
    """What backpressure goes by."""
    await deliver(served, "a", "d1", at=0)
    await add(served, "a", "d2", "d3", at=DAY)

    load = await served.load()

    assert load.unfinished == 2
    assert load.free_bytes is not None
    assert load.total_bytes is not None
    assert load.total_bytes > 0
