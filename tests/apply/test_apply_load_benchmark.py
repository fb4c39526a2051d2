"""The benchmark of applies under load runs from end to end, so that it can be believed when somebody needs it."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "apply_under_load.py"
STEPS = ["before", "all created", "a tenth changed", "backlog cancelled", "after"]


def test_a_small_run_measures_every_step_and_loses_no_event(tmp_path: Path) -> None:
    """On a busy machine a target may be missed, which the exit code tells; that events were lost is never all right."""
    document = tmp_path / "numbers.json"
    small = ["--size", "20", "--backlog", "200", "--rate", "20", "--quiet", "0.5", "--modes", "api"]

    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *small, "--json", str(document)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert done.returncode in (0, 1), done.stderr
    steps = json.loads(document.read_text())
    assert [step["name"] for step in steps] == STEPS
    assert all(step["events"] > 0 and step["failed"] == 0 for step in steps), steps
    assert all(step["p50"] <= step["p99"] <= step["max"] for step in steps)
    assert all(step["first_event"] is not None for step in steps if step["apply"] is not None)
