"""Matches in state `error`, as every engine keeps them: an event, a webhook, and why its `when` could not be told.

Stored by `EventStore.accept` with the event, and kept until the event is judged again (`dispatch.rejudge`): then the
webhook gets its delivery, does not want the event, or fails anew. Times are milliseconds since the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.models.audit import Deed
from reconciler.models.delivery import iso_time
from reconciler.models.event import EventId
from reconciler.models.webhook import WebhookUid

if TYPE_CHECKING:
    from reconciler.store.base import NewDelivery


@dataclass(frozen=True, slots=True)
class NewMatchError:
    """One webhook that could not tell; `error` says why, in words for people."""

    webhook_uid: WebhookUid
    error: str


@dataclass(frozen=True, slots=True)
class MatchError:
    """A match error as people see it. `webhook` is the name of a live webhook, None where it was deleted; `revision` is
    the one that it was judged with last, at `judged_at`."""

    id: str
    event_id: EventId
    event_type: str
    webhook_uid: WebhookUid
    webhook: str | None
    error: str
    judged_at: int
    revision: int

    def to_json(self) -> dict[str, Any]:
        """The shape of `match_error_log` in `events show --format json` and of the API."""
        return {
            "id": self.id,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "webhook": self.webhook,
            "webhook_uid": self.webhook_uid,
            "error": self.error,
            "judged_at": iso_time(self.judged_at),
            "revision": self.revision,
        }


@dataclass(frozen=True, slots=True)
class Settled:
    """What judging again has told of one match error: a delivery is wanted, none is (both None), or `error`."""

    match_error_id: str
    delivery: "NewDelivery | None" = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class MatchErrorFilter:
    """Which match errors; None means any. `webhook` is a live webhook's name."""

    webhook: str | None = None
    event_id: str | None = None


class MatchErrorLog(Protocol):
    """Match errors, as people read them."""

    async def match_errors(
        self, *, where: MatchErrorFilter = MatchErrorFilter(), limit: int = 50, after: str | None = None
    ) -> tuple[MatchError, ...]:
        """Match errors, oldest first; `after` is the id of the last one seen, which need not be there any more."""
        ...

    async def match_error_counts(self) -> Mapping[WebhookUid, int]:
        """How many each webhook has; those without are left out."""
        ...


class MatchErrorStore(MatchErrorLog, Protocol):
    """Match errors and what becomes of them."""

    async def settle(self, settled: Sequence[Settled], *, revision: int, now: int, deed: Deed | None = None) -> int:
        """Write what judging again has told, in one transaction; returns how many deliveries were made.

        A match error that is gone (somebody else judged it) is passed over, and a delivery whose id exists is not made
        again. Raises RevisionMovedError, with nothing written, if `revision` is not live. `deed`: what a person did; it
        is told in the audit log.
        """
        ...
