"""What becomes of a lease: finished, given back, renewed, expired. Every write is fenced by the claim's token."""

from collections.abc import Iterable, Sequence
from typing import Final

import apsw
import orjson

from reconciler.models.operational import SOURCE
from reconciler.store.base import Claimed, Finished
from reconciler.store.sqlite.connection import array, pack, row, run, slices, value
from reconciler.store.sqlite.health import IS_TOLD, TOLD, is_troubled, tell
from reconciler.store.sqlite.lane import refresh, refresh_paces, refreshing
from reconciler.store.sqlite.program import Program, call_of
from reconciler.store.sqlite.text import dump_bytes

_HELD_BY: Final = "d.seq = f.value ->> 0 AND d.token = f.value ->> 1"

_STILL_HELD: Final = f"""
SELECT json_group_array(d.seq) FROM jsonb_each(:leases) f CROSS JOIN deliveries d ON {_HELD_BY}
"""
# The places of those still held, which lane each is of, and what more must be known of those that tell something of a
# receiver.
_HELD: Final = f"""
SELECT json_group_array(CASE WHEN {IS_TOLD.format(is_troubled="f.value ->> 2")}
    THEN json_array(f.key, d.lane_id, json_array({TOLD})) ELSE json_array(f.key, d.lane_id, NULL) END)
FROM jsonb_each(:leases) f CROSS JOIN deliveries d ON {_HELD_BY}
CROSS JOIN lanes l ON l.id = d.lane_id CROSS JOIN paces p ON p.id = d.pace_id
"""
# What is being finished, read from its JSON once; several statements go through it.
_TABLE: Final = """
CREATE TEMP TABLE finishing (seq INTEGER, token INTEGER, finished_at INTEGER, start INTEGER, length INTEGER,
    state TEXT, reason TEXT, outcome TEXT, next_attempt_at INTEGER, is_counted INTEGER, give_up_at INTEGER)
"""
_FILL: Final = f"""
INSERT INTO finishing SELECT {", ".join(f"value ->> {place}" for place in range(11))} FROM jsonb_each(:finished)
"""
_RECORD: Final = """
INSERT INTO attempts (delivery_seq, number, started_at, finished_at, revision, git_commit, result)
SELECT d.seq, d.attempts, d.started_at, f.finished_at, d.claim_revision, d.claim_commit,
    CAST(substr(:results, f.start, f.length) AS TEXT)
FROM finishing f CROSS JOIN deliveries d ON d.seq = f.seq
"""
_END_LEASE: Final = """token = NULL, lease_until = NULL, started_at = NULL, pace_id = NULL, claim_revision = NULL,
    claim_commit = NULL, cancel_reason = NULL"""
# What comes back undelivered of a webhook deleted or made inactive is cancelled.
_FINISH: Final = f"""
UPDATE deliveries SET
    state = iif(f.state = 'pending' AND cancel_reason IS NOT NULL, 'cancelled', f.state),
    reason = iif(f.state = 'pending', cancel_reason, f.reason),
    outcome = f.outcome,
    due_at = coalesce(f.next_attempt_at, due_at),
    counted = counted + f.is_counted,
    give_up_at = coalesce(f.give_up_at, deliveries.give_up_at),
    revision = claim_revision, git_commit = claim_commit, {_END_LEASE}
FROM finishing f WHERE deliveries.seq = f.seq
"""
# The next of its order key, by acceptance, becomes the head. One in flight is a head already (it outlived its hold).
_NEXT_HEADS: Final = """
UPDATE deliveries SET is_head = 1 WHERE state = 'pending' AND is_head = 0 AND seq IN (
    SELECT (SELECT n.seq FROM deliveries n WHERE n.lane_id = d.lane_id AND n.order_key = d.order_key
        AND n.state IN ('pending', 'in_flight') AND n.seq > d.seq ORDER BY n.seq LIMIT 1)
    FROM {ended} CROSS JOIN deliveries d ON d.seq = {seq}
    WHERE d.order_key IS NOT NULL AND d.state NOT IN ('pending', 'in_flight'))
"""
NEXT_HEADS: Final = _NEXT_HEADS.format(ended="json_each(:seqs) f", seq="f.value")
TAKE_IN: Final = ("DELETE FROM finishing", _FILL)  # of `:finished`, as `packed` makes it
FINISHING: Final = (_RECORD, _FINISH, _NEXT_HEADS.format(ended="finishing f", seq="f.seq"))  # of that and `:results`
FINISH: Final = Program("finish", (*TAKE_IN, *FINISHING, *refreshing()))
_CALL_FINISH: Final = call_of(FINISH)
_BLOCK: Final = """
UPDATE paces SET blocked_until = max(blocked_until, b.until)
FROM (SELECT d.pace_id AS id, max(f.value ->> 1) AS until
    FROM jsonb_each(:blocks) f CROSS JOIN deliveries d ON d.seq = f.value ->> 0 GROUP BY d.pace_id) b
WHERE paces.id = b.id
"""
_LANES_OF: Final = """
SELECT json_group_array(DISTINCT d.lane_id) FROM json_each(:seqs) f CROSS JOIN deliveries d ON d.seq = f.value
"""
_PACES_OF: Final = """
SELECT json_group_array(DISTINCT d.pace_id) FROM json_each(:seqs) f CROSS JOIN deliveries d ON d.seq = f.value
"""
# A token is given back only if nothing was taken since: then the bucket is exactly as it was.
_RETURN_TOKENS: Final = """
UPDATE paces SET full_at_us = full_at_us - interval_us * b.number
FROM (SELECT d.pace_id AS id, d.started_at AS taken_at, count(*) AS number
    FROM json_each(:seqs) f CROSS JOIN deliveries d ON d.seq = f.value GROUP BY d.pace_id, d.started_at) b
WHERE paces.id = b.id AND paces.taken_at = b.taken_at AND interval_us IS NOT NULL
"""
_RETURN_PROBE: Final = """
UPDATE paces SET probe_seq = NULL WHERE id IN (SELECT value FROM json_each(:paces))
    AND probe_seq IN (SELECT value FROM json_each(:seqs))
"""
_RELEASE: Final = f"""
UPDATE deliveries SET
    state = iif(cancel_reason IS NULL, 'pending', 'cancelled'), reason = cancel_reason,
    due_at = :due_at, attempts = attempts - 1, {_END_LEASE}
WHERE seq IN (SELECT value FROM json_each(:seqs))
"""
_EXTEND: Final = """
UPDATE deliveries SET lease_until = :lease_until
FROM jsonb_each(:leases) f WHERE deliveries.seq = f.value ->> 0 AND deliveries.token = f.value ->> 1
"""
# CAST keeps the bytes: group_concat joins blobs as they are, but calls the result text.
_EXPIRED: Final = """
SELECT json_group_array(json_array(length(e.raw), d.id, d.seq, d.token, d.attempts, d.counted, l.webhook_uid, p.key,
    e.id, d.accepted_at, d.started_at, d.give_up_at, d.claim_revision, d.claim_commit, d.seq IS p.probe_seq)),
    CAST(group_concat(e.raw, '') AS BLOB)
FROM deliveries d
JOIN events e ON e.seq = d.event_seq JOIN lanes l ON l.id = d.lane_id JOIN paces p ON p.id = d.pace_id
WHERE d.state = 'in_flight' AND (:now IS NULL OR d.lease_until < :now)
"""


def install(db: apsw.Connection) -> None:
    """Make `finish` known to a writing connection."""
    run(db, _TABLE)
    FINISH.install(db)


def finish(db: apsw.Connection, finished: Sequence[Finished]) -> tuple[int, ...]:
    """Record finished attempts; returns the `seq` of those whose lease was lost, for which nothing is written."""
    leases = pack([[item.seq, item.token, int(is_troubled(item))] for item in finished])
    held = array(db, _HELD, leases=leases, operational=SOURCE)
    if held:
        kept = [finished[place] for place, _, _ in held]
        _block(db, kept)
        told = [(finished[place], facts) for place, _, facts in held if facts is not None]
        if told:
            tell(db, told)
        _finish(db, kept, {lane_id for _, lane_id, _ in held})
    if len(held) == len(finished):
        return ()
    places = {place for place, _, _ in held}
    return tuple(item.seq for place, item in enumerate(finished) if place not in places)


def release(db: apsw.Connection, claimed: Sequence[Claimed], due_at: int) -> None:
    """Give claims back as if they had never been made."""
    held = array(db, _STILL_HELD, leases=pack([[item.seq, item.token] for item in claimed]))
    if held:
        seqs = pack(held)
        paces = array(db, _PACES_OF, seqs=seqs)
        run(db, _RETURN_TOKENS, seqs=seqs)
        run(db, _RETURN_PROBE, paces=pack(paces), seqs=seqs)
        run(db, _RELEASE, seqs=seqs, due_at=due_at)
        _settle(db, seqs)
        refresh_paces(db, paces)


def extend(db: apsw.Connection, claimed: Sequence[Claimed], lease_until: int) -> None:
    """Renew leases that are still held."""
    run(db, _EXTEND, leases=pack([[item.seq, item.token] for item in claimed]), lease_until=lease_until)


def expired(db: apsw.Connection, now: int | None) -> tuple[Claimed, ...]:
    """Deliveries in flight whose lease ended before `now`; None: every one in flight."""
    packed, raws = row(db, _EXPIRED, now=now) or ("[]", b"")
    found, items = [], orjson.loads(packed)
    for item, raw in zip(items, slices(raws, [item[0] for item in items]), strict=True):
        _, *before, accepted_at, started_at, give_up_at, revision, commit, is_probe = item
        after = accepted_at, started_at, give_up_at, revision, commit, bool(is_probe)
        found.append(Claimed._make((*before, raw, *after)))
    return tuple(sorted(found, key=lambda claimed: claimed.seq))


def next_wake_at(db: apsw.Connection) -> int | None:
    """When a claim may next have something to give, or must release a hold."""
    wake_at: int | None = value(
        db,
        "SELECT min(at) FROM (SELECT min(wake_at) AS at FROM paces WHERE wake_at IS NOT NULL UNION ALL"
        " SELECT min(hold_until) FROM deliveries WHERE state = 'pending' AND is_head = 0)",
    )
    return wake_at


def packed(finished: Sequence[Finished]) -> tuple[str, bytes]:
    """Finished attempts as two parameters. What they came to goes in as one blob of which each takes its slice: as JSON
    inside JSON it would be spelt and read twice."""
    rows: list[tuple[object, ...]] = []
    results: list[bytes] = []
    start = 1  # substr counts from 1
    for item in finished:
        result = dump_bytes(item.result.to_json())
        rows.append(
            (
                item.seq,
                item.token,
                item.finished_at,
                start,
                len(result),
                item.state,
                item.reason,
                item.outcome,
                item.next_attempt_at,
                int(item.is_counted),
                item.give_up_at,
            )
        )
        results.append(result)
        start += len(result)
    return pack(rows), b"".join(results)


def _finish(db: apsw.Connection, finished: Sequence[Finished], lanes: Iterable[int]) -> None:
    """Write the attempts and what follows."""
    rows, results = packed(finished)
    run(db, _CALL_FINISH, finished=rows, results=results, lanes=pack(list(lanes)))


def _block(db: apsw.Connection, finished: Sequence[Finished]) -> None:
    """Hold back the pace keys that were asked to wait: those the attempts were made on."""
    blocks = [(item.seq, item.blocked_until) for item in finished if item.blocked_until is not None]
    if blocks:
        run(db, _BLOCK, blocks=pack(blocks))
        refresh_paces(db, array(db, _PACES_OF, seqs=pack([seq for seq, _ in blocks])))


def _settle(db: apsw.Connection, seqs: str) -> None:
    """Deliveries have left their lease: let their successors come, and their lanes know."""
    run(db, NEXT_HEADS, seqs=seqs)
    refresh(db, array(db, _LANES_OF, seqs=seqs))
