"""Which live webhook each desired one continues: by its name, or by `metadata.renamed_from`.

Called by `make_plan`. A `renamed_from` may stay in its manifest for ever, so it counts only while it can still mean
something; what was renamed already is not renamed again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.errors import Problem, Severity
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import Webhook, WebhookName
from reconciler.plan.likeness import equal_attributes

Claims = dict[WebhookName, WebhookName]  # a desired name → the live name it takes over


@dataclass(frozen=True, slots=True)
class Identities:
    """`before` maps desired names to what they continue (a name without an entry is new); `left` continues nowhere."""

    before: Mapping[WebhookName, LiveWebhook]
    left: tuple[LiveWebhook, ...]
    warnings: tuple[Problem, ...]
    conflicts: tuple[str, ...]


def match_identities(desired: Mapping[WebhookName, Webhook], live: Iterable[LiveWebhook]) -> Identities:
    """Match desired with live webhooks; names may move in chains and swaps.

    A rename counts while the old name is live and the new name is free, or is itself left by a rename that counts.
    """
    by_name = {item.webhook.name: item for item in live}
    claims = {
        name: old
        for name, webhook in sorted(desired.items())
        if (old := webhook.renamed_from) is not None and old != name and old in by_name
    }
    blocked = _drop_blocked(claims, by_name)  # first: what cannot count conflicts with nothing
    conflicts = _drop_conflicts(claims)
    blocked |= _drop_blocked(claims, by_name)
    taken = set(claims.values())
    warnings = [
        _no_effect(name, f"webhook.{name} exists already, so webhook.{old} is not renamed to it")
        for name, old in blocked.items()
        if old not in desired and old not in taken
    ]
    warnings += _drop_applied_cycles(claims, desired, by_name)
    taken = set(claims.values())
    before = {name: by_name[old] for name, old in claims.items()}
    before |= {name: by_name[name] for name in desired if name not in claims and name in by_name and name not in taken}
    continued = {item.webhook.name for item in before.values()}
    left = tuple(item for name, item in sorted(by_name.items()) if name not in continued)
    return Identities(before, left, tuple(warnings), tuple(conflicts))


def _drop_conflicts(claims: Claims) -> list[str]:
    """Nobody gets what two claim."""
    claimants: dict[WebhookName, list[WebhookName]] = {}
    for name, old in claims.items():
        claimants.setdefault(old, []).append(name)
    conflicts = []
    for old, names in sorted(claimants.items()):
        if len(names) > 1:
            listed = ", ".join(f"webhook.{name}" for name in names)
            conflicts.append(f"{len(names)} webhooks are renamed from webhook.{old}: {listed}")
            for name in names:
                del claims[name]
    return conflicts


def _drop_blocked(claims: Claims, by_name: Mapping[WebhookName, LiveWebhook]) -> Claims:
    """Drop renames whose new name is live and stays so, and return them; each drop may block the rename of what keeps
    its name."""
    dropped: Claims = {}
    takers = Counter(claims.values())
    blocked = [name for name in claims if name in by_name and not takers[name]]
    while blocked:
        name = blocked.pop()
        old = dropped[name] = claims.pop(name)
        takers[old] -= 1
        if old in claims and not takers[old]:
            blocked.append(old)
    return dropped


def _drop_applied_cycles(
    claims: Claims, desired: Mapping[WebhookName, Webhook], by_name: Mapping[WebhookName, LiveWebhook]
) -> Iterator[Problem]:
    """A cycle of renames (a swap) looks the same before and after it was applied; the contents tell which it is."""
    for cycle in list(_cycles(claims)):
        kept = sum(equal_attributes(by_name[name].webhook, desired[name]) for name in cycle)
        moved = sum(equal_attributes(by_name[claims[name]].webhook, desired[name]) for name in cycle)
        if moved > kept:
            continue
        for name in cycle:
            old = claims.pop(name)
            if kept == moved and by_name[name].digest != desired[name].digest():
                yield _no_effect(name, f"webhook.{name} looks no more like webhook.{old} than like itself")


def _cycles(claims: Claims) -> Iterator[tuple[WebhookName, ...]]:
    seen: set[WebhookName] = set()
    for start in claims:
        path: dict[WebhookName, None] = {}
        name = start
        while name in claims and name not in seen:
            seen.add(name)
            path[name] = None
            name = claims[name]
        if name in path:  # claims are one to one, so a path that closes does so at its start
            yield tuple(path)


def _no_effect(name: WebhookName, fact: str) -> Problem:
    return Problem(
        severity=Severity.WARNING,
        code="rename_without_effect",
        message=f"`renamed_from` has no effect: {fact}",
        path=f"webhook.{name}",
        hint="remove `renamed_from` from the manifest",
    )
