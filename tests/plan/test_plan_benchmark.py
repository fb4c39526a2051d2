"""The benchmark of plans runs from end to end, so that it can be believed on the day when somebody needs it."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "plan.py"
STEPS = {
    "validate",
    "validate, warm",
    "plan, no change, cold",
    "plan, no change, warm",
    "plan, 1 % changed",
    "apply of all",
}


def test_the_benchmark_measures_every_step_and_every_peer_that_is_there(tmp_path: Path) -> None:
    """Exit codes of all that it runs are as they must be, or it would say so."""
    document = tmp_path / "costs.json"

    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--sizes", "10", "--rounds", "1", "--json", str(document)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    assert "not measured" not in done.stderr
    rows = json.loads(document.read_text())["rows"]
    assert {row["step"] for row in rows if row["tool"] == "reconciler"} == STEPS
    assert all(row["size"] == 10 and row["wall_seconds"] > 0 and row["cpu_seconds"] > 0 for row in rows)
    assert all(row["peak_mb"] > 10 for row in rows)
    assert len(done.stdout.splitlines()) == 1 + len(rows)
