"""Two objects, lists or texts side by side as lines: what goes and comes in place, what stays counted.

Called by `view_field`. The marks stand in one column however deep a value is nested, so that they can be read without
colour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.cli import view
from reconciler.cli.view_line import Line
from reconciler.plan.tree import Entry, Leaf, Node, Tree

MARK_INDENT: Final = 10  # the text stands two further, below an attribute's name
INLINE_MAX: Final = 60  # an unchanged object that is no longer stands on one line


@dataclass(frozen=True, slots=True)
class TreeView:
    """How much is shown: `context` unchanged neighbours of a change (None: all), whether the rest is counted, and what
    one item is called."""

    context: int | None
    is_counted: bool = True
    unit: str = "key"


def entry_lines(entries: Sequence[Entry], shown: TreeView, depth: int = 0) -> Iterator[Line]:
    """The entries of an object, a list or a text."""
    hidden = 0
    for entry, is_shown in zip(entries, _windowed(entries, shown.context), strict=True):
        if not is_shown:
            hidden += 1
            continue
        yield from _hidden_line(hidden, shown, depth)
        hidden = 0
        yield from _entry_lines(entry, shown, depth)
    yield from _hidden_line(hidden, shown, depth)


def tree_lines(label: str | None, tree: Tree, depth: int, mark: str = "") -> Iterator[Line]:
    """A whole value: an item a line, what is short on one."""
    if isinstance(tree, Leaf) or (inline := _inline(tree)) != _folded(tree):
        yield _line(label, tree.text if isinstance(tree, Leaf) else inline, depth, mark)
        return
    opening, closing = tree.ends
    yield _line(label, opening, depth, mark)
    for inner, item in tree.items:
        yield from tree_lines(inner, item, depth + 1, mark)
    yield _line(None, closing, depth, mark)


def text_line(text: str) -> Line:
    """A line of a text that comes, goes or stays as a whole."""
    return _line(None, text, 0)


def _entry_lines(entry: Entry, shown: TreeView, depth: int) -> Iterator[Line]:
    # 1. unchanged, 2. changed inside, 3. gone, come, or replaced
    if entry.is_same and entry.after is not None:
        yield from _same_lines(entry.label, entry.after, shown, depth)
    elif entry.children:
        assert isinstance(entry.after, Node)
        opening, closing = entry.after.ends
        yield _line(entry.label, opening, depth)
        yield from order_line(entry, depth + 1)
        yield from entry_lines(entry.children, _unit_of(entry.after, shown), depth + 1)
        yield _line(None, closing, depth)
    else:
        for mark, tree in (("-", entry.before), ("+", entry.after)):
            if tree is not None:
                yield from tree_lines(entry.label, tree, depth, mark)


def order_line(entry: Entry, depth: int) -> Iterator[Line]:
    """A note where what stays has changed its order, which is sent."""
    if entry.is_reordered:
        yield _line(None, "# (in another order)", depth)


def _same_lines(label: str | None, tree: Tree, shown: TreeView, depth: int) -> Iterator[Line]:
    if shown.context is None:
        yield from tree_lines(label, tree, depth)
    else:
        yield _line(label, _inline(tree), depth)


def _inline(tree: Tree) -> str:
    """A value on one line; what would be long is left out."""
    if isinstance(tree, Leaf):
        return tree.text
    items = ", ".join(f"{label}: {_inline(item)}" if label else _inline(item) for label, item in tree.items)
    opening, closing = tree.ends
    return f"{opening}{items}{closing}" if len(items) <= INLINE_MAX and "…" not in items else _folded(tree)


def _folded(tree: Node) -> str:
    return "…".join(tree.ends)


def _unit_of(node: Node, shown: TreeView) -> TreeView:
    return TreeView(shown.context, shown.is_counted, "key" if node.brackets == "{}" else "element")


def _windowed(entries: Sequence[Entry], context: int | None) -> list[bool]:
    """Which entries are shown: the changed, `context` unchanged ones around them, and what identifies the item. A
    single one is never hidden: the note would be no shorter."""
    if context is None:
        return [True] * len(entries)
    is_shown = [entry.is_identity for entry in entries]
    for index, entry in enumerate(entries):
        if not entry.is_same:
            first, last = max(0, index - context), min(len(entries), index + context + 1)
            is_shown[first:last] = [True] * (last - first)
    for index in range(len(entries)):
        around = is_shown[max(0, index - 1) : index] + is_shown[index + 1 : index + 2]
        if context and not is_shown[index] and all(around):
            is_shown[index] = True
    return is_shown


def _hidden_line(count: int, shown: TreeView, depth: int) -> Iterator[Line]:
    if count and shown.is_counted:
        yield _line(None, f"# ({count} unchanged {shown.unit}{'s' if count != 1 else ''} hidden)", depth)


def _line(label: str | None, text: str, depth: int, mark: str = "") -> Line:
    """One item. The mark's column is the same at every depth."""
    shown = f"{label}: {text}" if label is not None else text
    if mark and shown[-1:].isspace():
        shown = _ended_visibly(shown)
    parts = shown.split("\t") if "\t" in shown else (shown,)  # templates have tabs
    padded = "  " * depth + "\t".join(map(view.distinct, parts))
    return Line(padded, indent=MARK_INDENT if mark else MARK_INDENT + 2, mark=mark)


def _ended_visibly(text: str) -> str:
    """A line that goes or comes, its spaces at the end spelt out: they may be all that has changed."""
    kept = text.rstrip(" \t")
    return kept + "".join(f"\\x{ord(item):02x}" for item in text[len(kept) :])
