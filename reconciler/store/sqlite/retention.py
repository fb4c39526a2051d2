"""The verbs of RetentionStore on a connection: what is old is deleted from the leaves to the root, a little at a time.

A portion is some events by age. Of those that may go, first attempts, then deliveries without attempts, then events
without deliveries; each step is bounded by rows and by bytes, since a large row is a chain of pages to be freed.
"""

import os
from pathlib import Path
from typing import Final

import apsw

from reconciler.errors import NotInStoreError
from reconciler.store.retention import Load, Pruned
from reconciler.store.sqlite.connection import WAL_KEEP_BYTES, array, connect, pack, row, run, value

WINDOW_EVENTS: Final = 100  # looked at in one step
PRUNE_ROWS: Final = 250  # of attempts, and of deliveries, deleted in one step; some 15 ms with the commit
PRUNE_BYTES: Final = 1024 * 1024  # of events, and of attempts' invocation data
SPARE_PAGES: Final = 2_048  # kept for what comes next: 8 MiB
SPARE_SHARE: Final = 4  # and one page in so many
SHRINK_PAGES: Final = 64  # moved in one step; some 10 ms
WAL_BUSY_MS: Final = 100  # how long a checkpoint waits for readers before it is left for the next time

_WINDOW: Final = """
SELECT json_group_array(json_array(seq, received_at)) FROM (
    SELECT seq, received_at FROM events INDEXED BY events_received
    WHERE received_at >= :from AND received_at < :before AND (received_at > :from OR seq > :after)
    ORDER BY received_at, seq LIMIT :limit)
"""
# The newest rows stay whatever their age, so that no number is ever given twice.
_MAY_GO: Final = """
SELECT json_group_array(json_array(seq, bytes_before < :bytes)) FROM (
    SELECT e.seq, sum(length(e.raw)) OVER (ORDER BY j.key) - length(e.raw) AS bytes_before
    FROM json_each(:seqs) j CROSS JOIN events e ON e.seq = j.value
    WHERE e.seq < (SELECT max(seq) FROM events)
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = e.seq AND (
            d.state IN ('pending', 'in_flight') OR d.seq = (SELECT max(seq) FROM deliveries)
            OR EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_seq = d.seq AND a.finished_at >= :before)))
)
"""
_ATTEMPTS: Final = """
SELECT json_group_array(id) FROM (
    SELECT id, sum(size) OVER (ROWS UNBOUNDED PRECEDING) - size AS bytes_before FROM (
        SELECT a.id, octet_length(a.result) AS size
        FROM json_each(:seqs) j CROSS JOIN deliveries d ON d.event_seq = j.value
        CROSS JOIN attempts a ON a.delivery_seq = d.seq LIMIT :limit)
) WHERE bytes_before < :bytes
"""
_DELIVERIES: Final = """
SELECT json_group_array(seq) FROM (SELECT d.seq
    FROM json_each(:seqs) j CROSS JOIN deliveries d ON d.event_seq = j.value
    WHERE NOT EXISTS (SELECT 1 FROM attempts WHERE delivery_seq = d.seq) LIMIT :limit)
"""
_EVENTS: Final = """
SELECT json_group_array(value) FROM json_each(:seqs) j
WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE event_seq = j.value)
"""
_LOAD: Final = "SELECT coalesce(sum(pending - doomed + in_flight), 0) FROM lanes"


def window(db: apsw.Connection, before: int, at: str | None) -> tuple[list[int], str | None]:
    """The next events by age, and where to go on after them. Raises NotInStoreError for an `at` that nothing gave."""
    start, after = _place(at)
    found = array(db, _WINDOW, **{"from": start}, before=before, after=after, limit=WINDOW_EVENTS)
    seqs = [seq for seq, _ in found]
    return seqs, f"{found[-1][1]}-{seqs[-1]}" if len(found) == WINDOW_EVENTS else None


def has_old(db: apsw.Connection, seqs: list[int], before: int) -> bool:
    """Whether something of a window may be deleted."""
    return bool(array(db, _MAY_GO, seqs=pack(seqs), before=before, bytes=PRUNE_BYTES))


def prune(db: apsw.Connection, before: int, at: str | None) -> Pruned:
    """One step; judged anew in the transaction that deletes."""
    seqs, following = window(db, before, at)
    old = array(db, _MAY_GO, seqs=pack(seqs), before=before, bytes=PRUNE_BYTES)
    packed = pack([seq for seq, fits in old if fits])
    attempts = array(db, _ATTEMPTS, seqs=packed, limit=PRUNE_ROWS, bytes=PRUNE_BYTES)
    _delete(db, "attempts", "id", attempts)
    deliveries = array(db, _DELIVERIES, seqs=packed, limit=PRUNE_ROWS)
    _delete(db, "deliveries", "seq", deliveries)
    events = array(db, _EVENTS, seqs=packed)
    _delete(db, "events", "seq", events)
    is_done = len(events) == len(old)
    return Pruned(len(events), len(deliveries), len(attempts), following if is_done else at or "0-0")


def has_spare(db: apsw.Connection) -> bool:
    """Whether more pages are free than what comes next will need, and can be given back."""
    free, pages = value(db, "PRAGMA freelist_count"), value(db, "PRAGMA page_count")
    is_surplus = free > max(SPARE_PAGES, pages // SPARE_SHARE)
    return bool(is_surplus and value(db, "PRAGMA auto_vacuum") == 2)


def shrink(db: apsw.Connection) -> bool:
    """Give some free pages back to the file system; True if there is more to give."""
    db.execute(f"PRAGMA incremental_vacuum({SHRINK_PAGES})").fetchall()  # a page a step
    return has_spare(db)


def trim_wal(path: Path) -> None:
    """Write a write-ahead log that has outgrown its bound into the store and cut it off; nothing where somebody reads
    or writes just then. On a connection of its own: none may be in a transaction."""
    try:
        size = Path(f"{path}-wal").stat().st_size
    except OSError:
        return
    if size <= WAL_KEEP_BYTES:
        return
    db = connect(path)
    try:
        db.set_busy_timeout(WAL_BUSY_MS)
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)  # most of it, without holding anybody up
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return
    finally:
        db.close()


def load(db: apsw.Connection, path: Path) -> Load:
    """What is unfinished, and the room on the disk beside what the file has free within itself."""
    found = row(db, "SELECT freelist_count, page_size FROM pragma_freelist_count, pragma_page_size") or (0, 0)
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize + found[0] * found[1]
    return Load(value(db, _LOAD), free, disk.f_blocks * disk.f_frsize)


def _delete(db: apsw.Connection, table: str, key: str, ids: list[int]) -> None:
    if ids:
        run(db, f"DELETE FROM {table} WHERE {key} IN (SELECT value FROM json_each(:ids))", ids=pack(ids))


def _place(at: str | None) -> tuple[int, int]:
    """From which time, and after which row of it."""
    if at is None:
        return 0, 0
    start, _, after = at.partition("-")
    if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in (start, after)):
        raise NotInStoreError(f"there is no place to continue from: {at:.40}", hint="begin again without it")
    return int(start), int(after)
