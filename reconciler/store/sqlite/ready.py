"""What a claim begins with: the lanes that have something due, and how many each of them may give.

Paces are found by their wake time, of each its lanes, every step by index: what waits costs nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import apsw
import orjson

from reconciler.models.webhook import WebhookUid
from reconciler.store.sqlite.connection import row

# As many lanes of each ready pace as it can be given a share for, each found from the one before it. One seek a case:
# for `(wake_at, served_token, id) > (…)` SQLite would walk everything that has the same wake_at.
LANES: Final = """
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
SELECT n, position, picked.pace_id, p.key AS pace_key, tokens, is_probed, n >= (SELECT lanes FROM share) AS is_last,
    l.id AS lane_id, l.webhook_uid, l.max_concurrency - l.in_flight AS free
FROM picked CROSS JOIN paces p ON p.id = picked.pace_id LEFT JOIN lanes l ON l.id = lane_id
"""
HAS_HELD: Final = "EXISTS (SELECT 1 FROM deliveries WHERE state = 'pending' AND is_head = 0 AND hold_until <= :now)"
HAS_ENDED: Final = "EXISTS (SELECT 1 FROM lanes WHERE paused_until <= :now)"
_READY: Final = f"""
SELECT {HAS_HELD}, {HAS_ENDED}, last_token,
    (SELECT json_group_array(json_array(pace_id, pace_key, tokens, is_probed, is_last, lane_id, webhook_uid, free)
        ORDER BY n, position) FROM ({LANES}))
FROM store
"""


class ReadyLane(NamedTuple):
    """A lane with something due, as `_READY` finds it: `tokens` is what its pace may give, `free` how many more the
    lane may have in flight. `is_probed`: the pace's breaker is open, so that what it gives is a probe. `is_last`: there
    was room for no more lanes of the pace."""

    pace_id: int
    pace_key: str
    tokens: int
    is_probed: int
    is_last: int
    lane_id: int
    webhook_uid: WebhookUid
    free: int


class Glance(NamedTuple):
    """What there is to do at a time. `paces` are those that may have something, `lanes` those of them that have; with
    `is_all` there are no others."""

    has_held: bool
    has_ended: bool
    last_token: int
    paces: frozenset[int]
    lanes: Sequence[ReadyLane]
    is_all: bool


def look(db: apsw.Connection, now: int, limit: int) -> Glance:
    """What there is to do, and which lanes may give up to `limit` deliveries."""
    has_held, has_ended, last_token, packed = row(db, _READY, now=now, limit=limit) or (0, 0, 0, "[]")
    found = orjson.loads(packed)
    lanes = [ReadyLane(*item) for item in found if item[5] is not None]
    paces = frozenset(item[0] for item in found)
    is_all = len(paces) < limit and not any(lane.is_last for lane in lanes)
    return Glance(bool(has_held), bool(has_ended), last_token, paces, lanes, is_all)


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
