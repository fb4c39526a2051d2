"""The verbs of NoticeStore on a connection, and what the verbs that make facts note: part of their transactions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import apsw

from reconciler.models.delivery import State
from reconciler.models.flow import ITSELF, Pause
from reconciler.models.health import Health
from reconciler.models.notice import FAILURES_MAX, STATE_TRIGGERS, Condition, Notice, due_at, merged
from reconciler.models.webhook import Trigger, WebhookUid
from reconciler.store.base import EventStatus, Finished
from reconciler.store.notice import Told
from reconciler.store.sqlite import event
from reconciler.store.sqlite.connection import array, pack, rows, run
from reconciler.store.sqlite.text import dump, load

HELD_MAX: Final = (
    500  # webhooks told of as held back in one transaction, to keep it short; more share no path in earnest
)

_NOTICES: Final = """
SELECT n.id, n.trigger, l.webhook_uid, coalesce(
    (SELECT name FROM webhook_versions WHERE uid = l.webhook_uid ORDER BY revision DESC LIMIT 1), l.webhook_uid),
    n.number, n.since, n.last_at, n.body
FROM notices n JOIN lanes l ON l.id = n.lane_id WHERE n.due_at <= :now
ORDER BY n.due_at, n.lane_id, n.last_at, n.id LIMIT :limit
"""
_AS_READ: Final = """
SELECT json_group_array(n.id) FROM jsonb_each(:read) r CROSS JOIN notices n ON n.id = r.value ->> 0
WHERE n.number = r.value ->> 1 AND n.last_at = r.value ->> 2
"""
# What nobody wanted was not told: the next one is told at once to whoever wants it by then.
_TOLD: Final = """
UPDATE notices SET number = 0, due_at = NULL, body = '{}', told_at = iif(t.value ->> 1, :now, NULL)
FROM jsonb_each(:told) t WHERE notices.id = t.value ->> 0
"""
_KNOWN: Final = """
SELECT json_group_array(json_array(lane_id, trigger, number, since, last_at, body, due_at, told_at))
FROM notices WHERE lane_id IN (SELECT value FROM json_each(:lanes))
"""
_PUT: Final = """
INSERT INTO notices (lane_id, trigger, number, since, last_at, body, due_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
FROM jsonb_each(:notices) WHERE true
ON CONFLICT (lane_id, trigger) DO UPDATE SET number = excluded.number, since = excluded.since,
    last_at = excluded.last_at, body = excluded.body, due_at = excluded.due_at
"""
_SET_CONDITIONS: Final = """
UPDATE lanes SET failures = c.value ->> 1, failing_since = c.value ->> 2, troubled_at = c.value ->> 3
FROM jsonb_each(:conditions) c WHERE lanes.id = c.value ->> 0
"""
# Webhooks that a breaker holds back with the one that opened it: none of their own attempts will tell.
_HELD_BACK: Final = """
SELECT json_group_array(json_array(id, at, failures, failing_since)) FROM (
    SELECT l.id, p.value ->> 1 AS at, l.failures, l.failing_since
    FROM jsonb_each(:paces) p CROSS JOIN lanes l INDEXED BY lanes_pace ON l.pace_id = p.value ->> 0
    WHERE l.troubled_at IS NULL AND (l.failures > 0 OR l.pending + l.in_flight > l.doomed) LIMIT :limit)
"""
_CONDITION: Final = """
SELECT json_group_array(json_array(id, failures, failing_since, troubled_at)) FROM lanes WHERE id = :lane
"""


class Facts(NamedTuple):
    """What is known of a finished attempt beside its result."""

    lane_id: int
    delivery_id: str
    event_id: str
    is_operational: bool
    is_paused: bool
    condition: Condition


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to a lane's webhook and is to be told."""

    lane_id: int
    trigger: Trigger
    at: int
    since: int
    body: dict[str, Any]


def note(
    db: apsw.Connection,
    told: Sequence[tuple[Finished, Facts]],
    *,
    pauses: Mapping[int, str],
    opened: Mapping[int, int],
) -> None:
    """Note what attempts tell of their webhooks, in order. `pauses` gives why those were paused that an attempt led to,
    by its delivery's `seq`; `opened` the attempt that opened a breaker, by its pace. Attempts that carry operational
    events tell nothing."""
    before: dict[int, Condition] = {}
    after: dict[int, Condition] = {}
    facts: list[Fact] = []
    paused: set[int] = set()  # by one of these attempts: what was under way beside it is no recovery
    for item, about in told:
        if about.is_operational:
            continue
        lane = about.lane_id
        was = after.get(lane) or before.setdefault(lane, about.condition)
        is_through = item.state is State.DELIVERED and not about.is_paused and lane not in paused
        now = was.after(item.health, is_delivered=is_through, at=item.finished_at)
        is_failing = item.health in (Health.FAILED, Health.FAULT, Health.GONE) and now.failures >= FAILURES_MAX
        if is_failing and now.troubled_at is None:
            now = now.troubled(item.finished_at)
            facts.append(_failing(lane, item, now, _attempt(item, about)))
        if item.seq in pauses:
            paused.add(lane)
            now = now.troubled(item.finished_at)
            facts.append(_paused(lane, item, now, _attempt(item, about), pauses[item.seq]))
        elif was.troubled_at is not None and now.troubled_at is None:
            facts.append(_recovered(lane, item, was.troubled_at, _attempt(item, about)))
        if item.state is State.DEAD:
            facts.append(_dead(lane, item, about))
        after[lane] = now
    _set_conditions(db, {lane: now for lane, now in after.items() if now != before[lane]})
    openers = {item.seq: item.finished_at for item, about in told if not about.is_operational}
    facts += _held_back(db, {pace: openers[seq] for pace, seq in opened.items() if seq in openers})
    _put(db, facts)


def note_pause(db: apsw.Connection, lane: int, pause: Pause) -> None:
    """Note that an operator has paused a webhook."""
    at, by = pause.paused_at, pause.paused_by
    _set_conditions(db, {found[0]: Condition(*found[1:]).troubled(at) for found in array(db, _CONDITION, lane=lane)})
    body = {"reason": pause.fact, "pause": {"by": by, "reason": pause.reason, "until": pause.until}}
    _put(db, [Fact(lane, Trigger.WEBHOOK_PAUSED, at, at, body)])


def notices(db: apsw.Connection, now: int, limit: int) -> tuple[Notice, ...]:
    """Those that are due."""
    return tuple(
        Notice(number_id, Trigger(trigger), WebhookUid(uid), name, number, since, last_at, load(body))
        for number_id, trigger, uid, name, number, since, last_at, body in rows(db, _NOTICES, now=now, limit=limit)
    )


def announce(db: apsw.Connection, told: Sequence[Told], revision: int, now: int) -> int:
    """Store the events of notices that are as they were read, and forget these. Raises RevisionMovedError."""
    as_read = set(array(db, _AS_READ, read=pack([[t.notice.id, t.notice.number, t.notice.last_at] for t in told])))
    kept = [item for item in told if item.notice.id in as_read]
    statuses = event.accept(db, [item.event for item in kept if item.event is not None], revision)
    run(db, _TOLD, told=pack([[item.notice.id, int(item.event is not None)] for item in kept]), now=now)
    return statuses.count(EventStatus.ACCEPTED)


# Facts --------------------------------------------------------------------------------------------------------------


def _failing(lane: int, item: Finished, now: Condition, attempt: dict[str, Any]) -> Fact:
    reason = f"{now.failures} attempts in a row failed: {item.blame}"
    body = {"reason": reason, "failures": now.failures, "last_attempt": attempt}
    return Fact(lane, Trigger.WEBHOOK_FAILING, item.finished_at, now.failing_since or item.finished_at, body)


def _paused(lane: int, item: Finished, now: Condition, attempt: dict[str, Any], reason: str) -> Fact:
    pause = {"by": ITSELF, "reason": reason, "until": None}
    body = {"reason": reason, "failures": now.failures, "last_attempt": attempt, "pause": pause}
    return Fact(lane, Trigger.WEBHOOK_PAUSED, item.finished_at, item.finished_at, body)


def _recovered(lane: int, item: Finished, since: int, attempt: dict[str, Any]) -> Fact:
    body = {"reason": "a delivery has arrived again", "last_attempt": attempt}
    return Fact(lane, Trigger.WEBHOOK_RECOVERED, item.finished_at, since, body)


def _dead(lane: int, item: Finished, about: Facts) -> Fact:
    reason = "" if item.reason is None else item.reason.value
    dead = {"id": about.delivery_id, "event_id": about.event_id, "reason": reason, "attempts": item.number}
    body = {"reasons": {reason: 1}, "deliveries": [dead], "last_attempt": _attempt(item, about)}
    return Fact(lane, Trigger.DELIVERY_DEAD, item.finished_at, item.finished_at, body)


def _attempt(item: Finished, about: Facts) -> dict[str, Any]:
    return {
        "delivery_id": about.delivery_id,
        "event_id": about.event_id,
        "number": item.number,
        "outcome": item.outcome.value,
        "status": item.result.status,
        "fault": None if item.result.fault is None else item.result.fault.value,
        "detail": item.blame,
        "finished_at": item.finished_at,
    }


def _held_back(db: apsw.Connection, paces: Mapping[int, int]) -> list[Fact]:
    """By the pace whose breaker opened, and when."""
    if not paces:
        return []
    held = array(db, _HELD_BACK, paces=pack(list(paces.items())), limit=HELD_MAX)
    _set_conditions(db, {lane: Condition(failures, since, at) for lane, at, failures, since in held})
    reason = "the breaker of its host and path is open: too many attempts in a row failed"
    return [
        Fact(lane, Trigger.WEBHOOK_FAILING, at, since or at, {"reason": reason, "failures": failures})
        for lane, at, failures, since in held
    ]


def _set_conditions(db: apsw.Connection, conditions: Mapping[int, Condition]) -> None:
    if conditions:
        found = [[lane, now.failures, now.failing_since, now.troubled_at] for lane, now in conditions.items()]
        run(db, _SET_CONDITIONS, conditions=pack(found))


class _Known(NamedTuple):
    """A notice's row, as it was or as it will be."""

    number: int = 0
    since: int = 0
    last_at: int = 0
    body: Mapping[str, Any] = {}
    due_at: int | None = None
    told_at: int | None = None

    def plus(self, fact: Fact) -> "_Known":
        """With one more fact."""
        if self.number == 0:
            due = due_at(at=fact.at, told_at=self.told_at)
            return _Known(1, fact.since, fact.at, fact.body, due, self.told_at)
        body = merged(fact.trigger, self.body, fact.body)
        return self._replace(number=self.number + 1, last_at=fact.at, body=body)


def _put(db: apsw.Connection, facts: Sequence[Fact]) -> None:
    """Add facts to what is still to be told. Of one webhook's condition all is told together, in the order in which it
    came about, so that the last event tells how it is."""
    if not facts:
        return
    known: dict[int, dict[Trigger, _Known]] = {fact.lane_id: {} for fact in facts}
    for lane, trigger, number, since, last_at, body, due, told in array(db, _KNOWN, lanes=pack(list(known))):
        known[lane][Trigger(trigger)] = _Known(number, since, last_at, load(body), due, told)
    touched: dict[tuple[int, Trigger], None] = {}
    for fact in facts:
        of_lane = known[fact.lane_id]
        of_lane[fact.trigger] = of_lane.get(fact.trigger, _Known()).plus(fact)
        touched[fact.lane_id, fact.trigger] = None
    for of_lane in known.values():
        _align(of_lane)
    found = [
        [lane, trigger.value, row.number, row.since, row.last_at, dump(row.body), row.due_at]
        for lane, of_lane in known.items()
        for trigger, row in of_lane.items()
        if (lane, trigger) in touched or row.due_at is not None
    ]
    run(db, _PUT, notices=pack(found))


def _align(of_lane: dict[Trigger, _Known]) -> None:
    waiting = [trigger for trigger in STATE_TRIGGERS if trigger in of_lane and of_lane[trigger].due_at is not None]
    latest = max((of_lane[trigger].due_at or 0 for trigger in waiting), default=0)
    for trigger in waiting:
        of_lane[trigger] = of_lane[trigger]._replace(due_at=latest)
