"""One line of a plan for people, and how it is put on a terminal, into a pipe and into Markdown.

Built by the plan's views. Whatever came from outside has been made visible before; what a pipeline's runner would
take for a command is disarmed here, where it is known what a line begins with.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import click

COLOURS: Final = {"+": "green", "~": "yellow", "-": "red", ".": "red"}
DIFF_MARKS: Final = {"+": "+", "~": "!", "-": "-", ".": "!"}  # what a `diff` fence colours, in its first column

_STYLED_MARKS: Final = {"": "", **{mark: f"{click.style(mark, fg=colour)} " for mark, colour in COLOURS.items()}}
_COMMAND: Final = re.compile(r"\s*:(?=:)")  # what GitHub's runner obeys at a line's start, spaces aside


class Line(NamedTuple):  # of which a large plan has 400,000: a tenth of a frozen dataclass's time to make
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
        text, indent, mark, _, _ = self  # for four hundred thousand lines, so nothing is asked for twice
        said = f"{mark} {text}" if mark else disarmed(text) if "::" in text else text
        return f"{' ' * indent}{said}".rstrip(" ")

    @property
    def styled(self) -> str:
        """With colour, which the output takes away again where it does not belong."""
        mark = _STYLED_MARKS[self.mark]
        text = click.style(self._safe, bold=True) if self.is_bold else self._highlighted
        return f"{' ' * self.indent}{mark}{text}".rstrip(" ")

    @property
    def diff(self) -> str:
        """As a line of a `diff` fence: the mark in the first column, so that no text of others stands there."""
        first = DIFF_MARKS[self.mark] if self.mark else " "
        return f"{first}{' ' * (self.indent + 1)}{self._safe}".rstrip(" ")

    @property
    def _safe(self) -> str:
        return self.text if self.mark else disarmed(self.text)

    @property
    def _highlighted(self) -> str:
        text, end = "", 0
        for start, stop in self.highlights:
            text += self._safe[end:start] + click.style(self._safe[start:stop], bold=True, underline=True)
            end = stop
        return text + self._safe[end:]


def disarmed(text: str) -> str:
    """The text that a line begins with, of which no runner makes a command."""
    match = _COMMAND.match(text) if "::" in text else None
    return text if match is None else f"{text[: match.end() - 1]}\\x3a{text[match.end() :]}"


def caret_line(indent: int, ranges: Iterable[tuple[int, int]]) -> Line:
    """`^^^^` under ranges of a text that begins `indent` columns in."""
    text, end = "", 0
    for start, stop in ranges:
        text += " " * (start - end) + "^" * (stop - start)
        end = stop
    return Line(text, indent=indent)
