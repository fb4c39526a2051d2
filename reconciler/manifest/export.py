"""What the store holds as the manifests that an author would have written: nothing that a default says already.

Called by `export` and `show --webhook`. Applying what it gives changes nothing: export, then plan, is empty.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from reconciler.models.rule import check_spec
from reconciler.models.webhook import API_VERSION, Policy, Spec, Trigger, Webhook

HOST_DEFAULTS: Final = ("rate_limit", "timeout_in_sec")  # of spec: their defaults follow from the host
HIDDEN: Final = "(sensitive value)"


def webhook_manifest(webhook: Webhook) -> dict[str, Any]:
    """The webhook's document without its defaults, keys in the schema's order."""
    full, told = webhook.document(), webhook.model_dump(mode="json", exclude_defaults=True)
    spec = _kept(full["spec"], told["spec"])
    for key, default in _host_defaults(webhook.host).items():
        if full["spec"][key] == default:
            spec.pop(key, None)
        elif key not in spec:
            spec[key] = full["spec"][key]
    ordered = {key: spec[key] for key in full["spec"] if key in spec}
    return {**full, "metadata": _kept(full["metadata"], told["metadata"]), "spec": ordered}


def project_manifest(owner: str, policy: Policy) -> dict[str, Any] | None:
    """The project by which an owner's webhooks are applied as his; None where a project would say nothing."""
    spec: dict[str, Any] = {"owner": owner} if owner else {}
    limits = policy.model_dump(mode="json", exclude_defaults=True)
    if limits:
        spec["policy"] = limits
    return {"apiVersion": API_VERSION, "kind": "Project", "spec": spec} if spec else None


def hide_literals(document: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document with HIDDEN for every secret in plain text, and what it says of each. No manifest can bring one
    into a store; a hand that edits the database can."""
    faults = [fault for fault in check_spec(document["spec"]) if fault.code == "secret.literal"]
    hidden = dict(document)
    for fault in faults:
        hidden = _hide(hidden, fault.path)
    return hidden, tuple(fault.message for fault in faults)


def _hide(value: Any, path: tuple[str | int, ...]) -> Any:
    if not path:
        return HIDDEN
    first, *rest = path
    if isinstance(value, list) and isinstance(first, int):
        return [_hide(item, tuple(rest)) if index == first else item for index, item in enumerate(value)]
    return {**value, first: _hide(value[first], tuple(rest))}


def _kept(full: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What is in both, as `full` says it."""
    return {
        key: _kept(item, told[key]) if isinstance(item, Mapping) and isinstance(told[key], Mapping) else item
        for key, item in full.items()
        if key in told
    }


@lru_cache(maxsize=128)
def _host_defaults(host: str) -> Mapping[str, Any]:
    spec = Spec(url=f"https://{host}/", triggers=(Trigger.MANUAL,))
    return spec.model_dump(mode="json", include=set(HOST_DEFAULTS))
