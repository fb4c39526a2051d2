"""`events replay` on a store and through a daemon."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Room, event, open_room, raw, running, webhook

from reconciler.web.app import build_app

Run = Any


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path, webhook("created")) as opened:
        yield opened


@pytest.fixture
async def daemon(room: Room) -> AsyncIterator[str]:
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict, now=lambda: room.now)
    async with running(app) as url:
        yield url


@pytest.fixture(params=["file", "daemon"])
def store(request: pytest.FixtureRequest, tmp_path: Path, daemon: str) -> str:
    return daemon if request.param == "daemon" else f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def run(reconciler: Any, store: str) -> Run:
    """`events …` in a thread, while the daemon runs in this loop."""
    import asyncio

    async def call(*args: str, **facts: Any) -> Any:
        return await asyncio.to_thread(reconciler, "--store", store, "events", *args, **facts)

    return call


async def quarantine(room: Room, body: bytes) -> str:
    return (await room.intake.take(body, source="apono")).items[0].id


def words(done: Any) -> list[list[str]]:
    """The words of each line of what was printed."""
    return [line.split() for line in done.stdout.splitlines()]


async def test_a_file_mends_an_event(room: Room, run: Run, tmp_path: Path) -> None:
    """Its beginning names it; `show` tells of both what became of what."""
    old = await quarantine(room, b'{"event_type": "AccessRequestCreated", "data": {"id": "\xff"}}')
    (tmp_path / "mended.json").write_bytes(raw(event(1)))

    done = await run("replay", old[:12], "--file", "mended.json")
    report = json.loads((await run("show", old, "--format", "json")).stdout)

    assert done.stdout == f"accepted     {old} -> {report['mended_as']}\n"
    assert report["status"] == "mended"
    assert ["mended", "as", report["mended_as"]] in words(await run("show", old))
    assert ["mends", old] in words(await run("show", report["mended_as"]))
    assert len(await room.store.deliveries()) == 1


async def test_all_quarantined_are_judged_again_and_what_stays_so_is_exit_1(room: Room, run: Run) -> None:
    """Each with its problem, oldest first; standard input mends one."""
    first, second = await quarantine(room, b"{one"), await quarantine(room, b"{two")

    done = await run("replay", "--all", "--auto-approve", code=1)
    mended = await run("replay", second, "--file", "-", "--format", "json", stdin=json.dumps(event(2)))

    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["quarantined", first], ["quarantined", second]]
    assert "not JSON" in done.stdout and "0 mended, 2 not" in done.stderr
    (report,) = json.loads(mended.stdout)
    assert (report["id"], report["accepted"]) == (second, 1)
    listed = json.loads((await run("list", "--status", "mended", "--format", "json")).stdout)
    assert [item["id"] for item in listed] == [second]


async def test_what_is_no_quarantined_event_is_refused(room: Room, run: Run, tmp_path: Path) -> None:
    """With what to do instead."""
    accepted = await quarantine(room, raw(event(1)))

    done = await run("replay", accepted, code=1)

    assert "is accepted, not quarantined" in done.stderr and "deliveries replay --event" in done.stderr
    assert "no events are quarantined" in (await run("replay", "--all", "--auto-approve")).stderr
    assert "--all" in (await run("replay", code=64)).stderr
    assert "--file mends one event" in (await run("replay", "--all", "--file", "x", code=64)).stderr
    assert "no terminal" in (await run("replay", "--all", code=1)).stderr


async def test_the_api_takes_bytes_of_any_kind_and_nothing_else(room: Room, daemon: str) -> None:
    """Text, base 64 for what is no UTF-8; faults are told."""
    old = await quarantine(room, b"{one")
    async with httpx.AsyncClient(base_url=daemon, trust_env=False) as client:
        bad = await client.post("/v1/events/replay", json={"id": old, "raw_base64": "/w=="})
        odd = await client.post("/v1/events/replay", json={"id": old, "what": 1})
        none = await client.post("/v1/events/replay", json={"id": "nowhere"})
        good = await client.post("/v1/events/replay", json={"id": old, "raw": json.dumps(event(1))})
        again = await client.post("/v1/events/replay", json={"id": old})

    assert (bad.status_code, bad.json()["quarantined"]) == (200, 1)
    assert "not UTF-8" in bad.json()["events"][0]["problem"]
    assert (odd.status_code, odd.json()["code"]) == (422, "invalid") and "`what`" in odd.json()["detail"]
    assert (none.status_code, none.json()["code"]) == (404, "not_in_store")
    assert (good.status_code, good.json()["accepted"]) == (200, 1)
    assert again.status_code == 422 and "mended before" in again.json()["detail"]
