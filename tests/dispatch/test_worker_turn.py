"""Turns of the worker: what has ended is written and what takes its place is claimed, in one transaction."""

import asyncio

from worker_room import flow, open_worker, until

from reconciler.errors import StoreError

FULL = StoreError("the disk is full, nothing was stored: store.db")


async def test_what_ends_gives_its_place_to_the_next_in_the_same_transaction(tmp_path):
    async with open_worker(tmp_path, flow("a", max_concurrency=1)) as room:
        await room.take("r-1", "r-2", "r-3")
        await room.start()
        await room.settled()

        assert await room.states() == {"delivered": 3}
        assert room.store.calls["turn"] == 3
        assert room.store.claimed_with_a_finish == 2


async def test_what_cannot_be_written_with_a_claim_is_written_without(tmp_path):
    """Where the disk is nearly full, what was sent is recorded first."""
    async with open_worker(tmp_path, flow("a", max_concurrency=1)) as room:
        await room.take("r-1", "r-2")
        room.store.broken["turn"] = FULL
        await room.start()

        await until(lambda: room.store.calls["turn"], what="a turn")
        await until(room.worker.is_idle, what="both delivered")

        assert await room.states() == {"delivered": 2}
        assert room.store.calls["finish"] == room.store.calls["turn"] == 2


async def test_claims_that_come_while_the_worker_is_told_to_stop_are_given_back(tmp_path):
    """The store has leased them, and nothing was begun: they are as they were before."""
    async with open_worker(tmp_path, flow("a")) as room:
        await room.take("r-1", "r-2")
        stopping = []
        room.store.on_claimed = lambda: stopping.append(asyncio.create_task(room.worker.drain(timeout_seconds=0)))
        await room.start()
        await until(lambda: stopping, what="a claim")
        await stopping[0]
        await asyncio.wait_for(room.running, 10)

        assert await room.states() == {"pending": 2}
        assert {delivery.attempts for delivery in await room.deliveries()} == {0}
        assert not room.sandbox.requests
