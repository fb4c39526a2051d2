"""One file, judged: what it declares, its problems with their places, and the canonical document of each webhook.

Called by `manifest.load` for one file after the other, or by several processes for a share each: what comes out depends
on nothing but the file and the `Ground`, which is the same for all.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from reconciler.errors import Problem
from reconciler.manifest.file import decode
from reconciler.manifest.parse import Document, Parsed, parse
from reconciler.manifest.place import Placer
from reconciler.manifest.validate import Judge, check_head, kind_of
from reconciler.manifest.verdict import Ground, Head, Judged
from reconciler.models.fault import Fault
from reconciler.models.webhook import Webhook


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

    def judge(self, file: str, raw: bytes) -> Judged:
        """Everything about one file, which is shown under the name `file`."""
        text, problem = decode(file, raw)
        if problem is not None:
            return Judged((), (problem,))
        with self._parsed(file, text) as parsed:
            return self._documents(parsed)

    def place(self, file: str, raw: bytes, faults: Iterable[tuple[int, Fault]]) -> list[Problem]:
        """What others have found out about documents of a file, by their index, as problems."""
        text, _ = decode(file, raw)
        with self._parsed(file, text) as parsed:
            return [
                problem for index, fault in faults for problem in self._placed(parsed.documents[index], parsed, [fault])
            ]

    def places(self, file: str, raw: bytes, faults: Iterable[tuple[int, Fault]]) -> list[Problem]:
        """The same for documents without a fault of their own: a problem for each fault, in order."""
        text, _ = decode(file, raw)
        with self._parsed(file, text) as parsed:
            origins = [(*self._placer.origin(parsed.documents[index], fault), fault) for index, fault in faults]
            return [self._placer.problem(*origin) for origin in origins]

    @contextmanager
    def _parsed(self, file: str, text: str) -> Iterator[Parsed]:
        """The file, parsed, its text at hand for the places of faults meanwhile."""
        is_new = file not in self._texts
        self._texts[file] = text
        try:
            yield parse(file, text, self._ground.variables)
        finally:
            if is_new:
                del self._texts[file]

    def _documents(self, parsed: Parsed) -> Judged:
        problems = dict.fromkeys(parsed.problems)
        heads: list[Head] = []
        canonical: list[bytes | None] = []
        for document in parsed.documents:
            kind = kind_of(document.value)
            faults = list(check_head(document.value))
            webhook: Webhook | None = None
            if kind == "Webhook":
                webhook, more = self._judge.webhook(document.value)
                faults += more
            if faults:
                problems.update(dict.fromkeys(self._placed(document, parsed, faults)))
            raw = webhook.canonical() if webhook is not None else None
            heads.append(_head(document, kind, raw))
            canonical.append(raw)
        return Judged(tuple(heads), tuple(problems), tuple(canonical))

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
