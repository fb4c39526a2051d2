"""Scalars and flow collections as they are written, at another indentation; what they mean stays the same.

Called by `manifest.layout`. Changes the white space at the beginning of lines, that around the colons of flow mappings
and the header of a block scalar, and nothing else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeGuard

from yaml import CollectionNode, MappingNode, Node, ScalarNode

from reconciler.manifest.compose import children

STEP: Final = 2  # spaces a level
KEEP_END: Final = "\x01"  # a line that is none: the empty lines before it are a scalar's, and none may follow

_HEADER: Final = re.compile(r"([|>])([-+0-9]*)(?:([ \t]*)(#.*))?")
_COLON: Final = re.compile(r"[ \t]*:[ \t]*")
_LINE_END: Final = re.compile(r"([ \t]*)\n([ \t]*)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """Lines of which the first has no indentation yet and the others have theirs; `end` is the offset in the text where
    reading goes on."""

    lines: list[str]
    end: int


def is_empty(node: Node) -> bool:
    """Whether nothing stands for the node, as after `key:`."""
    return bool(node.start_mark.index == node.end_mark.index)


def is_block_scalar(node: Node) -> TypeGuard[ScalarNode]:
    """Whether the node is written with `|` or `>`."""
    return isinstance(node, ScalarNode) and node.style in ("|", ">")


def is_leaf(node: Node) -> bool:
    """Whether the node is a scalar or a flow collection."""
    return isinstance(node, ScalarNode) or (isinstance(node, CollectionNode) and bool(node.flow_style))


def leaf(node: Node, text: str, *, column: int, indent: int, is_below: bool) -> Leaf:
    """The node as written. `column` is where the block collection around it stood, -1 for none, `indent` where it
    stands now; `is_below` says that the node stands one step in, on a line below its key or dash."""
    if is_block_scalar(node):
        return _block_scalar(node, text, column, indent)
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, ScalarNode):
        first, *rest = text[start:end].split("\n")
        pad = " " * (indent + STEP)
        return Leaf([first, *(f"{pad}{stripped}" if (stripped := line.lstrip(" \t")) else "" for line in rest)], end)
    assert isinstance(node, CollectionNode)
    return Leaf(_flow(node, text, indent + STEP * is_below).split("\n"), end)


def _block_scalar(node: ScalarNode, text: str, column: int, indent: int) -> Leaf:
    """The header, then the same lines at their new indentation, which an indicator in the header must agree with."""
    start = node.start_mark.index
    match = _HEADER.match(text, start)
    assert match is not None
    style, indicators, gap, comment = match.groups()
    gap = gap.replace("\t", " ") if gap else " "
    digit = indicators.strip("+-")
    chomping = indicators.strip("0123456789")
    least = max(column, 0) + int(digit) if digit else None
    body, end, end_of_blanks = _body(text, text.find("\n", start) + 1 or len(text), least=least, outer=column)
    ends = len(node.value) - len(node.value.rstrip("\n"))
    if body and not ends:
        chomping = "-"  # the file ended within the last line, or `-` stood there before
    header = f"{style}{STEP if digit else ''}{chomping}" + (f"{gap}{comment.rstrip()}" if comment else "")
    pad = " " * (indent + STEP)
    lines = [header, *(f"{pad}{line}" if line else "" for line in body)]
    if chomping != "+":
        return Leaf(lines, end)
    return Leaf([*lines, *[""] * (ends - bool(body)), KEEP_END], end_of_blanks)


def _body(text: str, start: int, *, least: int | None, outer: int) -> tuple[list[str], int, int]:
    """The lines of a block scalar without their indentation, and where they end without the empty ones and with them.

    `least` is the indentation where the header says it; `outer` is what every line is deeper than."""
    lines: list[str] = []
    blanks = deepest = 0
    end = end_of_blanks = position = start
    while position < len(text):
        newline = text.find("\n", position)
        line = text[position : len(text) if newline < 0 else newline]
        position += len(line) + (newline >= 0)
        spaces = len(line) - len(line.lstrip(" "))
        if spaces == len(line) and (least is None or spaces <= least):
            blanks += 1
            deepest = max(deepest, spaces)
            end_of_blanks = position
            continue
        if least is None:
            least = max(spaces, deepest, outer + 1, 1)
        if spaces < least:
            break
        lines += [*[""] * blanks, line[least:]]
        blanks = 0
        end = end_of_blanks = position
    return lines, end, end_of_blanks


def _flow(node: CollectionNode, text: str, indent: int) -> str:
    """A flow collection: `key: value` with one space, lines indented by how many brackets are open."""
    edits = [*_colons(node, text), *_indents(node, text, indent)]
    pieces, position = [], node.start_mark.index
    for start, end, new in sorted(edits):
        pieces += [text[position:start], new]
        position = end
    return "".join([*pieces, text[position : node.end_mark.index]])


def _colons(node: Node, text: str) -> Iterator[tuple[int, int, str]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            start, end = key.end_mark.index, value.start_mark.index
            if not is_empty(key) and not is_empty(value) and _COLON.fullmatch(text, start, end):
                yield start, end, ": "
    for child in children(node):
        yield from _colons(child, text)


def _indents(node: CollectionNode, text: str, indent: int) -> Iterator[tuple[int, int, str]]:
    spans = [
        (item.start_mark.index, item.end_mark.index, isinstance(item, ScalarNode))
        for item in _within(node)
        if isinstance(item, ScalarNode) or text[item.start_mark.index] in "[{"  # `[a: b]` holds a mapping without
    ]
    opened: list[tuple[int, bool]] = []
    coming = iter(spans)
    upcoming = next(coming, None)
    for match in _LINE_END.finditer(text, node.start_mark.index, node.end_mark.index):
        newline, at = match.end(1), match.end()
        while upcoming is not None and upcoming[0] < newline:
            opened.append(upcoming[1:])
            upcoming = next(coming, None)
        opened = [item for item in opened if item[0] > newline]
        is_inside = any(is_scalar for _, is_scalar in opened)
        depth = sum(is_scalar or end - 1 != at for end, is_scalar in opened)
        new = "\n" if text.startswith("\n", at) else "\n" + " " * (indent + STEP * depth)
        yield newline if is_inside else match.start(), at, new


def _within(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _within(child)
