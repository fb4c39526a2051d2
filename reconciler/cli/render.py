"""One webhook and one event, rendered as people are shown it: every secret is `***`."""

from reconciler.errors import ReconcilerError, TemplateError
from reconciler.models.delivery import SentRequest, delivery_id
from reconciler.models.event import Event
from reconciler.models.webhook import Webhook
from reconciler.request.match import Condition, judge_match
from reconciler.request.render import blank_secrets, render_request


def render_event(webhook: Webhook, event: Event) -> tuple[SentRequest, tuple[str, ...]]:
    """The request, and notes on what would keep it from being sent. Raises ReconcilerError for a template's fault."""
    try:
        prepared = render_request(
            webhook,
            event.payload,
            event.raw,
            secrets=blank_secrets(webhook),
            delivery_id=delivery_id(event.id, webhook.name),
        )
    except TemplateError as exc:
        raise ReconcilerError(f"webhook {webhook.name} cannot be rendered: {exc.message}", hint=exc.hint) from exc
    body = "" if prepared.body is None else prepared.body.decode("utf-8", "replace")
    return SentRequest(prepared.method, prepared.url, prepared.headers, body), _notes(webhook, event)


def _note(condition: Condition) -> str:
    if condition.is_error:
        asked = " ".join(condition.wanted.split())
        return f"whether this event is wanted cannot be told: {condition.name} is {asked}: {condition.actual}"
    return f"this event is not wanted: {condition.name} wants {condition.wanted}, is {condition.actual or 'absent'}"


def _notes(webhook: Webhook, event: Event) -> tuple[str, ...]:
    notes = [_note(condition) for condition in judge_match(webhook, event) if not condition.held]
    if webhook.spec.signing is not None:
        notes.append(f"webhook-timestamp and webhook-signature are added when it is sent: {webhook.spec.signing.fact}")
    return tuple(notes)
