"""How often one sender may ask: a token bucket for each. Asked by `source.http` and `web.throttle`; `now` is seconds
of any steady clock.

Pure but for what it remembers, which is bounded: who has not asked for longest is forgotten, with a full bucket.
"""

from collections import OrderedDict
from typing import Final

SENDERS_MAX: Final = 10_000
BURST_SECONDS: Final = 2.0  # of the rate, at once


class Rate:
    """`per_second` requests of each sender, and `burst` at once: twice as many, where it is not given."""

    def __init__(self, per_second: float, *, burst: float | None = None) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS if burst is None else burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was

    def wait_seconds(self, sender: str, *, now: float) -> float:
        """0 where the sender may ask, which is then counted; else how long until it may."""
        left = self._left(sender, now)
        self._buckets.pop(sender, None)  # so that it stands last
        is_taken = left >= 1
        self._buckets[sender] = (left - 1 if is_taken else left, now)
        if len(self._buckets) > SENDERS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if is_taken else (1 - left) / self._per_second

    def due_seconds(self, sender: str, *, now: float) -> float:
        """How long until the sender may ask; nothing is counted."""
        return max(0.0, 1 - self._left(sender, now)) / self._per_second

    def _left(self, sender: str, now: float) -> float:
        left, at = self._buckets.get(sender, (self._burst, now))
        return min(self._burst, left + max(0.0, now - at) * self._per_second)
