"""Many files judged by several processes, each taking what comes next; the verdicts are the same as by one.

Called by `manifest.trial`, which may have other things to do before it judges with them, and by `manifest.again`.
What a process took and did not finish, whatever the reason, is judged here.
"""

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final, Self

from reconciler.fork import Part, may_fork, processors
from reconciler.manifest.judged import FileJudge
from reconciler.manifest.verdict import Head, Judged

SHARE_MIN_BYTES: Final = 256 * 1024  # of manifests; some 40 ms of work, many times what a fork costs
WORKERS_MAX: Final = 4
BLOCK_BYTES: Final = 48 * 1024  # of manifests that are taken together; some 10 ms, by which one may end late
BLOCKS_MAX: Final = 8 * 1024  # tickets of them fit into a pipe many times

_TICKET_BYTES: Final = 2


@dataclass(slots=True)
class Judging:
    """Files that are being judged. A context manager: it leaves no process and no pipe behind."""

    judge: FileJudge
    raws: Mapping[str, bytes]
    blocks: Sequence[Sequence[str]]
    tickets: int = -1  # a pipe with the number of each block that nobody has taken; -1 where one process judges all
    parts: list[Part] = field(default_factory=list)

    @classmethod
    def start(
        cls, judge: FileJudge, raws: Mapping[str, bytes], sizes: Mapping[str, int], *, workers: int | None
    ) -> Self:
        """Begin with the files of `sizes`, which are in bytes. `workers` None: as many processes as there are
        processors and work for."""
        size = sum(sizes.values())
        count = _workers(size) if workers is None else workers
        judging = cls(judge, raws, _blocks(sizes, min(BLOCK_BYTES, size // max(count, 1))))
        if count > 1 and may_fork():
            try:
                judging._share_with(count - 1)
            except BaseException:
                judging.end()
                raise
        return judging

    def _share_with(self, count: int) -> None:
        self.tickets = _pipe_of(len(self.blocks))
        for _ in range(count):
            self.parts.append(Part.start(partial(_write_verdicts, self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop, if it is not over."""
        if self.tickets >= 0:
            os.close(self.tickets)
            self.tickets = -1
        for part in self.parts:
            part.end()

    def verdicts(self) -> dict[str, Judged]:
        """The verdict on each file, in order: takes part in the work, and waits for the others."""
        found = {number: self.judged(number) for number in self.taken()} if self.tickets >= 0 else {}
        for part in self.parts:
            found.update(_verdicts(part))
        found.update((number, self.judged(number)) for number in range(len(self.blocks)) if number not in found)
        return {
            file: judged
            for number, block in enumerate(self.blocks)
            for file, judged in zip(block, found[number], strict=True)
        }

    def taken(self) -> Iterator[int]:
        """The numbers of blocks that are this process's to judge."""
        while ticket := os.read(self.tickets, _TICKET_BYTES):
            yield int.from_bytes(ticket, "little")

    def judged(self, number: int) -> list[Judged]:
        """The verdict on each file of a block."""
        return self.judge.judge([(file, self.raws[file]) for file in self.blocks[number]])


def judge_files(
    judge: FileJudge, raws: Mapping[str, bytes], sizes: Mapping[str, int], *, workers: int | None = None
) -> dict[str, Judged]:
    """The verdict on each file of `sizes`, in order."""
    with Judging.start(judge, raws, sizes, workers=workers) as judging:
        return judging.verdicts()


def _workers(size: int) -> int:
    return min(processors(), WORKERS_MAX, size // SHARE_MIN_BYTES)


def _blocks(sizes: Mapping[str, int], wanted: int) -> list[list[str]]:
    """The files cut into runs of about the same size, if that is not too small."""
    wanted = max(wanted, sum(sizes.values()) // BLOCKS_MAX)
    blocks: list[list[str]] = []
    held = wanted
    for file, size in sizes.items():
        if held >= wanted:
            blocks.append([])
            held = 0
        blocks[-1].append(file)
        held += size + 1
    return blocks


def _pipe_of(count: int) -> int:
    """The end of a pipe from which each of `count` numbers can be read by one process."""
    reader, writer = os.pipe()
    try:
        os.write(writer, b"".join(number.to_bytes(_TICKET_BYTES, "little") for number in range(count)))
    finally:
        os.close(writer)
    return reader


def _write_verdicts(judging: Judging, out: BinaryIO) -> None:
    """Block by block: a list of all would be held twice."""
    for number in judging.taken():
        rows = [_to_row(judged) for judged in judging.judged(number)]
        pickle.dump((number, rows), out, protocol=pickle.HIGHEST_PROTOCOL)


def _verdicts(part: Part) -> dict[int, list[Judged]]:
    """What a process found out, by the number of the block."""
    found: dict[int, list[Judged]] = {}
    memory = part.result()
    if memory is not None:
        with memory, suppress(EOFError):  # their end
            while True:
                number, rows = pickle.load(memory)
                found[number] = [_of_row(row) for row in rows]
    return found


def _to_row(judged: Judged) -> tuple[Any, ...]:
    """Plain tuples: they pass a file in a third of the time."""
    heads = [
        (head.kind, head.index, head.first_line, head.line, head.column, head.name, head.renamed_from, head.digest)
        for head in judged.heads
    ]
    return heads, judged.problems, judged.canonical


def _of_row(row: tuple[Any, ...]) -> Judged:
    heads, problems, canonical = row
    return Judged(tuple([Head(*head) for head in heads]), problems, canonical)
