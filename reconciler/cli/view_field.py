"""What one webhook's block of a plan holds: its fields before and after, each as its kind of value reads best.

Called by the plan's views; values on one line are `view_value`'s. Values are masked before they are looked at.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from reconciler import jsontext
from reconciler.cli import view
from reconciler.cli.plan_option import CONTEXT_LINES
from reconciler.cli.view_line import Line
from reconciler.cli.view_tree import TreeView, entry_lines, order_line, text_line, tree_lines
from reconciler.cli.view_value import FIELD_INDENT, Room, clipped, fingerprint, replaced_lines, value_text
from reconciler.plan.diff import ABSENT, BODY_PATH, Path
from reconciler.plan.redact import shown
from reconciler.plan.tree import Leaf, Node, compare, template_tree, text_tree, value_tree

CLIPPED_LINES: Final = 12  # what is left of a long text where values are clipped

_PARTIALS_PATH: Final = ("spec", "partials")
_URL_PATHS: Final = (("spec", "url"), ("spec", "auth", "oauth2", "token_url"))


@dataclass(frozen=True, slots=True)
class PlanView:
    """How much of a plan is shown.

    `context` counts unchanged neighbours of a change (None: all); `shows_unchanged` tells also of what stays as it is
    and of defaults; `counts_hidden` says how much was left out; `clips` shortens long values to their beginning, size
    and hash; `width` is that of the terminal (None: no terminal, so lines are never broken).
    """

    context: int | None = CONTEXT_LINES
    shows_unchanged: bool = False
    counts_hidden: bool = True
    clips: bool = False
    width: int | None = None

    @property
    def room(self) -> Room:
        """What a value on one line must know."""
        return Room(self.clips, self.width)


NORMAL: Final = PlanView()
FULL: Final = PlanView(context=None, shows_unchanged=True)
CONCISE: Final = PlanView(counts_hidden=False, clips=True)


class Side(NamedTuple):
    """One attribute on both sides; ABSENT where it is not there. Equal sides are shown without a mark."""

    path: Path
    before: Any
    after: Any

    @property
    def mark(self) -> str:
        """`+`, `-`, `~` or nothing."""
        if self.before is ABSENT or self.after is ABSENT:
            return "+" if self.before is ABSENT else "-"
        return "" if self.before is self.after else "~"


def side_lines(sides: Sequence[Side], how: PlanView, *, width: int = 0) -> list[Line]:
    """The attributes of a block, their values aligned, no further left than behind names of `width`."""
    names = [spelt(side.path) for side in sides]
    width = max([width, *map(len, names)])
    lines: list[Line] = []  # no generator: a line of a large plan would pass through six of them
    for side, name in zip(sides, names, strict=True):
        lines += _side_lines(_masked(side), name.ljust(width), how)
    return lines


def _masked(side: Side) -> Side:
    path, before, after = side
    seen = shown(path, before)
    return Side(path, seen, seen if before is after else shown(path, after))


@lru_cache(maxsize=1024)  # nearly every webhook has the same
def spelt(path: Path) -> str:
    """`spec.headers.x-api-client-token`; a key that would read as a path stands in quotes."""
    return ".".join(_key(key) for key in path)


def _key(key: str) -> str:
    is_plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if is_plain else view.visible(jsontext.quote(key))


def _side_lines(side: Side, name: str, how: PlanView) -> Iterable[Line]:
    # 1. a text body, 2. two lists or mapping bodies, 3. a mapping body, 4. old and new, 5. one value
    path, before, after = side
    mark = side.mark
    if _is_template(path) and (isinstance(before, str) or isinstance(after, str)):
        return _body_lines(side, how)
    if mark == "~" and _is_container(before) and type(before) is type(after):
        return _compared_lines(name, value_tree(before), value_tree(after), how)
    if path == BODY_PATH and _is_container(before if after is ABSENT else after):
        return _whole_lines(side, how)
    if mark == "~":
        return replaced_lines(name, before, after, how.room, is_url=path in _URL_PATHS)
    return _single_lines(name, before if mark == "-" else after, mark, how)


def _is_template(path: Path) -> bool:
    """Whether a field holds a template: the body, or one of its partials."""
    return path == BODY_PATH or path[:-1] == _PARTIALS_PATH


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)


def _single_lines(name: str, value: Any, mark: str, how: PlanView) -> Iterable[Line]:
    """One value on its line; a list for which a terminal is too narrow, an item a line."""
    end = " -> null" if mark == "-" else ""
    room = how.room
    line = Line(f"{name} = {value_text(value, room)}{end}", _indent(mark), mark)
    if value.__class__ is not list or room.holds(line):
        return (line,)
    tree = value_tree(value)
    assert isinstance(tree, Node)
    items = _item_lines(tree, value_text(value, FULL.room), how)
    return (line._replace(text=f"{name} = ["), *items, Line(f"]{end}", indent=FIELD_INDENT + 2))


def _indent(mark: str) -> int:
    return FIELD_INDENT if mark else FIELD_INDENT + 2


# Bodies and lists -----------------------------------------------------------------------------------------------------


def _body_lines(side: Side, how: PlanView) -> Iterable[Line]:
    """A body of which one side is text at least: by its keys where both sides are JSON, else by its lines."""
    mark = side.mark
    if mark == "~" and isinstance(side.before, str) and isinstance(side.after, str):
        old, new = template_tree(side.before), template_tree(side.after)
        if old is not None and new is not None and old != new and old.brackets == new.brackets:
            return _compared_lines(spelt(side.path), old, new, how)
    old_text, new_text = body_text(side.before), body_text(side.after)
    inner = _rewritten_lines(side, old_text, new_text, how) if mark == "~" else _text_lines(new_text or old_text, how)
    return (
        Line(f"{spelt(side.path)} = <<-EOT", indent=_indent(mark), mark=mark),
        *inner,
        Line("EOT", indent=FIELD_INDENT + 2),
    )


def _rewritten_lines(side: Side, old: str, new: str, how: PlanView) -> Iterator[Line]:
    if old == new:
        yield Line("# (the same text, as a mapping on one side and as text on the other)", indent=FIELD_INDENT + 6)
    elif _is_same_json(side):
        yield Line("# (the same JSON, written in another way)", indent=FIELD_INDENT + 6)
    entry = compare(text_tree(_ended(old, new)), text_tree(_ended(new, old)))
    yield from _clipped_lines(entry_lines(entry.children, _tree_view(how, "line")), how)


def _is_same_json(side: Side) -> bool:
    if not (isinstance(side.before, str) and isinstance(side.after, str)):
        return False
    tree = template_tree(side.before)
    return tree is not None and tree == template_tree(side.after)


def body_text(body: Any) -> str:
    """A mapping body as JSON in its author's order, which is the order that is sent."""
    if body is ABSENT:
        return ""
    return body if isinstance(body, str) else jsontext.pretty(body) + "\n"


def _ended(text: str, other: str) -> str:
    """The text without its last line's end. Where only one of two has that, the other's last line says so."""
    if text.endswith("\n"):
        return text[:-1]
    return f"{text}  # (no line end)" if other.endswith("\n") else text


@lru_cache(maxsize=256)  # many webhooks have one body
def _text_lines(text: str, how: PlanView) -> tuple[Line, ...]:
    return tuple(_kept_lines([text_line(line) for line in _ended(text, text).split("\n")], text, how))


def _item_lines(node: Node, whole: str, how: PlanView) -> Iterator[Line]:
    """The items of an object or a list; `whole` is what is fingerprinted where they are clipped."""
    yield from _kept_lines([line for label, item in node.items for line in tree_lines(label, item, 0)], whole, how)


def _kept_lines(lines: Sequence[Line], whole: str, how: PlanView) -> Iterator[Line]:
    kept = lines[:CLIPPED_LINES] if how.clips else lines
    yield from _clipped_lines(kept, how)
    if len(kept) < len(lines):
        yield Line(f"# ({len(lines) - len(kept)} more lines; {fingerprint(whole)[1:-1]})", indent=FIELD_INDENT + 6)


def _compared_lines(name: str, before: Any, after: Any, how: PlanView) -> Iterator[Line]:
    assert isinstance(before, Node)
    assert isinstance(after, Node)
    entry, unit = compare(before, after), "key" if after.brackets == "{}" else "element"
    if entry.is_only_reordered:  # the order is what changed, so both are shown as they stand
        entry, unit = compare(_lines_of(before), _lines_of(after)), "line"
    yield Line(f"{name} = {after.ends[0]}", indent=FIELD_INDENT, mark="~")
    yield from order_line(entry, 0)
    yield from _clipped_lines(entry_lines(entry.children, _tree_view(how, unit)), how)
    yield Line(after.ends[1], indent=FIELD_INDENT + 2)


def _lines_of(node: Node) -> Node:
    lines = (line for label, item in node.items for line in tree_lines(label, item, 0))
    return Node("[]", tuple((None, Leaf(line.text)) for line in lines))


def _whole_lines(side: Side, how: PlanView) -> Iterator[Line]:
    """A mapping body that comes, goes or stays."""
    body = side.before if side.after is ABSENT else side.after
    yield Line(f"{spelt(side.path)} = {{", indent=_indent(side.mark), mark=side.mark)
    tree = value_tree(body)
    assert isinstance(tree, Node)
    yield from _item_lines(tree, body_text(body), how)
    yield Line("}", indent=FIELD_INDENT + 2)


def _clipped_lines(lines: Iterable[Line], how: PlanView) -> Iterator[Line]:
    yield from (line._replace(text=clipped(line.text, line.text)) if how.clips else line for line in lines)


def _tree_view(how: PlanView, unit: str) -> TreeView:
    return TreeView(how.context, how.counts_hidden, unit)
