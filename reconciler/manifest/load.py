"""Files and folders of manifests to one judged set: the owner's whole desired state.

The entry of this package, called by the commands that read manifests. Every problem of every file is found in one run;
nothing here prints, reads the environment or opens a store. What judges is imported when there is something to judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack

import orjson

from reconciler.errors import ManifestError, Problem, ReconcilerError
from reconciler.manifest.again import Again, collector_off, file_judge
from reconciler.manifest.ahead import Ahead, Read
from reconciler.manifest.cache import Cache
from reconciler.manifest.memory import MIN_BYTES, Memory
from reconciler.manifest.trial import Trial
from reconciler.manifest.verdict import Ground, Head, Judged, told_with_files
from reconciler.models.fault import Fault
from reconciler.models.unopened import Seal, Unopened
from reconciler.models.webhook import Project, Webhook, WebhookName

if TYPE_CHECKING:
    from reconciler.manifest.parse import Document
    from reconciler.manifest.webhook_test import ReadyTest
    from reconciler.models.binding import Binding

_WINDOW: Final = (b"not_before", b"not_after")
_UNIQUE_NAME: Final = "names are unique in all manifests"
_UNIQUE_ORIGIN: Final = "a name passes on to one webhook"


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
    """A `kind: WebhookTest` document; plan and apply pass it over. `read` gives it as it was written; `ready` is None
    where it has an error, or where tests were not asked for. `index` is as in `Source`."""

    file: str
    line: int
    read: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)
    index: int = 0
    name: str | None = None
    ready: ReadyTest | None = field(default=None, repr=False, compare=False)

    @property
    def document(self) -> Mapping[str, Any]:
        """The document; parsed each time."""
        return self.read()


@dataclass(frozen=True)
class Manifests:
    """One judged set. `webhooks` are those without an error, by name; `problems` are sorted by file and line;
    `heads` are of every document, with its file, in order; `project_source` tells where the project is; `files` counts
    what was read."""

    webhooks: tuple[Webhook, ...]
    project: Project
    tests: tuple[ManifestTest, ...]
    problems: tuple[Problem, ...]
    heads: tuple[tuple[str, Head], ...]
    files: int
    project_source: Source | None = None
    again: Again | None = field(default=None, repr=False, compare=False)

    def places(self, file: str, faults: Sequence[tuple[int, Fault]]) -> list[Problem]:
        """What others have found out about sound documents of one file, by their index, as problems in this order."""
        return self.again.places(file, faults) if self.again is not None and faults else []

    @cached_property
    def sources(self) -> Mapping[WebhookName, Source]:
        """Where each webhook without an error is declared."""
        return {
            WebhookName(head.name): Source(file, head.line, head.index)
            for file, head in self.heads
            if head.digest is not None and head.name is not None
        }

    @cached_property
    def outlines(self) -> tuple[Outline, ...]:
        """Every document, in order."""
        return tuple(Outline(file, head.index, head.first_line, head.kind, head.name) for file, head in self.heads)

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
            "project": self.project.spec,
            "renamed": {hook.name: hook.renamed_from for hook in self.webhooks if hook.renamed_from},
            "webhooks": [hook.digest() for hook in self.webhooks],
        }
        return hashlib.sha256(orjson.dumps(desired, default=vars, option=orjson.OPT_SORT_KEYS)).hexdigest()


class How(TypedDict, total=False):
    """How manifests are judged; the result is the same for every cache and number of workers.

    `variables` are put in for `${var:NAME}`. With `bindings`, secrets that the daemon would not resolve are warned of.
    With `rehearse`, each body is rendered over the built-in events of its triggers, which costs a few milliseconds a
    body. With `now`, signing keys that have ended, or of which none is valid yet, are warned of. With `tests`, those
    that `check` runs are judged too. With a `cache`, what was judged before is not judged again. `workers` is the
    number of processes; None: as many as help.
    """

    variables: Mapping[str, str] | None
    bindings: Mapping[str, Binding] | None
    rehearse: bool
    cache: Cache | None
    workers: int | None
    now: datetime | None
    tests: bool


def load_manifests(paths: Sequence[Path], **how: Unpack[How]) -> Manifests:
    """Read and judge every manifest under `paths`, which are files and folders. Raises nothing for what people wrote:
    it is all in `problems`."""
    with Ahead.begin(paths) as ahead, Loading.begin(ahead, **how) as loading:
        return loading.finish()


def read_variables(pairs: Sequence[str], files: Sequence[Path]) -> dict[str, str]:
    """The variables of `--var NAME=VALUE` and of `--var-file FILE` (a YAML mapping of scalars, taken as written).

    The former win, and later files over earlier ones. Raises ReconcilerError; an unreadable file is an OSError.
    """
    if not files and not pairs:
        return {}
    from reconciler.manifest import variable

    variables: dict[str, str] = {}
    for file in files:
        variables.update(variable.read_file(file))
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not variable.VARIABLE_NAME.fullmatch(name):
            raise ReconcilerError(f"`--var` cannot be read: {name[:80]}", hint="write NAME=VALUE, like region=eu")
        variables[name] = variable.check_value(name, value, "--var")
    return variables


@dataclass(slots=True)
class Loading:
    """Manifests that are being judged. A context manager: it leaves no process behind."""

    read: Read
    folders: Sequence[Path]
    trial: Trial
    judges_tests: bool
    problems: set[Problem] = field(default_factory=set)

    @classmethod
    def begin(cls, ahead: Ahead, **how: Unpack[How]) -> Self:
        """Judge every manifest of `ahead`; where there are many, other processes begin with it now."""
        cache, now = how.get("cache"), how.get("now")
        with collector_off():
            ground = Ground(
                how.get("variables") or {}, how.get("bindings"), rehearses=how.get("rehearse", False), now=now
            )
            memory = Memory.of(cache, ahead.paths, ground) if cache and ahead.part is not None and now is None else None
            read = ahead.read()
            if now is not None and not any(word in raw for raw in read.raws.values() for word in _WINDOW):
                ground = replace(ground, now=None)  # nothing that only time tells: verdicts may be remembered
            if memory is None and cache and sum(read.sizes.values()) >= MIN_BYTES:
                memory = Memory.of(cache, ahead.paths, ground)
            trial = Trial.begin(ground, read, memory, workers=how.get("workers"))
        folders = [path if path.is_dir() else path.parent for path in ahead.paths]
        return cls(read, folders, trial, how.get("tests", False), set(read.problems))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.trial.end()

    def finish(self) -> Manifests:
        """The judged set."""
        with collector_off():
            verdicts = self.trial.verdicts()
            self.problems.update(self.trial.found.problems)
            faulty = {file: judged.problems for file, judged in verdicts.items() if judged.problems}
            self.problems.update(told_with_files(faulty, self.trial.found.problems))
            self._check_names(verdicts)
            again = Again(self.trial.ground, verdicts, self.read)
            ready = self._judge_tests(verdicts, again) if self.judges_tests else {}
            return self._manifests(verdicts, again, ready)

    def _manifests(
        self, verdicts: Mapping[str, Judged], again: Again, ready: Mapping[tuple[str, int], ReadyTest]
    ) -> Manifests:
        found = self.trial.found
        heads = tuple([(file, head) for file, judged in verdicts.items() for head in judged.heads])
        return Manifests(
            webhooks=tuple(sorted(_webhooks(verdicts, again), key=lambda webhook: webhook.name)),
            project=found.project or Project.model_construct(),
            tests=tuple(
                ManifestTest(
                    file,
                    head.line,
                    partial(again.value, file, head.index),
                    head.index,
                    head.name,
                    ready.get((file, head.index)),
                )
                for file, head in heads
                if head.kind == "WebhookTest"
            ),
            problems=tuple(sorted(self.problems, key=_order)),
            heads=heads,
            files=self.read.count,
            project_source=_source(found.file.document) if found.file else None,
            again=again,
        )

    def _check_names(self, verdicts: Mapping[str, Judged]) -> None:
        named = [(file, head) for file, judged in verdicts.items() for head in judged.heads if head.kind == "Webhook"]
        found: dict[str, list[tuple[int, Fault]]] = {}
        for file, index, fault in _clashes(named):
            found.setdefault(file, []).append((index, fault))
        for file, faults in found.items():
            self.problems.update(file_judge(self.trial.ground).place(file, self.read.raws[file], faults))

    def _judge_tests(self, verdicts: Mapping[str, Judged], again: Again) -> dict[tuple[str, int], ReadyTest]:
        """The tests without an error, by file and index. They are judged anew each time: they depend on other files,
        and few commands ask for them."""
        from reconciler.manifest.webhook_test import Around, judge_test

        heads = [(file, head) for file, judged in verdicts.items() for head in judged.heads]
        webhooks = sorted({head.name for _, head in heads if head.kind == "Webhook" and head.name is not None})
        tests = [(file, head) for file, head in heads if head.kind == "WebhookTest"]
        ready: dict[tuple[str, int], ReadyTest] = {}
        found: dict[str, list[tuple[int, Fault]]] = {}
        for file, index, fault in _clashes(tests):
            found.setdefault(file, []).append((index, fault))
        for file, head in tests:
            test, faults = judge_test(again.value(file, head.index), Around(file, webhooks, self.folders))
            found.setdefault(file, []).extend((head.index, fault) for fault in faults)
            if test is not None and again.is_sound(file, head.index):
                ready[file, head.index] = test
        for file, more in found.items():
            self.problems.update(again.judge.place(file, self.read.raws[file], more))
        return ready


def _clashes(named: Sequence[tuple[str, Head]]) -> Iterator[tuple[str, int, Fault]]:
    """What no two webhooks, or no two tests, may say alike: file and index of the later one, and its fault."""
    names = {head.name for _, head in named}
    if len(names) == len(named) and not any(head.renamed_from for _, head in named):
        return  # nearly always, and told without looking at them in order
    first_by_name: dict[str, tuple[str, Head]] = {}
    first_by_origin: dict[str, tuple[str, Head]] = {}
    for item in sorted(named, key=lambda item: (item[0], item[1].line, item[1].column)):
        file, head = item
        if head.name is not None and (first := first_by_name.setdefault(head.name, item)) is not item:
            message = f"the name is taken: {head.name[:80]}, at {_at(*first)}"
            yield file, head.index, Fault("set.duplicate_name", ("metadata", "name"), message, _UNIQUE_NAME)
        origin = head.renamed_from
        if origin is not None and (first := first_by_origin.setdefault(origin, item)) is not item:
            message = f"another webhook is renamed from it: {origin[:80]}, at {_at(*first)}"
            yield file, head.index, Fault("set.rename", ("metadata", "renamed_from"), message, _UNIQUE_ORIGIN)


def _webhooks(verdicts: Mapping[str, Judged], again: Again) -> Iterator[Webhook]:
    for file, judged in verdicts.items():
        for position, head in enumerate(judged.heads):
            if head.digest is None or head.name is None:
                continue
            raw = judged.canonical[position] if judged.canonical else None
            read = partial(bytes, raw) if raw is not None else partial(again.canonical, file, head.index)
            origin = WebhookName(head.renamed_from) if head.renamed_from is not None else None
            yield Unopened.of(Seal(WebhookName(head.name), read, head.digest, origin))


def _source(document: Document) -> Source:
    return Source(document.file, document.line, document.index)


def _at(file: str, document: Document | Head) -> str:
    return f"{file}:{document.line}:{document.column}"


def _order(problem: Problem) -> tuple[str, int, int, str, str]:
    return (problem.file or "", problem.line or 0, problem.column or 0, problem.code, problem.message)
