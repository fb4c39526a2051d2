"""Attempts over kept connections, which need no task of their own: all that is promised holds for them too."""

import asyncio
import io
import json

import pytest
from worker_room import alias, flow, open_worker, until

from reconciler.dispatch import flights
from reconciler.observe.log import configure, silence
from reconciler.sandbox.script import Line

HANG = Line(drop=True, times=10_000)


@pytest.fixture
def log_lines():
    """What is logged, as JSON."""
    stream = io.StringIO()
    configure("json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    silence()


def quick(name: str = "a", **spec: object):
    return flow(name, **{"rate_limit": "unlimited", **spec})


async def warm(room, count: int = 1) -> None:
    """Leave so many kept connections behind."""
    room.sandbox.add_script(*[Line(delay=0.05)] * count)
    await room.take(*[f"warm-{index}" for index in range(count)])
    await room.settled()


async def test_what_goes_over_a_kept_connection_needs_no_task(tmp_path):
    """The first attempt dials; those after it are written at once."""
    async with open_worker(tmp_path, quick()) as room:
        names = set()

        def make(loop, coro, **facts):
            names.add(coro.__qualname__)
            return asyncio.Task(coro, loop=loop, **facts)

        asyncio.get_running_loop().set_task_factory(make)
        await room.start()
        await warm(room)
        assert "Flights._send" in names
        names.clear()

        for number in range(5):
            await room.take(f"r-{number}")
            await room.settled()

        assert await room.states() == {"delivered": 6}
        assert "Worker._turn" in names
        assert "Flights._send" not in names


async def test_what_is_cut_over_a_kept_connection_ends_unknown(tmp_path):
    async with open_worker(tmp_path, quick()) as room:
        await room.start()
        await warm(room)
        room.sandbox.add_script(HANG)
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 2)
        assert room.worker.in_flight == 1

        await room.drain(seconds=0.1)

        delivery = (await room.deliveries())[1]
        assert (delivery.state, delivery.attempts, delivery.outcome) == ("pending", 1, "unknown")


async def test_a_drain_waits_for_what_is_under_way_over_a_kept_connection(tmp_path):
    async with open_worker(tmp_path, quick()) as room:
        await room.start()
        await warm(room)
        room.sandbox.add_script(Line(delay=0.3))
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 2)

        await room.drain(seconds=10)

        assert await room.states() == {"delivered": 2}


async def test_a_bug_in_what_an_answer_means_costs_that_attempt_only(tmp_path, log_lines, monkeypatch):
    """It ends as unknown, since the request was written, and is logged with its place."""
    conclude = flights.conclude

    def broken(claimed, webhook, result, **facts):
        if result.status == 503:
            raise RuntimeError("broken")
        return conclude(claimed, webhook, result, **facts)

    monkeypatch.setattr(flights, "conclude", broken)
    async with open_worker(tmp_path, quick(retry={"schedule": ["1s"], "max_attempts": 2})) as room:
        await room.start()
        await warm(room)
        room.sandbox.add_script(Line(status=503))
        await room.take("r-1")
        await room.settled()

        delivery = (await room.deliveries())[1]
        assert (delivery.state, delivery.outcome) == ("pending", "unknown")
        [crash] = [line for line in log_lines() if line["event"] == "delivery.crashed"]
        assert crash["error"] == "internal error: RuntimeError"


async def test_a_bug_that_nothing_can_be_recorded_of_ends_the_worker(tmp_path, monkeypatch):
    """Loudly, also where no task met it."""
    async with open_worker(tmp_path, quick()) as room:
        await room.start()
        await warm(room)

        def broken(*_, **__):
            raise RuntimeError("broken")

        monkeypatch.setattr(flights, "conclude", broken)
        await room.take("r-1")

        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(room.running, 10)
        assert caught.group_contains(RuntimeError, match="broken")
        room.running = None


async def test_each_delivery_has_its_line_and_its_record_whichever_way_it_went(tmp_path, log_lines):
    """Twenty at once, of which some dial and some do not."""
    async with open_worker(tmp_path, quick("a"), quick("b")) as room:
        await room.start()
        await warm(room, 3)
        await room.take(*[f"r-{number}" for number in range(20)])
        await room.settled()

        assert await room.states() == {"delivered": 46}
        lines = [line for line in log_lines() if line["event"] == "delivery.attempted"]
        assert len({line["delivery"] for line in lines}) == len(lines) == 46
        for delivery in await room.deliveries():
            _, (attempt,) = await room.store.delivery(delivery.id)
            assert attempt.result["response"]["status"] == 200
            assert attempt.result["request"]["headers"]["webhook-id"] == delivery.id
        assert {request.flow for request in room.sandbox.requests} == {alias("a"), alias("b")}
