"""Pace, order and fairness: what waits, what must not wait, and that waiting costs nothing."""

import asyncio
import time

from worker_room import alias, flow, open_worker, until

from reconciler.dispatch.clock import Clock
from reconciler.dispatch.worker import WorkerSettings
from reconciler.sandbox.script import Line

HANG = Line(drop=True, times=10_000)


def real_clock() -> Clock:
    """The machine's clock, without chance."""
    return Clock(now=lambda: time.time_ns() // 1_000_000, monotonic=time.monotonic, rand=lambda: 0.5)


def too_many(seconds: int, *, name: str = "a", times: int = 1) -> Line:
    return Line(flow=alias(name), status=429, headers={"retry-after": str(seconds)}, times=times)


async def test_a_429_holds_its_pace_key_and_counts_for_no_delivery(tmp_path):
    """DESIGN: 429 never counts toward max_attempts; Retry-After belongs to the pace key."""
    spec = {"retry": {"max_attempts": 1}, "max_concurrency": 1}
    async with open_worker(tmp_path, flow("a", **spec), flow("b")) as room:
        room.sandbox.add_script(too_many(30))
        await room.start()
        await room.take("r-1")
        await room.settled()
        await room.take("r-2")
        await room.settled()

        assert [request.flow for request in room.sandbox.requests].count(alias("a")) == 1, "r-2 waits with r-1"
        assert await room.states("b") == {"delivered": 2}
        room.turn(29.9)
        await room.settled()
        assert await room.states("a") == {"pending": 2}
        room.turn(0.1)
        await room.settled()

        deliveries = await room.deliveries("a")
        assert [(delivery.state, delivery.attempts) for delivery in deliveries] == [("delivered", 2), ("delivered", 1)]


async def test_the_hold_belongs_to_all_webhooks_of_the_pace_key(tmp_path):
    """The pace key is host and unresolved path: two webhooks with other queries share it."""
    one, two = flow("a"), flow("b").model_copy(update={"spec": flow("a", query={"from": "two"}).spec})
    async with open_worker(tmp_path, one, two) as room:
        room.sandbox.add_script(too_many(5))
        await room.start()
        await room.take("r-1")
        await room.settled()
        assert len(room.sandbox.requests) <= 2
        await room.take("r-2")
        await room.settled()
        before = len(room.sandbox.requests)
        assert before <= 2
        room.turn(5)
        await room.settled()

        assert await room.states() == {"delivered": 4}


async def test_giving_up_stands_still_while_the_receiver_asks_to_wait(tmp_path):
    spec = {"retry": {"schedule": ["10s"], "give_up_after": "30s"}}
    async with open_worker(tmp_path, flow("a", **spec)) as room:
        room.sandbox.add_script(too_many(3600), too_many(3600), Line(status=500))
        await room.start()
        await room.take("r-1")
        for wait in (3600, 3600, 10):
            await room.settled()
            assert (await room.only()).state == "pending"
            room.turn(wait)
        await room.settled()

        assert ((await room.only()).state, (await room.only()).attempts) == ("delivered", 4)


async def test_giving_up_stands_still_while_a_lane_is_held(tmp_path):
    """An unbound secret after the first attempt holds the lane for longer than give_up_after: nothing expires."""
    (tmp_path / "token").write_text("0123456789abcdef")
    bindings = tmp_path / "secrets.yaml"
    text = "okta: {from: 'file:token', hosts: [acme.workflows.okta.com]}\n"
    bindings.write_text(text)
    spec = {"headers": {"x-token": "${secret:okta}"}, "retry": {"schedule": ["10s"], "give_up_after": "1m"}}
    async with open_worker(tmp_path, flow("a", **spec), secrets=bindings) as room:
        room.sandbox.add_script(Line(status=500), Line(status=500))
        await room.start()
        await room.take("r-1")
        await room.settled()
        bindings.write_text("{}")
        await until(lambda: held(room), what="the hold")
        room.turn(3600)
        bindings.write_text(text)
        await until(lambda: len(room.sandbox.requests) == 2, what="the second attempt")
        await room.settled()
        assert (await room.only()).state == "pending", "an hour on hold is not an hour of trying"
        room.turn(10)
        await room.settled()

        assert (await room.only()).state == "delivered"


async def held(room) -> bool:
    return (await room.only()).note is not None


async def test_order_holds_per_request_under_failures_and_others_do_not_wait(tmp_path):
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["10s"]})) as room:
        room.sandbox.add_script(Line(status=500, times=2))
        await room.take("r-1")
        await room.start()
        await until(lambda: len(room.sandbox.requests) == 1)
        await room.take("r-1", "r-2", "r-1", None, None)
        await room.settled()
        assert room.received_ids()[1:2] == ["AR-3"], "r-2 is attempted, the successors of r-1 are not"
        assert sorted(room.received_ids()) == ["AR-1", "AR-3", "AR-5", "AR-6"]
        room.turn(10)
        await room.settled()

        firsts = list(dict.fromkeys(room.received_ids()))
        assert [name for name in firsts if name in ("AR-1", "AR-2", "AR-4")] == ["AR-1", "AR-2", "AR-4"]
        assert await room.states() == {"delivered": 6}


async def test_a_predecessor_that_is_dead_lets_the_next_one_go(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        room.sandbox.add_script(Line(status=400))
        await room.start()
        await room.take("r-1", "r-1")
        await room.settled()

        assert room.received_ids() == ["AR-1", "AR-2"]
        assert await room.states() == {"dead": 1, "delivered": 1}


async def test_a_successor_waits_no_longer_than_max_hold(tmp_path):
    async with open_worker(tmp_path, flow("a", max_hold="1m", retry={"schedule": ["1h"]})) as room:
        room.sandbox.add_script(Line(status=500))
        await room.start()
        await room.take("r-1", "r-1")
        await room.settled()
        room.turn(59)
        await room.settled()
        assert room.received_ids() == ["AR-1"]
        room.turn(1)
        await room.settled()

        assert room.received_ids() == ["AR-1", "AR-2"]


async def test_without_ordering_nothing_waits(tmp_path):
    async with open_worker(tmp_path, flow("a", ordering="none", retry={"schedule": ["1h"]})) as room:
        room.sandbox.add_script(Line(status=500))
        await room.start()
        await room.take("r-1", "r-1")
        await room.settled()

        assert room.received_ids() == ["AR-1", "AR-2"] or room.received_ids() == ["AR-2", "AR-1"]


async def test_the_same_request_on_two_webhooks_has_two_orders(tmp_path):
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["1h"]}), flow("b")) as room:
        room.sandbox.add_script(Line(flow=alias("a"), status=500))
        await room.start()
        await room.take("r-1", "r-1")
        await room.settled()

        assert await room.states("a") == {"pending": 2}
        assert await room.states("b") == {"delivered": 2}


async def test_one_hanging_webhook_does_not_delay_fifty_others(tmp_path):
    others = [flow(f"w{number}") for number in range(50)]
    hanging = flow("hangs", max_concurrency=64)
    async with open_worker(tmp_path, hanging, *others, clock=real_clock()) as room:
        room.sandbox.add_script(HANG.model_copy(update={"flow": alias("hangs")}))
        await room.start()
        await room.take(*(f"r-{number}" for number in range(20)))

        await until(lambda: delivered(room) == 50 * 20, timeout=30, what="the others' deliveries")
        await until(lambda: room.worker.in_flight == 20, what="only the hanging ones in flight")


async def test_twenty_hanging_webhooks_do_not_eat_up_the_worker(tmp_path):
    """Together they may have more in flight than the worker takes at once; the others keep their pace."""
    hanging = [flow(f"h{number}", max_concurrency=16) for number in range(20)]
    settings = WorkerSettings(concurrency=64, in_flight_max=2048)
    async with open_worker(tmp_path, *hanging, flow("well"), settings=settings, clock=real_clock()) as room:
        for webhook in hanging:
            room.sandbox.add_script(HANG.model_copy(update={"flow": alias(webhook.name)}))
        await room.start()
        await room.take(*(f"r-{number}" for number in range(16)))
        await until(lambda: room.worker.in_flight >= 20 * 16, timeout=20, what="all of them hanging")

        began = time.monotonic()
        await room.take(*(f"s-{number}" for number in range(100)))
        await until(lambda: delivered(room) == 116, what="the healthy one's deliveries")

        assert time.monotonic() - began < 5, "each of those that hang takes 15 s"


async def test_webhooks_that_hang_leave_room_for_the_quick(tmp_path):
    """They would fill the worker for good, so their concurrency is cut while they hang: the well one has room."""
    hanging = [flow(f"h{number}", max_concurrency=16, timeout_in_sec=2) for number in range(6)]
    settings = WorkerSettings(concurrency=24, in_flight_max=48)
    well = flow("well", triggers=["RequestGranted"])
    async with open_worker(tmp_path, *hanging, well, settings=settings, clock=real_clock()) as room:
        for webhook in hanging:
            room.sandbox.add_script(HANG.model_copy(update={"flow": alias(webhook.name)}))
        await room.start()
        await room.take(*(f"r-{number}" for number in range(40)))
        await until(lambda: room.worker.in_flight > 24, what="the slots for quick ones taken")
        await until(lambda: room.worker.in_flight <= 24, what="the slots for quick ones free")
        assert (await room.states())["pending"] > 100, "with more of them due"

        await room.take(*(f"g-{number}" for number in range(20)), kind="Granted")

        await until(lambda: delivered(room) == 20, timeout=4, what="the well one's deliveries")


def delivered(room) -> int:
    return sum(request.status == 200 for request in room.sandbox.requests)


async def test_a_backlog_on_a_limited_key_costs_the_others_nothing_and_nobody_spins(tmp_path):
    """2,000 due rows that may go one a second: the worker claims when there is something to claim, and only then."""
    slow = flow("slow", rate_limit={"per_second": 1, "burst": 1})
    async with open_worker(tmp_path, slow, flow("quick", triggers=["RequestGranted"]), clock=real_clock()) as room:
        for _ in range(4):
            await room.take(*(f"r-{number}" for number in range(500)))
        await room.start()
        await until(lambda: len(room.sandbox.requests) == 1)
        room.store.calls.clear()

        began = time.monotonic()
        await room.take(*(f"g-{number}" for number in range(50)), kind="Granted")
        await until(lambda: len([r for r in room.sandbox.requests if r.flow == alias("quick")]) == 50)
        took = time.monotonic() - began
        before = len(room.sandbox.requests)
        room.store.calls.clear()
        await until(lambda: len(room.sandbox.requests) >= before + 2, what="two more of the slow ones")

        assert took < 4
        assert room.store.calls["claim"] <= 12
        assert room.store.calls["next_wake_at"] <= 12


async def test_a_lane_that_is_due_but_full_is_not_asked_again_and_again(tmp_path):
    async with open_worker(tmp_path, flow("a", max_concurrency=1), clock=real_clock()) as room:
        room.sandbox.add_script(HANG)
        await room.take("r-1", "r-2", "r-3")
        await room.start()
        await until(lambda: len(room.sandbox.requests) == 1)
        room.store.calls.clear()

        await asyncio.sleep(0.6)  # nothing is to happen for as long as this

        assert room.store.calls["claim"] <= 2
        assert room.store.calls["next_wake_at"] <= 2


async def test_the_rate_is_kept_over_all_webhooks_of_a_key(tmp_path):
    """One webhook of the key says 20 a second, the other says nothing: 20 a second hold for both together."""
    limited = flow("a", rate_limit={"per_second": 20, "burst": 1})
    other = flow("b").model_copy(update={"spec": flow("a", query={"from": "b"}).spec})
    async with open_worker(tmp_path, limited, other, clock=real_clock()) as room:
        await room.start()
        await room.take(*(f"r-{number}" for number in range(10)))
        await until(lambda: len(room.sandbox.requests) == 20, what="all of them")

        times = sorted(request.time for request in room.sandbox.requests)
        assert times[-1] - times[0] >= 19 * 50 - 50
