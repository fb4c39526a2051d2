"""An attempt's two ends: the request made from what was claimed, and the row made from what became of it.

Called by the worker, which does the sending between the two. What a result means is decided in `dispatch.retry`.
"""

from typing import Final

from reconciler.dispatch import retry
from reconciler.dispatch.line import log_attempt
from reconciler.egress.deliver import Credentials, Deliverer
from reconciler.egress.form import EXAMPLE, UNSIGNED, Form
from reconciler.errors import TemplateError
from reconciler.models.credential import Signing
from reconciler.models.delivery import AttemptResult, Outcome, State
from reconciler.models.event import read_event
from reconciler.models.health import Health
from reconciler.models.size import HEADER_MAX
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.request.draft import Draft
from reconciler.request.render import Prepared, blank_secrets, envelope_of, render_body, shows_secrets
from reconciler.request.sign import Signer, next_change, signatures_of, signers_of
from reconciler.request.size import check_body, size_of
from reconciler.store.base import Claimed, Finished

RECIPES_MAX: Final = 16_384  # more than one store has webhooks; above it all are made anew
NEVER: Final = 2**63  # later than any time in milliseconds
OWN_MAX: Final = 2_000  # bytes of the headers that each delivery has of its own: its id, and a few signatures
BLAME_CHARACTERS: Final = 200  # of what an attempt met, in the reason of a pause


class Recipes:
    """The recipe of each webhook that was sent to lately; made anew where the webhook or a secret is another one."""

    def __init__(self, deliverer: Deliverer) -> None:
        self._deliverer = deliverer
        self._of: dict[WebhookUid, Recipe] = {}

    def of(self, uid: WebhookUid, webhook: Webhook, secrets: dict[str, str]) -> "Recipe":
        """The recipe that holds now. Raises TemplateError and SecretError."""
        recipe = self._of.get(uid)
        if recipe is None or recipe.webhook is not webhook or recipe.secrets != secrets:
            recipe = Recipe(webhook, secrets, self._deliverer)
            if len(self._of) >= RECIPES_MAX:
                self._of.clear()
            self._of[uid] = recipe
        return recipe


class Recipe:
    """What does not depend on the event: credentials, the envelope as sent and as shown, its form on the wire, and who
    signs.

    Raises TemplateError and SecretError, as its methods do.
    """

    def __init__(self, webhook: Webhook, secrets: dict[str, str], deliverer: Deliverer) -> None:
        self.webhook = webhook
        self.secrets = secrets
        self.pace_key = webhook.pace_key
        self._deliverer = deliverer
        self._credentials: Credentials | None = deliverer.credentials(webhook, secrets)
        self._has_body = webhook.spec.method.has_body
        self._sent = self._shown = envelope_of(webhook, secrets)
        self._blank = blank_secrets(webhook)
        if self._blank:
            self._shown = envelope_of(webhook, self._blank)
        self._is_body_shown_as_sent = not shows_secrets(webhook.spec)
        self._signers: tuple[Signer, ...] = ()
        self._signers_from, self._signers_until = 0, 0  # milliseconds since the epoch
        self.form = self._form(self._credentials)
        if self._credentials.identity is not None:  # a context of TLS is large: it is asked for where it is needed
            self._credentials = None

    @property
    def credentials(self) -> Credentials:
        """What the requests are sent with, on the long way."""
        return self._credentials or self._deliverer.credentials(self.webhook, self.secrets)

    def draft(self, claimed: Claimed, *, now: int) -> Draft:
        """What one delivery's request has of its own, signed at `now`."""
        spec = self.webhook.spec
        body = shown_body = None
        if self._has_body:
            payload, own = read_event(claimed.raw, is_stored=True)
            body = shown_body = render_body(spec, payload, own, secrets=self.secrets)
            check_body(body)
            if not self._is_body_shown_as_sent:
                shown_body = render_body(spec, payload, own, secrets=self._blank)
        timestamp = signature = ""
        if spec.signing is not None:
            signers = self._signers_at(spec.signing, now)
            timestamp, signature = signatures_of(signers, claimed.delivery_id, body or b"", now=now)
        return Draft(claimed.delivery_id, timestamp, signature, body, shown_body)

    def prepared(self, draft: Draft) -> tuple[Prepared, Prepared]:
        """The request of a draft, and the same as people are shown it."""
        sent = self._sent.of(draft, draft.body)
        return sent, self._shown.of(draft, draft.shown_body) if self._blank else sent

    def _form(self, credentials: Credentials) -> Form | None:
        """None where `Deliverer.send` is to see each request as a whole."""
        is_signed = self.webhook.spec.signing is not None
        example = EXAMPLE if is_signed else UNSIGNED
        body = example.body if self._has_body else None
        try:
            sent, shown = self.prepared(example._replace(body=body, shown_body=body))
        except TemplateError:
            return None
        if size_of(sent.headers) + OWN_MAX > HEADER_MAX:
            return None
        return self._deliverer.form(
            sent,
            shown,
            timeout_seconds=self.webhook.spec.timeout_in_sec,
            validators=self.webhook.spec.response_validators,
            credentials=credentials,
            is_signed=is_signed,
        )

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
    log_attempt(claimed, webhook, judged, finished)
    return finished


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
    health = Health.UNTOLD if webhook is None else retry.health_of(judged, webhook.spec.retry)
    blame = judged.detail[:BLAME_CHARACTERS]
    return Finished(
        claimed.seq, claimed.token, claimed.number, now, judged.outcome, judged, *decision, health=health, blame=blame
    )
