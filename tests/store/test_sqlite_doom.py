"""What a revision cancels: at once for whoever reads or claims, in small transactions for the file."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_make import (
    add,
    claim,
    claim_ids,
    delivered,
    make_change_set,
    make_delivery,
    make_event,
    make_lane,
    make_live,
    publish,
    retried,
)

from reconciler.errors import StoreError
from reconciler.models.delivery import Reason, State
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import DeliveryFilter, Page
from reconciler.store.sqlite.flow import CANCEL_ROWS
from reconciler.store.sqlite.publish import Staging, flip
from reconciler.store.sqlite.store import SqliteStore

MANY = 2 * CANCEL_ROWS + 100
ALL = Page(100_000)
FAR_AWAY = 10**13


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "store.db") as opened:
        await publish(opened, *(make_live(uid, uid) for uid in "ab"))
        await opened.configure(1, [make_lane(uid) for uid in "ab"])
        yield opened


async def fill(store: SqliteStore, uid: str, count: int, *, order_key: str | None = None) -> None:
    events = [
        make_event(f"{uid}{n}", make_delivery(f"{uid}{n}", uid, 0, order_key=order_key, hold_until=FAR_AWAY))
        for n in range(count)
    ]
    await store.accept(events, revision=await store.live_revision())


async def flip_only(store: SqliteStore, *, deletes: tuple[str, ...] = (), inactive: tuple[str, ...] = ()) -> None:
    """An apply that is killed right after its revision is live."""
    live = await store.live_state()
    upserts = [make_live(uid, uid, status="inactive") for uid in inactive]
    change_set = make_change_set(live.revision, upserts, deletes=deletes, lineage=live.lineage)
    staging = Staging.of(change_set)
    await store._stage(staging)
    await store._write(lambda db: flip(db, staging))


async def seen(store: SqliteStore, uid: str) -> tuple[int, int]:
    """Pending and cancelled, as counted; the listings must say the same."""
    counts = (await store.counts()).get(WebhookUid(uid), {})
    listed = Counter(item.state for item in await store.deliveries(ALL) if item.webhook_uid == uid)
    assert (listed[State.PENDING], listed[State.CANCELLED]) == (
        counts.get(State.PENDING, 0),
        counts.get(State.CANCELLED, 0),
    )
    for state in (State.PENDING, State.CANCELLED):
        filtered = await store.deliveries(ALL, where=DeliveryFilter(state=state))
        assert len([item for item in filtered if item.webhook_uid == uid]) == listed[state]
    return counts.get(State.PENDING, 0), counts.get(State.CANCELLED, 0)


async def test_from_the_revision_on_everything_reads_cancelled_and_nothing_is_claimed(store: SqliteStore) -> None:
    await fill(store, "a", MANY)
    await fill(store, "b", 1)

    await flip_only(store, deletes=("a",))

    assert await seen(store, "a") == (0, MANY)
    assert "a" not in await store.unfinished()
    assert await claim_ids(store, 10) == ["b0"]
    found = await store.delivery("a7")
    assert found is not None
    assert (found[0].reason, found[0].next_attempt_at) == (Reason.WEBHOOK_DELETED, None)


async def test_the_rows_follow_in_small_portions_and_the_numbers_never_move(store: SqliteStore) -> None:
    await fill(store, "a", MANY)
    await flip_only(store, deletes=("a",))
    before = await store._read(lambda db: db.execute("SELECT total(state = 'cancelled') FROM deliveries").fetchall())
    assert before == [(0.0,)]

    rounds = 1
    while await store.sweep():
        rounds += 1
        assert await seen(store, "a") == (0, MANY)

    assert rounds >= MANY // CANCEL_ROWS
    assert await seen(store, "a") == (0, MANY)
    rows = await store._read(lambda db: db.execute("SELECT state, count(*) FROM deliveries GROUP BY 1").fetchall())
    assert rows == [("cancelled", MANY)]
    assert not await store.sweep()


async def test_an_apply_does_it_to_the_end(store: SqliteStore) -> None:
    await fill(store, "a", MANY)
    live = await store.live_state()

    await store.publish(make_change_set(live.revision, deletes=("a",), lineage=live.lineage))

    rows = await store._read(lambda db: db.execute("SELECT DISTINCT state FROM deliveries").fetchall())
    assert rows == [("cancelled",)]


async def test_a_webhook_that_is_active_again_is_sent_only_what_came_after(store: SqliteStore) -> None:
    """The rows that are still to be written stay cancelled; what is new waits for no predecessor among them."""
    await fill(store, "a", MANY, order_key="r")
    await flip_only(store, inactive=("a",))
    number = await publish(store, make_live("a", "a"))
    await flip_only(store, inactive=("b",))
    await store.configure(number + 1, [make_lane("a")])
    await add(store, "a", "fresh", order_key="r", hold_until=FAR_AWAY)
    while await store.sweep():
        pass

    assert await claim_ids(store, 10) == ["fresh"]
    assert await seen(store, "a") == (0, MANY)


async def test_what_comes_back_undelivered_is_cancelled_and_what_was_delivered_stays_so(store: SqliteStore) -> None:
    await add(store, "a", "a1", "a2", "a3")
    one, two = await claim(store, 0, limit=2)
    await flip_only(store, deletes=("a",))

    await store.finish([delivered(one), retried(two, 10)])
    while await store.sweep():
        pass

    states = {item.id: item.state for item in await store.deliveries(ALL)}
    assert states == {"a1": State.DELIVERED, "a2": State.CANCELLED, "a3": State.CANCELLED}


KILLED = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from store_make import make_change_set
from reconciler.store.sqlite.store import SqliteStore

async def main():
    async with SqliteStore(Path({path!r})) as store:
        live = await store.live_state()
        print("ready", flush=True)
        await store.publish(make_change_set(live.revision, deletes=("a",), lineage=live.lineage))

asyncio.run(main())
"""


async def test_an_apply_that_is_killed_in_between_is_finished_by_whoever_serves_next(tmp_path: Path) -> None:
    """kill -9 as soon as the revision is live: nothing of the webhook is ever sent, and the rows follow."""
    path = tmp_path / "store.db"
    async with SqliteStore(path) as store:
        await publish(store, *(make_live(uid, uid) for uid in "ab"))
        await store.configure(1, [make_lane(uid) for uid in "ab"])
        for start in range(0, 20_000, 5_000):
            events = [make_event(f"e{n}", make_delivery(f"d{n}", "a", 0)) for n in range(start, start + 5_000)]
            await store.accept(events, revision=1)
        code = KILLED.format(here=str(Path(__file__).parent), path=str(path))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await process.stdout.readline()
        async with asyncio.timeout(30):
            while await store.live_revision() == 1:  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()

        assert await seen(store, "a") == (0, 20_000)
        assert await claim(store, 10) == ()
        while await store.sweep():
            pass
        rows = await store._read(lambda db: db.execute("SELECT state, count(*) FROM deliveries GROUP BY 1").fetchall())
        assert rows == [("cancelled", 20_000)]


async def test_a_revision_that_is_live_is_told_so_though_its_rows_cannot_be_written(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up after the flip fails no apply; the rows wait for whoever can write them."""
    await fill(store, "a", 10)
    live = await store.live_state()

    async def fails() -> bool:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "sweep", fails)
    published = await store.publish(make_change_set(live.revision, deletes=("a",), lineage=live.lineage))

    assert published.number == await store.live_revision()
    assert await seen(store, "a") == (0, 10)
