"""A webhook's body rendered over the built-in events of its triggers, before anything is sent.

Part of judging manifests where time allows it (`validate`, `check`): what a template's text cannot tell, such as a
helper's complaint about a value, or two keys that turn out equal, is seen here. Called by `manifest.validate`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.models.corpus import corpus
from reconciler.models.fault import Fault
from reconciler.models.webhook import Spec, Trigger, Webhook
from reconciler.request.render import blank_secrets, render_body
from reconciler.template.body import leaves_of


class Rehearsal:
    """Rehearses webhooks, each different body once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[Fault, ...]] = {}

    def faults(self, webhook: Webhook) -> tuple[Fault, ...]:
        """The faults of a webhook's body: one for each place, with the first event that shows it."""
        spec = webhook.spec
        if spec.body_template is None or not spec.method.has_body:
            return ()
        body = jsontext.dumps(spec.body_template)
        key = (body, spec.content_type, tuple(sorted(spec.partials.items())), spec.triggers)
        if key not in self._known:
            self._known[key] = tuple(_faults_of(spec, blank_secrets(webhook)))
        return self._known[key]


def _faults_of(spec: Spec, secrets: Mapping[str, str]) -> Iterator[Fault]:
    seen: set[object] = set()
    for trigger in spec.triggers:
        for name, event in corpus(trigger):
            try:
                render_body(spec, event, b"", secrets=secrets)
            except TemplateError as exc:
                fault = _fault(spec, exc, name, trigger, event, secrets)
                place = (fault.path, fault.line, fault.column)
                if place not in seen:
                    seen.add(place)
                    yield fault


def _fault(
    spec: Spec, error: TemplateError, name: str, trigger: Trigger, event: Any, secrets: Mapping[str, str]
) -> Fault:
    path = ("spec", "body_template", *leaf_of(spec, event, secrets))
    message = f"{error.message}, with the sample event `{name}` of {trigger.value}"
    end = None if error.column is None else error.column + 1
    return Fault("template.render", path, message, error.hint, line=error.line, column=error.column, end_column=end)


def leaf_of(spec: Spec, event: Any, secrets: Mapping[str, str]) -> tuple[str | int, ...]:
    """The keys to the leaf of a mapping body that cannot be rendered; none where it is a text, or the whole."""
    if not isinstance(spec.body_template, Mapping):
        return ()
    for leaf in leaves_of(spec.body_template):
        try:
            render_body(spec.model_copy(update={"body_template": {"leaf": leaf.text}}), event, b"", secrets=secrets)
        except TemplateError:
            return leaf.path
    return ()
