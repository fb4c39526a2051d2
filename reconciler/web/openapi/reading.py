"""The endpoints that only read, as OpenAPI describes them. Read by `web.openapi.document`."""

from collections.abc import Mapping
from typing import Any, Final

from reconciler.models.delivery import State as DeliveryState
from reconciler.store.base import EventStatus
from reconciler.web.api import View
from reconciler.web.doctor import YesNo
from reconciler.web.openapi import answer, answer_state
from reconciler.web.openapi.answer import Count
from reconciler.web.openapi.operation import (
    LIMIT,
    LISTED,
    NO_SUCH_BEFORE,
    PAGE,
    Answer,
    Key,
    Operation,
    Parameter,
    Tag,
    choice,
    in_path,
    problem,
    text,
)
from reconciler.web.state import NUMBER_MAX_DIGITS

LARGEST: Final = 10**NUMBER_MAX_DIGITS - 1
NUMBER: Final = {"type": "integer", "minimum": 0, "maximum": LARGEST}
REVISION: Final = {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST}
NAME: Final = in_path("name", "The webhook's name.")
PREFIX: Final = text("prefix", "What the ids begin with.")
WEBHOOK: Final = text("webhook", "The name of a live webhook.")
EVENT: Final = text("event", "An event's id.")
VIEW: Final = choice("view", "`stored`: as it was received.", View)
MISSING_EVENT: Final = problem("There is no such event.")
MISSING_DELIVERY: Final = problem("There is no such delivery.")
MISSING_WEBHOOK: Final = problem("No live webhook has the name.")

EVENTS_AND_DELIVERIES: Final[Mapping[Key, Operation]] = {
    ("GET", "/v1/events"): Operation(
        "listEvents",
        Tag.EVENTS,
        "Events, newest first",
        {200: Answer("A page of them.", list[answer.ListedEvent], LISTED)},
        {404: NO_SUCH_BEFORE},
        (*PAGE, choice("status", "Only those with it.", EventStatus), VIEW),
    ),
    ("GET", "/v1/events/{id}"): Operation(
        "getEvent",
        Tag.EVENTS,
        "One event as received, parsed, with its deliveries",
        {200: Answer("The event.", answer.DetailedEvent)},
        {404: MISSING_EVENT},
        (in_path("id", "The event's id."), VIEW),
    ),
    ("GET", "/v1/event-ids"): Operation(
        "findEventIds",
        Tag.EVENTS,
        "The first ids of events that begin with a prefix",
        {200: Answer("The ids.", list[str])},
        parameters=(PREFIX, LIMIT),
    ),
    ("GET", "/v1/match-errors"): Operation(
        "listMatchErrors",
        Tag.EVENTS,
        "Events of which a webhook's `when` could not be told, oldest first",
        {200: Answer("A page of them.", list[answer.MatchError])},
        {404: problem("`after` names nothing that is there.")},
        (LIMIT, text("after", "The id of the last one seen."), WEBHOOK, EVENT),
    ),
    ("GET", "/v1/match-error-counts"): Operation(
        "countMatchErrors",
        Tag.EVENTS,
        "How many match errors each webhook has",
        {200: Answer("The numbers, by uid.", dict[str, Count])},
    ),
    ("GET", "/v1/deliveries"): Operation(
        "listDeliveries",
        Tag.DELIVERIES,
        "Deliveries, newest first",
        {200: Answer("A page of them.", list[answer.Delivery], LISTED)},
        {404: NO_SUCH_BEFORE},
        (*PAGE, WEBHOOK, choice("state", "Only those in it.", DeliveryState), EVENT),
    ),
    ("GET", "/v1/deliveries/{id}"): Operation(
        "getDelivery",
        Tag.DELIVERIES,
        "One delivery with the invocation data of every attempt",
        {200: Answer("The delivery.", answer.DetailedDelivery)},
        {404: MISSING_DELIVERY},
        (in_path("id", "The delivery's id."),),
    ),
    ("GET", "/v1/delivery-ids"): Operation(
        "findDeliveryIds",
        Tag.DELIVERIES,
        "The first ids of deliveries that begin with a prefix",
        {200: Answer("The ids.", list[str])},
        parameters=(PREFIX, LIMIT),
    ),
    ("GET", "/v1/counts"): Operation(
        "countDeliveries",
        Tag.DELIVERIES,
        "How many deliveries each webhook has in each state",
        {200: Answer("The numbers, by uid and state.", dict[str, dict[str, Count]])},
    ),
    ("GET", "/v1/unfinished"): Operation(
        "countUnfinished",
        Tag.DELIVERIES,
        "How many deliveries of each webhook are pending or in flight",
        {200: Answer("The numbers, by uid.", dict[str, Count])},
    ),
}

WEBHOOKS_AND_REVISIONS: Final[Mapping[Key, Operation]] = {
    ("GET", "/v1/webhooks"): Operation(
        "listWebhooks",
        Tag.WEBHOOKS,
        "The live webhooks by name, with their deliveries counted",
        {200: Answer("All of them.", list[answer_state.Webhook])},
    ),
    ("GET", "/v1/webhooks/{name}"): Operation(
        "getWebhook",
        Tag.WEBHOOKS,
        "One live webhook with its backlog",
        {200: Answer("The webhook.", answer_state.DetailedWebhook)},
        {404: MISSING_WEBHOOK},
        (NAME,),
    ),
    ("GET", "/v1/webhooks/{name}/flow"): Operation(
        "getFlow",
        Tag.WEBHOOKS,
        "How many deliveries are pending, at which rate they may go, what holds them back",
        {200: Answer("The flow.", answer_state.HeldFlow)},
        {404: MISSING_WEBHOOK},
        (NAME,),
    ),
    ("GET", "/v1/webhooks/{name}/backlog"): Operation(
        "getBacklog",
        Tag.WEBHOOKS,
        "How many deliveries are pending, and how many of them a compaction would cancel",
        {200: Answer("The numbers.", answer_state.Backlog)},
        {404: MISSING_WEBHOOK},
        (NAME,),
    ),
    ("GET", "/v1/halts"): Operation(
        "listHalts",
        Tag.WEBHOOKS,
        "What holds webhooks back",
        {200: Answer("By uid.", dict[str, answer_state.Halt])},
    ),
    ("GET", "/v1/state"): Operation(
        "getState",
        Tag.REVISIONS,
        "What a plan compares with: the live state, or an earlier one",
        {
            200: Answer("The state, sent as it is written.", answer_state.StoreState, ("ETag",)),
            304: Answer("The client has it already.", None, ("ETag",)),
        },
        {404: problem("The store does not hold the revision.")},
        (
            Parameter("revision", "The number of a revision; absent: the live one.", REVISION),
            Parameter("If-None-Match", "Tags of states that the client has.", {"type": "string"}, place="header"),
        ),
    ),
    ("GET", "/v1/revisions"): Operation(
        "listRevisions",
        Tag.REVISIONS,
        "The history, newest first",
        {200: Answer("A page of it.", list[answer_state.Revision], LISTED)},
        {404: NO_SUCH_BEFORE},
        PAGE,
    ),
    ("GET", "/v1/revisions/{number}"): Operation(
        "getRevision",
        Tag.REVISIONS,
        "One revision with its changes",
        {200: Answer("The revision.", answer_state.DetailedRevision)},
        {404: problem("There is no such revision.")},
        (Parameter("number", "The revision's number.", {"type": "integer"}, place="path", is_required=True),),
    ),
    ("GET", "/v1/holds"): Operation(
        "listHolds",
        Tag.REVISIONS,
        "The owners whose applies are refused",
        {200: Answer("All of them.", list[answer_state.Hold])},
    ),
}

AUDIT_AND_DAEMON: Final[Mapping[Key, Operation]] = {
    ("GET", "/v1/audit"): Operation(
        "listAudit",
        Tag.AUDIT,
        "The audit log, newest first: who did what, with what, when and why",
        {200: Answer("A page of it.", list[answer_state.AuditEntry], LISTED)},
        parameters=(LIMIT, Parameter("before", "The number of the last one seen.", NUMBER)),
    ),
    ("GET", "/v1/audit/rows"): Operation(
        "listAuditRows",
        Tag.AUDIT,
        "The audit log's entries as they are kept, oldest first",
        {200: Answer("A page of them.", list[answer_state.AuditRow])},
        parameters=(LIMIT, Parameter("after", "The number of the last one seen.", NUMBER)),
    ),
    ("GET", "/v1/audit/head"): Operation(
        "getAuditHead",
        Tag.AUDIT,
        "The number and the digest of the audit log's last entry",
        {200: Answer("The end of the log.", answer_state.AuditHead)},
    ),
    ("GET", "/v1/doctor"): Operation(
        "diagnose",
        Tag.DAEMON,
        "What is wrong, and how to mend it",
        {200: Answer("The diagnosis.", answer_state.Diagnosis)},
        parameters=(choice("connect", "`yes`: receivers are greeted by TLS.", YesNo),),
    ),
    ("GET", "/v1/openapi.json"): Operation(
        "getOpenapi",
        Tag.DAEMON,
        "This description",
        {200: Answer("OpenAPI 3.1.", dict[str, Any])},
    ),
    ("GET", "/healthz"): Operation(
        "isAlive", Tag.DAEMON, "Whether the daemon lives", {200: Answer("It does.", answer_state.Alive)}
    ),
    ("GET", "/readyz"): Operation(
        "isReady",
        Tag.DAEMON,
        "Whether the daemon takes events and delivers, with the revision and the lag",
        {200: Answer("It does.", answer_state.Ready)},
    ),
}

READING: Final[Mapping[Key, Operation]] = {**EVENTS_AND_DELIVERIES, **WEBHOOKS_AND_REVISIONS, **AUDIT_AND_DAEMON}
