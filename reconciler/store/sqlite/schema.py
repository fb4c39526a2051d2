"""Numbered migrations, each applied once, in one transaction, under the write lock. Called when a store is opened.

Whether a file is a store is told by SQLite's application_id; a file of another program is never touched.
"""

import time
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import apsw

from reconciler.errors import StoreError
from reconciler.store.sqlite.connection import connect, run, value
from reconciler.store.sqlite.fault import store_error

APPLICATION_ID: Final = 0x52434E43  # "RCNC"
WAL_SWITCH_TRIES: Final = 200  # SQLite does not wait for the lock when it switches; 10 s at 50 ms a try

_RECORD: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; versions count from 1 without gaps."""

    version: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """The steps that this program knows, in order, from the `.sql` files of the package."""
    folder = resources.files("reconciler.store") / "migrations" / "sqlite"
    files = sorted((item.name, item) for item in folder.iterdir() if item.name.endswith(".sql"))
    return tuple(Migration(int(name[:4]), name[5:-4], item.read_text(encoding="utf-8")) for name, item in files)


def is_store(path: Path) -> bool:
    """Whether the file has been made a store; False for one that is empty. Raises StoreError for any other file."""
    try:
        db = connect(path)
        try:
            return _is_ours(db, path)
        finally:
            db.close()
    except apsw.Error as exc:
        raise store_error(exc, path) from exc


def prepare(path: Path, steps: tuple[Migration, ...] | None = None) -> apsw.Connection:
    """Open the store at `path`, brought to the newest schema. An empty file becomes a store.

    Raises StoreError for a file of another program, or one that a newer version of this program has migrated.
    """
    known = migrations() if steps is None else steps
    try:
        db = connect(path)
        try:
            if not _is_ours(db, path):
                run(db, "PRAGMA auto_vacuum = INCREMENTAL")  # only a new file can be told; others reuse their pages
                _switch_to_wal(db)
                _migrate(db, known)
            elif _version(db) < len(known):
                _migrate(db, known)
            if (version := _version(db)) > len(known):
                raise StoreError(
                    f"the store has schema version {version}, this program knows {len(known)}: {path}",
                    hint="use the newer version of reconciler that migrated it",
                )
        except BaseException:
            db.close()
            raise
    except apsw.Error as exc:
        raise store_error(exc, path) from exc
    return db


def open_newest(path: Path) -> apsw.Connection:
    """Open a store that needs no step, to read it. Raises StoreError for any other, and apsw.Error."""
    db = connect(path)
    try:
        if not _is_ours(db, path) or _version(db) != len(migrations()):
            raise StoreError(f"the store is not of this version: {path}")
    except BaseException:
        db.close()
        raise
    return db


def _is_ours(db: apsw.Connection, path: Path) -> bool:
    application_id = value(db, "PRAGMA application_id")
    if application_id == APPLICATION_ID:
        return True
    if application_id or value(db, "SELECT count(*) FROM sqlite_schema"):
        raise StoreError(
            f"a database of another program, not a store: {path}",
            hint="name another file by --store, like sqlite:///PATH",
        )
    return False


def _version(db: apsw.Connection) -> int:
    return int(value(db, "SELECT coalesce(max(version), 0) FROM migrations"))


def _switch_to_wal(db: apsw.Connection) -> None:
    for attempt in range(1, WAL_SWITCH_TRIES + 1):
        try:
            run(db, "PRAGMA journal_mode = WAL")
            return
        except apsw.BusyError:  # another process is making the same store
            if attempt == WAL_SWITCH_TRIES:
                raise
            time.sleep(0.05)


def _migrate(db: apsw.Connection, known: tuple[Migration, ...]) -> None:
    for step in known:
        run(db, "BEGIN EXCLUSIVE")
        try:
            run(db, _RECORD)
            if step.version > _version(db):  # judged under the lock: another process may have been quicker
                db.execute(step.sql)
                run(db, f"PRAGMA application_id = {APPLICATION_ID}")
                run(
                    db,
                    "INSERT INTO migrations (version, name) VALUES (:version, :name)",
                    version=step.version,
                    name=step.name,
                )
            run(db, "COMMIT")
        except BaseException:
            if db.in_transaction:
                run(db, "ROLLBACK")
            raise
