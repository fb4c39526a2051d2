"""What sources do where no more can be taken: 429 or 503 with Retry-After, or patience; no promise is broken."""

import asyncio
from pathlib import Path

import httpx
from served import NOW, Room, event, exchange, raw, running

from reconciler.dispatch.intake import Intake
from reconciler.dispatch.room import Room as IntakeRoom
from reconciler.dispatch.room import RoomLimits
from reconciler.source.base import Taken
from reconciler.source.jsonl import read_events
from reconciler.store.retention import Load
from reconciler.store.sqlite.store import SqliteStore
from reconciler.web.app import build_app


def limited(room: Room, limits: RoomLimits) -> tuple[Intake, IntakeRoom]:
    gate = IntakeRoom(limits)
    return Intake(room.store, room.live, now=lambda: NOW, wake=lambda: None, room=gate), gate


async def test_a_full_backlog_is_429_with_retry_after_until_there_is_room(room: Room) -> None:
    """Sent to by careful senders, nothing is lost; told before the body is read."""
    intake, gate = limited(room, RoomLimits(max_unfinished=2))
    app = build_app(store=room.store, live=room.live, intake=intake, status=dict)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        taken = [(await client.post("/v1/events", json=event(number))).status_code for number in (1, 2)]
        refused = await client.post("/v1/events", json=event(3))
        head = [b"POST /v1/events HTTP/1.1", b"host: 127.0.0.1", b"content-length: 900000", b"expect: 100-continue"]
        unread = await exchange(url, b"\r\n".join([*head, b"", b""]))
        gate.see(Load(1))
        later = await client.post("/v1/events", json=event(3))

    assert taken == [202, 202]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert refused.json()["detail"] == "too many deliveries are unfinished"
    assert unread[0] == 429
    assert later.status_code == 202
    assert len(await room.store.events()) == 3


async def test_a_full_disk_is_503_acknowledges_nothing_and_heals_without_a_restart(room: Room) -> None:
    """The low-water mark is passed by where the disk is full at once; what was acknowledged before stands."""
    assert isinstance(room.store, SqliteStore)
    write = room.store._write
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        before = await client.post("/v1/events", json=event(1))
        pages = await write(lambda db: db.execute("PRAGMA page_count").get)
        await write(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").get)
        large = event(2, justification="x" * 200_000)
        refused = await client.post("/v1/events", json=large)
        stored = len(await room.store.events())
        await write(lambda db: db.execute("PRAGMA max_page_count = 1000000").get)
        again = await client.post("/v1/events", json=large)

    assert (before.status_code, refused.status_code, again.status_code) == (202, 503, 202)
    assert refused.headers["retry-after"] == "5"
    assert stored == 1
    assert again.json()["accepted"] == 1


async def test_a_file_waits_for_room_and_drops_nothing(room: Room, tmp_path: Path) -> None:
    intake, gate = limited(room, RoomLimits(max_unfinished=250))
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(raw(event(number)) + b"\n" for number in range(600)))
    reading = asyncio.create_task(read_events(str(file), intake))

    async with asyncio.timeout(20):
        while not reading.done():
            await asyncio.sleep(0.01)
            if gate.why_full is not None:
                assert len(await room.store.deliveries()) <= 500
                gate.see(Load(0))

    assert await reading == Taken(accepted=600)
