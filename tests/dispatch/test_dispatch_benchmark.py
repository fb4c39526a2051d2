"""The benchmark of the dispatcher runs from end to end, so that it can be believed when somebody needs it."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "dispatch.py"
FLOWS = 50


def test_the_benchmark_measures_backlog_intake_latency_and_flows(tmp_path: Path) -> None:
    """Numbers that a busy machine may miss are no failure here (exit code 1), but everything is delivered."""
    document = tmp_path / "rows.json"
    small = ["--events", "200", "--seconds", "1", "--json", str(document)]

    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "backlog", "latency", "flows", *small],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    backlog, intake, batches, latency, flows = json.loads(document.read_text())
    for row in (backlog, intake, batches):
        assert row["facts"]["deliveries/s"] > 0 and row["facts"]["CPU s/1,000"] > 0 and row["facts"]["peak MB"] > 20
    assert 0 < latency["facts"]["p50 ms"] <= latency["facts"]["p99 ms"] < float("inf")
    assert flows["facts"]["delivered"] == round(FLOWS * 9 * 0.95) and flows["good"]
    assert flows["facts"]["most"] - flows["facts"]["fewest of a flow"] <= 1
