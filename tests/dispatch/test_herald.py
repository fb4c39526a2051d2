"""Operational events as receivers see them: when, what they say, to whom, and what they cost the others."""

import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from test_worker_pace import HANG, real_clock
from worker_room import HOST, WorkerRoom, alias, flow, open_worker, until

from reconciler.dispatch.herald import Herald
from reconciler.models.delivery import State
from reconciler.models.event import judge_payload
from reconciler.models.flow import Pause
from reconciler.models.webhook import Trigger, Webhook
from reconciler.observe.log import configure, silence
from reconciler.sandbox.script import Line
from reconciler.store.base import EventStatus

OWN = [trigger.value for trigger in Trigger if trigger.is_operational]
RETRY = {"retry": {"schedule": ["1s"], "jitter": 0}, "ordering": "none"}


def operator(name: str = "ops", *, triggers: list[str] | None = None, **spec: Any) -> Webhook:
    return flow(name, triggers=triggers or OWN, **spec)


@contextlib.asynccontextmanager
async def opened(folder: Path, *webhooks: Webhook, **facts: Any) -> AsyncIterator[tuple[WorkerRoom, Herald]]:
    """A worker at work and a herald that tells when it is asked to."""
    async with open_worker(folder, *webhooks, **facts) as room:
        now = room.clock.now if "clock" not in facts else facts["clock"].now
        await room.start()
        yield room, Herald(room.store, room.live, now=now, wake=room.worker.wake)


def sent_to(room: WorkerRoom, name: str) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in room.sandbox.requests if request.flow == alias(name)]


async def fail(room: WorkerRoom, times: int, *, status: int = 503) -> None:
    """So many deliveries to `a` fail once each, one after the other."""
    room.sandbox.add_script(Line(flow=alias("a"), status=status, times=times))
    for number in range(times):
        await room.take(f"failed-{room.clock.at}-{number}")
        await room.settled()


async def test_a_webhook_that_fails_pauses_and_recovers_is_told_of_in_order(tmp_path: Path) -> None:
    """Each with what an operator asks first; no event of its own follows from their delivery."""
    async with opened(tmp_path, flow("a", **RETRY), operator()) as (room, herald):
        await fail(room, 5, status=404)
        await herald.tell()
        await room.settled()
        await room.store.resume("a")
        room.turn(1)
        await room.settled()
        await herald.tell()
        await room.settled()
        told = sent_to(room, "ops")

        assert await herald.tell() == 0
        assert [event["event_type"].removeprefix("Reconciler") for event in told] == [
            "WebhookFailing",
            "WebhookPaused",
            "WebhookRecovered",
        ]
    failing, paused, recovered = (event["data"] for event in told)
    assert failing["webhook"] == {"name": "a", "uid": "a", "title": None, "host": HOST, "labels": {}}
    assert (failing["failures"], failing["count"], failing["last_attempt"]["status"]) == (3, 1, 404)
    assert failing["reason"].startswith("3 attempts in a row failed: ")
    assert (paused["pause"]["by"], paused["pause"]["until"], paused["failures"]) == ("reconciler", None, 5)
    assert recovered["last_attempt"]["outcome"] == "delivered"
    assert recovered["since"] == failing["last_at"]


async def test_what_is_told_is_what_the_schema_says(tmp_path: Path) -> None:
    """Nothing that templates and conditions cannot know of, and nothing missing."""
    async with opened(tmp_path, flow("a", **RETRY), flow("b"), operator()) as (room, herald):
        await fail(room, 5, status=404)
        room.sandbox.add_script(Line(flow=alias("b"), status=422))
        await room.take("dead")
        await room.settled()
        await room.store.resume("a")
        room.turn(1)
        await room.settled()
        await herald.tell()
        await room.settled()

        told = sent_to(room, "ops")
    assert {event["event_type"] for event in told} == set(OWN)
    for event in told:
        judge_payload(event)
        assert set(event["data"]) == KNOWN["data"]
        for name in ("webhook", "last_attempt", "pause"):
            assert event["data"][name] is None or set(event["data"][name]) == KNOWN[name]


KNOWN = {
    "data": {
        *("id", "webhook", "reason", "count", "since", "last_at", "failures", "last_attempt", "pause", "reasons"),
        "deliveries",
    },
    "webhook": {"name", "uid", "title", "host", "labels"},
    "last_attempt": {
        *("delivery_id", "event_id", "number", "outcome", "status", "fault", "detail", "finished_at"),
    },
    "pause": {"by", "reason", "until"},
}


async def test_dead_deliveries_are_told_once_a_minute_with_their_number(tmp_path: Path) -> None:
    async with opened(tmp_path, flow("a"), operator(triggers=["ReconcilerDeliveryDead"])) as (room, herald):
        room.sandbox.add_script(Line(flow=alias("a"), status=422, times=1000))
        await room.take("r-1")
        await room.settled()
        await herald.tell()
        await room.take(*(f"r-{number}" for number in range(2, 9)))
        await room.settled()
        assert await herald.tell() == 0
        room.turn(60)

        await herald.tell()
        await room.settled()

        first, second = (event["data"] for event in sent_to(room, "ops"))
    assert (first["count"], first["reasons"]) == (1, {"permanent": 1})
    assert (second["count"], second["reasons"], len(second["deliveries"])) == (7, {"permanent": 7}, 5)
    assert second["reason"] == "7 deliveries were given up: 7 permanent"


async def test_a_template_and_a_condition_see_the_event(tmp_path: Path) -> None:
    body = '{"text": "{{data.webhook.name}}: {{data.reason}}", "team": {{data.webhook.labels.team}}}'
    when = 'data.webhook.labels.team == "iam" && data.failures >= 3'
    asked = operator(body_template=body, when=when, triggers=["ReconcilerWebhookFailing"])
    other = operator("other", when='data.webhook.name == "b"', triggers=["ReconcilerWebhookFailing"])
    failing = flow("a", **RETRY)
    failing = failing.model_copy(update={"metadata": failing.metadata.model_copy(update={"labels": {"team": "iam"}})})
    async with opened(tmp_path, failing, asked, other) as (room, herald):
        await fail(room, 3)
        await herald.tell()
        await room.settled()

        (body_sent,) = sent_to(room, "ops")
        assert sent_to(room, "other") == []
    assert body_sent["team"] == "iam"
    assert body_sent["text"].startswith("a: 3 attempts in a row failed")


async def test_what_nobody_wants_is_not_stored(tmp_path: Path) -> None:
    async with opened(tmp_path, flow("a", **RETRY), operator(triggers=["ReconcilerDeliveryDead"])) as (room, herald):
        await fail(room, 3)

        assert await herald.tell() == 0
        assert await herald.is_idle()

        assert {event.source for event in await room.store.events()} == {"test"}


async def test_a_dead_operational_delivery_is_told_to_nobody(tmp_path: Path) -> None:
    """However its receiver fails: no event begets another."""
    async with opened(tmp_path, flow("a", **RETRY), operator()) as (room, herald):
        room.sandbox.add_script(Line(flow=alias("ops"), status=422, times=100))
        await fail(room, 3)
        for _ in range(5):
            await herald.tell()
            room.turn(61)
            await room.settled()

        own = [event for event in await room.store.events() if event.source == "reconciler"]
        states = [delivery.state for delivery in await room.deliveries("ops")]
    assert {event.event_type for event in own} == {"ReconcilerWebhookFailing", "ReconcilerWebhookRecovered"}
    assert states == [State.DEAD, State.DEAD]


async def test_a_receiver_of_operational_events_that_hangs_costs_the_others_nothing(tmp_path: Path) -> None:
    """And a webhook that hangs keeps nobody from hearing of the others."""
    operators = [operator(f"ops{number}", max_concurrency=1) for number in range(2)]
    webhooks = (flow("a", **RETRY), flow("b"), flow("hung"), *operators)
    async with opened(tmp_path, *webhooks, clock=real_clock()) as (room, herald):
        room.sandbox.add_script(*(HANG.model_copy(update={"flow": alias(name)}) for name in ("ops0", "hung")))
        room.sandbox.add_script(Line(flow=alias("a"), status=422, times=100))
        await room.take(*(f"r-{number}" for number in range(20)))
        await until(lambda: len(sent_to(room, "b")) == 20, what="the other webhook's deliveries")
        await room.store.pause("b", Pause(real_clock().now(), "ann", "a reason"))

        await herald.tell()

        await until(lambda: len(sent_to(room, "ops1")) >= 2, what="the other operator's events")
        await room.store.resume("b")
        room.worker.wake()
        await room.take(*(f"s-{number}" for number in range(20)))
        await until(lambda: len(sent_to(room, "b")) == 40, what="deliveries beside the one that hangs")
        assert len(sent_to(room, "ops0")) == 1


async def test_nobody_else_may_send_operational_events(tmp_path: Path) -> None:
    """Who may post access requests must not be able to tell operators that a webhook failed."""
    async with opened(tmp_path, operator()) as (room, _):
        forged = {"event_type": "ReconcilerWebhookFailing", "data": {"id": "a", "reason": "forged"}}
        answer = await room.intake.take(json.dumps(forged).encode(), source="test")

        (stored,) = await room.store.events(status=EventStatus.QUARANTINED)
        assert await room.deliveries() == []
    assert answer.quarantined == 1
    assert stored.problem == "`event_type` is one that only reconciler itself sends: ReconcilerWebhookFailing"


async def test_an_event_about_a_webhook_that_is_deleted_by_now_names_it_still(tmp_path: Path) -> None:
    async with opened(tmp_path, flow("a", **RETRY), operator()) as (room, herald):
        await fail(room, 3)
        await room.publish(operator())
        await herald.tell()
        await room.settled()

        (event,) = sent_to(room, "ops")
    assert event["data"]["webhook"] == {"name": "a", "uid": "a", "title": None, "host": None, "labels": None}


@pytest.fixture
def log_text():
    stream = io.StringIO()
    configure("json", stream)
    yield stream.getvalue
    silence()


async def test_the_log_tells_what_was_told(tmp_path: Path, log_text) -> None:
    async with opened(tmp_path, flow("a", **RETRY), operator()) as (room, herald):
        await fail(room, 3)
        await herald.tell()

    (line,) = [json.loads(text) for text in log_text().splitlines() if "operational.told" in text]
    assert (line["event_type"], line["webhook"], line["count"]) == ("ReconcilerWebhookFailing", "a", 1)
