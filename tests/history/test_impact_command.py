"""`plan --impact`: recorded events of a real store, or of a file, replayed through live and desired webhooks."""

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable
from typing import Any

import pytest
from golden_file import check_golden
from history_folder import Room, hook

from reconciler.cli.impact import accepted_since
from reconciler.models.event import EventId
from reconciler.store.base import NewEvent, Store

DAY = 86_400_000
BODY = '{"fields": {"event type": "{{event_type}}", "email": "{{data.requester.email}}"}}'
LIVE = (
    hook("gone", triggers=["RequestGranted"]),
    hook("moved", url="https://a.example.com/"),
    hook("rewritten", body_template=BODY),
    hook("same"),
)
WANTED = (
    hook("moved", url="https://b.example.com/"),
    hook("new", body_template='{"id": "{{data.id}}"}', filters={"requester": ["ann@*"]}),
    hook("rewritten", body_template=BODY.replace("email", "who", 1)),
    hook("same"),
)


def payload(number: int) -> dict[str, Any]:
    """Every third event is a grant, every second is Ann's."""
    kind = "AccessRequestGranted" if number % 3 == 0 else "AccessRequestCreated"
    who = "ann@example.com" if number % 2 == 0 else "bob@example.com"
    return {"event_type": kind, "event_time": "t", "data": {"id": f"r-{number}", "requester": {"email": who}}}


async def record(room: Room, numbers: Iterable[int], *, at: int) -> None:
    """Events in the room's store."""
    async with room.store() as store:
        await accept(store, numbers, at=at)


async def accept(store: Store, numbers: Iterable[int], *, at: int) -> None:
    """Events as intake stores them, and one that was quarantined."""
    events = [
        NewEvent(
            EventId(f"e-{n}"),
            payload(n)["event_type"],
            f"r-{n}",
            "t",
            "test",
            json.dumps(payload(n)).encode(),
            f"{n}",
            at,
        )
        for n in numbers
    ]
    quarantined = NewEvent(EventId(f"q-{events[0].id}"), "", None, None, "test", b"{", "q", at, problem="not JSON")
    await store.accept([*events, quarantined], revision=await store.live_revision())


def test_the_store_s_events_of_the_last_days_are_replayed(room: Room) -> None:
    """By default seven days; older events, and what was quarantined, are not counted. The unchanged webhook is not
    judged."""
    now = time.time_ns() // 1_000_000
    room.apply(*LIVE)
    asyncio.run(record(room, range(2000, 2010), at=now - 9 * DAY))
    asyncio.run(record(room, range(1, 1201), at=now - 6 * DAY))
    room.declare(*WANTED)

    impact = room.done("plan", "--impact", "--format", "json").json["impact"]

    told = {item["address"]: item for item in impact["webhooks"]}
    assert (impact["events"], impact["skipped"], impact["source"]) == (1200, 0, "of the last 7 days")
    assert list(told) == ["webhook.gone", "webhook.moved", "webhook.new", "webhook.rewritten"]
    assert told["webhook.gone"]["lost"] == 400
    assert (told["webhook.moved"]["changed_destination"], told["webhook.moved"]["changed_body"]) == (800, 0)
    assert told["webhook.new"]["added"] == 400
    assert told["webhook.rewritten"]["changed_body"] == 800
    assert room.done("plan", "--impact", "--impact-days", "10", "--format", "json").json["impact"]["events"] == 1210
    assert room.done("plan", "--impact", "--impact-days", "1", "--format", "json").json["impact"]["events"] == 0


async def test_between_two_pages_nothing_of_the_store_is_held(room: Room) -> None:
    """A serving daemon writes, and moves its log into its file, while the events of a plan are being read; what it
    takes in meanwhile neither appears nor moves the pages."""
    now = time.time_ns() // 1_000_000
    async with room.store(create=True) as reading, room.store() as serving:
        await accept(serving, range(1, 1_201), at=now)
        seen = []
        async for stored in accepted_since(reading, now - DAY):
            seen.append(stored.id)
            if len(seen) % 400 == 1:
                await accept(serving, range(10_000 + len(seen), 10_010 + len(seen)), at=now)
                with contextlib.closing(sqlite3.connect(room.path / "reconciler.db", timeout=0)) as other:
                    (is_held, *_), *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                assert is_held == 0

    assert seen == [f"e-{number}" for number in range(1_200, 0, -1)]


def test_a_file_s_events_are_replayed_instead(room: Room) -> None:
    """As text; a line that is no event is counted and passed over. Without --impact the plan says nothing of it."""
    room.apply(*LIVE)
    room.declare(*WANTED)
    lines = [json.dumps(payload(number)) for number in range(1, 7)]
    (room.path / "events.jsonl").write_text("\n".join([*lines, "{", '{"data": {}}']), "utf-8")

    shown = room.done("plan", "--impact", "--events", "events.jsonl").out

    check_golden("impact.txt", shown[shown.index("Impact on") :])
    assert "Impact" not in room.done("plan").out


def test_a_saved_plan_carries_no_event(room: Room) -> None:
    """What people said in requests is shown to the reviewer, not stored in a pipeline's artefacts."""
    room.declare(*WANTED)
    (room.path / "events.jsonl").write_text(json.dumps(payload(2)), "utf-8")

    shown = room.done("plan", "--impact", "--events", "events.jsonl", "--out", "plan.json").out

    assert "r-2" in shown
    assert "r-2" not in (room.path / "plan.json").read_text("utf-8")


def test_without_a_store_there_is_nothing_to_replay(room: Room) -> None:
    """The plan says so, and makes none."""
    room.declare(*WANTED)

    assert "Impact on 0 events of the last 7 days" in room.done("plan", "--impact").out
    assert not (room.path / "reconciler.db").exists()


def test_a_file_that_cannot_be_read_fails(room: Room) -> None:
    """Like a missing PATH."""
    room.declare(*WANTED)

    assert "cannot read events: none.jsonl" in room.done("plan", "--impact", "--events", "none.jsonl", code=1).err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--impact-days", "3"), "go with --impact"),
        (("--events", "events.jsonl"), "go with --impact"),
        (("--impact", "--impact-days", "3", "--events", "events.jsonl"), "takes others"),
    ],
)
def test_options_that_say_nothing_together_are_refused(room: Room, args: tuple[str, ...], words: str) -> None:
    """Before anything is read."""
    (room.path / "events.jsonl").write_text("", "utf-8")

    assert words in room.done("plan", *args, code=64).err
