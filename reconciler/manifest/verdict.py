"""What was found out about files: the values that `manifest.load`, its judges and its memory hand to each other.

Light on purpose: a plan that remembers every verdict imports neither YAML nor what judges, and of ten thousand named
tuples each is made in a tenth of the time that a frozen dataclass takes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from reconciler.errors import Problem
from reconciler.models.webhook import Project

if TYPE_CHECKING:
    from reconciler.manifest.parse import Document, Parsed
    from reconciler.models.binding import Binding


class Head(NamedTuple):
    """What the rest of the set must know of a document. `index` and the lines are as in `parse.Document`; `name` and
    `renamed_from` as written, where they are text; `digest` is that of a webhook without an error."""

    kind: str | None
    index: int  # type: ignore[assignment]  # a tuple has a method of this name, which nobody calls
    first_line: int
    line: int
    column: int
    name: str | None = None
    renamed_from: str | None = None
    digest: str | None = None


class Judged(NamedTuple):
    """One file. `canonical` holds, for each head, the canonical document of a webhook without an error; it is empty
    where the verdict comes from an earlier run."""

    heads: tuple[Head, ...]
    problems: tuple[Problem, ...] = ()
    canonical: tuple[bytes | None, ...] = ()

    @property
    def has_project(self) -> bool:
        """Whether a document of the file is a project."""
        return "Project" in [head.kind for head in self.heads]


@dataclass(frozen=True)
class ProjectFile:
    """The file that the project stands in: all documents are judged under its defaults."""

    document: "Document"
    text: str
    parsed: "Parsed"

    @cached_property
    def defaults(self) -> Mapping[str, Any] | None:
        """What is merged under every spec; None where nothing is."""
        spec = self.document.value.get("spec")
        defaults = spec.get("defaults") if isinstance(spec, Mapping) else None
        return defaults if isinstance(defaults, Mapping) else None


@dataclass(frozen=True)
class Ground:
    """What every file is judged by: `partials` are the project's; with `rehearses` each body is rendered over the
    built-in events; `now` is None where nobody asks what only time tells."""

    variables: Mapping[str, str]
    bindings: "Mapping[str, Binding] | None" = None
    project: ProjectFile | None = None
    partials: Mapping[str, str] = field(default_factory=dict)
    rehearses: bool = False
    now: datetime | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, of all that a verdict depends on beside the file, the program and the bindings."""
        said = [
            sorted(self.variables.items()),
            [self.project.document.index, self.project.text] if self.project is not None else None,
            sorted(self.partials.items()),
            self.rehearses,
            self.now,
        ]
        return hashlib.sha256(orjson.dumps(said)).hexdigest()


@dataclass(frozen=True, slots=True)
class FoundProject:
    """The first project of a set, and what is wrong with it and with any other. `project` is None where it has an error
    or there is none, `file` only where there is none. `partials` are texts by name."""

    project: Project | None = None
    file: ProjectFile | None = None
    partials: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


NO_PROJECT: Final = FoundProject()


def told_with_files(found: Mapping[str, Iterable[Problem]], known: Iterable[Problem]) -> Iterator[Problem]:
    """The problems found in files. One that stands in the project's defaults, which are not wrong by themselves (that
    would be one of `known`), says which file's webhooks take the default although it is wrong for them."""
    own = set(known)
    files_of: dict[Problem, list[str]] = {}
    for file, problems in sorted(found.items()):
        for problem in problems:
            if problem.file == file or problem in own:
                yield problem
            else:
                files_of.setdefault(problem, []).append(file)
    for problem, (first, *others) in files_of.items():
        more = f"{len(others)} more file{'' if len(others) == 1 else 's'}"
        takers = f"{first} and {more} take" if others else f"{first} takes"
        yield replace(problem, hint=f"{problem.hint}{'; ' if problem.hint else ''}{takers} this default")
