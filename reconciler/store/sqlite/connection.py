"""Opening a connection and reading rows from it; every other module of this engine is built on these few functions.

A thread that steps through rows gives the interpreter's lock away at each row and queues for it beside the event loop
(measured: 2,000 inserts by `executemany` take 2.6 ms alone and 7 s beside a busy loop). So rows go in as one JSON
parameter (`jsonb_each`) and come out as one JSON value (`json_group_array`), a statement each, whatever their number.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import orjson

BUSY_TIMEOUT_MS: Final = 10_000  # how long to wait for another process's write transaction
CACHE_KIB: Final = 16_384
WAL_KEEP_BYTES: Final = 64 * 1024 * 1024  # a WAL that once grew is cut back to this at a checkpoint
STATEMENT_CACHE: Final = 256  # more than the engine has, so that none is parsed twice

Row = tuple[Any, ...]


def connect(path: Path) -> apsw.Connection:
    """Open an existing file for this engine's use. Raises apsw.Error."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=STATEMENT_CACHE)
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    # A plan for all values: where LIMIT is a parameter, SQLite would parse the statement anew each time it is bound.
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA mmap_size = 0")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    db.execute(f"PRAGMA journal_size_limit = {WAL_KEEP_BYTES}")
    return db


def run(db: apsw.Connection, sql: str, **bindings: Any) -> None:
    """Run one statement whose rows, if any, do not matter."""
    db.execute(sql, bindings)


def row(db: apsw.Connection, sql: str, **bindings: Any) -> Row | None:
    """The first row."""
    found: Row | None = db.execute(sql, bindings).fetchone()
    return found


def value(db: apsw.Connection, sql: str, **bindings: Any) -> Any:
    """The first column of the first row; None where there is none."""
    found = row(db, sql, **bindings)
    return None if found is None else found[0]


def rows(db: apsw.Connection, sql: str, **bindings: Any) -> list[Row]:
    """All rows; for the few of a page."""
    return db.execute(sql, bindings).fetchall()


def array(db: apsw.Connection, sql: str, **bindings: Any) -> list[Any]:
    """All rows of a statement that packs them by `json_group_array`: one step, however many they are."""
    packed = value(db, sql, **bindings)
    return [] if packed is None else orjson.loads(packed)


def slices(whole: bytes | None, sizes: Sequence[int]) -> list[bytes]:
    """The blobs of these sizes that group_concat has joined; None where there was none."""
    found, start = [], 0
    for size in sizes:
        assert whole is not None
        found.append(whole[start : start + size])
        start += size
    return found


def pack(items: Sequence[Any]) -> str:
    """Rows as the one parameter that `jsonb_each` unpacks."""
    return orjson.dumps(items).decode()
