"""Interventions as the daemon's API carries them, and back: what a client orders, and what came of a portion.

Written by `client` and read by `web`, portions the other way round. Pure; see `store.wire`.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import AwareDatetime, Field

from reconciler.models.audit import UNKNOWN, Warrant
from reconciler.models.delivery import Action, DeliveryId, Intervention, Reason, State, iso_time
from reconciler.models.field import Many, Model
from reconciler.store.operate import Portion, Selection, Terms, Verdict
from reconciler.store.wire import Id, Text, Whole, dumps, line

ORDER_MAX_BYTES: Final = 1024 * 1024
DAY_MS: Final = 86_400_000

_EPOCH: Final = datetime.fromtimestamp(0, UTC)

Base64 = Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]
Words = Annotated[str, Field(max_length=1024)]  # an event's id may hold anything


class SelectionBody(Model):
    """Which deliveries; what is left out narrows nothing."""

    ids: Many[Words] = ()
    webhooks: Many[Words] = ()
    states: Many[State] = ()
    reasons: Many[Reason] = ()
    event: Words | None = None
    event_types: Many[Words] = ()
    since: AwareDatetime | None = None
    before: AwareDatetime | None = None

    def selection(self) -> Selection:
        """As the store takes it."""
        return Selection(
            ids=tuple(self.ids),
            webhooks=tuple(self.webhooks),
            states=tuple(self.states),
            reasons=tuple(self.reasons),
            event_id=self.event,
            event_types=tuple(self.event_types),
            accepted_since=_ms(self.since),
            accepted_before=_ms(self.before),
        )


class OperateBody(Model):
    """A survey, a replay or a cancel of one portion; `key`, `by` and `reason` are passed over by a survey."""

    action: Action
    where: SelectionBody
    at: Words | None = None
    key: Id | None = None
    by: Text = ""
    reason: Text = ""
    new_id: bool = False
    delay_ms: Annotated[int, Field(ge=0, le=365 * DAY_MS), Whole] = 0
    interval_us: Annotated[int, Field(ge=0, le=1000 * DAY_MS), Whole] = 0

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """The order in a request's body. Raises pydantic.ValidationError."""
        return cls.model_validate_json(raw)

    def terms(self) -> Terms:
        """How replays are made."""
        return Terms(delay_ms=self.delay_ms, interval_us=self.interval_us, is_new_id=self.new_id)

    def intervention(self, *, given_at: int, by: str | None) -> Intervention:
        """The intervention; when is the daemon's word, and who the token's where there are tokens."""
        return Intervention(self.key or "", self.action, given_at, self.by if by is None else by, self.reason)


class EventReplayBody(Model):
    """An event to be judged again; as `raw`, or bytes that are no UTF-8 in base 64, where it was mended."""

    id: Words
    raw: str | None = None
    raw_base64: Base64 | None = None
    by: Text = ""
    reason: Text = ""

    @property
    def mended(self) -> bytes | None:
        """The mended bytes; None where it is to be judged as it was received."""
        if self.raw is not None:
            return self.raw.encode("utf-8", "surrogatepass")
        return None if self.raw_base64 is None else base64.b64decode(self.raw_base64)


def event_replay_body(event_id: str, mended: bytes | None, warrant: Warrant = UNKNOWN) -> bytes:
    """The request's body for judging an event again."""
    said = {"id": event_id, "by": line(warrant.behalf), "reason": line(warrant.reason)}
    if mended is None:
        return dumps(said)
    try:
        return dumps({**said, "raw": mended.decode("utf-8")})
    except UnicodeDecodeError:
        return dumps({**said, "raw_base64": base64.b64encode(mended).decode("ascii")})


def operate_body(
    where: Selection, action: Action, *, terms: Terms, at: str | None, how: Intervention | None = None
) -> bytes:
    """The request's body for a survey, or for an intervention."""
    said = {} if how is None else {"key": how.key, "by": line(how.given_by), "reason": line(how.reason)}
    return dumps(
        {
            "action": action.value,
            "where": {
                "ids": where.ids,
                "webhooks": where.webhooks,
                "states": where.states,
                "reasons": where.reasons,
                "event": where.event_id,
                "event_types": where.event_types,
                "since": iso_time(where.accepted_since),
                "before": iso_time(where.accepted_before),
            },
            "at": at,
            "new_id": terms.is_new_id,
            "delay_ms": terms.delay_ms,
            "interval_us": terms.interval_us,
            **said,
        }
    )


def portion_json(portion: Portion) -> dict[str, Any]:
    """What came of a portion."""
    return {
        "done": portion.done,
        "webhooks": {
            name: {verdict.value: number for verdict, number in of.items()} for name, of in portion.counts.items()
        },
        "first": list(portion.first),
        "following": portion.following,
    }


def portion_of(value: Mapping[str, Any]) -> Portion:
    """The portion that `portion_json` wrote."""
    return Portion(
        counts={
            name: {Verdict(verdict): number for verdict, number in of.items()} for name, of in value["webhooks"].items()
        },
        first=tuple(DeliveryId(id_) for id_ in value["first"]),
        following=value["following"],
    )


def intervention_of(value: Mapping[str, Any]) -> Intervention:
    """One of the `interventions` of a delivery."""
    return Intervention(
        key=value["key"],
        action=Action(value["action"]),
        given_at=_ms(datetime.fromisoformat(value["given_at"].replace("Z", "+00:00"))) or 0,
        given_by=value["given_by"],
        reason=value["reason"],
        after_attempt=value["after_attempt"],
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // timedelta(milliseconds=1)
