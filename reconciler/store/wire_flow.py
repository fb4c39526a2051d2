"""Pauses, breakers and backlogs as the daemon's API carries them, and back; see `store.wire`. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import AwareDatetime, Field

from reconciler.models.field import Model
from reconciler.models.flow import Backlog, Flow, Halt, Pause
from reconciler.models.health import CLOSED, Breaker
from reconciler.store.wire import Text, dumps

FLOW_MAX_BYTES: Final = 16 * 1024  # of an order about one webhook

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class PauseBody(Model):
    """A pause that a client wants; since when is for the daemon to say. `until`: RFC 3339."""

    reason: Annotated[Text, Field(min_length=1)]
    by: Text = ""
    until: AwareDatetime | None = None

    @classmethod
    def of(cls, pause: Pause) -> bytes:
        """The body for a pause."""
        return dumps({"by": pause.paused_by, **{key: pause.to_json()[key] for key in ("reason", "until")}})

    def pause(self, *, paused_at: int, by: str | None) -> Pause:
        """The pause; `by` is the daemon's word on who wants it, where it knows."""
        until = None if self.until is None else (self.until - _EPOCH) // _MILLISECOND
        return Pause(paused_at, self.by or "somebody" if by is None else by, self.reason, until)


class ResumeBody(Model):
    """How a webhook is to be resumed."""

    fresh_first: bool = False
    by: Text = ""
    reason: Text = ""

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """The order in a request's body, which may be empty. Raises pydantic.ValidationError."""
        return cls.model_validate_json(raw or b"{}")


class CompactBody(Model):
    """Who compacts, and why."""

    by: Text = ""
    reason: Text = ""

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """The order in a request's body, which may be empty. Raises pydantic.ValidationError."""
        return cls.model_validate_json(raw or b"{}")


def halt_of(value: Mapping[str, Any]) -> Halt:
    """What `Halt.to_json` wrote."""
    return Halt(pause_of(value["paused"]), _breaker_of(value["breaker"]))


def pause_of(value: Mapping[str, Any] | None) -> Pause | None:
    """What `Pause.to_json` wrote; null where there is none."""
    if value is None:
        return None
    return Pause(_at(value["paused_at"]), value["paused_by"], value["reason"], _at_or_none(value["until"]))


def flow_json(flow: Flow) -> dict[str, Any]:
    """A flow with what holds it back."""
    return {**flow.to_json(), **flow.halt.to_json()}


def flow_of(value: Mapping[str, Any]) -> Flow:
    """What `flow_json` wrote."""
    return Flow(
        pending=value["pending"],
        per_second=value["per_second"],
        sharing=value["sharing"],
        blocked_until=_at_or_none(value["blocked_until"]),
        halt=halt_of(value),
    )


def backlog_of(value: Mapping[str, Any]) -> Backlog:
    """A backlog as counted."""
    return Backlog(value["pending"], value["superseded"])


def _breaker_of(value: Mapping[str, Any] | None) -> Breaker:
    if value is None:
        return CLOSED
    return Breaker(value["failures"], _at(value["opened_at"]), _at_or_none(value["probe_at"]), value["wait_ms"])


def _at_or_none(text: str | None) -> int | None:
    return None if text is None else _at(text)


def _at(text: str) -> int:
    """Milliseconds since the epoch of what `iso_time` wrote."""
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - _EPOCH) // _MILLISECOND
