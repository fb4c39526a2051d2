"""An attempt's two ends: the request made from what was claimed, and the row made from what became of it.

Called by the worker, which does the sending between the two. What a result means is decided in `dispatch.retry`.
"""

from typing import Final

from reconciler.dispatch import retry
from reconciler.errors import TemplateError
from reconciler.models.delivery import AttemptResult, Outcome, State, iso_time
from reconciler.models.event import read_event
from reconciler.models.health import Health
from reconciler.models.webhook import Webhook
from reconciler.observe.log import log
from reconciler.request.render import Prepared, blank_secrets, render_request
from reconciler.request.sign import signed
from reconciler.store.base import Claimed, Finished

BLAME_CHARACTERS: Final = 200  # of what an attempt met, in the reason of a pause


def prepare(webhook: Webhook, claimed: Claimed, secrets: dict[str, str], *, now: int) -> tuple[Prepared, Prepared]:
    """The request with its secrets, signed at `now`, and the same as people are shown it. Raises TemplateError and
    SecretError."""
    payload, own = read_event(claimed.raw)
    prepared = render_request(webhook, payload, own, secrets=secrets, delivery_id=claimed.delivery_id)
    shown, blank = prepared, blank_secrets(webhook)
    if blank:
        shown = render_request(webhook, payload, own, secrets=blank, delivery_id=claimed.delivery_id)
    return signed(prepared, shown, webhook.spec.signing, secrets=secrets, now=now)


def describe_fault(exc: TemplateError) -> str:
    """Why no request could be made, on one line, with the place in the template."""
    place = "" if exc.line is None else f" at line {exc.line}, column {exc.column} of the template"
    return f"{exc.message}{place}; {exc.hint}" if exc.hint else f"{exc.message}{place}"


def conclude(claimed: Claimed, webhook: Webhook | None, result: AttemptResult, *, now: int, rand: float) -> Finished:
    """What is written for an attempt, and its line in the log.

    `webhook` is the one the attempt was made for, or that is live now; None: it is gone, and what was not delivered
    goes back to the store, which cancels it.
    """
    judged = retry.judge(result, webhook.spec.retry if webhook else None)
    finished = _finished(claimed, webhook, judged, now=now, rand=rand)
    _log(claimed, webhook, judged, finished)
    return finished


def _log(claimed: Claimed, webhook: Webhook | None, judged: AttemptResult, finished: Finished) -> None:
    """The one line of an attempt: what was tried, with which revision, what came of it, how long and how much it was,
    and what follows."""
    timings, response = judged.timings, judged.response
    log(
        "delivery.attempted",
        delivery=claimed.delivery_id,
        event_id=claimed.event_id,
        webhook=webhook.name if webhook else claimed.webhook_uid,
        attempt=claimed.number,
        max_attempts=webhook.spec.retry.max_attempts if webhook else None,
        outcome=judged.outcome,
        status=judged.status,
        fault=judged.fault,
        detail=judged.detail or None,
        revision=claimed.revision,
        commit=claimed.commit,
        probe=claimed.is_probe or None,
        address=judged.address,
        dns_ms=_tenths(timings.dns_ms),
        connect_ms=_tenths(timings.connect_ms),
        tls_ms=_tenths(timings.tls_ms),
        first_byte_ms=_tenths(timings.first_byte_ms),
        duration_ms=_tenths(timings.total_ms),
        sent_bytes=judged.sent_bytes,
        received_bytes=response.body_bytes if response is not None else None,
        state=finished.state,
        reason=finished.reason,
        next_attempt_at=iso_time(finished.next_attempt_at),
    )


def _tenths(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)


def _finished(claimed: Claimed, webhook: Webhook | None, judged: AttemptResult, *, now: int, rand: float) -> Finished:
    assert judged.outcome is not None
    if webhook is None:
        is_delivered = judged.outcome is Outcome.DELIVERED
        decision = retry.Decision(
            State.DELIVERED if is_delivered else State.PENDING, next_attempt_at=None if is_delivered else now
        )
    else:
        decision = retry.decide(
            webhook.spec.retry,
            judged,
            counted=claimed.counted,
            started_at=claimed.started_at,
            give_up_at=claimed.give_up_at,
            now=now,
            rand=rand,
            is_probe=claimed.is_probe,
        )
    return Finished(
        seq=claimed.seq,
        token=claimed.token,
        number=claimed.number,
        finished_at=now,
        outcome=judged.outcome,
        result=judged.to_json(),
        state=decision.state,
        reason=decision.reason,
        next_attempt_at=decision.next_attempt_at,
        is_counted=decision.is_counted,
        give_up_at=decision.give_up_at,
        blocked_until=decision.blocked_until,
        health=Health.UNTOLD if webhook is None else retry.health_of(judged, webhook.spec.retry),
        blame=judged.detail[:BLAME_CHARACTERS],
    )
