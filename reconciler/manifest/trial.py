"""The verdict on each file of a set: those of earlier runs, and the rest judged under the project that the set has.

Called by `manifest.load`. Files are judged under the project, and only a parsed file tells whether it holds one. So
those that look like it are parsed first, and should another turn out to hold one, all begins again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from reconciler.manifest.again import file_judge
from reconciler.manifest.ahead import Read
from reconciler.manifest.memory import Memory
from reconciler.manifest.verdict import NO_PROJECT, FoundProject, Ground, Judged

if TYPE_CHECKING:
    from reconciler.manifest.share import Judging

_PROJECT: Final = re.compile(rb"""kind["']?\s*:\s*["']?Project""")  # as nearly everybody writes it


@dataclass(slots=True)
class Trial:
    """Files that are being judged; no process is left behind once there are verdicts, or after `end`. `ground` is
    complete once the verdicts are."""

    base: Ground  # as far as it is known before a file is read
    read: Read
    memory: Memory | None
    workers: int | None
    suspects: set[str]  # the files that may hold a project
    ground: Ground
    found: FoundProject = NO_PROJECT
    remembered: dict[str, Judged] = field(default_factory=dict)
    judging: Judging | None = None

    @classmethod
    def begin(cls, base: Ground, read: Read, memory: Memory | None, *, workers: int | None) -> Self:
        """Find the project, and have others begin to judge where there is much to do. `workers` is the number of
        processes; None: as many as help."""
        known = memory.rows if memory is not None else {}
        suspects = {
            file for file, key in read.keys.items() if key not in known and _PROJECT.search(read.raws[file]) is not None
        }
        trial = cls(base, read, memory, workers, suspects, base)
        trial._begin()
        return trial

    def end(self) -> None:
        """Stop, if it is not over."""
        if self.judging is not None:
            self.judging.end()

    def verdicts(self) -> dict[str, Judged]:
        """The verdict on each file, in order. What is new is remembered."""
        while True:
            judged = self.judging.verdicts() if self.judging is not None else {}
            surprises = {file for file, verdict in judged.items() if verdict.has_project} - self.suspects
            if not surprises:
                break
            self.end()
            self.suspects |= surprises
            self._begin()
        found = self.remembered | judged
        if self.memory is not None and judged:
            self.memory.keep(self.ground, self.read.keys, found)
        return {file: found[file] for file in self.read.keys} if judged else found

    def _begin(self) -> None:
        raws = self.read.raws
        candidates = {file: raws[file] for file in self.read.keys if file in self.suspects}
        self.found = _find_project(candidates, self.base.variables)
        self.ground = replace(self.base, project=self.found.file, partials=self.found.partials)
        self.remembered = self.memory.verdicts(self.ground, self.read.keys) if self.memory is not None else {}
        rest = {file: size for file, size in self.read.sizes.items() if file not in self.remembered}
        self.judging = None
        if rest:
            from reconciler.manifest.share import Judging

            self.judging = Judging.start(file_judge(self.ground), raws, rest, workers=self.workers)


def _find_project(candidates: Mapping[str, bytes], variables: Mapping[str, str]) -> FoundProject:
    if not candidates:
        return NO_PROJECT
    from reconciler.manifest.project import find_project

    return find_project(candidates, variables)
