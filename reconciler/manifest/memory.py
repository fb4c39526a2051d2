"""Verdicts on files from earlier runs, by what the files hold, so that only what was edited is judged anew.

Used by `manifest.load`. Holds no text of a manifest: digests, names, places and warnings; a file with an error, or with
a project, is judged every time. Trusted only where all that a verdict depends on is the same: the program to the last
byte, its libraries, the variables and the project. A plan with a memory is the plan without one.
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as once
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import orjson
import pydantic

import reconciler
from reconciler.errors import Problem, Severity
from reconciler.manifest.cache import Cache
from reconciler.manifest.verdict import Ground, Head, Judged

MIN_BYTES: Final = 64 * 1024  # of manifests; fewer are judged in less time than the memory costs

_ROOMS: Final = ("manifest", "models", "request", "template")  # the code that judges, with the modules beside them

# What judges beside it, imported only when there is something to judge.
_LIBRARIES: Final = ("yaml", "cel_expr_python", "jsonpath_rfc9535", "regex", "iregexp_check")

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one set: rows by the SHA-256 of a file, made on the ground of this digest."""

    cache: Cache
    scope: str
    ground: str
    rows: Mapping[str, Row]

    @classmethod
    def of(cls, cache: Cache, paths: Sequence[Path], ground: Ground) -> Self | None:
        """The memory of the set that `paths` lead to, `ground` being known but for its project. None where the
        operator's bindings or the time are asked about, or where the program cannot tell its own version."""
        program = _program() if ground.bindings is None and ground.now is None else None
        if program is None:
            return None
        where = [os.fsencode(path.absolute()).hex() for path in paths]
        scope = hashlib.sha256(orjson.dumps([program, where, ground.digest])).hexdigest()
        return cls(cache, scope, *_recalled(cache.read(scope)))

    def verdicts(self, ground: Ground, keys: Mapping[str, str]) -> dict[str, Judged]:
        """The verdicts on this ground, by file; `keys` are the SHA-256 of the files as they are now."""
        if self.ground != ground.digest:
            return {}
        project_file = ground.project.document.file if ground.project is not None else None
        found = {}
        for file, key in keys.items():
            judged = _judged(self.rows.get(key), file, project_file)
            if judged is not None:
                found[file] = judged
        return found

    def keep(self, ground: Ground, keys: Mapping[str, str], verdicts: Mapping[str, Judged]) -> None:
        """Remember the verdicts, if there is a new one, in place of all that was remembered of the set."""
        rows = {keys[file]: _row(judged, file) for file, judged in verdicts.items() if _is_kept(judged)}
        if self.ground == ground.digest and rows.keys() <= self.rows.keys():
            return
        try:
            self.cache.write(self.scope, orjson.dumps((ground.digest, rows)))
        except TypeError:  # a text that is none to UTF-8
            return


def program_files() -> list[Path]:
    """The modules that a verdict comes from, sorted."""
    root = Path(reconciler.__file__).parent
    return sorted([*root.glob("*.py"), *(file for room in _ROOMS for file in (root / room).glob("*.py"))])


@once
def _program() -> str | None:
    """A digest of the code that judges, and of what it stands on; None where the code cannot be read. Of the code
    itself, since its version stays the same while it is worked on."""
    digest = hashlib.sha256()
    try:
        for text in (reconciler.VERSION, sys.version, pydantic.VERSION, orjson.__version__):
            digest.update(text.encode() + b"\0")
        for name in _LIBRARIES:
            digest.update(orjson.dumps(_files_of(name)))
        for file in program_files():
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    except OSError:
        return None
    return digest.hexdigest()


def _files_of(library: str) -> list[tuple[str, int, int]]:
    """Name, size and time of a library's files: its version, without an import of it or of the list of what is
    installed. Raises OSError where it has none."""
    spec = find_spec(library)
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    entries = [(entry.name, entry.stat()) for folder in folders for entry in os.scandir(folder) if entry.is_file()]
    if not entries:
        raise FileNotFoundError(library)
    return sorted((name, status.st_size, status.st_mtime_ns) for name, status in entries)


def _recalled(raw: bytes | None) -> tuple[str, Mapping[str, Row]]:
    try:
        ground, rows = orjson.loads(raw or b"")
    except ValueError:
        return "", {}
    return (ground, rows) if isinstance(rows, dict) else ("", {})


def _is_kept(judged: Judged) -> bool:
    """Whether a verdict tells all, and nothing of what stands in a manifest: an error may quote it."""
    return not judged.has_project and not any(problem.is_error for problem in judged.problems)


def _row(judged: Judged, file: str) -> Row:
    heads = [
        (head.kind, head.index, head.first_line, head.line, head.column, head.name, head.renamed_from, head.digest)
        for head in judged.heads
    ]
    return heads, [_problem_row(problem, is_own=problem.file == file) for problem in judged.problems]


def _problem_row(problem: Problem, *, is_own: bool) -> Row:
    place = (problem.line, problem.column, problem.end_line, problem.end_column)
    return (is_own, problem.code, problem.message, problem.path, *place, problem.hint)


def _judged(row: Row | None, file: str, project_file: str | None) -> Judged | None:
    """The verdict of a row, on a file that may have another name now; None where it is none."""
    if row is None:
        return None
    try:
        heads, problems = row
        return Judged(
            tuple([Head(*head) for head in heads]), tuple([_problem(item, file, project_file) for item in problems])
        )
    except (TypeError, ValueError):
        return None


def _problem(row: Row, file: str, project_file: str | None) -> Problem:
    is_own, code, message, path, line, column, end_line, end_column, hint = row
    where = file if is_own else project_file
    return Problem(Severity.WARNING, code, message, path, where, line, column, end_line, end_column, hint)
