"""What attempts tell of a receiver: the breaker of a pace key and the faults of a destination. Pure.

Used by `dispatch`, which says what an attempt tells, and by the stores, which keep the counts for the whole fleet: both
engines reckon with these functions. Times are milliseconds since the epoch, given by the caller.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, assert_never

from reconciler.models.delivery import iso_time

BREAKER_FAILURES: Final = 10  # in a row, over all webhooks of the pace key
FIRST_WAIT_MS: Final = 30_000  # until the first probe; each that fails doubles it
LONGEST_WAIT_MS: Final = 600_000
FAULTS_MAX: Final = 5  # of the destination, in a row: the webhook is paused


class Health(StrEnum):
    """What one attempt tells of its receiver."""

    WORKS = "works"  # it answered, be it that it refused this event or asked to wait
    FAILED = "failed"  # no answer, or one that says it cannot: what a breaker counts
    FAULT = "fault"  # it answered that this destination is wrong (401, 403, 404): several in a row pause the webhook
    GONE = "gone"  # it answered that this destination is no more (410): pauses the webhook at once
    UNTOLD = "untold"  # nothing was sent, or nobody saw how it ended: counts for nothing


@dataclass(frozen=True, slots=True)
class Breaker:
    """A pace key's breaker. Open, it lets one delivery through at a time, the probe, not before `probe_at`."""

    failures: int = 0
    opened_at: int | None = None
    probe_at: int | None = None
    wait_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Whether only probes may be sent."""
        return self.opened_at is not None

    def to_json(self) -> dict[str, Any]:
        """The shape of an open breaker in every JSON document."""
        return {
            "failures": self.failures,
            "opened_at": iso_time(self.opened_at),
            "probe_at": iso_time(self.probe_at),
            "wait_ms": self.wait_ms,
        }


CLOSED: Final = Breaker()


def after_attempt(breaker: Breaker, health: Health, *, is_probe: bool, now: int) -> Breaker:
    """The breaker after an attempt that ended `now`; `is_probe`: it was let through while the breaker was open."""
    match health:
        case Health.UNTOLD:
            return breaker
        case Health.WORKS | Health.FAULT | Health.GONE:
            return CLOSED
        case Health.FAILED:
            return _after_failure(breaker, is_probe=is_probe, now=now)
        case _:
            assert_never(health)


def _after_failure(breaker: Breaker, *, is_probe: bool, now: int) -> Breaker:
    # 1. closed: counts, and opens at the tenth  2. open and a probe: wait longer  3. begun before it opened: no news
    failures = breaker.failures + 1
    if breaker.opened_at is None:
        if failures < BREAKER_FAILURES:
            return replace(breaker, failures=failures)
        return Breaker(failures, opened_at=now, probe_at=now + FIRST_WAIT_MS, wait_ms=FIRST_WAIT_MS)
    if is_probe:
        wait_ms = min(breaker.wait_ms * 2, LONGEST_WAIT_MS)
        return replace(breaker, failures=failures, probe_at=now + wait_ms, wait_ms=wait_ms)
    return breaker


def faults_after(faults: int, health: Health) -> int:
    """The destination's faults in a row after one more attempt."""
    match health:
        case Health.UNTOLD:
            return faults
        case Health.WORKS | Health.FAILED:
            return 0
        case Health.FAULT | Health.GONE:
            return faults + 1
        case _:
            assert_never(health)


def pause_reason(health: Health, faults: int, blame: str) -> str | None:
    """Why the webhook is paused after an attempt that made it `faults` in a row, in words; None: it is not. `blame`
    is what the attempt met."""
    if health is Health.GONE:
        return f"the destination wants nothing more: {blame}"
    if health is Health.FAULT and faults >= FAULTS_MAX:
        return f"the destination refused {faults} attempts in a row: {blame}"
    return None
