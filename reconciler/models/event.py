"""A fact received: the Apono access-request payload, its schema, and the triggers its types map onto.

The schema follows Apono's "Webhook Payload Schema Reference" (current revision and that of 2023/24) and is tolerant:
every field below `data` may be null or missing, unknown fields are kept, times may be numbers or text.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple, NewType

from pydantic import Field, ValidationError

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.models.operational import OperationalEvent, operational_schema
from reconciler.models.payload import Check, Text, Time, Tolerant, quick_check, tidy
from reconciler.models.webhook import Trigger

EventId = NewType("EventId", str)

# The payload's event_type is the trigger's name with "Access" before it; only AccessRequestCreated is attested, and
# the reference calls event_type "the webhook trigger", so both spellings are taken.
TRIGGER_OF_EVENT_TYPE: Final[Mapping[str, Trigger]] = {
    spelling: trigger
    for trigger in Trigger
    if trigger is not Trigger.MANUAL
    for spelling in ((trigger.value,) if trigger.is_operational else (trigger.value, f"Access{trigger.value}"))
}

OPERATIONAL_TYPES: Final = frozenset(trigger.value for trigger in Trigger if trigger.is_operational)


class Requester(Tolerant):
    """Who asked."""

    id: Text | None = Field(None, description="requester's id")
    name: Text | None = Field(None, description="requester's full name")
    email: Text | None = Field(None, description="requester's e-mail address")


class Grantee(Tolerant):
    """Who receives the access; another person than the requester in an on-behalf-of request."""

    id: Text | None = Field(None, description="grantee's id")
    source_id: Text | None = Field(None, description="grantee's id in the identity source")
    name: Text | None = Field(None, description="grantee's name")
    type: Text | None = Field(None, description="kind of identity, such as user or group")


class Named(Tolerant):
    """An id and a name."""

    id: Text | None = Field(None, description="id")
    name: Text | None = Field(None, description="name")


class Integration(Tolerant):
    """The integrated system that the access is for."""

    id: Text | None = Field(None, description="integration's id")
    type: Text | None = Field(None, description="integration's type, such as Postgresql")
    name: Text | None = Field(None, description="integration's name")


class ResourceType(Tolerant):
    """The kind of a resource."""

    id: Text | None = Field(None, description="resource type's id, such as postgresql-database")
    name: Text | None = Field(None, description="resource type's name, such as Database")
    display_path: Text | None = Field(None, description="resource type's path as shown, such as Postgresql/Database")


class Resource(Tolerant):
    """What is accessed."""

    id: Text | None = Field(None, description="resource's id")
    name: Text | None = Field(None, description="resource's name")
    path: Text | None = Field(None, description="resource's path, such as prod db/res-1")
    type: ResourceType | None = Field(None, description="kind of the resource")


class AccessUnit(Tolerant):
    """One resource with one permission."""

    resource: Resource | None = Field(None, description="what is accessed")
    permission: Named | None = Field(None, description="what may be done with it")


class AccessGroup(Tolerant):
    """The part of a request that concerns one integration."""

    integration: Integration | None = Field(None, description="the integrated system")
    resource_types: tuple[ResourceType, ...] | None = Field(None, description="kinds of resource in this group")
    access_units: tuple[AccessUnit, ...] | None = Field(None, description="resources with their permissions")


class Approver(Tolerant):
    """The person who acted."""

    id: Text | None = Field(None, description="approver's id")
    name: Text | None = Field(None, description="approver's full name")
    email: Text | None = Field(None, description="approver's e-mail address")


class Approval(Tolerant):
    """One approver entry of the flow."""

    name: Text | None = Field(None, description="name of the approving person or group")
    type: Text | None = Field(None, description="kind of approver, such as user or group")
    status: Text | None = Field(None, description="Approved, Rejected or Pending")
    approver: Approver | None = Field(None, description="the person who acted, if anyone has")


class AccessRequest(Tolerant):
    """The request as it stands when the event fires."""

    id: Text | None = Field(None, description="request's id; events of one request are delivered in order")
    friendly_id: Text | None = Field(None, description="request's id as shown to people, such as AR-123")
    requester: Requester | None = Field(None, description="who asked")
    grantee: Grantee | None = Field(None, description="who receives the access", json_schema_extra={"x-since": "2024"})
    justification: Text | None = Field(None, description="free text by the requester")
    creation_date: Time | None = Field(None, description="when the request was made")
    revocation_date: Time | None = Field(None, description="when the access ends or ended; planned while it lives")
    access_flow: Named | None = Field(None, description="the access flow used")
    access_bundle: Named | None = Field(None, description="the bundle used, when any")
    access_duration_in_seconds: Text | None = Field(
        None, description="requested duration", json_schema_extra={"x-since": "2024"}
    )
    access_groups: tuple[AccessGroup, ...] | None = Field(None, description="one entry per integration")
    approvals_logical_relation: Text | None = Field(None, description="AnyOf: one approver suffices; AllOf: all must")
    approvals: tuple[Approval, ...] | None = Field(None, description="approver entries; empty when automatic")
    custom_fields: dict[str, Any] | None = Field(
        None, description="request fields defined by the administrator", json_schema_extra={"x-since": "2024"}
    )


class AccessRequestEvent(Tolerant):
    """An Apono access-request event."""

    event_type: str = Field(description="which transition fired, such as AccessRequestCreated", min_length=1)
    event_time: Time | None = Field(None, description="when it happened")
    data: AccessRequest | None = Field(None, description="the access request")


class AnyEvent(Tolerant):
    """An event of a type we do not know: taken, stored, matched by nothing."""

    event_type: str = Field(min_length=1)
    event_time: Time | None = None
    data: dict[str, Any] | None = None


class Event(NamedTuple):
    """One accepted event. `payload` keeps the digits of numbers; `raw` is what was received; `data_id` orders the
    events of one access request and is None for events that have none."""

    id: EventId
    event_type: str
    data_id: str | None
    event_time: str | None
    payload: dict[str, JsonValue]
    raw: bytes
    fingerprint: str  # SHA-256 of the canonical JSON, hex: two events with the same say the same

    @property
    def trigger(self) -> Trigger | None:
        """The trigger that wants this event, if any can."""
        return TRIGGER_OF_EVENT_TYPE.get(self.event_type)


class EventProblem(ValueError):
    """An item that the schema cannot take; the message says what and where, `keys` lead there."""

    def __init__(self, message: str, keys: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.keys = keys


def judge_payload(payload: JsonValue, *, is_utf8: bool = False) -> dict[str, JsonValue]:
    """The payload if it is an event. Raises EventProblem naming the first field that is wrong. `is_utf8`: it is known
    to hold nothing that UTF-8 cannot carry, so that a quick look may do."""
    if not isinstance(payload, dict):
        raise EventProblem(f"an event must be a JSON object: {_short(payload)}")
    model = _model_of(payload.get("event_type"))
    if is_utf8 and _quick_check(model)(payload):
        return payload
    try:
        model.model_validate(_as_python(payload))
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        keys = tuple(part for part in first["loc"] if part not in _UNION_TAGS)
        path = ".".join(f"[{part}]" if isinstance(part, int) else str(part) for part in keys)
        message = f"`{path}` {_wording(first['type'], first['msg'])}: {_short(first['input'])}"
        raise EventProblem(message, keys) from None
    named = {
        "event_type": payload["event_type"],
        "event_time": payload.get("event_time"),
        "data.id": (payload.get("data") or {}).get("id"),
    }
    for path, text in named.items():
        if isinstance(text, str) and not _is_utf8(text):
            raise EventProblem(
                f"`{path}` holds a lone surrogate, which UTF-8 cannot carry: {text!r:.60}", tuple(path.split("."))
            )
    return payload


def _model_of(event_type: object) -> type[Tolerant]:
    return _MODEL_OF.get(event_type, AnyEvent) if isinstance(event_type, str) else AnyEvent


_MODEL_OF: Final[Mapping[str, type[Tolerant]]] = {
    event_type: OperationalEvent if trigger.is_operational else AccessRequestEvent
    for event_type, trigger in TRIGGER_OF_EVENT_TYPE.items()
}


@cache
def _quick_check(model: type[Tolerant]) -> Check:
    return quick_check(model)


_UNION_TAGS: Final = frozenset({"str", "int", "float"})


def _as_python(value: JsonValue) -> Any:
    """Lists as tuples, since strict pydantic tells them apart."""
    if isinstance(value, dict):
        return {key: _as_python(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_as_python(item) for item in value)
    return value


def _wording(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind in ("string_type", "int_type", "float_type"):
        return "must be a string or a number" if kind != "string_type" else "must be a string"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "must be an object"
    if kind == "tuple_type":
        return "must be a list"
    if kind == "string_too_short":
        return "must not be empty"
    return message[:1].lower() + message[1:]


def _short(value: object) -> str:
    text = "null" if value is None else f"{value!r}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_cloudevent(value: JsonValue) -> bool:
    """Whether a JSON value is a CloudEvents 1.0 envelope in structured mode (CloudEvents JSON format, section 3)."""
    return (
        isinstance(value, dict) and "specversion" in value and isinstance(value["specversion"], str) and "id" in value
    )


def payload_of(value: JsonValue) -> JsonValue:
    """The event that a received JSON value carries: itself, or what a CloudEvents envelope wraps.

    An envelope's `data` is the event when it says what type it is; else the envelope's `type` and `time` do.
    """
    if not is_cloudevent(value):
        return value
    data = value.get("data")
    if isinstance(data, dict) and "event_type" in data:
        return data
    return {"event_type": value.get("type"), "event_time": value.get("time"), "data": data}


def read_event(raw: bytes, *, is_stored: bool = False) -> tuple[JsonValue, bytes]:
    """The event in received bytes, and its own bytes: those received, or of a CloudEvents envelope what it wraps.

    Numbers keep their digits. `is_stored`: intake has judged these bytes. Raises ValueError for what is not JSON.
    """
    value = jsontext.loads_again(raw) if is_stored else jsontext.loads(raw)
    if not is_cloudevent(value):
        return value, raw
    payload = payload_of(value)
    return payload, jsontext.dumps(payload).encode("utf-8")


def make_event(
    payload: dict[str, JsonValue], raw: bytes, *, given_id: str | None = None, canonical: bytes | None = None
) -> Event:
    """The event of a judged payload; its id is the given one, else the SHA-256 of what it says. `canonical` is the
    payload's canonical JSON where that is known."""
    data = payload.get("data")
    data_id = _text(data.get("id")) if isinstance(data, dict) else None
    event_time = _text(payload.get("event_time"))
    if canonical is None:
        canonical = jsontext.dumps(payload, sort_keys=True).encode("utf-8")
    fingerprint = hashlib.sha256(canonical).hexdigest()
    event_id = EventId(given_id if given_id is not None else f"evt_{fingerprint[:32]}")
    return Event(event_id, payload["event_type"], data_id, event_time, payload, raw, fingerprint)


def _text(value: JsonValue) -> str | None:
    """A scalar as the text that names it; None for null."""
    if value is None or isinstance(value, str):
        return value
    return value.text if type(value) is jsontext.Number else jsontext.dumps(value)


@cache
def event_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an access-request event, as published in `schemas/event.schema.json` and as
    templates and filters are checked against."""
    schema = AccessRequestEvent.model_json_schema(mode="validation")
    tidy(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "event.schema.json",
        **schema,
        "title": "Apono access-request event",
    }


def schema_of(triggers: object) -> dict[str, Any]:
    """The schema of the events that a webhook with these triggers, as written, is sent: of operational events where
    the first one is such, else of access requests."""
    first = triggers[0] if isinstance(triggers, list | tuple) and triggers else None
    return operational_schema() if isinstance(first, str) and first in OPERATIONAL_TYPES else event_schema()
