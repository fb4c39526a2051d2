"""What filters can ask of one event, read from its payload once for all webhooks.

Used by `match`. Nothing here raises: whatever is missing, null or of another type than the schema's is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.models.event import Event
from reconciler.models.webhook import Approval, Trigger
from reconciler.request.condition import Said
from reconciler.request.glob import Identities

_IDENTITIES: Final = ("id", "name", "path", "email")


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
    said: Said  # what conditions see


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
        said=Said(event.payload),
    )


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
    if not isinstance(thing, dict):
        return ()
    found: list[str] = []  # a loop, and text first: this is most of what reading an event's facts costs
    for key in (*_IDENTITIES, *more):
        value = thing.get(key)
        if isinstance(value, str):
            found.append(value)
        elif value is not None:
            found += _texts(value)
    return tuple(found)


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
