"""One file, judged: what it declares, its problems with their places, and the canonical document of each webhook.

Called by `manifest.share` for some files after the other, in one process or several: what comes out depends on nothing
but the file and the `Ground`, which is the same for all.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Final, NamedTuple

from reconciler.errors import Problem
from reconciler.manifest.file import decode
from reconciler.manifest.parse import Document, Parsed, parse
from reconciler.manifest.place import Placer
from reconciler.manifest.validate import Judge, check_head, kind_of
from reconciler.manifest.verdict import Ground, Head, Judged
from reconciler.models.fault import Fault
from reconciler.models.webhook import Webhook

AT_ONCE: Final = 64  # documents that are judged step by step together; more would only be held together
NOTHING: Final = Parsed()
NO_WEBHOOK: Final[tuple[Webhook | None, list[Fault]]] = (None, [])


class _Found(NamedTuple):
    """What was found out about a document."""

    head: Head
    canonical: bytes | None
    faults: list[Fault]


class FileJudge:
    """Judges files on one ground; remembers what it found out about bodies."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._project = ground.project
        self._judge = Judge(
            defaults=self._project.defaults if self._project else None,
            bindings=ground.bindings,
            partials=ground.partials,
            rehearses=ground.rehearses,
            now=ground.now,
        )
        self._texts = {self._project.document.file: self._project.text} if self._project else {}
        self._placer = Placer(self._texts, ground.variables, self._project.document if self._project else None)

    def judge(self, files: Sequence[tuple[str, bytes]]) -> list[Judged]:
        """Everything about each file, which is shown under its name.

        Each step is made for many documents before the next one: a processor that turns from one to another at each
        document takes a quarter longer."""
        decoded = [(file, *decode(file, raw)) for file, raw in files]
        parsed = [
            parse(file, text, self._ground.variables) if problem is None else NOTHING for file, text, problem in decoded
        ]
        documents = [document for item in parsed for document in item.documents]
        found = chain.from_iterable(
            self._documents(documents[start : start + AT_ONCE]) for start in range(0, len(documents), AT_ONCE)
        )
        return [
            self._file(file, text, item, list(islice(found, len(item.documents))))
            if problem is None
            else Judged((), (problem,))
            for (file, text, problem), item in zip(decoded, parsed, strict=True)
        ]

    def place(self, file: str, raw: bytes, faults: Iterable[tuple[int, Fault]]) -> list[Problem]:
        """What others have found out about documents of a file, by their index, as problems."""
        with self._parsed(file, raw) as parsed:
            return [
                problem for index, fault in faults for problem in self._placed(parsed.documents[index], parsed, [fault])
            ]

    def places(self, file: str, raw: bytes, faults: Iterable[tuple[int, Fault]]) -> list[Problem]:
        """The same for documents without a fault of their own: a problem for each fault, in order."""
        with self._parsed(file, raw) as parsed:
            origins = [(*self._placer.origin(parsed.documents[index], fault), fault) for index, fault in faults]
            return [self._placer.problem(*origin) for origin in origins]

    @contextmanager
    def _parsed(self, file: str, raw: bytes) -> Iterator[Parsed]:
        """The file, parsed, its text at hand for the places of faults meanwhile."""
        text, _ = decode(file, raw)
        with self._at_hand(file, text):
            yield parse(file, text, self._ground.variables)

    @contextmanager
    def _at_hand(self, file: str, text: str) -> Iterator[None]:
        is_new = file not in self._texts
        self._texts[file] = text
        try:
            yield
        finally:
            if is_new:
                del self._texts[file]

    def _documents(self, documents: Sequence[Document]) -> list[_Found]:
        """Each document by itself; the webhooks live no longer than this."""
        kinds = [kind_of(document.value) for document in documents]
        heads = [list(check_head(document.value)) for document in documents]
        judged = [
            self._judge.webhook(document.value) if kind == "Webhook" else NO_WEBHOOK
            for document, kind in zip(documents, kinds, strict=True)
        ]
        written = [webhook.canonical() if webhook is not None else None for webhook, _ in judged]
        return [
            _Found(_head(document, kind, raw), raw, [*faults, *more])
            for document, kind, raw, faults, (_, more) in zip(documents, kinds, written, heads, judged, strict=True)
        ]

    def _file(self, file: str, text: str, parsed: Parsed, found: Sequence[_Found]) -> Judged:
        """What was found in a file's documents, with the places of faults."""
        problems = dict.fromkeys(parsed.problems)
        with self._at_hand(file, text):
            for document, one in zip(parsed.documents, found, strict=True):
                if one.faults:
                    problems.update(dict.fromkeys(self._placed(document, parsed, one.faults)))
        return Judged(tuple([one.head for one in found]), tuple(problems), tuple([one.canonical for one in found]))

    def _placed(self, document: Document, parsed: Parsed, faults: Iterable[Fault]) -> Iterator[Problem]:
        """Faults as problems, but for those of a value that is at fault as YAML already."""
        for fault in faults:
            origin, path = self._placer.origin(document, fault)
            said = parsed if origin is document or self._project is None else self._project.parsed
            if not said.is_known(origin.index, path, on_key=fault.on_key):
                yield self._placer.problem(origin, path, fault)


def _head(document: Document, kind: str | None, canonical: bytes | None) -> Head:
    metadata = document.value.get("metadata") if isinstance(document.value, Mapping) else None
    said = metadata if isinstance(metadata, Mapping) else {}
    name, renamed_from = said.get("name"), said.get("renamed_from")
    return Head(
        kind,
        document.index,
        document.first_line,
        document.line,
        document.column,
        name if isinstance(name, str) else None,
        renamed_from if isinstance(renamed_from, str) else None,
        hashlib.sha256(canonical).hexdigest() if canonical is not None else None,
    )
