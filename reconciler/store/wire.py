"""The store's values as the daemon's API carries them, and back: one shape for both ends.

Written by `web` and read by `client`, a change set the other way round. Values that people see too (revisions, events,
deliveries) have the shape of `--format json`, so that a program needs to know one only. Pure.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BeforeValidator, Field

from reconciler.models.delivery import Attempt, Delivery, DeliveryId, Outcome, Reason, State
from reconciler.models.event import EventId
from reconciler.models.field import Many, Model
from reconciler.models.revision import ChangeSet, Hold, LiveState, LiveWebhook, Revision
from reconciler.models.webhook import Policy, Webhook, WebhookUid
from reconciler.store.base import EventStatus, StoredEvent
from reconciler.store.match_error import MatchError

API_HEADER: Final = "reconciler-api"  # on every request of a client and on every answer
API_NUMBER: Final = "1"  # moves when a client of the number before could misread an answer, or be misread
TEXT_MAX_CHARACTERS: Final = 1024
CHANGE_SET_TYPE: Final = "application/x-ndjson"
CHANGE_SET_MAX_BYTES: Final = 64 * 1024 * 1024  # ten thousand updates: after, and before and after for the history

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_ATTEMPT_KEYS: Final = ("number", "started_at", "finished_at", "revision", "commit")

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Text = Annotated[str, Field(max_length=TEXT_MAX_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*$")]


def whole(value: object) -> object:
    """A number by its value: 3.0 is a whole number in JSON Schema (2020-12, core, section 4.2.3), and programs write
    it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(whole)
Number = Annotated[int, Field(ge=0, lt=2**53), Whole]
Count = Annotated[int, Field(ge=0, le=1_000_000), Whole]


def dumps(value: Any) -> bytes:
    """Compact JSON; ASCII where it holds what UTF-8 or orjson cannot carry."""
    try:
        return orjson.dumps(value)
    except TypeError:  # lone surrogates, integers over 64 bits
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def loads(raw: bytes) -> Any:
    """The value of JSON that `dumps` wrote. Raises ValueError."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:  # an escaped lone surrogate
        return json.loads(raw)


def line(text: str) -> str:
    """Text from a command line or a query, which may hold bytes that are no UTF-8 and line ends, as a Text."""
    words = " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())
    return "".join(char if char.isprintable() else "?" for char in words)[:TEXT_MAX_CHARACTERS]


# State and revisions


def state_head(state: LiveState) -> dict[str, Any]:
    """A state without its webhooks."""
    return {
        "lineage": state.lineage,
        "revision": state.revision,
        "commit": state.commit,
        "policies": {owner: policy.model_dump(mode="json") for owner, policy in state.policies.items()},
    }


def live_webhook_json(live: LiveWebhook) -> dict[str, Any]:
    """A webhook as the store holds it; `digest` is the stored one."""
    return {
        "uid": live.uid,
        "owner": live.owner,
        "digest": live.digest,
        "protected": live.is_protected,
        "revision": live.revision,
        "intact": live.is_intact,
        "document": live.webhook.document(),
    }


def state_of(value: Mapping[str, Any]) -> LiveState:
    """A state with its `webhooks`. Raises KeyError, TypeError and ValueError for what is none."""
    return LiveState(
        lineage=value["lineage"],
        revision=value["revision"],
        commit=value["commit"],
        webhooks=tuple(_live_webhook_of(item) for item in value["webhooks"]),
        policies={owner: Policy.model_validate(item, strict=False) for owner, item in value["policies"].items()},
    )


def _live_webhook_of(value: Mapping[str, Any]) -> LiveWebhook:
    return LiveWebhook(
        uid=WebhookUid(value["uid"]),
        owner=value["owner"],
        webhook=webhook_of(value["document"]),
        digest=value["digest"],
        is_protected=value["protected"],
        revision=value["revision"],
        is_intact=value["intact"],
    )


def webhook_of(document: Mapping[str, Any]) -> Webhook:
    """The webhook of a document. Raises KeyError and pydantic.ValidationError."""
    return Webhook.model_validate({"metadata": document["metadata"], "spec": document["spec"]}, strict=False)


def revision_of(value: Mapping[str, Any]) -> Revision:
    """One revision, with `changes` where they are given."""
    return Revision(
        number=value["revision"],
        applied_at=_at(value["applied_at"]),
        applied_by=value["applied_by"],
        commit=value["commit"],
        owner=value["owner"],
        created=value["created"],
        updated=value["updated"],
        renamed=value["renamed"],
        deleted=value["deleted"],
        adopted=value["adopted"],
        forgotten=value["forgotten"],
        manifest_digest=value["manifest_digest"],
        restores=value["restores"],
        reason=value["reason"],
        changes=tuple(value.get("changes", ())),
    )


def hold_of(value: Mapping[str, Any]) -> Hold:
    """An owner's hold."""
    return Hold(value["owner"], _at(value["held_at"]), value["held_by"], value["reason"])


# Change sets


class HoldOrder(Model):
    """A hold that a client wants; since when is for the daemon to say."""

    owner: Text
    held_by: Text
    reason: Text

    @classmethod
    def of(cls, hold: Hold) -> Self:
        """The order for a hold."""
        return cls(owner=hold.owner, held_by=_utf8(hold.held_by), reason=_utf8(hold.reason))

    def hold(self, *, held_at: int, held_by: str | None = None) -> Hold:
        """The hold, `held_by` being the daemon's word on who wants it."""
        return Hold(self.owner, held_at, self.held_by if held_by is None else held_by, self.reason)


class ChangeSetHead(Model):
    """The first line of a change set: its fields, and of what stands on lines of its own how many follow."""

    lineage: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")]
    base_revision: Number
    plan_id: Id
    applied_at: Number
    applied_by: Text
    commit: Text | None
    owner: Text
    deletes: Many[Id]
    policy: Policy | None
    created: Count
    updated: Count
    renamed: Count
    deleted: Count
    manifest_digest: Text | None
    restores: Number | None
    reason: Text
    hold: HoldOrder | None
    released: Many[Id]
    adopted: Count
    forgotten: Count
    upserts: Count
    changes: Count


class Document(Model):
    """A webhook's document as it is stored; `metadata` and `spec` are judged by the webhook's own model."""

    api_version: Literal["reconciler/v1"] = Field(alias="apiVersion")
    kind: Literal["Webhook"]
    metadata: dict[str, Any]
    spec: dict[str, Any]


class Upsert(Model):
    """A line for each webhook that is created, updated or renamed."""

    uid: Id
    owner: Text
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    protected: bool
    document: Document


def change_set_lines(change_set: ChangeSet) -> Iterator[bytes]:
    """A change set as lines of JSON: the head, the upserts, the changes for the history."""
    head = {name: getattr(change_set, name) for name in ChangeSetHead.model_fields}
    yield dumps(
        {
            **head,
            "applied_by": _utf8(change_set.applied_by),
            "commit": None if change_set.commit is None else _utf8(change_set.commit),
            "reason": _utf8(change_set.reason),
            "policy": None if change_set.policy is None else change_set.policy.model_dump(mode="json"),
            "hold": None if change_set.hold is None else HoldOrder.of(change_set.hold).model_dump(),
            "upserts": len(change_set.upserts),
            "changes": len(change_set.changes),
        }
    )
    for live in change_set.upserts:
        line = live_webhook_json(live)
        yield dumps({key: line[key] for key in Upsert.model_fields})
    for change in change_set.changes:
        yield dumps(change)


def change_set_of(
    head: ChangeSetHead,
    upserts: list[LiveWebhook],
    changes: list[dict[str, Any]],
    *,
    applied_at: int,
    token: str | None,
) -> ChangeSet:
    """The change set whose lines these were, applied at the daemon's time; by the owner of the `token` of this name,
    or by whom the client says where there are no tokens."""
    by = head.applied_by if token is None else token
    said = {name: getattr(head, name) for name in ChangeSetHead.model_fields}
    return ChangeSet(
        **{
            **said,
            "applied_at": applied_at,
            "applied_by": by,
            "hold": None if head.hold is None else head.hold.hold(held_at=applied_at, held_by=token),
            "upserts": tuple(upserts),
            "changes": tuple(changes),
        }
    )


# Events and deliveries


def event_json(event: StoredEvent) -> dict[str, Any]:
    """An event as it is stored: the shape of a listing with its raw bytes, as text where they are UTF-8."""
    text = event.text
    return {
        **event.to_json(),
        "raw": text,
        "raw_base64": base64.b64encode(event.raw).decode("ascii") if text is None else None,
    }


def event_of(value: Mapping[str, Any]) -> StoredEvent:
    """The event that `event_json` wrote."""
    return StoredEvent(
        id=EventId(value["id"]),
        event_type=value["event_type"],
        data_id=value["data_id"],
        event_time=value["event_time"],
        source=value["source"],
        received_at=_at(value["received_at"]),
        status=EventStatus(value["status"]),
        problem=value["problem"],
        revision=value["revision"],
        deliveries=value["deliveries"],
        match_errors=value.get("match_errors", 0),
        raw=base64.b64decode(value["raw_base64"]) if value["raw"] is None else value["raw"].encode("utf-8"),
        mends=value.get("mends"),
        mended_as=value.get("mended_as"),
    )


def match_error_of(value: Mapping[str, Any]) -> MatchError:
    """One of a listing of match errors."""
    return MatchError(
        id=value["id"],
        event_id=EventId(value["event_id"]),
        event_type=value["event_type"],
        webhook_uid=WebhookUid(value["webhook_uid"]),
        webhook=value["webhook"],
        error=value["error"],
        judged_at=_at(value["judged_at"]),
        revision=value["revision"],
    )


def delivery_of(value: Mapping[str, Any]) -> Delivery:
    """One of a listing of deliveries."""
    return Delivery(
        id=DeliveryId(value["id"]),
        event_id=value["event_id"],
        webhook=value["webhook"],
        webhook_uid=value["webhook_uid"],
        state=State(value["state"]),
        reason=None if value["reason"] is None else Reason(value["reason"]),
        attempts=value["attempts"],
        outcome=None if value["outcome"] is None else Outcome(value["outcome"]),
        note=value["note"],
        accepted_at=_at(value["accepted_at"]),
        next_attempt_at=None if value["next_attempt_at"] is None else _at(value["next_attempt_at"]),
        revision=value["revision"],
        commit=value["commit"],
        replays=value.get("replays", 0),
        replay_of=value.get("replay_of"),
    )


def attempt_of(value: Mapping[str, Any]) -> Attempt:
    """One of the `attempt_log` of a delivery; one under way has no result yet."""
    result = {key: item for key, item in value.items() if key not in _ATTEMPT_KEYS}
    is_open = value["finished_at"] is None and result == {"outcome": None}
    return Attempt(
        number=value["number"],
        started_at=_at(value["started_at"]),
        finished_at=None if value["finished_at"] is None else _at(value["finished_at"]),
        revision=value["revision"],
        commit=value["commit"],
        result=None if is_open else result,
    )


def _at(text: str) -> int:
    """Milliseconds since the epoch of what `iso_time` wrote."""
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - _EPOCH) // _MILLISECOND


def _utf8(text: str) -> str:
    """Text from the environment, which may hold bytes that are no UTF-8, as the store will spell it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
