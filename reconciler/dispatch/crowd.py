"""Who takes the worker's room: a receiver that hangs must cost only its own webhook. Pure; used by the worker.

An attempt takes one of the slots for quick attempts until it is a second old; then it, and the next ones of its
webhook, only count toward a much larger total. Of that total, webhooks that are slow leave room for the quick slots.
Large events take room by their bytes.
"""

from collections.abc import Mapping
from typing import Final

from reconciler.models.webhook import WebhookUid

SLOW_SECONDS: Final = 1.0  # an answer that takes longer makes its webhook a slow one, until one comes sooner
EVENT_BYTES: Final = 256 * 1024  # the largest there can be: what one is taken for before any came
AVERAGE_WEIGHT: Final = 1 / 32  # of the newest event in the average


class Crowd:
    """The attempts in flight. Times are monotonic seconds."""

    def __init__(self, *, quick_max: int, total_max: int, bytes_max: int) -> None:
        self._quick_max = quick_max
        self._total_max = total_max
        self._bytes_max = bytes_max
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self._usual_bytes = float(EVENT_BYTES)  # a moving average of what came lately
        self._quick: dict[int, tuple[WebhookUid, float]] = {}  # by seq, with when it is slow; the oldest first
        self._slow: dict[int, tuple[WebhookUid, float]] = {}
        self._slow_webhooks: set[WebhookUid] = set()

    def __len__(self) -> int:
        return len(self._quick) + len(self._slow)

    def begin(self, seq: int, webhook: WebhookUid, *, size: int, now: float) -> None:
        """An attempt begins, with an event of `size` bytes."""
        self._sizes[seq] = size
        self._bytes += size
        self._usual_bytes += (size - self._usual_bytes) * AVERAGE_WEIGHT
        attempts = self._slow if webhook in self._slow_webhooks else self._quick
        attempts[seq] = (webhook, now + SLOW_SECONDS)

    def end(self, seq: int, *, now: float) -> None:
        """An attempt is over. A quick one clears its webhook of being slow."""
        self._bytes -= self._sizes.pop(seq, 0)
        found = self._quick.pop(seq, None) or self._slow.pop(seq, None)
        if found is not None and now < found[1]:
            self._slow_webhooks.discard(found[0])

    def free(self, *, now: float) -> int:
        """How many more attempts may begin."""
        self._age(now)
        by_number = min(self._quick_max - len(self._quick), self._total_max - len(self))
        return max(0 if self._sizes else 1, min(by_number, self._free_by_bytes()))

    def frees_in(self, *, now: float) -> float | None:
        """Seconds until an attempt gives its slot free by being slow; None: only the end of one makes room."""
        if not self._quick or len(self) >= self._total_max or self._free_by_bytes() < 1:
            return None
        _, slow_at = next(iter(self._quick.values()))
        return max(0.0, slow_at - now)

    def limits(self, *, now: float) -> Mapping[WebhookUid, int]:
        """How many attempts each slow webhook may have in flight, so that all of them leave the quick slots free."""
        self._age(now)
        if not self._slow_webhooks:
            return {}
        share = max(1, (self._total_max - self._quick_max) // len(self._slow_webhooks))
        return dict.fromkeys(self._slow_webhooks, share)

    def _free_by_bytes(self) -> int:
        return int((self._bytes_max - self._bytes) / max(1.0, self._usual_bytes))

    def _age(self, now: float) -> None:
        while self._quick:
            seq, (webhook, slow_at) = next(iter(self._quick.items()))
            if now < slow_at:
                return
            self._slow[seq] = self._quick.pop(seq)
            self._slow_webhooks.add(webhook)
