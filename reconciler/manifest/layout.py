"""One file's text laid out: two spaces a level, keys in a given order with their comments, one separator.

Called by `manifest.fmt` with the nodes of the file. Walks nodes and text side by side, so that every scalar and every
comment is taken over as it is written. Knows no schema; anchors, aliases, tags and directives are refused before.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from yaml import MappingNode, Node

from reconciler.manifest.leaf import KEEP_END, STEP, is_block_scalar, is_empty, is_leaf, leaf
from reconciler.models.fault import Path

MODELINE: Final = "# yaml-language-server:"  # editors look for it at the top

_BLANK: Final = "\x00"  # an empty line that is layout, and no part of a scalar

Order = Callable[[Path], Sequence[str]]  # the keys that a mapping knows, in their order; none where any may stand


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment on lines of its own; an empty line where it has no text. `column` counts from 0."""

    column: int
    text: str


@dataclass(slots=True)
class Entry:
    """One key or item: the remarks above it, its lines, and those of its remarks that stand below it."""

    above: list[Remark]
    lines: list[str]
    key: str = ""
    below: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """What stands between two separators: where it begins in the text, and the root of its document if it has one."""

    start: int
    root: Node | None
    order: Order


def lay_out(text: str, sections: Iterable[Section]) -> str:
    """The text of the file, laid out; its line ends are line feeds. `sections` are in their order in the file."""
    pieces: list[str] = []
    for section in sections:
        beside, lines = _Reader(text, section.start, section.order).section(section.root)
        lines = _tidied(lines)
        if pieces and (lines or beside):
            pieces.append(f"---{beside}\n")
        elif beside:
            lines = [beside.lstrip(), *lines]
        pieces.extend(f"{line}\n" for line in lines)
    return "".join(pieces)


def _tidied(lines: Iterable[str]) -> list[str]:
    """The lines without empty ones at both ends and with one where there were several."""
    tidy: list[str] = []
    last = _BLANK
    for line in lines:
        if line != _BLANK or last not in (_BLANK, KEEP_END):
            tidy.append(line)
        last = KEEP_END if line == _BLANK and last == KEEP_END else line
    if tidy[-1:] == [_BLANK]:
        tidy.pop()
    return ["" if line == _BLANK else line for line in tidy if line != KEEP_END]


class _Reader:
    """Reads one section from its start to its end; `at` is where it is, `remarks` what it read and placed nowhere."""

    def __init__(self, text: str, start: int, order: Order) -> None:
        self.text = text
        self.at = start
        self.order = order
        self.remarks: list[Remark] = []

    def section(self, root: Node | None) -> tuple[str, list[str]]:
        """The comment beside the separator with the space before it, and the lines below."""
        beside = self._beside() if self.at else ""  # at the beginning of the file there is no separator
        self._read_remarks()
        if root is None:
            return beside, _placed(self._take(0), 0)
        if is_leaf(root):
            lines = [*_placed(self._take(0), 0), *self._leaf(root, -1, 0, is_below=False)]
        else:
            lines = self._block(root, -1, 0, ())
        return beside, [*lines, *_placed(self._take(0), 0)]

    def _block(self, node: Node, outer: int, indent: int, path: Path) -> list[str]:
        """The lines of a block collection, which stands in one that stood at the column `outer`."""
        column: int = node.start_mark.column
        entries: list[Entry] = []
        is_mapping = isinstance(node, MappingNode)
        for number, item in enumerate(node.value):
            above = self._take(0)
            if is_mapping:
                key, value = item
                entry = Entry(above, self._pair(key, value, column, indent, (*path, key.value)), key.value)
            else:
                entry = Entry(above, self._item(item, column, indent, (*path, number)))
            # one step in, unless it would become a line of the block scalar that it follows
            step = 0 if any(map(is_block_scalar, item if is_mapping else [item])) else STEP
            entry.lines += _placed(self._take(column + 1), indent + step)
            entries.append(entry)
        tail = self._take(max(column, outer + 1))
        head = _sort(entries, self.order(path), is_root=not path) if is_mapping else []
        lines = _placed(head, indent)
        for entry in entries:
            lines += [*_placed(entry.above, indent), *entry.lines, *_placed(entry.below, indent)]
        lines += _placed(tail, indent)
        begin = next((number for number, line in enumerate(lines) if line != _BLANK), 0)
        return lines[begin:]

    def _pair(self, key: Node, value: Node, column: int, indent: int, path: Path) -> list[str]:
        pad = " " * indent
        if self.at == key.start_mark.index:
            name = self.text[self.at : key.end_mark.index]
            self.at = key.end_mark.index
            self._skip_spaces()
            self.at += 1
            first, *rest = self._value(value, column, indent, path)
            return [f"{pad}{name}:{first}", *rest]
        self.at += 1
        first, *rest = self._value(key, column, indent, path)
        lines = [f"{pad}?{first}", *rest]
        if self._is_indicator(":"):
            lines += _placed(self._take(0), indent)
            self.at += 1
            first, *rest = self._value(value, column, indent, path)
            lines += [f"{pad}:{first}", *rest]
        return lines

    def _item(self, value: Node, column: int, indent: int, path: Path) -> list[str]:
        self.at += 1
        first, *rest = self._value(value, column, indent, path, is_item=True)
        below = indent + STEP
        if not first and rest and not is_leaf(value) and rest[0][below] != "#":
            return [f"{' ' * indent}- {rest[0][below:]}", *rest[1:]]  # `- key: value` on one line
        return [f"{' ' * indent}-{first}", *rest]

    def _value(self, node: Node, column: int, indent: int, path: Path, *, is_item: bool = False) -> list[str]:
        """What follows `:`, `-` or `?` on its line, with the space before it, then the lines below. A scalar below its
        key stays there, since it may be long; below its dash it does not."""
        beside = self._beside()
        is_below = self.at >= len(self.text) or self.text[self.at] == "\n"
        self._read_remarks()
        if is_empty(node):
            return [beside]
        if not is_leaf(node):
            return [beside, *self._block(node, column, indent + STEP, path)]
        comments = [remark for remark in self._take(0) if remark.text]
        if not is_below or (is_item and not beside and not comments):
            first, *rest = self._leaf(node, column, indent, is_below=False)
            return [f" {first}", *rest]
        first, *rest = self._leaf(node, column, indent, is_below=True)
        pad = " " * (indent + STEP)
        return [beside, *_placed(comments, indent + STEP), f"{pad}{first}", *rest]

    def _leaf(self, node: Node, column: int, indent: int, *, is_below: bool) -> list[str]:
        """A leaf and the comment beside its end; then the remarks below it are read."""
        written = leaf(node, self.text, column=column, indent=indent, is_below=is_below)
        self.at = written.end
        lines = written.lines
        if not is_block_scalar(node):
            lines[-1] += self._beside()
        self._read_remarks()
        return lines

    def _is_indicator(self, character: str) -> bool:
        return self.text.startswith(character, self.at) and (self.text[self.at + 1 : self.at + 2] or " ") in " \t\n"

    def _skip_spaces(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t"):
            self.at += 1

    def _beside(self) -> str:
        """The comment on the rest of the line with the space before it, if there is one; reads up to the line's end or
        to what else stands there."""
        start = self.at
        self._skip_spaces()
        if not self.text.startswith("#", self.at):
            return ""
        gap = self.text[start : self.at].replace("\t", " ") or " "
        return gap + self._comment()

    def _comment(self) -> str:
        newline = self.text.find("\n", self.at)
        start, self.at = self.at, len(self.text) if newline < 0 else newline
        return self.text[start : self.at].rstrip()

    def _read_remarks(self) -> None:
        """Read comments and empty lines up to what is neither."""
        is_line_begun = self.at > 0 and self.text[self.at - 1] != "\n"
        while True:
            self._skip_spaces()
            following = self.text[self.at : self.at + 1]
            if following == "#":
                self.remarks.append(Remark(self.at - self.text.rfind("\n", 0, self.at) - 1, self._comment()))
            elif following != "\n":
                return
            elif not is_line_begun:
                self.remarks.append(Remark(0, ""))
            is_line_begun = False
            self.at += self.text.startswith("\n", self.at)

    def _take(self, column: int) -> list[Remark]:
        """The remarks before the first comment left of the column; empty lines before that one stay."""
        count = 0
        for number, remark in enumerate(self.remarks):
            if remark.text and remark.column < column:
                break
            if remark.text or column == 0:
                count = number + 1
        taken, self.remarks = self.remarks[:count], self.remarks[count:]
        return taken


def _placed(remarks: Iterable[Remark], indent: int) -> list[str]:
    return [" " * indent + remark.text if remark.text else _BLANK for remark in remarks]


def _sort(entries: list[Entry], known: Sequence[str], *, is_root: bool) -> list[Remark]:
    """Bring the entries of a mapping into the order of the known keys, unknown ones last as they stand, comments with
    what they belong to; returns the remarks that stay at the top."""
    rank_of = {key: rank for rank, key in enumerate(known)}
    ranks = [rank_of.get(entry.key, len(known)) for entry in entries]
    if ranks == sorted(ranks):
        return []
    head = _take_head(entries[0], is_root=is_root)
    for entry, following in pairwise(entries):
        blank = next((number for number, remark in enumerate(following.above) if not remark.text), 0)
        if blank:  # comments right below an entry, with an empty line after them, are about that entry
            entry.below, following.above = following.above[: blank + 1], following.above[blank:]
    entries[:] = [entry for _, entry in sorted(zip(ranks, entries, strict=True), key=lambda pair: pair[0])]
    return head


def _take_head(first: Entry, *, is_root: bool) -> list[Remark]:
    """Take from above the first entry what is about the whole mapping: all that an empty line separates from the entry;
    at the top of a document also what editors look for, and what stands above `apiVersion` or `kind`."""
    above = first.above
    size = max((number + 1 for number, remark in enumerate(above) if not remark.text), default=0)
    if is_root and first.key in ("apiVersion", "kind"):
        size = len(above)
    elif is_root:
        size = max([size, *(number + 1 for number, remark in enumerate(above) if remark.text.startswith(MODELINE))])
    first.above = above[size:]
    return above[:size]
