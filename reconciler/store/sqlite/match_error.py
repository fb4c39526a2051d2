"""The verbs of MatchErrorStore on a connection. `event.accept` writes an event's match errors with the event."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import apsw

from reconciler.errors import NotInStoreError
from reconciler.models.audit import Deed
from reconciler.models.event import EventId
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import RevisionMovedError
from reconciler.store.match_error import MatchError, MatchErrorFilter, Settled
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import array, pack, row, rows, run, value
from reconciler.store.sqlite.event import insert_deliveries
from reconciler.store.sqlite.text import storable

_LISTED: Final = """
SELECT m.id, e.id, e.event_type, m.webhook_uid, w.name, m.error, m.judged_at, m.revision
FROM match_errors m CROSS JOIN events e ON e.seq = m.event_seq LEFT JOIN live_webhooks w ON w.uid = m.webhook_uid
"""
_COUNTS: Final = """
SELECT json_group_array(json_array(webhook_uid, number))
FROM (SELECT webhook_uid, count(*) AS number FROM match_errors GROUP BY webhook_uid)
"""
_FOUND: Final = """
SELECT json_group_array(json_array(m.id, m.event_seq))
FROM json_each(:ids) j CROSS JOIN match_errors m ON m.id = j.value
"""
_FAILED_ANEW: Final = """
UPDATE match_errors SET error = j.value ->> 1, judged_at = :now, revision = :revision
FROM jsonb_each(:errors) j WHERE match_errors.id = j.value ->> 0
"""
_DELETE: Final = "DELETE FROM match_errors WHERE id IN (SELECT value FROM json_each(:ids))"
_KNOWN_DELIVERIES: Final = "SELECT count(*) FROM deliveries WHERE id IN (SELECT value ->> 0 FROM jsonb_each(:new))"


def match_errors(db: apsw.Connection, where: MatchErrorFilter, limit: int, after: str | None) -> tuple[MatchError, ...]:
    """Match errors, oldest first."""
    terms = ["true"]
    if after is not None:
        terms.append("m.id > :after")
    if where.webhook is not None:
        terms.append("m.webhook_uid = (SELECT uid FROM live_webhooks WHERE name = :webhook)")
    if where.event_id is not None:
        terms.append("m.event_seq = (SELECT seq FROM events WHERE id = :event_id)")
    found = rows(
        db,
        f"{_LISTED} WHERE {' AND '.join(terms)} ORDER BY m.id LIMIT :limit",
        after=None if after is None else _number(after),
        webhook=where.webhook and storable(where.webhook),
        event_id=where.event_id and storable(where.event_id),
        limit=limit,
    )
    return tuple(
        MatchError(str(number), EventId(event_id), kind, WebhookUid(uid), name, error, judged_at, revision)
        for number, event_id, kind, uid, name, error, judged_at, revision in found
    )


def counts(db: apsw.Connection) -> Mapping[WebhookUid, int]:
    """How many each webhook has."""
    return {WebhookUid(uid): number for uid, number in array(db, _COUNTS)}


def settle(db: apsw.Connection, settled: Sequence[Settled], revision: int, now: int, deed: Deed | None = None) -> int:
    """Write what judging again has told; how many deliveries were made. Raises RevisionMovedError."""
    live, commit = row(
        db, "SELECT live_revision, (SELECT git_commit FROM revisions WHERE number = live_revision) FROM store"
    ) or (0, None)
    if live != revision:
        raise RevisionMovedError(live)
    numbers = {item.match_error_id: _number(item.match_error_id) for item in settled}
    event_seqs = dict(array(db, _FOUND, ids=pack(list(numbers.values()))))
    left = [(numbers[item.match_error_id], item) for item in settled if numbers[item.match_error_id] in event_seqs]
    failed = [[number, storable(item.error)] for number, item in left if item.error is not None]
    run(db, _FAILED_ANEW, errors=pack(failed), now=now, revision=revision)
    run(db, _DELETE, ids=pack([number for number, item in left if item.error is None]))
    new = [
        [made.id, event_seqs[number], made.webhook_uid, made.order_key, made.due_at, made.hold_until, now]
        for number, item in left
        if (made := item.delivery) is not None
    ]
    known = value(db, _KNOWN_DELIVERIES, new=pack(new))
    if new:
        insert_deliveries(db, new, revision, commit)
    deliveries = len(new) - int(known)
    if deed is not None:
        append(db, replace(deed, details={**deed.details, "judged": len(settled), "deliveries": deliveries}), at=now)
    return deliveries


def _number(match_error_id: str) -> int:
    if not (match_error_id.isascii() and match_error_id.isdigit() and len(match_error_id) < 19):
        raise NotInStoreError(f"there is no such match error: {match_error_id}", hint="list again from the start")
    return int(match_error_id)
