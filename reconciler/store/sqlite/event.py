"""The verbs of EventStore on a connection: facts received, stored with their fan-out in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import apsw
import orjson

from reconciler.errors import NotInStoreError
from reconciler.models.audit import Deed
from reconciler.models.event import EventId
from reconciler.store.base import EventStatus, NewEvent, Page, RevisionMovedError, StoredEvent
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import Row, array, pack, row, rows, run, value
from reconciler.store.sqlite.lane import refreshing
from reconciler.store.sqlite.program import Program, call_of
from reconciler.store.sqlite.text import LAST_CHARACTER, pack_texts, storable, storable_or_none

# The live revision with its commit, the last event, and of these events those that are stored.
_KNOWN: Final = """
SELECT live_revision, (SELECT git_commit FROM revisions WHERE number = live_revision),
    (SELECT coalesce(max(seq), 0) FROM events),
    (SELECT json_group_array(json_array(id, fingerprint)) FROM events WHERE id IN (SELECT value FROM json_each(:ids)))
FROM store
"""
# What is stored anew counts from `before`. JSON cannot carry bytes: the raw events come as one blob of which each takes
# its slice; of an empty blob substr() makes NULL.
_INSERT_EVENTS: Final = """
INSERT INTO events (seq, id, event_type, data_id, event_time, source, fingerprint, received_at, problem,
    raw, mends, revision)
SELECT {before} + (value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
    value ->> 7, value ->> 8, coalesce(substr(:raw, value ->> 9, value ->> 10), x''), value ->> 11, :revision
FROM jsonb_each(:events)
"""
_INSERT_LANES: Final = """
INSERT INTO lanes (webhook_uid) SELECT DISTINCT value ->> 2 FROM jsonb_each(:deliveries) WHERE true
ON CONFLICT (webhook_uid) DO NOTHING
"""
# Of an order key only the first of this batch can be a head: if nothing was before it, or that had its turn and ended.
_INSERT_DELIVERIES: Final = """
INSERT INTO deliveries (id, event_seq, lane_id, order_key, rank, state, is_head, due_at, hold_until, revision,
    git_commit, accepted_at)
SELECT d.value ->> 0, {before} + (d.value ->> 1), l.id, d.value ->> 3, l.rank, 'pending',
    d.value ->> 3 IS NULL OR (d.value ->> 7 AND coalesce((
        SELECT o.is_head AND o.state NOT IN ('pending', 'in_flight') FROM deliveries o
        WHERE o.lane_id = l.id AND o.order_key = d.value ->> 3 ORDER BY o.seq DESC LIMIT 1), true)),
    d.value ->> 4, d.value ->> 5, :revision, {commit}, d.value ->> 6
FROM jsonb_each(:deliveries) d CROSS JOIN lanes l ON l.webhook_uid = d.value ->> 2 WHERE true ORDER BY d.key
ON CONFLICT (id) DO NOTHING
"""
_STORED_DELIVERIES: Final = """
SELECT json_group_array(id) FROM deliveries WHERE id IN (SELECT value FROM json_each(:ids))
"""
_MEND: Final = """
UPDATE events SET mended_as = m.value ->> 1 FROM jsonb_each(:mends) m
WHERE events.id = m.value ->> 0 AND problem IS NOT NULL AND mended_as IS NULL
"""
_LANES_OF: Final = "SELECT id FROM lanes WHERE webhook_uid IN (SELECT value ->> 2 FROM jsonb_each(:deliveries))"


def _storing(*, before: str, commit: str) -> tuple[str, ...]:
    """The statements that store events with their deliveries, for a program: expressions for the last event before
    them, and for the live revision's commit."""
    events = _INSERT_EVENTS.format(before=before)
    return events, _INSERT_LANES, _INSERT_DELIVERIES.format(before=before, commit=commit), *refreshing(_LANES_OF)


_FAN_OUT: Final = Program("fan_out", _storing(before=":before", commit=":git_commit"))
_CALL_FAN_OUT: Final = call_of(_FAN_OUT)
# All of `accept` for the usual case, that these events are new and were matched with the live revision; else nothing.
_BEFORE: Final = "CREATE TEMP TABLE accept_before (seq INTEGER, git_commit TEXT)"
_ACCEPT: Final = Program(
    "accept",
    (
        """SELECT RAISE(IGNORE) WHERE (SELECT live_revision FROM store) <> :revision
            OR EXISTS (SELECT 1 FROM events WHERE id IN (SELECT value ->> 1 FROM jsonb_each(:events)))""",
        "DELETE FROM accept_before",
        """INSERT INTO accept_before SELECT (SELECT coalesce(max(seq), 0) FROM events),
            (SELECT git_commit FROM revisions WHERE number = :revision)""",
        *_storing(before="(SELECT seq FROM accept_before)", commit="(SELECT git_commit FROM accept_before)"),
    ),
)
_CALL_ACCEPT: Final = f"{call_of(_ACCEPT)} RETURNING 1"
_INSERT_MATCH_ERRORS: Final = """
INSERT INTO match_errors (event_seq, webhook_uid, error, judged_at, revision)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, :revision FROM jsonb_each(:errors) WHERE true ORDER BY key
"""
_EVENT: Final = """
SELECT e.id, e.event_type, e.data_id, e.event_time, e.source, e.received_at, e.problem, e.revision,
    (SELECT count(*) FROM deliveries WHERE event_seq = e.seq), e.raw,
    (SELECT count(*) FROM match_errors WHERE event_seq = e.seq), e.mends, e.mended_as
FROM events e
"""


def install(db: apsw.Connection) -> None:
    """Make `accept` and `insert_deliveries` known to a writing connection."""
    run(db, _BEFORE)
    _FAN_OUT.install(db)
    _ACCEPT.install(db)


def accept(
    db: apsw.Connection, events: Sequence[NewEvent], revision: int, deed: Deed | None = None
) -> tuple[EventStatus, ...]:
    """Store new events with their deliveries; one status an item. Raises RevisionMovedError."""
    events = tuple(events)  # as they are now: another thread may append to them
    ids = [storable(event.id) for event in events]
    is_usual = (
        deed is None and len(set(ids)) == len(ids) and not any(event.mends or event.match_errors for event in events)
    )
    if is_usual and _is_accepted(db, events, revision):
        return tuple([EventStatus.ACCEPTED if event.problem is None else EventStatus.QUARANTINED for event in events])
    live, commit, last_seq, known = row(db, _KNOWN, ids=pack(ids)) or (0, None, 0, "[]")
    if live != revision:
        raise RevisionMovedError(live)
    statuses, new = _judge(ids, events, dict(orjson.loads(known)))
    if new:
        _insert(db, new, last_seq, revision, commit)
    _mend(db, events, statuses)
    if deed is not None and (new or any(event.mends is not None for event in events)):
        told = {status.value: statuses.count(status) for status in dict.fromkeys(statuses)}
        append(db, replace(deed, details={**deed.details, "events": told}))
    return statuses


def _is_accepted(db: apsw.Connection, events: Sequence[NewEvent], revision: int) -> bool:
    """Store events that are all new, in one statement; False, and nothing done, if they are not."""
    facts, raw, fan_out = _packed(events)
    return row(db, _CALL_ACCEPT, events=facts, raw=raw, deliveries=fan_out, revision=revision) is not None


def _judge(
    ids: Sequence[str], events: Sequence[NewEvent], known: dict[str, str]
) -> tuple[tuple[EventStatus, ...], list[NewEvent]]:
    """One status an item, and the items to be stored; earlier items of the batch count as stored. `known` are the
    fingerprints of those that are stored before."""
    statuses, new = [], []
    for event_id, event in zip(ids, events, strict=True):
        fingerprint = known.get(event_id)
        if fingerprint == event.fingerprint:
            statuses.append(EventStatus.DUPLICATE)
        elif fingerprint is not None:
            statuses.append(EventStatus.CONFLICT)
        else:
            known[event_id] = event.fingerprint
            statuses.append(EventStatus.ACCEPTED if event.problem is None else EventStatus.QUARANTINED)
            new.append(event)
    return tuple(statuses), new


def _insert(db: apsw.Connection, events: Sequence[NewEvent], last_seq: int, revision: int, commit: str | None) -> None:
    facts, raw, fan_out = _packed(events)
    run(
        db,
        _CALL_FAN_OUT,
        events=facts,
        raw=raw,
        deliveries=fan_out,
        revision=revision,
        git_commit=commit,
        before=last_seq,
    )
    errors = [
        (seq, error.webhook_uid, error.error, event.received_at)
        for seq, event in enumerate(events, last_seq + 1)
        for error in event.match_errors
        if event.problem is None
    ]
    if errors:
        run(db, _INSERT_MATCH_ERRORS, errors=pack_texts(errors), revision=revision)


def _packed(events: Sequence[NewEvent]) -> tuple[str, bytes, str]:
    """Events, their bytes and their deliveries as parameters, counted from 1."""
    start = 1  # substr counts from 1
    facts: list[Row] = []
    fan_out: list[Row] = []
    for place, event in enumerate(events, 1):
        id_, event_type, data_id, event_time, source, raw, fingerprint, at, problem, deliveries, _, mends = event
        size = len(raw)
        facts.append(
            (place, id_, event_type, data_id, event_time, source, fingerprint, at, problem, start, size, mends)
        )
        start += size
        if problem is None:
            for delivery_id, uid, order_key, due_at, hold_until in deliveries:
                fan_out.append((delivery_id, place, uid, order_key, due_at, hold_until, at))
    whole = events[0].raw if len(events) == 1 else b"".join([event.raw for event in events])
    return pack_texts(facts), whole, pack_texts(_with_firsts(fan_out))


def _with_firsts(fan_out: Sequence[Row]) -> list[Row]:
    """The rows, each with whether it is the first of its order key here."""
    seen: set[Row] = set()
    found: list[Row] = []
    for new in fan_out:
        key = new[2], storable_or_none(new[3])  # a webhook's uid with an order key as it is stored
        found.append((*new, key not in seen))
        seen.add(key)
    return found


def insert_deliveries(db: apsw.Connection, fan_out: Sequence[Sequence[Any]], revision: int, commit: str | None) -> None:
    """Make deliveries of rows (id, event's seq, webhook's uid, order key, due at, hold until, accepted at); one whose
    id exists is left out."""
    stored = set(array(db, _STORED_DELIVERIES, ids=pack([new[0] for new in fan_out])))
    left = [tuple(new) for new in fan_out if new[0] not in stored]
    run(
        db,
        _CALL_FAN_OUT,
        events="[]",
        raw=b"",
        deliveries=pack_texts(_with_firsts(left)),
        revision=revision,
        git_commit=commit,
        before=0,
    )


def _mend(db: apsw.Connection, events: Sequence[NewEvent], statuses: Sequence[EventStatus]) -> None:
    """Quarantined events are mended by what was judged from them: now, or before by somebody else."""
    became: dict[str, str] = {}  # of one that was several the first
    for event, status in zip(events, statuses, strict=True):
        if event.mends is not None and status in (EventStatus.ACCEPTED, EventStatus.DUPLICATE):
            became.setdefault(storable(event.mends), storable(event.id))
    if became:
        run(db, _MEND, mends=pack(list(became.items())))


def events(db: apsw.Connection, page: Page, status: EventStatus | None) -> tuple[StoredEvent, ...]:
    """Stored events, newest first."""
    where = ["true"]
    if page.before is not None:
        where.append("e.seq < :before")
    if status is EventStatus.QUARANTINED:
        where.append("e.problem IS NOT NULL AND e.mended_as IS NULL")
    elif status is EventStatus.MENDED:
        where.append("e.problem IS NOT NULL AND e.mended_as IS NOT NULL")
    elif status is EventStatus.ACCEPTED:
        where.append("e.problem IS NULL")
    elif status is not None:
        return ()  # duplicates and conflicts are answered, not stored
    sql = f"{_EVENT} WHERE {' AND '.join(where)} ORDER BY e.seq DESC LIMIT :limit"
    return tuple(_stored(found) for found in rows(db, sql, before=_seq(db, page.before), limit=page.limit))


def event(db: apsw.Connection, event_id: str) -> StoredEvent | None:
    """One stored event."""
    found = row(db, f"{_EVENT} WHERE e.id = :id", id=storable(event_id))
    return None if found is None else _stored(found)


def event_ids(db: apsw.Connection, prefix: str, limit: int) -> tuple[EventId, ...]:
    """The first ids that begin with `prefix`, from the index on ids."""
    sql = "SELECT id FROM events WHERE id >= :first AND id < :last ORDER BY id LIMIT :limit"
    first = storable(prefix)
    return tuple(found[0] for found in rows(db, sql, first=first, last=f"{first}{LAST_CHARACTER}", limit=limit))


def _seq(db: apsw.Connection, event_id: str | None) -> int | None:
    if event_id is None:
        return None
    seq = value(db, "SELECT seq FROM events WHERE id = :id", id=storable(event_id))
    if seq is None:
        raise NotInStoreError(f"there is no event to continue from: {event_id}", hint="list again from the start")
    return int(seq)


def _stored(found: tuple[Any, ...]) -> StoredEvent:
    event_id, event_type, data_id, event_time, source, received_at, problem, revision, deliveries, raw, *rest = found
    errors, mends, mended_as = rest
    return StoredEvent(
        id=EventId(event_id),
        event_type=event_type,
        data_id=data_id,
        event_time=event_time,
        source=source,
        received_at=received_at,
        status=_status(problem, mended_as),
        problem=problem,
        revision=revision,
        deliveries=deliveries,
        raw=raw,
        match_errors=errors,
        mends=mends,
        mended_as=mended_as,
    )


def _status(problem: str | None, mended_as: str | None) -> EventStatus:
    if problem is None:
        return EventStatus.ACCEPTED
    return EventStatus.QUARANTINED if mended_as is None else EventStatus.MENDED
