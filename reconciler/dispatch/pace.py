"""The last gate before the first byte: keeps writes on one pace key apart within this process. Pure.

The store's token bucket decides how many deliveries are claimed over the whole fleet; connections then take their time,
and what was claimed a ninth of a second apart could be written together. The gate spaces the writes themselves.
"""

from typing import Final

KEYS_MAX: Final = 10_000  # above this, keys that are free again are forgotten


class Gate:
    """A token bucket per pace key in the form of GCRA (ITU-T I.371): one stored time a key, no timers."""

    def __init__(self) -> None:
        self._arrival: dict[str, float] = {}  # theoretical arrival time of the next write, seconds

    def reserve(self, key: str, *, per_second: float | None, burst: int, now: float) -> float:
        """Take the next slot of `key`; returns how many seconds from `now` it is away. None: unlimited."""
        if per_second is None:
            return 0.0
        interval = 1.0 / per_second
        arrival = max(self._arrival.get(key, now), now)
        if len(self._arrival) >= KEYS_MAX:
            self._arrival = {other: at for other, at in self._arrival.items() if at > now}
        self._arrival[key] = arrival + interval
        return max(0.0, arrival - now - (burst - 1) * interval)
