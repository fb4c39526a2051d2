"""What finished attempts tell of their receivers: breakers of pace keys, faults and pauses of webhooks, and notices.

Part of `finish`, in its transaction. The rules are `models.health` and `models.notice`; where every receiver is well
nothing is written.
"""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Final

import apsw

from reconciler.models.audit import AuditAction, Deed, Warrant
from reconciler.models.delivery import State
from reconciler.models.flow import ITSELF
from reconciler.models.health import Breaker, Health, after_attempt, faults_after, pause_reason
from reconciler.models.notice import Condition
from reconciler.store.base import Finished
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import pack, row, run
from reconciler.store.sqlite.lane import refresh_paces
from reconciler.store.sqlite.notice import Facts, note
from reconciler.store.sqlite.text import storable

_TROUBLED: Final = (Health.FAILED, Health.FAULT, Health.GONE)

# What is to be known of an attempt's delivery `d`, its lane `l` and its pace `p`, where the attempt tells something: of
# attempts that were well, those whose pace or lane has something to forget.
TOLD: Final = """d.seq, d.lane_id, l.faults, l.paused_at IS NOT NULL, d.pace_id, p.probe_seq,
    p.failures, p.opened_at, p.probe_at, p.wait_ms, d.id,
    (SELECT id FROM events WHERE seq = d.event_seq), (SELECT source = :operational FROM events WHERE seq = d.event_seq),
    l.failures, l.failing_since, l.troubled_at"""
IS_TOLD: Final = "{is_troubled} OR l.faults OR p.failures OR l.failures OR l.troubled_at IS NOT NULL"
_SET_BREAKERS: Final = """
UPDATE paces SET failures = b.value ->> 1, opened_at = b.value ->> 2, probe_at = b.value ->> 3,
    wait_ms = b.value ->> 4, probe_seq = b.value ->> 5
FROM jsonb_each(:breakers) b WHERE paces.id = b.value ->> 0
"""
_SET_FAULTS: Final = """
UPDATE lanes SET faults = f.value ->> 1 FROM jsonb_each(:faults) f WHERE lanes.id = f.value ->> 0
"""
_PAUSE: Final = """
UPDATE lanes SET paused_at = p.value ->> 1, paused_by = :by, pause_reason = p.value ->> 2
FROM jsonb_each(:pauses) p WHERE lanes.id = p.value ->> 0 AND paused_at IS NULL
"""

_NAME: Final = """
SELECT webhook_uid, coalesce((SELECT name FROM webhook_versions WHERE uid = l.webhook_uid ORDER BY revision DESC
    LIMIT 1), l.webhook_uid)
FROM lanes l WHERE id = :lane
"""


def is_troubled(item: Finished) -> bool:
    """Whether an attempt tells something whatever was before it."""
    return item.health in _TROUBLED or item.state is State.DEAD


def tell(db: apsw.Connection, kept: Sequence[tuple[Finished, list[Any]]]) -> None:
    """Take over what attempts tell, in order, while their deliveries still hold their leases; each with its TOLD."""
    opened = _tell_paces(db, kept)
    pauses = _tell_lanes(db, kept)
    note(db, [(item, _facts(row)) for item, row in kept], pauses=pauses, opened=opened)


def _facts(row: list[Any]) -> Facts:
    _, lane_id, _, is_paused, *_, delivery_id, event_id, is_operational, failures, failing_since, troubled_at = row
    condition = Condition(failures, failing_since, troubled_at)
    return Facts(lane_id, delivery_id, event_id, bool(is_operational), bool(is_paused), condition)


def _tell_paces(db: apsw.Connection, told: Sequence[tuple[Finished, list[Any]]]) -> dict[int, int]:
    """The breakers after these attempts; returns which delivery's attempt opened one, by pace."""
    before: dict[int, tuple[Breaker, int | None]] = {}
    after: dict[int, tuple[Breaker, int | None]] = {}
    opened: dict[int, int] = {}
    for item, (seq, _, _, _, pace_id, probe_seq, *breaker) in told:
        held, probe = after.get(pace_id) or before.setdefault(pace_id, (Breaker(*breaker[:4]), probe_seq))
        is_probe, was_open = seq == probe, held.is_open
        held = after_attempt(held, item.health, is_probe=is_probe, now=item.finished_at)
        after[pace_id] = held, None if is_probe or not held.is_open else probe
        if held.is_open and not was_open:
            opened[pace_id] = seq
    moved = {pace_id: state for pace_id, state in after.items() if state != before[pace_id]}
    if moved:
        packed = pack([[pace_id, *astuple(breaker), probe] for pace_id, (breaker, probe) in moved.items()])
        run(db, _SET_BREAKERS, breakers=packed)
        refresh_paces(db, moved)
    return opened


def _tell_lanes(db: apsw.Connection, told: Sequence[tuple[Finished, list[Any]]]) -> dict[int, str]:
    """Faults and pauses after these attempts; returns why, by the delivery whose attempt led to a pause. The lanes are
    refreshed by `finish`."""
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    pauses: dict[int, tuple[int, str]] = {}
    reasons: dict[int, str] = {}
    for item, (_, lane_id, faults, is_paused, *_) in told:
        before.setdefault(lane_id, faults)
        after[lane_id] = faults_after(after.get(lane_id, faults), item.health)
        reason = pause_reason(item.health, after[lane_id], item.blame)
        if reason is not None and not is_paused and lane_id not in pauses:
            pauses[lane_id] = item.finished_at, storable(reason)
            reasons[item.seq] = reason
    moved = [[lane_id, number] for lane_id, number in after.items() if number != before[lane_id]]
    if moved:
        run(db, _SET_FAULTS, faults=pack(moved))
    if pauses:
        run(db, _PAUSE, by=ITSELF, pauses=pack([[lane_id, *pause] for lane_id, pause in pauses.items()]))
        for lane_id, (paused_at, reason) in pauses.items():
            uid, name = row(db, _NAME, lane=lane_id) or ("", "")
            deed = Deed(AuditAction.PAUSE, name, {"uid": uid}, Warrant(ITSELF, reason=reason))
            append(db, deed, at=paused_at)
    return reasons
