"""The claim: which due deliveries are leased now. Its cost follows what it gives, never what waits.

Paces that may have something are found by their wake time; of each its lanes, of each lane its due heads, every step
by index. Rounds repeat until the limit is used up or a round gives nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw
import orjson

from reconciler.store.base import Claimed
from reconciler.store.sqlite.connection import array, pack, row, run, value
from reconciler.store.sqlite.lane import PackedLanes, put, refresh, refresh_paces

HELD_ROWS: Final = 1_000  # rows released from their hold in one claim; the next one goes on

# CAST keeps the bytes: group_concat joins blobs as they are, but calls the result text.
CLAIMED: Final = """
json_group_array(json_array(d.id, d.seq, d.token, d.attempts, d.counted, l.webhook_uid, p.key, e.id, length(e.raw),
    d.accepted_at, d.started_at, d.give_up_at, d.claim_revision, d.claim_commit, d.seq IS p.probe_seq)),
    CAST(group_concat(e.raw, '') AS BLOB)
"""

_RELEASE_HELD: Final = """
UPDATE deliveries SET is_head = 1 WHERE seq IN (SELECT seq FROM deliveries
    WHERE state = 'pending' AND is_head = 0 AND hold_until <= :now ORDER BY hold_until LIMIT :limit)
"""
_HELD: Final = """
SELECT json_group_array(DISTINCT lane_id) FROM (SELECT lane_id FROM deliveries
    WHERE state = 'pending' AND is_head = 0 AND hold_until <= :now ORDER BY hold_until LIMIT :limit)
"""
# As many lanes of each ready pace as it can be given a share for, each found from the one before it. One seek a case:
# for `(wake_at, served_token, id) > (…)` SQLite would walk everything that has the same wake_at.
_READY: Final = """
WITH RECURSIVE ready AS (
    SELECT row_number() OVER (ORDER BY wake_at, served_token, id) AS position, id,
        min(iif(opened_at IS NULL, :limit, 1), CASE WHEN interval_us IS NULL THEN :limit
        ELSE max(0, (:now * 1000 + burst * interval_us - max(full_at_us, :now * 1000)) / interval_us) END) AS tokens,
        opened_at IS NOT NULL AS is_probed
    FROM (SELECT * FROM paces WHERE wake_at <= :now ORDER BY wake_at, served_token LIMIT :limit)
),
share AS (SELECT max(1, :limit / max(1, count(*))) AS lanes FROM ready),
picked (position, pace_id, tokens, is_probed, n, lane_id) AS (
    SELECT position, id, tokens, is_probed, 1, (SELECT id FROM lanes WHERE pace_id = ready.id AND wake_at <= :now
        ORDER BY wake_at, served_token, id LIMIT 1)
    FROM ready
    UNION ALL
    SELECT position, last.pace_id, tokens, is_probed, n + 1, coalesce(
        (SELECT id FROM lanes WHERE pace_id = last.pace_id AND wake_at = l.wake_at AND served_token = l.served_token
            AND id > l.id ORDER BY id LIMIT 1),
        (SELECT id FROM lanes WHERE pace_id = last.pace_id AND wake_at = l.wake_at AND served_token > l.served_token
            ORDER BY served_token, id LIMIT 1),
        (SELECT id FROM lanes WHERE pace_id = last.pace_id AND wake_at > l.wake_at AND wake_at <= :now
            ORDER BY wake_at, served_token, id LIMIT 1))
    FROM picked last CROSS JOIN lanes l ON l.id = last.lane_id
    WHERE n < min(tokens, (SELECT lanes FROM share))
)
SELECT json_group_array(json_array(picked.pace_id, tokens, lane_id, l.max_concurrency - l.in_flight, is_probed)
    ORDER BY n, position)
FROM picked LEFT JOIN lanes l ON l.id = lane_id
"""
# A lane's heads by rank and due time, each found from the one before it: of the same rank, else of the next that has
# one due.
_FIRST_OF_RANK: Final = """SELECT seq FROM deliveries WHERE lane_id = {lane} AND state = 'pending' AND is_head = 1
            AND rank = {rank} AND due_at <= :now ORDER BY due_at, seq LIMIT 1"""
_FIRST_OF_RANKS: Final = f"""SELECT first.seq FROM lanes l CROSS JOIN json_each(l.ranks) r
            CROSS JOIN deliveries first ON first.seq = ({_FIRST_OF_RANK.format(lane="l.id", rank="r.value")})
            WHERE l.id = {{lane}} AND r.value > {{rank}} ORDER BY r.value LIMIT 1"""
_PICK: Final = f"""
WITH RECURSIVE picked (position, lane_id, allowance, n, rank, seq, due_at) AS (
    SELECT a.key, a.value ->> 0, a.value ->> 1, 1, d.rank, d.seq, d.due_at
    FROM json_each(:allowances) a CROSS JOIN lanes ON lanes.id = a.value ->> 0
    CROSS JOIN deliveries d ON d.seq = coalesce(
        ({_FIRST_OF_RANK.format(lane="lanes.id", rank="lanes.rank")}),
        ({_FIRST_OF_RANKS.format(lane="lanes.id", rank="lanes.rank")}))
    UNION ALL
    SELECT last.position, last.lane_id, last.allowance, last.n + 1, d.rank, d.seq, d.due_at
    FROM picked last CROSS JOIN deliveries d ON d.seq = coalesce(
        (SELECT seq FROM deliveries WHERE lane_id = last.lane_id AND state = 'pending' AND is_head = 1
            AND rank = last.rank AND due_at = last.due_at AND seq > last.seq ORDER BY seq LIMIT 1),
        (SELECT seq FROM deliveries WHERE lane_id = last.lane_id AND state = 'pending' AND is_head = 1
            AND rank = last.rank AND due_at > last.due_at AND due_at <= :now ORDER BY due_at, seq LIMIT 1),
        ({_FIRST_OF_RANKS.format(lane="last.lane_id", rank="last.rank")}))
    WHERE last.n < last.allowance
)
SELECT json_group_array(json_array(seq, lane_id) ORDER BY position, n) FROM picked
"""
_LEASE: Final = """
UPDATE deliveries SET state = 'in_flight', attempts = attempts + 1, give_up_at = give_up_at + max(0, :now - due_at),
    token = :token, lease_until = :lease_until, started_at = :now,
    claim_revision = :revision, claim_commit = :git_commit,
    pace_id = (SELECT pace_id FROM lanes WHERE id = deliveries.lane_id)
WHERE seq IN (SELECT value FROM json_each(:seqs))
"""
_LEASED: Final = f"""
SELECT {CLAIMED} FROM json_each(:seqs) j CROSS JOIN deliveries d ON d.seq = j.value
JOIN events e ON e.seq = d.event_seq JOIN lanes l ON l.id = d.lane_id JOIN paces p ON p.id = d.pace_id
"""
_PROBE: Final = """
UPDATE paces SET probe_seq = t.value ->> 1 FROM json_each(:probes) t WHERE paces.id = t.value ->> 0
"""
# What ends by itself ends here, so that whoever looks later sees it ended.
_END_PAUSES: Final = """
UPDATE lanes SET paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL, faults = 0
WHERE paused_until <= :now
"""
_SERVED_LANES: Final = """
UPDATE lanes SET served_at = :now, served_token = :token WHERE id IN (SELECT value FROM json_each(:lanes))
"""
_SERVED_PACES: Final = """
UPDATE paces SET served_token = :token, taken_at = :now,
    full_at_us = CASE WHEN interval_us IS NULL THEN full_at_us
        ELSE max(full_at_us, :now * 1000) + interval_us * (t.value ->> 1) END
FROM json_each(:taken) t WHERE paces.id = t.value ->> 0
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a claim writes into each delivery it takes."""

    now: int
    lease_until: int
    token: int
    revision: int
    commit: str | None


@dataclass(frozen=True, slots=True)
class ReadyLane:
    """A lane with something due: `free` is how many more it may have in flight, `tokens` what its pace may give;
    `is_probed`: the pace's breaker is open, so that what it gives is a probe."""

    pace_id: int
    tokens: int
    lane_id: int
    free: int
    is_probed: bool


def claim(
    db: apsw.Connection, *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
) -> tuple[Claimed, ...]:
    """Lease due deliveries, at most `limit`, recording the next attempt of each as started."""
    _release_held(db, now)
    run(db, _END_PAUSES, now=now)
    if not value(db, "SELECT EXISTS (SELECT 1 FROM paces WHERE wake_at <= :now)", now=now):
        return ()
    token = value(db, "UPDATE store SET last_token = last_token + 1 RETURNING last_token")
    lease = Lease(now, lease_until, token, revision, commit)
    claimed: list[Claimed] = []
    while len(claimed) < limit and (given := _round(db, lease, limit - len(claimed))):
        claimed += given
    return tuple(claimed)


def claim_one(
    db: apsw.Connection,
    delivery_id: str,
    packed: PackedLanes,
    *,
    now: int,
    lease_until: int,
    revision: int,
    commit: str | None,
) -> Claimed | None:
    """Lease one delivery, whatever waits before it; None if it is not pending."""
    put(db, packed)
    found = row(db, "SELECT seq, lane_id FROM deliveries WHERE id = :id AND state = 'pending'", id=delivery_id)
    if found is None:
        return None
    seq, lane_id = found
    token = value(db, "UPDATE store SET last_token = last_token + 1 RETURNING last_token")
    (claimed,) = _lease(db, Lease(now, lease_until, token, revision, commit), [seq])
    pace_id = value(db, "SELECT pace_id FROM lanes WHERE id = :lane", lane=lane_id)
    run(db, _SERVED_PACES, now=now, token=token, taken=pack([[pace_id, 1]]))
    refresh(db, [lane_id])
    return claimed


def _release_held(db: apsw.Connection, now: int) -> None:
    lanes = array(db, _HELD, now=now, limit=HELD_ROWS)
    if lanes:
        run(db, _RELEASE_HELD, now=now, limit=HELD_ROWS)
        refresh(db, lanes)


def _round(db: apsw.Connection, lease: Lease, limit: int) -> list[Claimed]:
    found = array(db, _READY, now=lease.now, limit=limit)
    ready = [ReadyLane(*item) for item in found if item[2] is not None]
    allowances = allot(ready, limit)
    pace_of = {lane.lane_id: lane.pace_id for lane in ready}
    picked = array(db, _PICK, now=lease.now, allowances=pack(list(allowances.items())))
    if not picked:  # a wake time was too early; set it right, so that nobody is woken by it again
        refresh(db, pace_of)
        refresh_paces(db, {item[0] for item in found})
        return []
    seqs, lanes = [seq for seq, _ in picked], [lane_id for _, lane_id in picked]
    probed = {lane.pace_id for lane in ready if lane.is_probed}
    if probed:
        probes = {pace_of[lane_id]: seq for seq, lane_id in picked}
        run(db, _PROBE, probes=pack([item for item in probes.items() if item[0] in probed]))
    given = _lease(db, lease, seqs)
    taken = dict.fromkeys((pace_of[lane_id] for lane_id in lanes), 0)
    for lane_id in lanes:
        taken[pace_of[lane_id]] += 1
    run(db, _SERVED_LANES, now=lease.now, token=lease.token, lanes=pack(lanes))
    run(db, _SERVED_PACES, now=lease.now, token=lease.token, taken=pack(list(taken.items())))
    refresh(db, set(lanes))
    return given


def allot(ready: Sequence[ReadyLane], limit: int) -> Mapping[int, int]:
    """How many each lane may give: one each in the order given, again and again, until the limit, the tokens of its
    pace or its free concurrency are used up."""
    tokens = {lane.pace_id: lane.tokens for lane in ready}
    given = {lane.lane_id: 0 for lane in ready}
    open_lanes = list(ready)
    while open_lanes and limit > 0:
        still_open = []
        for lane in open_lanes:
            if limit > 0 and tokens[lane.pace_id] > 0 and given[lane.lane_id] < lane.free:
                given[lane.lane_id] += 1
                tokens[lane.pace_id] -= 1
                limit -= 1
                still_open.append(lane)
        open_lanes = still_open
    return {lane_id: allowance for lane_id, allowance in given.items() if allowance}


def _lease(db: apsw.Connection, lease: Lease, seqs: Sequence[int]) -> list[Claimed]:
    packed = pack(seqs)
    run(
        db,
        _LEASE,
        now=lease.now,
        lease_until=lease.lease_until,
        token=lease.token,
        revision=lease.revision,
        git_commit=lease.commit,
        seqs=packed,
    )
    place = {seq: index for index, seq in enumerate(seqs)}
    return sorted(unpack(row(db, _LEASED, seqs=packed)), key=lambda claimed: place[claimed.seq])


def unpack(found: tuple[Any, ...] | None) -> list[Claimed]:
    """The rows of a statement that selects CLAIMED."""
    if found is None:
        return []
    packed, raws = found
    claimed, start = [], 0
    for delivery_id, seq, token, number, counted, uid, pace_key, event_id, size, *more in orjson.loads(packed):
        accepted_at, started_at, give_up_at, revision, commit, is_probe = more
        claimed.append(
            Claimed(
                delivery_id=delivery_id,
                seq=seq,
                token=token,
                number=number,
                counted=counted,
                webhook_uid=uid,
                pace_key=pace_key,
                event_id=event_id,
                raw=raws[start : start + size],
                accepted_at=accepted_at,
                started_at=started_at,
                give_up_at=give_up_at,
                revision=revision,
                commit=commit,
                is_probe=bool(is_probe),
            )
        )
        start += size
    return claimed
