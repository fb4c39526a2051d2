"""Who takes the worker's room: a receiver that hangs must cost only its own webhook. Pure; used by the worker.

An attempt takes one of the slots for quick attempts until it is a second old; then it, and the next ones of its
webhook, only count toward a much larger total. Of that total, webhooks that are slow may together take half.
"""

from collections.abc import Mapping
from typing import Final

from reconciler.models.webhook import WebhookUid

SLOW_SECONDS: Final = 1.0  # an answer that takes longer makes its webhook a slow one, until one comes sooner


class Crowd:
    """The attempts in flight. Times are monotonic seconds."""

    def __init__(self, *, quick_max: int, total_max: int) -> None:
        self._quick_max = quick_max
        self._total_max = total_max
        self._quick: dict[int, tuple[WebhookUid, float]] = {}  # by seq, with when it is slow; the oldest first
        self._slow: dict[int, tuple[WebhookUid, float]] = {}
        self._slow_webhooks: set[WebhookUid] = set()

    def __len__(self) -> int:
        return len(self._quick) + len(self._slow)

    def begin(self, seq: int, webhook: WebhookUid, *, now: float) -> None:
        """An attempt begins."""
        attempts = self._slow if webhook in self._slow_webhooks else self._quick
        attempts[seq] = (webhook, now + SLOW_SECONDS)

    def end(self, seq: int, *, now: float) -> None:
        """An attempt is over. A quick one clears its webhook of being slow."""
        found = self._quick.pop(seq, None) or self._slow.pop(seq, None)
        if found is not None and now < found[1]:
            self._slow_webhooks.discard(found[0])

    def free(self, *, now: float) -> int:
        """How many more attempts may begin."""
        self._age(now)
        return max(0, min(self._quick_max - len(self._quick), self._total_max - len(self)))

    def frees_in(self, *, now: float) -> float | None:
        """Seconds until an attempt gives its slot free by being slow; None: only the end of one makes room."""
        if not self._quick or len(self) >= self._total_max:
            return None
        _, slow_at = next(iter(self._quick.values()))
        return max(0.0, slow_at - now)

    def limits(self, *, now: float) -> Mapping[WebhookUid, int]:
        """How many attempts each slow webhook may have in flight, so that all of them leave half of the room."""
        self._age(now)
        if not self._slow_webhooks:
            return {}
        share = max(1, self._total_max // 2 // len(self._slow_webhooks))
        return dict.fromkeys(self._slow_webhooks, share)

    def _age(self, now: float) -> None:
        while self._quick:
            seq, (webhook, slow_at) = next(iter(self._quick.items()))
            if now < slow_at:
                return
            self._slow[seq] = self._quick.pop(seq)
            self._slow_webhooks.add(webhook)
