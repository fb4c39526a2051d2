"""Files and folders of manifests to one judged set: the owner's whole desired state.

The entry of this package, called by the commands that read manifests. Every problem of every file is found in one run;
nothing here prints, reads the environment or opens a store.
"""

import gc
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from reconciler.errors import ManifestError, Problem, ReconcilerError
from reconciler.manifest import variable
from reconciler.manifest.file import find_files, read_text
from reconciler.manifest.parse import Document, Parsed, parse
from reconciler.manifest.partial import read_partials
from reconciler.manifest.place import Placer
from reconciler.manifest.validate import Judge, check_head, judge_project, kind_of
from reconciler.models.binding import Binding
from reconciler.models.fault import Fault
from reconciler.models.webhook import Project, Webhook, WebhookName


@dataclass(frozen=True, slots=True)
class Source:
    """Where a webhook or the project is declared: the line of its name, and which document of the file it is, counted
    from 0."""

    file: str
    line: int
    index: int


@dataclass(frozen=True, slots=True)
class Outline:
    """A document, sound or not: which of its file, counted from 0, the line where it begins, and what it says it is."""

    file: str
    index: int
    line: int
    kind: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class ManifestTest:
    """A `kind: WebhookTest` document; plan and apply pass it over."""

    document: Mapping[str, Any]
    file: str
    line: int


@dataclass(frozen=True)
class Manifests:
    """One judged set. `webhooks` are those without an error, by name; `problems` are sorted by file and line;
    `sources` tell where each webhook is declared, `project_source` where the project is; `files` counts what was
    read; `outlines` are of every document in it, in order."""

    webhooks: tuple[Webhook, ...]
    project: Project
    tests: tuple[ManifestTest, ...]
    problems: tuple[Problem, ...]
    sources: Mapping[WebhookName, Source]
    files: int
    project_source: Source | None = None
    outlines: tuple[Outline, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not any(problem.is_error for problem in self.problems)

    def require_valid(self) -> None:
        """Raise ManifestError with every problem, warnings too, if one of them is an error."""
        if not self.is_valid:
            raise ManifestError(self.problems)

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, of what is desired: every webhook, what it was renamed from, and the project. The same for
        every order of files and documents."""
        desired = {
            "project": self.project.spec.model_dump(mode="json"),
            "renamed": {hook.name: hook.metadata.renamed_from for hook in self.webhooks if hook.metadata.renamed_from},
            "webhooks": [orjson.Fragment(hook.canonical()) for hook in self.webhooks],
        }
        return hashlib.sha256(orjson.dumps(desired, option=orjson.OPT_SORT_KEYS)).hexdigest()


def load_manifests(
    paths: Sequence[Path],
    *,
    variables: Mapping[str, str] | None = None,
    bindings: Mapping[str, Binding] | None = None,
    rehearse: bool = False,
) -> Manifests:
    """Read and judge every manifest under `paths`, which are files and folders.

    `variables` are put in for `${var:NAME}`. With `bindings`, secrets that the daemon would not resolve are warned of.
    With `rehearse`, each body is rendered over the built-in events of its triggers, which costs a few milliseconds a
    body. Raises nothing for what people wrote: it is all in `problems`.
    """
    with _collector_off():
        return _Loading(variables or {}, bindings, rehearse).load(paths)


def read_variables(pairs: Sequence[str], files: Sequence[Path]) -> dict[str, str]:
    """The variables of `--var NAME=VALUE` and of `--var-file FILE` (a YAML mapping of scalars, taken as written).

    The former win, and later files over earlier ones. Raises ReconcilerError; an unreadable file is an OSError.
    """
    variables: dict[str, str] = {}
    for file in files:
        variables.update(variable.read_file(file))
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not variable.VARIABLE_NAME.fullmatch(name):
            raise ReconcilerError(f"`--var` cannot be read: {name[:80]}", hint="write NAME=VALUE, like region=eu")
        variables[name] = variable.check_value(name, value, "--var")
    return variables


@contextmanager
def _collector_off() -> Iterator[None]:
    """The cyclic collector would walk all that was built again and again, and find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(slots=True)
class _Loading:
    """One run over the files: parse all, find the project, judge the rest under it."""

    variables: Mapping[str, str]
    bindings: Mapping[str, Binding] | None
    rehearses: bool
    problems: set[Problem] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)
    parsed: dict[str, Parsed] = field(default_factory=dict)

    def load(self, paths: Sequence[Path]) -> Manifests:
        files, missing = find_files(paths)
        self.problems.update(missing)
        for file in files:
            self._parse(file)
        documents = [document for parsed in self.parsed.values() for document in parsed.documents]
        projects = [document for document in documents if kind_of(document.value) == "Project"]
        placer = Placer(self.texts, self.variables, projects[0] if projects else None)
        project = self._judge_projects(projects, placer)
        judge = Judge(
            defaults=_defaults(projects),
            bindings=self.bindings,
            partials=self._partials(projects[0], project) if projects and project else None,
            rehearses=self.rehearses,
        )
        webhooks: list[tuple[Webhook, Document]] = []
        tests: list[ManifestTest] = []
        named: list[Document] = []
        for document in documents:
            self._place(placer, document, check_head(document.value))
            kind = kind_of(document.value)
            if kind == "Webhook":
                named.append(document)
                webhook, faults = judge.webhook(document.value)
                self._place(placer, document, faults)
                if webhook is not None:
                    webhooks.append((webhook, document))
            elif kind == "WebhookTest":
                tests.append(ManifestTest(document.value, document.file, document.line))
        self._check_names(placer, named)
        webhooks.sort(key=lambda item: item[0].name)
        return Manifests(
            webhooks=tuple(webhook for webhook, _ in webhooks),
            project=project or Project(),
            tests=tuple(tests),
            problems=tuple(sorted(self.problems, key=_order)),
            sources={webhook.name: _source(document) for webhook, document in webhooks},
            files=len(files),
            project_source=_source(projects[0]) if projects else None,
            outlines=tuple(map(_outline, documents)),
        )

    def _parse(self, file: Path) -> None:
        text, problem = read_text(file)
        if problem is not None:
            self.problems.add(problem)
            return
        name = str(file)
        self.texts[name] = text
        self.parsed[name] = parse(name, text, self.variables)
        self.problems.update(self.parsed[name].problems)

    def _place(self, placer: Placer, document: Document, faults: Iterable[Fault], *, is_default: bool = False) -> None:
        """Turn faults into problems, but those of a value that is at fault as YAML already."""
        for fault in faults:
            origin, path = placer.origin(document, fault, is_default=is_default)
            if not self.parsed[origin.file].is_known(origin.index, path, on_key=fault.on_key):
                self.problems.add(placer.problem(origin, path, fault))

    def _judge_projects(self, projects: Sequence[Document], placer: Placer) -> Project | None:
        if not projects:
            return None
        first, *others = projects
        project, faults, default_faults = judge_project(first.value)
        if project is not None and project.spec.partials is not None:
            folder = _folder_of_partials(first, project.spec.partials)
            if not folder.is_dir():
                message = f"there is no such folder: {folder}"
                faults.append(Fault("project.partials", ("spec", "partials"), message, "it is relative to this file"))
            elif not folder.resolve().is_relative_to(Path(first.file).parent.resolve()):
                message = f"`partials` leaves the manifests: {project.spec.partials}"
                hint = "name a folder beside or below the project's file, not a link that leads elsewhere"
                faults.append(Fault("project.partials", ("spec", "partials"), message, hint))
                project = None
        self._place(placer, first, faults)
        self._place(placer, first, default_faults, is_default=True)
        for other in others:
            message = f"a second Project; the first is at {first.file}:{first.line}:{first.column}"
            fault = Fault("set.duplicate_project", ("kind",), message, "keep one for all manifests of an owner")
            self._place(placer, other, [fault])
        return project

    def _partials(self, document: Document, project: Project) -> Mapping[str, str]:
        """The texts of the project's partials."""
        if project.spec.partials is None:
            return {}
        texts, problems = read_partials(_folder_of_partials(document, project.spec.partials))
        self.problems.update(problems)
        return texts

    def _check_names(self, placer: Placer, documents: Sequence[Document]) -> None:
        first_by_name: dict[str, Document] = {}
        first_by_origin: dict[str, Document] = {}
        for document in sorted(documents, key=lambda item: (item.file, item.line, item.column)):
            metadata = document.value.get("metadata")
            metadata = metadata if isinstance(metadata, Mapping) else {}
            for key, seen, code, fact in (
                ("name", first_by_name, "set.duplicate_name", "the name is taken"),
                ("renamed_from", first_by_origin, "set.rename", "another webhook is renamed from it"),
            ):
                value = metadata.get(key)
                if not isinstance(value, str):
                    continue
                first = seen.setdefault(value, document)
                if first is not document:
                    message = f"{fact}: {value[:80]}, at {first.file}:{first.line}:{first.column}"
                    hint = "names are unique in all manifests" if key == "name" else "a name passes on to one webhook"
                    self._place(placer, document, [Fault(code, ("metadata", key), message, hint)])


def _source(document: Document) -> Source:
    return Source(document.file, document.line, document.index)


def _outline(document: Document) -> Outline:
    value = document.value
    metadata = value.get("metadata") if isinstance(value, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return Outline(
        document.file, document.index, document.first_line, kind_of(value), name if isinstance(name, str) else None
    )


def _folder_of_partials(document: Document, name: str) -> Path:
    """The folder that a project names; relative to its file."""
    return Path(document.file).parent / name


def _defaults(projects: Sequence[Document]) -> Mapping[str, Any] | None:
    spec = projects[0].value.get("spec") if projects else None
    defaults = spec.get("defaults") if isinstance(spec, Mapping) else None
    return defaults if isinstance(defaults, Mapping) else None


def _order(problem: Problem) -> tuple[str, int, int, str, str]:
    return (problem.file or "", problem.line or 0, problem.column or 0, problem.code, problem.message)
