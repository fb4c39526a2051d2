"""What operators do to deliveries, as every engine takes it: which ones, what, by whom and why, and what came of it.

Said by `cli` and by the daemon's API, carried out by the engines beside this file. A selection may hold any number of
deliveries, so it is walked portion by portion, each a small transaction of its own: whoever is killed in between leaves
a consistent store, and goes on by intervening again under the same key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from reconciler.models.audit import UNKNOWN, Warrant
from reconciler.models.delivery import Action, DeliveryId, Intervention, Reason, State

PORTION_ROWS: Final = 1_000  # a transaction over so many takes some 20 ms, far below the 100 ms that one may take
FIRST_IDS: Final = 5  # of a portion, shown to people


class Verdict(StrEnum):
    """What becomes, or would become, of one selected delivery."""

    DONE = "done"  # due again; cancelled
    WHEN_BACK = "when_back"  # cancelled when it comes back undelivered: it is in flight
    # and why nothing was done
    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    FINISHED = "finished"
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_INACTIVE = "webhook_inactive"
    REPEATED = "repeated"  # this intervention has had it before

    @property
    def is_done(self) -> bool:
        """Whether the intervention has an effect on the delivery."""
        return self in (Verdict.DONE, Verdict.WHEN_BACK)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deliveries; what is empty or None narrows nothing. `webhooks` are globs over the names of live webhooks.
    Times are when a delivery was accepted, `before` not included."""

    ids: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    reasons: tuple[Reason, ...] = ()
    event_id: str | None = None
    event_types: tuple[str, ...] = ()
    accepted_since: int | None = None
    accepted_before: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How replays are made: due one each `interval_us`, the first of the portion `delay_ms` after the intervention was
    given; under their own ids, or under new ones as deliveries of their own."""

    delay_ms: int = 0
    interval_us: int = 0
    is_new_id: bool = False


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of a selection: by webhook's name how many had which verdict, the first ids that something was done to,
    and where the next part begins; None: there is none."""

    counts: Mapping[str, Mapping[Verdict, int]] = field(default_factory=dict)
    first: tuple[DeliveryId, ...] = ()
    following: str | None = None

    @property
    def done(self) -> int:
        """How many deliveries the intervention has an effect on."""
        return sum(number for of in self.counts.values() for verdict, number in of.items() if verdict.is_done)


class OperatorStore(Protocol):
    """Interventions. `at` is the `following` of the portion before; deliveries that are newer than the first portion
    are never reached. Raises NotInStoreError for an `at` that no portion gave."""

    async def survey(
        self, where: Selection, action: Action, *, terms: Terms = Terms(), at: str | None = None
    ) -> Portion:
        """What `intervene` would do to the next portion."""
        ...

    async def intervene(
        self,
        where: Selection,
        how: Intervention,
        *,
        terms: Terms = Terms(),
        at: str | None = None,
        warrant: Warrant = UNKNOWN,
    ) -> Portion:
        """Replay or cancel the next portion, in one transaction.

        A replayed delivery is pending again, unordered, its attempts counted on and its retry budget as new. A
        cancelled one leaves its order: what waits for it waits for what came before it. Not replayed is what is pending
        or in flight (with new ids: what has such a replay), and nothing of a webhook that is deleted or inactive. Under
        a `key` that was used before, deliveries that it has reached are passed over; one of another action raises
        NotInStoreError.
        """
        ...
