"""What one command costs: wall time, CPU time and memory of the whole tree of processes that it is. Linux only.

Used by the benchmarks beside this file. CPU time tells more than wall time where the machine has other work to do.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SAMPLE_SECONDS: Final = 0.005  # between two looks at the memory of the tree
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
OUTPUT_MAX_BYTES: Final = 2_000  # of a failed command that are shown


class CommandError(Exception):
    """A command that did not end as it should have."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and megabytes (10^6 bytes). `cpu_seconds` are user and system time, children included; `peak_mb` is the
    most that all processes held at once, pages that a fork shares with its parent counted once."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float

    def best(self, other: "Cost | None") -> "Cost":
        """The lower times of two runs, which other work disturbed less, and the higher peak, which was seen better."""
        if other is None:
            return self
        return Cost(
            min(self.wall_seconds, other.wall_seconds),
            min(self.cpu_seconds, other.cpu_seconds),
            max(self.peak_mb, other.peak_mb),
        )


def measure(
    args: Sequence[str], *, folder: Path, env: Mapping[str, str], code: int = 0, seconds_max: float = 600
) -> Cost:
    """The cost of one run. Raises CommandError for another exit code, and for a run of more than `seconds_max`."""
    log = folder / "output.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            args, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        peak = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, _held_bytes(list(_tree(process.pid))))
            if time.perf_counter() - began > seconds_max:
                process.kill()
                process.wait()
                raise CommandError(f"{' '.join(args[:6])}: not done after {seconds_max:g} s")
            time.sleep(SAMPLE_SECONDS)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        said = log.read_bytes()[-OUTPUT_MAX_BYTES:].decode("utf-8", "replace")
        raise CommandError(f"{' '.join(args[:6])}: exit code {process.returncode}, not {code}\n{said}")
    alone = usage.ru_maxrss * 1024  # of the largest process; what is over within a sample is seen here alone
    return Cost(wall, usage.ru_utime + usage.ru_stime, max(peak, alone) / 1e6)


def _tree(pid: int) -> Iterator[int]:
    """A process and all that came from it."""
    yield pid
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from _tree(int(child))
    except OSError:  # it has ended meanwhile
        return


def _held_bytes(pids: Sequence[int]) -> int:
    """What processes hold. Of several, each one's proportion of what they share, which takes longer to tell."""
    return sum(map(_proportion_bytes if len(pids) > 1 else _resident_bytes, pids))


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _proportion_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
