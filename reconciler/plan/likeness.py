"""How much two webhooks say the same: to tell an applied swap from one to come, and a rename nobody has declared.

Called by `plan.identity` and `plan.plan`. A suggestion changes nothing: a webhook is renamed only by `renamed_from`.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, Final

import orjson

from reconciler.models.webhook import Webhook, WebhookName, host_of
from reconciler.plan.change import NAME_PATH, Action, Change, Suggestion
from reconciler.plan.diff import ABSENT, Path, default_attributes, told_attributes

SUGGESTED_PERCENT: Final = 80  # below this, one team's webhooks would look like each other
PAIRS_MAX: Final = 1000  # so many pairs are compared whatever they are, in some 50 ms
TWINS_MAX: Final = 5  # a value that more webhooks have tells nothing about which of them is meant
URL_PATH: Final[Path] = ("spec", "url")
SAID: Final = (URL_PATH, ("spec", "triggers"))  # these have no default
SAME_HOST: Final = 0.5  # another path of one host is another flow, perhaps a moved one

_Pair = tuple[Webhook, Webhook]


def equal_attributes(first: Webhook, second: Webhook) -> int:
    """How many of the two documents' fields are equal, the name aside."""
    one, other = first.document(), second.document()
    return sum(
        _bytes(one[part].get(key)) == _bytes(other[part].get(key))
        for part in ("metadata", "spec")
        for key in one[part].keys() | other[part].keys()
        if (part, key) != NAME_PATH
    )


def suggest_renames(changes: Iterable[Change]) -> tuple[Suggestion, ...]:
    """Deletes and creates that look like renames, the likest first chosen, each webhook once; sorted by new name."""
    listed = tuple(changes)
    deleted = [change.before.webhook for change in listed if change.action is Action.DELETE and change.before]
    created = [change.after for change in listed if change.action is Action.CREATE and change.after]
    scored = [(_percent(old, new), old.name, new.name) for old, new in _pairs(deleted, created)]
    taken: set[tuple[str, WebhookName]] = set()
    chosen: list[Suggestion] = []
    for percent, old, new in sorted(scored, key=lambda item: (-item[0], *item[1:])):
        if percent >= SUGGESTED_PERCENT and not taken & {("old", old), ("new", new)}:
            taken |= {("old", old), ("new", new)}
            chosen.append(Suggestion(old, new, percent))
    return tuple(sorted(chosen, key=lambda item: item.new))


def _pairs(deleted: Sequence[Webhook], created: Sequence[Webhook]) -> Iterator[_Pair]:
    """Every pair where they are few; else those that share a URL or a body which hardly another webhook has."""
    if len(deleted) * len(created) <= PAIRS_MAX:
        yield from product(deleted, created)
        return
    by_value: dict[bytes, list[Webhook]] = {}
    for new in created:
        for value in _telling(new):
            by_value.setdefault(value, []).append(new)
    for old in deleted:
        twins = [by_value.get(value, []) for value in _telling(old)]
        found = {new.name: new for listed in twins if len(listed) <= TWINS_MAX for new in listed}
        yield from ((old, new) for new in found.values())


def _telling(webhook: Webhook) -> Iterator[bytes]:
    yield _bytes(webhook.spec.url)
    if webhook.spec.body_template is not None:
        yield _bytes(webhook.spec.body_template)


def _percent(old: Webhook, new: Webhook) -> int:
    """The mean likeness of all that either says beyond the defaults, the name aside; 100 means equal."""
    before, after = dict(_told(old)), dict(_told(new))
    paths = before.keys() | after.keys()
    likeness = sum(_likeness(path, before.get(path, ABSENT), after.get(path, ABSENT)) for path in paths)
    return int(100 * likeness / len(paths))


def _told(webhook: Webhook) -> Iterator[tuple[Path, Any]]:
    """What the webhook says of its own: a method or status that everybody has tells nothing."""
    defaults = default_attributes(webhook.host)
    for path, value in told_attributes(webhook):
        if path in SAID or (path != NAME_PATH and defaults.get(path, ABSENT) != value):
            yield path, value


def _likeness(path: Path, before: Any, after: Any) -> float:
    if ABSENT in (before, after):
        return 0.0
    if _bytes(before) == _bytes(after):
        return 1.0
    if path == URL_PATH:
        return SAME_HOST if host_of(before) == host_of(after) else 0.0
    parts, others = Counter(_parts(before)), Counter(_parts(after))
    return 2 * (parts & others).total() / (parts.total() + others.total() or 1)


def _parts(value: Any) -> Iterable[Hashable]:
    """What a value is made of: a text's words, a list's items."""
    if isinstance(value, str):
        return value.split()
    return map(_bytes, value) if isinstance(value, list) else (_bytes(value),)


def _bytes(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
