"""The retry policy: what an attempt's result means, and when the delivery is tried again. Pure.

The one home of the table and the arithmetic. `now` and `rand` are arguments; times are milliseconds since the epoch.
"""

from enum import StrEnum
from typing import Final, NamedTuple, assert_never

from reconciler.models.delivery import AttemptResult, DeliveryControl, Fault, Outcome, Reason, State
from reconciler.models.health import Health
from reconciler.models.webhook import Retry

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})  # beside every 5xx
DESTINATION_STATUSES: Final = frozenset({401, 403, 404, 410})  # the destination is wrong, not the event: worth a retry
GONE_STATUS: Final = 410
THROTTLE_STATUSES: Final = frozenset({429, 503})  # with these a Retry-After holds back the whole pace key
TOKEN_SECONDS: Final = 1.0  # after which a delivery without an access token is due; its lane stays closed for longer
# The least that a pace key is held after a 429, be it that no time is named, or one that is over (a receiver's clock is
# behind ours): nothing that is throttled counts, so nothing else would end its repetition. Okta's window is a second.
THROTTLED_SECONDS: Final = 1.0


class Destination(StrEnum):
    """What an attempt tells of where it was sent, beside what it tells of its delivery."""

    RIGHT = "right"  # somebody answered, or something broke on the way: no reason to doubt the destination
    FAULT = "fault"  # 401 (with a fresh token), 403 or 404: several in a row pause the webhook
    GONE = "gone"  # 410, or the receiver asked for it: pauses the webhook at once
    UNTOLD = "untold"  # nothing was sent, or nobody saw the end of it: counts neither for nor against it


class Decision(NamedTuple):
    """What follows from an attempt; the fields are those of `store.base.Finished` from `state` to `blocked_until`, in
    their order."""

    state: State
    reason: Reason | None = None
    next_attempt_at: int | None = None
    is_counted: bool = True
    give_up_at: int | None = None
    blocked_until: int | None = None


def is_well(result: AttemptResult) -> bool:
    """Whether a result, as nearly all, needs no table: delivered, by a receiver that is well and wants nothing."""
    return result.fault is None and result.control is None


def judge(result: AttemptResult, retry: Retry | None = None) -> AttemptResult:
    """The result with its outcome, by status, fault and whether anything was written; and, where the policy honours
    it, by the receiver's wish that a failed delivery is not tried again. Its detail tells what the receiver wishes."""
    outcome = _outcome(result)
    is_honoured = retry is not None and retry.honour_webhook_delivery
    if is_honoured and result.control is DeliveryControl.ABORT_MESSAGE and outcome is not Outcome.DELIVERED:
        detail = f"{result.detail}, and asked not to be sent this again (webhook-delivery: abort-message)"
        return result._replace(outcome=Outcome.PERMANENT, detail=detail)
    if is_honoured and result.control is DeliveryControl.DISABLE:
        told = f"{result.detail}, and" if result.detail else "the receiver"
        detail = f"{told} asked to be sent nothing more (webhook-delivery: disable)"
        return result._replace(outcome=outcome, detail=detail)
    return result.judged(outcome)


def destination_of(result: AttemptResult, retry: Retry) -> Destination:
    """What the result of an attempt tells of its destination; 410 and `webhook-delivery: disable` say the same."""
    if retry.honour_webhook_delivery and result.control is DeliveryControl.DISABLE:
        return Destination.GONE
    if result.fault is Fault.STATUS and result.status in DESTINATION_STATUSES:
        return Destination.GONE if result.status == GONE_STATUS else Destination.FAULT
    match result.fault:
        case None:
            return Destination.RIGHT
        case Fault.TOKEN | Fault.SECRET | Fault.RENDER | Fault.SHUTDOWN | Fault.LEASE_EXPIRED:
            return Destination.UNTOLD
        case _:
            return Destination.RIGHT


def health_of(result: AttemptResult, retry: Retry) -> Health:
    """What the result of an attempt tells of its receiver: what breakers and pauses count."""
    if is_well(result):
        return Health.WORKS
    match destination_of(result, retry):
        case Destination.GONE:
            return Health.GONE
        case Destination.FAULT:
            return Health.FAULT
        case Destination.UNTOLD:
            return Health.UNTOLD
        case Destination.RIGHT:
            return _health(result)
        case destination:
            assert_never(destination)


def _health(result: AttemptResult) -> Health:
    # 1. our own fault, before anybody was dialled  2. an answer that the receiver stands by, or that asks to wait
    # 3. no answer, or one by which it cannot
    if result.fault is Fault.PROTOCOL and result.address is None:
        return Health.UNTOLD
    stands = _outcome(result) in (Outcome.DELIVERED, Outcome.PERMANENT) or result.status == 429
    return Health.WORKS if stands else Health.FAILED


def _outcome(result: AttemptResult) -> Outcome:
    # 1. no fault: a 2xx  2. an answer that is not 2xx: by its status  3. no answer: by phase
    if result.fault is None:
        return Outcome.DELIVERED
    match result.fault:
        case Fault.STATUS:
            return _outcome_of_status(result.status or 0)
        case Fault.DNS | Fault.REFUSED_ADDRESS | Fault.CONNECT | Fault.CONNECT_TIMEOUT | Fault.TLS | Fault.SECRET:
            return Outcome.RETRYABLE
        case Fault.VALIDATOR | Fault.TOKEN:
            return Outcome.RETRYABLE
        case Fault.TIMEOUT | Fault.RESET | Fault.PROTOCOL | Fault.SHUTDOWN:
            return Outcome.UNKNOWN if result.wrote else Outcome.RETRYABLE
        case Fault.LEASE_EXPIRED:
            return Outcome.UNKNOWN
        case Fault.RENDER:
            return Outcome.PERMANENT
        case _:
            assert_never(result.fault)


def _outcome_of_status(status: int) -> Outcome:
    if status >= 500 or status in RETRYABLE_STATUSES or status in DESTINATION_STATUSES:
        return Outcome.RETRYABLE
    return Outcome.PERMANENT


def decide(
    retry: Retry,
    result: AttemptResult,
    *,
    counted: int,
    started_at: int,
    give_up_at: int | None,
    now: int,
    rand: float,
    is_probe: bool = False,
) -> Decision:
    """What becomes of the delivery after a judged attempt.

    `counted` attempts before this one count toward max_attempts; `give_up_at` is None at the first attempt; `rand` is
    uniform in [0, 1). A probe of an open breaker that fails is no attempt of the delivery's own: it counts for nothing.
    """
    deadline = deadline_of(retry, started_at, give_up_at)
    match result.outcome:
        case Outcome.DELIVERED:
            return Decision(State.DELIVERED, give_up_at=deadline)
        case Outcome.PERMANENT:
            reason = Reason.RENDER if result.fault is Fault.RENDER else Reason.PERMANENT
            return Decision(State.DEAD, reason, give_up_at=deadline)
        case Outcome.UNKNOWN if not retry.retry_unknown:
            return Decision(State.DEAD, Reason.UNKNOWN, give_up_at=deadline)
        case Outcome.RETRYABLE if result.fault is Fault.TOKEN:
            return _wait_for_token(result, deadline=deadline, now=now)
        case Outcome.UNKNOWN | Outcome.RETRYABLE:
            health = health_of(result, retry)
            if health is Health.GONE or (is_probe and health is Health.FAILED):
                blocked_until = _blocked_until(result, now)  # due at once: the pause, or the breaker, holds it back
                return Decision(State.PENDING, None, now, False, deadline, blocked_until)
            return _try_again(retry, result, counted=counted, deadline=deadline, now=now, rand=rand)
        case None:
            raise ValueError("an attempt is judged before anything follows from it")
        case _:
            assert_never(result.outcome)


def deadline_of(retry: Retry, started_at: int, give_up_at: int | None) -> int:
    """When a delivery is given up whose attempt began at `started_at`; from its first attempt on it is known."""
    return give_up_at if give_up_at is not None else started_at + milliseconds(retry.give_up_after.total_seconds())


def _wait_for_token(result: AttemptResult, *, deadline: int, now: int) -> Decision:
    """The token endpoint keeps the delivery waiting, not its receiver: it counts for nothing, its clock stands."""
    waits_until = deadline + milliseconds(result.retry_after_seconds or 0.0)
    return Decision(State.PENDING, None, now + milliseconds(TOKEN_SECONDS), False, waits_until)


def _try_again(retry: Retry, result: AttemptResult, *, counted: int, deadline: int, now: int, rand: float) -> Decision:
    is_counted = result.status != 429
    counted += is_counted
    blocked_until = _blocked_until(result, now)
    if counted >= retry.max_attempts:
        return Decision(State.DEAD, Reason.EXHAUSTED, give_up_at=deadline, blocked_until=blocked_until)
    delay = milliseconds(delay_seconds(retry, max(counted, 1), rand))
    next_attempt_at = now + max(delay, milliseconds(result.retry_after_seconds or 0.0))
    if not is_counted:
        # a throttled delivery waits for the receiver, not for its own schedule; its clock stands still meanwhile
        next_attempt_at = blocked_until if blocked_until is not None else next_attempt_at
        deadline += next_attempt_at - now
    elif blocked_until is not None:
        deadline += max(0, blocked_until - (now + delay))  # beyond its own schedule it waits as its whole pace key does
    if is_counted and next_attempt_at > deadline:
        return Decision(State.DEAD, Reason.EXPIRED, give_up_at=deadline, blocked_until=blocked_until)
    return Decision(State.PENDING, None, next_attempt_at, is_counted, deadline, blocked_until)


def _blocked_until(result: AttemptResult, now: int) -> int | None:
    if result.status not in THROTTLE_STATUSES:
        return None
    if result.status == 429:
        return now + milliseconds(max(result.retry_after_seconds or 0.0, THROTTLED_SECONDS))
    return None if result.retry_after_seconds is None else now + milliseconds(result.retry_after_seconds)


def delay_seconds(retry: Retry, counted: int, rand: float) -> float:
    """The wait after `counted` attempts (from 1): the schedule's entry, the last one repeating, spread by ± jitter."""
    base = retry.schedule[min(counted, len(retry.schedule)) - 1].total_seconds()
    return base * (1 + retry.jitter * (2 * rand - 1))


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)
