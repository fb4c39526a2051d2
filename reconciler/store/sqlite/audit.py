"""The audit log on a connection: an entry appended in the transaction of its deed, and the log read from either end."""

import time
from typing import Final

import apsw

from reconciler.models.audit import AuditEntry, AuditHead, AuditRow, Deed, genesis, sealed
from reconciler.store.sqlite.connection import row, rows, run

_HEAD: Final = "SELECT s.lineage, h.number, h.digest FROM audit_head h CROSS JOIN store s"
_APPEND: Final = "INSERT INTO audit_entries (number, digest, body) VALUES (:number, :digest, :body)"


def append(db: apsw.Connection, deed: Deed, *, at: int | None = None) -> None:
    """Append the entry of a deed. `at`: when it was done, where its warrant does not say; None: now."""
    end = head(db)
    moment = time.time_ns() // 1_000_000 if at is None else at
    entry = sealed(deed, number=end.number + 1, at=moment, previous=end.digest)
    run(db, _APPEND, number=entry.number, digest=entry.digest, body=entry.body)


def head(db: apsw.Connection) -> AuditHead:
    """The end of the log."""
    lineage, number, digest = row(db, _HEAD) or ("", 0, "")
    return AuditHead(lineage, number, digest or genesis(lineage))


def entries(db: apsw.Connection, limit: int, before: int | None) -> tuple[AuditEntry, ...]:
    """Entries, newest first."""
    sql = (
        "SELECT number, digest, body FROM audit_entries WHERE :before IS NULL OR number < :before"
        " ORDER BY number DESC LIMIT :limit"
    )
    return tuple(AuditEntry.of(AuditRow(*found)) for found in rows(db, sql, before=before, limit=limit))


def kept(db: apsw.Connection, after: int, limit: int) -> tuple[AuditRow, ...]:
    """Entries as they are kept, oldest first."""
    sql = "SELECT number, digest, body FROM audit_entries WHERE number > :after ORDER BY number LIMIT :limit"
    return tuple(AuditRow(*found) for found in rows(db, sql, after=after, limit=limit))
