"""Many files judged by several processes, each a share of them; the verdicts are the same as by one.

Called by `manifest.load`. Forks, so that a share needs no start of its own, and only where that is safe: on Linux,
while there is one thread. A process that fails, whatever the reason, has its share judged here.
"""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

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
    if count < 2 or not _may_fork():
        return [judge.judge(*file) for file in files]
    own, *others = _shares(files, size, count)
    children: list[_Child] = []
    try:
        children.extend(_Child.start(judge, share) for share in others)
        verdicts = [judge.judge(*file) for file in own]
        for child in children:
            verdicts += child.verdicts()
        return verdicts
    finally:
        for child in children:
            child.end()


def _workers(size: int) -> int:
    return min(len(os.sched_getaffinity(0)), WORKERS_MAX, size // SHARE_MIN_BYTES) if _may_fork() else 1


def _may_fork() -> bool:
    return sys.platform == "linux" and hasattr(os, "memfd_create") and threading.active_count() == 1


def _shares(files: Sequence[File], size: int, count: int) -> list[Sequence[File]]:
    """The files cut into `count` runs of about the same size."""
    shares: list[list[File]] = [[] for _ in range(count)]
    done = 0
    for file in files:
        shares[min(done * count // max(size, 1), count - 1)].append(file)
        done += len(file[1])
    return list(shares)


@dataclass(slots=True)
class _Child:
    """A forked process with its share, and the file in memory that it writes its verdicts to: a pipe would hold it up
    until somebody reads, and a list of them would be held twice."""

    judge: FileJudge
    share: Sequence[File]
    pid: int
    memory: int
    is_over: bool = False

    @classmethod
    def start(cls, judge: FileJudge, share: Sequence[File]) -> "_Child":
        memory = os.memfd_create("verdicts")
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _serve(judge, share, memory)
        return cls(judge, share, pid, memory)

    def verdicts(self) -> list[Judged]:
        """Wait for the process; judge its share where it could not."""
        _, status = os.waitpid(self.pid, 0)
        self.is_over = True
        with os.fdopen(self.memory, "rb") as memory:
            self.memory = -1
            memory.seek(0)
            try:
                rows = [pickle.load(memory) for _ in range(0, len(self.share), ROWS_AT_ONCE)] if status == 0 else None
            except (EOFError, pickle.UnpicklingError):  # it ended well, and early
                rows = None
        if rows is None:
            return [self.judge.judge(*file) for file in self.share]
        return [_of_row(row) for portion in rows for row in portion]

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
        if not self.is_over:
            self.is_over = True
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _serve(judge: FileJudge, share: Sequence[File], memory: int) -> NoReturn:
    """The whole life of a forked process: nothing of its parent's is cleaned up, flushed or reported by it."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent reports an interruption
        with os.fdopen(memory, "wb") as out:
            for start in range(0, len(share), ROWS_AT_ONCE):
                rows = [_to_row(judge.judge(*file)) for file in share[start : start + ROWS_AT_ONCE]]
                pickle.dump(rows, out, protocol=pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        os._exit(status)


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
