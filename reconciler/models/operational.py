"""What the daemon itself has to tell: the schema of `Reconciler*` events. Pure.

Made by `dispatch.herald` of what the store has noticed, and sent to webhooks that name such triggers; templates,
conditions and tests are checked against it as they are against that of access requests.
"""

from functools import cache
from typing import Any, Final

from pydantic import Field

from reconciler.models.payload import Time, Tolerant, tidy

SOURCE: Final = "reconciler"  # of operational events; no source of events may call itself so


class OperationalWebhook(Tolerant):
    """The webhook that an operational event is about."""

    name: str | None = Field(None, description="webhook's name")
    uid: str | None = Field(None, description="webhook's uid, which outlives renames")
    title: str | None = Field(None, description="webhook's title")
    host: str | None = Field(None, description="receiver's host")
    labels: dict[str, Any] | None = Field(None, description="webhook's labels")


class OperationalAttempt(Tolerant):
    """The last attempt that led to an operational event."""

    delivery_id: str | None = Field(None, description="its delivery, as in `reconciler deliveries show`")
    event_id: str | None = Field(None, description="the event that it carried")
    number: int | None = Field(None, description="which attempt of its delivery, from 1")
    outcome: str | None = Field(None, description="delivered, retryable, permanent or unknown")
    status: int | None = Field(None, description="the answer's HTTP status; null without an answer")
    fault: str | None = Field(None, description="kind of fault, such as status, timeout or dns; null where delivered")
    detail: str | None = Field(None, description="what happened, in words, secrets masked")
    finished_at: Time | None = Field(None, description="when it ended")


class OperationalPause(Tolerant):
    """A pause."""

    by: str | None = Field(None, description="who paused: an operator, or reconciler itself")
    reason: str | None = Field(None, description="why")
    until: Time | None = Field(None, description="when it ends by itself; null: when somebody resumes")


class DeadDelivery(Tolerant):
    """A delivery that was given up."""

    id: str | None = Field(None, description="delivery's id, sent as webhook-id")
    event_id: str | None = Field(None, description="the event that it carried")
    reason: str | None = Field(None, description="exhausted, expired, permanent, unknown or render")
    attempts: int | None = Field(None, description="attempts made")


class Operational(Tolerant):
    """What happened to one webhook; several facts of a kind within a minute are told as one event."""

    id: str | None = Field(None, description="webhook's uid; events of one webhook are delivered in order")
    webhook: OperationalWebhook | None = Field(None, description="the webhook that it happened to")
    reason: str | None = Field(None, description="what happened, in words")
    count: int | None = Field(None, description="how often, since the last event of this kind; dead deliveries")
    since: Time | None = Field(None, description="when it began: the first failure, the pause, the first dead delivery")
    last_at: Time | None = Field(None, description="when it happened last")
    failures: int | None = Field(None, description="failed attempts in a row; Failing and Paused")
    last_attempt: OperationalAttempt | None = Field(None, description="the attempt that led to it, if any")
    pause: OperationalPause | None = Field(None, description="the pause; Paused only")
    reasons: dict[str, Any] | None = Field(None, description="dead deliveries by reason; DeliveryDead only")
    deliveries: tuple[DeadDelivery, ...] | None = Field(None, description="the first five of them; DeliveryDead only")


class OperationalEvent(Tolerant):
    """An operational event of reconciler."""

    event_type: str = Field(description="the trigger, such as ReconcilerWebhookFailing", min_length=1)
    event_time: Time | None = Field(None, description="when it was told")
    data: Operational | None = Field(None, description="what happened")


@cache
def operational_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an operational event, as published in `schemas/operational.schema.json`."""
    schema = OperationalEvent.model_json_schema(mode="validation")
    tidy(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "operational.schema.json",
        **schema,
        "title": "reconciler operational event",
    }
