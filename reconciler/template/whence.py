"""Where in a template's text a value of the JSON that it writes comes from: the way from a result back to its line.

Called by `manifest.check` for what a test did not expect. What a block or a partial writes is placed at its tag; what
stands in no known place, at the nearest one around it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json import loads
from typing import Final

from reconciler.errors import TemplateError
from reconciler.template.compile import NO_NAMES, Partials, frozen_partials, usable_body
from reconciler.template.fault import Source
from reconciler.template.program import Context
from reconciler.template.scan import BLOCK, TOKEN, skip_space
from reconciler.template.sketch import Sketch, sketch_of

SKETCHES_MAX: Final = 256  # of templates whose tests failed; a reader mends a few at a time

Range = tuple[int, int]
TextRange = tuple[int, int, int]  # line, column and end column inside the template's text, from 1


def place_in_template(
    source: str, keys: Sequence[str | int], *, partials: Mapping[str, str] = NO_NAMES
) -> TextRange | None:
    """Where the value that these keys lead to is written, as near as can be told; None where nothing can."""
    sketch = _sketch(source, frozen_partials(partials))
    if sketch is None or not sketch.text:
        return None
    start, end = _Reader(sketch.text).find(keys)
    spot = sketch.spot(start, end).visible
    fault = spot.site.source.fault("", "", spot.start, spot.end)
    return fault.line, fault.column, fault.end_column


def place_in_json(text: str, keys: Sequence[str | int]) -> TextRange:
    """The same for a JSON text that is no template."""
    start, end = _Reader(text).find(keys)
    fault = Source(text).fault("", "", start, end)
    return fault.line, fault.column, fault.end_column


@lru_cache(maxsize=SKETCHES_MAX)
def _sketch(source: str, partials: Partials) -> Sketch | None:
    try:
        return sketch_of(usable_body(source, dict(partials), Context()))
    except TemplateError:
        return None


@dataclass(frozen=True, slots=True)
class _Reader:
    """JSON in which expressions and blocks are characters of their own; what is no JSON ends the search."""

    text: str

    def find(self, keys: Sequence[str | int]) -> Range:
        """The value that the keys lead to, else the nearest place around it."""
        start = skip_space(self.text, 0)
        found = start, self._end(start)
        for key in keys:
            opening = self.text[found[0] : found[0] + 1]
            if opening == "{" and isinstance(key, str):
                child = self._member(found[0] + 1, key)
            elif opening == "[" and isinstance(key, int):
                child = self._item(found[0] + 1, key)
            else:
                break
            if child is None:
                return found[0], found[0] + 1
            found = child
        is_container = self.text[found[0] : found[0] + 1] in ("{", "[")
        return (found[0], found[0] + 1) if is_container else found

    def _member(self, position: int, name: str) -> Range | None:
        """The value of an object's key; the first block of the object where no key says so, since it may write it."""
        block: Range | None = None
        position = skip_space(self.text, position)
        while position < len(self.text) and self.text[position] != "}":
            if self.text[position] == BLOCK:
                block = block or (position, position + 1)
                position += 1
            elif (key := TOKEN.match(self.text, position)) and key["string"]:
                position = skip_space(self.text, key.end())
                if self.text[position : position + 1] != ":":
                    break
                position = skip_space(self.text, position + 1)
                end = self._end(position)
                if _decoded(key["string"]) == name:
                    return position, end
                position = end
            elif self.text[position] == ",":
                position += 1
            else:
                break
            position = skip_space(self.text, position)
        return block

    def _item(self, position: int, index: int) -> Range | None:
        """The item of a list; a block before it, since nobody knows how many items it writes."""
        position = skip_space(self.text, position)
        while position < len(self.text) and self.text[position] != "]":
            end = self._end(position)
            if index == 0 or self.text[position] == BLOCK:
                return position, end
            position = skip_space(self.text, end)
            if self.text[position : position + 1] == ",":
                index -= 1
                position = skip_space(self.text, position + 1)
            elif self.text[position : position + 1] != BLOCK:
                break
        return None

    def _end(self, position: int) -> int:
        """The position after the value that begins here."""
        depth = 0
        while position < len(self.text):
            token = TOKEN.match(self.text, position)
            opening = self.text[position]
            position = token.end() if token else position + 1
            depth += (opening in "{[") - (opening in "}]")
            if depth <= 0:
                break
            position = skip_space(self.text, position)
        return position


def _decoded(literal: str) -> str:
    try:
        return str(loads(literal))
    except ValueError:
        return literal[1:-1]
