"""What judges files, imported when there is one to judge, and what documents say that an earlier run judged.

Used by `manifest.load`. A plan that remembers every verdict, and shows no webhook, imports neither YAML nor a template.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from reconciler.manifest.ahead import Read
from reconciler.manifest.file import decode
from reconciler.manifest.verdict import Ground, Judged

if TYPE_CHECKING:
    from reconciler.errors import Problem
    from reconciler.manifest.judged import FileJudge
    from reconciler.manifest.parse import Parsed
    from reconciler.models.fault import Fault

FEW: Final = 16  # of what an earlier run judged, a sixteenth is read file by file as it is asked for; then the rest


class Again:
    """What documents say, read anew from what their files held: of most of them, nobody asks."""

    def __init__(self, ground: Ground, verdicts: Mapping[str, Judged], read: Read) -> None:
        self._ground = replace(ground, bindings=None, rehearses=False)
        self._raws, self._sizes = read.raws, read.sizes
        self._found: dict[str, Judged] = {}
        self._rest = {file for file, judged in verdicts.items() if judged.heads and not judged.canonical}
        self._parsed_file = ""
        self._parsed: Parsed | None = None

    @cached_property
    def judge(self) -> FileJudge:
        """Judges without a second word about secrets and bodies."""
        return file_judge(self._ground)

    def canonical(self, file: str, index: int) -> bytes:
        """The canonical document of a webhook without an error."""
        if file not in self._found:
            self._look_into(file)
        found = self._found[file].canonical[index]
        assert found is not None
        return found

    def value(self, file: str, index: int) -> Mapping[str, Any]:
        """A document as written."""
        value: Mapping[str, Any] = self._parse(file).documents[index].value
        return value

    def is_sound(self, file: str, index: int) -> bool:
        """Whether nothing is wrong with a document's YAML and its head."""
        from reconciler.manifest.validate import check_head

        parsed = self._parse(file)
        has_faults = any(place == index for place, _ in parsed.faulty)
        return not has_faults and not any(check_head(parsed.documents[index].value))

    def places(self, file: str, faults: Sequence[tuple[int, Fault]]) -> list[Problem]:
        """The places of faults in sound documents, in their order."""
        return self.judge.places(file, self._raws[file], faults)

    def _parse(self, file: str) -> Parsed:
        from reconciler.manifest.parse import parse

        if self._parsed is None or self._parsed_file != file:
            self._parsed = parse(file, decode(file, self._raws[file])[0], self._ground.variables)
            self._parsed_file = file
        return self._parsed

    def _look_into(self, file: str) -> None:
        """Judge a file; and the rest, in shares, when it is plain by now that most will be asked for."""
        from reconciler.manifest.share import judge_files

        wanted = [file] if len(self._found) * FEW < len(self._rest) else sorted(self._rest | {file})
        with collector_off():
            self._found |= judge_files(self.judge, self._raws, {name: self._sizes[name] for name in wanted})
        self._rest.difference_update(wanted)


def file_judge(ground: Ground) -> FileJudge:
    """A judge of files on this ground."""
    from reconciler.manifest.judged import FileJudge

    return FileJudge(ground)


@contextmanager
def collector_off() -> Iterator[None]:
    """The cyclic collector would walk all that was built again and again, and find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
