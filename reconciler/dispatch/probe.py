"""One test send, through the same code as production: render, secrets, transport, retry table.

For `reconciler test` and `apply --verify`. Nothing is stored and nothing is retried; what comes back is the invocation
data and what to check on failure.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from reconciler import jsontext
from reconciler.dispatch import retry
from reconciler.dispatch.attempt import describe_fault
from reconciler.dispatch.ready import secrets_of
from reconciler.egress.advice import what_to_check
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import SecretError, TemplateError
from reconciler.jsontext import JsonValue
from reconciler.models.delivery import AttemptResult, DeliveryId, Fault, Outcome, delivery_id
from reconciler.models.webhook import Webhook
from reconciler.request.render import Prepared, blank_secrets, render_request
from reconciler.request.sign import signed


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a test send came to."""

    webhook: str
    delivery_id: DeliveryId
    result: AttemptResult
    checks: tuple[str, ...]

    @property
    def is_successful(self) -> bool:
        """Whether production would have counted the delivery as delivered."""
        return self.result.outcome is Outcome.DELIVERED

    def to_json(self) -> dict[str, Any]:
        """The shape of `test --format json`."""
        return {
            "webhook": self.webhook,
            "successful": self.is_successful,
            "delivery_id": self.delivery_id,
            "check": list(self.checks),
            **self.result.to_json(),
        }


async def probe(
    webhook: Webhook,
    payload: dict[str, JsonValue],
    *,
    deliverer: Deliverer,
    resolver: SecretResolver,
    now: int,
    before_write: Callable[[], Awaitable[None]] | None = None,
) -> ProbeReport:
    """Send `payload` once as `webhook` would be sent it at `now`, in milliseconds since the epoch; `before_write` as in
    `Deliverer.send`. Never raises for what a person can mend."""
    data = payload.get("data")
    request_id = data.get("id") if isinstance(data, dict) else None
    sent_as = delivery_id(str(request_id), f"test:{webhook.name}")
    sent = await _send(
        webhook, payload, sent_as, deliverer=deliverer, resolver=resolver, now=now, before_write=before_write
    )
    result = retry.judge(sent, webhook.spec.retry)
    checks = () if result.outcome is Outcome.DELIVERED else what_to_check(result)
    return ProbeReport(webhook.name, sent_as, result, checks)


async def _send(
    webhook: Webhook,
    payload: dict[str, JsonValue],
    sent_as: DeliveryId,
    *,
    deliverer: Deliverer,
    resolver: SecretResolver,
    now: int,
    before_write: Callable[[], Awaitable[None]] | None,
) -> AttemptResult:
    try:
        shown = _prepare(webhook, payload, sent_as, blank_secrets(webhook))
        secrets = secrets_of(webhook, resolver, now=now)
        credentials = deliverer.credentials(webhook, secrets)
        prepared = _prepare(webhook, payload, sent_as, secrets)
        prepared, shown = signed(prepared, shown, webhook.spec.signing, secrets=secrets, now=now)
    except SecretError as exc:
        detail = f"{exc.message}; {exc.hint}" if exc.hint else exc.message
        return AttemptResult(fault=Fault.SECRET, detail=detail, request=deliverer.shown(shown))
    except TemplateError as exc:
        return AttemptResult(fault=Fault.RENDER, detail=describe_fault(exc))
    return await deliverer.send(
        prepared,
        shown,
        timeout_seconds=webhook.spec.timeout_in_sec,
        validators=webhook.spec.response_validators,
        credentials=credentials,
        before_write=before_write,
    )


def _prepare(webhook: Webhook, payload: JsonValue, sent_as: DeliveryId, secrets: dict[str, str]) -> Prepared:
    raw = jsontext.dumps(payload).encode("utf-8")
    return render_request(webhook, payload, raw, secrets=secrets, delivery_id=sent_as, is_test=True)
