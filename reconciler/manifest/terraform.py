"""A Terraform (or OpenTofu) state as a list of resources: from `terraform show -json`, or from a state file.

Called by `import`. Reads what is there and judges nothing; says no value, which may be a secret.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.errors import ReconcilerError

STATE_VERSION: Final = 4  # of state files since Terraform 0.12
SHOW_HINT: Final = "run `terraform show -json > FILE` and import that"
SHOWN_STATES: Final = (("values",), ("prior_state", "values"), ("planned_values",))  # of a state; of a plan


@dataclass(frozen=True, slots=True)
class Resource:
    """One managed instance: its address, its type, the label that it has in the configuration and its attributes."""

    address: str
    type: str
    label: str
    values: Mapping[str, Any]


def read_resources(raw: bytes) -> tuple[Resource, ...]:
    """Every managed resource of a state, in its order. Raises ReconcilerError for what is none."""
    try:
        state = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise ReconcilerError("the file is not JSON", hint=SHOW_HINT) from exc
    if not isinstance(state, dict):
        raise ReconcilerError("the file is not a Terraform state", hint=SHOW_HINT)
    if "encrypted_data" in state:
        raise ReconcilerError("the state is encrypted", hint="run `tofu show -json > FILE` and import that")
    try:
        return tuple(_resources(state))
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ReconcilerError("the file is not a whole Terraform state", hint=SHOW_HINT) from exc


def _resources(state: Mapping[str, Any]) -> Iterator[Resource]:
    # 1. a state file, 2. what `show -json` prints of a state or a plan
    if "version" in state:
        if state["version"] != STATE_VERSION:
            fact = f"the state file's version is {state['version']!r:.20}, not {STATE_VERSION}"
            raise ReconcilerError(fact, hint="Terraform 0.12 and later write it; " + SHOW_HINT)
        for resource in state["resources"]:
            yield from _instances(resource)
    elif "format_version" in state:
        yield from _module(_shown(state).get("root_module", {}))
    else:
        raise ReconcilerError("the file is not a Terraform state", hint=SHOW_HINT)


def _shown(state: Mapping[str, Any]) -> Mapping[str, Any]:
    for path in SHOWN_STATES:
        found: Any = state
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    return {}


def _module(module: Mapping[str, Any]) -> Iterator[Resource]:
    for resource in module.get("resources", ()):
        if resource["mode"] == "managed" and "deposed_key" not in resource:
            yield Resource(resource["address"], resource["type"], resource["name"], resource["values"])
    for child in module.get("child_modules", ()):
        yield from _module(child)


def _instances(resource: Mapping[str, Any]) -> Iterator[Resource]:
    if resource["mode"] != "managed":
        return
    base = ".".join(part for part in (resource.get("module"), resource["type"], resource["name"]) if part)
    for instance in resource["instances"]:
        if "deposed" in instance:
            continue
        key = instance.get("index_key")
        index = "" if key is None else f"[{json.dumps(key)}]"
        yield Resource(f"{base}{index}", resource["type"], resource["name"], instance["attributes"])
