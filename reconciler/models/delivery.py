"""One (event, webhook) pair and its state, and the HTTP tries made for it.

Attempts are numbered from 1 in code, SQL, logs and output. Times are integer milliseconds since the epoch, UTC,
in every field that ends in `_at`; durations name their unit.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, NewType

DeliveryId = NewType("DeliveryId", str)


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens without an operator."""
        return self in (State.DELIVERED, State.DEAD, State.CANCELLED)


class Reason(StrEnum):
    """Why a delivery is dead or cancelled."""

    EXHAUSTED = "exhausted"  # max_attempts reached
    EXPIRED = "expired"  # give_up_after passed
    PERMANENT = "permanent"  # the receiver's answer will not change
    UNKNOWN = "unknown"  # the receiver may have run it, and retry_unknown is off
    RENDER = "render"  # no body could be made
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_INACTIVE = "webhook_inactive"
    OPERATOR = "operator"
    SUPERSEDED = "superseded"  # a later state of the same access request was pending: `resume --compact`


class Outcome(StrEnum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    RETRYABLE = "retryable"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"  # the request may have been run: timeout or reset after write() was called


class Fault(StrEnum):
    """The class of a failed attempt, by type and phase; what people are told to check hangs on it."""

    DNS = "dns"
    REFUSED_ADDRESS = "refused_address"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROTOCOL = "protocol"
    STATUS = "status"  # an answer that is not 2xx; `status` says which
    VALIDATOR = "validator"  # a 2xx whose answer is not what `response_validators` want
    TOKEN = "token"  # there is no access token for the request: nothing was sent, or a 401 came
    SECRET = "secret"  # a secret is unbound, bound elsewhere or unreadable: nothing was sent
    RENDER = "render"
    LEASE_EXPIRED = "lease_expired"
    SHUTDOWN = "shutdown"


class DeliveryControl(StrEnum):
    """What a receiver may ask by the response header `webhook-delivery` (Standard Webhooks, pull request 291)."""

    DISABLE = "disable"  # send nothing more to this webhook
    ABORT_MESSAGE = "abort-message"  # do not try this delivery again; nothing where it would not be tried again anyway


class SentRequest(NamedTuple):
    """An attempt's request as shown to people: every secret is masked."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str

    def to_json(self) -> dict[str, Any]:
        """The shape of `--format json` and of the page."""
        return {"method": self.method, "url": self.url, "headers": dict(self.headers), "body": self.body}


class ReceivedResponse(NamedTuple):
    """An attempt's response as shown to people: masked, the body cut at 16 KiB."""

    status: int
    reason_phrase: str
    headers: tuple[tuple[str, str], ...]
    body: str
    body_bytes: int
    truncated: bool

    def to_json(self) -> dict[str, Any]:
        """The shape of `--format json` and of the page."""
        return {
            "status": self.status,
            "reason_phrase": self.reason_phrase,
            "headers": dict(self.headers),
            "body": self.body,
            "body_bytes": self.body_bytes,
            "truncated": self.truncated,
        }


class Timings(NamedTuple):
    """Milliseconds from the start of the attempt; None where the phase was not reached or a connection was reused."""

    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The shape of `--format json` and of the page."""
        return {
            "dns_ms": self.dns_ms,
            "connect_ms": self.connect_ms,
            "tls_ms": self.tls_ms,
            "first_byte_ms": self.first_byte_ms,
            "total_ms": self.total_ms,
        }


class AttemptResult(NamedTuple):
    """What one HTTP try came to: a value, never an exception.

    A named tuple, like what it holds: a daemon makes thousands a second. `egress.result` fills in what happened;
    `dispatch.retry.judge` alone decides `outcome`, by the retry table. `wrote`
    says whether `write()` was called, so that the receiver may have run it. `is_attempt` is false where nobody was
    asked for anything, since it is known that there is no access token for a while. `retry_after_seconds` is what the
    receiver asked for (Retry-After or x-rate-limit-reset), already bounded. `control` is heeded only where the
    webhook's retry policy opts in. `sent_bytes` are those of the body, 0 where nothing was written. `detail` is one
    line for people, masked.
    """

    outcome: Outcome | None = None
    fault: Fault | None = None
    detail: str = ""
    status: int | None = None
    retry_after_seconds: float | None = None
    wrote: bool = False
    control: DeliveryControl | None = None
    sent_bytes: int = 0
    request: SentRequest | None = None
    response: ReceivedResponse | None = None
    timings: Timings = Timings()
    address: str | None = None  # the IP address and port that were dialled
    tls: str | None = None  # protocol version and cipher
    connect_to: str | None = None  # the operator's --connect-to that was used
    proxy: str | None = None  # the operator's --proxy that was used; `address` is then the proxy's
    is_attempt: bool = True
    checks: tuple[str, ...] = ()  # what a person should look at, where `fault` alone does not tell

    def judged(self, outcome: Outcome) -> "AttemptResult":
        """The same with its outcome; a fifth of what `_replace` takes, for each attempt."""
        return tuple.__new__(AttemptResult, (outcome, *self[1:]))

    def to_json(self) -> dict[str, Any]:
        """The invocation data of `deliveries show`, `test` and the page."""
        return {
            "outcome": self.outcome.value if self.outcome else None,
            "fault": self.fault.value if self.fault else None,
            "detail": self.detail,
            "status": self.status,
            "retry_after_seconds": self.retry_after_seconds,
            "request": self.request.to_json() if self.request else None,
            "response": self.response.to_json() if self.response else None,
            "timings": self.timings.to_json(),
            "address": self.address,
            "tls": self.tls,
            "connect_to": self.connect_to,
            "proxy": self.proxy,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recorded try of a delivery; `number` starts at 1. An open one has neither `finished_at` nor `result`."""

    number: int
    started_at: int
    finished_at: int | None
    revision: int
    commit: str | None
    result: dict[str, Any] | None  # AttemptResult.to_json()

    def to_json(self) -> dict[str, Any]:
        """The shape of `--format json` and of the page."""
        return {
            "number": self.number,
            "started_at": iso_time(self.started_at),
            "finished_at": iso_time(self.finished_at),
            "revision": self.revision,
            "commit": self.commit,
            **(self.result or {"outcome": None}),
        }


class Action(StrEnum):
    """What an operator may do to a delivery."""

    REPLAY = "replay"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Intervention:
    """A replay or a cancel of one or many deliveries. `key` names it, whatever it takes to carry it out; for one
    delivery `after_attempt` is the attempt that it came after, 0 before the first."""

    key: str
    action: Action
    given_at: int
    given_by: str
    reason: str = ""
    after_attempt: int = 0

    def to_json(self) -> dict[str, Any]:
        """The shape of `deliveries show --format json`."""
        return {
            "key": self.key,
            "action": self.action.value,
            "given_at": iso_time(self.given_at),
            "given_by": self.given_by,
            "reason": self.reason,
            "after_attempt": self.after_attempt,
        }


@dataclass(frozen=True, slots=True)
class Delivery:
    """One (event, webhook) pair as people see it; `revision` and `commit` are those of the last attempt, or of the
    match while there is none. `replay_of` is the delivery that this one is a replay of under a new id; `interventions`
    are known where one delivery is asked for, in order."""

    id: DeliveryId
    event_id: str
    webhook: str
    webhook_uid: str
    state: State
    reason: Reason | None
    attempts: int
    outcome: Outcome | None
    note: str | None  # why it waits, in words (an unbound secret)
    accepted_at: int
    next_attempt_at: int | None
    revision: int
    commit: str | None
    replays: int = 0
    replay_of: DeliveryId | None = None
    interventions: tuple[Intervention, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The shape of `--format json`."""
        return {
            "id": self.id,
            "event_id": self.event_id,
            "webhook": self.webhook,
            "webhook_uid": self.webhook_uid,
            "state": self.state.value,
            "reason": self.reason.value if self.reason else None,
            "attempts": self.attempts,
            "outcome": self.outcome.value if self.outcome else None,
            "note": self.note,
            "accepted_at": iso_time(self.accepted_at),
            "next_attempt_at": iso_time(self.next_attempt_at),
            "revision": self.revision,
            "commit": self.commit,
            "replays": self.replays,
            "replay_of": self.replay_of,
        }

    def in_full(self, attempts: Sequence[Attempt]) -> dict[str, Any]:
        """The shape of `deliveries show --format json` and of the API: with every attempt and every replay and cancel,
        in order."""
        return {
            **self.to_json(),
            "attempt_log": [attempt.to_json() for attempt in attempts],
            "interventions": [intervention.to_json() for intervention in self.interventions],
        }


def delivery_id(event_id: str, webhook_uid: str) -> DeliveryId:
    """The id of an (event, webhook) pair, sent as `webhook-id`: the same for every retry and replay.

    Event ids come from outside and may hold anything; the digest is safe in a header and holds no full stop, which
    Standard Webhooks uses to join the signed parts.
    """
    digest = hashlib.sha256(f"{event_id}\0{webhook_uid}".encode("utf-8", "surrogatepass")).hexdigest()
    return DeliveryId(f"dlv_{digest[:32]}")


def replay_id(original: str, key: str) -> DeliveryId:
    """The id of the replay under a new id that the intervention of this `key` makes of a delivery."""
    return delivery_id(original, f"replay:{key}")


def iso_time(at: int | None) -> str | None:
    """Milliseconds since the epoch as RFC 3339 in UTC."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
