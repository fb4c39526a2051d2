"""Interventions: which deliveries a selection means, what replaying and cancelling does to them, and what never."""

from collections.abc import Mapping
from typing import Any

import pytest
from store_make import (
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
from reconciler.models.delivery import Action, Intervention, Reason, State
from reconciler.store import operate as contract
from reconciler.store.base import DeliveryFilter, Page, Store
from reconciler.store.operate import Portion, Selection, Terms, Verdict

AT = 1_700_000_000_000  # what the daemon of these tests has on its clock
DEAD = Selection(states=(State.DEAD,))
ALL = Selection()


def replay(key: str = "k1", **facts: Any) -> Intervention:
    return Intervention(key, Action.REPLAY, AT, "ann", **facts)


def cancel(key: str = "k1", **facts: Any) -> Intervention:
    return Intervention(key, Action.CANCEL, AT, "ann", **facts)


def counts(portion: Portion) -> Mapping[str, Mapping[Verdict, int]]:
    return {name: dict(of) for name, of in portion.counts.items()}


@pytest.fixture
async def mixed(served: Store) -> Store:
    """Of webhook a one delivery in each state (delivered, dead, pending, in_flight), of b two dead ones."""
    await add(served, "a", "delivered", "dead", "pending", "in_flight")
    claimed = {item.delivery_id: item for item in await claim(served, 0)}
    await served.finish(
        [delivered(claimed["delivered"]), dead(claimed["dead"]), retried(claimed["pending"], 9, give_up_at=500)]
    )
    await add(served, "b", "b0", "b1", at=5)
    await served.finish([dead(item, Reason.EXHAUSTED) for item in await claim(served, 5)])
    return served


async def test_a_replayed_delivery_is_due_again_with_a_fresh_budget_and_its_history(mixed: Store) -> None:
    """Attempts are numbered on, none of them counts; who and why is kept."""
    portion = await mixed.intervene(Selection(ids=("dead",)), replay(reason="mended"))

    delivery, attempts = await mixed.delivery("dead") or pytest.fail("it is gone")
    assert (counts(portion), portion.first, portion.following) == ({"a": {Verdict.DONE: 1}}, ("dead",), None)
    assert (delivery.state, delivery.reason, delivery.outcome) == (State.PENDING, None, None)
    assert (delivery.next_attempt_at, delivery.attempts, delivery.replays) == (AT, 1, 1)
    assert [attempt.number for attempt in attempts] == [1]
    (kept,) = delivery.interventions
    assert (kept.key, kept.action, kept.given_at, kept.given_by) == ("k1", Action.REPLAY, AT, "ann")
    assert (kept.reason, kept.after_attempt) == ("mended", 1)
    assert await claim_ids(mixed, AT - 1) == ["pending"]
    (claimed,) = await claim(mixed, AT)
    assert (claimed.delivery_id, claimed.number, claimed.counted, claimed.give_up_at) == ("dead", 2, 0, None)


async def test_what_cannot_be_replayed_is_said_and_left_alone(mixed: Store) -> None:
    """Pending and in flight; of a webhook that is inactive or deleted everything."""
    await add(mixed, "c", "c0")
    (claimed,) = await claim(mixed, 5)
    await mixed.finish([dead(claimed)])
    await publish(mixed, make_live("b", "b", status="inactive"), deletes=["c"])
    before = [await mixed.delivery(id_) for id_ in ("pending", "in_flight", "b0", "b1", "c0")]

    planned = await mixed.survey(ALL, Action.REPLAY)
    portion = await mixed.intervene(ALL, replay())

    assert counts(portion) == counts(planned)
    assert counts(portion) == {
        "a": {Verdict.DONE: 2, Verdict.PENDING: 1, Verdict.IN_FLIGHT: 1},
        "b": {Verdict.WEBHOOK_INACTIVE: 2},
        "c": {Verdict.WEBHOOK_DELETED: 1},
    }
    assert portion.done == 2
    assert [await mixed.delivery(id_) for id_ in ("pending", "in_flight", "b0", "b1", "c0")] == before


async def test_a_survey_changes_nothing(mixed: Store) -> None:
    """It says what would be done."""
    before = await mixed.deliveries()

    portion = await mixed.survey(DEAD, Action.REPLAY)

    assert counts(portion) == {"a": {Verdict.DONE: 1}, "b": {Verdict.DONE: 2}}
    assert portion.first == ("dead", "b0", "b1")
    assert await mixed.deliveries() == before


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Selection(ids=("dead", "b1", "nowhere")), ["dead", "b1"]),
        (Selection(webhooks=("a",)), ["delivered", "dead"]),
        (Selection(webhooks=("b", "nobody")), ["b0", "b1"]),
        (Selection(webhooks=("*",), states=(State.DEAD,)), ["dead", "b0", "b1"]),
        (Selection(webhooks=("nobody",)), []),
        (Selection(states=(State.DELIVERED,)), ["delivered"]),
        (Selection(states=(State.DELIVERED, State.DEAD)), ["delivered", "dead", "b0", "b1"]),
        (Selection(reasons=(Reason.EXHAUSTED,)), ["b0", "b1"]),
        (Selection(reasons=(Reason.PERMANENT, Reason.EXHAUSTED)), ["dead", "b0", "b1"]),
        (Selection(event_id="event b0"), ["b0"]),
        (Selection(event_id="event b0", states=(State.DEAD,)), ["b0"]),
        (Selection(event_id="event b0", states=(State.DELIVERED,)), []),
        (Selection(event_types=("AccessRequestCreated",), states=(State.DEAD,)), ["dead", "b0", "b1"]),
        (Selection(event_types=("RequestGranted",)), []),
        (Selection(accepted_since=5), ["b0", "b1"]),
        (Selection(accepted_before=5), ["delivered", "dead"]),
        (Selection(accepted_since=0, accepted_before=0), []),
    ],
)
async def test_a_selection_holds_together(mixed: Store, where: Selection, expected: list[str]) -> None:
    """What is empty narrows nothing."""
    portion = await mixed.intervene(where, replay())

    assert list(portion.first) == expected
    assert portion.done == len(expected)
    replayed = [delivery.id for delivery in await mixed.deliveries() if delivery.replays]
    assert sorted(replayed) == sorted(expected)


async def test_replaying_twice_sends_once(mixed: Store) -> None:
    """While it is pending or in flight nothing is added, whatever key it is asked under."""
    await mixed.intervene(DEAD, replay("k1"))
    again = await mixed.intervene(Selection(ids=("dead", "b0", "b1")), replay("k2"))
    claimed = await claim(mixed, AT)
    third = await mixed.intervene(Selection(ids=("dead", "b0", "b1")), replay("k3"))

    assert counts(again) == {"a": {Verdict.PENDING: 1}, "b": {Verdict.PENDING: 2}}
    assert counts(third) == {"a": {Verdict.IN_FLIGHT: 1}, "b": {Verdict.IN_FLIGHT: 2}}
    assert sorted(item.delivery_id for item in claimed) == ["b0", "b1", "dead", "pending"]


async def test_a_key_reaches_a_delivery_once(mixed: Store) -> None:
    """An intervention that was interrupted is carried out again from its start; what it has done stays done."""
    await mixed.intervene(Selection(ids=("delivered",)), replay("k1"))
    (claimed,) = [item for item in await claim(mixed, AT) if item.delivery_id == "delivered"]
    await mixed.finish([delivered(claimed)])

    again = await mixed.intervene(Selection(ids=("delivered",)), replay("k1"))
    other = await mixed.intervene(Selection(ids=("delivered",)), replay("k2"))

    assert counts(again) == {"a": {Verdict.REPEATED: 1}}
    assert counts(other) == {"a": {Verdict.DONE: 1}}


async def test_a_key_belongs_to_one_action(mixed: Store) -> None:
    """A cancel cannot go on under the key of a replay, nor be told that what was replayed is cancelled already."""
    await mixed.intervene(Selection(ids=("dead",)), replay("k1"))

    for meant in ("pending", "dead"):
        with pytest.raises(NotInStoreError, match="the key is that of another deed, a replay: k1"):
            await mixed.intervene(Selection(ids=(meant,)), cancel("k1"))
    assert await state_of(mixed, "pending") == State.PENDING


async def test_a_replay_under_a_new_id_is_a_delivery_of_its_own(mixed: Store) -> None:
    """The old one stays as it was; the new one says whose replay it is, and starts at attempt 1."""
    old = await mixed.delivery("dead")
    portion = await mixed.intervene(Selection(ids=("dead",)), replay(reason="why"), terms=Terms(is_new_id=True))
    again = await mixed.intervene(Selection(ids=("dead",)), replay("k2"), terms=Terms(is_new_id=True))

    assert (counts(portion), counts(again)) == ({"a": {Verdict.DONE: 1}}, {"a": {Verdict.PENDING: 1}})
    found = await mixed.delivery("dead")
    assert old is not None and found is not None
    assert (found[0].state, found[1]) == (State.DEAD, old[1])
    (new,) = [delivery for delivery in await mixed.deliveries() if delivery.replay_of]
    assert (new.replay_of, new.event_id, new.webhook, new.state) == ("dead", "event dead", "a", State.PENDING)
    assert new.id not in ("dead", "")
    shown, attempts = await mixed.delivery(new.id) or pytest.fail("it is gone")
    assert (attempts, [item.reason for item in shown.interventions]) == ((), ["why"])
    (claimed,) = [item for item in await claim(mixed, AT) if item.delivery_id == new.id]
    assert (claimed.number, claimed.event_id) == (1, "event dead")
    await mixed.finish([delivered(claimed)])
    third = await mixed.intervene(Selection(ids=("dead",)), replay("k3"), terms=Terms(is_new_id=True))
    assert counts(third) == {"a": {Verdict.DONE: 1}}


async def test_replays_may_be_spread(mixed: Store) -> None:
    """One each interval, beginning after a delay."""
    await mixed.intervene(DEAD, replay(), terms=Terms(delay_ms=100, interval_us=1_500))

    due = {item.id: item.next_attempt_at for item in await mixed.deliveries() if item.replays}
    assert due == {"dead": AT + 100, "b0": AT + 101, "b1": AT + 103}


async def test_a_replay_holds_up_nothing_that_is_fresh(served: Store) -> None:
    """However many there are: what is accepted after it goes first, under either kind of id, and after fresh-first."""
    await add(served, "a", *(f"old{n}" for n in range(9)))
    await served.finish([dead(item) for item in await claim(served, 0)])
    await served.intervene(DEAD, replay("k1"))
    await served.intervene(Selection(ids=("old0",)), cancel("k2"))
    await served.intervene(Selection(ids=("old0",)), replay("k3"), terms=Terms(is_new_id=True))
    await add(served, "a", "new", at=AT + 10)
    await served.resume("a", fresh_first=True)
    await add(served, "a", "newer", at=AT + 20)

    (newer,) = await claim(served, AT + 20, limit=1)
    assert newer.delivery_id == "newer"
    await served.finish([retried(newer, AT + 30)])
    assert (await claim_ids(served, AT + 30))[:2] == ["newer", "new"]


async def test_replays_are_unordered(served: Store) -> None:
    """One waits for nothing, and nothing that is accepted later waits for it."""
    await add(served, "a", "d1", "d2", order_key="r", hold_until=2 * AT)
    (first,) = await claim(served, 0)
    await served.finish([dead(first)])
    await served.intervene(Selection(ids=("d1",)), replay())
    await add(served, "a", "d3", order_key="r", hold_until=2 * AT)

    assert await claim_ids(served, AT) == ["d2", "d1"]
    assert await claim_ids(served, AT) == []


async def test_a_new_delivery_does_not_wait_for_a_replay(served: Store) -> None:
    """Of an order key whose last delivery is a replay that is pending."""
    await add(served, "a", "d1", order_key="r")
    await served.finish([dead(item) for item in await claim(served, 0)])
    await served.intervene(Selection(ids=("d1",)), replay(), terms=Terms(delay_ms=10**9))
    await add(served, "a", "d2", order_key="r")

    assert await claim_ids(served, AT) == ["d2"]


async def test_cancelling_takes_what_is_pending_and_marks_what_is_in_flight(mixed: Store) -> None:
    """In flight it is cancelled when it comes back undelivered; what is finished stays."""
    (item,) = [found for found in await mixed.expired(now=None) if found.delivery_id == "in_flight"]

    planned = await mixed.survey(Selection(webhooks=("a",)), Action.CANCEL)
    portion = await mixed.intervene(Selection(webhooks=("a",)), cancel(reason="wrong"))
    await mixed.finish([retried(item, 10)])

    assert counts(planned) == counts(portion)
    assert counts(portion) == {"a": {Verdict.DONE: 1, Verdict.WHEN_BACK: 1, Verdict.FINISHED: 2}}
    for id_ in ("pending", "in_flight"):
        delivery, _ = await mixed.delivery(id_) or pytest.fail("it is gone")
        assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.OPERATOR)
        assert [(kept.action, kept.reason) for kept in delivery.interventions] == [(Action.CANCEL, "wrong")]
    assert (await state_of(mixed, "dead"), await state_of(mixed, "delivered")) == (State.DEAD, State.DELIVERED)
    assert await claim_ids(mixed, AT) == []


async def test_what_is_delivered_meanwhile_is_not_cancelled(mixed: Store) -> None:
    """The receiver has it."""
    (item,) = [found for found in await mixed.expired(now=None) if found.delivery_id == "in_flight"]
    await mixed.intervene(Selection(ids=("in_flight",)), cancel())

    await mixed.finish([delivered(item)])

    assert await state_of(mixed, "in_flight") == State.DELIVERED


async def test_a_cancelled_delivery_may_be_replayed(mixed: Store) -> None:
    """Both are kept, in order."""
    await mixed.intervene(Selection(ids=("pending",)), cancel("k1"))
    portion = await mixed.intervene(Selection(states=(State.CANCELLED,)), replay("k2"))

    delivery, _ = await mixed.delivery("pending") or pytest.fail("it is gone")
    assert (portion.done, delivery.state) == (1, State.PENDING)
    assert [(kept.action, kept.after_attempt) for kept in delivery.interventions] == [
        (Action.CANCEL, 1),
        (Action.REPLAY, 1),
    ]


async def test_cancelling_the_first_of_an_order_lets_the_next_one_go(served: Store) -> None:
    """And those after it wait for that one."""
    await add(served, "a", "d1", "d2", "d3", order_key="r")

    await served.intervene(Selection(ids=("d1",)), cancel())

    assert await claim_ids(served, 0) == ["d2"]


async def test_cancelling_in_the_middle_of_an_order_lets_nothing_pass(served: Store) -> None:
    """What waited for the cancelled one waits for what came before it, and so does what is accepted later."""
    await add(served, "a", "d1", "d2", "d3", order_key="r")
    (first,) = await claim(served, 0)

    await served.intervene(Selection(ids=("d2", "d3")), cancel())
    await add(served, "a", "d4", order_key="r")

    assert await claim_ids(served, 0) == []
    await served.finish([delivered(first)])
    assert await claim_ids(served, 0) == ["d4"]


async def test_a_cancelled_tail_blocks_nobody(served: Store) -> None:
    """The last of an order was cancelled while it waited, and what came before it is done."""
    await add(served, "a", "d1", "d2", order_key="r")
    (first,) = await claim(served, 0)
    await served.intervene(Selection(ids=("d2",)), cancel())
    await served.finish([delivered(first)])

    await add(served, "a", "d3", order_key="r")

    assert await claim_ids(served, 0) == ["d3"]


async def test_a_large_selection_is_walked_in_portions(served: Store) -> None:
    """Each delivery once; what is accepted meanwhile is none of it."""
    revision = await served.live_revision()
    for start in range(0, 2_500, 500):
        events = [make_event(f"e{n}", make_delivery(f"d{n}", "a", 0)) for n in range(start, start + 500)]
        await served.accept(events, revision=revision)
    where, at, sizes = Selection(webhooks=("a",)), None, []
    while True:
        portion = await served.intervene(where, cancel(), at=at)
        sizes.append(portion.done)
        await add(served, "a", f"later{len(sizes)}")
        at = portion.following
        if at is None:
            break

    assert sum(sizes) == 2_500 and max(sizes) <= contract.PORTION_ROWS
    found = (await served.counts())["a"]  # type: ignore[index]
    assert (found[State.CANCELLED], found[State.PENDING]) == (2_500, len(sizes))


async def test_a_place_that_nobody_gave_is_refused(served: Store) -> None:
    """With what to do."""
    for at in ("", "x", "1", "1-x", "-", "1-2-3", "9" * 40):
        with pytest.raises(NotInStoreError, match="no place to continue from"):
            await served.survey(ALL, Action.REPLAY, at=at)


async def test_texts_of_operators_are_kept_as_they_are(mixed: Store) -> None:
    """Quotes, other scripts, what looks like SQL."""
    odd = "it's “odd” — '); DROP TABLE deliveries; --"
    await mixed.intervene(Selection(ids=("dead", odd), webhooks=("a",), event_types=()), replay(reason=odd))
    nothing = await mixed.intervene(Selection(event_id=odd, webhooks=(odd,), event_types=(odd,)), replay("k2"))

    delivery, _ = await mixed.delivery("dead") or pytest.fail("it is gone")
    assert delivery.interventions[0].reason == odd
    assert nothing == Portion({}, (), None)


async def test_the_counters_follow(mixed: Store) -> None:
    """As for whatever writes deliveries."""
    await mixed.intervene(ALL, replay("k1"), terms=Terms(is_new_id=True))
    await mixed.intervene(Selection(ids=("pending",)), cancel("k2"))

    found = await mixed.counts()

    for uid, of in found.items():
        for state in State:
            listed = await mixed.deliveries(Page(1000), where=DeliveryFilter(webhook=uid, state=state))
            assert of[state] == len(listed), (uid, state)
    assert found["a"][State.PENDING] == 2  # type: ignore[index]
