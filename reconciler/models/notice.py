"""What the daemon tells of its webhooks, and when: which attempts make one failing and which recovered. Pure.

Reckoned by the stores in the transaction that records the attempt, for the whole fleet; `dispatch.herald` makes events
of it. Nothing is ever told of attempts that carry operational events, so that none begets another. Times are
milliseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.models.health import Health
from reconciler.models.webhook import Trigger, WebhookUid

FAILURES_MAX: Final = 3  # in a row of one webhook: it is failing; before the breaker and the pause, and after a blip
COALESCE_MS: Final = 60_000  # facts of one webhook and kind within this are told as one event
FIRST_DEAD: Final = 5  # dead deliveries that an event names
STATE_TRIGGERS: Final = (Trigger.WEBHOOK_FAILING, Trigger.WEBHOOK_PAUSED, Trigger.WEBHOOK_RECOVERED)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a webhook is: its failures in a row, since when, and since when it counts as failing or paused."""

    failures: int = 0
    failing_since: int | None = None
    troubled_at: int | None = None

    def after(self, health: Health, *, is_delivered: bool, at: int) -> "Condition":
        """The condition after an attempt that ended `at`; the trouble stays until something is delivered."""
        match health:
            case Health.UNTOLD:
                return self
            case Health.WORKS:
                return Condition(troubled_at=None if is_delivered else self.troubled_at)
            case Health.FAILED | Health.FAULT | Health.GONE:
                since = at if self.failing_since is None else self.failing_since
                return replace(self, failures=self.failures + 1, failing_since=since)

    def troubled(self, at: int) -> "Condition":
        """The same, counting as failing or paused from now on."""
        return replace(self, troubled_at=at) if self.troubled_at is None else self


@dataclass(frozen=True, slots=True)
class Notice:
    """Facts of one kind about one webhook that are still to be told. `number` of them, the first at `since`, the last
    at `last_at`; `body` holds what `models.operational` says of them; `webhook` is its last name."""

    id: int
    trigger: Trigger
    webhook_uid: WebhookUid
    webhook: str
    number: int
    since: int
    last_at: int
    body: Mapping[str, Any]


def due_at(*, at: int, told_at: int | None) -> int:
    """When a fact that happens `at` is told: at once, or when the last event of its kind is a minute old."""
    return at if told_at is None else max(at, min(told_at, at) + COALESCE_MS)


def merged(trigger: Trigger, before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of facts and one more: the newest, but of dead deliveries all counts and the first ones."""
    if trigger is not Trigger.DELIVERY_DEAD:
        return dict(new)
    reasons = dict(before.get("reasons") or {})
    for reason, number in (new.get("reasons") or {}).items():
        reasons[reason] = reasons.get(reason, 0) + number
    dead = [*(before.get("deliveries") or ()), *(new.get("deliveries") or ())][:FIRST_DEAD]
    return {**new, "reasons": reasons, "deliveries": dead}
