"""The file under retention: it reaches its size and keeps it, gives back what it does not need, and no step is long."""

import time
from pathlib import Path

import apsw
import pytest
from store_make import HOUR, claim, delivered, make_delivery, make_event, make_lane, make_live, publish

from reconciler.models.delivery import AttemptResult, Outcome, ReceivedResponse
from reconciler.store.sqlite import retention
from reconciler.store.sqlite.connection import connect, value
from reconciler.store.sqlite.schema import migrations, prepare
from reconciler.store.sqlite.store import SqliteStore

STEP_SECONDS = 0.1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def hour_of_work(store: SqliteStore, hour: int, *, events: int) -> None:
    """Events of 1 to 3 KB with attempts of 4 KB, delivered in the hour they came."""
    at = hour * HOUR
    rows = [
        make_event(f"e{hour}-{n}", make_delivery(f"d{hour}-{n}", "a", at), at=at, raw=b"x" * (1000 + n % 2000))
        for n in range(events)
    ]
    await store.accept(rows, revision=1)
    while claims := await claim(store, at):
        response = ReceivedResponse(200, "OK", (), "y" * 4000, 4000, truncated=False)
        result = AttemptResult(Outcome.DELIVERED, status=200, response=response)
        await store.finish([delivered(claimed, at=at, result=result) for claimed in claims])


async def prune(store: SqliteStore, before: int) -> float:
    """Everything that is old; returns how long the longest step took."""
    longest, at = 0.0, None
    while True:
        began = time.monotonic()
        pruned = await store.prune(before=before, at=at)
        longest = max(longest, time.monotonic() - began)
        if (at := pruned.following) is None:
            return longest


def wal_size_of(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


def size_of(path: Path) -> int:
    return path.stat().st_size + wal_size_of(path)


async def test_under_a_steady_stream_the_file_reaches_its_size_and_keeps_it(path: Path) -> None:
    """Eight times what is kept comes through; after the first few nothing grows any more, the log neither."""
    sizes, longest = [], 0.0
    async with SqliteStore(path) as store:
        await publish(store, make_live("a", "a"))
        await store.configure(1, [make_lane("a", max_concurrency=10_000)])

        for hour in range(24):
            await hour_of_work(store, hour, events=250)
            longest = max(longest, await prune(store, (hour - 3) * HOUR))
            while await store.shrink():
                pass
            sizes.append(size_of(path))

        assert (await store.load()).unfinished == 0
    assert sizes[-1] <= sizes[9] * 1.05
    assert longest < STEP_SECONDS


async def test_space_that_is_not_needed_is_given_back_in_small_steps(path: Path) -> None:
    """After a flood the file becomes small again, without anybody waiting for it."""
    async with SqliteStore(path) as store:
        await publish(store, make_live("a", "a"))
        await store.configure(1, [make_lane("a", max_concurrency=10_000)])
        for hour in range(12):
            await hour_of_work(store, hour, events=350)
        await prune(store, 11 * HOUR)
        pages = await store._read(lambda db: value(db, "PRAGMA page_count"))

        steps, longest, more = 0, 0.0, True
        while more:
            began = time.monotonic()
            more = await store.shrink()
            longest = max(longest, time.monotonic() - began)
            steps += 1

        after = await store._read(lambda db: value(db, "PRAGMA page_count"))
    assert steps > 3
    assert after < pages / 2
    assert longest < STEP_SECONDS
    assert value(connect(path), "PRAGMA integrity_check") == "ok"


async def test_a_log_that_has_outgrown_its_bound_is_cut_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stayed long had kept it growing; once it is gone, the next step ends that."""
    monkeypatch.setattr(retention, "WAL_KEEP_BYTES", 1024 * 1024)
    async with SqliteStore(path) as store:
        await publish(store, make_live("a", "a"))
        await store.configure(1, [make_lane("a")])
        reader = connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchall()
        for number in range(20):
            event = make_event(f"e{number}", raw=b"x" * 200_000)
            await store.accept([event], revision=1)
        grown = wal_size_of(path)

        await store.shrink()
        assert wal_size_of(path) == grown
        reader.execute("COMMIT")
        reader.close()
        await store.shrink()

        assert wal_size_of(path) == 0
    assert grown > 4 * 1024 * 1024


def test_a_store_of_an_older_version_gets_its_index_and_keeps_its_rows(path: Path) -> None:
    """Its pages are reused; only a new file can be told to give them back."""
    path.touch()
    old = connect(path)
    old.execute("PRAGMA journal_mode = WAL")
    old.close()
    prepare(path, migrations()[:6]).close()

    upgraded = prepare(path)

    assert value(upgraded, "SELECT count(*) FROM sqlite_schema WHERE name = 'events_received'") == 1
    assert value(upgraded, "SELECT count(*) FROM lanes WHERE pruned_dead <> 0") == 0
    upgraded.close()


async def test_nothing_is_written_where_nothing_is_old(path: Path) -> None:
    """A daemon that looks every minute must not wake the disk for it."""
    async with SqliteStore(path) as store:
        await publish(store, make_live("a", "a"))
        await store.accept([make_event("e1", make_delivery("d1", "a", 0), at=HOUR)], revision=1)
        other = apsw.Connection(str(path))
        before = value(other, "PRAGMA data_version")

        await store.prune(before=HOUR)
        await store.prune(before=2 * HOUR)
        await store.shrink()

        assert value(other, "PRAGMA data_version") == before
        other.close()
