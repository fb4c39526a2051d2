"""Items judged: each an event under its identity, with the deliveries that the live revision wants, or quarantined.

Called by `dispatch.intake`, and by those that judge again or apart from it. Pure: what comes out are rows to store.
DESIGN.md section 5, Identity.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from reconciler import jsontext
from reconciler.dispatch.item import Item, parse_items
from reconciler.dispatch.live import Snapshot
from reconciler.errors import ReconcilerError
from reconciler.jsontext import JsonValue
from reconciler.models.delivery import delivery_id
from reconciler.models.event import (
    OPERATIONAL_TYPES,
    Event,
    EventId,
    EventProblem,
    is_cloudevent,
    judge_payload,
    make_event,
    payload_of,
)
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import Ordering
from reconciler.request.condition import MatchState
from reconciler.store.base import NewDelivery, NewEvent
from reconciler.store.match_error import NewMatchError

ID_MAX_CHARACTERS: Final = 255
MILLISECOND: Final = timedelta(milliseconds=1)


class BadIdError(ReconcilerError):
    """An event id given beside the event cannot be used."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An item after judgement: its row, without deliveries, and the event if it is one."""

    row: NewEvent
    event: Event | None


def check_id(given_id: str | None) -> str | None:
    """An id given by a sender, if it can name an event. Raises BadIdError."""
    if given_id is None:
        return None
    if not 0 < len(given_id) <= ID_MAX_CHARACTERS:
        raise BadIdError(
            f"an event's id has 1 to {ID_MAX_CHARACTERS} characters, this one has {len(given_id)}",
            hint="send a short id, such as a UUID",
        )
    if not given_id.isprintable():
        raise BadIdError(f"an event's id holds only visible characters: {given_id!a:.80}")
    return given_id


def rows_of(
    body: bytes, *, content_type: str | None, source: str, given_id: str | None, snapshot: Snapshot, now: int
) -> list[NewEvent]:
    """The rows of a request's body, with their fan-out; `given_id` names a single event. What was read of the events is
    gone with the call: while the rows wait for the store, those of the next request are made in the same memory. Pure.
    Raises PayloadTooLargeError."""
    items = parse_items(body, content_type=content_type)
    rows = []
    for item in items:
        event = _judged(item, given_id if len(items) == 1 else None, is_outside=True)
        if isinstance(event, str):
            rows.append(_quarantined(item, event, source=source, now=now))
        else:
            deliveries, errors = _wanted(event, snapshot, now)
            rows.append(_row(event, source, now, deliveries, errors))
    return rows


def judge_items(
    items: Sequence[Item], *, source: str, now: int, given_id: str | None, is_outside: bool = True
) -> list[Judged]:
    """Every item as a row to store: an event under its identity, or quarantined with the reason; of `is_outside`
    sources no operational event is taken, since only the daemon can know. Pure."""
    found = [(item, _judged(item, given_id, is_outside=is_outside)) for item in items]
    return [
        Judged(_quarantined(item, event, source=source, now=now), None)
        if isinstance(event, str)
        else Judged(_row(event, source, now), event)
        for item, event in found
    ]


def _judged(item: Item, given_id: str | None, *, is_outside: bool) -> Event | str:
    """The event that an item is, or the problem for which it is none."""
    if item.problem is not None:
        return item.problem
    try:
        event = _event_of(item, given_id)
    except (EventProblem, BadIdError) as exc:
        return str(exc)
    if is_outside and event.event_type in OPERATIONAL_TYPES:
        return f"`event_type` is one that only reconciler itself sends: {event.event_type}"
    return event


def _row(
    event: Event,
    source: str,
    now: int,
    deliveries: tuple[NewDelivery, ...] = (),
    match_errors: tuple[NewMatchError, ...] = (),
) -> NewEvent:
    return NewEvent(
        event.id,
        event.event_type,
        event.data_id,
        event.event_time,
        source,
        event.raw,
        event.fingerprint,
        now,
        None,
        deliveries,
        match_errors,
    )


def _event_of(item: Item, given_id: str | None) -> Event:
    """The event under the id of its envelope, else the given one, else the digest of what it says."""
    payload, canonical = item.value, item.canonical
    if is_cloudevent(item.value):
        envelope_id = item.value["id"]
        if not isinstance(envelope_id, str):
            raise EventProblem(f"`id` of a CloudEvent must be a string: {envelope_id!r:.60}")
        given_id = check_id(envelope_id)
        payload = payload_of(item.value)
        canonical = jsontext.canonical(payload)
    judged = judge_payload(payload, is_utf8=canonical is not None)
    return make_event(judged, item.raw, given_id=given_id, canonical=canonical)


def _quarantined(item: Item, problem: str, *, source: str, now: int) -> NewEvent:
    """The row of what is no event. Its id is never the sender's, so that the mended event is free to use that."""
    digest = hashlib.sha256(item.raw).hexdigest()
    return NewEvent(
        id=EventId(f"qtn_{digest[:32]}"),
        event_type=_claimed_type(item.value),
        data_id=None,
        event_time=None,
        source=source,
        raw=item.raw,
        fingerprint=digest,
        received_at=now,
        problem=problem.encode("utf-8", "backslashreplace").decode("utf-8"),
    )


def _claimed_type(value: JsonValue) -> str:
    """What a quarantined item says it is, for listings; empty where it says nothing that can be shown."""
    payload = payload_of(value)
    claimed = payload.get("event_type") if isinstance(payload, dict) else None
    return claimed[:ID_MAX_CHARACTERS] if isinstance(claimed, str) and claimed.isprintable() else ""


def fan_out(judged: Sequence[Judged], *, snapshot: Snapshot, now: int) -> list[NewEvent]:
    """The rows with one delivery for each webhook of the snapshot that wants the event, and one match error for each of
    which that cannot be told. Pure."""
    return [item.row if item.event is None else matched(item.row, item.event, snapshot, now) for item in judged]


def matched(row: NewEvent, event: Event, snapshot: Snapshot, now: int) -> NewEvent:
    """An event's row with its fan-out. Pure."""
    deliveries, errors = _wanted(event, snapshot, now)
    return row._replace(deliveries=deliveries, match_errors=errors)


def _wanted(event: Event, snapshot: Snapshot, now: int) -> tuple[tuple[NewDelivery, ...], tuple[NewMatchError, ...]]:
    deliveries: list[NewDelivery] = []
    errors: list[NewMatchError] = []
    for live, verdict in snapshot.judge(event):
        if verdict.state is MatchState.ERROR:
            errors.append(NewMatchError(live.uid, verdict.error))
        else:
            deliveries.append(new_delivery(event, live, now=now))
    return tuple(deliveries), tuple(errors)


def new_delivery(event: Event, live: LiveWebhook, *, now: int, is_ordered: bool = True) -> NewDelivery:
    """The delivery of an event to a webhook that wants it."""
    uid, spec = live.uid, live.webhook.spec
    order_key = event.data_id or None if is_ordered and spec.ordering is Ordering.REQUEST else None
    return NewDelivery(delivery_id(event.id, uid), uid, order_key, now, now + spec.max_hold // MILLISECOND)
