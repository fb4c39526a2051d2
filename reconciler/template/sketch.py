"""A body of a program as text with one character for each expression and block, and the way back to the template.

Made by `place`, which reads it as JSON; for the text of a JSON string its escapes are taken away first.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from reconciler.template.program import (
    Again,
    Body,
    Branch,
    Choice,
    Hole,
    Include,
    Loop,
    SecretHole,
    Spot,
    Statement,
    With,
    Words,
)
from reconciler.template.scan import BLOCK, FINAL, HOLE, MARKS, STRING_TEXT, decoded

Expression = Hole | SecretHole
Inner = Branch | With | Loop | Include | Again | Choice
Item = Expression | Inner | Words  # words that end a partial's file

_MARK = re.compile(f"[{MARKS}]")


@dataclass(frozen=True, eq=False)
class Sketch:
    """`text` is what `body`, or a part of it, writes, read `decodes` times as the text of a JSON string; `items` are
    the statements behind its marks, in order. Faults of a decoded text are placed at `string`, which holds it."""

    body: Body
    text: str
    items: tuple[Item, ...]
    decodes: int = 0
    string: Spot | None = None

    @cached_property
    def _marks(self) -> list[int]:
        """Where the marks stand."""
        return [match.start() for match in _MARK.finditer(self.text)]

    def item_at(self, offset: int) -> Item:
        """The statement behind a mark."""
        return self.items[bisect_left(self._marks, offset)]

    def items_in(self, start: int, end: int) -> tuple[Item, ...]:
        """The statements behind the marks from `start` up to `end`."""
        return self.items[bisect_left(self._marks, start) : bisect_left(self._marks, end)]

    @cached_property
    def _offsets(self) -> list[int]:
        """Where each statement of the body begins in the text."""
        offsets, length = [], 0
        for statement in self.body.statements:
            offsets.append(length)
            length += len(statement.text) if isinstance(statement, Words) else 1
        return offsets

    def spot(self, start: int, end: int) -> Spot:
        """The template's characters for those from `start` up to `end`."""
        if self.string is not None:
            return self.string
        first = self._origin(start)
        return Spot(self.body.site, first, max(first, self._origin_of_end(end)))

    def _origin(self, offset: int) -> int:
        """The template's offset of a character; that of the end for the end of the text."""
        statements = self.body.statements
        if not statements:
            return 0
        if offset >= len(self.text):
            return statements[-1].spot.end
        index = bisect_right(self._offsets, offset) - 1
        statement = statements[index]
        return statement.spot.start + (offset - self._offsets[index] if isinstance(statement, Words) else 0)

    def _origin_of_end(self, offset: int) -> int:
        """The template's offset after the character before `offset`."""
        statements = self.body.statements
        if not statements or offset == 0:
            return 0
        index = bisect_right(self._offsets, offset - 1) - 1
        statement = statements[index]
        is_text = isinstance(statement, Words)
        return statement.spot.start + offset - self._offsets[index] if is_text else statement.spot.end

    def is_clean(self) -> bool:
        """Whether the text may stand in a JSON string as it is, quotes, control characters and all."""
        return all(STRING_TEXT.fullmatch(part) for part in _MARK.split(self.text))

    def inside(self, start: int, end: int) -> "Sketch":
        """What stands from `start` up to `end`, between the quotes of a JSON string, as that string's text."""
        string = self.spot(start - 1, end + 1)
        return Sketch(self.body, decoded(self.text[start:end]), self.items_in(start, end), self.decodes + 1, string)


def sketch_of(body: Body, decodes: int = 0, string: Spot | None = None) -> Sketch:
    """The sketch of a body."""
    parts: list[str] = []
    items: list[Item] = []
    for statement in body.statements:
        if isinstance(statement, Words) and not statement.is_final:
            parts.append(statement.text)
        else:
            is_hole = isinstance(statement, Hole | SecretHole)
            parts.append(HOLE if is_hole else FINAL if isinstance(statement, Words) else BLOCK)
            items.append(statement)
    text = "".join(parts)
    for _ in range(decodes):
        text = decoded(text)
    return Sketch(body, text, tuple(items), decodes, string)


def bodies_of(statement: Statement) -> tuple[Body, ...]:
    """The bodies inside a statement."""
    # 1. blocks with two branches, 2. a partial, 3. a partial whose name is a value
    if isinstance(statement, Branch | With | Loop):
        return (statement.then, statement.otherwise)
    if isinstance(statement, Include):
        return (statement.body,)
    if isinstance(statement, Choice):
        found = [item for item in statement.options.values() if isinstance(item, Include)]
        return tuple(item.body for item in (*found, statement.otherwise) if item is not None)
    return ()


def leaves_in(items: Iterable[Statement]) -> Iterator[Expression | Words]:
    """Every expression and text in statements, those in blocks and partials included."""
    for item in items:
        if isinstance(item, Hole | SecretHole | Words):
            yield item
        for body in bodies_of(item):
            yield from leaves_in(body.statements)
