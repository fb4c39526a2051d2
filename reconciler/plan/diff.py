"""Per-field changes between two webhook documents, and what a document says at all.

Called by `make_plan` for webhooks known to differ, and by the views. Lists and the body template are one attribute
each, so that applying the fields to `before` gives `after` exactly.
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
    return tuple(sorted(_changes((), before, after), key=lambda change: change.path))


def attributes(document: Document) -> Iterator[tuple[Path, Any]]:
    """Every attribute of `metadata` and `spec` with its path: in the document's order, inner mappings sorted."""
    for part in ("metadata", "spec"):
        for key, value in document[part].items():
            yield from _leaves((part, key), value)


def told_attributes(webhook: Webhook) -> Iterator[tuple[Path, Any]]:
    """The attributes that say more than the defaults do, and those that everybody wants to see."""
    defaults = default_document(webhook.host)
    for path, value in attributes(webhook.document()):
        if path in ALWAYS_TOLD or value_at(defaults, path) != value:
            yield path, value


@lru_cache(maxsize=128)
def default_document(host: str) -> Document:
    """The document of a webhook that says no more than it must; some defaults follow from the host."""
    spec = Spec(url=f"https://{host}/", triggers=(Trigger.REQUEST_CREATED,))
    return Webhook(metadata=Metadata(name=WebhookName("name")), spec=spec).document()


def value_at(document: Document, path: Path) -> Any:
    """The value at a path, or ABSENT."""
    value: Any = document
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return ABSENT
        value = value[key]
    return value


def _changes(path: Path, before: Any, after: Any) -> Iterator[FieldChange]:
    # 1. two mappings: key by key; 2. one that comes or goes: each of its attributes; 3. anything else as a whole
    if isinstance(before, Mapping) and isinstance(after, Mapping) and path != BODY_PATH:
        for key in before.keys() | after.keys():
            yield from _changes((*path, key), before.get(key, ABSENT), after.get(key, ABSENT))
    elif before is ABSENT:
        yield from (FieldChange(leaf, ABSENT, value) for leaf, value in _leaves(path, after))
    elif after is ABSENT:
        yield from (FieldChange(leaf, value, ABSENT) for leaf, value in _leaves(path, before))
    elif _bytes(path, before) != _bytes(path, after):
        yield FieldChange(path, before, after)


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if path == BODY_PATH or not isinstance(value, Mapping):
        yield path, value
        return
    for key in sorted(value):
        yield from _leaves((*path, key), value[key])


def _bytes(path: Path, value: Any) -> bytes:
    """What equality means here: Python says that True == 1 == 1.0. A mapping body is sent in its author's order, so
    the order counts."""
    return orjson.dumps(value, option=None if path == BODY_PATH else orjson.OPT_SORT_KEYS)
