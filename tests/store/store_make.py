"""Short ways to make what a store is given; imported by the tests of this folder."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

import apsw

from reconciler.models.delivery import AttemptResult, DeliveryId, Outcome, Reason, State
from reconciler.models.event import EventId
from reconciler.models.revision import ChangeSet, LiveWebhook
from reconciler.models.webhook import Policy, Webhook, WebhookUid
from reconciler.store.base import Claimed, Finished, Lane, NewDelivery, NewEvent, Store

HOUR = 3_600_000
FAR = 1_000 * HOUR  # a hold or a lease that never ends in a test
COMMIT = "c0ffee"


def make_webhook(
    name: str, *, status: str = "active", title: str | None = None, protect: bool | None = None
) -> Webhook:
    return Webhook.model_validate(
        {
            "metadata": {"name": name, "title": title, "protect": protect},
            "spec": {"url": f"https://acme.example.com/{name}", "status": status, "triggers": ["RequestCreated"]},
        },
        strict=False,
    )


def make_live(uid: str, name: str, *, owner: str = "", is_protected: bool = False, **facts: Any) -> LiveWebhook:
    webhook = make_webhook(name, **facts)
    return LiveWebhook(WebhookUid(uid), owner, webhook, webhook.digest(), is_protected, 0)


def make_change_set(
    base: int,
    upserts: Iterable[LiveWebhook] = (),
    *,
    deletes: Iterable[str] = (),
    lineage: str = "",
    plan_id: str | None = None,
    policy: Policy | None = None,
    owner: str = "",
    changes: tuple[dict[str, Any], ...] = (),
    released: tuple[WebhookUid, ...] = (),
) -> ChangeSet:
    upserts, deletes = tuple(upserts), tuple(WebhookUid(uid) for uid in deletes)
    return ChangeSet(
        lineage=lineage,
        base_revision=base,
        plan_id=plan_id or str(uuid4()),
        applied_at=1_700_000_000_000 + base,
        applied_by="ann",
        commit=COMMIT,
        owner=owner,
        upserts=upserts,
        deletes=deletes,
        policy=policy,
        created=len(upserts),
        updated=0,
        renamed=0,
        deleted=len(deletes),
        changes=changes,
        released=released,
    )


async def publish(store: Store, *upserts: LiveWebhook, **facts: Any) -> int:
    """Publish upon the live revision; returns the new one."""
    live = await store.live_state()
    lineage = live.lineage if live.revision else ""
    return (await store.publish(make_change_set(live.revision, upserts, lineage=lineage, **facts))).number


def make_lane(uid: str, pace_key: str | None = None, **facts: Any) -> Lane:
    """Unlimited, open, 16 at once, on a pace key of its own, unless told otherwise."""
    given = {"per_second": None, "burst": 1, "max_concurrency": 16, **facts}
    return Lane(webhook_uid=WebhookUid(uid), pace_key=pace_key or f"acme.example.com/{uid}", **given)


def make_delivery(
    id_: str, uid: str, due_at: int, *, order_key: str | None = None, hold_until: int = FAR
) -> NewDelivery:
    return NewDelivery(DeliveryId(id_), WebhookUid(uid), order_key, due_at, hold_until)


def make_event(
    id_: str, *deliveries: NewDelivery, at: int = 0, raw: bytes = b"{}", fingerprint: str | None = None, **facts: Any
) -> NewEvent:
    given = {"event_type": "AccessRequestCreated", "data_id": None, "event_time": None, "source": "test", **facts}
    return NewEvent(
        id=EventId(id_),
        raw=raw,
        fingerprint=fingerprint or f"fingerprint of {id_!a}",
        received_at=at,
        deliveries=deliveries,
        **given,
    )


async def add(store: Store, uid: str, *ids: str, at: int = 0, **facts: Any) -> None:
    """Accept one event a delivery, in order, all due `at`."""
    revision = await store.live_revision()
    events = [make_event(f"event {id_}", make_delivery(id_, uid, at, **facts), at=at) for id_ in ids]
    await store.accept(events, revision=revision)


async def claim(store: Store, now: int, *, limit: int = 100, lease_until: int = FAR) -> tuple[Claimed, ...]:
    return await store.claim(now=now, lease_until=lease_until, limit=limit, revision=1, commit=COMMIT)


async def claim_ids(store: Store, now: int, *, limit: int = 100) -> list[str]:
    return [claimed.delivery_id for claimed in await claim(store, now, limit=limit)]


def delivered(claimed: Claimed, *, at: int | None = None, **facts: Any) -> Finished:
    return ended(claimed, State.DELIVERED, Outcome.DELIVERED, at=at, **facts)


def dead(claimed: Claimed, reason: Reason = Reason.PERMANENT, *, at: int | None = None, **facts: Any) -> Finished:
    return ended(claimed, State.DEAD, Outcome.PERMANENT, at=at, reason=reason, **facts)


def retried(claimed: Claimed, next_attempt_at: int, *, at: int | None = None, **facts: Any) -> Finished:
    return ended(claimed, State.PENDING, Outcome.RETRYABLE, at=at, next_attempt_at=next_attempt_at, **facts)


def ended(claimed: Claimed, state: State, outcome: Outcome, *, at: int | None = None, **facts: Any) -> Finished:
    return Finished(
        seq=claimed.seq,
        token=claimed.token,
        number=claimed.number,
        finished_at=claimed.started_at if at is None else at,
        outcome=outcome,
        result=facts.pop("result", AttemptResult(outcome, detail="told by a test")),
        state=state,
        **facts,
    )


@contextlib.contextmanager
def traced(db: apsw.Connection) -> Iterator[list[str]]:
    """The statements that run meanwhile, but for what begins and ends a transaction."""
    seen: list[str] = []

    def see(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        if not sql.startswith(("BEGIN", "COMMIT")):
            seen.append(sql)
        return True

    db.exec_trace = see
    try:
        yield seen
    finally:
        db.exec_trace = None


async def state_of(store: Store, delivery_id: str) -> State:
    found = await store.delivery(delivery_id)
    assert found is not None
    return found[0].state
