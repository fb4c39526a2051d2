"""A Manual webhook fired by a person: an event stored with one delivery, for that webhook, whatever its filters say.

Called by `trigger`, on a store or behind the daemon. What follows is a delivery like any other: retried, recorded,
replayable. Each firing is a fact of its own, unless the event brings an id: then the same id fires once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from reconciler.dispatch.intake import MATCH_TRIES
from reconciler.dispatch.item import EVENT_MAX_BYTES, parse_item
from reconciler.dispatch.judge import Judged, judge_items
from reconciler.dispatch.live import Live
from reconciler.errors import NotInStoreError, ReconcilerError, StoreError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant
from reconciler.models.delivery import DeliveryId, delivery_id
from reconciler.models.event import EventId
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import Trigger
from reconciler.store.base import DeliveryLog, EventStatus, EventStore, NewDelivery, RevisionMovedError

SOURCE: Final = "trigger"


class TriggerError(ReconcilerError):
    """A webhook that cannot be fired, or not with this event; nothing was stored."""


class TriggerStore(EventStore, DeliveryLog, Protocol):
    """What firing needs of a store."""


@dataclass(frozen=True, slots=True)
class Fired:
    """The delivery that firing has made; `status` duplicate: an event of this id had fired it before."""

    webhook: str
    event_id: EventId
    delivery_id: DeliveryId
    status: EventStatus

    def to_json(self) -> dict[str, Any]:
        """The shape of `trigger --format json` and of the API."""
        return {
            "webhook": self.webhook,
            "event_id": self.event_id,
            "delivery_id": self.delivery_id,
            "status": self.status.value,
        }


async def fire(
    store: TriggerStore,
    live: Live,
    name: str,
    raw: bytes,
    *,
    fallback_id: str,
    now: Callable[[], int],
    warrant: Warrant = UNKNOWN,
) -> Fired:
    """Store the event in `raw` with a delivery to the live webhook `name`. `fallback_id` names an event that brings no
    id; `now` gives milliseconds since the epoch. The caller wakes the worker.

    Raises NotInStoreError where no live webhook has the name, TriggerError and StoreError.
    """
    for _ in range(MATCH_TRIES):
        await live.refresh()
        snapshot = live.snapshot
        webhook = manual_webhook(live, name)
        at = now()
        judged = _judge(raw, now=at, fallback_id=fallback_id)
        new = NewDelivery(delivery_id(judged.row.id, webhook.uid), webhook.uid, None, due_at=at, hold_until=at)
        try:
            deed = Deed(AuditAction.TRIGGER, name, {"event_id": judged.row.id, "delivery_id": new.id}, warrant)
            rows = [judged.row._replace(deliveries=(new,))]
            (status,) = await store.accept(rows, revision=snapshot.revision, deed=deed)
        except RevisionMovedError:
            continue
        is_known = status is EventStatus.DUPLICATE and await store.delivery(new.id) is not None
        if status is not EventStatus.ACCEPTED and not is_known:
            hint = "give this one another id, or none"
            raise TriggerError(f"another event with this id is stored already: {judged.row.id}", hint=hint)
        return Fired(name, judged.row.id, new.id, status)
    raise StoreError(f"the live revision moved {MATCH_TRIES} times while a webhook was being fired")


def manual_webhook(live: Live, name: str) -> LiveWebhook:
    """The live webhook that people may fire. Raises NotInStoreError and TriggerError."""
    found = next((item for item in live.snapshot.webhooks.values() if item.webhook.name == name), None)
    if found is None:
        raise NotInStoreError(f"no webhook of this name is live: {name}", hint="`reconciler webhooks list` shows them")
    if Trigger.MANUAL not in found.webhook.spec.triggers:
        hint = f"add Manual to its `triggers`; `reconciler test {name}` sends a test event, `send` takes real ones"
        raise TriggerError(f"the webhook has not the trigger Manual: {name}", hint=hint)
    if not found.webhook.is_active:
        raise TriggerError(f"the webhook is inactive: {name}", hint="apply it with `status: active` first")
    return found


def _judge(raw: bytes, *, now: int, fallback_id: str) -> Judged:
    if len(raw) > EVENT_MAX_BYTES:
        raise TriggerError(f"the event has {len(raw)} bytes, the limit is {EVENT_MAX_BYTES}")
    item = parse_item(raw.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n"))
    (judged,) = judge_items([item], source=SOURCE, now=now, given_id=fallback_id)
    if judged.event is None:
        hint = "`reconciler explain event` shows the schema"
        raise TriggerError(f"this is no event: {judged.row.problem}", hint=hint)
    return judged
