"""Requests that are nearly right: each is refused, since what it means cannot be told."""

from collections.abc import AsyncIterator

import httpx
import pytest
from served import Room, event, running

from reconciler.web.app import build_app


@pytest.fixture
async def client(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a daemon without tokens."""
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict, now=lambda: room.now)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path", "fact"),
    [
        (
            "GET",
            "/v1/deliveries?sate=dead",
            "unknown parameter: sate; those here are before, event, limit, state, webhook",
        ),
        ("GET", "/v1/counts?webhook=created", "unknown parameter: webhook; there are none here"),
        ("GET", "/v1/holds?owner=", "unknown parameter: owner; there are none here"),
        ("DELETE", "/v1/holds?owner=&by=ann", "unknown parameter: by; those here are behalf, owner, reason"),
        ("POST", "/v1/webhooks/created/pause?reason=x", "unknown parameter: reason; there are none here"),
        ("GET", "/v1/events?limit=", "`limit` must be a whole number from 1 to 1000: "),
        ("GET", "/v1/audit?before=", "`before` must be a whole number: "),
        ("GET", "/v1/audit/rows?after=", "`after` must be a whole number: "),
    ],
)
async def test_a_parameter_that_means_nothing_is_refused(
    client: httpx.AsyncClient, method: str, path: str, fact: str
) -> None:
    """A misspelt filter would otherwise narrow nothing, and a portion of nothing be everything."""
    found = await client.request(method, path)

    assert (found.status_code, found.json()["detail"]) == (400, fact)


async def test_senders_and_probes_may_hang_what_they_like_at_a_url(client: httpx.AsyncClient) -> None:
    """They are not ours to change; a listing of the same path knows its parameters."""
    assert (await client.post("/v1/events?tenant=acme", json=event())).status_code == 202
    assert (await client.get("/healthz?verbose")).status_code == 200
    assert (await client.get("/readyz?from=balancer")).status_code == 200
    assert (await client.get("/v1/events?tenant=acme")).status_code == 400


async def test_a_whole_number_is_one_by_its_value(client: httpx.AsyncClient) -> None:
    """As JSON Schema has it: programs write 3.0; 3.5 is none, and neither are true and text."""
    told = {"webhook": "created", "successful": True}
    taken = await client.post("/v1/audit/tests", json={**told, "status": 200.0})
    refused = [await client.post("/v1/audit/tests", json={**told, "status": status}) for status in (200.5, True, "200")]

    assert taken.status_code == 204
    assert [found.status_code for found in refused] == [422, 422, 422]
    assert (await client.get("/v1/audit")).json()[0]["details"]["status"] == 200


@pytest.mark.parametrize("text", ["n\u0094", "abc", "YQ", "YQ==YQ==", "Y Q=="])
async def test_bytes_are_base_64_or_refused(client: httpx.AsyncClient, text: str) -> None:
    """A decoder that passes over what it does not know would mend an event as something else."""
    quarantined = (await client.post("/v1/events", content=b"{")).json()["events"][0]["id"]

    found = await client.post("/v1/events/replay", json={"id": quarantined, "raw_base64": text})

    assert (found.status_code, found.json()["code"]) == (422, "invalid")
