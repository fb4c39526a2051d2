"""A plan's values on one line: as JSON, clipped where they are long, and what differs in a URL marked below.

Called by `view_field`, with values that have been masked.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring  # the C scanner where there is one
from typing import Any, Final, NamedTuple

from reconciler.cli import view
from reconciler.cli.view_line import Line, caret_line
from reconciler.cli.view_table import width_of
from reconciler.plan.align import aligned
from reconciler.plan.redact import MASK

FIELD_INDENT: Final = 6
CONCISE_MAX_CHARS: Final = 120  # the longest value shown whole where values are clipped; invoke URLs are shorter
CLIPPED_CHARS: Final = 48  # what is left of a longer one, beside its size and hash

_JSON: Final = json.JSONEncoder(ensure_ascii=False)
_WORD: Final = re.compile(r"[0-9A-Za-z_-]+|[^0-9A-Za-z_-]")

Range = tuple[int, int]


class Room(NamedTuple):
    """How much room values have: whether long ones are clipped, and the terminal's columns (None: no terminal)."""

    clips: bool
    width: int | None

    def holds(self, line: Line) -> bool:
        """Whether a line fits the terminal, if there is one."""
        return self.width is None or width_of(line.plain) <= self.width


def value_text(value: Any, room: Room) -> str:
    """A value as JSON; what is masked stands without quotes."""
    whole = _whole(value)
    return clipped(whole, value) if room.clips else whole


def replaced_lines(name: str, before: Any, after: Any, room: Room, *, is_url: bool) -> Iterator[Line]:
    """`name = old -> new`, on two lines where a terminal is too narrow; what differs in a URL is marked below."""
    old, new = value_text(before, room), value_text(after, room)
    is_marked = is_url and (old, new) == (_whole(before), _whole(after))
    old_ranges, new_ranges = _changed_ranges(old, new) if is_marked else ((), ())
    column = width_of(f"{name} = ")
    left = FIELD_INDENT + 2 + column
    line = Line(f"{name} = {old} -> {new}", FIELD_INDENT, "~")
    if room.holds(line):
        yield from _marked(line, left, column, (*old_ranges, *_moved(new_ranges, len(f"{old} -> "))))
    else:
        yield from _marked(Line(f"{name} = {old}", FIELD_INDENT, "~"), left, column, old_ranges)
        yield from _marked(Line(f"-> {new}", left - 3), left, 3, new_ranges)


def clipped(text: str, value: Any) -> str:
    """A long text's beginning, with size and hash of the value it shows, by which two are told apart."""
    if len(text) <= CONCISE_MAX_CHARS:
        return text
    return f"{text[:CLIPPED_CHARS]}… {fingerprint(value if isinstance(value, str) else _whole(value))}"


def fingerprint(text: str) -> str:
    """`(1,234 bytes, sha256 0123456789ab)`."""
    raw = text.encode("utf-8", "surrogatepass")
    return f"({len(raw):,} bytes, sha256 {hashlib.sha256(raw).hexdigest()[:12]})"


def _whole(value: Any) -> str:
    return MASK if value == MASK else view.distinct(_json(value))


def _json(value: Any) -> str:
    """As the encoder writes it; what most values are, at a third of its time."""
    kind = value.__class__
    if kind is str:
        return encode_basestring(value)
    if kind is int:
        return str(value)
    if kind is list and all(item.__class__ is str for item in value):
        return f"[{', '.join(map(encode_basestring, value))}]"
    return _JSON.encode(value)


def _marked(line: Line, left: int, offset: int, ranges: tuple[Range, ...]) -> Iterator[Line]:
    """A line whose value begins `left` columns in and `offset` characters into its text, and what is marked in it."""
    yield line._replace(highlights=_moved(ranges, offset))
    if ranges:
        yield caret_line(left, ranges)


def _moved(ranges: Iterable[Range], by: int) -> tuple[Range, ...]:
    return tuple((start + by, end + by) for start, end in ranges)


def _changed_ranges(old: str, new: str) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Where two URLs differ, by words; nowhere if they have little in common."""
    words, others = _WORD.findall(old), _WORD.findall(new)
    opcodes = aligned(words, others)
    same = sum(end - start for kind, start, end, _, _ in opcodes if kind == "equal")
    if 4 * same < len(words) + len(others):
        return (), ()
    changed = [opcode for opcode in opcodes if opcode[0] != "equal"]
    return (
        _ranges(words, [(start, end) for _, start, end, _, _ in changed]),
        _ranges(others, [(start, end) for _, _, _, start, end in changed]),
    )


def _ranges(words: list[str], spans: Iterable[Range]) -> tuple[Range, ...]:
    return tuple((len("".join(words[:start])), len("".join(words[:end]))) for start, end in spans if start < end)
