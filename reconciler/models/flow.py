"""How a webhook's deliveries flow: its pause, the breaker and the rate of its pace key, and how long a backlog takes.

State of the store, never of a manifest: pauses outlive revisions, renames and restarts. Times are milliseconds since
the epoch.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.models.delivery import iso_time
from reconciler.models.health import CLOSED, Breaker
from reconciler.models.webhook import RateLimit, Webhook

ITSELF: Final = "reconciler"  # who paused, where no operator did
HOUR_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator's hold on a webhook, or that of its destination's faults; it ends by itself at `until`, if given."""

    paused_at: int
    paused_by: str
    reason: str
    until: int | None = None

    def is_over(self, now: int) -> bool:
        """Whether it has ended by itself."""
        return self.until is not None and self.until <= now

    @property
    def fact(self) -> str:
        """What is said of a delivery that waits for its end."""
        until = f" until {iso_time(self.until)}" if self.until is not None else ""
        return f"paused{until} since {iso_time(self.paused_at)}, by {self.paused_by}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """The shape of a pause in every JSON document."""
        return {
            "paused_at": iso_time(self.paused_at),
            "paused_by": self.paused_by,
            "reason": self.reason,
            "until": iso_time(self.until),
        }


@dataclass(frozen=True, slots=True)
class Halt:
    """What holds a webhook's deliveries back beside their own schedule; the breaker is shared by a pace key."""

    pause: Pause | None = None
    breaker: Breaker = CLOSED

    def at(self, now: int) -> "Halt":
        """The same without a pause that is over."""
        return Halt(None, self.breaker) if self.pause is not None and self.pause.is_over(now) else self

    @property
    def fact(self) -> str | None:
        """In words, the pause first; None where nothing is held back."""
        if self.pause is not None:
            return self.pause.fact
        if not self.breaker.is_open:
            return None
        probe = f"; next probe at {iso_time(self.breaker.probe_at)}" if self.breaker.probe_at is not None else ""
        since = iso_time(self.breaker.opened_at)
        return f"breaker open since {since} after {self.breaker.failures} failures in a row{probe}"

    def to_json(self) -> dict[str, Any]:
        """The two keys of a webhook in every JSON document: each null where it does not hold."""
        return {
            "paused": None if self.pause is None else self.pause.to_json(),
            "breaker": self.breaker.to_json() if self.breaker.is_open else None,
        }


NO_HALT: Final = Halt()


@dataclass(frozen=True, slots=True)
class Flow:
    """A webhook's backlog and what it may flow at. `per_second` None: unlimited; `sharing` counts what is pending for
    other webhooks of the same pace key, which have their part of the rate; `blocked_until` is a Retry-After."""

    pending: int
    per_second: float | None = None
    sharing: int = 0
    blocked_until: int | None = None
    halt: Halt = NO_HALT

    def expected(self, webhook: Webhook) -> "Flow":
        """The same at the rate that the webhook says, where no daemon has told the store one yet."""
        limit = webhook.spec.rate_limit
        if self.per_second is not None or not isinstance(limit, RateLimit):
            return self
        return replace(self, per_second=limit.per_second)

    def seconds(self, pending: int | None = None) -> float | None:
        """How long `pending` deliveries (all, if not given) take at the allowed rate, the others' going between; None
        where no rate is set."""
        if self.per_second is None:
            return None
        own = self.pending if pending is None else pending
        return (own + min(own, self.sharing)) / self.per_second

    def estimate(self, pending: int | None = None) -> str:
        """The same in words: `300,000 pending, 9.26 h at 9/s`."""
        number = self.pending if pending is None else pending
        seconds = self.seconds(number)
        if seconds is None:
            return f"{number:,} pending, no rate limit"
        shared = " shared" if self.sharing else ""
        return f"{number:,} pending, {span(seconds)} at {self.per_second:.4g}/s{shared}"

    def to_json(self) -> dict[str, Any]:
        """The shape of `backlog` in `webhooks show --format json`."""
        seconds = self.seconds()
        return {
            "pending": self.pending,
            "per_second": None if self.per_second is None else round(self.per_second, 3),
            "sharing": self.sharing,
            "seconds": None if seconds is None else round(seconds, 1),
            "blocked_until": iso_time(self.blocked_until),
        }


@dataclass(frozen=True, slots=True)
class Backlog:
    """What `resume --compact` would do: of `pending` deliveries, `superseded` would be cancelled."""

    pending: int
    superseded: int


def span(seconds: float) -> str:
    """A length of time as people say it: hours, minutes or seconds, two decimals at most."""
    for unit, length in (("h", HOUR_SECONDS), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
