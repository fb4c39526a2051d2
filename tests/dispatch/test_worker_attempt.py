"""What becomes of a delivery, attempt by attempt, with a real store, a real receiver and a clock that we turn."""

import asyncio
import io
import json

import pytest
from worker_room import START, alias, flow, open_worker, until

from reconciler.models.delivery import DeliveryId
from reconciler.models.event import EventId
from reconciler.models.webhook import WebhookUid
from reconciler.observe.log import configure, silence
from reconciler.sandbox.script import Line
from reconciler.store.base import NewDelivery, NewEvent

SCHEDULE = {"schedule": ["5s", "5m", "30m"], "max_attempts": 4}


@pytest.fixture(autouse=True)
def quiet():
    """The log is written only where a test asks for it."""
    yield
    silence()


def status(code: int, *, times: int = 1, headers: dict[str, str] | None = None, name: str | None = None) -> Line:
    return Line(flow=alias(name) if name else "*", status=code, times=times, headers=headers or {})


async def test_attempts_follow_the_schedule_and_are_numbered_from_one(tmp_path):
    async with open_worker(tmp_path, flow("a", retry=SCHEDULE)) as room:
        room.sandbox.add_script(status(500, times=3))
        await room.start()
        await room.take("r-1")

        waits = []
        for number in (1, 2, 3):
            await room.settled()
            delivery = await room.only()
            assert (delivery.state, delivery.attempts, delivery.outcome) == ("pending", number, "retryable")
            waits.append((delivery.next_attempt_at - room.clock.at) / 1000)
            room.turn(waits[-1] - 0.001)
            await room.settled()
            assert len(room.sandbox.requests) == number, "a millisecond early is too early"
            room.turn(0.001)
        await room.settled()

        assert waits == [5, 300, 1800]
        assert (await room.only()).state == "delivered"
        assert [attempt.number for attempt in await room.attempts()] == [1, 2, 3, 4]
        assert [attempt.result["status"] for attempt in await room.attempts()] == [500, 500, 500, 200]


async def test_a_delivery_is_dead_when_its_attempts_are_used_up(tmp_path):
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["1s"], "max_attempts": 2})) as room:
        room.sandbox.add_script(status(503, times=9))
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.turn(1)
        await room.settled()

        delivery = await room.only()
        assert (delivery.state, delivery.reason, delivery.attempts) == ("dead", "exhausted", 2)
        assert len(room.sandbox.requests) == 2


async def test_every_retry_carries_the_same_webhook_id(tmp_path):
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["1s"]})) as room:
        room.sandbox.add_script(status(500))
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.turn(1)
        await room.settled()

        ids = [request.headers["webhook-id"] for request in room.sandbox.requests]
        assert ids == [(await room.only()).id] * 2


async def test_what_waits_too_long_after_its_first_attempt_expires(tmp_path):
    """DESIGN: `give_up_after` runs from the first attempt, not from acceptance."""
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["40s"], "give_up_after": "1m"})) as room:
        room.sandbox.add_script(status(500, times=9))
        await room.take("r-1")
        room.turn(3600)
        await room.start()
        await room.settled()
        assert (await room.only()).state == "pending"
        room.turn(40)
        await room.settled()

        delivery = await room.only()
        assert (delivery.state, delivery.reason, delivery.attempts) == ("dead", "expired", 2)


async def test_an_answer_that_will_not_change_ends_the_delivery_at_once(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        room.sandbox.add_script(status(422))
        await room.start()
        await room.take("r-1")
        await room.settled()

        delivery = await room.only()
        assert (delivery.state, delivery.reason, delivery.attempts) == ("dead", "permanent", 1)


@pytest.mark.parametrize(("retry_unknown", "state", "reason"), [(True, "pending", None), (False, "dead", "unknown")])
async def test_a_connection_reset_after_the_request_is_unknown(tmp_path, retry_unknown, state, reason):
    async with open_worker(tmp_path, flow("a", retry={"retry_unknown": retry_unknown})) as room:
        room.sandbox.add_script(Line(reset=True))
        await room.start()
        await room.take("r-1")
        await room.settled()

        delivery = await room.only()
        assert (delivery.state, delivery.reason, delivery.outcome) == (state, reason, "unknown")


async def test_the_revision_live_at_the_attempt_is_sent_and_both_are_recorded(tmp_path):
    """DESIGN: match with the revision live at intake, render with the one live at the attempt; both are recorded."""
    async with open_worker(tmp_path, flow("a", body_template='{"v": 1}', retry={"schedule": ["10s"]})) as room:
        room.sandbox.add_script(status(500))
        await room.start()
        await room.take("r-1")
        await room.settled()

        await room.publish(flow("a", body_template='{"v": 2}', retry={"schedule": ["10s"]}), commit="bada55")
        await until(lambda: room.live.snapshot.revision == 2, what="the new revision")
        room.turn(10)
        await room.settled()

        assert room.received() == [{"v": 1}, {"v": 2}]
        assert [(attempt.revision, attempt.commit) for attempt in await room.attempts()] == [
            (1, "c0ffee"),
            (2, "bada55"),
        ]
        event = await room.store.event((await room.only()).event_id)
        assert event is not None
        assert event.revision == 1


async def test_a_revision_that_intake_saw_first_reaches_the_worker_too(tmp_path):
    """Intake loads the new revision when the store refuses the old one; the worker must not miss it for that."""
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()
        await room.publish(flow("a"), flow("b"))
        await room.take("r-1")
        assert room.live.snapshot.revision == 2, "intake was first"

        await until(lambda: len(room.sandbox.requests) == 2, what="both webhooks' deliveries")


async def test_a_body_that_cannot_be_rendered_is_never_sent(tmp_path):
    huge = json.dumps({f"k{number}": "{{data.why}}" for number in range(200)})
    async with open_worker(tmp_path, flow("a", body_template=huge), flow("b")) as room:
        await room.start()
        await room.take("r-1", why="x" * 200_000)
        await room.settled()

        [delivery] = await room.deliveries("a")
        assert (delivery.state, delivery.reason, delivery.attempts) == ("dead", "render", 1)
        assert [request.flow for request in room.sandbox.requests] == [alias("b")]


async def test_an_event_that_breaks_our_code_costs_itself_only(tmp_path):
    """What raises unexpectedly fails its own attempt, retryable while nothing was written, and comes to an end."""
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["1s"], "max_attempts": 2})) as room:
        lines = io.StringIO()
        configure("json", lines)
        poison = NewDelivery(DeliveryId("dlv_poison"), WebhookUid("a"), None, START, START)
        event = NewEvent(EventId("evt"), "AccessRequestCreated", None, None, "test", b"{broken", "f", START)
        await room.store.accept([event._replace(deliveries=(poison,))], revision=1)
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.turn(1)
        await room.settled()

        found = {
            delivery.id: (delivery.state, delivery.reason, delivery.attempts) for delivery in await room.deliveries()
        }
        assert found.pop("dlv_poison") == ("dead", "exhausted", 2)
        assert list(found.values()) == [("delivered", None, 1)]
        crashes = [
            line for line in map(json.loads, lines.getvalue().splitlines()) if line["event"] == "delivery.crashed"
        ]
        assert len(crashes) == 2
        assert "event.py:" in crashes[0]["where"], "where it was read"


async def test_a_deleted_webhook_s_delivery_in_flight_is_cancelled_when_it_comes_back(tmp_path):
    async with open_worker(tmp_path, flow("a"), flow("b")) as room:
        room.sandbox.add_script(Line(flow=alias("a"), status=500, delay=0.3))
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 2)

        await room.publish(flow("b"))
        await room.settled()

        [delivery] = [delivery for delivery in await room.deliveries() if delivery.webhook_uid == "a"]
        assert (delivery.state, delivery.reason, delivery.attempts) == ("cancelled", "webhook_deleted", 1)


async def test_a_webhook_made_inactive_in_flight_keeps_what_was_delivered(tmp_path):
    async with open_worker(tmp_path, flow("a")) as room:
        room.sandbox.add_script(Line(delay=0.3))
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1)

        await room.publish(flow("a", status="inactive"))
        await room.settled()

        assert (await room.only()).state == "delivered"


async def test_a_webhook_deleted_between_claim_and_attempt_gives_its_claim_back(tmp_path):
    """The claim is made with a snapshot that no longer has the webhook: the store cancels what is given back."""
    async with open_worker(tmp_path, flow("a")) as room:
        await room.take("r-1")
        await room.start()
        await room.drain()
        assert (await room.states())["pending"] == 1

        claimed = await room.store.claim(now=START, lease_until=START + 10**6, limit=9, revision=1, commit=None)
        await room.publish()
        await room.store.release(claimed, due_at=START)

        delivery = await room.only()
        assert (delivery.state, delivery.reason, delivery.attempts) == ("cancelled", "webhook_deleted", 0)
        assert await room.attempts() == ()


@pytest.fixture
def bindings(tmp_path):
    """A binding file for one secret in a file."""
    (tmp_path / "token").write_text("0123456789abcdef")
    path = tmp_path / "secrets.yaml"
    path.write_text("okta: {from: 'file:token', hosts: [acme.workflows.okta.com]}\n")
    path.chmod(0o600)
    return path


SECRET = {"headers": {"x-api-client-token": "${secret:okta}"}}


async def test_a_secret_that_vanishes_holds_the_delivery_and_counts_nothing(tmp_path, bindings):
    async with open_worker(tmp_path, flow("a", **SECRET), secrets=bindings) as room:
        await room.worker.start()
        (tmp_path / "token").unlink()
        await room.take("r-1")
        room.running = asyncio.create_task(room.worker.run())

        held = await until(lambda: held_note(room), what="the reason")
        assert "okta" in held
        delivery = await room.only()
        assert (delivery.state, delivery.attempts) == ("pending", 0)

        (tmp_path / "token").write_text("0123456789abcdef")
        room.turn(1)
        await until(lambda: len(room.sandbox.requests) == 1, what="the delivery after the secret came back")
        await room.settled()
        assert ((await room.only()).state, (await room.only()).attempts) == ("delivered", 1)


async def held_note(room) -> str | None:
    return (await room.only()).note


async def test_a_401_takes_over_a_changed_binding_file_and_opens_other_lanes(tmp_path, bindings):
    """The re-read on 401 must not hide the change from those who wait for a binding."""
    waiting = flow("b", headers={"x-api-client-token": "${secret:late}"})
    async with open_worker(tmp_path, flow("a", **SECRET), waiting, secrets=bindings) as room:
        await room.start()
        text = bindings.read_text()
        room.sandbox.add_script(Line(flow=alias("a"), status=401, delay=0.1))
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1)
        (tmp_path / "late").write_text("fedcba9876543210")
        bindings.write_text(text + "late: {from: 'file:late', hosts: [acme.workflows.okta.com]}\n")

        await until(lambda: room_has(room, "b", "delivered"), what="the delivery that waited for its binding")


async def room_has(room, webhook: str, state: str) -> bool:
    return bool((await room.states(webhook))[state])


async def test_what_is_recorded_of_an_attempt_holds_no_secret(tmp_path, bindings):
    async with open_worker(tmp_path, flow("a", **SECRET), secrets=bindings) as room:
        await room.start()
        await room.take("r-1")
        await room.settled()

        [attempt] = await room.attempts()
        assert attempt.result["request"]["headers"]["x-api-client-token"] == "***"
        assert "0123456789abcdef" not in json.dumps(attempt.to_json())
        assert room.sandbox.requests[0].status == 200


async def test_a_cloudevent_without_a_template_is_sent_as_the_event_it_wraps(tmp_path):
    """DESIGN: without a body_template the event itself is the body; the envelope is how it came, not what it is."""
    event = '{"event_type":"AccessRequestCreated","event_time":1795424400.851898000,"data":{"id":"r-1"}}'
    envelope = f'{{"specversion":"1.0","id":"ce-1","source":"/apono","type":"request","data":{event}}}'
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()

        await room.intake.take(envelope.encode(), source="test")
        await room.settled()

        assert [request.body for request in room.sandbox.requests] == [event]
