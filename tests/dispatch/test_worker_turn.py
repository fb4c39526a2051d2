"""Turns of the worker: what has ended is written and what takes its place is claimed, in one transaction."""

import asyncio

from worker_room import flow, open_worker, until

from reconciler.dispatch.alone import Alone
from reconciler.dispatch.clock import Clock
from reconciler.errors import StoreError
from reconciler.sandbox.script import Line

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


async def test_what_is_due_at_the_start_is_claimed_at_once(tmp_path):
    """Also by a worker whose store cannot tell when something is due, as that of one delivery alone."""
    async with open_worker(tmp_path, flow("a")) as room:
        alone = Alone(
            store=room.store,
            live=room.live,
            webhook_uid=next(iter(room.live.snapshot.webhooks)),
            deliverer=room.deliverer,
            resolver=room.resolver,
            clock=Clock(now=room.clock.now, monotonic=room.clock.monotonic),
        )
        await room.take("r-1")
        assert await alone.start() is not None

        async with asyncio.timeout(5):
            await alone.send((await room.only()).id)

        assert await room.states() == {"delivered": 1}


async def test_results_are_written_while_the_store_is_slow_to_read(tmp_path):
    """A page that lists all day must not keep what was sent out of the store."""
    async with open_worker(tmp_path, flow("a")) as room:
        answer, read = asyncio.Event(), asyncio.Event()
        room.sandbox.add_script(Line(delay=0.2))
        slow = room.store.next_wake_at

        async def next_wake_at():
            if room.sandbox.requests:
                answer.set()
                await read.wait()
            return await slow()

        room.store.next_wake_at = next_wake_at
        await room.take("r-1")
        await room.start()
        async with asyncio.timeout(10):
            await answer.wait()
        await until(lambda: room.store.calls["turn"] + room.store.calls["finish"], what="the result written")
        read.set()
        await room.settled()

        assert await room.states() == {"delivered": 1}


async def test_results_that_come_while_no_claim_can_be_written_are_written_first(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        room.sandbox.add_script(Line(delay=0.2))
        await room.take("r-1")
        await room.start()
        await until(lambda: room.sandbox.requests, what="the request")
        room.store.broken["claim"] = FULL
        room.worker.wake()
        await until(lambda: room.store.calls["finish"], what="the result written")

        await until(lambda: is_delivered(room), what="the record")
        room.store.broken.clear()


async def is_delivered(room) -> bool:
    return (await room.only()).state == "delivered"
