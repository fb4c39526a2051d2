"""Where in a file a value stands: paths to positions, and places inside a scalar's text to places in the file.

Called for documents that have a problem only; their nodes are composed anew. Knows YAML's five scalar styles and the
shifts that `${var:name}` makes, and nothing of manifests. Lines and columns count from 1, in characters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.manifest.variable import fill
from reconciler.models.fault import Path

_PROPERTIES: Final = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]+)+")
_ESCAPE_LENGTH: Final = {"x": 4, "u": 6, "U": 10}
_ESCAPES: Final = {
    **dict(zip("0abtnvfre", "\0\a\b\t\n\v\f\r\x1b", strict=True)),
    **dict(zip(' "/\\\tN_LP', ' "/\\\t\x85\xa0\u2028\u2029', strict=True)),
}
_SPACE: Final = frozenset(" \t\n")


@dataclass(frozen=True, slots=True)
class Span:
    """From a character up to another; the end is the column after the last one."""

    line: int
    column: int
    end_line: int
    end_column: int


def node_span(node: Node, text: str) -> Span:
    """A node's place; of what reaches over several lines, only the first."""
    start, end = node.start_mark, node.end_mark
    if end.line == start.line:
        return Span(start.line + 1, start.column + 1, end.line + 1, max(end.column, start.column + 1) + 1)
    newline = text.find("\n", start.index)
    line_end = len(text) if newline < 0 else newline
    width = max(1, len(text[start.index : line_end].rstrip()))
    return Span(start.line + 1, start.column + 1, start.line + 1, start.column + 1 + width)


class Tree:
    """One document's nodes with the text they were composed from."""

    def __init__(self, root: Node, text: str, variables: Mapping[str, str]) -> None:
        self.root = root
        self.text = text
        self.variables = variables
        self._offsets: dict[int, list[int] | None] = {}
        self._keys: dict[int, dict[str, tuple[Node, Node]]] = {}

    def has(self, path: Path) -> bool:
        """Whether the document itself holds this path."""
        return self._walk(path)[1] == len(path)

    def depth(self, path: Path) -> int:
        """How many parts of a path the document holds."""
        return self._walk(path)[1]

    def span(self, path: Path, *, on_key: bool = False) -> Span:
        """The place of the value at a path, or of its key; of what is missing, the nearest place above."""
        (key, value), depth = self._walk(path)
        if key is not None and (on_key or depth < len(path)):
            return node_span(key, self.text)
        return node_span(value, self.text)

    def text_span(self, path: Path, *, line: int, column: int, end_column: int | None) -> Span:
        """The place of a part of the text at a path, given by line and column inside the text, variables put in."""
        (_, node), depth = self._walk(path)
        if depth < len(path) or not isinstance(node, ScalarNode):
            return self.span(path)
        filled = fill(node.value, self.variables)
        lines = filled.text.split("\n")
        begin = sum(len(item) + 1 for item in lines[: line - 1]) + column - 1
        length = max(1, (end_column or column + 1) - column)
        return self.offset_span(
            node, filled.source_offset(begin), filled.source_offset(min(begin + length, len(filled.text)))
        )

    def offset_span(self, node: ScalarNode, begin: int, end: int) -> Span:
        """The place of the characters of a scalar's value from `begin` up to `end`; the scalar where they are lost."""
        if id(node) not in self._offsets:
            self._offsets[id(node)] = _offsets(node, self.text)
        offsets = self._offsets[id(node)]
        if offsets is None or not begin < len(offsets):
            return node_span(node, self.text)
        first = offsets[begin]
        last = offsets[min(max(end - 1, begin), len(offsets) - 1)]
        mark = node.start_mark
        line = mark.line + 1 + self.text.count("\n", mark.index, first)
        column = first - self.text.rfind("\n", 0, first)
        newline = self.text.find("\n", first, last + 1)
        return Span(line, column, line, column + max(1, (last + 1 if newline < 0 else newline) - first))

    def path_of(self, node: Node) -> Path:
        """The path that leads to a node or, if it is a key, to what it names; of an aliased node the first."""
        return self._places.get(id(node), ((), False))[0]

    def is_key(self, node: Node) -> bool:
        """Whether a node is the key of a mapping."""
        return self._places.get(id(node), ((), False))[1]

    @cached_property
    def _places(self) -> dict[int, tuple[Path, bool]]:
        places: dict[int, tuple[Path, bool]] = {}
        stack: list[tuple[Node, Path]] = [(self.root, ())]
        while stack:
            node, path = stack.pop()
            if id(node) in places:
                continue
            places[id(node)] = path, False
            if isinstance(node, MappingNode):
                for key, value in node.value:
                    below = (*path, key.value) if isinstance(key, ScalarNode) else path
                    places.setdefault(id(key), (below, True))
                    stack.append((value, below))
            elif isinstance(node, SequenceNode):
                stack.extend((value, (*path, index)) for index, value in enumerate(node.value))
        return places

    def _walk(self, path: Path) -> tuple[tuple[Node | None, Node], int]:
        """The key and value nodes at the deepest part of a path that is there, and how deep that is."""
        key: Node | None = None
        node = self.root
        for depth, part in enumerate(path):
            found = self._child(node, part)
            if found is None:
                return (key, node), depth
            key, node = found
        return (key, node), len(path)

    def _child(self, node: Node, part: str | int) -> tuple[Node | None, Node] | None:
        if isinstance(node, MappingNode) and isinstance(part, str):
            if id(node) not in self._keys:
                self._keys[id(node)] = {
                    fill(key.value, self.variables).text: (key, value)
                    for key, value in node.value
                    if isinstance(key, ScalarNode)
                }
            return self._keys[id(node)].get(part)  # of two equal keys the last one, which counts
        if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            return None, node.value[part]
        return None


def _offsets(node: ScalarNode, text: str) -> list[int] | None:
    """For each character of a scalar's value its offset in the text; None where they cannot be told.

    Outside double quotes the characters that are no space are the same, in the same order, in value and text; spaces
    are led to the nearest place.
    """
    position = node.start_mark.index
    if properties := _PROPERTIES.match(text, position):
        position = properties.end()
    style = node.style or ""
    if style in ("|", ">"):
        position = text.find("\n", position) + 1
        if style == "|":
            return _literal_offsets(node.value, text, position)
    elif style:
        position += 1
    return _flowing_offsets(node.value, text, position, style)


def _literal_offsets(value: str, text: str, position: int) -> list[int] | None:
    """A literal block: the same lines, less their indentation."""
    offsets: list[int] = []
    lines = value.split("\n")
    indent: int | None = None
    for number, line in enumerate(lines):
        newline = text.find("\n", position)
        line_end = len(text) if newline < 0 else newline
        if indent is None and line:
            indent = line_end - position - len(line)
        begin = min(position + (indent or 0), line_end)
        if line and text[begin:line_end] != line:
            return None
        offsets.extend(range(begin, begin + len(line)))
        if number < len(lines) - 1:
            offsets.append(line_end)
        position = line_end + 1
    return offsets


def _flowing_offsets(value: str, text: str, position: int, style: str) -> list[int] | None:
    """Plain, quoted and folded scalars: walk value and text side by side."""
    offsets: list[int] = []
    end = len(text)
    for character in value:
        while True:
            if position >= end:
                return None
            at = text[position]
            if style == '"' and at == "\\":
                decoded, length = _escape(text, position)
                if decoded == character:
                    offsets.append(position)
                    position += length
                    break
                if decoded not in _SPACE and decoded != "":
                    return None
                position += length
            elif character in _SPACE:
                offsets.append(position)
                position += at in _SPACE
                break
            elif at in _SPACE:
                position += 1
            elif at == character:
                offsets.append(position)
                position += 2 if style == "'" == character else 1
                break
            else:
                return None
    return offsets


def _escape(text: str, position: int) -> tuple[str, int]:
    """What a backslash in double quotes stands for, and how long it is; nothing for a joined line."""
    letter = text[position + 1 : position + 2]
    if letter == "\n":
        return "", 2
    length = _ESCAPE_LENGTH.get(letter, 2)
    if length == 2:
        return _ESCAPES.get(letter, letter), 2
    return chr(int(text[position + 2 : position + length], 16)), length
