"""Two intakes and applies over one store, all at once: every event is matched with exactly one revision."""

import asyncio
import json
from collections import defaultdict

from served import publish
from worker_room import START, flow

from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.store.base import Page
from reconciler.store.open import open_store

REVISIONS = 12
REQUESTS = 40  # of each intake, five events each


async def test_events_that_race_with_applies_are_matched_with_the_revision_they_are_stored_under(tmp_path):
    """Revision N has the webhooks w1 to wN: an event's deliveries tell which revision it was matched with."""
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    assert store is not None
    async with store:
        await publish(store, flow("w1"))
        is_over = asyncio.Event()

        async def apply() -> None:
            for number in range(2, REVISIONS + 1):
                await publish(store, *(flow(f"w{index}") for index in range(1, number + 1)))
                await asyncio.sleep(0.01)  # pace: more than five applies within one request is a fault, by design
            is_over.set()

        async def take(name: str) -> int:
            live = Live(store)
            intake = Intake(store, live, now=lambda: START, wake=lambda: None)
            await live.refresh()
            sent = 0
            while sent < REQUESTS or not is_over.is_set():
                events = [event(f"{name}-{sent}-{index}") for index in range(5)]
                answer = await intake.take(json.dumps(events).encode(), source="test")
                assert answer.accepted == 5
                sent += 1
            return sent

        _, one, two = await asyncio.gather(apply(), take("one"), take("two"))

        matched = defaultdict(set)
        for delivery in await store.deliveries(Page(100_000)):
            matched[delivery.event_id].add(delivery.webhook)
        stored = await store.events(Page(100_000))
        assert len(stored) == 5 * (one + two)
        for found in stored:
            assert matched[found.id] == {f"w{index}" for index in range(1, found.revision + 1)}
        assert len({found.revision for found in stored}) > 1


def event(request: str) -> dict[str, object]:
    return {"event_type": "AccessRequestCreated", "event_time": 1, "data": {"id": request}}
