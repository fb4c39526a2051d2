"""The canonical line of an attempt: one for each, with all that explains it and no secret.

Called by `dispatch.attempt` when it is known what follows.
"""

from types import NoneType
from typing import Any, Final

from reconciler.models.delivery import AttemptResult, Outcome, State, iso_time
from reconciler.models.webhook import Webhook
from reconciler.observe.log import Pattern, log
from reconciler.store.base import Claimed, Finished

EVENT: Final = "delivery.attempted"


def _pattern(commit: type) -> Pattern:
    return Pattern(
        EVENT,
        delivery=str,
        event_id=str,
        webhook=str,
        attempt=int,
        max_attempts=int,
        outcome=Outcome.DELIVERED,
        status=int,
        fault=None,
        detail=None,
        revision=int,
        commit=commit,
        probe=None,
        address=str,
        dns_ms=None,
        connect_ms=None,
        tls_ms=None,
        first_byte_ms=float,
        duration_ms=float,
        sent_bytes=int,
        received_bytes=int,
        state=State.DELIVERED,
        reason=None,
        next_attempt_at=None,
    )


# Delivered over a connection that was open: nearly all lines there are.
_DELIVERED: Final = _pattern(str)
_DELIVERED_UNCOMMITTED: Final = _pattern(NoneType)


def log_attempt(claimed: Claimed, webhook: Webhook | None, finished: Finished) -> None:
    """What was tried, with which revision, what came of it, how long and how much it was, and what follows."""
    if (
        webhook is None
        or finished.state is not State.DELIVERED
        or not _log_delivered(claimed, webhook, finished.result)
    ):
        log(EVENT, **_facts(claimed, webhook, finished))


def _log_delivered(claimed: Claimed, webhook: Webhook, judged: AttemptResult) -> bool:
    """Write the line by its pattern; False where it has none."""
    response, commit = judged.response, claimed.commit
    dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms = judged.timings
    is_reused = dns_ms is None and connect_ms is None and tls_ms is None
    if not is_reused or first_byte_ms is None or response is None or judged.detail or claimed.is_probe:
        return False
    return (_DELIVERED_UNCOMMITTED if commit is None else _DELIVERED).write(
        claimed.delivery_id,
        claimed.event_id,
        webhook.metadata.name,
        claimed.number,
        webhook.spec.retry.max_attempts,
        judged.status,
        claimed.revision,
        commit,
        judged.address or "",
        first_byte_ms,
        total_ms,
        judged.sent_bytes,
        response.body_bytes,
    )


def _facts(claimed: Claimed, webhook: Webhook | None, finished: Finished) -> dict[str, Any]:
    judged = finished.result
    timings, response = judged.timings, judged.response
    return {
        "delivery": claimed.delivery_id,
        "event_id": claimed.event_id,
        "webhook": webhook.name if webhook else claimed.webhook_uid,
        "attempt": claimed.number,
        "max_attempts": webhook.spec.retry.max_attempts if webhook else None,
        "outcome": judged.outcome,
        "status": judged.status,
        "fault": judged.fault,
        "detail": judged.detail or None,
        "revision": claimed.revision,
        "commit": claimed.commit,
        "probe": claimed.is_probe or None,
        "address": judged.address,
        "dns_ms": _rounded(timings.dns_ms),
        "connect_ms": _rounded(timings.connect_ms),
        "tls_ms": _rounded(timings.tls_ms),
        "first_byte_ms": _rounded(timings.first_byte_ms),
        "duration_ms": _rounded(timings.total_ms),
        "sent_bytes": judged.sent_bytes,
        "received_bytes": response.body_bytes if response is not None else None,
        "state": finished.state,
        "reason": finished.reason,
        "next_attempt_at": iso_time(finished.next_attempt_at),
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
