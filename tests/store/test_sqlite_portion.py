"""Lanes of many webhooks are set in small transactions, as if they were set in one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
from store_make import claim_ids, make_delivery, make_event, make_lane, make_live, publish

from reconciler.store.sqlite.lane import PORTION
from reconciler.store.sqlite.store import SqliteStore

COUNT = 2 * PORTION + 10
OPEN = "SELECT count(*) FROM lanes WHERE is_open = 1 AND pace_id IS NOT NULL"


async def test_the_strictest_pace_holds_for_lanes_of_different_portions(tmp_path: Path) -> None:
    """The first and the last lane share a pace key; either may be the strict one."""
    for strict in (0, COUNT - 1):
        async with SqliteStore(tmp_path / f"{strict}.db") as store:
            await publish(store, *(make_live(f"u{n:05d}", f"w{n:05d}") for n in range(COUNT)))
            lanes = [make_lane(f"u{n:05d}", "shared" if n in (0, COUNT - 1) else None) for n in range(COUNT)]
            lanes[strict] = make_lane(f"u{strict:05d}", "shared", per_second=1.0)

            await store.configure(1, lanes)

            found = await store._read(
                lambda db: db.execute("SELECT interval_us FROM paces WHERE key = 'shared'").fetchall()
            )
            assert found == [(1_000_000,)]
            assert await store._read(lambda db: db.execute(OPEN).fetchall()) == [(COUNT,)]


async def test_a_newer_revision_that_comes_in_between_is_left_alone(tmp_path: Path) -> None:
    """Another process configures after one of the portions: what it set stays."""
    async with SqliteStore(tmp_path / "store.db") as store, SqliteStore(tmp_path / "store.db") as other:
        await publish(store, *(make_live(f"u{n:05d}", f"w{n:05d}") for n in range(COUNT)))
        await publish(store, make_live("u00000", "w00000", title="new"))
        write, portions = store._write, 0

        async def interrupted(function: Callable[[apsw.Connection], Any]) -> Any:
            nonlocal portions
            portions += 1
            if portions == 3:
                await other.configure(2, [make_lane("u00000")])
            return await write(function)

        store._write = interrupted  # type: ignore[method-assign]
        await store.configure(1, [make_lane(f"u{n:05d}") for n in range(COUNT)])
        store._write = write  # type: ignore[method-assign]

        claimable = "SELECT webhook_uid FROM lanes WHERE pace_id IS NOT NULL"
        assert await store._read(lambda db: db.execute(claimable).fetchall()) == [("u00000",)]


async def test_lanes_that_are_gone_are_claimed_from_no_more(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "store.db") as store:
        await publish(store, *(make_live(uid, uid) for uid in "ab"))
        await store.configure(1, [make_lane(uid) for uid in "ab"])
        await store.accept([make_event("e", make_delivery("d-a", "a", 0), make_delivery("d-b", "b", 0))], revision=1)

        await store.configure(1, [make_lane("b")])

        assert await claim_ids(store, 10) == ["d-b"]
        assert await store.next_wake_at() is None
