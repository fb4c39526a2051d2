"""What a plan would have done to recorded events: deliveries that would come, go, or be sent otherwise. Pure.

Fed by whoever reads events (`plan --impact`); shown beside the plan. Matching and rendering are the dispatcher's own,
with every secret as `***`. Only webhooks that the plan changes are judged, live against desired.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from reconciler.errors import SecretError, TemplateError
from reconciler.models.event import TRIGGER_OF_EVENT_TYPE, Event
from reconciler.models.webhook import Trigger, Webhook
from reconciler.plan.change import Action, Change
from reconciler.plan.redact import shown
from reconciler.request.condition import MatchState
from reconciler.request.fact import Facts, facts_of
from reconciler.request.match import Matcher, compile_match
from reconciler.request.render import blank_secrets, render_body, render_request

SAMPLE_DELIVERY: Final = "example"  # the `webhook-id` of renderings, which is neither compared nor shown


class Kind(StrEnum):
    """What an example is an example of, the most telling first."""

    BROKEN = "broken"
    CHANGED = "changed"
    ADDED = "added"
    LOST = "lost"


_KINDS: Final = tuple(Kind)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one side would send, secrets masked. `body` is None where the method has none, or where `problem` says why
    nothing could be rendered."""

    method: str
    url: str
    body: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One delivery before and after; None on the side that would not send it."""

    kind: Kind
    event_id: str
    event_type: str
    before: Rendering | None
    after: Rendering | None


@dataclass(frozen=True, slots=True)
class WebhookImpact:
    """One webhook's deliveries over all events.

    Each is added, lost, changed or unchanged; of the changed, some in `body`, some in `destination` (method and URL),
    some in both. `broken` counts those, added or changed, that the desired template cannot render: they would end dead.
    `match_errors` counts the events of which the desired `when` cannot tell; they are no deliveries.
    """

    address: str
    added: int = 0
    lost: int = 0
    changed: int = 0
    unchanged: int = 0
    body: int = 0
    destination: int = 0
    broken: int = 0
    match_errors: int = 0
    example: Example | None = None

    @property
    def is_felt(self) -> bool:
        """Whether any delivery would be another one, or cannot be told."""
        return bool(self.added or self.lost or self.changed or self.match_errors)


@dataclass(frozen=True, slots=True)
class Impact:
    """What the plan does to `events` recorded ones; `source` says in words which those are. `skipped` counts what was
    recorded and is no event. `webhooks` are those that the plan changes, by address."""

    source: str
    events: int
    skipped: int
    webhooks: tuple[WebhookImpact, ...]


class ImpactMeter:
    """Counts event by event, so that no more of them than a page need be in memory."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._tallies = [_Tally.of(change) for change in changes if _is_judged(change)]
        self._triggers = {trigger for tally in self._tallies for trigger in tally.triggers}
        self._events = 0

    def add(self, event: Event) -> None:
        """Count one event's deliveries. Never raises for what an event says."""
        self._events += 1
        if self._tallies:
            facts = facts_of(event)
            for tally in self._tallies:
                tally.add(event, facts)

    def may_match(self, event_type: str) -> bool:
        """Whether a judged webhook has the trigger of such events; if not, `pass_over` saves reading them."""
        return TRIGGER_OF_EVENT_TYPE.get(event_type) in self._triggers

    def pass_over(self) -> None:
        """Count an event that no judged webhook can want."""
        self._events += 1

    def result(self, source: str, *, skipped: int = 0) -> Impact:
        """What has been counted."""
        return Impact(source, self._events, skipped, tuple(tally.result() for tally in self._tallies))


def measure_impact(changes: Iterable[Change], events: Iterable[Event], *, source: str) -> Impact:
    """The impact of a plan's changes on events."""
    meter = ImpactMeter(changes)
    for event in events:
        meter.add(event)
    return meter.result(source)


def _is_judged(change: Change) -> bool:
    """Whether what is sent may be another thing afterwards: not by a new name or owner alone."""
    return change.action in (Action.CREATE, Action.DELETE) or change.is_edit


@dataclass(slots=True)
class _Tally:
    """One webhook's counts as they grow."""

    address: str
    before: "_Side | None"
    after: "_Side | None"
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[Kind, Example] = field(default_factory=dict)
    is_body_edited: bool = False
    is_destination_edited: bool = False

    @classmethod
    def of(cls, change: Change) -> Self:
        before = _Side.of(change.before.webhook) if change.before is not None else None
        after = _Side.of(change.after) if change.after is not None else None
        tally = cls(change.address, before, after)
        if before is not None and after is not None:
            tally.is_body_edited = before.body_source != after.body_source
            tally.is_destination_edited = before.destination_source != after.destination_source
        return tally

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """Those of both sides."""
        return tuple(trigger for side in (self.before, self.after) if side for trigger in side.matcher.triggers)

    def add(self, event: Event, facts: Facts) -> None:
        before = self.before if self.before is not None and self.before.judge(facts) is MatchState.YES else None
        state = self.after.judge(facts) if self.after is not None else MatchState.NO
        after = self.after if state is MatchState.YES else None
        if state is MatchState.ERROR:
            self._count("match_errors")
        if before is not None and after is not None:
            self._keep(event, before, after)
        elif after is not None:
            self._count("added")
            rendering = after.render(event)
            self._note(Kind.ADDED, event, None, rendering)
        elif before is not None:
            self._count("lost")
            if Kind.LOST not in self.examples:
                self._note(Kind.LOST, event, before.render(event), None)

    def _keep(self, event: Event, before: "_Side", after: "_Side") -> None:
        """A delivery of both sides. Without an edit of the request both are the same, whatever the event says; an edit
        of the URL alone changes all, so that one rendering is enough."""
        if not self.is_body_edited and (not self.is_destination_edited or Kind.CHANGED in self.examples):
            self._count("destination" if self.is_destination_edited else "unchanged")
            if self.is_destination_edited:
                self._count("changed")
            return
        old, new = before.render(event), after.render(event)
        is_body_other = (old.body, old.problem) != (new.body, new.problem)
        if not is_body_other and not self.is_destination_edited:
            self._count("unchanged")
            return
        self._count("changed")
        if is_body_other:
            self._count("body")
        if self.is_destination_edited:
            self._count("destination")
        self._note(Kind.CHANGED, event, old, new)

    def _note(self, kind: Kind, event: Event, before: Rendering | None, after: Rendering | None) -> None:
        """Keep the first example of a kind; what the desired side cannot render is of a kind of its own."""
        if after is not None and after.problem:
            self._count("broken")
            kind = Kind.BROKEN
        if kind not in self.examples:
            self.examples[kind] = Example(kind, event.id, event.event_type, _masked(before), _masked(after))

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def result(self) -> WebhookImpact:
        example = next((self.examples[kind] for kind in _KINDS if kind in self.examples), None)
        return WebhookImpact(self.address, **self.counts, example=example)


@dataclass(slots=True)
class _Side:
    """A webhook ready to be matched and rendered; `url` is there once a whole request has been."""

    webhook: Webhook
    matcher: Matcher
    secrets: dict[str, str]
    url: str | None = None

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        return cls(webhook, compile_match(webhook), blank_secrets(webhook))

    def judge(self, facts: Facts) -> MatchState:
        """Whether the dispatcher would make a delivery, or a match error."""
        return self.matcher.judge(facts).state

    @property
    def body_source(self) -> object:
        """What decides on the body beside the event."""
        spec = self.webhook.spec
        return spec.method.has_body, spec.body_template, spec.partials, spec.content_type

    @property
    def destination_source(self) -> object:
        """What decides on the destination, which no event has a say in."""
        spec = self.webhook.spec
        return spec.method, spec.url, list(spec.query.items())

    def render(self, event: Event) -> Rendering:
        """The dispatcher's request; a fault of the template in words that hold no value. No event has a say in method,
        URL and headers, so once they have been rendered only the body is."""
        spec, method, body = self.webhook.spec, self.webhook.spec.method, None
        try:
            if self.url is None:
                request = render_request(
                    self.webhook, event.payload, event.raw, secrets=self.secrets, delivery_id=SAMPLE_DELIVERY
                )
                self.url, body = request.url, request.body
            elif method.has_body:
                body = render_body(spec, event.payload, event.raw, secrets=self.secrets)
        except (TemplateError, SecretError) as exc:
            return Rendering(method.value, self.url or spec.url, None, exc.message)
        return Rendering(method.value, self.url, None if body is None else body.decode("utf-8", "replace"))


def _masked(rendering: Rendering | None) -> Rendering | None:
    """As people may see it: a store may hold literals that no manifest could."""
    if rendering is None:
        return None
    url, body = shown(("spec", "url"), rendering.url), shown(("body",), rendering.body)
    return Rendering(rendering.method, url, body, rendering.problem)
