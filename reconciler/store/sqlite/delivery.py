"""Deliveries as people see them: listings, one with its attempts, counts. Reads only."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import apsw

from reconciler.errors import NotInStoreError
from reconciler.models.delivery import Action, Attempt, Delivery, DeliveryId, Intervention, Outcome, Reason, State
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import DeliveryFilter, Page
from reconciler.store.sqlite.connection import Row, array, row, rows, value
from reconciler.store.sqlite.flow import HALT, halt_of, is_cancelling
from reconciler.store.sqlite.live import UNFINISHED
from reconciler.store.sqlite.text import LAST_CHARACTER, load, storable

# Cancelled by a revision, though the row does not say so yet.
_IS_DOOMED: Final = "(d.state = 'pending' AND d.seq <= coalesce(l.cancel_through, 0))"
_DELIVERY: Final = f"""
SELECT d.id, e.id,
    coalesce((SELECT name FROM webhook_versions WHERE uid = l.webhook_uid ORDER BY revision DESC LIMIT 1),
        l.webhook_uid),
    l.webhook_uid, iif({_IS_DOOMED}, 'cancelled', d.state), iif({_IS_DOOMED}, l.cancel_reason, d.reason),
    d.attempts, d.outcome, CASE WHEN d.state = 'pending' AND l.is_open = 0 THEN l.note END, d.accepted_at,
    CASE WHEN d.state = 'pending' AND NOT {_IS_DOOMED} THEN d.due_at END, coalesce(d.claim_revision, d.revision),
    CASE WHEN d.state = 'in_flight' THEN d.claim_commit ELSE d.git_commit END,
    d.replays, (SELECT id FROM deliveries o WHERE o.seq = d.replay_of),
    CASE WHEN d.state = 'pending' AND NOT {_IS_DOOMED} AND (l.paused_at IS NOT NULL OR p.opened_at IS NOT NULL)
        THEN json_array({HALT}) END
FROM deliveries d JOIN events e ON e.seq = d.event_seq JOIN lanes l ON l.id = d.lane_id
LEFT JOIN paces p ON p.id = l.pace_id
"""
_ATTEMPTS: Final = """
SELECT number, started_at, finished_at, revision, git_commit, result FROM attempts
WHERE delivery_seq = :seq ORDER BY number
"""
_UNDER_WAY: Final = """
SELECT attempts, started_at, NULL, claim_revision, claim_commit, NULL FROM deliveries
WHERE seq = :seq AND state = 'in_flight'
"""
_INTERVENTIONS: Final = """
SELECT i.key, i.action, i.given_at, i.given_by, i.reason, d.attempts
FROM delivery_interventions d JOIN interventions i ON i.id = d.intervention_id
WHERE d.delivery_seq = :seq ORDER BY i.id
"""
_COUNTS: Final = """
SELECT json_group_array(json_array(webhook_uid, pending - doomed, in_flight, delivered + pruned_delivered,
    dead + pruned_dead, cancelled + doomed + pruned_cancelled))
FROM lanes
WHERE pending + in_flight + delivered + dead + cancelled + pruned_delivered + pruned_dead + pruned_cancelled > 0
"""


def deliveries(db: apsw.Connection, page: Page, where: DeliveryFilter) -> tuple[Delivery, ...]:
    """Deliveries, newest first."""
    terms = ["true"]
    if page.before is not None:
        terms.append("d.seq < :before")
    if where.state is not None:
        terms.append(_in_state(db, where.state))
    if where.webhook is not None:
        uid = "SELECT uid FROM live_webhooks WHERE name = :webhook"
        terms.append(f"d.lane_id = (SELECT id FROM lanes WHERE webhook_uid = ({uid}))")
    if where.event_id is not None:
        terms.append("d.event_seq = (SELECT seq FROM events WHERE id = :event_id)")
    found = rows(
        db,
        f"{_DELIVERY} WHERE {' AND '.join(terms)} ORDER BY d.seq DESC LIMIT :limit",
        before=_seq(db, page.before),
        webhook=where.webhook,
        event_id=None if where.event_id is None else storable(where.event_id),
        limit=page.limit,
    )
    return tuple(_delivery(item) for item in found)


def _in_state(db: apsw.Connection, state: State) -> str:
    """The term for a state, spelt out, so that the partial indexes apply wherever nothing is doomed."""
    is_it = f"d.state = '{state.value}'"
    if state not in (State.PENDING, State.CANCELLED) or not is_cancelling(db):
        return is_it
    return f"({is_it} OR {_IS_DOOMED})" if state is State.CANCELLED else f"({is_it} AND NOT {_IS_DOOMED})"


def delivery(db: apsw.Connection, delivery_id: str) -> tuple[Delivery, tuple[Attempt, ...]] | None:
    """One delivery with its attempts in order, the one under way at the end."""
    found = row(db, f"{_DELIVERY} WHERE d.id = :id", id=delivery_id)
    if found is None:
        return None
    seq = value(db, "SELECT seq FROM deliveries WHERE id = :id", id=delivery_id)
    attempts = rows(db, _ATTEMPTS, seq=seq) + rows(db, _UNDER_WAY, seq=seq)
    interventions = tuple(_intervention(item) for item in rows(db, _INTERVENTIONS, seq=seq))
    return replace(_delivery(found), interventions=interventions), tuple(_attempt(item) for item in attempts)


def delivery_ids(db: apsw.Connection, prefix: str, limit: int) -> tuple[DeliveryId, ...]:
    """The first ids that begin with `prefix`, from the index on ids."""
    sql = "SELECT id FROM deliveries WHERE id >= :first AND id < :last ORDER BY id LIMIT :limit"
    first = storable(prefix)
    return tuple(found[0] for found in rows(db, sql, first=first, last=f"{first}{LAST_CHARACTER}", limit=limit))


def counts(db: apsw.Connection) -> Mapping[WebhookUid, Mapping[State, int]]:
    """How many deliveries each webhook has, or had before they were pruned, in each state; from the lanes' counters."""
    return {uid: dict(zip(State, numbers, strict=True)) for uid, *numbers in array(db, _COUNTS)}


def unfinished(db: apsw.Connection) -> Mapping[WebhookUid, int]:
    """How many deliveries of each webhook are pending or in flight."""
    return dict(array(db, UNFINISHED))


def _seq(db: apsw.Connection, delivery_id: str | None) -> int | None:
    if delivery_id is None:
        return None
    seq = value(db, "SELECT seq FROM deliveries WHERE id = :id", id=delivery_id)
    if seq is None:
        raise NotInStoreError(f"there is no delivery to continue from: {delivery_id}", hint="list again from the start")
    return int(seq)


def _delivery(found: Row) -> Delivery:
    delivery_id, event_id, webhook, uid, state, reason, attempts, outcome, note, *rest = found
    accepted_at, next_attempt_at, revision, commit, replays, replay_of, held = rest
    return Delivery(
        id=DeliveryId(delivery_id),
        event_id=event_id,
        webhook=webhook,
        webhook_uid=uid,
        state=State(state),
        reason=None if reason is None else Reason(reason),
        attempts=attempts,
        outcome=None if outcome is None else Outcome(outcome),
        note=note if note or held is None else halt_of(load(held)).fact,
        accepted_at=accepted_at,
        next_attempt_at=next_attempt_at,
        revision=revision,
        commit=commit,
        replays=replays,
        replay_of=None if replay_of is None else DeliveryId(replay_of),
    )


def _intervention(found: Row) -> Intervention:
    key, action, given_at, given_by, reason, attempts = found
    return Intervention(key, Action(action), given_at, given_by, reason, after_attempt=attempts)


def _attempt(found: Row) -> Attempt:
    number, started_at, finished_at, revision, commit, result = found
    return Attempt(number, started_at, finished_at, revision, commit, None if result is None else load(result))
