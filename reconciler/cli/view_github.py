"""Problems as annotations of a GitHub Actions step: workflow commands that the runner reads from the step's output.

Called by `validate`. GitHub shows ten annotations of each kind a step and drops the others without a word, so the worst
come first and what is left out is counted.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from reconciler.cli import view
from reconciler.cli.view_report import remaining, sentences
from reconciler.errors import Problem, Severity

SHOWN_MAX: Final = 10  # annotations of one kind that GitHub shows a step

_LINE_BREAK: Final = re.compile(r"([\r\n])")


def annotations(problems: Sequence[Problem], *, name: str = "reconciler validate") -> Iterator[str]:
    """A line for each problem that GitHub shows, errors before warnings; then one that counts the others."""
    left_out: list[Problem] = []
    for severity in Severity:
        of_kind = [problem for problem in problems if problem.severity is severity]
        yield from map(_annotation, of_kind[:SHOWN_MAX])
        left_out += of_kind[SHOWN_MAX:]
    if left_out:
        said = f"{remaining(left_out)}\nGitHub shows {SHOWN_MAX} of each kind; `--format text` shows all"
        yield f"::notice title={name}::{_data(said)}"


def _annotation(problem: Problem) -> str:
    properties = {
        "file": problem.file,
        "line": problem.line,
        "col": problem.column,
        "endLine": problem.end_line,
        "endColumn": problem.end_column,
        "title": problem.code,
    }
    given = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value is not None)
    said = "\n".join(sentences(problem))
    return f"::{problem.severity.value} {given}::{_data(said)}"


def _data(text: str) -> str:
    """A message as the runner reads it back; line breaks stay, other control characters are spelt out."""
    shown = "".join(part if part in ("\r", "\n") else view.visible(part) for part in _LINE_BREAK.split(text))
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property's value, in which `:` and `,` would end it."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
