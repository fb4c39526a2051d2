"""Many files judged by several processes, each a share of them; the verdicts are the same as by one.

Called by `manifest.load`. A process that fails, whatever the reason, has its share judged here.
"""

import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any, BinaryIO, Final

from reconciler.fork import Part, may_fork, processors
from reconciler.manifest.judged import FileJudge
from reconciler.manifest.verdict import Head, Judged

SHARE_MIN_BYTES: Final = 256 * 1024  # of manifests; some 40 ms of work, many times what a fork costs
WORKERS_MAX: Final = 4
ROWS_AT_ONCE: Final = 64  # verdicts that are handed over together

File = tuple[str, bytes]  # its name and what it holds


def judge_files(judge: FileJudge, files: Sequence[File], *, workers: int | None = None) -> list[Judged]:
    """The verdict on each file, in order. `workers` None: as many processes as there are processors and work for."""
    size = sum(len(raw) for _, raw in files)
    count = _workers(size) if workers is None else workers
    if count < 2 or not may_fork():
        return [judge.judge(*file) for file in files]
    own, *others = _shares(files, size, count)
    parts: list[Part] = []
    try:
        parts.extend(Part.start(partial(_write_verdicts, judge, share)) for share in others)
        verdicts = [judge.judge(*file) for file in own]
        for part, share in zip(parts, others, strict=True):
            verdicts += _verdicts(part, judge, share)
        return verdicts
    finally:
        for part in parts:
            part.end()


def _workers(size: int) -> int:
    return min(processors(), WORKERS_MAX, size // SHARE_MIN_BYTES)


def _shares(files: Sequence[File], size: int, count: int) -> list[Sequence[File]]:
    """The files cut into `count` runs of about the same size."""
    shares: list[list[File]] = [[] for _ in range(count)]
    done = 0
    for file in files:
        shares[min(done * count // max(size, 1), count - 1)].append(file)
        done += len(file[1])
    return list(shares)


def _write_verdicts(judge: FileJudge, share: Sequence[File], out: BinaryIO) -> None:
    """In portions: a list of all would be held twice."""
    for start in range(0, len(share), ROWS_AT_ONCE):
        rows = [_to_row(judge.judge(*file)) for file in share[start : start + ROWS_AT_ONCE]]
        pickle.dump(rows, out, protocol=pickle.HIGHEST_PROTOCOL)


def _verdicts(part: Part, judge: FileJudge, share: Sequence[File]) -> list[Judged]:
    """What a process found out about its share, which is judged here where it could not."""
    memory = part.result()
    if memory is not None:
        with memory:
            try:
                rows = [pickle.load(memory) for _ in range(0, len(share), ROWS_AT_ONCE)]
                return [_of_row(row) for portion in rows for row in portion]
            except (EOFError, pickle.UnpicklingError):  # it ended well, and early
                pass
    return [judge.judge(*file) for file in share]


def _to_row(judged: Judged) -> tuple[Any, ...]:
    """Plain tuples: they pass a pipe in a third of the time."""
    heads = [
        (head.kind, head.index, head.first_line, head.line, head.column, head.name, head.renamed_from, head.digest)
        for head in judged.heads
    ]
    return heads, judged.problems, judged.canonical


def _of_row(row: tuple[Any, ...]) -> Judged:
    heads, problems, canonical = row
    return Judged(tuple([Head(*head) for head in heads]), problems, canonical)
