"""The built-in events: for each trigger what a template must get along with. Pure.

Used by `manifest.rehearse` before anything is applied. Each event is one that the schema of `models.event` takes; what
the vendor has been seen to send is among them, and what people can type is in all of them.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, Final

from reconciler.jsontext import JsonValue, Number
from reconciler.models import corpus_operational
from reconciler.models.webhook import Trigger

Sample = tuple[str, dict[str, JsonValue]]  # a name, as messages say it, and the event

HOSTILE: Final = (
    'quote " backslash \\ line\nfeed\r\n tab\t nul\0 \u2028\u2029 </script> {{x}} {{{y}}} ${secret:z} '
    "👩‍🚀 \u202eעברית \ud83d ,}]'`"
)
OLDER_PAYLOAD: Final = "older payload"  # the sample that lacks what the schema says came later
_SECONDS: Final = "1795424400.851898000"
_TIMES: Final = ("event_time", "creation_date", "revocation_date")
_NEWER: Final = ("grantee", "access_duration_in_seconds", "custom_fields")  # `x-since` in the schema


@cache
def corpus(trigger: Trigger) -> tuple[Sample, ...]:
    """The events of a trigger, by name. They are shared: do not change them."""
    if trigger.is_operational:
        return (
            ("complete", corpus_operational.complete(trigger)),
            ("hostile text", corpus_operational.hostile(trigger, HOSTILE)),
            ("no answer", corpus_operational.unanswered(trigger)),
            ("nulls", corpus_operational.sparse(trigger)),
        )
    return tuple((name, make(_complete(trigger))) for name, make in _MAKERS.items())


def complete_event(trigger: Trigger) -> dict[str, JsonValue]:
    """The event of a trigger with every field, for the caller to change; docs/testing.md shows it, and manifests' tests
    rely on it."""
    return deepcopy(dict(corpus(trigger))["complete"])


def _complete(trigger: Trigger) -> dict[str, Any]:
    """An event with every field, two access groups and two approvals."""
    is_open = trigger in (Trigger.REQUEST_CREATED, Trigger.MANUAL)
    status = "Pending" if is_open else "Rejected" if trigger is Trigger.REQUEST_REJECTED else "Approved"
    return {
        "event_type": "Manual" if trigger is Trigger.MANUAL else f"Access{trigger.value}",
        "event_time": Number(_SECONDS),
        "data": {
            "id": "b6a1f6b0-4c1e-4a6e-9b1b-0d7c5f3e2a11",
            "friendly_id": "AR-123",
            "requester": {"id": "u-1", "name": "Dana Levi", "email": "dana.levi@example.com"},
            "grantee": {"id": "u-2", "source_id": "rami@example.com", "name": "Rami Cohen", "type": "user"},
            "justification": "Rotate the certificates of orders-prod",
            "creation_date": Number(_SECONDS),
            "revocation_date": Number("1795428000.851898000"),
            "access_flow": {"id": "af-31", "name": "Production databases"},
            "access_bundle": {"id": "ab-7", "name": "Database administrators"},
            "access_duration_in_seconds": 3600,
            "access_groups": [_group("orders", 2), _group("billing", 1)],
            "approvals_logical_relation": "AllOf",
            "approvals": [_approval("Security", status), _approval("Owner", "Approved")],
            "custom_fields": {"ticket": "OPS-42", "environment": "prod"},
        },
    }


def _group(name: str, units: int) -> dict[str, Any]:
    path = f"{name}-prod/{name}"
    kind = {"id": "postgresql-database", "name": "Database", "display_path": "Postgresql/Database"}
    return {
        "integration": {"id": f"i-{name}", "type": "Postgresql", "name": f"{name}-prod"},
        "resource_types": [dict(kind)],
        "access_units": [
            {
                "resource": {"id": f"r-{index}", "name": f"{name}{index}", "path": f"{path}{index}", "type": kind},
                "permission": {"id": "p-ro", "name": "READ_ONLY"},
            }
            for index in range(units)
        ],
    }


def _approval(name: str, status: str) -> dict[str, Any]:
    approver = {"id": "u-9", "name": "Noa Bar", "email": "noa.bar@example.com"}
    return {"name": name, "type": "user", "status": status, "approver": approver if status != "Pending" else None}


def _hostile(event: dict[str, Any]) -> dict[str, Any]:
    """Every text that people can choose, keys of custom fields included."""
    data = _mapped(event["data"], lambda key, value: HOSTILE if isinstance(value, str) else value)
    data["id"] = HOSTILE.replace("\ud83d", "")  # an id must be UTF-8, or the event is no event
    data["custom_fields"] = {HOSTILE: HOSTILE, "": "", 'k"': HOSTILE}
    return {**event, "data": data}


def _missing(event: dict[str, Any]) -> dict[str, Any]:
    """As little as the schema takes."""
    return {"event_type": event["event_type"], "data": {"id": event["data"]["id"]}}


def _without_data(event: dict[str, Any]) -> dict[str, Any]:
    return {"event_type": event["event_type"], "event_time": None, "data": None}


def _nulls(event: dict[str, Any]) -> dict[str, Any]:
    """Everything null that may be, in the groups and approvals too."""
    empty_unit = {"resource": None, "permission": None}
    empty_group = {"integration": None, "resource_types": None, "access_units": [empty_unit]}
    groups = [empty_group, {**empty_group, "access_units": None}]
    data = {**dict.fromkeys(event["data"]), "access_groups": groups, "approvals": [{"approver": None}]}
    return {**event, "event_time": None, "data": data}


def _empty(event: dict[str, Any]) -> dict[str, Any]:
    """Empty lists, objects and texts."""

    def emptied(key: str, value: Any) -> Any:
        return "" if isinstance(value, str) else value

    data = _mapped(event["data"], emptied)
    group = {**data["access_groups"][0], "resource_types": [], "access_units": []}
    return {**event, "data": {**data, "access_groups": [group], "approvals": [], "custom_fields": {}}}


def _no_groups(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "data": {**event["data"], "access_groups": []}}


def _single(event: dict[str, Any]) -> dict[str, Any]:
    """One group with one unit, granted without asking anyone."""
    return {**event, "data": {**event["data"], "access_groups": [_group("orders", 1)], "approvals": None}}


def _older(event: dict[str, Any]) -> dict[str, Any]:
    """The payload revision of 2023/24."""
    return {**event, "data": {key: value for key, value in event["data"].items() if key not in _NEWER}}


def _other_types(event: dict[str, Any]) -> dict[str, Any]:
    """Numbers where there is text elsewhere, and text where there are numbers: the schema takes both."""

    def turned(key: str, value: Any) -> Any:
        if key in _TIMES or isinstance(value, int | float):
            return _SECONDS if key in _TIMES else str(value)
        return Number("9007199254740993.10") if isinstance(value, str) else value

    return {**_mapped(event, turned), "event_type": event["event_type"]}


def _mapped(value: Any, change: Callable[[str, Any], Any], key: str = "") -> Any:
    """A value with each scalar changed, by the key it stands under."""
    if isinstance(value, Mapping):
        return {name: _mapped(item, change, name) for name, item in value.items()}
    return [_mapped(item, change, key) for item in value] if isinstance(value, list) else change(key, value)


_MAKERS: Final[Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "complete": lambda event: event,
    "single": _single,
    "hostile text": _hostile,
    "missing fields": _missing,
    "no data": _without_data,
    "nulls": _nulls,
    "empty": _empty,
    "no groups": _no_groups,
    OLDER_PAYLOAD: _older,
    "other types": _other_types,
}
