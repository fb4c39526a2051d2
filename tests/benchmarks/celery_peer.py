"""The dispatcher's job done by Celery over Redis: fills the queue, starts a worker, reads its log of attempts.

Used by `dispatch.py` beside this file; the task itself is `celery_job.py`. Redis and the worker are processes of ours,
in the stage's folder, and end with the measurement.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stage import CONCURRENCY, HOST, SIGNING_KEY, TOKEN, Stage, event

WAIT_SECONDS: Final = 600.0


def missing_for_celery() -> list[str]:
    """What must be installed first."""
    missing = [] if shutil.which("redis-server") else ["redis-server"]
    if not all(importlib.util.find_spec(name) for name in ("celery", "redis", "urllib3")):
        missing.append("celery (extra `bench`)")
    return missing


def measure_celery(stage: Stage, number: int) -> tuple[float, float]:
    """Deliveries per second, and CPU seconds per 1,000 with the worker's start, of so many tasks that wait already."""
    with _redis(stage.folder) as url:
        env = {
            **stage.env,
            "BENCH_REDIS": url,
            "BENCH_PORT": str(stage.port),
            "BENCH_HOST": HOST,
            "BENCH_CA": str(stage.folder / "ca.pem"),
            "PYTHONPATH": str(Path(__file__).parent),
        }
        os.environ.update(BENCH_REDIS=url, BENCH_OKTA_TOKEN=TOKEN, BENCH_SIGNING_KEY=SIGNING_KEY)
        import redis
        from celery_job import ATTEMPTS, deliver

        for index in range(number):
            deliver.delay(event(index, "flow-0"))
        command = [sys.executable, "-m", "celery", "-A", "celery_job", "worker", "-P", "threads"]
        command += [
            "-c",
            str(CONCURRENCY),
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "-l",
            "ERROR",
        ]
        before = os.times()
        log: Any = redis.Redis.from_url(url)
        with (
            (stage.folder / "celery.log").open("wb") as said,
            subprocess.Popen(command, cwd=stage.folder, env=env, stdout=said, stderr=said) as worker,
        ):
            until = time.monotonic() + WAIT_SECONDS
            while log.llen(ATTEMPTS) < number and time.monotonic() < until and worker.poll() is None:
                time.sleep(0.05)
            worker.send_signal(signal.SIGTERM)
        after = os.times()
        lines = [json.loads(line) for line in log.lrange(ATTEMPTS, 0, -1)]
    took = max(line["finished_at"] for line in lines) - min(line["started_at"] for line in lines)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return len(lines) / took, cpu / len(lines) * 1000


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """A Redis that syncs each write, on a free port, in the folder."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.send_signal(signal.SIGTERM)
