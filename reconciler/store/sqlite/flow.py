"""The verbs of FlowStore on a connection: pauses, what holds back, backlogs; and what a revision has cancelled.

Whatever may touch any number of rows is done in portions, each a call of its own, so that no transaction takes long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import apsw
import orjson

from reconciler.errors import NotInStoreError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant
from reconciler.models.delivery import Reason, iso_time
from reconciler.models.flow import Backlog, Flow, Halt, Pause
from reconciler.models.health import Breaker
from reconciler.models.webhook import WebhookUid
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import array, pack, row, run, value
from reconciler.store.sqlite.finish import NEXT_HEADS
from reconciler.store.sqlite.lane import MICROSECONDS, refresh, refresh_paces
from reconciler.store.sqlite.notice import note_pause
from reconciler.store.sqlite.text import storable

CANCEL_ROWS: Final = 500  # in one transaction; some 15 ms, and 50 beside a checkpoint
WALK_ROWS: Final = 5_000  # read at once, so that no other reader waits long

_PAUSE: Final = "l.paused_at, l.paused_by, l.pause_reason, l.paused_until"
HALT: Final = f"{_PAUSE}, p.failures, p.opened_at, p.probe_at, p.wait_ms"  # the columns of `halt_of`
_HALTS: Final = f"""
SELECT json_group_array(json_array(l.webhook_uid, {HALT})) FROM lanes l LEFT JOIN paces p ON p.id = l.pace_id
WHERE l.paused_at IS NOT NULL
"""
# Once through the lanes, and only while a breaker is open: there may be as many open ones as lanes.
_HALTS_AND_BREAKERS: Final = f"{_HALTS} OR p.opened_at IS NOT NULL"
_IS_ONE_OPEN: Final = "SELECT EXISTS (SELECT 1 FROM paces WHERE opened_at IS NOT NULL)"
_FLOW: Final = f"""
SELECT l.pending - l.doomed, p.interval_us, p.blocked_until,
    (SELECT coalesce(sum(pending - doomed), 0) FROM lanes o WHERE o.pace_id = l.pace_id AND o.id <> l.id),
    {HALT}
FROM lanes l LEFT JOIN paces p ON p.id = l.pace_id WHERE l.id = :lane
"""
_SET_PAUSE: Final = """
UPDATE lanes SET paused_at = :at, paused_by = :by, pause_reason = :reason, paused_until = :until, faults = 0
WHERE id = :lane
"""
_PROBE_NOW: Final = """
UPDATE paces SET probe_at = opened_at WHERE opened_at IS NOT NULL AND id = (SELECT pace_id FROM lanes WHERE id = :lane)
RETURNING id
"""
# Only where something pending has the lane's rank is there something to go before.
_LOWER_RANK: Final = """
UPDATE lanes SET rank = rank - 1,
    ranks = (SELECT json_group_array(rank) FROM (SELECT lanes.rank - 1 AS rank UNION ALL SELECT value
        FROM json_each(coalesce(lanes.ranks, '[0]'))))
WHERE id = :lane AND EXISTS (SELECT 1 FROM deliveries d
    WHERE d.lane_id = lanes.id AND d.state = 'pending' AND d.is_head IN (0, 1) AND d.rank = lanes.rank)
"""
# A lane's deliveries from the newest to the oldest; of what has ended, only where it ends.
_WALK: Final = """
SELECT min(seq), count(*), (SELECT json_group_array(json_array(w.seq, w.state = 'pending', e.data_id))
    FROM (SELECT seq, state, event_seq FROM deliveries WHERE lane_id = :lane AND seq < :before
        ORDER BY seq DESC LIMIT :limit) w JOIN events e ON e.seq = w.event_seq
    WHERE w.state IN ('pending', 'in_flight') AND (:through IS NULL OR w.seq > :through))
FROM (SELECT seq FROM deliveries WHERE lane_id = :lane AND seq < :before ORDER BY seq DESC LIMIT :limit)
"""
_CANCELLING: Final = """
SELECT id, cancel_through, cancel_reason FROM lanes WHERE cancel_reason IS NOT NULL ORDER BY id LIMIT 1
"""
_DOOMED: Final = """
SELECT json_group_array(seq) FROM (SELECT seq FROM deliveries INDEXED BY deliveries_pending
    WHERE lane_id = :lane AND state = 'pending' AND seq <= :through LIMIT :limit)
"""
_STILL_PENDING: Final = """
SELECT json_group_array(json_array(d.seq, d.lane_id, d.is_head))
FROM json_each(:seqs) j CROSS JOIN deliveries d ON d.seq = j.value WHERE d.state = 'pending'
"""
_CANCEL: Final = """
UPDATE deliveries SET state = 'cancelled', reason = :reason, is_head = 1
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND state = 'pending'
"""
# What is no longer doomed may have had a predecessor that was.
_NEXT_OF_DOOMED: Final = """
UPDATE deliveries SET is_head = 1 WHERE state = 'pending' AND is_head = 0 AND seq > :through AND seq IN (
    SELECT (SELECT n.seq FROM deliveries n WHERE n.lane_id = d.lane_id AND n.order_key = d.order_key
        AND n.state IN ('pending', 'in_flight') AND n.seq > d.seq ORDER BY n.seq LIMIT 1)
    FROM json_each(:seqs) f CROSS JOIN deliveries d ON d.seq = f.value WHERE d.order_key IS NOT NULL)
"""


def halts(db: apsw.Connection) -> Mapping[WebhookUid, Halt]:
    """What holds webhooks back."""
    sql = _HALTS_AND_BREAKERS if value(db, _IS_ONE_OPEN) else _HALTS
    return {WebhookUid(uid): halt_of(found) for uid, *found in array(db, sql)}


def flow(db: apsw.Connection, name: str) -> Flow:
    """A webhook's backlog, rate and what holds it back."""
    found = row(db, _FLOW, lane=_lane(db, name))
    if found is None:  # it never had a delivery or a configuration
        return Flow(0)
    pending, interval_us, blocked_until, sharing, *held = found
    return Flow(
        pending=pending,
        per_second=None if interval_us is None else MICROSECONDS / interval_us,
        sharing=sharing,
        blocked_until=blocked_until or None,
        halt=halt_of(held),
    )


def pause(db: apsw.Connection, name: str, pause: Pause, warrant: Warrant = UNKNOWN) -> None:
    """Claim nothing of the webhook from now on."""
    uid = _uid(db, name)
    run(db, "INSERT INTO lanes (webhook_uid) VALUES (:uid) ON CONFLICT (webhook_uid) DO NOTHING", uid=uid)
    lane = _lane(db, name)
    run(
        db,
        _SET_PAUSE,
        lane=lane,
        at=pause.paused_at,
        by=storable(pause.paused_by),
        reason=storable(pause.reason),
        until=pause.until,
    )
    note_pause(db, lane, pause)
    refresh(db, [lane])
    told = {"uid": uid, "paused_by": pause.paused_by, "why": pause.reason, "until": iso_time(pause.until)}
    append(db, Deed(AuditAction.PAUSE, name, told, warrant), at=pause.paused_at)


def resume(db: apsw.Connection, name: str, fresh_first: bool, warrant: Warrant = UNKNOWN) -> Pause | None:
    """End the webhook's pause; probe an open breaker at once; with `fresh_first` lower the rank of what comes."""
    lane = _lane(db, name)
    if lane == NO_LANE:
        return None
    found = row(db, f"SELECT {_PAUSE} FROM lanes l WHERE id = :lane", lane=lane) or ()
    run(db, _SET_PAUSE, lane=lane, at=None, by=None, reason=None, until=None)
    if fresh_first:
        run(db, _LOWER_RANK, lane=lane)
    pace = value(db, _PROBE_NOW, lane=lane)
    refresh(db, [lane])
    if pace is not None:
        refresh_paces(db, [pace])
    ended = _pause(found)
    was = None if ended is None else ended.to_json()
    append(db, Deed(AuditAction.RESUME, name, {"was": was, "fresh_first": fresh_first}, warrant))
    return ended


# Backlogs -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Walk:
    """A walk through a webhook's backlog, from the newest delivery to the oldest, a portion at a time."""

    before: int = 2**62
    left: int | None = None  # unfinished deliveries not met yet; at none the walk is over
    pending: int = 0
    superseded: list[int] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)  # access requests of which a later delivery was met

    @property
    def is_over(self) -> bool:
        """Whether everything unfinished was met."""
        return self.left == 0

    @property
    def backlog(self) -> Backlog:
        """What was found."""
        return Backlog(self.pending, len(self.superseded))


def walk(db: apsw.Connection, name: str, walk: Walk) -> None:
    """Go on with a walk. What is accepted meanwhile is not met."""
    lane = _lane(db, name)
    if walk.left is None:
        walk.left = value(db, "SELECT pending - doomed + in_flight FROM lanes WHERE id = :lane", lane=lane) or 0
        walk.before = value(db, "SELECT coalesce(max(seq), 0) + 1 FROM deliveries")
    through = value(db, "SELECT cancel_through FROM lanes WHERE id = :lane", lane=lane)
    sought = {"lane": lane, "before": walk.before, "limit": WALK_ROWS, "through": through}
    before, number, packed = row(db, _WALK, **sought) or (0, 0, "[]")
    found = orjson.loads(packed)
    for seq, is_pending, request in found:
        walk.pending += is_pending
        if is_pending and request in walk.requests:
            walk.superseded.append(seq)
        elif request is not None:
            walk.requests.add(request)
    walk.left = max(0, walk.left - len(found)) if number == WALK_ROWS else 0
    walk.before = before or 0


def supersede(db: apsw.Connection, name: str, seqs: Sequence[int], warrant: Warrant = UNKNOWN) -> int:
    """Cancel those of these deliveries that are still pending; returns how many."""
    found = array(db, _STILL_PENDING, seqs=pack(list(seqs)))
    run(db, _CANCEL, seqs=pack([seq for seq, _, _ in found]), reason=Reason.SUPERSEDED.value)
    run(db, NEXT_HEADS, seqs=pack([seq for seq, _, is_head in found if is_head]))
    refresh(db, {lane for _, lane, _ in found})
    if found:
        append(db, Deed(AuditAction.COMPACT, name, {"cancelled": len(found)}, warrant))
    return len(found)


# What a revision cancels --------------------------------------------------------------------------------------------


def doom(db: apsw.Connection, uids: Sequence[WebhookUid], reason: Reason) -> None:
    """Cancel what is pending of these webhooks for whoever reads or claims; `sweep` writes the rows. What is in flight
    is marked, and cancelled if it comes back undelivered."""
    if not uids:
        return
    lanes = array(
        db,
        "SELECT json_group_array(l.id) FROM json_each(:uids) j CROSS JOIN lanes l ON l.webhook_uid = j.value",
        uids=pack(list(uids)),
    )
    packed = pack(lanes)
    run(
        db,
        "UPDATE lanes SET cancel_reason = :reason, cancel_through = (SELECT max(seq) FROM deliveries), doomed = pending"
        " WHERE pending > 0 AND id IN (SELECT value FROM json_each(:lanes))",
        reason=reason.value,
        lanes=packed,
    )
    run(
        db,
        "UPDATE deliveries INDEXED BY deliveries_leased SET cancel_reason = :reason"
        " WHERE state = 'in_flight' AND lane_id IN (SELECT value FROM json_each(:lanes))",
        reason=reason.value,
        lanes=packed,
    )
    refresh(db, lanes)


def is_cancelling(db: apsw.Connection) -> bool:
    """Whether rows that a revision has cancelled are still to be written."""
    return value(db, _CANCELLING) is not None


def sweep(db: apsw.Connection) -> bool:
    """Write some of what revisions have cancelled; True if there is more."""
    found = row(db, _CANCELLING)
    if found is None:
        return False
    lane, through, reason = found
    seqs = array(db, _DOOMED, lane=lane, through=through, limit=CANCEL_ROWS)
    packed = pack(seqs)
    run(db, _CANCEL, seqs=packed, reason=reason)
    run(db, _NEXT_OF_DOOMED, seqs=packed, through=through)
    if len(seqs) < CANCEL_ROWS:
        run(
            db,
            "UPDATE lanes SET cancel_reason = NULL, cancel_through = NULL, doomed = 0 WHERE id = :lane",
            lane=lane,
        )
        refresh(db, [lane])
    return is_cancelling(db)


NO_LANE: Final = -1  # of a webhook that never had a delivery or a configuration


def _uid(db: apsw.Connection, name: str) -> str:
    uid = value(db, "SELECT uid FROM live_webhooks WHERE name = :name", name=storable(name))
    if uid is None:
        raise NotInStoreError(f"no webhook of this name is live: {name}", hint="see `reconciler webhooks list`")
    return str(uid)


def _lane(db: apsw.Connection, name: str) -> int:
    found = value(db, "SELECT id FROM lanes WHERE webhook_uid = :uid", uid=_uid(db, name))
    return NO_LANE if found is None else int(found)


def halt_of(found: Sequence[int | str | None]) -> Halt:
    """What the columns of HALT say."""
    failures, opened_at, probe_at, wait_ms = found[4:]
    breaker = Breaker(failures or 0, opened_at, probe_at, wait_ms or 0)  # type: ignore[arg-type]  # as the columns say
    return Halt(_pause(found[:4]), breaker if breaker.is_open else Breaker())


def _pause(found: Sequence[int | str | None]) -> Pause | None:
    if not found or found[0] is None:
        return None
    return Pause(*found)  # type: ignore[arg-type]  # as the columns say
