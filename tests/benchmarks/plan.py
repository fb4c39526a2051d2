"""What validate, plan and apply cost, and how that grows: `python tests/benchmarks/plan.py [--sizes 10,1000,10000]`.

Each command is a process of its own, start and end included; the best of several rounds counts. octoDNS and Terraform
are measured in the same run where they are installed, once each. Exits 1 if a target at TARGET_SIZE is missed.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from generated import write_manifests
from peer import APPLY, CHANGED, NO_OP, VALIDATE, Costs, peer_costs
from process import CommandError, Cost, measure

OURS: Final = "reconciler"
NO_OP_COLD: Final = "plan, no change, cold"
VALIDATE_WARM: Final = "validate, warm"
STEPS: Final = (VALIDATE, VALIDATE_WARM, NO_OP_COLD, NO_OP, CHANGED, APPLY)
ROUNDS: Final = 3
PEER_SECONDS_MAX: Final = 300
LINEAR_MAX: Final = 1.5  # times the CPU time of one more webhook, a size before
GROWN_SIZE: Final = 1_000  # below, growth is lost in what starting a process costs

TARGET_SIZE: Final = 10_000
SECONDS_MAX: Final = {NO_OP_COLD: 2.5, NO_OP: 0.5, APPLY: 5.0}  # wall, on two cores
PEAK_MB_MAX: Final = 200

Table = dict[str, dict[int, Costs]]  # the costs of each tool, by size and step


@dataclass(frozen=True, slots=True)
class Target:
    """A number that a step must keep, and what it was."""

    step: str
    measure: str
    limit: float
    value: float

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit


def main() -> int:
    """Measure, write the table, and say whether the targets are met."""
    options = _options()
    table: Table = {OURS: {}}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as made:
        for size in options.sizes:
            folder = Path(made) / str(size)
            folder.mkdir()
            _say(
                f"{size:,} webhooks; load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores", error=True
            )
            table[OURS][size] = our_costs(folder, size, rounds=options.rounds)
            for tool, costs in ({} if options.alone else _peers(folder, size)).items():
                table.setdefault(tool, {})[size] = costs
            shutil.rmtree(folder)
    targets = targets_of(table[OURS].get(TARGET_SIZE, {}))
    _show(table, targets)
    if options.json is not None:
        options.json.write_text(json.dumps(document_of(table, targets), indent=2) + "\n")
    return 0 if all(target.is_met for target in targets) else 1


def our_costs(folder: Path, size: int, *, rounds: int) -> Costs:
    """The best of each step over the rounds, in each of which every step is run once."""
    best: Costs = {}
    for number in range(rounds):
        for step, cost in _round(folder / f"round-{number}", size).items():
            best[step] = cost.best(best.get(step))
    return best


def _round(folder: Path, size: int) -> Costs:
    manifests, cache = folder / "manifests", folder / "cache"
    dropped = ("RECONCILER_", "PYTHONDONTWRITEBYTECODE")  # without compiled modules, each start would compile them
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    env = {**kept, "XDG_CACHE_HOME": str(cache), "NO_COLOR": "1"}

    def run(*args: str, code: int = 0, is_cold: bool = False) -> Cost:
        if is_cold:
            shutil.rmtree(cache, ignore_errors=True)
        return measure((sys.executable, "-m", "reconciler", *args), folder=folder, env=env, code=code)

    manifests.mkdir(parents=True)
    write_manifests(manifests, size)
    costs = {
        VALIDATE: run("validate", is_cold=True),
        VALIDATE_WARM: run("validate"),
        APPLY: run("apply", "--auto-approve", is_cold=True),
        NO_OP_COLD: run("plan", "--detailed-exitcode", is_cold=True),
        NO_OP: run("plan", "--detailed-exitcode"),
    }
    write_manifests(manifests, size, changed=max(1, size // 100))
    costs[CHANGED] = run("plan", "--detailed-exitcode", code=2)  # what was edited is all that is new
    shutil.rmtree(folder)
    return costs


def _peers(folder: Path, size: int) -> Mapping[str, Costs]:
    try:
        return peer_costs(folder, size, seconds_max=PEER_SECONDS_MAX)
    except CommandError as exc:
        _say(f"not measured: {exc}", error=True)
        return {}


def targets_of(costs: Costs) -> list[Target]:
    """The targets of the largest size; none where it was not measured."""
    found = [Target(step, "seconds", limit, costs[step].wall_seconds) for step, limit in SECONDS_MAX.items() if costs]
    return found + [Target(step, "MB", PEAK_MB_MAX, costs[step].peak_mb) for step in SECONDS_MAX if costs]


def growth_of(costs: Mapping[int, Costs], step: str) -> float | None:
    """How much more CPU time one more webhook takes than it did a size before; 1 is linear. None for fewer than three
    sizes, or small ones."""
    sizes = sorted(costs)[-3:]
    if len(sizes) < 3 or sizes[-1] < GROWN_SIZE:
        return None
    small, middle, large = (costs[size][step].cpu_seconds for size in sizes)
    before, after = (middle - small) / (sizes[1] - sizes[0]), (large - middle) / (sizes[2] - sizes[1])
    return after / before if before > 0 else None


def document_of(table: Table, targets: Sequence[Target]) -> dict[str, Any]:
    """All that was measured, as JSON."""
    rows = [
        {"tool": tool, "size": size, "step": step, **asdict(cost)}
        for tool, sizes in table.items()
        for size, costs in sizes.items()
        for step, cost in costs.items()
    ]
    growth = {step: growth_of(table[OURS], step) for step in STEPS}
    met = [{**asdict(target), "is_met": target.is_met} for target in targets]
    return {"rows": rows, "growth": growth, "targets": met, "load": os.getloadavg()[0]}


def _show(table: Table, targets: Sequence[Target]) -> None:
    _say(f"{'webhooks':>8}  {'step':<22} {'tool':<11} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'times our CPU':>14}")
    for size, ours in table[OURS].items():
        for step in STEPS:
            for tool, sizes in table.items():
                cost = sizes.get(size, {}).get(step)
                if cost is not None:
                    _say(_row(size, step, tool, cost, cost.cpu_seconds / ours[step].cpu_seconds))
    for tool, sizes in table.items():
        for step in STEPS:
            growth = growth_of(sizes, step) if all(step in costs for costs in sizes.values()) else None
            if growth is not None:
                verdict = "linear" if growth <= LINEAR_MAX else "not linear"
                _say(f"growth of {tool}, {step}: {growth:.2f} ({verdict})")
    for target in targets:
        is_met = "met" if target.is_met else "missed"
        _say(f"target: {target.step}: {target.value:.2f} of {target.limit:g} {target.measure}: {is_met}")


def _row(size: int, step: str, tool: str, cost: Cost, ratio: float) -> str:
    times = "" if tool == OURS else f"{ratio:.1f}"
    numbers = f"{cost.wall_seconds:>8.2f} {cost.cpu_seconds:>8.2f} {cost.peak_mb:>8.0f}"
    return f"{size:>8,}  {step:<22} {tool:<11} {numbers} {times:>14}".rstrip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    whole: Callable[[str], list[int]] = lambda text: sorted(int(item) for item in text.split(","))  # noqa: E731
    parser.add_argument("--sizes", type=whole, default=[10, 1000, 10000], metavar="N,N,…", help="how many webhooks")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--alone", action="store_true", help="without octoDNS and Terraform")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to FILE as well")
    return parser.parse_args()


def _say(line: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{line}\n")
    stream.flush()


if __name__ == "__main__":
    raise SystemExit(main())
