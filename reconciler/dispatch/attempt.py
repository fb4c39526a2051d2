"""An attempt's end: the row made from what became of it, and its line in the log.

Called by `dispatch.flights` for each attempt, made or not. What a result means is decided in `dispatch.retry`.
"""

from typing import Final

from reconciler.dispatch import retry
from reconciler.dispatch.line import log_attempt
from reconciler.errors import TemplateError
from reconciler.models.delivery import AttemptResult, Outcome, State
from reconciler.models.health import Health
from reconciler.models.webhook import Webhook
from reconciler.store.base import Claimed, Finished

BLAME_CHARACTERS: Final = 200  # of what an attempt met, in the reason of a pause


def describe_fault(exc: TemplateError) -> str:
    """Why no request could be made, on one line, with the place in the template."""
    place = "" if exc.line is None else f" at line {exc.line}, column {exc.column} of the template"
    return f"{exc.message}{place}; {exc.hint}" if exc.hint else f"{exc.message}{place}"


def conclude(claimed: Claimed, webhook: Webhook | None, result: AttemptResult, *, now: int, rand: float) -> Finished:
    """What is written for an attempt, and its line in the log.

    `webhook` is the one the attempt was made for, or that is live now; None: it is gone, and what was not delivered
    goes back to the store, which cancels it.
    """
    if webhook is not None and retry.is_well(result):
        judged, health = result.judged(Outcome.DELIVERED), Health.WORKS
        give_up_at = retry.deadline_of(webhook.spec.retry, claimed.started_at, claimed.give_up_at)
        decision = retry.Decision(State.DELIVERED, give_up_at=give_up_at)
    else:
        judged = retry.judge(result, webhook.spec.retry if webhook else None)
        health = Health.UNTOLD if webhook is None else retry.health_of(judged, webhook.spec.retry)
        decision = _decided(claimed, webhook, judged, now=now, rand=rand)
    assert judged.outcome is not None
    blame = judged.detail[:BLAME_CHARACTERS]
    finished = Finished(
        claimed.seq, claimed.token, claimed.number, now, judged.outcome, judged, *decision, health=health, blame=blame
    )
    log_attempt(claimed, webhook, finished)
    return finished


def _decided(
    claimed: Claimed, webhook: Webhook | None, judged: AttemptResult, *, now: int, rand: float
) -> retry.Decision:
    if webhook is None:
        is_delivered = judged.outcome is Outcome.DELIVERED
        return retry.Decision(
            State.DELIVERED if is_delivered else State.PENDING, next_attempt_at=None if is_delivered else now
        )
    return retry.decide(
        webhook.spec.retry,
        judged,
        counted=claimed.counted,
        started_at=claimed.started_at,
        give_up_at=claimed.give_up_at,
        now=now,
        rand=rand,
        is_probe=claimed.is_probe,
    )
