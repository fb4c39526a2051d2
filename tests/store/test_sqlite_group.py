"""Group commit, and what stands beside it: reads that never wait, other processes, a full disk."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from store_make import claim_ids, make_change_set, make_delivery, make_event, make_lane, make_live, publish

from reconciler.errors import StoreBusyError, StoreError
from reconciler.store.base import EventStatus, RevisionMovedError
from reconciler.store.sqlite.store import SqliteStore


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path) as opened:
        await publish(opened, make_live("a", "a"))
        await opened.configure(1, [make_lane("a", max_concurrency=10_000)])
        yield opened


async def accept(store: SqliteStore, id_: str) -> None:
    """One event with one delivery for a, queued at once."""
    await store.accept([make_event(f"event {id_}", make_delivery(id_, "a", 0))], revision=1)


class Gate:
    """A verb that holds the writer until it is opened, so that what is queued behind it is one group."""

    def __init__(self, store: SqliteStore) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        self._task = asyncio.create_task(store._write(self._hold))

    def _hold(self, db: apsw.Connection) -> None:
        self._entered.set()
        assert self._open.wait(timeout=10)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 10)

    async def open(self) -> None:
        self._open.set()
        await self._task


async def test_what_is_queued_together_is_committed_together(store: SqliteStore) -> None:
    """Hundreds of intakes share a few commits; each has its own answer."""
    committed: list[int] = []

    def count() -> bool:
        committed.append(1)
        return False  # True would make it a rollback

    await store._write(lambda db: db.set_commit_hook(count))
    committed.clear()
    gate = Gate(store)
    await gate.entered()
    adding = [asyncio.create_task(accept(store, f"d{number}")) for number in range(300)]
    await asyncio.sleep(0)

    await gate.open()
    await asyncio.gather(*adding)

    assert len(await claim_ids(store, 0, limit=1_000)) == 300
    assert len(committed) < 30


async def test_an_exception_undoes_its_own_call_only(store: SqliteStore) -> None:
    """The group is undone with it, and all others are run anew, each in a transaction of its own."""

    def fail(db: apsw.Connection) -> None:
        db.execute("UPDATE store SET live_revision = 77")
        raise ZeroDivisionError

    gate = Gate(store)
    await gate.entered()
    calls = [
        store.accept([make_event("e1", make_delivery("d1", "a", 0))], revision=1),
        store.accept([make_event("e2", make_delivery("d2", "a", 0))], revision=9),
        store._write(fail),
        store._write(lambda db: db.execute("not SQL")),
        store.accept([make_event("e3", make_delivery("d3", "a", 0))], revision=1),
    ]
    running = asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0)
    await gate.open()

    first, moved, failed, wrong, last = await running

    assert (first, last) == ((EventStatus.ACCEPTED,), (EventStatus.ACCEPTED,))
    assert isinstance(moved, RevisionMovedError)
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(wrong, StoreError)
    assert await store.live_revision() == 1
    assert await claim_ids(store, 0) == ["d1", "d3"]


async def test_a_refusal_before_anything_is_written_costs_the_group_nothing(store: SqliteStore) -> None:
    """An intake that was matched with a revision that has gone is answered so, and all others keep their one commit."""
    committed: list[int] = []
    await store._write(lambda db: db.set_commit_hook(lambda: bool(committed.append(1))))
    gate = Gate(store)
    await gate.entered()
    adding = [accept(store, f"d{number}") for number in range(20)]
    late = store.accept([make_event("late", make_delivery("late", "a", 0))], revision=9)
    running = asyncio.gather(*adding[:10], late, *adding[10:], return_exceptions=True)
    await asyncio.sleep(0)
    committed.clear()

    await gate.open()
    answers = await running

    assert [type(answer) for answer in answers if answer is not None] == [RevisionMovedError]
    assert len(committed) == 1
    assert len(await claim_ids(store, 0)) == 20


async def test_a_read_does_not_wait_for_a_write(store: SqliteStore) -> None:
    """It sees the last commit, not what is being written."""
    gate = Gate(store)
    await gate.entered()
    publishing = asyncio.create_task(
        store.publish(make_change_set(1, [make_live("b", "b")], lineage=(await store.live_state()).lineage))
    )

    async with asyncio.timeout(5):
        assert await store.live_revision() == 1
        assert [live.uid for live in (await store.live_state()).webhooks] == ["a"]

    await gate.open()
    assert (await publishing).number == 2
    assert await store.live_revision() == 2


async def test_a_cancelled_caller_stops_nobody(store: SqliteStore) -> None:
    """Its call may be done or not; the group goes on."""
    gate = Gate(store)
    await gate.entered()
    cancelled, kept = asyncio.create_task(accept(store, "d1")), asyncio.create_task(accept(store, "d2"))
    await asyncio.sleep(0)

    cancelled.cancel()
    await gate.open()
    await kept

    assert cancelled.cancelled()
    assert await claim_ids(store, 0) == ["d1", "d2"]


async def test_a_commit_that_fails_is_an_answer_too(store: SqliteStore) -> None:
    """Each caller hears of it, nothing is stored, and the writer goes on."""
    refuse = [False]
    await store._write(lambda db: db.set_commit_hook(lambda: refuse[0]))

    refuse[0] = True
    failed = await asyncio.gather(accept(store, "d1"), accept(store, "d2"), return_exceptions=True)
    refuse[0] = False
    await accept(store, "d3")

    assert all(isinstance(answer, StoreError) for answer in failed)
    assert await claim_ids(store, 0) == ["d3"]


async def test_another_process_at_its_write_is_waited_for(store: SqliteStore, path: Path) -> None:
    """Apply beside the daemon: whoever comes second waits a while, then says so, with nothing written."""
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(accept(store, "d1"))
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()

    other.execute("COMMIT")
    await waiting

    await store._write(lambda db: db.set_busy_timeout(20))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="another process is writing") as caught:
        await accept(store, "d2")
    other.execute("ROLLBACK")
    other.close()
    await accept(store, "d3")
    assert str(path) in caught.value.message
    assert await claim_ids(store, 0) == ["d1", "d3"]


async def test_a_full_disk_acknowledges_nothing_and_heals(store: SqliteStore, path: Path) -> None:
    """When there is space again, it goes on; what was stored before stands."""
    await accept(store, "d0")
    pages = await store._write(lambda db: db.execute("PRAGMA page_count").get)
    await store._write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 20}").get)
    big = make_event("big", make_delivery("d1", "a", 0), raw=b"x" * 200_000)

    for _ in range(2):
        with pytest.raises(StoreError, match="disk is full, nothing was stored") as caught:
            await store.accept([big], revision=1)
    assert str(path) in caught.value.message
    assert await store.event("big") is None

    await store._write(lambda db: db.execute("PRAGMA max_page_count = 1000000").get)
    assert await store.accept([big], revision=1) == (EventStatus.ACCEPTED,)
    assert await claim_ids(store, 0) == ["d0", "d1"]


async def test_of_a_group_that_fills_the_disk_only_what_does_not_fit_fails(store: SqliteStore) -> None:
    """A large intake must not take the small ones with it, nor a result that is waiting to be recorded."""
    pages = await store._write(lambda db: db.execute("PRAGMA page_count").get)
    await store._write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 20}").get)
    gate = Gate(store)
    await gate.entered()
    big = make_event("big", make_delivery("dbig", "a", 0), raw=b"x" * 500_000)
    running = asyncio.gather(
        accept(store, "d1"), store.accept([big], revision=1), accept(store, "d2"), return_exceptions=True
    )
    await asyncio.sleep(0)
    await gate.open()

    first, failed, last = await running

    assert (first, last) == (None, None)
    assert isinstance(failed, StoreError)
    assert await claim_ids(store, 0) == ["d1", "d2"]


async def test_a_store_whose_writer_cannot_open_says_so_each_time(tmp_path: Path) -> None:
    """The file vanished under it: no call hangs."""
    path = tmp_path / "store.db"
    async with SqliteStore(path) as store:
        await store.live_revision()
        path.unlink()

        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be opened"):
                await store.configure(1, [])
