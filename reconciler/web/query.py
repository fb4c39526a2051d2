"""What the page and the API ask of the store that no single verb of it answers."""

from collections.abc import Mapping, Sequence
from typing import Final

from reconciler.models.delivery import State
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import DeliveryFilter, DeliveryLog, Page

NOTES_MAX_WEBHOOKS: Final = 200  # each costs one read; beyond it only what the webhook itself tells is shown

Counts = Mapping[WebhookUid, Mapping[State, int]]


async def waiting_notes(store: DeliveryLog, lives: Sequence[LiveWebhook], counts: Counts) -> dict[WebhookUid, str]:
    """Why webhooks wait or are sent nothing, in words, as far as known."""
    notes: dict[WebhookUid, str] = {}
    waiting: list[LiveWebhook] = []
    for live in lives:
        if live.webhook.ineffective:
            notes[live.uid] = f"nothing is sent: {', '.join(live.webhook.ineffective)} has no effect yet"
        elif counts.get(live.uid, {}).get(State.PENDING):
            waiting.append(live)
    for live in waiting[:NOTES_MAX_WEBHOOKS]:
        where = DeliveryFilter(webhook=live.webhook.name, state=State.PENDING)
        for delivery in await store.deliveries(Page(1), where=where):
            if delivery.note:
                notes[live.uid] = delivery.note
    return notes
