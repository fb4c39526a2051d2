"""Pauses and backlogs over HTTP and on the page."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from served import NOW, Room, raw, running

from reconciler.models.delivery import AttemptResult, Outcome, State
from reconciler.models.flow import Pause
from reconciler.models.health import BREAKER_FAILURES, Health
from reconciler.store.base import Finished, Lane
from reconciler.web.app import build_app


@pytest.fixture
async def client(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict, now=lambda: NOW)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


def at(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


async def test_a_pause_is_answered_as_it_is_kept(client: httpx.AsyncClient, room: Room) -> None:
    """Since when is the daemon's word, who the client's where there are no tokens."""
    body = {"reason": "a reason", "by": "ann", "until": at(NOW + 60_000)}

    answer = await client.post("/v1/webhooks/created/pause", json=body)

    assert answer.status_code == 200
    assert (await room.store.flow("created")).halt.pause == Pause(NOW, "ann", "a reason", NOW + 60_000)
    shown = (await client.get("/v1/webhooks/created")).json()
    assert shown["paused"] == answer.json()
    assert "a reason" in shown["note"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": ""},
        {"reason": "a\nb"},
        {"reason": "a", "until": "soon"},
        {"reason": "a", "until": "2026-01-01T00:00:00"},
        {"reason": "a", "until": at(NOW)},
        {"reason": "a", "forever": True},
        [],
        "reason",
    ],
)
async def test_what_is_no_pause_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, room: Room, body: object
) -> None:
    answer = await client.post("/v1/webhooks/created/pause", content=json.dumps(body))

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid"
    assert await room.store.halts() == {}


@pytest.mark.parametrize("verb", ["pause", "resume", "compact"])
async def test_an_unknown_webhook_is_a_404(client: httpx.AsyncClient, verb: str) -> None:
    body = {"reason": "a reason"} if verb == "pause" else {}

    answer = await client.post(f"/v1/webhooks/nobody/{verb}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_in_store")


async def test_resuming_needs_no_body_and_takes_no_other(client: httpx.AsyncClient, room: Room) -> None:
    await room.store.pause("created", Pause(NOW, "ann", "a reason"))

    assert (await client.post("/v1/webhooks/created/resume", json={"fresh": True})).status_code == 422
    ended = await client.post("/v1/webhooks/created/resume")
    again = await client.post("/v1/webhooks/created/resume")

    assert ended.json()["paused"]["reason"] == "a reason"
    assert again.json() == {"paused": None}


async def test_a_browser_cannot_pause(client: httpx.AsyncClient, room: Room) -> None:
    headers = {"origin": "https://evil.example.com"}

    answer = await client.post("/v1/webhooks/created/pause", json={"reason": "a reason"}, headers=headers)

    assert answer.status_code == 403
    assert await room.store.halts() == {}


async def test_the_page_says_what_is_paused_and_how_long_the_backlog_takes(
    client: httpx.AsyncClient, room: Room
) -> None:
    await room.intake.take(raw({"event_type": "RequestCreated", "data": {"id": "r-1"}}), source="test")
    await room.store.pause("created", Pause(NOW, "ann", "<b>a reason</b>", NOW + 60_000))

    for path in ("/", "/webhooks/created", "/deliveries"):
        text = (await client.get(path)).text
        assert "&lt;b&gt;a reason&lt;/b&gt;" in text, path
    assert "1 pending, no rate limit" in (await client.get("/webhooks/created")).text


async def test_a_pause_whose_time_is_over_is_not_shown(client: httpx.AsyncClient, room: Room) -> None:
    await room.store.pause("created", Pause(NOW - 60_000, "ann", "lunch", NOW - 1))

    assert (await client.get("/v1/webhooks/created")).json()["paused"] is None
    assert "lunch" not in (await client.get("/")).text


async def test_an_open_breaker_is_shown_with_its_next_probe(client: httpx.AsyncClient, room: Room) -> None:
    uid = next(live.uid for live in (await room.store.live_state()).webhooks if live.webhook.name == "created")
    events = [{"event_type": "RequestCreated", "data": {"id": f"r-{n}"}} for n in range(BREAKER_FAILURES)]
    await room.intake.take(json.dumps(events).encode(), source="test")
    await room.store.configure(1, [Lane(uid, "receiver.example.com/hook", None, 1, 16)])
    claimed = await room.store.claim(now=NOW, lease_until=NOW + 1, limit=99, revision=1, commit=None)
    await room.store.finish(
        [
            Finished(
                item.seq, item.token, item.number, NOW, Outcome.RETRYABLE, AttemptResult(Outcome.RETRYABLE),
                State.PENDING, next_attempt_at=NOW, health=Health.FAILED,
            )
            for item in claimed
        ]
    )  # fmt: skip

    shown = (await client.get("/v1/webhooks/created")).json()

    assert shown["breaker"]["failures"] == BREAKER_FAILURES
    assert datetime.fromisoformat(shown["breaker"]["probe_at"]).timestamp() * 1000 == NOW + 30_000
    assert "breaker open" in (await client.get("/webhooks/created")).text
