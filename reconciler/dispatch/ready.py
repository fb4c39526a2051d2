"""Whether a webhook can be sent at a moment, the values that it needs for it, and when that may change by itself.

Called by the lanes, which hold back what cannot be sent, by the worker for each attempt, and by tests of webhooks.
Sends and decides nothing about a delivery.
"""

from collections.abc import Iterable

from reconciler.egress.auth import Trouble
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import SecretError
from reconciler.models.webhook import Webhook
from reconciler.request.sign import next_change, signers_of


def secrets_of(
    webhook: Webhook, resolver: SecretResolver, *, now: int, read: dict[str, str] | None = None
) -> dict[str, str]:
    """The value of each secret that a request needs at `now`, in milliseconds since the epoch: not those of signing
    keys whose window is closed. `read` has what was read for other webhooks just before. Raises SecretError."""
    return resolver.values(webhook, idle=webhook.idle_secrets(now), read=read)


def why_held(webhook: Webhook, resolver: SecretResolver, deliverer: Deliverer, *, now: int) -> str | None:
    """Why nothing can be sent at `now`, as one line for people, or None."""
    try:
        secrets = secrets_of(webhook, resolver, now=now)
        if webhook.spec.signing is not None:
            signers_of(webhook.spec.signing, secrets, now=now)
        deliverer.credentials(webhook, secrets)
    except SecretError as exc:
        return exc.message
    return None


def trouble_of(webhook: Webhook, resolver: SecretResolver, deliverer: Deliverer, *, now: int) -> Trouble | None:
    """Why the webhook's client gets no access token for a while; of a webhook that is not held."""
    if webhook.spec.auth is None or webhook.spec.auth.oauth2 is None:
        return None
    try:
        client = deliverer.credentials(webhook, secrets_of(webhook, resolver, now=now)).client
    except SecretError:  # it has ceased to be readable since
        return None
    return None if client is None else deliverer.tokens.trouble(client)


def turns_at(webhooks: Iterable[Webhook], *, now: int) -> int | None:
    """When one of the webhooks next begins or ceases to be held by the clock alone; None: never."""
    changes = (next_change(hook.spec.signing, now=now) for hook in webhooks if hook.spec.signing is not None)
    return min((at for at in changes if at is not None), default=None)
