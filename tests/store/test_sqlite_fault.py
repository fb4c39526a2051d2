"""SQLite's errors in words for people: the file, the fact, the way out."""

from pathlib import Path

import apsw
import pytest
from store_make import make_change_set, make_lane, make_live, publish

from reconciler.errors import StoreBusyError, StoreError
from reconciler.store.sqlite.fault import store_error
from reconciler.store.sqlite.publish import Staging
from reconciler.store.sqlite.store import SqliteStore


@pytest.mark.parametrize(
    ("exc", "fact"),
    [
        (apsw.FullError(), "the disk is full, nothing was stored"),
        (apsw.ReadOnlyError(), "the store cannot be written"),
        (apsw.NotADBError(), "not a SQLite database"),
        (apsw.CorruptError(), "the store is damaged"),
        (apsw.PermissionsError(), "no permission to use the store"),
        (apsw.IOError("disk I/O error"), "the store cannot be read or written"),
        (apsw.NoMemError(), "not enough memory"),
        (apsw.ConstraintError("CHECK"), "breaks its rules"),
        (apsw.BusyError(), "another process is writing to the store"),
        (apsw.LockedError(), "another process is writing to the store"),
        (apsw.CantOpenError(), "the store cannot be opened"),
    ],
)
def test_every_fault_names_the_file_and_a_way_out(tmp_path: Path, exc: apsw.Error, fact: str) -> None:
    """By type, never by SQLite's text."""
    path = tmp_path / "store.db"

    fault = store_error(exc, path)

    assert fact in fault.message
    assert str(path) in fault.message
    assert fault.hint
    assert isinstance(fault, StoreBusyError) is isinstance(exc, apsw.BusyError | apsw.LockedError)


def test_a_fault_of_no_known_kind_says_what_sqlite_says(tmp_path: Path) -> None:
    """It is likely ours: the text is needed to find it."""
    assert "no such table: x" in store_error(apsw.SQLError("no such table: x"), tmp_path / "store.db").message


async def test_what_may_only_be_read_can_be_read(tmp_path: Path) -> None:
    """A write says that it cannot."""
    async with SqliteStore(tmp_path / "store.db") as store:
        await publish(store, make_live("a", "a"))
        await store._write(lambda db: db.execute("PRAGMA query_only = ON").get)

        assert len((await store.live_state()).webhooks) == 1
        with pytest.raises(StoreError, match="the store cannot be written"):
            await store.configure(1, [make_lane("a")])


async def test_a_stored_webhook_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Written by hand or by another version: an error, never a store that looks empty."""
    async with SqliteStore(tmp_path / "store.db") as store:
        await publish(store, make_live("u-1", "a"))
        await store._write(lambda db: db.execute("UPDATE documents SET body = '{}'").get)

        with pytest.raises(StoreError, match=r"cannot be read: a$") as caught:
            await store.live_state()

    assert "restore a backup" in caught.value.hint  # no plan and no rollback can be made of such a state


async def test_what_is_staged_without_a_flip_is_nothing(tmp_path: Path) -> None:
    """A crash between the two leaves the old revision; the same apply then works."""
    given = [make_live(f"u{number}", f"w{number}", title="new") for number in range(1_100)]
    async with SqliteStore(tmp_path / "store.db") as store:
        await publish(store, make_live("u0", "w0", title="old"))
        await store._stage(Staging.of(make_change_set(1, given)))

    async with SqliteStore(tmp_path / "store.db") as store:
        live = await store.live_state()
        assert [(held.uid, held.webhook.metadata.title) for held in live.webhooks] == [("u0", "old")]
        assert await publish(store, *given) == 2
        assert len((await store.live_state()).webhooks) == 1_100
