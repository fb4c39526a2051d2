"""The health of a store's file: SQLite's own checks, the rules that rows must keep, and what lies around the file.

On a connection of its own, which never writes: each check is a statement of its own, so that no snapshot is held for
long (the write-ahead log of a serving daemon would grow meanwhile), and is cut off when its time is over.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw

from reconciler.models.revision import NOBODY
from reconciler.models.webhook import WebhookUid
from reconciler.store.examine import Answered, Broken, Examination
from reconciler.store.sqlite.connection import array, connect, row, rows, run, value
from reconciler.store.sqlite.lock import holder_of
from reconciler.store.sqlite.mode import loose_files, open_folder
from reconciler.store.sqlite.publish import written_sha256
from reconciler.store.sqlite.retention import load
from reconciler.store.sqlite.rule import RULES, Rule

CHECK_SECONDS: Final = 5.0  # for one table, or one rule
ALL_SECONDS: Final = 30.0  # for all of them
PROGRESS_STEPS: Final = 10_000  # of SQLite's machine between two looks at the clock; some 0.1 ms
DAMAGE_MAX: Final = 20
ANSWERED_MAX: Final = 200
REVISIONS_MAX: Final = 100  # the newest, compared with what the audit log says was applied

_WAITING: Final = "SELECT min(wake_at) FROM paces WHERE wake_at IS NOT NULL"
_EXPIRED: Final = "SELECT count(*), min(lease_until) FROM deliveries WHERE state = 'in_flight' AND lease_until < :now"
_QUARANTINED: Final = "SELECT count(*) FROM events WHERE problem IS NOT NULL AND mended_as IS NULL"
_LANES: Final = """
SELECT json_group_array(json_array(webhook_uid, CASE WHEN is_open = 0 THEN coalesce(note, 'held back') END))
FROM lanes WHERE pace_id IS NOT NULL
"""
_ANSWERED: Final = """
SELECT result ->> '$.request.url', h.value, finished_at
FROM (SELECT result, finished_at FROM attempts ORDER BY id DESC LIMIT :limit) a,
    json_each(a.result, '$.response.headers') h
WHERE lower(h.key) = 'date' AND h.type = 'text' ORDER BY finished_at DESC
"""

_TOLD: Final = """
SELECT json_group_array(json_array(body ->> '$.details.revision', body ->> '$.details.written_sha256')) FROM (
    SELECT body FROM audit_entries WHERE json_valid(body) AND body ->> '$.action' IN ('apply', 'rollback')
    ORDER BY number DESC LIMIT :limit)
"""
_WRITTEN: Final = """
SELECT json_group_array(json_array(revision, uid, name, owner, digest, document_id IS NULL))
FROM webhook_versions WHERE revision >= :first
"""
_POLICIES: Final = """
SELECT json_group_array(json_array(revision, json(body))) FROM policies WHERE revision >= :first
"""


class _Watch:
    """Runs checks on one connection, each for a while; remembers which did not come to their end."""

    def __init__(self, db: apsw.Connection, *, is_patient: bool) -> None:
        self._db = db
        self._ends_at = None if is_patient else time.monotonic() + ALL_SECONDS
        self.left_out: list[str] = []

    def run(self, name: str, check: Callable[[], Any]) -> Any:
        """What the check returns; None if it was cut off."""
        ends_at = None if self._ends_at is None else min(self._ends_at, time.monotonic() + CHECK_SECONDS)
        self._db.set_progress_handler(lambda: ends_at is not None and time.monotonic() > ends_at, PROGRESS_STEPS)
        try:
            return check()
        except apsw.InterruptError:
            self.left_out.append(name)
            return None
        finally:
            self._db.set_progress_handler(None)


def examine(path: Path, now: int, is_full: bool) -> Examination:
    """The whole examination; blocks, so call it in a thread. Raises apsw.Error where the file cannot be read."""
    db = connect(path)
    try:
        run(db, "PRAGMA query_only = ON")
        watch = _Watch(db, is_patient=is_full)
        damage = list(_damage(db, watch, is_full))
        broken = [] if damage else list(_broken(db, watch))
        expired, expired_at = row(db, _EXPIRED, now=now) or (0, None)
        space = load(db, path)
        waiting = value(db, _WAITING)
        return Examination(
            engine=f"SQLite {apsw.sqlite_lib_version()}",
            schema_version=value(db, "SELECT max(version) FROM migrations"),
            size_bytes=sum(_size(file) for file in (path, Path(f"{path}-wal"))),
            free_bytes=space.free_bytes,
            total_bytes=space.total_bytes,
            damage=tuple(damage),
            broken=tuple(broken),
            left_out=tuple(watch.left_out),
            holder=holder_of(path),
            due_at=waiting if waiting is not None and waiting <= now else None,
            expired=expired,
            expired_at=expired_at,
            quarantined=value(db, _QUARANTINED),
            lanes={WebhookUid(uid): note for uid, note in array(db, _LANES)},
            loose=tuple(loose_files(path)),
            open_folder=open_folder(path),
            answered=tuple(Answered(*found) for found in rows(db, _ANSWERED, limit=ANSWERED_MAX)),
        )
    finally:
        db.close()


def _damage(db: apsw.Connection, watch: _Watch, is_full: bool) -> Iterator[str]:
    """What SQLite itself finds wrong, table by table."""
    pragma = "integrity_check" if is_full else "quick_check"
    tables = [name for (name,) in rows(db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    found: list[str] = []
    for table in tables:
        try:
            told = watch.run(f"table {table}", partial(rows, db, f'PRAGMA {pragma}("{table}")'))
        except apsw.CorruptError as exc:
            told = [(f"table {table} cannot be read: {exc}",)]
        found += [str(line).replace("\n", " ") for (line,) in told or () if line != "ok"]
        if len(found) >= DAMAGE_MAX:
            break
    if not found:  # else it would meet the damage again
        keys = watch.run("references between tables", partial(rows, db, "PRAGMA foreign_key_check"))
        found = [f"a row of {child} names a row of {parent} that is not there" for child, _, parent, _ in keys or ()]
    yield from list(dict.fromkeys(found))[:DAMAGE_MAX]


def _broken(db: apsw.Connection, watch: _Watch) -> Iterator[Broken]:
    """The rules that rows break."""
    for rule in RULES:
        found = watch.run(rule.fact, partial(_breaches, db, rule))
        if found is not None and found[0]:
            number, example = found
            yield Broken(rule.code, f"{rule.fact}: {number:,} do not, the first is {example}")
    fact = "each revision is what the audit log says was applied"
    rewritten = watch.run(fact, partial(_rewritten, db))
    if rewritten:
        yield Broken("rewritten", f"{fact}: {len(rewritten):,} are not, the newest is {max(rewritten)}")


def _rewritten(db: apsw.Connection) -> list[int]:
    """Of the newest revisions those whose rows are others than those that were written."""
    told = {number: digest for number, digest in array(db, _TOLD, limit=REVISIONS_MAX) if isinstance(number, int)}
    first = min(told, default=0)
    kinds: dict[int, tuple[list[list[str]], list[str], list[str]]] = {number: ([], [], []) for number in told}
    for number, uid, name, owner, digest, is_deleted in array(db, _WRITTEN, first=first):
        if number not in kinds:
            continue
        upserts, deletes, released = kinds[number]
        # Three cases: deleted, released to nobody, or written.
        if is_deleted:
            deletes.append(uid)
        elif owner == NOBODY:
            released.append(uid)
        else:
            upserts.append([uid, name, digest])
    policies = dict(array(db, _POLICIES, first=first))
    return [
        number
        for number, (upserts, deletes, released) in kinds.items()
        if told[number] != written_sha256(upserts, deletes=deletes, released=released, policy=policies.get(number))
    ]


def _breaches(db: apsw.Connection, rule: Rule) -> tuple[int, str]:
    """How many rows break a rule, and one of them."""
    number, example = row(db, f"SELECT count(*), min(found) FROM ({rule.sql})") or (0, None)
    return number, f"{example}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
