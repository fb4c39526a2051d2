"""The verb of ClockStore on a connection: what lies ahead only because the clock was set back moves with it."""

from collections.abc import Sequence
from typing import Final

import apsw

from reconciler.store.sqlite.connection import array, pack, run, value
from reconciler.store.sqlite.lane import refresh, refresh_paces

REWIND_ROWS: Final = 500  # in one transaction, as when a revision cancels
TOLERANCE_MS: Final = 1_000  # a store whose last claim is less ahead is left alone: clocks are nudged all the time

_LAST_CLAIM: Final = """
SELECT max(coalesce((SELECT max(served_at) FROM lanes), 0), coalesce((SELECT max(taken_at) FROM paces), 0))
"""
_AHEAD: Final = """
SELECT json_group_array(json_array(seq, due_at)) FROM deliveries INDEXED BY deliveries_pending
WHERE state = 'pending' AND due_at > :now
"""
_REWIND_LANES: Final = "UPDATE lanes SET served_at = min(served_at - :by, :now) WHERE served_at > :now"
# Only what lies ahead: a bucket that is full is full by any clock.
_REWIND_PACES: Final = """
UPDATE paces SET
    full_at_us = iif(full_at_us > :now * 1000, full_at_us - :by * 1000, full_at_us),
    taken_at = iif(taken_at > :now, taken_at - :by, taken_at),
    blocked_until = iif(blocked_until > :now, blocked_until - :by, blocked_until),
    probe_at = iif(probe_at > :now, probe_at - :by, probe_at),
    opened_at = iif(opened_at > :now, opened_at - :by, opened_at)
"""
_REWIND_NOTICES: Final = """
UPDATE notices SET due_at = iif(due_at > :now, due_at - :by, due_at),
    told_at = iif(told_at > :now, told_at - :by, told_at)
"""
# By their due time as it was read: what was attempted meanwhile has one by the new clock.
_REWIND_DELIVERIES: Final = """
UPDATE deliveries SET due_at = due_at - :by, hold_until = hold_until - :by
FROM jsonb_each(:portion) p WHERE deliveries.seq = p.value ->> 0 AND due_at = p.value ->> 1 AND state = 'pending'
RETURNING lane_id
"""


def lead_ms(db: apsw.Connection, now: int) -> int:
    """How far the last claim lies ahead of `now`; 0 within the tolerance."""
    lead = int(value(db, _LAST_CLAIM)) - now
    return lead if lead >= TOLERANCE_MS else 0


def ahead(db: apsw.Connection, now: int) -> list[list[int]]:
    """(seq, due_at) of each pending delivery that is due after `now`."""
    return array(db, _AHEAD, now=now)


def rewind_paces(db: apsw.Connection, now: int, by_ms: int) -> None:
    """Lanes, paces and notices at once: they are as many as there are webhooks."""
    run(db, _REWIND_LANES, now=now, by=by_ms)
    run(db, _REWIND_PACES, now=now, by=by_ms)
    run(db, _REWIND_NOTICES, now=now, by=by_ms)
    refresh(db, array(db, "SELECT json_group_array(id) FROM lanes"))
    refresh_paces(db, array(db, "SELECT json_group_array(id) FROM paces"))


def rewind_deliveries(db: apsw.Connection, by_ms: int, portion: Sequence[Sequence[int]]) -> None:
    """Some of those that `ahead` has found."""
    found = db.execute(_REWIND_DELIVERIES, {"by": by_ms, "portion": pack(portion)}).fetchall()
    refresh(db, {int(str(lane)) for (lane,) in found})
