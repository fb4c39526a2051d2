"""Values and JSON-looking body templates as trees, and two trees side by side, for people to read.

Called by the views. Leaves hold the text that is shown, so that equal leaves read equally; expressions of a template
stay as they were written. The change of a plan itself is `plan.diff`: nothing is decided here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler import jsontext
from reconciler.plan.align import aligned

IDENTIFYING_KEYS: Final = ("json_path", "key", "id", "name", "path", "title", "label")  # tried first, in this order

_OPEN, _CLOSE, _ALONE = "\ue000", "\ue001", "\ue002"  # around an expression's number; the last one outside a string
_STRING_OR_HOLE: Final = re.compile(rf'"(?:[^"\\]|\\.)*"|{_OPEN}(\d+){_CLOSE}', re.DOTALL)
_HOLE: Final = re.compile(rf"{_OPEN}(\d+){_CLOSE}")
_HOLE_ALONE: Final = re.compile(rf"{_ALONE}(\d+){_CLOSE}")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value on one line, as it is shown."""

    text: str


@dataclass(frozen=True, slots=True)
class Node:
    """An object (`brackets` {}) or a list ([]). A list's items have no label. `is_text`: it is JSON in a string."""

    brackets: str
    items: tuple[tuple[str | None, "Tree"], ...]
    is_text: bool = False

    @property
    def ends(self) -> tuple[str, str]:
        """How it opens and closes."""
        quote = '"' if self.is_text else ""
        return quote + self.brackets[0], self.brackets[1] + quote


Tree = Leaf | Node


@dataclass(frozen=True, slots=True)
class Entry:
    """One key or item on both sides; a side may be None, not both.

    `children` are there where both sides are alike in kind and differ inside. `is_identity`: its value tells which
    item of a list this is. `is_reordered`: what both sides have inside stands in another order.
    """

    label: str | None
    before: Tree | None
    after: Tree | None
    children: tuple["Entry", ...] = ()
    is_identity: bool = False
    is_reordered: bool = False

    @property
    def is_same(self) -> bool:
        """Whether there is nothing to show but where it stands."""
        return self.before == self.after

    @property
    def is_only_reordered(self) -> bool:
        """Whether both sides have the same inside, at every depth, though not in the same order."""
        return self.is_same or (bool(self.children) and all(child.is_only_reordered for child in self.children))


def value_tree(value: Any) -> Tree:
    """A value as JSON shows it."""
    if isinstance(value, dict):
        return Node("{}", tuple((jsontext.quote(key), value_tree(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return Node("[]", tuple((None, value_tree(item)) for item in value))
    return Leaf(jsontext.dumps(value))


def template_tree(text: str) -> Node | None:
    """A body template that is a JSON object or list with expressions in place; None for any other."""
    if any(mark in text for mark in (_OPEN, _CLOSE, _ALONE)):
        return None
    from reconciler.template.parse import parse  # heavy, and few plans change a body
    from reconciler.template.syntax import Mustache, Secret, Text

    parsed = parse(text)
    if parsed.faults or not all(isinstance(node, Text | Secret | Mustache) for node in parsed.program.body):
        return None
    holes: list[str] = []
    parts: list[str] = []
    end = 0
    for node in parsed.program.body:
        if isinstance(node, Secret | Mustache):
            parts += [text[end : node.start], f"{_OPEN}{len(holes)}{_CLOSE}"]
            holes.append(text[node.start : node.end])
            end = node.end
    return _read("".join((*parts, text[end:])), holes)


def text_tree(text: str) -> Node:
    """A text as the list of its lines, which end with a line feed alone."""
    return Node("[]", tuple((None, Leaf(line)) for line in text.split("\n")))


def compare(before: Node, after: Node) -> Entry:
    """Two objects, or two lists, side by side. Objects are matched by key, a list's objects by what identifies them."""
    return _entry(None, before, after)


def _read(text: str, holes: Sequence[str]) -> Node | None:
    def alone(match: re.Match[str]) -> str:
        return match[0] if match[1] is None else f'"{_ALONE}{match[1]}{_CLOSE}"'

    try:
        value = jsontext.loads(_STRING_OR_HOLE.sub(alone, text))
    except ValueError:
        return None
    tree = _template_value(value, holes)
    return tree if isinstance(tree, Node) else None


def _template_value(value: Any, holes: Sequence[str]) -> Tree:
    if isinstance(value, dict):
        return Node("{}", tuple((_quoted(key, holes), _template_value(item, holes)) for key, item in value.items()))
    if isinstance(value, list):
        return Node("[]", tuple((None, _template_value(item, holes)) for item in value))
    if not isinstance(value, str):
        return value_tree(value)
    if match := _HOLE_ALONE.fullmatch(value):
        return Leaf(holes[int(match[1])])
    if value.lstrip().startswith(("{", "[")) and (inner := _read(value, holes)) is not None:
        return Node(inner.brackets, inner.items, is_text=True)
    return Leaf(_quoted(value, holes))


def _quoted(text: str, holes: Sequence[str]) -> str:
    """A JSON string with the expressions as they were written."""
    return _HOLE.sub(lambda match: holes[int(match[1])], jsontext.quote(text))


def _entry(label: str | None, before: Tree | None, after: Tree | None, *, is_identity: bool = False) -> Entry:
    if before == after or not _is_alike(before, after):
        return Entry(label, before, after, is_identity=is_identity)
    assert isinstance(before, Node) and isinstance(after, Node)
    identifying = _identifying_key(before, after)
    if before.brackets == "[]" and identifying is None:
        return Entry(label, before, after, tuple(_sequence(before, after)))
    old, new = _by_key(before, identifying), _by_key(after, identifying)
    order = _merged_order(list(old), list(new))
    children = tuple(_child(key, old, new, identifying) for key in order)
    kept_before, kept_after = [key for key in old if key in new], [key for key in new if key in old]
    return Entry(label, before, after, children, is_reordered=kept_before != kept_after)


def _is_alike(before: Tree | None, after: Tree | None) -> bool:
    """Whether two values are worth comparing inside: both objects or both lists, both as JSON or both as text."""
    return (
        isinstance(before, Node)
        and isinstance(after, Node)
        and (before.brackets, before.is_text) == (after.brackets, after.is_text)
    )


_Keyed = dict[str, tuple[str | None, Tree]]  # what an item is matched by → its label and value


def _by_key(node: Node, identifying: str | None) -> _Keyed:
    """The items by their labels; those of a list by what stands under its identifying key."""
    if identifying is None:
        return {label: (label, item) for label, item in node.items if label is not None}
    return {_value_of(item, identifying) or "": (None, item) for _, item in node.items}


def _child(key: str, old: _Keyed, new: _Keyed, identifying: str | None) -> Entry:
    label, _ = new.get(key) or old[key]
    before, after = (side[key][1] if key in side else None for side in (old, new))
    entry = _entry(label, before, after)
    if identifying is None or not entry.children:
        return entry
    told = tuple(replace(child, is_identity=child.label == identifying) for child in entry.children)
    return replace(entry, children=told)


def _merged_order(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The new order, with each key that is gone where it stood."""
    there = set(new)
    order: list[str] = []
    for operation, old_start, old_end, new_start, new_end in aligned(old, new):
        if operation != "equal":
            order += [key for key in old[old_start:old_end] if key not in there]
        order += new[new_start:new_end]
    return order


def _sequence(before: Node, after: Node) -> Iterator[Entry]:
    """A list's items in place; of what was replaced, objects and lists are compared inside, one by one."""
    old, new = [item for _, item in before.items], [item for _, item in after.items]
    for operation, old_start, old_end, new_start, new_end in aligned(old, new):
        removed, added = old[old_start:old_end], new[new_start:new_end]
        if operation == "equal":
            yield from (Entry(None, item, item) for item in removed)
            continue
        pairs = 0
        while pairs < min(len(removed), len(added)) and _is_alike(removed[pairs], added[pairs]):
            yield _entry(None, removed[pairs], added[pairs])
            pairs += 1
        yield from (Entry(None, item, None) for item in removed[pairs:])
        yield from (Entry(None, None, item) for item in added[pairs:])


def _identifying_key(before: Node, after: Node) -> str | None:
    """The key that every object of two lists has, with a value of its own; None where there is none, or no list."""
    items = [item for _, item in (*before.items, *after.items)]
    first = items[0]
    if before.brackets == "{}" or not isinstance(first, Node):
        return None
    candidates = [jsontext.quote(key) for key in IDENTIFYING_KEYS]
    candidates += [label for label, _ in first.items if label is not None and label not in candidates]
    for key in candidates:
        if all(_is_unique([_value_of(item, key) for _, item in side.items]) for side in (before, after)):
            return key
    return None


def _is_unique(values: Sequence[str | None]) -> bool:
    return None not in values and len(set(values)) == len(values)


def _value_of(item: Tree, key: str) -> str | None:
    """The simple value under a key of an object."""
    items = item.items if isinstance(item, Node) and item.brackets == "{}" else ()
    return next((value.text for label, value in items if label == key and isinstance(value, Leaf)), None)
