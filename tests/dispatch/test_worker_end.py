"""How a worker ends, is succeeded, and outlasts a store that is away."""

import asyncio
import contextlib
import io
import json
import socket

import pytest
from worker_room import START, flow, open_worker, until

from reconciler.dispatch import patience
from reconciler.dispatch import worker as worker_module
from reconciler.dispatch.attempt import conclude
from reconciler.dispatch.clock import Clock
from reconciler.dispatch.worker import Worker, WorkerSettings
from reconciler.egress.deliver import Deliverer
from reconciler.errors import StoreError, StoreLostError
from reconciler.models.delivery import AttemptResult
from reconciler.observe.log import configure, silence
from reconciler.sandbox.script import Line
from reconciler.settings import EgressSettings

HANG = Line(drop=True, times=10_000)


@pytest.fixture
def log_lines():
    """What is logged, as JSON."""
    stream = io.StringIO()
    configure("json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    silence()


async def test_a_drain_waits_for_what_is_in_flight(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        room.sandbox.add_script(Line(delay=0.3))
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1)

        await room.drain(seconds=10)

        assert ((await room.only()).state, (await room.only()).attempts) == ("delivered", 1)


async def test_what_was_written_and_takes_too_long_ends_unknown(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        room.sandbox.add_script(HANG)
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1)

        await room.drain(seconds=0.1)

        delivery = await room.only()
        assert (delivery.state, delivery.attempts, delivery.outcome) == ("pending", 1, "unknown")
        [attempt] = await room.attempts()
        assert attempt.result["fault"] == "shutdown"


async def test_what_waits_in_the_gate_is_given_back_as_if_never_attempted(tmp_path):
    """The store's clock has turned, the gate's has not: what the store lets through waits before its first byte."""
    async with open_worker(tmp_path, flow("a", rate_limit={"per_second": 0.01, "burst": 1})) as room:
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.clock.at += 100_000
        await room.take("r-2")
        await until(lambda: room.worker.in_flight == 1)

        await asyncio.wait_for(room.drain(seconds=10), 2)

        second = (await room.deliveries())[1]
        assert (second.state, second.attempts, second.outcome) == ("pending", 0, None)
        assert len(room.sandbox.requests) == 1


async def test_what_has_not_connected_is_given_back_as_if_never_attempted(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        with silent_port() as port:
            room.sandbox.port = port
            async with other_worker(room) as worker:
                await room.take("r-1")
                await until(lambda: worker.in_flight == 1)
                await worker.drain(timeout_seconds=10)

        delivery = await room.only()
        assert (delivery.state, delivery.attempts) == ("pending", 0)
        assert await room.attempts() == ()


async def test_a_claim_that_has_not_begun_is_given_back(tmp_path):
    """A drain that comes between the claim and the first step of its tasks."""
    async with open_worker(tmp_path, flow("a", max_concurrency=64)) as room:
        await room.take(*(f"r-{number}" for number in range(20)))
        drains = []
        room.store.on_claimed = lambda: drains.append(asyncio.create_task(room.worker.drain(timeout_seconds=5)))

        await room.start()
        await asyncio.wait_for(room.running, 5)
        await asyncio.gather(*drains)

        assert await room.states() == {"pending": 20}
        assert {delivery.attempts for delivery in await room.deliveries()} == {0}
        assert room.sandbox.requests == []


async def test_a_second_wish_cuts_the_drain_short(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        room.sandbox.add_script(HANG)
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1)
        draining = asyncio.create_task(room.drain(seconds=60))
        await asyncio.sleep(0)

        room.worker.cut()
        await asyncio.wait_for(draining, 5)

        assert (await room.only()).outcome == "unknown"


async def test_a_drain_with_a_store_that_stays_away_ends_with_its_error(tmp_path, monkeypatch):
    """What has finished cannot be written; the lease will close it as unknown, and the daemon says why."""
    monkeypatch.setattr(worker_module, "LAST_WRITES_SECONDS", 0.0)
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()
        room.store.broken["finish"] = StoreError("the disk is full, nothing was stored: store.db")
        await room.take("r-1")
        await until(lambda: room.store.calls["finish"] >= 1, what="a first try")

        await room.worker.drain(timeout_seconds=0)

        assert "the disk is full" in str(await failure_of(room))
        assert (await room.only()).state == "in_flight"


async def test_a_successor_closes_what_a_killed_worker_left(tmp_path):
    """As unknown, counted, and by the webhook's policy."""
    async with open_worker(tmp_path, flow("a", retry={"retry_unknown": False})) as room:
        await room.take("r-1")
        await room.worker.start()
        [_] = await room.store.claim(now=START, lease_until=START + 10**6, limit=9, revision=1, commit=None)

        await room.start()

        delivery = await room.only()
        assert (delivery.state, delivery.reason, delivery.attempts) == ("dead", "unknown", 1)
        [attempt] = await room.attempts()
        assert (attempt.number, attempt.result["fault"]) == (1, "lease_expired")


async def test_a_worker_whose_lease_was_taken_over_writes_nothing(tmp_path, log_lines):
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["1s"]})) as room:
        room.sandbox.add_script(Line(delay=0.4))
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1)
        [taken] = await room.store.expired(now=None)
        thief = conclude(
            taken, flow("a", retry={"schedule": ["1h"]}), AttemptResult(detail="stolen"), now=START, rand=0.5
        )
        await room.store.finish([thief])

        await until(lambda: [line for line in log_lines() if line["event"] == "delivery.lease_lost"])

        [attempt] = await room.attempts()
        assert attempt.result["detail"] == "stolen"


async def test_an_own_attempt_is_not_closed_for_its_lease(tmp_path):
    """After a long stop (SIGSTOP) the worker's own lease is over: what it holds it still finishes."""
    settings = WorkerSettings(lease_seconds=5)
    async with open_worker(tmp_path, flow("a"), settings=settings) as room:
        room.sandbox.add_script(Line(delay=0.3))
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1)

        room.turn(60)
        await room.worker.close_expired()
        await room.settled()

        assert ((await room.only()).state, (await room.only()).attempts) == ("delivered", 1)


async def test_a_result_that_cannot_be_written_yet_is_not_closed_as_expired(tmp_path, log_lines):
    settings = WorkerSettings(lease_seconds=5)
    async with open_worker(tmp_path, flow("a"), settings=settings) as room:
        await room.start()
        room.store.broken["finish"] = StoreError("the disk is full, nothing was stored: store.db")
        await room.take("r-1")
        await until(lambda: [line for line in log_lines() if line["event"] == "store.failed"], what="the failure")
        room.turn(60)
        await room.worker.close_expired()
        assert (await room.only()).state == "in_flight"

        room.store.broken.clear()
        await until(lambda: is_state(room, "delivered"), what="the record")

        assert [attempt.number for attempt in await room.attempts()] == [1]
        assert [line["verb"] for line in log_lines() if line["event"] == "store.recovered"] == ["finish"]


async def is_state(room, state: str) -> bool:
    return (await room.only()).state == state


@pytest.mark.parametrize("verb", ["claim", "next_wake_at", "configure", "live_revision", "release"])
async def test_a_store_that_comes_back_is_worked_with_again(tmp_path, verb):
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()
        room.store.broken[verb] = StoreError("the disk is full, nothing was stored: store.db")
        await room.take("r-1")
        room.worker.wake()
        if verb in ("claim", "next_wake_at"):
            await until(lambda: room.store.calls[verb] >= 2, what="a second try")
        room.store.broken.clear()

        await until(lambda: is_state(room, "delivered"), what="the delivery")
        assert not room.running.done()


async def test_a_store_that_stays_away_ends_the_worker_with_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.3)
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()
        room.store.broken["claim"] = StoreError("the disk is full, nothing was stored: store.db")
        room.worker.wake()
        await until(lambda: room.store.calls["claim"] >= 2, what="a second try")
        room.turn(1)

        assert "the disk is full" in str(await failure_of(room))


async def test_a_store_that_is_lost_ends_the_worker_at_once(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()
        (tmp_path / "store.db").unlink()

        failure = await failure_of(room)

        assert isinstance(failure, StoreLostError)


async def failure_of(room) -> BaseException:
    running, room.running = room.running, None
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(running, 10)
    failure, *others = caught.value.exceptions
    assert all(type(other) is type(failure) for other in others)  # two tasks may meet the same fault in one round
    return failure


async def test_idle_means_that_nothing_can_be_delivered(tmp_path):
    """A delivery under way is not idle, one that waits for its retry is not, one on a held lane is."""
    held = flow("held", headers={"x-token": "${secret:unbound}"})
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["1h"]}), held) as room:
        await room.start()
        await until(room.worker.is_idle, what="idleness at the start")
        room.sandbox.add_script(Line(status=500, delay=0.2))
        await room.take("r-1", "r-1")
        seen = [await room.worker.is_idle() for _ in range(20)]
        await room.settled()
        assert not any([*seen, await room.worker.is_idle()])

        room.turn(3600)
        await room.settled()

        assert await room.states("a") == {"delivered": 2}
        assert await room.states("held") == {"pending": 2}
        assert await room.worker.is_idle()


@contextlib.contextmanager
def silent_port():
    """A port that takes connections into its backlog and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.asynccontextmanager
async def other_worker(room):
    """A second worker over the room's store, which dials the sandbox's port as it is now."""
    egress = EgressSettings(ca_file=room.folder / "ca.pem", connect_to=room.sandbox.connect_to)
    clock = Clock(now=room.clock.now, monotonic=room.clock.monotonic, rand=room.clock.rand)
    async with Deliverer(egress, masker=room.resolver.masker) as deliverer:
        worker = Worker(store=room.store, live=room.live, deliverer=deliverer, resolver=room.resolver, clock=clock)
        await worker.start()
        room.worker = worker
        running = asyncio.create_task(worker.run())
        worker.wake()
        try:
            yield worker
        finally:
            await worker.drain(timeout_seconds=0)
            await asyncio.wait_for(running, 10)
