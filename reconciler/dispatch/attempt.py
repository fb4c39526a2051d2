"""An attempt's two ends: the request made from what was claimed, and the row made from what became of it.

Called by the worker, which does the sending between the two. What a result means is decided in `dispatch.retry`.
"""

from typing import Final

from reconciler.dispatch import retry
from reconciler.errors import TemplateError
from reconciler.models.credential import Signing
from reconciler.models.delivery import AttemptResult, Outcome, State, iso_time
from reconciler.models.event import read_event
from reconciler.models.health import Health
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.observe.log import log
from reconciler.request.render import Prepared, blank_secrets, envelope_of, render_body, shows_secrets
from reconciler.request.sign import Signer, next_change, signed_by, signers_of
from reconciler.store.base import Claimed, Finished

RECIPES_MAX: Final = 16_384  # more than one store has webhooks; above it all are made anew
NEVER: Final = 2**63  # later than any time in milliseconds
BLAME_CHARACTERS: Final = 200  # of what an attempt met, in the reason of a pause


def prepare(webhook: Webhook, claimed: Claimed, secrets: dict[str, str], *, now: int) -> tuple[Prepared, Prepared]:
    """The request with its secrets, signed at `now`, and the same as people are shown it. Raises TemplateError and
    SecretError."""
    return Recipe(webhook, secrets).prepare(claimed, now=now)


class Recipes:
    """The recipe of each webhook that was sent to lately; made anew where the webhook or a secret is another one."""

    def __init__(self) -> None:
        self._of: dict[WebhookUid, Recipe] = {}

    def prepare(
        self, webhook: Webhook, claimed: Claimed, secrets: dict[str, str], *, now: int
    ) -> tuple[Prepared, Prepared]:
        """`prepare`, without what an earlier attempt has found out already."""
        recipe = self._of.get(claimed.webhook_uid)
        if recipe is None or recipe.webhook is not webhook or recipe.secrets != secrets:
            recipe = Recipe(webhook, secrets)
            if len(self._of) >= RECIPES_MAX:
                self._of.clear()
            self._of[claimed.webhook_uid] = recipe
        return recipe.prepare(claimed, now=now)


class Recipe:
    """What does not depend on the event: the envelope, as sent and as shown, and who signs. Raises as `prepare`."""

    def __init__(self, webhook: Webhook, secrets: dict[str, str]) -> None:
        self.webhook = webhook
        self.secrets = secrets
        self._sent = self._shown = envelope_of(webhook, secrets)
        self._blank = blank_secrets(webhook)
        if self._blank:
            self._shown = envelope_of(webhook, self._blank)
        self._is_body_shown_as_sent = not shows_secrets(webhook.spec)
        self._signers: tuple[Signer, ...] = ()
        self._signers_from, self._signers_until = 0, 0  # milliseconds since the epoch

    def prepare(self, claimed: Claimed, *, now: int) -> tuple[Prepared, Prepared]:
        """The request of one delivery, and the same as people are shown it."""
        spec = self.webhook.spec
        body = shown_body = None
        if spec.method.has_body:
            payload, own = read_event(claimed.raw, is_stored=True)
            body = shown_body = render_body(spec, payload, own, secrets=self.secrets)
            if not self._is_body_shown_as_sent:
                shown_body = render_body(spec, payload, own, secrets=self._blank)
        prepared = shown = self._sent.around(body, claimed.delivery_id)
        if self._blank:
            shown = self._shown.around(shown_body, claimed.delivery_id)
        if spec.signing is None:
            return prepared, shown
        return signed_by(self._signers_at(spec.signing, now), prepared, shown, now=now)

    def _signers_at(self, signing: Signing, now: int) -> tuple[Signer, ...]:
        """Those whose window is open; found anew where one opens or closes, or the clock was set back."""
        if not self._signers_from <= now < self._signers_until:
            self._signers = signers_of(signing, self.secrets, now=now)
            changes_at = next_change(signing, now=now)
            self._signers_from, self._signers_until = now, changes_at if changes_at is not None else NEVER
        return self._signers


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
