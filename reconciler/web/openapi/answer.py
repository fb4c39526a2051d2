"""What the API answers about events and deliveries, as types that its description is generated from.

Used by `web.openapi.reading` and `web.openapi.changing`; nothing makes a value of these types: the values are those
that the `to_json` of models and store write, and the tests hold every answer against what is said here.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from reconciler.models.delivery import Action, Fault, Outcome, Reason, State
from reconciler.store.base import EventStatus

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, in UTC.")]
Count = Annotated[int, Field(ge=0)]
Json = Any


class ItemAnswer(TypedDict):
    """What became of one item of a request."""

    id: Annotated[str, Field(description="The event's id; that of a quarantined one begins with `qtn_`.")]
    status: EventStatus
    problem: Annotated[str | None, Field(description="Why it is quarantined or conflicts.")]


class IntakeAnswer(TypedDict):
    """What became of a request's events, in their order."""

    accepted: Count
    duplicates: Annotated[Count, Field(description="Stored before, with the same id and body.")]
    conflicts: Annotated[Count, Field(description="Have the id of a stored event and another body; not stored.")]
    quarantined: Annotated[Count, Field(description="Kept although they are no events.")]
    events: list[ItemAnswer]


class Event(TypedDict):
    """An event in a list."""

    id: str
    event_type: str
    data_id: Annotated[str | None, Field(description="The access request's id.")]
    event_time: Annotated[str | None, Field(description="As the sender wrote it.")]
    source: Annotated[str, Field(description="Where it came in.")]
    received_at: Time
    status: EventStatus
    problem: Annotated[str | None, Field(description="Why it is quarantined.")]
    revision: Annotated[Count, Field(description="The revision it was matched with.")]
    deliveries: Annotated[Count, Field(description="How many deliveries it has.")]
    match_errors: Annotated[Count, Field(description="Webhooks whose `when` could not be told.")]
    mends: Annotated[str | None, Field(description="The quarantined event that it was judged from.")]
    mended_as: Annotated[str | None, Field(description="The event that a quarantined one has become.")]


class ListedEvent(Event):
    """An event in a list; what was received only with `view=stored`."""

    raw: NotRequired[Annotated[str | None, Field(description="As received; null where it is no UTF-8.")]]
    raw_base64: NotRequired[Annotated[str | None, Field(description="The bytes where they are no UTF-8.")]]


class MatchError(TypedDict):
    """An event of which it could not be told whether a webhook wants it."""

    id: str
    event_id: str
    event_type: str
    webhook: Annotated[str | None, Field(description="Its last name; null where none is kept of a deleted one.")]
    webhook_uid: str
    error: str
    judged_at: Time
    revision: Count


class Delivery(TypedDict):
    """One (event, webhook) pair and its state."""

    id: Annotated[str, Field(description="Sent as `webhook-id`.")]
    event_id: str
    webhook: str
    webhook_uid: str
    state: State
    reason: Annotated[Reason | None, Field(description="Why it is dead or cancelled.")]
    attempts: Count
    outcome: Annotated[Outcome | None, Field(description="That of the last attempt.")]
    note: Annotated[str | None, Field(description="Why it waits, in words.")]
    accepted_at: Time
    next_attempt_at: Time | None
    revision: Annotated[Count, Field(description="That of the last attempt, or of the match while there is none.")]
    commit: str | None
    replays: Count
    replay_of: Annotated[str | None, Field(description="The delivery that this one repeats under an id of its own.")]


class DetailedEvent(Event):
    """An event as received; parsed and with its deliveries but for `view=stored`."""

    raw: Annotated[str | None, Field(description="As received; null where it is no UTF-8.")]
    raw_base64: Annotated[str | None, Field(description="The bytes where they are no UTF-8.")]
    parsed: NotRequired[Annotated[Json, Field(description="The JSON value; null where it is none.")]]
    delivery_log: NotRequired[list[Delivery]]
    match_error_log: NotRequired[list[MatchError]]


class SentRequest(TypedDict):
    """An attempt's request, every secret masked."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


class ReceivedResponse(TypedDict):
    """An attempt's response, secrets masked, the body cut at 16 KiB."""

    status: int
    reason_phrase: str
    headers: dict[str, str]
    body: str
    body_bytes: Count
    truncated: bool


class Timings(TypedDict):
    """Milliseconds from the start of the attempt; null where the phase was not reached or a connection was reused."""

    dns_ms: float | None
    connect_ms: float | None
    tls_ms: float | None
    first_byte_ms: float | None
    total_ms: float


class Attempt(TypedDict):
    """One try, numbered from 1; `outcome` alone stands for the result while it is under way."""

    number: Annotated[int, Field(ge=1)]
    started_at: Time
    finished_at: Time | None
    revision: Count
    commit: str | None
    outcome: Outcome | None
    fault: NotRequired[Fault | None]
    detail: NotRequired[str]
    status: NotRequired[int | None]
    retry_after_seconds: NotRequired[float | None]
    request: NotRequired[SentRequest | None]
    response: NotRequired[ReceivedResponse | None]
    timings: NotRequired[Timings]
    address: NotRequired[Annotated[str | None, Field(description="The address and port that were dialled.")]]
    tls: NotRequired[Annotated[str | None, Field(description="Protocol version and cipher.")]]
    connect_to: NotRequired[Annotated[str | None, Field(description="The operator's `--connect-to` that was used.")]]
    proxy: NotRequired[Annotated[str | None, Field(description="The operator's `--proxy` that was used.")]]


class Intervention(TypedDict):
    """A replay or a cancel."""

    key: str
    action: Action
    given_at: Time
    given_by: str
    reason: str
    after_attempt: Annotated[Count, Field(description="The attempt that it came after; 0 before the first.")]


class DetailedDelivery(Delivery):
    """A delivery with the invocation data of every attempt."""

    attempt_log: list[Attempt]
    interventions: list[Intervention]


class Rejudged(TypedDict):
    """What judging an event's match errors again has told."""

    judged: Count
    wanted: Count
    unwanted: Count
    failed: Count
    deliveries: Count


class EventReplay(IntakeAnswer):
    """What an event that was judged again has become."""

    id: Annotated[str, Field(description="The event that was judged again.")]
    match_errors: Rejudged | None


class Fired(TypedDict):
    """What a trigger has stored."""

    webhook: str
    event_id: str
    delivery_id: str
    status: EventStatus


class Portion(TypedDict):
    """What became of a portion of a selection, or would."""

    done: Annotated[Count, Field(description="How many are done.")]
    webhooks: Annotated[
        dict[str, dict[str, Count]],
        Field(description="By webhook: what became of how many deliveries (`done`, `when_back`, or why nothing)."),
    ]
    first: Annotated[list[str], Field(description="The first deliveries of the portion.")]
    following: Annotated[str | None, Field(description="The `at` of the next portion; null after the last one.")]
