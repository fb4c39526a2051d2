"""Match errors judged again: with the live revision, after a `when` was mended or a field has come into the events.

Called where operators replay events. What is told now is written at once: a webhook that wants the event gets its
delivery, unordered as every replay; one that does not is done with; one that fails anew keeps its match error, with the
new reason. So doing it twice does nothing twice, and whoever is killed in between goes on where he was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from reconciler.dispatch.intake import MATCH_TRIES
from reconciler.dispatch.judge import new_delivery
from reconciler.dispatch.live import Live, Snapshot
from reconciler.errors import StoreError
from reconciler.models.audit import Deed
from reconciler.models.event import Event, EventProblem, judge_payload, make_event, read_event
from reconciler.models.revision import LiveWebhook
from reconciler.request.condition import MatchState, Verdict
from reconciler.request.fact import facts_of
from reconciler.request.match import compile_match
from reconciler.store.base import EventLog, RevisionMovedError
from reconciler.store.match_error import MatchError, MatchErrorFilter, MatchErrorStore, Settled

ALL: Final = MatchErrorFilter()
PORTION: Final = 200  # match errors settled in one transaction; their events are read one by one before it


class RejudgeStore(EventLog, MatchErrorStore, Protocol):
    """What judging again needs of a store."""


@dataclass(frozen=True, slots=True)
class Rejudged:
    """How many match errors were judged again, and what came of it. `deliveries` counts those that were made; `wanted`
    may be more, where a delivery of this event and webhook was there already."""

    wanted: int = 0
    unwanted: int = 0
    failed: int = 0
    deliveries: int = 0

    @property
    def total(self) -> int:
        """How many were judged."""
        return self.wanted + self.unwanted + self.failed

    def plus(self, other: "Rejudged") -> "Rejudged":
        """Both together."""
        return Rejudged(
            self.wanted + other.wanted,
            self.unwanted + other.unwanted,
            self.failed + other.failed,
            self.deliveries + other.deliveries,
        )

    def to_json(self) -> dict[str, int]:
        """The shape in JSON answers."""
        return {
            "judged": self.total,
            "wanted": self.wanted,
            "unwanted": self.unwanted,
            "failed": self.failed,
            "deliveries": self.deliveries,
        }


async def rejudge(
    store: RejudgeStore,
    live: Live,
    *,
    now: Callable[[], int],
    where: MatchErrorFilter = ALL,
    deed: Deed | None = None,
    on_progress: Callable[[Rejudged], None] = lambda _: None,
) -> Rejudged:
    """Judge all match errors of a webhook, of an event, or all there are; each once. The caller wakes the worker.
    `deed`: what a person did, told in the audit log with each portion.

    Raises StoreError; what was settled before stays so.
    """
    total, after = Rejudged(), None
    while found := await store.match_errors(where=where, limit=PORTION, after=after):
        total = total.plus(await _portion(store, live, found, now, deed))
        after = found[-1].id
        on_progress(total)
    return total


async def _portion(
    store: RejudgeStore, live: Live, found: tuple[MatchError, ...], now: Callable[[], int], deed: Deed | None
) -> Rejudged:
    events = {event_id: await _event(store, event_id) for event_id in dict.fromkeys(error.event_id for error in found)}
    for _ in range(MATCH_TRIES):
        await live.refresh()
        snapshot, at = live.snapshot, now()
        judged = [(error, _judge(error, events[error.event_id], snapshot)) for error in found]
        settled = [_settled(error, events[error.event_id], snapshot, verdict, at) for error, verdict in judged]
        try:
            made = await store.settle(settled, revision=snapshot.revision, now=at, deed=deed)
        except RevisionMovedError:
            continue
        states = [verdict.state for _, verdict in judged]
        wanted, unwanted, failed = (states.count(state) for state in MatchState)
        return Rejudged(wanted, unwanted, failed, made)
    raise StoreError(f"the live revision moved {MATCH_TRIES} times while match errors were being judged")


async def _event(store: EventLog, event_id: str) -> Event | None:
    """The event as it was stored; None where it is gone, or none for this version."""
    stored = await store.event(event_id)
    if stored is None:
        return None
    try:
        payload, raw = read_event(stored.raw)
        return make_event(judge_payload(payload), raw, given_id=stored.id)
    except (EventProblem, ValueError):
        return None


def _judge(error: MatchError, event: Event | None, snapshot: Snapshot) -> Verdict:
    webhook = snapshot.webhooks.get(error.webhook_uid)
    if webhook is None:
        return Verdict(MatchState.NO)
    if event is None:
        return Verdict(MatchState.ERROR, "the event cannot be read")
    return compile_match(webhook.webhook).judge(facts_of(event))


def _settled(error: MatchError, event: Event | None, snapshot: Snapshot, verdict: Verdict, now: int) -> Settled:
    if verdict.state is not MatchState.YES or event is None:
        return Settled(error.id, error=verdict.error or None)
    webhook: LiveWebhook = snapshot.webhooks[error.webhook_uid]
    return Settled(error.id, new_delivery(event, webhook, now=now, is_ordered=False))
