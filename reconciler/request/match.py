"""Which webhooks want an event, and why: pure, no clock, no I/O.

Called by `dispatch.live` for every accepted event and by `reconciler match` to explain. It judges status, triggers and
filters only; whether a webhook that matched can be sent at all (a field without effect, a pause, an unbound secret) is
decided by whoever asks.

What one list of globs says of one thing: the thing passes if the list has no positive glob or one of them matches any
of the thing's identities (id, name, path, e-mail…), and no negative glob (`!x`) matches any of them. A thing that is
missing, null or nameless has no identities, so it passes lists without positives and no others.

What the filters say of one event: all of them hold. Those on integration, resource type, resource and permission hold
if there is *one* access group whose integration passes, which has a resource type that passes and an access unit whose
resource and permission both pass. So a negative rules out the thing it matches, not the whole request: `!secret-*` on
resource still wants a request for `secret-1` and `public-1`, because of `public-1`. An event without groups, or a group
without units, is judged as if it had one of which nothing is known.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.models.event import Event
from reconciler.models.webhook import Approval, Filters, Globs, Status, Trigger, Webhook

Identities = tuple[str, ...]  # every text by which one thing may be named; empty for what is missing

COMPILED_MAX: Final = 65_536  # distinct lists kept compiled; one costs about 1 kB
SHOWN_MAX: Final = 256  # characters of what an event says that an explanation quotes

_IDENTITIES: Final = ("id", "name", "path", "email")
_ESCAPABLE: Final = "*?!\\"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing a webhook asks of an event: `name` is its place in the spec, `wanted` and `actual` are for people."""

    name: str
    held: bool
    wanted: str
    actual: str


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """One access unit: a resource with a permission."""

    resource: Identities
    permission: Identities


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """One access group. It has at least one type and one unit, nameless ones if the event has none."""

    integration_id: Identities
    integration_name: Identities
    integration_type: Identities
    resource_types: tuple[Identities, ...]
    units: tuple[UnitFacts, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What filters can ask of one event, read once for all webhooks. It has at least one group."""

    event_type: str
    trigger: Trigger | None
    requester: Identities
    grantee: Identities
    access_flow: Identities
    access_bundle: Identities
    approval: Approval
    custom_fields: Mapping[str, Identities]
    groups: tuple[GroupFacts, ...]


def matches(webhook: Webhook, event: Event) -> bool:
    """Whether the webhook is active, has the event's trigger, and all of its filters hold. Never raises."""
    return _is_listening(webhook, event.trigger) and _filters_hold(webhook.spec.filters, facts_of(event))


def matches_facts(webhook: Webhook, facts: Facts) -> bool:
    """`matches` for many webhooks and one event: its facts are read once, by `facts_of`."""
    return _is_listening(webhook, facts.trigger) and _filters_hold(webhook.spec.filters, facts)


def judge_match(webhook: Webhook, event: Event) -> tuple[Condition, ...]:
    """Everything the webhook asks, one by one, in the order of the spec; `matches` is true exactly if all held.

    Each list on access groups is judged on its own; whether they hold *together* is a condition of its own, the last.
    """
    spec, facts = webhook.spec, facts_of(event)
    trigger = facts.trigger.value if facts.trigger else f"none (event_type {facts.event_type})"
    return (
        Condition("status", webhook.is_active, Status.ACTIVE.value, spec.status.value),
        Condition("triggers", facts.trigger in spec.triggers, _listed(spec.triggers), _cut(trigger)),
        *_judge_groups(spec.filters, facts),
        *_judge_request(spec.filters, facts),
    )


def list_holds(globs: Globs, identities: Identities) -> bool:
    """Whether one thing passes one list."""
    return not globs or _compile(globs)(identities)


def facts_of(event: Event) -> Facts:
    """What the event says, whatever is missing, null or of another type than the schema's."""
    data = _mapping(event.payload.get("data"))
    groups = _things(data.get("access_groups"))
    return Facts(
        event_type=event.event_type,
        trigger=event.trigger,
        requester=_identities(data.get("requester")),
        grantee=_identities(data.get("grantee"), "source_id"),
        access_flow=_identities(data.get("access_flow")),
        access_bundle=_identities(data.get("access_bundle")),
        approval=Approval.MANUAL if data.get("approvals") else Approval.AUTOMATIC,
        custom_fields={key: _texts(value) for key, value in _mapping(data.get("custom_fields")).items()},
        groups=tuple(_group_facts(group) for group in groups) or (_group_facts({}),),
    )


# --- deciding


def _is_listening(webhook: Webhook, trigger: Trigger | None) -> bool:
    # An event never carries Manual: `Event.trigger` maps no event type onto it.
    return webhook.is_active and trigger in webhook.spec.triggers


def _filters_hold(filters: Filters, facts: Facts) -> bool:
    return (
        (filters.approval is None or filters.approval is facts.approval)
        and list_holds(filters.requester, facts.requester)
        and list_holds(filters.grantee, facts.grantee)
        and list_holds(filters.access_flow, facts.access_flow)
        and list_holds(filters.access_bundle, facts.access_bundle)
        and all(list_holds(globs, facts.custom_fields.get(key, ())) for key, globs in filters.custom_fields.items())
        and any(_group_holds(filters, group) for group in facts.groups)
    )


def _group_holds(filters: Filters, group: GroupFacts) -> bool:
    integration = filters.integration
    return (
        (
            integration is None
            or (
                list_holds(integration.id, group.integration_id)
                and list_holds(integration.name, group.integration_name)
                and list_holds(integration.type, group.integration_type)
            )
        )
        and any(list_holds(filters.resource_type, kind) for kind in group.resource_types)
        and any(
            list_holds(filters.resource, unit.resource) and list_holds(filters.permission, unit.permission)
            for unit in group.units
        )
    )


# --- explaining


def _judge_groups(filters: Filters, facts: Facts) -> tuple[Condition, ...]:
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
        count = sum(_group_holds(filters, group) for group in groups)
        names = ", ".join(condition.name.removeprefix("filters.") for condition in conditions)
        conditions.append(
            Condition("filters", count > 0, f"{names} in one access group and unit", f"{count} of {len(groups)} groups")
        )
    return tuple(conditions)


def _judge_request(filters: Filters, facts: Facts) -> tuple[Condition, ...]:
    asked: list[tuple[str, Globs, Identities]] = [
        ("filters.requester", filters.requester, facts.requester),
        ("filters.grantee", filters.grantee, facts.grantee),
        ("filters.access_flow", filters.access_flow, facts.access_flow),
        ("filters.access_bundle", filters.access_bundle, facts.access_bundle),
        *(
            (f"filters.custom_fields.{key}", globs, facts.custom_fields.get(key, ()))
            for key, globs in filters.custom_fields.items()
        ),
    ]
    conditions = [_judge_list(name, globs, [thing]) for name, globs, thing in asked if globs]
    if filters.approval is not None:
        held = filters.approval is facts.approval
        conditions.append(Condition("filters.approval", held, filters.approval.value, facts.approval.value))
    return tuple(conditions)


def _judge_list(name: str, globs: Globs, things: list[Identities]) -> Condition:
    held = any(list_holds(globs, thing) for thing in things)
    said = "; ".join(dict.fromkeys(_listed(thing) for thing in things if thing))
    return Condition(name, held, _listed(globs), _cut(said) or "nothing")


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"


# --- reading an event


def _group_facts(group: Mapping[str, JsonValue]) -> GroupFacts:
    integration = _mapping(group.get("integration"))
    units = _things(group.get("access_units")) or [{}]
    kinds = _things(group.get("resource_types")) or [
        _mapping(_mapping(unit.get("resource")).get("type")) for unit in units
    ]
    return GroupFacts(
        integration_id=_texts(integration.get("id")),
        integration_name=_texts(integration.get("name")),
        integration_type=_texts(integration.get("type")),
        resource_types=tuple(_identities(kind, "display_path") for kind in kinds),
        units=tuple(
            UnitFacts(_identities(unit.get("resource")), _identities(unit.get("permission"))) for unit in units
        ),
    )


def _identities(thing: JsonValue, *more: str) -> Identities:
    named = _mapping(thing)
    return tuple(text for key in (*_IDENTITIES, *more) for text in _texts(named.get(key)))


def _texts(value: JsonValue) -> Identities:
    """A scalar as text, numbers by their digits; a list's scalars (a custom field with several choices)."""
    if isinstance(value, str):
        return (value,)
    if value is None or isinstance(value, dict):
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, list):
        return tuple(text for item in value if not isinstance(item, list) for text in _texts(item))
    return (jsontext.number_text(value),)


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _things(value: JsonValue) -> list[Mapping[str, JsonValue]]:
    return [_mapping(item) for item in value] if isinstance(value, list) else []


# --- globs


@lru_cache(maxsize=COMPILED_MAX)
def _compile(globs: Globs) -> Callable[[Identities], bool]:
    """A list as one predicate over a thing's identities."""
    positive = _union([glob for glob in globs if not glob.startswith("!")])
    negative = _union([glob[1:] for glob in globs if glob.startswith("!")])

    def holds(identities: Identities) -> bool:
        if positive is not None and not any(positive.fullmatch(text) for text in identities):
            return False
        return negative is None or not any(negative.fullmatch(text) for text in identities)

    return holds


def _union(globs: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(_expression(glob) for glob in globs), re.DOTALL) if globs else None


def _expression(glob: str) -> str:
    """A glob as a regular expression for `fullmatch`.

    `*` is any text, `/` and line ends included, and `?` any one character; `\\` before `*`, `?`, `!` or `\\` takes that
    character as it is, before any other it stands for itself, and so do `[`, `{` and the rest. Each piece between two
    stars is an atomic group, found at its first place and never looked for again: the time is at most the product of
    both lengths, whatever text an event brings.
    """
    pieces = [""]
    characters = iter(range(len(glob)))
    for at in characters:
        character = glob[at]
        if character == "\\" and at + 1 < len(glob) and glob[at + 1] in _ESCAPABLE:
            pieces[-1] += re.escape(glob[next(characters)])
        elif character == "*":
            pieces.append("")
        else:
            pieces[-1] += "." if character == "?" else re.escape(character)
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + ".*" + last
