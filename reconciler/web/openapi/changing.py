"""The endpoints that take something in or change something, as OpenAPI describes them. Read by
`web.openapi.document`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from reconciler.dispatch.item import EVENT_MAX_BYTES, REQUEST_MAX_BYTES, REQUEST_MAX_EVENTS
from reconciler.dispatch.judge import ID_MAX_CHARACTERS
from reconciler.models.delivery import Action
from reconciler.models.event import AccessRequestEvent
from reconciler.store.wire import CHANGE_SET_MAX_BYTES, CHANGE_SET_TYPE, HoldOrder, Id
from reconciler.store.wire_audit import TEST_MAX_BYTES, TestBody
from reconciler.store.wire_flow import FLOW_MAX_BYTES, CompactBody, PauseBody, ResumeBody
from reconciler.store.wire_operate import ORDER_MAX_BYTES, EventReplayBody, OperateBody
from reconciler.web.openapi import answer, answer_state
from reconciler.web.openapi.operation import (
    BEHALF,
    JSON,
    Answer,
    Body,
    Key,
    Operation,
    Parameter,
    Tag,
    problem,
    text,
)
from reconciler.web.openapi.reading import MISSING_EVENT, MISSING_WEBHOOK, NAME
from reconciler.web.operate import MENDED_MAX_BYTES
from reconciler.web.state import HOLD_MAX_BYTES

AGAIN: Final = ("Retry-After",)
TOO_SLOW: Final = problem("The head or the body did not arrive in time.")
INVALID: Final = problem("The body is not what is taken here; `detail` says why (`invalid`).")
EVENT_EXAMPLE: Final = {
    "event_type": "AccessRequestCreated",
    "event_time": 1795424400,
    "data": {"id": "b6a1f6b0-4c1e-4a6e-9b1b-0d7c5f3e2a11", "requester": {"email": "dana.levi@example.com"}},
}


class CloudEvent(TypedDict):
    """An event in a CloudEvents 1.0 envelope; its `id` names it."""

    specversion: str
    id: Annotated[str, Field(min_length=1, max_length=ID_MAX_CHARACTERS)]
    type: NotRequired[str]
    source: NotRequired[str]
    time: NotRequired[str]
    datacontenttype: NotRequired[str]
    data: AccessRequestEvent


class ReplayOrder(OperateBody):
    """A replay of one portion."""

    action: Literal[Action.REPLAY]
    key: Id


class CancelOrder(OperateBody):
    """A cancel of one portion."""

    action: Literal[Action.CANCEL]
    key: Id


OneEvent = AccessRequestEvent | CloudEvent
Whatever = Annotated[Any, Field(description="Whatever else is kept as quarantined.")]
Events = OneEvent | Annotated[list[OneEvent], Field(max_length=REQUEST_MAX_EVENTS)] | Whatever
CloudEvents = Annotated[list[CloudEvent], Field(max_length=REQUEST_MAX_EVENTS)] | Whatever
Lines = {"type": "string", "description": "One JSON document a line."}


def _at_most(max_bytes: int) -> Answer:
    return problem(f"The body has more than {max_bytes} bytes (`too_large`).")


def _order(id_: str, tag: Tag, summary: str, body: Body, answers: Mapping[int, Answer], **facts: Any) -> Operation:
    """An endpoint that takes a body of JSON; `max_bytes` of it, `problems` beyond those of every such endpoint."""
    refusals = {408: TOO_SLOW, 413: _at_most(facts.pop("max_bytes")), 422: INVALID, **facts.pop("problems", {})}
    return Operation(id_, tag, summary, answers, refusals, body=body, **facts)


def _of_selection(verb: Literal["replay", "cancel"]) -> dict[str, Any]:
    where = {"webhooks": ["okta-*"], "states": ["dead" if verb == "replay" else "pending"]}
    return {"action": verb, "key": "3f1c", "reason": "the flow is mended", "where": where}


def _operate(id_: str, summary: str, kind: type[OperateBody], answers: str) -> Operation:
    return _order(
        id_,
        Tag.DELIVERIES,
        summary,
        Body({JSON: kind}, _of_selection("cancel" if kind is CancelOrder else "replay")),
        {200: Answer(answers, answer.Portion)},
        max_bytes=ORDER_MAX_BYTES,
        problems={404: problem("`at` is not one that a portion gave, or a webhook is not there.")},
    )


def _steer(id_: str, summary: str, body: Body, done: Answer) -> Operation:
    return _order(
        id_,
        Tag.WEBHOOKS,
        summary,
        body,
        {200: done},
        max_bytes=FLOW_MAX_BYTES,
        problems={404: MISSING_WEBHOOK},
        parameters=(NAME,),
    )


def _test(id_: str, summary: str) -> Operation:
    example = {"webhook": "okta-access-requests", "successful": True, "outcome": "delivered", "status": 200}
    return _order(
        id_, Tag.AUDIT, summary, Body({JSON: TestBody}, example), {204: Answer("Kept.")}, max_bytes=TEST_MAX_BYTES
    )


INTAKE: Final = Operation(
    "sendEvents",
    Tag.INTAKE,
    "Take events: one, an array, or lines of JSON",
    {202: Answer("Stored, durable, whatever happens to the daemon now.", answer.IntakeAnswer)},
    {
        408: TOO_SLOW,
        409: problem("A single event has the id of a stored one and another body.", answer_state.ConflictProblem),
        413: problem(
            f"More than {REQUEST_MAX_BYTES} bytes, {REQUEST_MAX_EVENTS} events, or {EVENT_MAX_BYTES} bytes an event."
        ),
        415: problem("The body has a content-encoding.", headers=("Accept-Encoding",)),
        429: problem("No room (`full`), too often (`rate`), or too much is waiting: ask again later.", headers=AGAIN),
    },
    (
        Parameter(
            "Idempotency-Key",
            "The id of a single event that brings none of its own.",
            {"type": "string", "minLength": 1, "maxLength": ID_MAX_CHARACTERS, "pattern": "^[!-~]([ -~]*[!-~])?$"},
            place="header",
        ),
        Parameter(
            "ce-id",
            "The id of a CloudEvent in binary mode, percent-encoded (CloudEvents HTTP binding, section 3.1.3).",
            {"type": "string", "minLength": 1},
            place="header",
        ),
    ),
    Body(
        {
            JSON: Events,
            "application/cloudevents+json": CloudEvent | Whatever,
            "application/cloudevents-batch+json": CloudEvents,
            CHANGE_SET_TYPE: Lines,
        },
        EVENT_EXAMPLE,
        is_required=False,  # as nothing is whatever else, too
    ),
    "Each item is judged by itself: what is no event is kept as quarantined, and told so in the answer, since a sender "
    "may not send it twice; so is a body that cannot be parsed. Whatever is sent is taken, but for its size. With "
    "`signing_keys` in the tokens file a sender signs as Standard Webhooks says instead of sending a token.",
)

CHANGING: Final[Mapping[Key, Operation]] = {
    ("POST", "/v1/events"): INTAKE,
    ("POST", "/v1/events/replay"): _order(
        "replayEvent",
        Tag.EVENTS,
        "Judge a quarantined event again, or an accepted one for the webhooks whose `when` could not be told",
        Body({JSON: EventReplayBody}, {"id": "qtn_0123456789abcdef0123456789abcdef", "raw": "{}"}),
        {200: Answer("What it is now.", answer.EventReplay)},
        max_bytes=MENDED_MAX_BYTES,
        problems={404: MISSING_EVENT},
    ),
    ("POST", "/v1/deliveries/survey"): _operate(
        "surveyDeliveries",
        "What a replay or a cancel would do to the next portion of a selection",
        OperateBody,
        "What would become of it.",
    ),
    ("POST", "/v1/deliveries/replay"): _operate(
        "replayDeliveries", "Make the next portion of a selection due again", ReplayOrder, "What became of it."
    ),
    ("POST", "/v1/deliveries/cancel"): _operate(
        "cancelDeliveries", "Cancel the next portion of a selection", CancelOrder, "What became of it."
    ),
    ("POST", "/v1/webhooks/{name}/pause"): _steer(
        "pauseWebhook",
        "Send a webhook nothing from now on",
        Body({JSON: PauseBody}, {"reason": "the flow is being rebuilt", "until": "2126-11-24T14:00:00Z"}),
        Answer("The pause.", answer_state.Pause),
    ),
    ("POST", "/v1/webhooks/{name}/resume"): _steer(
        "resumeWebhook",
        "Send a webhook again",
        Body({JSON: ResumeBody}, {"fresh_first": True}, is_required=False),
        Answer("The pause that it ended.", answer_state.Resumed),
    ),
    ("POST", "/v1/webhooks/{name}/compact"): _steer(
        "compactWebhook",
        "Cancel what later states of the same access requests supersede",
        Body({JSON: CompactBody}, {"reason": "only the last state counts"}, is_required=False),
        Answer("How many.", answer_state.Compacted),
    ),
    ("POST", "/v1/webhooks/{name}/trigger"): _order(
        "triggerWebhook",
        Tag.WEBHOOKS,
        "Fire a Manual webhook with the event that is sent",
        Body({JSON: OneEvent}, EVENT_EXAMPLE),
        {202: Answer("Stored; the delivery tells what becomes of it.", answer.Fired)},
        max_bytes=EVENT_MAX_BYTES,
        problems={404: MISSING_WEBHOOK},
        parameters=(
            NAME,
            text("id", "Names an event that brings no id of its own.", minLength=1, maxLength=ID_MAX_CHARACTERS),
            *BEHALF,
        ),
    ),
    ("POST", "/v1/revisions"): Operation(
        "publishRevision",
        Tag.REVISIONS,
        "Set a new revision, if the store still stands where the plan was made",
        {201: Answer("The revision.", answer_state.Revision, ("Location",))},
        {
            408: TOO_SLOW,
            409: problem("The plan is stale (`stale`), or applies are on hold (`refused`).", answer_state.StaleProblem),
            413: _at_most(CHANGE_SET_MAX_BYTES),
            415: problem(f"The body is not {CHANGE_SET_TYPE} as it is."),
            422: problem("The change set is not valid (`invalid`, `not_in_store`).", answer_state.ChangeSetProblem),
        },
        body=Body(
            {CHANGE_SET_TYPE: Lines},
            '{"lineage": "…", "base_revision": 3, "plan_id": "…", "upserts": 1, "changes": 1, …}\n{"uid": …}\n{…}\n',
            "A line for the head (`ChangeSetHead`), one for each upsert (`Upsert`), one for each of the plan's "
            "`resource_changes`.",
        ),
    ),
    ("POST", "/v1/holds"): _order(
        "holdApplies",
        Tag.REVISIONS,
        "Refuse an owner's applies from now on",
        Body({JSON: HoldOrder}, {"owner": "iam", "held_by": "ann@example.com", "reason": "an incident"}),
        {201: Answer("The hold.", answer_state.Hold)},
        max_bytes=HOLD_MAX_BYTES,
    ),
    ("DELETE", "/v1/holds"): Operation(
        "releaseApplies",
        Tag.REVISIONS,
        "Take an owner's applies again",
        {204: Answer("They are taken.")},
        parameters=(text("owner", "The owner, which may be empty.", is_required=True), *BEHALF),
    ),
    ("POST", "/v1/audit/tests"): _test("recordTest", "Keep that a test event was sent"),
    ("POST", "/v1/audit/verifications"): _test("recordVerification", "Keep that a test event was sent before an apply"),
}
