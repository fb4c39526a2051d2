"""The herald: makes operational events of what the store has noticed, and gives them to the webhooks that want them.

A side task of the daemon. The fact stands in the store before; its event, the deliveries and the end of its notice are
one transaction, so that a kill at any moment loses nothing and tells nothing twice. What no webhook wants is not
stored.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from reconciler import jsontext
from reconciler.dispatch.intake import MATCH_TRIES
from reconciler.dispatch.judge import matched
from reconciler.dispatch.live import Live, Snapshot
from reconciler.errors import StoreError, StoreLostError
from reconciler.jsontext import JsonValue, Number
from reconciler.models.event import make_event
from reconciler.models.notice import Notice
from reconciler.models.operational import SOURCE
from reconciler.models.webhook import Trigger
from reconciler.observe.log import log
from reconciler.store.base import NewEvent, RevisionMovedError
from reconciler.store.notice import NoticeStore, Told

LOOK_SECONDS: Final = 1.0  # from one look to the next
BATCH: Final = 100  # notices in one transaction


class Herald:
    """One daemon's herald. `now` gives milliseconds since the epoch; `wake` tells the worker that something is due."""

    def __init__(self, store: NoticeStore, live: Live, *, now: Callable[[], int], wake: Callable[[], None]) -> None:
        self._store = store
        self._live = live
        self._now = now
        self._wake = wake

    async def run(self) -> None:
        """Look again and again until cancelled. A store that is away is left alone until the next time; one that is
        lost is raised."""
        while True:
            try:
                await self.tell()
            except StoreLostError:
                raise
            except StoreError as exc:
                log("herald.failed", error=exc.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def is_idle(self) -> bool:
        """Whether nothing is due to be told."""
        return not await self._store.notices(now=self._now(), limit=1)

    async def tell(self) -> int:
        """Tell everything that is due; returns how many events were stored."""
        total = 0
        while notices := await self._store.notices(now=self._now(), limit=BATCH):
            stored = await self._announce(notices)
            if stored:
                self._wake()
            total += stored
        return total

    async def _announce(self, notices: Sequence[Notice]) -> int:
        for _ in range(MATCH_TRIES):
            await self._live.refresh()
            snapshot, now = self._live.snapshot, self._now()
            told = [Told(notice, event_of(notice, snapshot, now=now)) for notice in notices]
            try:
                stored = await self._store.announce(told, revision=snapshot.revision, now=now)
            except RevisionMovedError:
                continue
            for notice in notices:
                facts = {"webhook": notice.webhook, "count": notice.number, "reason": _reason(notice)}
                log("operational.told", event_type=notice.trigger, **facts)
            return stored
        raise StoreError(f"the live revision moved {MATCH_TRIES} times while operational events were being matched")


def event_of(notice: Notice, snapshot: Snapshot, *, now: int) -> NewEvent | None:
    """The event of a notice with its fan-out; None where no webhook wants it. Pure."""
    payload = payload_of(notice, snapshot, now=now)
    raw = jsontext.dumps(payload).encode("utf-8")
    event = make_event(payload, raw)
    row = NewEvent(
        id=event.id,
        event_type=event.event_type,
        data_id=event.data_id,
        event_time=event.event_time,
        source=SOURCE,
        raw=raw,
        fingerprint=event.fingerprint,
        received_at=now,
    )
    row = matched(row, event, snapshot, now)
    return row if row.deliveries or row.match_errors else None


def payload_of(notice: Notice, snapshot: Snapshot, *, now: int) -> dict[str, JsonValue]:
    """What is told of a notice, as `models.operational` describes it. Pure."""
    body, pause, attempt = notice.body, notice.body.get("pause"), notice.body.get("last_attempt")
    data: dict[str, Any] = {
        "id": notice.webhook_uid,
        "webhook": _webhook(notice, snapshot),
        "reason": _reason(notice),
        "count": notice.number,
        "since": _seconds(notice.since),
        "last_at": _seconds(notice.last_at),
        "failures": body.get("failures"),
        "last_attempt": attempt and {**attempt, "finished_at": _seconds(attempt["finished_at"])},
        "pause": pause and {**pause, "until": _seconds(pause["until"])},
        "reasons": body.get("reasons"),
        "deliveries": body.get("deliveries"),
    }
    return {"event_type": notice.trigger.value, "event_time": _seconds(now), "data": data}


def _webhook(notice: Notice, snapshot: Snapshot) -> dict[str, JsonValue]:
    live = snapshot.webhooks.get(notice.webhook_uid)
    if live is None:  # deleted since
        return {"name": notice.webhook, "uid": notice.webhook_uid, "title": None, "host": None, "labels": None}
    webhook = live.webhook
    labels: Mapping[str, str] = webhook.metadata.labels
    facts = {"title": webhook.metadata.title, "host": webhook.host, "labels": dict(labels)}
    return {"name": webhook.name, "uid": notice.webhook_uid, **facts}


def _reason(notice: Notice) -> str:
    if notice.trigger is not Trigger.DELIVERY_DEAD:
        return str(notice.body.get("reason", ""))
    reasons = ", ".join(f"{number} {reason}" for reason, number in (notice.body.get("reasons") or {}).items())
    return f"{notice.number} {'delivery was' if notice.number == 1 else 'deliveries were'} given up: {reasons}"


def _seconds(at: int | None) -> Number | None:
    """Epoch seconds with the milliseconds, as access requests have them."""
    return None if at is None else Number(f"{at // 1000}.{at % 1000:03}")
