"""What filters can ask of one event, each thing read from its payload once for all webhooks.

Used by `match`. Nothing here raises: whatever is missing, null or of another type than the schema's is unknown.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.models.event import Event
from reconciler.models.webhook import Approval, Trigger
from reconciler.request.condition import Said
from reconciler.request.glob import Identities

_IDENTITIES: Final = ("id", "name", "path", "email")


_Readers = Mapping[str, Callable[[Any], Any]]


class _Lazy:
    """Facts that are read when they are first asked for: most webhooks ask for few."""

    __slots__ = ()
    _readers: ClassVar[_Readers] = {}

    def __getattr__(self, name: str) -> Any:
        """A slot that is empty yet."""
        read = self._readers.get(name)
        if read is None:
            raise AttributeError(name)
        value = read(self)
        setattr(self, name, value)
        return value


class UnitFacts(_Lazy):
    """One access unit: a resource with a permission."""

    __slots__ = ("permission", "resource", "said")

    resource: Identities
    permission: Identities

    def __init__(self, said: Mapping[str, JsonValue]) -> None:
        self.said = said

    _readers: ClassVar[_Readers] = {
        "resource": lambda self: _identities(self.said.get("resource")),
        "permission": lambda self: _identities(self.said.get("permission")),
    }


class GroupFacts(_Lazy):
    """One access group. It has at least one type and one unit, nameless ones if the event has none."""

    __slots__ = ("integration_id", "integration_name", "integration_type", "resource_types", "said", "units")

    integration_id: Identities
    integration_name: Identities
    integration_type: Identities
    resource_types: tuple[Identities, ...]
    units: tuple[UnitFacts, ...]

    def __init__(self, said: Mapping[str, JsonValue]) -> None:
        self.said = said

    _readers: ClassVar[_Readers] = {
        "integration_id": lambda self: _texts(_mapping(self.said.get("integration")).get("id")),
        "integration_name": lambda self: _texts(_mapping(self.said.get("integration")).get("name")),
        "integration_type": lambda self: _texts(_mapping(self.said.get("integration")).get("type")),
        "resource_types": lambda self: _resource_types(self.said),
        "units": lambda self: tuple(map(UnitFacts, _units(self.said))),
    }


class Facts(_Lazy):
    """What filters can ask of one event, read once for all webhooks. It has at least one group."""

    __slots__ = (
        *("access_bundle", "access_flow", "approval", "custom_fields", "data", "event_type", "grantee", "groups"),
        *("requester", "said", "trigger"),
    )

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

    def __init__(self, event: Event) -> None:
        self.event_type = event.event_type
        self.trigger = event.trigger
        self.said = Said(event.payload)
        self.data = _mapping(event.payload.get("data"))

    _readers: ClassVar[_Readers] = {
        "requester": lambda self: _identities(self.data.get("requester")),
        "grantee": lambda self: _identities(self.data.get("grantee"), "source_id"),
        "access_flow": lambda self: _identities(self.data.get("access_flow")),
        "access_bundle": lambda self: _identities(self.data.get("access_bundle")),
        "approval": lambda self: Approval.MANUAL if self.data.get("approvals") else Approval.AUTOMATIC,
        "custom_fields": lambda self: {
            key: _texts(value) for key, value in _mapping(self.data.get("custom_fields")).items()
        },
        "groups": lambda self: tuple(map(GroupFacts, _things(self.data.get("access_groups")) or ({},))),
    }


def facts_of(event: Event) -> Facts:
    """What the event says, whatever is missing, null or of another type than the schema's."""
    return Facts(event)


def _units(group: Mapping[str, JsonValue]) -> list[Mapping[str, JsonValue]]:
    return _things(group.get("access_units")) or [{}]


def _resource_types(group: Mapping[str, JsonValue]) -> tuple[Identities, ...]:
    kinds = _things(group.get("resource_types")) or [
        _mapping(_mapping(unit.get("resource")).get("type")) for unit in _units(group)
    ]
    return tuple(_identities(kind, "display_path") for kind in kinds)


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
