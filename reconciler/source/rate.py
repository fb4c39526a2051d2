"""How often one sender may ask: a token bucket for each. Called by `source.http`; `now` is seconds of any steady clock.

Pure but for what it remembers, which is bounded: who has not asked for longest is forgotten, with a full bucket.
"""

from collections import OrderedDict
from typing import Final

SENDERS_MAX: Final = 10_000
BURST_SECONDS: Final = 2.0  # of the rate, at once


class Rate:
    """`per_second` requests of each sender, and twice as many at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was

    def wait_seconds(self, sender: str, *, now: float) -> float:
        """0 where the sender may ask, which is then counted; else how long until it may."""
        left, at = self._buckets.pop(sender, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - at) * self._per_second)
        is_taken = left >= 1
        self._buckets[sender] = (left - 1 if is_taken else left, now)
        if len(self._buckets) > SENDERS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if is_taken else (1 - left) / self._per_second
