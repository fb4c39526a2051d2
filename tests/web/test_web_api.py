"""The reading API and the health of the daemon."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from served import NOW, Room, event, publish, raw, running, webhook

from reconciler import jsontext
from reconciler.errors import StoreError
from reconciler.store.base import Lane
from reconciler.web.app import build_app


@pytest.fixture
async def client(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(
        store=room.store, live=room.live, intake=room.intake, status=lambda: {"in_flight": 3}, now=lambda: room.now
    )
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


async def take(room: Room, *bodies: Any) -> list[str]:
    ids = []
    for body in bodies:
        answer = await room.intake.take(body if isinstance(body, bytes) else raw(body), source="test")
        ids.append(answer.items[0].id)
    return ids


async def test_lists_have_the_shapes_of_the_commands(client: httpx.AsyncClient, room: Room) -> None:
    """The same JSON as `--format json`."""
    (event_id,) = await take(room, event(1))
    delivery = (await room.store.deliveries())[0]
    stored = await room.store.event(event_id)
    assert stored is not None

    assert (await client.get("/v1/events")).json() == [stored.to_json()]
    assert (await client.get("/v1/deliveries")).json() == [delivery.to_json()]
    assert (await client.get(f"/v1/deliveries/{delivery.id}")).json() == delivery.in_full(())
    assert (await client.get("/v1/revisions")).json() == [item.to_json() for item in await room.store.revisions()]
    webhooks = (await client.get("/v1/webhooks")).json()
    assert [(item["name"], item["deliveries"]["pending"]) for item in webhooks] == [("approved", 0), ("created", 1)]
    one = (await client.get("/v1/webhooks/created")).json()
    assert one.pop("backlog")["pending"] == 1
    assert one == webhooks[1]


async def test_an_event_is_shown_as_received_and_parsed(client: httpx.AsyncClient, room: Room) -> None:
    """With the digits of its numbers, and its deliveries."""
    body = b'{"event_type": "RequestCreated", "n": 1795424400.851898000, "big": 123456789012345678901234567890}'
    (event_id,) = await take(room, body)

    text = (await client.get(f"/v1/events/{event_id}")).text

    shown = jsontext.loads(text)
    assert shown["raw"] == body.decode()
    assert '"n":1795424400.851898000,"big":123456789012345678901234567890' in text
    assert [item["webhook"] for item in shown["delivery_log"]] == ["created"]


async def test_what_is_not_utf8_is_shown_in_base64(client: httpx.AsyncClient, room: Room) -> None:
    """No byte of a quarantined body is lost on the way out."""
    (event_id,) = await take(room, b"\xff\x00")

    shown = (await client.get(f"/v1/events/{event_id}")).json()

    assert (shown["raw"], shown["raw_base64"], shown["parsed"]) == (None, "/wA=", None)


async def test_ids_from_outside_are_found_by_their_path(client: httpx.AsyncClient, room: Room) -> None:
    """Slashes, question marks and other letters included."""
    given = "a/b?c#d é%2F"
    await room.intake.take(raw(event(1)), source="test", idempotency_key=given)

    response = await client.get("/v1/events/a%2Fb%3Fc%23d%20%C3%A9%252F")

    assert response.json()["id"] == given


async def test_pages_lead_to_older_ones(client: httpx.AsyncClient, room: Room) -> None:
    """`Link: rel="next"` until there is nothing left; filters stay."""
    ids = await take(room, *(event(number) for number in range(5)))
    seen: list[str] = []
    path = "/v1/events?limit=2&status=accepted"
    while path:
        response = await client.get(path)
        seen += [item["id"] for item in response.json()]
        following = response.links.get("next")
        path = following["url"] if following else ""
        assert not path or "status=accepted" in path

    assert seen == ids[::-1]


async def test_deliveries_are_filtered(client: httpx.AsyncClient, room: Room) -> None:
    """By webhook, state and event."""
    await publish(room.store, webhook("created"), webhook("other"))
    first, _ = await take(room, event(1), event(2))

    async def names(query: str) -> list[str]:
        return sorted(item["webhook"] for item in (await client.get(f"/v1/deliveries?{query}")).json())

    assert await names("webhook=other") == ["other", "other"]
    assert await names(f"event={first}") == ["created", "other"]
    assert await names("state=delivered") == []
    assert await names("state=pending&webhook=created") == ["created", "created"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events?limit=0",
        "/v1/events?limit=1001",
        "/v1/events?limit=x",
        "/v1/events?limit=²",
        "/v1/events?status=x",
        "/v1/deliveries?state=gone",
    ],
)
async def test_a_query_that_cannot_be_read_is_400(client: httpx.AsyncClient, path: str) -> None:
    """With what would have been right."""
    response = await client.get(path)

    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "path", ["/v1/events/nope", "/v1/deliveries/nope", "/v1/webhooks/nope", "/v1/nope", "/v1/events/"]
)
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, path: str) -> None:
    """As a problem document."""
    response = await client.get(path)

    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_a_webhook_says_why_it_waits(client: httpx.AsyncClient, room: Room) -> None:
    """The note of its lane."""
    await publish(room.store, webhook("created"))
    await room.store.configure(2, [Lane("created", "k", None, 1, 16, is_open=False, note="secret `t` is not bound")])  # type: ignore[arg-type]
    await take(room, event(1))

    notes = {item["name"]: item["note"] for item in (await client.get("/v1/webhooks")).json()}

    assert notes["created"] == "secret `t` is not bound"


async def test_health(client: httpx.AsyncClient, room: Room) -> None:
    """It lives; it is ready, at which revision and how far behind."""
    await room.store.configure(1, [Lane("created", "k", None, 1, 16)])  # type: ignore[arg-type]
    await take(room, event(1))
    room.now = NOW + 2500

    assert (await client.get("/healthz")).json() == {"status": "alive"}
    assert (await client.get("/readyz")).json() == {
        "status": "ready",
        "revision": 1,
        "matched_revision": 1,
        "lag_seconds": 2.5,
        "in_flight": 3,
    }


async def test_a_draining_daemon_is_not_ready(client: httpx.AsyncClient, room: Room) -> None:
    """But it lives."""
    room.intake.close()

    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/healthz")).status_code == 200


class Away:
    """A store that fails whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        async def fail(*args: Any, **kwargs: Any) -> Any:
            if name == "revisions":
                raise RuntimeError("private detail")
            raise StoreError("disk I/O error: /var/lib/private.db")

        return fail


@pytest.mark.parametrize("path", ["/readyz", "/v1/events", "/events", "/v1/deliveries/x"])
async def test_a_store_that_is_away_is_503(room: Room, path: str) -> None:
    """Said without our insides, to programs and to people."""
    away: Any = Away()
    app = build_app(store=away, live=room.live, intake=room.intake, status=dict)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.get(path)

    assert response.status_code == 503
    assert "private" not in response.text


@pytest.mark.parametrize("path", ["/v1/revisions", "/revisions"])
async def test_our_own_fault_is_500_without_insides(room: Room, path: str) -> None:
    """With the security headers all the same."""
    away: Any = Away()
    app = build_app(store=away, live=room.live, intake=room.intake, status=dict)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.get(path)

    assert response.status_code == 500
    assert "private" not in response.text
    assert "content-security-policy" in response.headers


async def test_answers_are_json_even_where_utf8_ends(client: httpx.AsyncClient, room: Room) -> None:
    """A lone surrogate in free text is escaped."""
    (event_id,) = await take(room, b'{"event_type": "RequestCreated", "data": {"justification": "\\ud800"}}')

    response = await client.get(f"/v1/events/{event_id}")

    assert json.loads(response.content)["parsed"]["data"]["justification"] == "\ud800"
