"""A fact about one place of a template's text, with its line and column.

Made by every stage of this package from character offsets; shown by whoever validates manifests.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from reconciler.errors import Severity, TemplateError

SYNTAX = "template.syntax"
SECRET = "template.secret"
NOT_JSON = "template.not_json"
INNER_JSON = "template.inner_json"
BRANCHES = "template.branches"
TOO_LARGE = "template.too_large"
TOO_DEEP = "template.too_deep"
UNKNOWN_FIELD = "template.unknown_field"
LIST_WITHOUT_INDEX = "template.list_without_index"
NOT_AN_OBJECT = "template.not_an_object"
NOT_A_LIST = "template.not_a_list"
OUTSIDE = "template.outside"
NEWER_FIELD = "template.newer_field"
UNKNOWN_HELPER = "template.unknown_helper"
ARGUMENTS = "template.arguments"
UNKNOWN_PARTIAL = "template.unknown_partial"
BAD_LEAF = "template.bad_leaf"

FAULTS_MAX: Final = 50  # of one text and stage; beyond this it is no template, and hostile text costs no more
SHOWN_MAX_CHARS: Final = 60  # of the template's text in a message


@dataclass(frozen=True, slots=True)
class TemplateFault:
    """One fault; `line` and `column` count from 1 inside the template's text, `end_column` is the column after the
    last character (of the fault's first line, where it spans several), `path` leads to the leaf of a mapping body."""

    code: str
    message: str
    hint: str
    severity: Severity
    line: int
    column: int
    end_column: int
    path: tuple[str | int, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether the template cannot be used."""
        return self.severity is Severity.ERROR

    def as_error(self) -> TemplateError:
        """The exception that says the same."""
        return TemplateError(self.message, line=self.line, column=self.column, hint=self.hint)


class HelperError(ValueError):
    """A helper cannot do with its arguments what it is for; lower case, no full stop."""


@dataclass(slots=True)
class Source:
    """A template's text, and the way from character offsets to lines and columns."""

    text: str
    path: tuple[str | int, ...] = ()
    _starts: list[int] = field(default_factory=list)

    def locate(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1; only a line feed ends a line."""
        if not self._starts:
            self._starts = [0, *(index + 1 for index, character in enumerate(self.text) if character == "\n")]
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def fault(
        self, code: str, message: str, start: int, end: int, *, hint: str = "", severity: Severity = Severity.ERROR
    ) -> TemplateFault:
        """The fault of the characters from `start` up to `end`."""
        line, column = self.locate(start)
        newline = self.text.find("\n", start, end)
        length = max(1, (end if newline < 0 else newline) - start)
        return TemplateFault(code, message, hint, severity, line, column, column + length, self.path)


def shown(text: str) -> str:
    """A piece of the template's text as a message quotes it: cut short, and nothing in it moves a terminal."""
    short = text if len(text) <= SHOWN_MAX_CHARS else f"{text[: SHOWN_MAX_CHARS - 1]}…"
    return f"`{short if short.isprintable() else ascii(short)[1:-1]}`"
