"""Lanes and paces: what may be claimed when. `refresh` keeps the two wake times by which a claim finds its work.

A lane's `wake_at` says since when its first head has been waiting, a pace's when a claim may next find something in
any of its lanes. Whatever changes a due time, a counter or a pace ends with `refresh` of the lanes it touched.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import apsw

from reconciler.store.base import Lane
from reconciler.store.sqlite.connection import array, pack, run, value
from reconciler.store.sqlite.text import storable, storable_or_none

MICROSECONDS: Final = 1_000_000
INTERVAL_MAX_US: Final = 10**12  # 11 days a token; with BURST_MAX tokens still within 64 bits
BURST_MAX: Final = 10**6
PORTION: Final = 500  # lanes set in one transaction: some 5 ms

# The head that is due first: of the only rank there is, or the first of those of each rank.
_DUE_AT: Final = """SELECT due_at FROM deliveries WHERE lane_id = lanes.id AND state = 'pending' AND is_head = 1
            AND rank = {rank} ORDER BY due_at, seq LIMIT 1"""
_LANE_WAKES: Final = f"""
UPDATE lanes SET wake_at = CASE
    WHEN pace_id IS NULL OR is_open = 0 OR in_flight >= max_concurrency OR cancel_reason IS NOT NULL
        OR (paused_at IS NOT NULL AND paused_until IS NULL) THEN NULL
    ELSE max(served_at, coalesce(paused_until, 0), CASE WHEN ranks IS NULL THEN (
        {_DUE_AT.format(rank=0)})
        ELSE (SELECT min(due_at) FROM (SELECT (
        {_DUE_AT.format(rank="r.value")}) AS due_at FROM json_each(lanes.ranks) r)) END) END
"""
# While a breaker's probe is under way nothing of its pace is claimed.
_PACE_WAKES: Final = """
UPDATE paces SET wake_at = CASE WHEN probe_seq IS NULL THEN max(ready_at, coalesce(probe_at, 0), (
    SELECT wake_at FROM lanes WHERE pace_id = paces.id AND wake_at IS NOT NULL ORDER BY wake_at LIMIT 1)) END
"""
_REFRESH_PACES: Final = f"{_PACE_WAKES} WHERE id IN (SELECT value FROM json_each(:paces))"


def refreshing(lanes: str = "SELECT value FROM json_each(:lanes)") -> tuple[str, str]:
    """The statements of `refresh`, for a program; `lanes` is a SELECT of their ids."""
    paces = f"SELECT pace_id FROM lanes WHERE id IN ({lanes})"
    return f"{_LANE_WAKES} WHERE id IN ({lanes})", f"{_PACE_WAKES} WHERE id IN ({paces})"


_REFRESH_LANES, _REFRESH_PACES_OF_LANES = refreshing()

# A pace whose rate changes keeps the tokens it lacks, at most a full bucket of them.
_SET_PACES: Final = """
INSERT INTO paces (key, interval_us, burst)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(:paces) WHERE true
ON CONFLICT (key) DO UPDATE SET interval_us = excluded.interval_us, burst = excluded.burst, full_at_us = CASE
    WHEN interval_us IS NULL OR excluded.interval_us IS NULL THEN full_at_us
    ELSE taken_at * 1000 + CAST(ceil(excluded.interval_us *
        min(excluded.burst, (full_at_us - taken_at * 1000) * 1.0 / interval_us)) AS INTEGER) END
WHERE interval_us IS NOT excluded.interval_us OR burst <> excluded.burst
"""
_SET_LANES: Final = """
INSERT INTO lanes (webhook_uid, pace_id, max_concurrency, is_open, note)
SELECT value ->> 0, (SELECT id FROM paces WHERE key = value ->> 1), value ->> 2, value ->> 3, value ->> 4
FROM jsonb_each(:lanes) WHERE true
ON CONFLICT (webhook_uid) DO UPDATE SET pace_id = excluded.pace_id, max_concurrency = excluded.max_concurrency,
    is_open = excluded.is_open, note = excluded.note
WHERE (pace_id, max_concurrency, is_open, note)
    IS NOT (excluded.pace_id, excluded.max_concurrency, excluded.is_open, excluded.note)
"""
_GONE_LANES: Final = """
SELECT json_group_array(json_array(id, pace_id)) FROM lanes
WHERE pace_id IS NOT NULL AND webhook_uid NOT IN (SELECT value FROM json_each(:uids))
"""
_UNSET_LANES: Final = """
UPDATE lanes SET pace_id = NULL, is_open = 0, note = NULL, wake_at = NULL
WHERE id IN (SELECT value FROM json_each(:lanes))
"""
_IDS: Final = """
SELECT json_group_array(l.id) FROM jsonb_each(:lanes) j CROSS JOIN lanes l ON l.webhook_uid = j.value ->> 0
"""


@dataclass(frozen=True, slots=True)
class PackedLanes:
    """Lanes and paces as two parameters, made before the transaction that takes them."""

    lanes: str
    paces: str

    @classmethod
    def portions(cls, lanes: Sequence[Lane]) -> Iterator[Self]:
        """The parameters for all lanes, in portions for `set_portion`; a pace is the strictest of all."""
        paces = {pace[0]: pace for pace in _paces(lanes)}
        for start in range(0, len(lanes), PORTION):
            portion = lanes[start : start + PORTION]
            keys = dict.fromkeys(storable(lane.pace_key) for lane in portion)
            yield cls(pack(_rows(portion)), pack([paces[key] for key in keys]))

    @classmethod
    def of(cls, lanes: Sequence[Lane]) -> Self:
        """The parameters for these lanes."""
        return cls(pack(_rows(lanes)), pack(_paces(lanes)))


def _rows(lanes: Sequence[Lane]) -> list[list[object]]:
    return [
        [
            lane.webhook_uid,
            storable(lane.pace_key),
            lane.max_concurrency,
            int(lane.is_open),
            storable_or_none(lane.note),
        ]
        for lane in lanes
    ]


def configure(db: apsw.Connection, revision: int, uids: str) -> bool:
    """Begin to set the lanes of all live, active webhooks, whose uids are given: close all others. False, and nothing
    done, if a newer revision has set them. `set_portion` goes on."""
    if value(db, "SELECT lanes_revision FROM store") > revision:
        return False
    run(db, "UPDATE store SET lanes_revision = :revision", revision=revision)
    gone = array(db, _GONE_LANES, uids=uids)
    run(db, _UNSET_LANES, lanes=pack([lane for lane, _ in gone]))
    refresh_paces(db, {pace for _, pace in gone})
    return True


def set_portion(db: apsw.Connection, revision: int, packed: PackedLanes) -> bool:
    """Set these lanes, and refresh them whether they have changed or not; False if a newer revision sets them."""
    if value(db, "SELECT lanes_revision FROM store") > revision:
        return False
    put(db, packed)
    refresh(db, array(db, _IDS, lanes=packed.lanes))
    return True


def put(db: apsw.Connection, packed: PackedLanes) -> None:
    """Set these lanes and leave all others as they are."""
    run(db, _SET_PACES, paces=packed.paces)
    run(db, _SET_LANES, lanes=packed.lanes)


def refresh(db: apsw.Connection, lanes: Iterable[int]) -> None:
    """Recompute the wake times of lanes and of their paces, in time proportional to how many they are."""
    packed = pack(list(lanes))
    run(db, _REFRESH_LANES, lanes=packed)
    run(db, _REFRESH_PACES_OF_LANES, lanes=packed)


def refresh_paces(db: apsw.Connection, paces: Iterable[int]) -> None:
    """Recompute the wake times of paces alone."""
    run(db, _REFRESH_PACES, paces=pack(list(paces)))


def _paces(lanes: Sequence[Lane]) -> list[list[object]]:
    """(key, interval, burst) of each pace key; among lanes that share one, the strictest rate and burst hold."""
    found: dict[str, tuple[int | None, int]] = {}
    for lane in lanes:
        interval = None if lane.per_second is None else _interval(lane.per_second)
        burst = min(max(1, lane.burst), BURST_MAX)
        key = storable(lane.pace_key)
        other_interval, other_burst = found.get(key, (None, burst))
        if interval is None:
            found.setdefault(key, (None, 1))
        elif other_interval is None:
            found[key] = (interval, burst)
        else:
            found[key] = (max(interval, other_interval), min(burst, other_burst))
    return [[key, interval, burst] for key, (interval, burst) in found.items()]


def _interval(per_second: float) -> int:
    """Microseconds from one token to the next, rounded so that the rate is never exceeded."""
    return min(max(1, math.ceil(MICROSECONDS / per_second)), INTERVAL_MAX_US)
