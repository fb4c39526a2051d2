"""`POST /v1/events` over a real server: what is answered, what is bounded, what is refused."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from served import NOW, Room, event, exchange, raw, running
from starlette.applications import Starlette

from reconciler.dispatch.intake import Intake, IntakeAnswer
from reconciler.dispatch.item import EVENT_MAX_BYTES, REQUEST_MAX_BYTES
from reconciler.errors import StoreError
from reconciler.source.http import HttpLimits, HttpSource
from reconciler.store.base import EventStatus, NewEvent
from reconciler.web.app import build_app


def app_of(room: Room, *, intake: Intake | None = None, **limits: Any) -> Any:
    return build_app(
        store=room.store,
        live=room.live,
        intake=intake or room.intake,
        status=dict,
        limits=HttpLimits(**limits),
    )


@pytest.fixture
async def url(room: Room) -> AsyncIterator[str]:
    async with running(app_of(room)) as base:
        yield base


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


def request(body: bytes, *lines: str, length: int | None = None) -> bytes:
    head = ["POST /v1/events HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body) if length is None else length}"]
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body


async def test_stored_events_are_answered_with_202(client: httpx.AsyncClient, room: Room) -> None:
    """Each item with its id, status and problem."""
    response = await client.post("/v1/events", json=[event(1), {"event_type": 3}])

    assert (response.status_code, response.headers["content-type"]) == (202, "application/json")
    answer = response.json()
    assert (answer["accepted"], answer["quarantined"]) == (1, 1)
    assert [item["status"] for item in answer["events"]] == ["accepted", "quarantined"]
    stored = await room.store.event(answer["events"][0]["id"])
    assert stored is not None and stored.source == "http"


async def test_a_body_that_is_no_json_is_kept(client: httpx.AsyncClient, room: Room) -> None:
    """The sender documents no retry: 202, quarantined."""
    response = await client.post("/v1/events", content=b'{"justification": "say "hi""}')

    assert (response.status_code, response.json()["quarantined"]) == (202, 1)
    assert len(await room.store.events(status=EventStatus.QUARANTINED)) == 1


async def test_lines_are_taken_one_by_one(client: httpx.AsyncClient) -> None:
    """NDJSON by its content type."""
    body = b"\n".join((raw(event(1)), b"oops", raw(event(2))))

    response = await client.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"})

    assert [item["status"] for item in response.json()["events"]] == ["accepted", "quarantined", "accepted"]


async def test_a_single_conflict_is_409(client: httpx.AsyncClient) -> None:
    """A problem document that carries the answer too; a repeat of the same body is fine."""
    headers = {"idempotency-key": "key-1"}
    statuses = [(await client.post("/v1/events", json=event(number), headers=headers)).status_code for number in (1, 1)]
    response = await client.post("/v1/events", json=event(2), headers=headers)

    assert statuses == [202, 202]
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")
    problem = response.json()
    assert (problem["status"], problem["title"], problem["conflicts"]) == (409, "Conflict", 1)
    assert problem["events"][0]["id"] == "key-1"


@pytest.mark.parametrize(
    ("headers", "event_id"),
    [
        ({"idempotency-key": '"quoted-key"'}, "quoted-key"),
        ({"ce-id": "caf%C3%A9%20%22x%22"}, 'café "x"'),
        ({"ce-id": "ce-1", "idempotency-key": "key-1"}, "ce-1"),
    ],
)
async def test_headers_name_a_single_event(client: httpx.AsyncClient, headers: dict[str, str], event_id: str) -> None:
    """Structured fields lose their quotes; `ce-id` is percent-encoded (CloudEvents HTTP binding)."""
    response = await client.post("/v1/events", json=event(1), headers=headers)

    assert response.json()["events"][0]["id"] == event_id


@pytest.mark.parametrize(
    "lines",
    [
        ["idempotency-key:"],
        [f"idempotency-key: {'x' * 256}"],
        ["idempotency-key: caf\xe9"],
        ["idempotency-key: a", "idempotency-key: b"],
        ["ce-id: %ff"],
        ["ce-id: %00"],
    ],
)
async def test_a_bad_id_is_400(url: str, room: Room, lines: list[str]) -> None:
    """And nothing is stored."""
    status, headers, body = await exchange(url, request(raw(event(1)), *lines))

    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["status"] == 400
    assert await room.store.events() == ()


async def test_too_large_an_event_is_413_with_its_index(client: httpx.AsyncClient, room: Room) -> None:
    """Nothing of the request is stored."""
    large = event(2, justification="x" * EVENT_MAX_BYTES)

    response = await client.post("/v1/events", json=[event(1), large])

    assert (response.status_code, response.json()["index"]) == (413, 1)
    assert await room.store.events() == ()


async def test_too_large_a_request_is_refused_by_its_head(url: str) -> None:
    """Before a byte of the body is sent, where the sender waits for that."""
    head = request(b"", "expect: 100-continue", length=REQUEST_MAX_BYTES + 1)
    status, headers, _ = await exchange(url, head, keep_open=True)

    assert (status, headers["connection"]) == (413, "close")


async def test_an_endless_body_is_cut_at_the_limit(client: httpx.AsyncClient) -> None:
    """Chunked bodies say no length; no more than 8 MiB of one is held, and it is not read for ever."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 * REQUEST_MAX_BYTES:
            sent += 65536
            yield b" " * 65536

    with contextlib.suppress(httpx.TransportError):  # closed while we were writing
        assert (await client.post("/v1/events", content=endless())).status_code == 413

    assert sent < 8 * REQUEST_MAX_BYTES
    assert (await client.post("/v1/events", json=event(1))).status_code == 202


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_sender_that_reads_last_sees_the_refusal(url: str, framing: str) -> None:
    """Most clients write the whole body before they read: a reset connection would tell them nothing."""

    def send() -> int:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        content = b" " * (REQUEST_MAX_BYTES + 1_000_000)
        body = iter([content[start : start + 65536] for start in range(0, len(content), 65536)])
        with contextlib.closing(connection):
            connection.request("POST", "/v1/events", body=content if framing == "length" else body)
            return connection.getresponse().status

    assert await asyncio.to_thread(send) == 413


async def test_a_slow_sender_is_408(room: Room) -> None:
    """A body must arrive in time; meanwhile others are served."""
    async with running(app_of(room, body_seconds=0.2)) as url:
        slow = asyncio.create_task(exchange(url, request(b"{", length=1000), keep_open=True))
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.post("/v1/events", json=event(1))).status_code == 202

        status, headers, _ = await slow

    assert (status, headers["connection"]) == (408, "close")


async def test_a_sender_that_hangs_up_stores_nothing(url: str, client: httpx.AsyncClient, room: Room) -> None:
    """Half a body is no event."""
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request(raw(event(1)), length=5000))
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await client.post("/v1/events", json=event(2))).status_code == 202
    assert len(await room.store.events()) == 1


class Held:
    """A real event store whose `accept` waits until it is let go, or fails."""

    def __init__(self, room: Room) -> None:
        self._store = room.store
        self.go = asyncio.Event()
        self.failure: StoreError | None = None

    async def accept(self, events: Sequence[NewEvent], *, revision: int, **facts: Any) -> tuple[EventStatus, ...]:
        await self.go.wait()
        if self.failure:
            raise self.failure
        return await self._store.accept(events, revision=revision, **facts)

    async def events(self, *args: Any, **kwargs: Any) -> Any:
        return await self._store.events(*args, **kwargs)

    async def event(self, event_id: str) -> Any:
        return await self._store.event(event_id)


class Watched(Intake):
    """Tells of each request that has come so far; the store may be given several at once."""

    entered: asyncio.Semaphore

    async def take(self, body: bytes, **facts: Any) -> IntakeAnswer:
        self.entered.release()
        return await super().take(body, **facts)

    def offer(self, body: bytes, **facts: Any) -> None:
        self.entered.release()
        super().offer(body, **facts)


def intake_over(held: Held, room: Room) -> Watched:
    intake = Watched(held, room.live, now=lambda: NOW, wake=lambda: None)
    intake.entered = asyncio.Semaphore(0)
    return intake


async def test_too_many_waiting_requests_are_429(room: Room) -> None:
    """With Retry-After; those that wait are answered all the same, and there is room again afterwards."""
    held = Held(room)
    intake = intake_over(held, room)
    async with (
        running(app_of(room, intake=intake, waiting_max_requests=2)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        waiting = [asyncio.create_task(client.post("/v1/events", json=event(number))) for number in (1, 2)]
        for _ in waiting:
            await asyncio.wait_for(intake.entered.acquire(), 5)

        refused = await client.post("/v1/events", json=event(3))
        held.go.set()
        answered = [(await task).status_code for task in waiting]
        later = await client.post("/v1/events", json=event(3))

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert (answered, later.status_code) == ([202, 202], 202)


async def test_too_many_waiting_bytes_are_429(room: Room) -> None:
    """All bodies together are bounded, not only each."""
    held = Held(room)
    intake = intake_over(held, room)
    async with (
        running(app_of(room, intake=intake, waiting_max_bytes=10_000)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        waiting = asyncio.create_task(client.post("/v1/events", json=event(1, justification="x" * 8000)))
        await asyncio.wait_for(intake.entered.acquire(), 5)

        refused = await client.post("/v1/events", json=event(2, justification="x" * 8000))
        small = asyncio.create_task(client.post("/v1/events", json=event(3)))
        await asyncio.wait_for(intake.entered.acquire(), 5)
        held.go.set()

        assert (refused.status_code, (await waiting).status_code, (await small).status_code) == (429, 202, 202)


async def test_a_store_that_is_away_is_503_without_insides(room: Room) -> None:
    """With Retry-After; what the store said stays with us."""
    held = Held(room)
    held.failure = StoreError("disk I/O error: /var/lib/private.db")
    held.go.set()
    async with (
        running(app_of(room, intake=intake_over(held, room))) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        response = await client.post("/v1/events", json=event(1))

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.headers["content-type"] == "application/problem+json"
    assert "private" not in response.text


async def test_a_draining_daemon_is_503(client: httpx.AsyncClient, room: Room) -> None:
    """Until the process is gone, the sender is told to come back."""
    room.intake.close()

    response = await client.post("/v1/events", json=event(1))

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert await room.store.events() == ()


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
async def test_an_encoded_body_is_415(client: httpx.AsyncClient, encoding: str) -> None:
    """A small body must not become a large one here."""
    response = await client.post("/v1/events", content=b"x", headers={"content-encoding": encoding})

    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    """With the methods that there are."""
    response = await client.request(method, "/v1/events")

    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_source_alone_has_nothing_to_get(room: Room) -> None:
    """Mounted without the reading API, GET is 405."""
    async with (
        running(Starlette(routes=HttpSource(room.intake).routes())) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        assert (await client.get("/v1/events")).status_code == 405


async def test_many_senders_at_once_lose_nothing(client: httpx.AsyncClient, room: Room) -> None:
    """Every 202 is in the store."""
    responses = await asyncio.gather(
        *(client.post("/v1/events", json=[event(10 * sender + number) for number in range(5)]) for sender in range(40))
    )

    assert {response.status_code for response in responses} == {202}
    assert sum(response.json()["accepted"] for response in responses) == 200
    assert sum((await room.store.counts())["created"].values()) == 200
