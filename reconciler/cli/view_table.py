"""Tables on stdout: whole values in a pipe, what fits on a terminal.

Into a pipe goes every column, uncut, an empty cell as `-`, so that `grep`, `awk` and `sort` see whole values and the
same columns each time. On a terminal empty columns are left out and the rest gives way, in an order the table names,
until it fits. Ids are shortened to a beginning that the commands take for the whole.
"""

import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import click

from reconciler.cli import view

GAP: Final = "  "
CUT_MIN_COLUMNS: Final = 8  # a text cut further tells nothing
SUBJECTS_MAX: Final = 3  # that one note names; the rest are counted

Shorten = Callable[[str], str]

_ID: Final = re.compile(r"((?:dlv|evt)_[0-9a-f]{8})[0-9a-f]{24}")
_COMMIT: Final = re.compile(r"([0-9a-f]{12})[0-9a-f]{28}(-dirty)?")
_LONG_HEX: Final = re.compile(r"([0-9a-f]{8})[0-9a-f]{24,}")


@dataclass(frozen=True, slots=True)
class Table:
    """What a table's columns are. `numbers` are aligned to the right.

    `gives_way` says what happens, in order, while it is too wide for the terminal: a column's cells are shortened, or
    with None the column is left out. `footnote` (the column of subjects, the column of notes) moves notes below the
    table on a terminal: a note is a sentence and fits no cell.
    """

    headers: tuple[str, ...]
    numbers: frozenset[str] = frozenset()
    gives_way: tuple[tuple[str, Shorten | None], ...] = ()
    footnote: tuple[str, str] | None = None


@dataclass(slots=True)
class _Column:
    header: str
    cells: list[str]
    is_number: bool

    @property
    def width(self) -> int:
        return max(map(width_of, (self.header, *self.cells)))

    @property
    def least(self) -> int:
        return self.width if self.is_number else max(CUT_MIN_COLUMNS, width_of(self.header))


def out_table(table: Table, rows: Sequence[Sequence[str]]) -> None:
    """The table on stdout. Cells may be styled; text from outside must have been made visible."""
    for line in table_lines(table, rows, width=terminal_columns()):
        view.out(line)


def table_lines(table: Table, rows: Sequence[Sequence[str]], *, width: int | None) -> Iterator[str]:
    """The table's lines, the header first; `width` in terminal columns, None for a pipe."""
    columns = [
        _Column(header, [row[index] for row in rows], header in table.numbers)
        for index, header in enumerate(table.headers)
    ]
    if width is None:
        for column in columns:
            column.cells = [cell or "-" for cell in column.cells]
    else:
        shown = [column for column in columns if any(column.cells) and not _is_note(column, table)]
        columns = _fitting(table, shown, width) if rows else columns
    widths = [column.width for column in columns]
    yield _line([click.style(column.header, bold=True) for column in columns], columns, widths)
    for index in range(len(rows)):
        yield _line([column.cells[index] for column in columns], columns, widths)
    if width is not None:
        yield from _footnotes(table, rows)


def out_fields(fields: Sequence[tuple[str, str, str, str]], *, last: str) -> None:
    """A schema's fields, (path, type, `last`, meaning) each: a table, or on a terminal too narrow for it paragraphs."""
    table, columns = Table(("PATH", "TYPE", last.upper(), "MEANING")), terminal_columns()
    lines = list(table_lines(table, fields, width=None if columns is None else sys.maxsize))
    if columns is not None and max(map(width_of, lines)) > columns:
        lines = [line for field in fields for line in _paragraph(*field, last=last, width=columns)]
    for line in lines:
        view.out(line)


def _paragraph(path: str, kind: str, value: str, meaning: str, *, last: str, width: int) -> Iterator[str]:
    facts = "  ".join(part for part in (kind, f"{last} {value}" if value else "") if part)
    yield f"{click.style(path, bold=True)}  {click.style(facts, fg='bright_black')}"
    yield from textwrap.wrap(meaning, width, initial_indent="    ", subsequent_indent="    ")


def say_if_incomplete(ids: Sequence[str], limit: int, *, noun: str) -> None:
    """On stderr: that a listing is empty, or how to see what is older than its last row."""
    if not ids:
        view.say(f"no {noun}")
    elif len(ids) == limit:
        last = shlex.quote(view.visible(short_id(ids[-1])))
        view.say(f"\nthere may be more {noun}; older ones: --before {last}")


def short_id(text: str) -> str:
    """The beginning of an id of ours: enough to tell it from millions, and to name it in `show`."""
    found = _ID.fullmatch(text)
    return found[1] if found else text


def short_commit(text: str) -> str:
    """Twelve digits of a commit, as `git log --abbrev` may show it."""
    found = _COMMIT.fullmatch(text)
    return f"{found[1]}{found[2] or ''}" if found else text


def short_middle(text: str) -> str:
    """An id of others: its two ends."""
    return text if len(text) <= 13 else f"{text[:8]}…{text[-4:]}"


def short_url(text: str) -> str:
    """Without the scheme, which is always the same; long digits (a flow's alias) cut."""
    return _LONG_HEX.sub(r"\1…", text.removeprefix("https://"))


def host_of(text: str) -> str:
    """The host of a URL with or without its scheme."""
    return text.removeprefix("https://").partition("/")[0]


def to_seconds(text: str) -> str:
    """A time without its milliseconds."""
    return f"{text[:10]} {text[11:19]}Z" if text else ""


def without_year(text: str) -> str:
    """A time that `to_seconds` made, without its year."""
    return text[5:]


def first_and_count(text: str) -> str:
    """The first of a comma-separated list, and how many more there are."""
    first, *others = text.split(",")
    return f"{first} +{len(others)}" if others else first


def terminal_columns() -> int | None:
    """The terminal's width; None for a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _is_note(column: _Column, table: Table) -> bool:
    return table.footnote is not None and column.header == table.footnote[1]


def _footnotes(table: Table, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """What is noted of several subjects is said once."""
    if table.footnote is None:
        return
    subject, note = map(table.headers.index, table.footnote)
    subjects: dict[str, list[str]] = {}
    for row in rows:
        if row[note]:
            subjects.setdefault(row[note], []).append(short_id(row[subject]))
    for text, named in subjects.items():
        more = f" and {len(named) - SUBJECTS_MAX} more" if len(named) > SUBJECTS_MAX else ""
        yield f"\n{click.style(', '.join(named[:SUBJECTS_MAX]), bold=True)}{more}: {text}"


def _fitting(table: Table, columns: list[_Column], width: int) -> list[_Column]:
    for header, shorten in table.gives_way:
        if _total(columns) <= width:
            break
        if shorten is None:
            columns = [column for column in columns if column.header != header]
            continue
        for column in columns:
            if column.header == header:
                column.cells = [shorten(cell) for cell in column.cells]
    _cut_to_fit(columns, width)
    return columns


def _cut_to_fit(columns: Sequence[_Column], width: int) -> None:
    """Cut the widest texts, evenly; a terminal too narrow even for that wraps."""
    while (excess := _total(columns) - width) > 0:
        texts = sorted((column for column in columns if column.least < column.width), key=lambda column: -column.width)
        if not texts:
            return
        widest, *others = texts
        step = max(1, widest.width - max((column.width for column in others), default=widest.least))
        room = max(widest.width - min(excess, step), widest.least)
        widest.cells = [_cut(cell, room) for cell in widest.cells]


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _line(cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> str:
    padded = [
        f"{' ' * (width - width_of(cell))}{cell}" if column.is_number else pad(cell, width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    return GAP.join(padded).rstrip(" ")


def width_of(cell: str) -> int:
    """In terminal columns: style takes none, a wide character two."""
    from rich.cells import cell_len

    plain = click.unstyle(cell)
    return len(plain) if plain.isascii() else cell_len(plain)


def pad(text: str, width: int) -> str:
    """Spaces after a text, up to a width in terminal columns."""
    return text + " " * max(0, width - width_of(text))


def _cut(cell: str, width: int) -> str:
    from rich.cells import set_cell_size

    return cell if width_of(cell) <= width else f"{set_cell_size(click.unstyle(cell), width - 1)}…"
