"""What people see that no single command owns: problems, errors, JSON. Data on stdout, the rest on stderr."""

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from unicodedata import combining, is_normalized

import click

from reconciler.errors import Problem

if TYPE_CHECKING:
    from reconciler.cli.view_line import Line

LINES_AT_ONCE: Final = 2_000  # some 100 KB; a plan of ten thousand webhooks has 20 MB
TEXT_AT_ONCE: Final = 256 * 1024  # characters

# C0 and C1 controls, line and paragraph separators, bidi controls, zero-width and byte-order marks, soft hyphens and
# other characters without a shape, lone surrogates; and the beginning of what GitHub's runner and Azure's agent obey
# wherever a step prints it: `##[…]`, `##vso[…]`
_HARMFUL: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
    "|#(?=#(?:vso)?\\[)"
)


def has_colour(stream: Any) -> bool:
    """Whether to colour what goes to `stream`: NO_COLOR, CI, dumb terminals and pipes say no; FORCE_COLOR says yes,
    and 0 nothing."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def say(text: str = "", *, err: bool = True) -> None:
    """A line for people, on stderr unless it is the command's result."""
    stream = sys.stderr if err else sys.stdout
    click.echo(text, err=err, color=has_colour(stream))


def say_lines(lines: Iterable["Line"], *, err: bool = True) -> None:
    """A plan's lines, however many, as `say` would put them out."""
    is_coloured = has_colour(sys.stderr if err else sys.stdout)
    for text in _texts_of(lines, is_coloured=is_coloured):
        click.echo(text, err=err, color=is_coloured)


def say_lines_shared(parts: Sequence[Callable[[], Iterable["Line"]]], *, err: bool = True) -> None:
    """The lines of each part in order. All but the first are made by processes of their own meanwhile, where there can
    be some; `make` may be called in any of them, and again where one fails."""
    from reconciler.fork import Part, may_fork

    is_coloured = has_colour(sys.stderr if err else sys.stdout)
    others: list[Part] = []
    try:
        if may_fork():
            others.extend(Part.start(partial(_write_lines, make, is_coloured)) for make in parts[1:])
        for number, make in enumerate(parts):
            made = others[number - 1].result() if number and others else None
            if made is None:
                say_lines(make(), err=err)
                continue
            with io.TextIOWrapper(made, "utf-8", "surrogatepass", newline="") as file:
                while text := file.read(TEXT_AT_ONCE):
                    click.echo(text, nl=False, err=err, color=is_coloured)
    finally:
        for part in others:
            part.end()


def _write_lines(make: Callable[[], Iterable["Line"]], is_coloured: bool, out: BinaryIO) -> None:
    for text in _texts_of(make(), is_coloured=is_coloured):
        out.write(f"{text}\n".encode("utf-8", "surrogatepass"))


def _texts_of(lines: Iterable["Line"], *, is_coloured: bool) -> Iterator[str]:
    """In portions, without their last line's end."""
    rest = iter(lines)
    while portion := list(islice(rest, LINES_AT_ONCE)):
        yield "\n".join([line.styled if is_coloured else line.plain for line in portion])


def out(text: str) -> None:
    """A line of the command's result, on stdout."""
    say(text, err=False)


def out_json(value: Any) -> None:
    """The command's result as JSON, on stdout."""
    click.echo(json_text(value), nl=False)


def json_text(value: Any) -> str:
    """A value as every command writes JSON, with a line's end. What a pipeline's runner would obey wherever it stands,
    `##[…]` and `##vso[…]`, is spelt with an escape, which reads back the same."""
    text = json.dumps(value, indent=2, ensure_ascii=True)
    return text.replace("##[", "\\u0023#[").replace("##vso[", "\\u0023#vso[") + "\n"


def say_error(message: str, *, hint: str = "") -> None:
    """`error: …` with its hint on a line of its own."""
    say(f"{click.style('error', fg='red', bold=True)}: {visible(message)}")
    if hint:
        shown = "\n".join(visible(line) for line in hint.split("\n"))
        say(f"\n{click.style('hint', fg='cyan', bold=True)}: {shown}")


def say_problems(problems: Iterable[Problem], *, err: bool = True) -> None:
    """Each problem as `error: file:line:column: fact` with its path and hint."""
    for problem in problems:
        say(format_problem(problem), err=err)


def format_problem(problem: Problem) -> str:
    """One problem as text: `error[code]: file:line:column: fact`, then the path and the hint.

    All of it may quote what somebody wrote, so nothing reaches a terminal or a pipeline's log as it is.
    """
    colour = "red" if problem.is_error else "yellow"
    head = click.style(f"{problem.severity.value}[{problem.code}]", fg=colour, bold=True)
    where = f"{click.style(visible(problem.where), bold=True)}: " if problem.where else ""
    lines = [f"{head}: {where}{visible(problem.message)}"]
    if problem.path:
        lines.append(f"  {click.style('at', fg='cyan')} {visible(problem.path)}")
    if problem.hint:
        lines.append(f"  {click.style('hint', fg='cyan')}: {visible(problem.hint)}")
    return "\n".join(lines)


def visible(text: str) -> str:
    """Text from outside, harmless on a terminal and in a pipeline's log: control, bidi and line-breaking characters are
    spelt out, lone surrogates, which no terminal takes, and commands to the pipeline's runner too."""
    if text.isprintable() and "##" not in text:  # nearly all is, and this is told ten times as fast
        return text
    return _HARMFUL.sub(lambda match: _spelt(match[0]), text)


def distinct(text: str) -> str:
    """The same for what is compared with another text: marks on letters, where another spelling of the same letters
    would look alike, are spelt out too."""
    shown = visible(text)
    return shown if shown.isascii() or is_normalized("NFC", shown) else _decomposed(shown)


def _decomposed(text: str) -> str:
    """`cafe\\u0301` for what reads like café and is not the same text."""
    starts = [index for index, item in enumerate(text) if not index or not combining(item)]
    letters = (text[start:end] for start, end in pairwise((*starts, len(text))))
    return "".join(letter if is_normalized("NFC", letter) else _marks_spelt(letter) for letter in letters)


def _marks_spelt(letter: str) -> str:
    return "".join(_spelt(item) if combining(item) else item for item in letter)


def _spelt(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
