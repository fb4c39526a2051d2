"""The claim: which due deliveries are leased now. Its cost follows what it gives, never what waits.

What is ready is found by `ready`; of each lane its due heads, every step by index. Rounds repeat until the limit is
used up or there can be no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import apsw
import orjson

from reconciler.models.delivery import DeliveryId
from reconciler.models.event import EventId
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import Claimed
from reconciler.store.sqlite.connection import array, pack, row, run, slices
from reconciler.store.sqlite.lane import PackedLanes, put, refresh, refresh_paces, refreshing
from reconciler.store.sqlite.program import Program, call_of
from reconciler.store.sqlite.ready import Glance, allot, look

HELD_ROWS: Final = 1_000  # rows released from their hold in one claim; the next one goes on

_RELEASE_HELD: Final = """
UPDATE deliveries SET is_head = 1 WHERE seq IN (SELECT seq FROM deliveries
    WHERE state = 'pending' AND is_head = 0 AND hold_until <= :now ORDER BY hold_until LIMIT :limit)
"""
_HELD: Final = """
SELECT json_group_array(DISTINCT lane_id) FROM (SELECT lane_id FROM deliveries
    WHERE state = 'pending' AND is_head = 0 AND hold_until <= :now ORDER BY hold_until LIMIT :limit)
"""
# A lane's heads by rank and due time, each found from the one before it: of the same rank, else of the next that has
# one due.
_FIRST_OF_RANK: Final = """SELECT seq FROM deliveries WHERE lane_id = {lane} AND state = 'pending' AND is_head = 1
            AND rank = {rank} AND due_at <= :now ORDER BY due_at, seq LIMIT 1"""
_FIRST_OF_RANKS: Final = f"""SELECT first.seq FROM lanes l CROSS JOIN json_each(l.ranks) r
            CROSS JOIN deliveries first ON first.seq = ({_FIRST_OF_RANK.format(lane="l.id", rank="r.value")})
            WHERE l.id = {{lane}} AND r.value > {{rank}} ORDER BY r.value LIMIT 1"""
# The probe of an open breaker is what has been due for longest, whatever its rank: one that failed is due anew and so
# goes behind all others, else one that can never succeed would be the only probe of its lane for ever.
_FIRST_OF_ALL: Final = f"""SELECT first.seq FROM json_each(coalesce(lanes.ranks, '[0]')) r
            CROSS JOIN deliveries first ON first.seq = ({_FIRST_OF_RANK.format(lane="lanes.id", rank="r.value")})
            ORDER BY first.due_at, first.seq LIMIT 1"""
# `allowed` says which lanes give how many, in which position: a table, or a SELECT in brackets.
PICKED: Final = f"""
WITH RECURSIVE picked (position, lane_id, allowance, n, rank, seq, due_at) AS (
    SELECT a.position, a.lane_id, a.allowance, 1, d.rank, d.seq, d.due_at
    FROM {{allowed}} a CROSS JOIN lanes ON lanes.id = a.lane_id
    CROSS JOIN deliveries d ON d.seq = coalesce(
        CASE WHEN a.is_probed THEN ({_FIRST_OF_ALL}) END,
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
"""
_ALLOWED: Final = """(SELECT key AS position, value ->> 0 AS lane_id, value ->> 1 AS allowance, value ->> 2 AS is_probed
        FROM json_each(:allowances))"""
# Both results are in the order in which SQLite comes to them. CAST keeps the bytes: group_concat joins blobs as they
# are, but calls the result text.
_PICK: Final = f"""
{PICKED.format(allowed=_ALLOWED)}
SELECT json_group_array(json_array(position, n, picked.lane_id, d.seq, d.id, d.attempts + 1, d.counted, e.id,
    length(e.raw), d.accepted_at, d.give_up_at + max(0, :now - d.due_at))), CAST(group_concat(e.raw, '') AS BLOB)
FROM picked CROSS JOIN deliveries d ON d.seq = picked.seq CROSS JOIN events e ON e.seq = d.event_seq
"""

_ONE: Final = """
SELECT s.last_token, p.id, p.key, l.id, l.webhook_uid, d.seq, d.attempts + 1, d.counted, e.id, d.accepted_at,
    d.give_up_at + max(0, :now - d.due_at), e.raw
FROM deliveries d JOIN lanes l ON l.id = d.lane_id JOIN paces p ON p.id = l.pace_id JOIN events e ON e.seq = d.event_seq
CROSS JOIN store s WHERE d.id = :id AND d.state = 'pending'
"""
# What ends by itself ends here, so that whoever looks later sees it ended.
_END_PAUSES: Final = """
UPDATE lanes SET paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL, faults = 0
WHERE paused_until <= :now
"""


def taking(*, token: str, seqs: str, probes: str, served: str, taken: str, lanes: str) -> tuple[str, ...]:
    """The statements that write a claim, for a program: an expression for its token, and SELECTs of the `seq` of what
    is taken, of (pace, `seq`) of probes, of the lanes whose turn it was, of (pace, number) of the tokens that were
    taken, and of the lanes to be refreshed."""
    return (
        f"""
UPDATE deliveries SET state = 'in_flight', attempts = attempts + 1, give_up_at = give_up_at + max(0, :now - due_at),
    token = {token}, lease_until = :lease_until, started_at = :now,
    claim_revision = :revision, claim_commit = :git_commit,
    pace_id = (SELECT pace_id FROM lanes WHERE id = deliveries.lane_id)
WHERE seq IN ({seqs})
""",
        f"UPDATE paces SET probe_seq = t.seq FROM ({probes}) t WHERE paces.id = t.pace_id",
        f"UPDATE lanes SET served_at = :now, served_token = {token} WHERE id IN ({served})",
        f"""
UPDATE paces SET served_token = {token}, taken_at = :now,
    full_at_us = CASE WHEN interval_us IS NULL THEN full_at_us
        ELSE max(full_at_us, :now * 1000) + interval_us * t.number END
FROM ({taken}) t WHERE paces.id = t.pace_id
""",
        *refreshing(lanes),
    )


_TAKE: Final = Program(
    "take",
    (
        "UPDATE store SET last_token = :token",
        *taking(
            token=":token",
            seqs="SELECT value FROM json_each(:seqs)",
            probes="SELECT value ->> 0 AS pace_id, value ->> 1 AS seq FROM json_each(:probes)",
            served="SELECT value FROM json_each(:served)",
            taken="SELECT value ->> 0 AS pace_id, value ->> 1 AS number FROM json_each(:taken)",
            lanes="SELECT value FROM json_each(:lanes)",
        ),
    ),
)
_CALL_TAKE: Final = call_of(_TAKE)


@dataclass(frozen=True, slots=True)
class Lease:
    """What a claim writes into each delivery it takes."""

    now: int
    lease_until: int
    token: int
    revision: int
    commit: str | None

    def claimed(
        self,
        delivery_id: DeliveryId,
        seq: int,
        number: int,
        counted: int,
        uid: WebhookUid,
        pace_key: str,
        event_id: EventId,
        raw: bytes,
        accepted_at: int,
        give_up_at: int | None,
        is_probe: int = False,
    ) -> Claimed:
        """A delivery that it has taken."""
        revision, commit = self.revision, self.commit
        lease = accepted_at, self.now, give_up_at, revision, commit, bool(is_probe)
        return Claimed(delivery_id, seq, self.token, number, counted, uid, pace_key, event_id, raw, *lease)


def install(db: apsw.Connection) -> None:
    """Make `claim` and `claim_one` known to a writing connection."""
    _TAKE.install(db)


def claim(
    db: apsw.Connection, *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
) -> tuple[Claimed, ...]:
    """Lease due deliveries, at most `limit`, recording the next attempt of each as started."""
    glance = look(db, now, limit)
    if glance.has_held or glance.has_ended:
        _release_held(db, now)
        run(db, _END_PAUSES, now=now)
        glance = look(db, now, limit)
    return tuple(_rounds(db, Lease(now, lease_until, glance.last_token + 1, revision, commit), glance, limit))


def go_on(db: apsw.Connection, lease: Lease, limit: int) -> list[Claimed]:
    """What more can be leased by a claim that has begun."""
    return _rounds(db, lease, look(db, lease.now, limit), limit)


def _rounds(db: apsw.Connection, lease: Lease, glance: Glance, limit: int) -> list[Claimed]:
    claimed: list[Claimed] = []
    while glance.paces:
        given, is_over = _round(db, lease, glance, limit - len(claimed))
        claimed += given
        if is_over or len(claimed) == limit:
            break
        glance = look(db, lease.now, limit - len(claimed))
    return claimed


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
    found = row(db, _ONE, id=delivery_id, now=now)
    if found is None:
        return None
    last_token, pace_id, pace_key, lane_id, uid, seq, *facts = found
    lease = Lease(now, lease_until, last_token + 1, revision, commit)
    _take(db, lease, seqs=[seq], taken={pace_id: 1}, lanes=[lane_id])
    number, counted, event_id, accepted_at, give_up_at, raw = facts
    return lease.claimed(
        DeliveryId(delivery_id), seq, number, counted, uid, pace_key, event_id, raw, accepted_at, give_up_at
    )


def _release_held(db: apsw.Connection, now: int) -> None:
    lanes = array(db, _HELD, now=now, limit=HELD_ROWS)
    if lanes:
        run(db, _RELEASE_HELD, now=now, limit=HELD_ROWS)
        refresh(db, lanes)


def _round(db: apsw.Connection, lease: Lease, glance: Glance, limit: int) -> tuple[list[Claimed], bool]:
    """What the lanes that were seen give; and whether there can be no more."""
    lanes = {lane.lane_id: lane for lane in glance.lanes}
    allowances = allot(glance.lanes, limit)
    picked = _pick(db, lease.now, [[id_, number, lanes[id_].is_probed] for id_, number in allowances.items()])
    if not picked:  # a wake time was too early; set it right, so that nobody is woken by it again
        refresh(db, lanes)
        refresh_paces(db, glance.paces)
        return [], True
    taken: dict[int, int] = {}
    probes: dict[int, int] = {}
    claimed = []
    for _, _, lane_id, seq, id_, number, counted, event_id, _, accepted_at, give_up_at, raw in picked:
        lane = lanes[lane_id]
        uid, key, is_probe = lane.webhook_uid, lane.pace_key, lane.is_probed
        taken[lane.pace_id] = taken.get(lane.pace_id, 0) + 1
        if lane.is_probed:
            probes[lane.pace_id] = seq
        claimed.append(
            lease.claimed(id_, seq, number, counted, uid, key, event_id, raw, accepted_at, give_up_at, is_probe)
        )
    served = list({item[2] for item in picked})
    _take(db, lease, seqs=[one.seq for one in claimed], taken=taken, lanes=served, served=served, probes=probes)
    return claimed, glance.is_all and len(picked) == sum(allowances.values())


def _pick(db: apsw.Connection, now: int, allowances: Sequence[Sequence[int]]) -> list[list[Any]]:
    """(position, place, lane, seq, …, the event's bytes) of the heads that go, in their order. An allowance is a lane,
    how many it may give, and whether that is a probe."""
    if not allowances:
        return []
    packed, raws = row(db, _PICK, now=now, allowances=pack(allowances)) or ("[]", b"")
    found: list[list[Any]] = orjson.loads(packed)
    for item, raw in zip(found, slices(raws, [item[8] for item in found]), strict=True):
        item.append(raw)
    return found if len(allowances) == 1 else sorted(found)


def _take(
    db: apsw.Connection,
    lease: Lease,
    *,
    seqs: Sequence[int],
    taken: Mapping[int, int],
    lanes: Sequence[int],
    served: Sequence[int] = (),
    probes: Mapping[int, int] = MappingProxyType({}),
) -> None:
    """Write a claim. `taken` is how many of each pace's tokens, `served` the lanes whose turn it was, `probes` which
    delivery is the probe of a pace."""
    run(
        db,
        _CALL_TAKE,
        now=lease.now,
        lease_until=lease.lease_until,
        token=lease.token,
        revision=lease.revision,
        git_commit=lease.commit,
        seqs=pack(seqs),
        probes=pack(list(probes.items())),
        served=pack(served),
        taken=pack(list(taken.items())),
        lanes=pack(lanes),
    )
