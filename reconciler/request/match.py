"""Which webhooks want an event, and why: pure, no clock, no I/O.

Called by `dispatch.live` for every accepted event, through `index`, and by `reconciler match` to explain. It judges
status, triggers, filters and `when`; whether a webhook that matched can be sent at all (a pause, an unbound
secret) is decided by whoever asks.

What one list of globs says of one thing: the thing passes if the list has no positive glob or one of them matches any
of the thing's identities (id, name, path, e-mail…), and no negative glob (`!x`) matches any of them. A thing that is
missing, null or nameless has no identities, so it passes lists without positives and no others.

What the filters say of one event: all of them hold. Those on integration, resource type, resource and permission hold
if there is *one* access group whose integration passes, which has a resource type that passes and an access unit whose
resource and permission both pass. So a negative rules out the thing it matches, not the whole request: `!secret-*` on
resource still wants a request for `secret-1` and `public-1`, because of `public-1`. An event without groups, or a group
without units, is judged as if it had one of which nothing is known.

The `when` is asked only if all of that holds. What it cannot tell is a match in state `error`, neither yes nor no.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from reconciler.models.event import Event
from reconciler.models.webhook import Approval, Filters, Globs, IntegrationFilter, Status, Trigger, Webhook
from reconciler.request.condition import NO, YES, MatchState, Verdict, When, compile_when
from reconciler.request.fact import Facts, GroupFacts, UnitFacts, facts_of
from reconciler.request.glob import Holds, Identities, compile_list, list_holds

SHOWN_MAX: Final = 256  # characters of what an event says that an explanation quotes


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing a webhook asks of an event: `name` is its place in the spec, `wanted` and `actual` are for people. With
    `is_error`, `actual` says why it could not be told."""

    name: str
    held: bool
    wanted: str
    actual: str
    is_error: bool = False

    @property
    def state(self) -> MatchState:
        """Whether it holds."""
        return MatchState.ERROR if self.is_error else MatchState.YES if self.held else MatchState.NO


@dataclass(frozen=True, slots=True)
class Matcher:
    """What one webhook asks, with every list compiled and those that ask nothing left out."""

    triggers: tuple[Trigger, ...]  # none for an inactive webhook
    approval: Approval | None
    request: tuple[tuple[Callable[[Facts], Identities], Holds], ...]
    custom_fields: tuple[tuple[str, Holds], ...]
    group: tuple[tuple[Callable[[GroupFacts], Identities], Holds], ...]
    resource_type: Holds | None
    unit: tuple[tuple[Callable[[UnitFacts], Identities], Holds], ...]
    when: When | None

    def judge(self, facts: Facts) -> Verdict:
        """Whether the webhook wants the event. Never raises."""
        if not self.passes(facts):
            return NO
        return YES if self.when is None else self.when.judge(facts.said)

    def passes(self, facts: Facts) -> bool:
        """Whether the webhook is active, has the event's trigger, and all of its filters hold. Never raises."""
        # An event never carries Manual: `Event.trigger` maps no event type onto it.
        if facts.trigger not in self.triggers:
            return False
        if self.approval is not None and self.approval is not facts.approval:
            return False
        for read, holds in self.request:
            if not holds(read(facts)):
                return False
        for key, holds in self.custom_fields:
            if not holds(facts.custom_fields.get(key, ())):
                return False
        return any(map(self.group_holds, facts.groups))

    def group_holds(self, group: GroupFacts) -> bool:
        """Whether the filters on groups hold together in this one."""
        for read, holds in self.group:
            if not holds(read(group)):
                return False
        if self.resource_type is not None and not any(map(self.resource_type, group.resource_types)):
            return False
        return not self.unit or any(all(holds(read(unit)) for read, holds in self.unit) for unit in group.units)


def matches(webhook: Webhook, event: Event) -> bool:
    """Whether the webhook wants the event; an error is no yes. Never raises.

    For many webhooks and events: `compile_match` a webhook once, read `facts_of` an event once.
    """
    return compile_match(webhook).judge(facts_of(event)).state is MatchState.YES


def compile_match(webhook: Webhook) -> Matcher:
    """What the webhook asks, ready for many events."""
    filters, integration = webhook.spec.filters, webhook.spec.filters.integration or IntegrationFilter()
    return Matcher(
        triggers=webhook.spec.triggers if webhook.is_active else (),
        approval=filters.approval,
        request=_asked(
            (attrgetter("requester"), filters.requester),
            (attrgetter("grantee"), filters.grantee),
            (attrgetter("access_flow"), filters.access_flow),
            (attrgetter("access_bundle"), filters.access_bundle),
        ),
        custom_fields=tuple((key, compile_list(globs)) for key, globs in filters.custom_fields.items() if globs),
        group=_asked(
            (attrgetter("integration_id"), integration.id),
            (attrgetter("integration_name"), integration.name),
            (attrgetter("integration_type"), integration.type),
        ),
        resource_type=compile_list(filters.resource_type) if filters.resource_type else None,
        unit=_asked((attrgetter("resource"), filters.resource), (attrgetter("permission"), filters.permission)),
        when=compile_when(webhook.spec.when) if webhook.spec.when is not None else None,
    )


def judge_match(webhook: Webhook, event: Event) -> tuple[Condition, ...]:
    """Everything the webhook asks, one by one, in the order of the spec; `matches` is true exactly if all held.

    Each list on access groups is judged on its own; whether they hold *together* is a condition of its own, `filters`.
    """
    spec, facts = webhook.spec, facts_of(event)
    trigger = facts.trigger.value if facts.trigger else f"none (event_type {facts.event_type})"
    return (
        Condition("status", webhook.is_active, Status.ACTIVE.value, spec.status.value),
        Condition("triggers", facts.trigger in spec.triggers, _listed(spec.triggers), _cut(trigger)),
        *_judge_groups(spec.filters, facts, compile_match(webhook)),
        *_judge_request(spec.filters, facts),
        *_judge_when(spec.when, facts),
    )


def state_of(conditions: Iterable[Condition]) -> MatchState:
    """What follows from all conditions of a webhook: its `when` is asked, and may fail, only if the others hold."""
    states = {condition.state for condition in conditions}
    if MatchState.NO in states:
        return MatchState.NO
    return MatchState.ERROR if MatchState.ERROR in states else MatchState.YES


def _asked(*lists: tuple[Callable[[Any], Identities], Globs]) -> tuple[tuple[Callable[[Any], Identities], Holds], ...]:
    return tuple((read, compile_list(globs)) for read, globs in lists if globs)


# --- explaining


def _judge_groups(filters: Filters, facts: Facts, matcher: Matcher) -> tuple[Condition, ...]:
    groups, integration = facts.groups, filters.integration
    units = [unit for group in groups for unit in group.units]
    asked: list[tuple[str, Globs, list[Identities]]] = [
        ("filters.resource_type", filters.resource_type, [kind for group in groups for kind in group.resource_types]),
        ("filters.resource", filters.resource, [unit.resource for unit in units]),
        ("filters.permission", filters.permission, [unit.permission for unit in units]),
    ]
    if integration is not None:
        asked[:0] = [
            ("filters.integration.id", integration.id, [group.integration_id for group in groups]),
            ("filters.integration.name", integration.name, [group.integration_name for group in groups]),
            ("filters.integration.type", integration.type, [group.integration_type for group in groups]),
        ]
    conditions = [_judge_list(name, globs, things) for name, globs, things in asked if globs]
    if len(conditions) > 1:
        count = sum(map(matcher.group_holds, groups))
        names = ", ".join(condition.name.removeprefix("filters.") for condition in conditions)
        conditions.append(
            Condition("filters", count > 0, f"{names} in one access group and unit", f"{count} of {len(groups)} groups")
        )
    return tuple(conditions)


def _judge_request(filters: Filters, facts: Facts) -> tuple[Condition, ...]:
    things: list[tuple[str, Globs, Identities]] = [
        ("requester", filters.requester, facts.requester),
        ("grantee", filters.grantee, facts.grantee),
        ("access_flow", filters.access_flow, facts.access_flow),
        ("access_bundle", filters.access_bundle, facts.access_bundle),
    ]
    conditions = [_judge_list(f"filters.{name}", globs, [thing]) for name, globs, thing in things if globs]
    if filters.approval is not None:
        held = filters.approval is facts.approval
        conditions.append(Condition("filters.approval", held, filters.approval.value, facts.approval.value))
    for key, globs in filters.custom_fields.items():
        if globs:
            conditions.append(_judge_list(f"filters.custom_fields.{key}", globs, [facts.custom_fields.get(key, ())]))
    return tuple(conditions)


def _judge_when(when: str | None, facts: Facts) -> tuple[Condition, ...]:
    if when is None:
        return ()
    verdict = compile_when(when).judge(facts.said)
    actual = verdict.error or str(verdict.state is MatchState.YES).lower()
    return (Condition("when", verdict.state is MatchState.YES, when, actual, bool(verdict.error)),)


def _judge_list(name: str, globs: Globs, things: list[Identities]) -> Condition:
    held = any(list_holds(globs, thing) for thing in things)
    said = "; ".join(dict.fromkeys(_listed(thing) for thing in things if thing))
    return Condition(name, held, _listed(globs), _cut(said) or "nothing")


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"
