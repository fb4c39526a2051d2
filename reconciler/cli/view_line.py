"""One line of a plan for people, and how it is put on a terminal, into a pipe and into Markdown.

Built by the plan's views. Whatever came from outside has been made visible before; what a pipeline's runner would
take for a command is disarmed here, where it is known what a line begins with.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import click

COLOURS: Final = {"+": "green", "~": "yellow", "-": "red", ".": "red"}
DIFF_MARKS: Final = {"+": "+", "~": "!", "-": "-", ".": "!"}  # what a `diff` fence colours, in its first column

# GitHub's runner and Azure's agent obey these in what a step prints: the first at a line's start, spaces aside
_COMMAND_AT_START: Final = re.compile(r"\s*:(?=:)")
_COMMAND_ANYWHERE: Final = re.compile(r"#(?=#(?:\[|vso\[))")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `mark` is `+`, `~`, `-`, `.` or empty and stands `indent` columns in, two before the text.
    `highlights` are ranges of the text that a reader shall see first."""

    text: str
    indent: int = 0
    mark: str = ""
    is_bold: bool = False
    highlights: tuple[tuple[int, int], ...] = ()

    @property
    def plain(self) -> str:
        """Without colour."""
        text = self.text if self.mark else disarmed(self.text)
        return f"{' ' * self.indent}{self.mark}{' ' if self.mark else ''}{text}".rstrip(" ")

    @property
    def styled(self) -> str:
        """With colour, which the output takes away again where it does not belong."""
        mark = f"{click.style(self.mark, fg=COLOURS[self.mark])} " if self.mark else ""
        text = click.style(self.text, bold=True) if self.is_bold else "".join(self._highlighted())
        return f"{' ' * self.indent}{mark}{text if self.mark else disarmed(text)}".rstrip(" ")

    @property
    def diff(self) -> str:
        """As a line of a `diff` fence: the mark in the first column, so that no text of others stands there."""
        first = DIFF_MARKS[self.mark] if self.mark else " "
        return f"{first}{' ' * (self.indent + 1)}{disarmed(self.text)}".rstrip(" ")

    def _highlighted(self) -> Iterator[str]:
        end = 0
        for start, stop in self.highlights:
            yield self.text[end:start]
            yield click.style(self.text[start:stop], bold=True, underline=True)
            end = stop
        yield self.text[end:]


def disarmed(text: str) -> str:
    """A line's text of which no runner makes a command."""
    if (match := _COMMAND_AT_START.match(text)) is not None:
        text = f"{text[: match.end() - 1]}\\x3a{text[match.end() :]}"
    return _COMMAND_ANYWHERE.sub(r"\\x23", text)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(item) else 1 + (unicodedata.east_asian_width(item) in "WF") for item in text)


def caret_line(indent: int, ranges: Iterable[tuple[int, int]]) -> Line:
    """`^^^^` under ranges of a text that begins `indent` columns in."""
    text, end = "", 0
    for start, stop in ranges:
        text += " " * (start - end) + "^" * (stop - start)
        end = stop
    return Line(text, indent=indent)
