"""How fast a pace key is written to, and the last gate before the first byte. Pure.

The store's token bucket decides how many deliveries are claimed over the whole fleet; connections then take their time,
and what was claimed a ninth of a second apart could be written together. The gate spaces the writes themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reconciler.models.webhook import RateLimit, Webhook

KEYS_MAX: Final = 10_000  # above this, keys that are free again are forgotten


@dataclass(frozen=True, slots=True)
class Pace:
    """Writes per second, None being unlimited, and how many may go at once after a rest."""

    per_second: float | None
    burst: int


UNLIMITED: Final = Pace(None, 1)


def paces_of(webhooks: Iterable[Webhook]) -> dict[str, Pace]:
    """The pace of each pace key: where webhooks share one, the strictest rate and the strictest burst hold for all."""
    found: dict[str, Pace] = {}
    for webhook in webhooks:
        own = _own_pace(webhook)
        other = found.setdefault(webhook.pace_key, own)
        if own.per_second is not None and own != other:
            found[webhook.pace_key] = _stricter(own, own.per_second, other)
    return found


def _own_pace(webhook: Webhook) -> Pace:
    limit = webhook.spec.rate_limit
    return Pace(limit.per_second, limit.burst) if isinstance(limit, RateLimit) else UNLIMITED


def _stricter(own: Pace, per_second: float, other: Pace) -> Pace:
    if other.per_second is None:
        return own
    return Pace(min(per_second, other.per_second), min(own.burst, other.burst))


class Gate:
    """A token bucket per pace key in the form of GCRA (ITU-T I.371): one stored time a key, no timers."""

    def __init__(self) -> None:
        # theoretical arrival time of the next write, and the interval it was reckoned with; seconds
        self._next: dict[str, tuple[float, float]] = {}

    def reserve(self, key: str, *, per_second: float | None, burst: int, now: float) -> float:
        """Take the next slot of `key`; returns how many seconds from `now` it is away. None: unlimited.

        Where the rate has changed since the last slot, what was taken in advance is reckoned at the new one.
        """
        if per_second is None:
            return 0.0
        interval = 1.0 / per_second
        at, reckoned_with = self._next.get(key, (now, interval))
        arrival = now + max(0.0, at - now) * (interval / reckoned_with)
        if len(self._next) >= KEYS_MAX:
            self._next = {other: item for other, item in self._next.items() if item[0] > now}
        self._next[key] = (arrival + interval, interval)
        return max(0.0, arrival - now - (burst - 1) * interval)
