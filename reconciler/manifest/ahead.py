"""Files of manifests, read and hashed: by another process while the command still imports what will judge them.

Begun by the commands that cost most, and by `manifest.load` where nobody has. Importing what judges takes as long as
reading ten thousand files, and needs none of them. Imports little itself.
"""

from __future__ import annotations

import hashlib
import mmap
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final, Self

from reconciler.errors import Problem
from reconciler.fork import Part, map_tail, processors, write_tail
from reconciler.manifest.file import Search, read_bytes

FILES_MIN: Final = 256  # some 3 ms of work, twice what a fork costs

_KEY_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class Read:
    """The files that could be read, by name in the order of names: what they hold, its SHA-256 in hex, and its size.
    `count` is of all files that were found, `problems` are of paths and files."""

    raws: Mapping[str, bytes]
    keys: Mapping[str, str]
    sizes: Mapping[str, int]
    problems: tuple[Problem, ...]
    count: int


@dataclass(slots=True)
class Ahead:
    """Reading that has begun. A context manager: it leaves no process behind."""

    paths: Sequence[Path]
    found: Search
    names: Sequence[str]
    part: Part | None = field(default=None, repr=False)

    @classmethod
    def begin(cls, paths: Sequence[Path]) -> Self:
        """Look for the files under `paths`, and have them read elsewhere where there are many and it is of use."""
        found = Search.of(paths)
        ahead = cls(paths, found, found.names)
        if len(ahead.names) >= FILES_MIN and processors() > 1:
            ahead.part = Part.start(partial(_write, found, ahead.names))
        return ahead

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.part is not None:
            self.part.end()

    def read(self) -> Read:
        """What the files hold, once they are read; what could not be read elsewhere is read here."""
        memory = self.part.result() if self.part is not None else None
        if memory is not None:
            with memory:
                return self._taken_over(memory)
        raws: dict[str, bytes] = {}
        keys: dict[str, str] = {}
        problems = list(self.found.problems)
        for name, raw, problem in _read(self.found, self.names):
            if problem is not None:
                problems.append(problem)
                continue
            raws[name], keys[name] = raw, hashlib.sha256(raw).hexdigest()
        return Read(raws, keys, {name: len(raw) for name, raw in raws.items()}, tuple(problems), len(self.names))

    def _taken_over(self, memory: BinaryIO) -> Read:
        """What `_write` wrote."""
        written, table = map_tail(memory)
        sizes, digests, problems = pickle.loads(table)
        names = [name for name in self.names if name not in problems]
        keys = [digests[start : start + _KEY_DIGITS] for start in range(0, len(digests), _KEY_DIGITS)]
        return Read(
            _Slices(written, names, sizes),
            dict(zip(names, keys, strict=True)),
            dict(zip(names, sizes, strict=True)),
            (*self.found.problems, *problems.values()),
            len(self.names),
        )


class _Slices(Mapping[str, bytes]):
    """Files that stand one after the other in a memory that another process wrote."""

    def __init__(self, memory: mmap.mmap, names: Sequence[str], sizes: Sequence[int]) -> None:
        self._memory = memory
        ends = list(accumulate(sizes))
        self._places = dict(zip(names, zip([0, *ends], ends, strict=False), strict=True))

    def __getitem__(self, name: str) -> bytes:
        start, end = self._places[name]
        return self._memory[start:end]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _read(found: Search, names: Sequence[str]) -> Iterator[tuple[str, bytes, Problem | None]]:
    for name in names:
        yield name, *read_bytes(name, is_regular=name not in found.special)


def _write(found: Search, names: Sequence[str], out: BinaryIO) -> None:
    """What the files hold, one after the other; then a table of their sizes and digests."""
    sizes: list[int] = []
    digests: list[str] = []
    problems: dict[str, Problem] = {}
    for name, raw, problem in _read(found, names):
        if problem is not None:
            problems[name] = problem
            continue
        sizes.append(len(raw))
        digests.append(hashlib.sha256(raw).hexdigest())
        out.write(raw)
    write_tail(out, pickle.dumps((sizes, "".join(digests), problems), protocol=pickle.HIGHEST_PROTOCOL))
