"""Replays, cancels and triggers over the API: what is taken, what is refused, who did it, what the page shows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import NOW, Room, event, open_room, raw, running, webhook
from web_token import bearer, guarded_app

from reconciler.models.delivery import AttemptResult, Outcome, Reason, State
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import Finished, Lane
from reconciler.store.wire_operate import ORDER_MAX_BYTES

REPLAY = {"action": "replay", "key": "k1", "by": "somebody", "reason": "mended <b>", "where": {"states": ["dead"]}}


class Woken:
    """Counts what the worker was told."""

    times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """One dead delivery of `created`; `manual` has none."""
    async with open_room(tmp_path, webhook("created"), webhook("manual", triggers=["Manual"])) as opened:
        await opened.intake.take(raw(event(1)), source="test")
        lane = Lane(WebhookUid("created"), "created", per_second=None, burst=1, max_concurrency=9)
        await opened.store.configure(1, [lane])
        (item,) = await opened.store.claim(now=NOW, lease_until=NOW + 9, limit=9, revision=1, commit=None)
        result = AttemptResult(Outcome.PERMANENT)
        ended = Finished(item.seq, item.token, 1, NOW, Outcome.PERMANENT, result, State.DEAD, Reason.PERMANENT)
        await opened.store.finish([ended])
        yield opened


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
async def client(room: Room, woken: Woken, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = guarded_app(room, tmp_path / "tokens.yaml", on_operate=woken)
    async with (
        running(app) as url,
        httpx.AsyncClient(base_url=url, headers=bearer("operator"), trust_env=False) as made,
    ):
        yield made


async def test_a_replay_is_done_by_the_token_at_the_daemons_time_and_wakes_the_worker(
    room: Room, client: httpx.AsyncClient, woken: Woken
) -> None:
    """Who the client says it is does not matter."""
    surveyed = await client.post("/v1/deliveries/survey", json=REPLAY, headers=bearer("reader"))
    assert woken.times == 0
    response = await client.post("/v1/deliveries/replay", json=REPLAY)

    (delivery,) = await room.store.deliveries()
    found = await room.store.delivery(delivery.id)
    assert found is not None
    (kept,) = found[0].interventions
    portion = {"done": 1, "webhooks": {"created": {"done": 1}}, "first": [delivery.id], "following": None}
    assert surveyed.json() == response.json() == portion
    assert (kept.given_by, kept.given_at, kept.reason) == ("operator", NOW, "mended <b>")
    assert (delivery.state, delivery.next_attempt_at, woken.times) == (State.PENDING, NOW, 1)


async def test_the_page_tells_what_operators_did(client: httpx.AsyncClient, room: Room) -> None:
    """In the list by the state, in full on the delivery's own page."""
    await client.post("/v1/deliveries/replay", json=REPLAY)
    listed = (await client.get("/deliveries")).text
    await client.post("/v1/deliveries/cancel", json={**REPLAY, "action": "cancel", "key": "k2", "where": {}})
    (delivery,) = await room.store.deliveries()

    page = (await client.get(f"/deliveries/{delivery.id}")).text

    assert "pending: replayed" in listed
    assert "cancelled: operator" in page
    assert page.index(">cancel<") < page.index(">replay<")
    assert "mended &lt;b&gt;" in page and "mended <b>" not in page
    assert page.count("<td>operator</td>") == 2


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"key": None}, "`key` is missing"),
        ({"key": "no spaces"}, "`key`"),
        ({"action": "cancel"}, "`action` must be `replay` here"),
        ({"action": "resend"}, "`action`"),
        ({"where": {"states": ["gone"]}}, "`where.states.0`"),
        ({"where": {"since": "2026-11-24T10:00:00"}}, "`where.since`"),
        ({"where": {"seq": 1}}, "`where.seq`"),
        ({"reason": "two\nlines"}, "`reason`"),
        ({"delay_ms": -1}, "`delay_ms`"),
        ({"what": 1}, "`what`"),
    ],
)
async def test_what_is_no_order_is_refused_with_the_field(
    room: Room, client: httpx.AsyncClient, change: dict[str, Any], fact: str
) -> None:
    """Nothing is done."""
    response = await client.post("/v1/deliveries/replay", json={**REPLAY, **change})

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert fact in response.json()["detail"]
    assert [item.state for item in await room.store.deliveries()] == [State.DEAD]


async def test_an_order_that_is_too_large_or_goes_nowhere_is_refused(client: httpx.AsyncClient) -> None:
    """413 and 404."""
    large = await client.post("/v1/deliveries/replay", content=b"x" * (ORDER_MAX_BYTES + 1))
    lost = await client.post("/v1/deliveries/replay", json={**REPLAY, "at": "nowhere"})

    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert (lost.status_code, lost.json()["code"]) == (404, "not_in_store")


@pytest.mark.parametrize("path", ["deliveries/replay", "deliveries/cancel", "events/replay", "webhooks/manual/trigger"])
async def test_only_who_may_operate_changes_something(room: Room, client: httpx.AsyncClient, path: str) -> None:
    """Neither a reader, nor a pipeline, nor a sender of events."""
    for name in ("reader", "pipeline", "apono"):
        response = await client.post(f"/v1/{path}", json=REPLAY, headers=bearer(name))

        assert (response.status_code, response.json()["role"]) == (403, "operate")
    assert [item.state for item in await room.store.deliveries()] == [State.DEAD]


async def test_a_trigger_is_answered_with_its_delivery(room: Room, client: httpx.AsyncClient, woken: Woken) -> None:
    """Stored before the answer; the worker is woken; an id fires once."""
    first = await client.post("/v1/webhooks/manual/trigger?id=on-call", json=event(7))
    again = await client.post("/v1/webhooks/manual/trigger?id=on-call", json=event(7))
    fresh = await client.post("/v1/webhooks/manual/trigger", json=event(7))

    assert [item.status_code for item in (first, again, fresh)] == [202, 202, 202]
    assert [item.json()["status"] for item in (first, again, fresh)] == ["accepted", "duplicate", "accepted"]
    assert first.json()["event_id"] == "on-call" and fresh.json()["event_id"].startswith("trg_")
    assert await room.store.delivery(first.json()["delivery_id"]) is not None
    assert woken.times >= 2


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("created/trigger", 422, "invalid"),
        ("nobody/trigger", 404, "not_in_store"),
        ("manual/trigger?id=%1b", 422, "invalid"),
    ],
)
async def test_a_trigger_that_cannot_be_is_refused(
    room: Room, client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    """Nothing is stored."""
    response = await client.post(f"/v1/webhooks/{path}", json=event(7))

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert len(await room.store.events()) == 1
