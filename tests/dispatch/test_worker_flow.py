"""Pauses, breakers and faults of destinations as the worker lives them; order and fairness in the large."""

import json
import random
from collections import Counter, defaultdict

from test_worker_end import log_lines  # noqa: F401 - a fixture
from test_worker_pace import HANG, real_clock
from worker_room import alias, flow, open_worker, until

from reconciler.dispatch.worker import WorkerSettings
from reconciler.models.flow import Pause
from reconciler.sandbox.script import Line
from reconciler.store.sqlite.store import SqliteStore

EVER = 10_000


async def test_a_receiver_that_fails_is_probed_and_nothing_dies_of_it(tmp_path):
    """Ten hours down: one probe now and then, none of which counts; then everything is delivered."""
    spec = {"retry": {"schedule": ["1s"], "max_attempts": 3, "jitter": 0}, "ordering": "none"}
    async with open_worker(tmp_path, flow("a", **spec), flow("b")) as room:
        room.sandbox.add_script(Line(flow=alias("a"), status=503, times=EVER))
        await room.start()
        await room.take(*(f"r-{number}" for number in range(12)))
        await room.settled()
        assert await room.states("b") == {"delivered": 12}, "the others go on"

        for _ in range(40):
            room.turn(900)
            await room.settled()

        requests = sum(request.flow == alias("a") for request in room.sandbox.requests)
        assert await room.states("a") == {"pending": 12}
        assert requests <= 12 + 40
        assert {delivery.note and delivery.note[:12] for delivery in await room.deliveries("a")} == {"breaker open"}


async def test_the_backlog_goes_out_when_the_receiver_is_back(tmp_path):
    spec = {"retry": {"schedule": ["1s"], "max_attempts": 3, "jitter": 0}}
    async with open_worker(tmp_path, flow("a", **spec)) as room:
        room.sandbox.add_script(Line(status=500, times=14))
        await room.start()
        await room.take(*(f"r-{number}" for number in range(12)))
        await room.settled()
        room.turn(30)
        await room.settled()
        assert await room.states() == {"pending": 12}

        room.turn(60)
        await room.settled()
        room.turn(120)
        await room.settled()

        assert await room.states() == {"delivered": 12}


async def test_five_refusals_pause_the_webhook_and_resuming_sends_it_again(tmp_path):
    spec = {"retry": {"schedule": ["1s"], "jitter": 0}}
    async with open_worker(tmp_path, flow("a", **spec)) as room:
        room.sandbox.add_script(Line(status=404, times=5))
        await room.start()
        await room.take("r-1")
        for _ in range(9):
            await room.settled()
            room.turn(1)
        await room.settled()

        assert len(room.sandbox.requests) == 5
        note = (await room.only()).note
        assert note is not None and "refused 5 attempts in a row" in note and "404" in note
        await room.store.resume("a")
        room.worker.wake()
        await room.settled()
        assert await room.states() == {"delivered": 1}


async def test_a_destination_that_is_gone_pauses_at_once_and_nothing_is_lost(tmp_path):
    async with open_worker(tmp_path, flow("a", retry={"max_attempts": 1})) as room:
        room.sandbox.add_script(Line(status=410))
        await room.start()
        await room.take("r-1", "r-1")
        await room.settled()
        room.turn(3600)
        await room.settled()

        assert len(room.sandbox.requests) == 1
        assert await room.states() == {"pending": 2}
        await room.store.resume("a")
        room.worker.wake()
        await room.settled()
        assert await room.states() == {"delivered": 2}


async def test_a_pause_and_its_end_in_another_process_hold_at_once(tmp_path):
    """The command works on the file; the worker that serves it sleeps for ever otherwise."""
    async with (
        open_worker(tmp_path, flow("a"), clock=real_clock()) as room,
        SqliteStore(tmp_path / "store.db") as other,
    ):
        await room.start()
        await other.pause("a", Pause(1, "ann", "a reason"))
        await room.take("r-1")
        await until(lambda: not room.worker.is_busy)
        assert not room.sandbox.requests

        await other.resume("a")

        await until(lambda: len(room.sandbox.requests) == 1, timeout=3, what="the delivery")


async def test_a_daemon_is_idle_while_all_that_is_left_is_paused(tmp_path):
    async with open_worker(tmp_path, flow("a"), flow("b")) as room:
        await room.store.pause("a", Pause(room.clock.at, "ann", "a reason", room.clock.at + 3_600_000))
        await room.start()
        await room.take("r-1")
        await room.settled()

        assert await room.worker.is_idle()
        assert await room.states("a") == {"pending": 1}


async def test_500_interleaved_requests_with_random_failures_are_never_out_of_order(tmp_path):
    """Each access request's states arrive for the first time in the order in which they were accepted, whatever fails
    in between; a request whose states never fail is done before those that wait for a retry."""
    chance = random.Random(5)
    spec = {"retry": {"schedule": ["20s"], "max_attempts": 50, "jitter": 0}, "max_concurrency": 64}
    async with open_worker(tmp_path, flow("a", **spec)) as room:
        script = [
            Line(status=500) if chance.random() < 0.2 else Line(status=200, times=chance.randint(1, 9))
            for _ in range(900)
        ]
        room.sandbox.add_script(*script)
        sent = [f"r-{number}" for number in range(500) for _ in range(3)]
        chance.shuffle(sent)
        for start in range(0, len(sent), 300):
            await room.take(*sent[start : start + 300])
        await room.start()
        await room.settled()
        done = Counter(delivery.state.value for delivery in await room.deliveries())
        failed = {body["data"]["id"] for body, status in exchanges(room) if status == 500}
        for _ in range(200):
            if await room.states() == {"delivered": 1500}:
                break
            room.turn(20)
            await room.settled()

        assert failed and done["delivered"] >= 3 * (500 - len(failed)), "who never failed waited for nobody"
        assert await room.states() == {"delivered": 1500}
        firsts: dict[str, list[int]] = defaultdict(list)
        for body, _ in exchanges(room):
            number = int(body["data"]["friendly_id"].removeprefix("AR-"))
            if number not in firsts[body["data"]["id"]]:
                firsts[body["data"]["id"]].append(number)
        assert len(firsts) == 500
        assert all(numbers == sorted(numbers) for numbers in firsts.values())


def exchanges(room) -> list[tuple[dict, int]]:
    return [(json.loads(request.body), request.status) for request in room.sandbox.requests]


async def test_five_that_hang_and_five_that_answer_429_leave_the_other_ninety_their_rate(tmp_path):
    """How long 90 webhooks take for their deliveries, beside ten bad ones and without them: by a ratio, since machines
    differ; the issue's 95 % is measured by the benchmark."""

    async def seconds(folder, bad: int) -> float:
        folder.mkdir()
        webhooks = [flow(f"w{number}", max_concurrency=16) for number in range(90)]
        ill = [flow(f"hangs{number}") for number in range(bad)] + [flow(f"busy{number}") for number in range(bad)]
        settings = WorkerSettings(concurrency=64)
        async with open_worker(folder, *webhooks, *ill, settings=settings, clock=real_clock()) as room:
            for number in range(bad):
                room.sandbox.add_script(HANG.model_copy(update={"flow": alias(f"hangs{number}")}))
                too_many = Line(flow=alias(f"busy{number}"), status=429, headers={"retry-after": "1"}, times=EVER)
                room.sandbox.add_script(too_many)
            await room.take(*(f"r-{number}" for number in range(20)))
            await room.start()
            well = {alias(webhook.name) for webhook in webhooks}
            began = room.worker._clock.monotonic()
            await until(
                lambda: sum(r.flow in well and r.status == 200 for r in room.sandbox.requests) == 90 * 20, timeout=60
            )
            return room.worker._clock.monotonic() - began

    alone = await seconds(tmp_path / "alone", 0)
    beside = await seconds(tmp_path / "beside", 5)

    assert beside < 1.6 * alone + 1.0


async def test_pauses_and_breakers_are_logged_once_when_they_begin_and_end(tmp_path, log_lines):  # noqa: F811
    """Whoever reads the log alone learns since when a receiver is sent nothing, and why."""

    def told(event: str) -> list[dict]:
        return [line for line in log_lines() if line["event"] == event]

    async with open_worker(tmp_path, flow("a"), clock=real_clock()) as room:
        room.sandbox.add_script(Line(status=500, times=10))
        await room.start()
        await room.take(*(f"r-{number}" for number in range(10)))
        await until(lambda: told("breaker.opened"), what="the breaker's line")
        await room.store.pause("a", Pause(1, "ann", "a reason"))
        await until(lambda: told("webhook.paused"), what="the pause's line")
        await room.store.resume("a")
        await until(lambda: told("webhook.resumed") and told("breaker.closed"), what="their ends")

    assert [len(told(event)) for event in ("breaker.opened", "breaker.closed", "webhook.paused")] == [1, 1, 1]
    assert told("breaker.opened")[0]["failures"] == 10
    paused = told("webhook.paused")[0]
    assert (paused["webhook"], paused["by"], paused["reason"]) == ("a", "ann", "a reason")
