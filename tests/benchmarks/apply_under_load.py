"""What applies cost a daemon that takes events in meanwhile: `python tests/benchmarks/apply_under_load.py [--size N]`.

A daemon delivers to a sink on loopback while events come at a steady rate from a process of its own; then N webhooks
are applied, a tenth of them changed, and a few of which each has thousands of pending deliveries deleted and made
inactive: once on the daemon's file, once through its API. Told are the latency of the events, by when they were due,
the longest write transaction, and how long after each revision the first event was matched with it. Exits 1 if a
target is missed, which on a busy machine says little.
"""

import argparse
import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import trustme
from generated import TEAMS, write_manifests
from load import event

FOLDER: Final = Path(__file__).parent
P99_MAX_SECONDS: Final = 0.2
TRANSACTION_MAX_SECONDS: Final = 0.1
FIRST_EVENT_MAX_SECONDS: Final = 1.0

BEFORE, CREATE, CHANGE, CANCEL, AFTER = "before", "all created", "a tenth changed", "backlog cancelled", "after"
MODES: Final = ("file", "api")
CLOSED: Final = 20  # webhooks with a backlog: half are deleted, half made inactive
QUIET_SECONDS: Final = 3.0  # of load after each apply: what the daemon does with a revision comes after it
POST_EVENTS: Final = 250
SINK_HOST: Final = "sink.example.com"

STANDING: Final = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: standing-{number}}}
spec:
  url: https://{host}/standing-{number}
  method: POST
  triggers: [RequestCreated]
  filters: {{integration: {{name: ["project-*{number}-*"]}}}}
"""
PENDING: Final = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: closed-{number:02d}}}
spec:
  status: {status}
  url: https://closed.example.com/{number}
  method: POST
  headers: {{x-api-key: "${{secret:unbound}}"}}
  triggers: [RequestFailed]
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened between two moments (seconds since the epoch). Seconds; `apply` of the whole command, `first_event`
    from the revision's commit to the first event that was matched with it."""

    mode: str
    name: str
    began: float
    ended: float
    latencies: tuple[float, ...] = field(default=(), repr=False)
    failed: int = 0
    apply: float | None = None
    transaction: float = 0.0
    verbs: tuple[str, ...] = ()
    first_event: float | None = None
    peak_mb: float = 0.0

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))]

    def misses(self) -> list[str]:
        """The targets that were missed."""
        told = f"{self.mode}, {self.name}"
        found = []
        if self.failed:
            found.append(f"{told}: {self.failed} events were not taken")
        if self.percentile(0.99) > P99_MAX_SECONDS:
            found.append(f"{told}: p99 {self.percentile(0.99) * 1000:.0f} ms")
        if self.transaction > TRANSACTION_MAX_SECONDS:
            found.append(f"{told}: a write transaction of {self.transaction * 1000:.0f} ms {', '.join(self.verbs)}")
        if self.first_event is not None and self.first_event > FIRST_EVENT_MAX_SECONDS:
            found.append(f"{told}: the first event of the revision after {self.first_event:.2f} s")
        return found

    def document(self) -> dict[str, Any]:
        shares = {"p50": self.percentile(0.5), "p99": self.percentile(0.99), "max": self.latencies[-1]}
        return {**asdict(self), "events": len(self.latencies), "latencies": None, **shares}


class Scene:
    """One folder with a sink, a store, a daemon and the load upon it."""

    def __init__(self, folder: Path, *, rate: float, projects: int) -> None:
        self.folder = folder
        self._rate = rate
        self._projects = projects
        self._stack = contextlib.ExitStack()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RECONCILER_")}
        self._env = {**kept, "XDG_CACHE_HOME": str(folder / "cache"), "NO_COLOR": "1"}
        self._env |= {f"TEAM_{team:02d}": f"secret-of-team-{team:02d}" for team in range(TEAMS)}
        self._store = folder / "reconciler.db"
        self.url = ""

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def apply(self, *args: str, store: str) -> float:
        """Seconds that `reconciler apply` took."""
        began = time.monotonic()
        command = [sys.executable, str(FOLDER / "timed.py"), str(self.folder / "transactions.jsonl")]
        command += ["apply", "--auto-approve", "--concise", "--store", store, *args]
        done = subprocess.run(command, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"apply: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return time.monotonic() - began

    def start_daemon(self) -> None:
        """Sink, bindings and daemon."""
        hosts = [f"team-{n:02d}.workflows.okta.com" for n in range(TEAMS)]
        hosts += [f"hooks-{n:02d}.example.com" for n in range(TEAMS)]
        port = self._start_sink([SINK_HOST, *hosts])
        bindings = [
            f"team_{n:02d}_token: {{from: env:TEAM_{n:02d}, hosts: [team-{n:02d}.workflows.okta.com,"
            f" hooks-{n:02d}.example.com]}}\n"
            for n in range(TEAMS)
        ]
        (self.folder / "secrets.yaml").write_text("".join(bindings))
        command = [sys.executable, str(FOLDER / "timed.py"), str(self.folder / "transactions.jsonl"), "run"]
        command += ["--listen", "127.0.0.1:0", "--ca", "ca.pem", "--secrets", "secrets.yaml"]
        for host in (SINK_HOST, *hosts):
            command += ["--connect-to", f"{host}:443:127.0.0.1:{port}"]
        self._daemon = self._process(command, stderr=subprocess.PIPE, text=True)
        ready: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_drain, args=(self._daemon, self.folder / "daemon.log", ready), daemon=True).start()
        self.url = ready.get(timeout=60)

    def post_backlog(self, count: int) -> None:
        """Events that only the closed webhooks want."""
        for start in range(0, count, POST_EVENTS):
            numbers = range(start, min(start + POST_EVENTS, count))
            events = [event(1_000_000 + n, n).replace(b"AccessRequestCreated", b"AccessRequestFailed") for n in numbers]
            answer = httpx.post(f"{self.url}/v1/events", content=b"\n".join(events), timeout=60)
            answer.raise_for_status()

    @contextlib.contextmanager
    def load(self) -> Iterator[Path]:
        """Steady events while the block runs; the file has their answers afterwards."""
        answers = self.folder / "answers.jsonl"
        command = [sys.executable, str(FOLDER / "load.py"), self.url, str(self._rate), str(self._projects)]
        process = subprocess.Popen([*command, str(answers)], stdin=subprocess.PIPE, cwd=self.folder)
        try:
            yield answers
        finally:
            assert process.stdin is not None
            process.stdin.close()
            if process.wait(60):
                raise SystemExit("the load failed")

    def peak_mb(self) -> float:
        """The most memory that the daemon has held, in megabytes."""
        status = Path(f"/proc/{self._daemon.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

    def first_event_of(self, revision: int, committed: float) -> float | None:
        """Seconds from the commit to the first event that was matched with the revision."""
        with contextlib.closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as db:
            (at,) = db.execute("SELECT min(received_at) FROM events WHERE revision >= ?", (revision,)).fetchone()
        return None if at is None else max(0.0, at / 1000 - committed)

    def watch(self) -> "Watch":
        return Watch(self._store)

    def _start_sink(self, hosts: Sequence[str]) -> int:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        certificate = authority.issue_cert(*hosts)
        certificate.private_key_pem.write_to_path(str(self.folder / "server.key"))
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(self.folder / "server.pem"), append=True)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        command = [sys.executable, str(FOLDER / "transport.py"), "--sink", str(self.folder), "--port", str(port)]
        self._process([*command, "--loop", "asyncio"])
        return port

    def _process(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        process = subprocess.Popen(command, cwd=self.folder, env=self._env, **options)
        self._stack.callback(process.wait, 40)
        self._stack.callback(process.send_signal, signal.SIGTERM)
        return process


class Watch:
    """When each revision was committed, as another reader of the file sees it, to some milliseconds."""

    def __init__(self, store: Path) -> None:
        self.committed: dict[int, float] = {}
        self._store = store
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with contextlib.closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as db:
            while not self._over.wait(0.005):
                (revision,) = db.execute("SELECT live_revision FROM store").fetchone()
                self.committed.setdefault(revision, time.time())


def _drain(process: "subprocess.Popen[str]", log: Path, ready: "queue.Queue[str]") -> None:
    """What the daemon says, into a file, and its URL."""
    assert process.stderr is not None
    with log.open("w", encoding="utf-8") as file:
        for line in process.stderr:
            file.write(line)
            file.flush()
            if line.startswith("ready: "):
                ready.put(line.removeprefix("ready: ").strip())


def write_few(folder: Path, *, status: str = "active", closed: Sequence[int] = range(CLOSED)) -> None:
    """The webhooks that are there from the beginning, and those that get a backlog."""
    few = folder / "few"
    shutil.rmtree(few, ignore_errors=True)
    few.mkdir(parents=True)
    for number in range(2):
        (few / f"standing-{number}.yaml").write_text(STANDING.format(number=number, host=SINK_HOST))
    for number in closed:
        (few / f"closed-{number}.yaml").write_text(PENDING.format(number=number, status=status))


def run(mode: str, options: argparse.Namespace, folder: Path) -> list[Step]:
    """Every step, with what it cost."""
    manifests, size = folder / "manifests", options.size
    write_few(manifests)
    steps: list[Step] = []
    with Scene(folder, rate=options.rate, projects=size) as scene:
        scene.apply(store="sqlite:///reconciler.db")
        scene.start_daemon()
        scene.post_backlog(options.backlog // CLOSED)
        store = scene.url if mode == "api" else "sqlite:///reconciler.db"

        def quiet(name: str) -> None:
            began = time.time()
            time.sleep(options.quiet)
            steps.append(Step(mode, name, began, time.time(), peak_mb=scene.peak_mb()))

        def apply(name: str, *args: str) -> None:
            began = time.time()
            took = scene.apply(*args, store=store)
            time.sleep(options.quiet)
            steps.append(Step(mode, name, began, time.time(), apply=took, peak_mb=scene.peak_mb()))

        with scene.watch() as watch, scene.load() as answers:
            time.sleep(1)  # connections made, code warm
            quiet(BEFORE)
            write_manifests(manifests, size)
            apply(CREATE)
            write_manifests(manifests, size, changed=max(1, size // 10))
            apply(CHANGE)
            write_few(manifests, status="inactive", closed=range(0, CLOSED, 2))
            apply(CANCEL, "--allow-deletes", str(CLOSED))
            quiet(AFTER)
        time.sleep(1)  # what was accepted last is delivered
        firsts = {n: scene.first_event_of(n, at) for n, at in watch.committed.items()}
    revisions = dict(zip((CREATE, CHANGE, CANCEL), sorted(firsts)[1:], strict=True))
    return [_filled(step, folder, answers, firsts.get(revisions.get(step.name, -1))) for step in steps]


def _filled(step: Step, folder: Path, answers: Path, first_event: float | None) -> Step:
    """The step with what was told of it."""
    told = [json.loads(line) for line in answers.read_text().splitlines()]
    within = [(latency, status) for due, latency, status in told if step.began <= due < step.ended]
    log = folder / "transactions.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    transactions = [line for line in lines if "seconds" in line]
    longest = max(
        (one for one in transactions if step.began <= one["ended_at"] < step.ended),
        key=lambda one: one["seconds"],
        default={"seconds": 0.0, "verbs": []},
    )
    return Step(
        step.mode,
        step.name,
        step.began,
        step.ended,
        latencies=tuple(sorted(latency for latency, _ in within)),
        failed=sum(status != 202 for _, status in within),
        apply=step.apply,
        transaction=longest["seconds"],
        verbs=tuple(longest["verbs"]),
        first_event=first_event,
        peak_mb=step.peak_mb,
    )


def show(steps: Sequence[Step]) -> None:
    say(
        f"{'mode':5}{'step':19}{'apply s':>8}{'events':>8}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}"
        f"{'longest tx ms':>15}{'first event s':>15}{'peak MB':>9}"
    )
    for step in steps:
        took = "" if step.apply is None else f"{step.apply:.2f}"
        first = "" if step.first_event is None else f"{step.first_event:.2f}"
        p50, p99, worst = (value * 1000 for value in (step.percentile(0.5), step.percentile(0.99), step.latencies[-1]))
        say(
            f"{step.mode:5}{step.name:19}{took:>8}{len(step.latencies):8}{p50:8.1f}{p99:8.1f}{worst:8.1f}"
            f"{step.transaction * 1000:15.0f}{first:>15}{step.peak_mb:9.0f}"
        )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10_000, help="webhooks to apply")
    parser.add_argument("--backlog", type=int, default=200_000, help="pending deliveries to cancel half of")
    parser.add_argument("--rate", type=float, default=200, help="events a second")
    parser.add_argument("--quiet", type=float, default=QUIET_SECONDS, help="seconds of load around the applies")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    options = parser.parse_args()
    steps: list[Step] = []
    for mode in options.modes.split(","):
        with tempfile.TemporaryDirectory(prefix="benchmark-") as made:
            folder = options.keep / mode if options.keep else Path(made)
            folder.mkdir(parents=True, exist_ok=True)
            say(f"{mode}: load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")
            steps += run(mode, options, folder)
    show(steps)
    if options.json:
        options.json.write_text(json.dumps([step.document() for step in steps], indent=2) + "\n")
    misses = [miss for step in steps for miss in step.misses()]
    for miss in misses:
        say(f"missed: {miss}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
