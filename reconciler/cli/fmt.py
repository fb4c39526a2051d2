"""`fmt`: manifests in the one layout, without a store.

The names of changed files, or differences, are the data and go to stdout; what cannot be laid out is told on stderr
and left as it is.
"""

import difflib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from reconciler.cli import view
from reconciler.cli.option import chosen_paths, paths_argument
from reconciler.cli.view_line import disarmed
from reconciler.errors import EXIT_FAILED, EXIT_OK, Problem

STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"  # in problems and differences
COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}
NO_NEWLINE: Final = "\\ No newline at end of file"  # as diff and patch say it


@dataclass(frozen=True, slots=True)
class Layout:
    """A file as it is and as `fmt` wants it; `after` is None where it cannot be laid out. `path` is None for stdin."""

    path: Path | None
    before: str
    after: str | None

    @property
    def name(self) -> str:
        """What people know the file by."""
        return STDIN_NAME if self.path is None else view.visible(str(self.path))

    @property
    def is_changed(self) -> bool:
        """Whether the file would change, line ends and byte order mark included."""
        return self.after is not None and self.after != self.before


@click.command()
@paths_argument
@click.option("--check", is_flag=True, help="Write nothing; list the files that would change and exit 1 if there are.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change as a unified diff.")
def fmt(paths: tuple[str, ...], check: bool, diff: bool) -> int:
    """Rewrite manifests in the one layout, and list the files that changed.

    Keys in the schema's order, each with its comments; two spaces a level; one separator between documents; no spaces
    at line ends. Scalars, comments and what a file says stay as they are. The PATH `-` reads stdin and writes stdout.
    """
    if STDIN in paths and len(paths) > 1:
        raise click.UsageError("`-` stands alone: it reads one file from stdin")
    chosen = chosen_paths(paths)
    files, problems = ([None], []) if paths == (STDIN,) else _files(chosen)
    changes = 0
    for file in files:
        layout, found = _laid_out(file)
        problems += [*found, *_put(layout, check=check, diff=diff)]
        changes += layout.is_changed
    view.say_problems(problems)
    if not files and not problems:
        view.say(f"no manifests in {', '.join(view.visible(str(path)) for path in chosen)}")
    return EXIT_FAILED if problems or (check and changes) else EXIT_OK


def _files(paths: Sequence[Path]) -> tuple[Sequence[Path | None], list[Problem]]:
    from reconciler.manifest.file import find_files

    files, problems = find_files(paths)
    return [Path(file) for file in files], problems


def _laid_out(path: Path | None) -> tuple[Layout, list[Problem]]:
    from reconciler.manifest.file import FILE_MAX_BYTES, decode, read_bytes
    from reconciler.manifest.fmt import format_text

    raw, problem = read_bytes(str(path)) if path is not None else (sys.stdin.buffer.read(FILE_MAX_BYTES + 1), None)
    name, text = str(path or STDIN_NAME), ""
    if problem is None:
        text, problem = decode(name, raw)
    if problem is not None:
        return Layout(path, "", None), [problem]
    formatted = format_text(name, text)
    return Layout(path, raw.decode(), formatted.text), list(formatted.problems)


def _put(layout: Layout, *, check: bool, diff: bool) -> list[Problem]:
    """Write or show what the options ask for."""
    # 1. differences, 2. names of what would change, 3. stdin to stdout, 4. the file itself
    if diff:
        for line in _diff(layout):
            view.out(line)
    elif check:
        if layout.is_changed:
            view.out(layout.name)
    elif layout.path is None:
        sys.stdout.buffer.write((layout.after or "").encode())
    elif layout.is_changed and layout.after is not None:
        from reconciler.manifest.file import write_text

        if problem := write_text(layout.path, layout.after):
            return [problem]
        view.out(layout.name)
    return []


def _diff(layout: Layout) -> Iterator[str]:
    """A unified diff that `git apply` and `patch -p1` take; characters that harm a terminal are spelt out."""
    if layout.after is None:
        return
    name = layout.name.lstrip("/")
    before, after = _lines(layout.before), _lines(layout.after)
    for line in difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm=""):
        text, newline, _ = line.partition("\n")
        text, carriage_return = (text[:-1], "\r") if text.endswith("\r") else (text, "")
        mark, shown = text[:1], disarmed("\t".join(view.visible(part) for part in text[1:].split("\t")))
        colour = None if line.startswith(("--- ", "+++ ")) else COLOURS.get(mark)
        yield click.style(mark + shown, fg=colour) + carriage_return
        if newline:
            yield NO_NEWLINE


def _lines(text: str) -> list[str]:
    """The lines without their ends; of a last line that has none, this is told by a line feed, so that it differs."""
    *lines, last = text.split("\n")
    return [*lines, f"{last}\n"] if last else lines
