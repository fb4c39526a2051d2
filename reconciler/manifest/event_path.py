"""The paths of `set` in a test: to a field of an event, checked against the event's schema, and the field replaced.

Called by `manifest.webhook_test`. Pure but for the event, which is changed.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from reconciler.jsontext import JsonValue
from reconciler.manifest.field import did_you_mean
from reconciler.models.event import TRIGGER_OF_EVENT_TYPE, schema_of
from reconciler.models.fault import Path, join_path
from reconciler.models.webhook import Trigger
from reconciler.template.shape import Shape, alternatives, step

_PART: Final = re.compile(
    r"""(?:\A|\.)(?P<name>[^.\[\]"]+) | \.?\[(?P<index>[0-9]{1,6})\] | \.?\["(?P<quoted>(?:[^"\\]|\\.)*)"\]""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(.)")


class PathProblem(ValueError):
    """The path leads nowhere; `hint` says where it could."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def read_path(text: str) -> Path:
    """The keys of a path like `data.access_groups[0].integration.name` or `data.custom_fields["a.b"]`; the way
    templates write an index, `.[0]`, is taken too. Raises PathProblem."""
    keys: list[str | int] = []
    position = 0
    while position < len(text) or not keys:
        part = _PART.match(text, position)
        if part is None:
            raise PathProblem("is no path", "write it like data.access_groups[0].integration.name")
        position = part.end()
        if part["index"] is not None:
            keys.append(int(part["index"]))
        else:
            keys.append(part["name"] if part["name"] is not None else _ESCAPED.sub(r"\1", part["quoted"]))
    return tuple(keys)


def check_path(keys: Path, event_type: object) -> None:
    """Raise PathProblem for a field that the schema of such events lacks; unknown ones may have any field."""
    if event_type not in TRIGGER_OF_EVENT_TYPE and event_type != Trigger.MANUAL.value:
        return
    root = schema_of([event_type])
    shape = alternatives(root, root)
    for depth, key in enumerate(keys):
        below: Shape = [part for schema in shape for part in _steps(schema, key, root)]
        if not below:
            around = join_path(keys[:depth])
            known = [name for schema in shape for name in schema.get("properties") or ()]
            message = f"leads nowhere: `{around}` has no field `{key}`" if around else f"leads nowhere: `{key}`"
            hint = did_you_mean(str(key), known) or (f"known here: {', '.join(known)}" if known else "")
            raise PathProblem(message[:200], hint)
        shape = below


def _steps(schema: Any, key: str | int, root: Any) -> Iterator[Any]:
    is_list = schema.get("type") == "array"
    if is_list == isinstance(key, int) or not schema:
        found = step(schema, str(key))
        yield from alternatives(found, root) if found is not None else ()


def replace_at(event: dict[str, JsonValue], keys: Path, value: JsonValue) -> None:
    """Put a value where the keys lead. What is missing or null on the way becomes an object or a list; an index may be
    that of the next item. Raises PathProblem."""
    here: Any = event
    for depth, key in enumerate(keys):
        around = join_path(keys[:depth])
        if isinstance(key, int):
            if not isinstance(here, list):
                raise PathProblem(f"leads nowhere: `{around}` is no list")
            if key > len(here):
                raise PathProblem(f"leads nowhere: `{around}` has {len(here)} items, counted from 0")
            if key == len(here):
                here.append(None)
        elif not isinstance(here, dict):
            raise PathProblem(f"leads nowhere: `{around}` has no fields")
        if depth == len(keys) - 1:
            here[key] = value
            return
        below = here[key] if isinstance(key, int) else here.get(key)
        if below is None:
            below = [] if isinstance(keys[depth + 1], int) else {}
            here[key] = below
        here = below
