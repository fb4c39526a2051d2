"""What the page and the API ask of the store that no single verb of it answers."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from reconciler.models.delivery import State
from reconciler.models.flow import NO_HALT, Halt
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import DeliveryFilter, DeliveryLog, Page
from reconciler.store.flow import FlowStore

NOTES_MAX_WEBHOOKS: Final = 200  # each costs one read; beyond it only what the webhook itself tells is shown

Counts = Mapping[WebhookUid, Mapping[State, int]]


async def current_halts(store: FlowStore, now: int | None = None) -> dict[WebhookUid, Halt]:
    """What holds webhooks back at `now`, in milliseconds since the epoch; without one, by this machine's clock."""
    at = time.time_ns() // 1_000_000 if now is None else now
    return {uid: halt.at(at) for uid, halt in (await store.halts()).items()}


async def waiting_notes(
    store: DeliveryLog,
    lives: Sequence[LiveWebhook],
    counts: Counts,
    halts: Mapping[WebhookUid, Halt],
    failed: Mapping[WebhookUid, int],
) -> dict[WebhookUid, str]:
    """Why webhooks wait or are sent nothing, in words, as far as known; `failed` are their match errors, counted."""
    notes: dict[WebhookUid, str] = {}
    waiting: list[LiveWebhook] = []
    for live in lives:
        if (held := halts.get(live.uid, NO_HALT).fact) is not None:
            notes[live.uid] = held
        elif counts.get(live.uid, {}).get(State.PENDING):
            waiting.append(live)
    for live in waiting[:NOTES_MAX_WEBHOOKS]:
        where = DeliveryFilter(webhook=live.webhook.name, state=State.PENDING)
        for delivery in await store.deliveries(Page(1), where=where):
            if delivery.note:
                notes[live.uid] = delivery.note
    for live in lives:
        if failed.get(live.uid):
            note = match_error_note(failed[live.uid])
            notes[live.uid] = f"{notes[live.uid]}; {note}" if live.uid in notes else note
    return notes


def match_error_note(number: int) -> str:
    """What is said of a webhook with match errors."""
    return f"its `when` could not be told for {number:,} event{'' if number == 1 else 's'}"
