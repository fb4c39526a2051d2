"""Per-field changes between two webhook documents, and what a document says at all; the home of deepdiff.

Called by `make_plan` for webhooks known to differ (deepdiff takes 200 ms to import), and by the views. Lists and the
body template are one attribute each, so that applying the fields to `before` gives `after` exactly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import orjson

from reconciler.models.webhook import Metadata, Spec, Trigger, Webhook, WebhookName

Path = tuple[str, ...]
Document = Mapping[str, Any]

BODY_PATH: Final[Path] = ("spec", "body_template")
ALWAYS_TOLD: Final = frozenset(("spec", key) for key in ("status", "method", "url", "triggers"))


class Absent(Enum):
    """What stands where an attribute is not there; null is a value."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One attribute before and after; the path leads through mappings only. A side may be ABSENT, not both."""

    path: Path
    before: Any
    after: Any


def field_changes(before: Document, after: Document) -> tuple[FieldChange, ...]:
    """Every attribute that differs, sorted by path."""
    from deepdiff import DeepDiff

    tree = DeepDiff(
        _comparable((), before),
        _comparable((), after),
        view="tree",
        threshold_to_diff_deeper=0,  # its default folds two mappings with few common keys into one change
        ignore_private_variables=False,  # its default passes over keys that begin with two underscores
    )
    paths: set[Path] = {tuple(level.path(output_format="list")) for levels in tree.values() for level in levels}
    changes = (change for path in paths for change in _expanded(path, value_at(before, path), value_at(after, path)))
    return tuple(sorted(changes, key=lambda change: change.path))


def attributes(document: Document) -> list[tuple[Path, Any]]:
    """Every attribute of `metadata` and `spec` with its path: in the document's order, inner mappings sorted."""
    found: list[tuple[Path, Any]] = []
    for part in ("metadata", "spec"):
        for key, value in document[part].items():
            _gather((part, key), value, found)
    return found


def told_attributes(webhook: Webhook) -> Iterator[tuple[Path, Any]]:
    """The attributes that say more than the defaults do, and those that everybody wants to see."""
    defaults = default_attributes(webhook.host)
    return (item for item in attributes(webhook.document()) if is_told(*item, defaults))


def is_told(path: Path, value: Any, defaults: Mapping[Path, Any]) -> bool:
    """Whether an attribute says more than the defaults do, or is one that everybody wants to see."""
    return path in ALWAYS_TOLD or defaults.get(path, ABSENT) != value


@lru_cache(maxsize=128)
def default_attributes(host: str) -> Mapping[Path, Any]:
    """The attributes of a webhook that says no more than it must; some defaults follow from the host."""
    spec = Spec(url=f"https://{host}/", triggers=(Trigger.REQUEST_CREATED,))
    return dict(attributes(Webhook(metadata=Metadata(name=WebhookName("name")), spec=spec).document()))


def value_at(document: Document, path: Path) -> Any:
    """The value at a path, or ABSENT."""
    value: Any = document
    for key in path:
        if not _is_mapping(value) or key not in value:
            return ABSENT
        value = value[key]
    return value


def _comparable(path: Path, value: Any) -> Any:
    """Mappings as they are, and what is one attribute as its JSON text: deepdiff is quadratic in lists, and Python
    says that True == 1 == 1.0. A mapping body is sent in its author's order, so the order counts."""
    if path == BODY_PATH:
        return orjson.dumps(value).decode()
    if isinstance(value, Mapping):
        return {key: _comparable((*path, key), item) for key, item in value.items()}
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _expanded(path: Path, before: Any, after: Any) -> Iterator[FieldChange]:
    """A mapping that comes or goes is a change of each of its attributes."""
    if before is ABSENT:
        yield from (FieldChange(leaf, ABSENT, value) for leaf, value in _gather(path, after, []))
    elif after is ABSENT:
        yield from (FieldChange(leaf, value, ABSENT) for leaf, value in _gather(path, before, []))
    else:
        yield FieldChange(path, before, after)


def _gather(path: Path, value: Any, found: list[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    """Add the attributes in a value to those that were found; a generator would take twice as long."""
    if not _is_mapping(value) or path == BODY_PATH:
        found.append((path, value))
    else:
        for key in sorted(value):
            _gather((*path, key), value[key], found)
    return found


def _is_mapping(value: Any) -> bool:
    """Nearly always a dict, or nothing like it, which is told without asking the abstract class."""
    kind = value.__class__
    return kind is dict or (kind is not str and kind is not list and isinstance(value, Mapping))
