"""How a webhook's requests are made: what does not depend on the event, found once, and the rest for each delivery.

Called by `dispatch.flights`. Webhooks that are alike but for their URL, as the flows of one workspace are, share what
they can: a daemon may have ten thousand of them with little to do each. Nothing is sent here.
"""

from typing import Final

from reconciler.egress.deliver import Credentials, Deliverer
from reconciler.egress.form import EXAMPLE, UNSIGNED, Form
from reconciler.errors import TemplateError
from reconciler.models.credential import Signing
from reconciler.models.event import read_event
from reconciler.models.size import BODY_MAX, HEADER_MAX
from reconciler.models.webhook import Spec, Webhook, WebhookUid
from reconciler.request.draft import Draft
from reconciler.request.render import (
    Envelope,
    MakeBody,
    Prepared,
    blank_secrets,
    body_maker,
    envelope_of,
    shows_secrets,
)
from reconciler.request.sign import Signer, next_change, signatures_of, signers_of
from reconciler.request.size import check_body, size_of
from reconciler.store.base import Claimed

RECIPES_MAX: Final = 16_384  # more than one store has webhooks; above it all are made anew
PATTERNS_MAX: Final = 1_024  # recipes of which others are made; most daemons send to a few hosts with a few templates
NEVER: Final = 2**63  # later than any time in milliseconds
OWN_MAX: Final = 2_000  # bytes of the headers that each delivery has of its own: its id, and a few signatures


class Recipes:
    """The recipe of each webhook that was sent to lately; made anew where the webhook or a secret is another one."""

    def __init__(self, deliverer: Deliverer) -> None:
        self._deliverer = deliverer
        self._of: dict[WebhookUid, Recipe] = {}
        self._patterns: dict[object, Recipe] = {}  # by what their webhooks have in common with others

    def of(self, uid: WebhookUid, webhook: Webhook, secrets: dict[str, str]) -> "Recipe":
        """The recipe that holds now. Raises TemplateError and SecretError."""
        recipe = self._of.get(uid)
        if recipe is None or recipe.webhook is not webhook or recipe.secrets != secrets:
            recipe = self._made(webhook, secrets)
            if len(self._of) >= RECIPES_MAX:
                self._of.clear()
            self._of[uid] = recipe
        return recipe

    def _made(self, webhook: Webhook, secrets: dict[str, str]) -> "Recipe":
        common = _common_to(webhook.spec)
        if common is None:
            return Recipe(webhook, secrets, self._deliverer)
        pattern = self._patterns.get(common)
        if pattern is not None and pattern.secrets == secrets:
            recipe = pattern.elsewhere(webhook)
            if recipe is not None:
                return recipe
        recipe = Recipe(webhook, secrets, self._deliverer)
        if len(self._patterns) >= PATTERNS_MAX:
            self._patterns.clear()
        self._patterns[common] = recipe
        return recipe


class Recipe:
    """What does not depend on the event: credentials, the envelope as sent and as shown, its form on the wire, what
    makes bodies, and who signs.

    Raises TemplateError and SecretError, as its methods do.
    """

    __slots__ = (
        "_blank",
        "_credentials",
        "_deliverer",
        "_envelopes",
        "_has_body",
        "_is_body_shown_as_sent",
        "_make_body",
        "_signers",
        "_signers_from",
        "_signers_until",
        "_signing",
        "form",
        "pace_key",
        "secrets",
        "webhook",
    )

    def __init__(self, webhook: Webhook, secrets: dict[str, str], deliverer: Deliverer) -> None:
        spec = webhook.spec
        self.webhook = webhook
        self.secrets = secrets
        self.pace_key = webhook.pace_key
        self._deliverer = deliverer
        self._credentials: Credentials | None = deliverer.credentials(webhook, secrets)
        self._has_body = spec.method.has_body
        self._blank = blank_secrets(webhook)
        self._envelopes: tuple[Envelope, Envelope] | None = self._made_envelopes()  # as sent, and as shown
        self._signing: Signing | None = spec.signing
        self._signers: tuple[Signer, ...] = ()
        self._signers_from, self._signers_until = 0, 0  # milliseconds since the epoch
        self.form: Form | None = self._form(self._credentials)
        self._make_body: MakeBody | None = body_maker(spec) if self._has_body else None
        self._is_body_shown_as_sent = not shows_secrets(spec)
        if self._credentials.identity is not None:  # a context of TLS is large: it is asked for where it is needed
            self._credentials = None

    def elsewhere(self, webhook: Webhook) -> "Recipe | None":
        """The recipe of a webhook with the same secrets that differs in its name and its URL alone; None where that
        takes a look at all of it."""
        form = None if self.form is None else self.form.elsewhere(webhook.spec.url)
        if form is None:
            return None
        recipe = Recipe.__new__(Recipe)
        recipe.webhook = webhook
        recipe.secrets = self.secrets
        recipe.pace_key = webhook.pace_key
        recipe.form = form
        recipe._deliverer = self._deliverer
        recipe._credentials = self._credentials
        recipe._has_body = self._has_body
        recipe._envelopes = None
        recipe._blank = self._blank
        recipe._signing = self._signing
        recipe._signers = self._signers
        recipe._signers_from, recipe._signers_until = self._signers_from, self._signers_until
        recipe._make_body = self._make_body
        recipe._is_body_shown_as_sent = self._is_body_shown_as_sent
        return recipe

    @property
    def credentials(self) -> Credentials:
        """What the requests are sent with, on the long way."""
        return self._credentials or self._deliverer.credentials(self.webhook, self.secrets)

    def draft(self, claimed: Claimed, *, now: int) -> Draft:
        """What one delivery's request has of its own, signed at `now`."""
        body = shown_body = None
        if self._has_body:
            payload, own = read_event(claimed.raw, is_stored=True)
            make_body = self._make_body
            body = shown_body = own if make_body is None else make_body(payload, self.secrets)
            if len(body) > BODY_MAX:
                check_body(body)
            if make_body is not None and not self._is_body_shown_as_sent:
                shown_body = make_body(payload, self._blank)
        if self._signing is None:
            return Draft(claimed.delivery_id, "", "", body, shown_body)
        is_known = self._signers_from <= now < self._signers_until
        signers = self._signers if is_known else self._signers_at(self._signing, now)
        timestamp, signature = signatures_of(signers, claimed.delivery_id, body or b"", now=now)
        return Draft(claimed.delivery_id, timestamp, signature, body, shown_body)

    def prepared(self, draft: Draft) -> tuple[Prepared, Prepared]:
        """The request of a draft, and the same as people are shown it."""
        if self._envelopes is None:
            self._envelopes = self._made_envelopes()
        sent, shown = self._envelopes
        request = sent.of(draft, draft.body)
        return request, shown.of(draft, draft.shown_body) if self._blank else request

    def _made_envelopes(self) -> tuple[Envelope, Envelope]:
        sent = envelope_of(self.webhook, self.secrets)
        return sent, envelope_of(self.webhook, self._blank) if self._blank else sent

    def _form(self, credentials: Credentials) -> Form | None:
        """None where `Deliverer.send` is to see each request as a whole."""
        spec = self.webhook.spec
        is_signed = spec.signing is not None
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
            timeout_seconds=spec.timeout_in_sec,
            validators=spec.response_validators,
            credentials=credentials,
            is_signed=is_signed,
        )

    def _signers_at(self, signing: Signing, now: int) -> tuple[Signer, ...]:
        """Those whose window is open; found anew where one opens or closes, or the clock was set back."""
        self._signers = signers_of(signing, self.secrets, now=now)
        changes_at = next_change(signing, now=now)
        self._signers_from, self._signers_until = now, changes_at if changes_at is not None else NEVER
        return self._signers


def _common_to(spec: Spec) -> object | None:
    """All that requests are made of but the URL's path, equal only for webhooks whose requests are alike but for it;
    None for what equality does not tell: in a body or an expected value 1 is equal to true."""
    url, body, signing = spec.url, spec.body_template, spec.signing
    path_at = url.find("/", len("https://"))
    if path_at < 0 or isinstance(body, dict) or spec.response_validators or spec.query:
        return None
    return (
        url[:path_at],
        body,
        spec.method,
        spec.content_type,
        spec.timeout_in_sec,
        spec.auth,
        spec.tls,
        None if signing is None else tuple([(key.key, key.not_before, key.not_after) for key in signing.keys]),
        tuple(spec.headers.items()),
        tuple(spec.partials.items()),
    )
