"""What the dispatcher is measured on: a sink over TLS, manifests with the Okta template of Apono's page, events that
make bodies of 1 KB, and the real daemon as a process.

Used by `dispatch.py` beside this file. Everything is on loopback, in one temporary folder, and ends with the block.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from transport import Scene, prepare, sink

from reconciler.daemon import now_ms
from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.store.open import open_store

HOST: Final = "acme.workflows.okta.com"
TOKEN: Final = "0123456789abcdef" * 4
SIGNING_KEY: Final = "whsec_" + "A" * 43 + "="
BODY_BYTES: Final = 1024
CONCURRENCY: Final = 64
HANGING: Final = "/api/flo/hang"  # beginnings of paths: these answer nothing for 30 s, and
THROTTLING: Final = "/api/flo/busy"  # these answer 429
BATCH: Final = 500  # events in one transaction, when a backlog is stored
STOP_SECONDS: Final = 90.0
TICKS: Final = os.sysconf("SC_CLK_TCK")

SETTINGS: Final = "log_format when_and_which '$msec $http_webhook_id';"
LOCATIONS: Final = """
    location {hanging} {{ proxy_pass http://127.0.0.1:{silent}; proxy_connect_timeout 60s; proxy_read_timeout 30s; }}
    location {throttling} {{ return 429; }}
    location /api/flo/seen {{ access_log {folder}/seen.log when_and_which buffer=64k flush=1s; return 200 "ok"; }}
"""
MANIFEST: Final = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: {name}}}
spec:
  url: https://{host}{path}/invoke
  headers: {{x-api-client-token: "${{secret:okta_client_token}}"}}
  triggers: [RequestCreated, RequestApproved, RequestRejected, RequestGranted, RequestExpired, RequestFailed]
  filters: {{integration: {{name: [{name}]}}}}
  body_template: |
    {{
      "fields": {{
        "event type": "{{{{event_type}}}}",
        "event time": "{{{{event_time}}}}",
        "requestor email": "{{{{data.requester.email}}}}",
        "integration name": "{{{{data.access_groups.[0].integration.name}}}}",
        "resource type": "{{{{data.access_groups.[0].resource_types.[0].name}}}}",
        "access units": "{{{{data.access_groups.[0].access_units.[0].resource.name}}}}"
      }}
    }}
  signing: {{keys: [{{key: "${{secret:signing_key}}"}}]}}
  rate_limit: {rate}
  max_concurrency: {concurrency}
"""
SECRETS: Final = f"""\
okta_client_token: {{from: env:BENCH_OKTA_TOKEN, hosts: [{HOST}]}}
signing_key: {{from: env:BENCH_SIGNING_KEY, hosts: [{HOST}]}}
"""


@dataclass(frozen=True, slots=True)
class Flow:
    """A webhook: its name, and the path that its flow has."""

    name: str
    path: str
    rate: str = "unlimited"


def flows(number: int, *, kind: str = "flow", rate: str = "unlimited") -> list[Flow]:
    """So many webhooks of one kind, each with a pace key of its own."""
    return [Flow(f"{kind}-{index}", f"/api/flo/{kind}{index:028x}", rate) for index in range(number)]


def event(number: int, flow: str) -> dict[str, Any]:
    """One access request's event that `flow` wants; the body that it makes has BODY_BYTES."""
    group = {
        "integration": {"id": "i-1", "type": "Postgresql", "name": flow},
        "resource_types": [{"id": "postgresql-database", "name": "Database"}],
        "access_units": [
            {
                "resource": {"id": "res-1", "name": _words(BODY_BYTES - 231 - len(flow)), "path": "orders"},
                "permission": {"id": "ro", "name": "READ_ONLY"},
            }
        ],
    }
    return {
        "event_type": "AccessRequestGranted",
        "event_time": 1_795_426_400.25,
        "data": {
            "id": f"request-{number}",
            "friendly_id": f"AR-{number}",
            "requester": {"id": "u-1001", "name": "Dana Levi", "email": "dana.levi@example.com"},
            "justification": "Investigate slow checkout queries, ticket OPS-771",
            "access_groups": [group],
        },
    }


def _words(size: int) -> str:
    """Text of so many characters, none like the one before."""
    return " ".join(f"resource {index} of the orders database," for index in range(40))[:size]


def spread(names: Sequence[str], number: int) -> Iterator[bytes]:
    """So many events, dealt out to the flows in turn."""
    return (json.dumps(event(index, names[index % len(names)])).encode() for index in range(number))


@dataclass(frozen=True, slots=True)
class Use:
    """What a process has used so far: CPU seconds, and the most memory it held, in MB of 10^6 bytes."""

    cpu_seconds: float
    peak_mb: float


class Daemon:
    """`reconciler run` as a process of its own; its log goes into a file, as a supervisor would have it."""

    def __init__(self, stage: "Stage", args: Sequence[str]) -> None:
        self._log = stage.folder / "daemon.log"
        command = [sys.executable, "-m", "reconciler", "run", "--listen", "127.0.0.1:0", *stage.egress(), *args]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=stage.folder, env=stage.env, stderr=log, stdin=subprocess.DEVNULL
            )
        self.url = self._ready()
        self.at_ready = self.use()
        self.last = self.at_ready

    def _ready(self) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            for line in self._log.read_text().splitlines():
                if line.startswith("ready: "):
                    return line.removeprefix("ready: ")
            time.sleep(0.01)
        raise SystemExit(f"the daemon is not ready:\n{self._log.read_text()[-2000:]}")

    def use(self) -> Use:
        """What it has used so far; after its end what was seen last."""
        with contextlib.suppress(OSError, IndexError, StopIteration):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
            self.last = Use((int(fields[11]) + int(fields[12])) / TICKS, peak * 1024 / 1e6)
        return self.last

    def wait(self, seconds: float) -> Use:
        """Until it ends by itself; what it used since it was ready."""
        until = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < until:
            self.use()
            time.sleep(0.02)
        if self.process.poll() != 0:
            raise SystemExit(f"the daemon did not end well:\n{self._log.read_text()[-2000:]}")
        return Use(self.last.cpu_seconds - self.at_ready.cpu_seconds, self.last.peak_mb)

    def stop(self) -> None:
        """By SIGTERM, and by SIGKILL where that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Stage:
    """One folder with a sink; `scene` resets the store for the next measurement."""

    def __init__(self, folder: Path, port: int, kind: str) -> None:
        self.folder = folder
        self.port = port
        self.kind = kind
        self.env = {**os.environ, "BENCH_OKTA_TOKEN": TOKEN, "BENCH_SIGNING_KEY": SIGNING_KEY}
        self.names: list[str] = []

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.folder / "store.db"

    def egress(self) -> list[str]:
        """The operator's options that lead the production host to the sink."""
        args = ["--ca", str(self.folder / "ca.pem"), "--connect-to", f"{HOST}:443:127.0.0.1:{self.port}"]
        return [*args, "--secrets", str(self.folder / "secrets.yaml"), "--store", f"sqlite:///{self.store}"]

    def apply(self, wanted: Sequence[Flow], *, concurrency: int = CONCURRENCY) -> None:
        """A new store with these webhooks."""
        for left in self.folder.glob("store.db*"):
            left.unlink()
        manifests = self.folder / "manifests"
        manifests.mkdir(exist_ok=True)
        texts = (
            MANIFEST.format(host=HOST, name=flow.name, path=flow.path, rate=flow.rate, concurrency=concurrency)
            for flow in wanted
        )
        (manifests / "flows.yaml").write_text("---\n".join(texts))
        self._command("apply", str(manifests), "--auto-approve")
        self.names = [flow.name for flow in wanted]

    def _command(self, *args: str) -> None:
        command = [sys.executable, "-m", "reconciler", "--store", f"sqlite:///{self.store}", *args]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{args[0]}: exit code {done.returncode}\n{done.stderr[-2000:]}")

    def fill(self, number: int, names: Sequence[str] = ()) -> None:
        """Store so many events with their deliveries, through intake, with no daemon there."""
        asyncio.run(self._fill(spread(names or self.names, number)))

    async def _fill(self, events: Iterator[bytes]) -> None:
        store = open_store(f"sqlite:///{self.store}", create=False)
        assert store is not None
        async with store:
            live = Live(store)
            await live.refresh()
            intake = Intake(store, live, now=now_ms, wake=lambda: None)
            while lines := list(islice(events, BATCH)):
                await intake.take(b"\n".join(lines), source="benchmark", content_type="application/x-ndjson")

    def add_not_due(self, number: int) -> None:
        """Deliveries of the first webhook that are due in a week, beside those that are due."""
        with contextlib.closing(sqlite3.connect(self.store)) as db, db:
            db.execute(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                INSERT INTO deliveries
                    (id, event_seq, lane_id, state, is_head, due_at, hold_until, revision, accepted_at)
                SELECT 'dlv_later_' || i, d.event_seq, d.lane_id, 'pending', 1, d.due_at + 604800000 + i, d.hold_until,
                    d.revision, d.accepted_at
                FROM n CROSS JOIN (SELECT * FROM deliveries ORDER BY seq LIMIT 1) d
                """,
                (number,),
            )

    @contextlib.contextmanager
    def daemon(self, *args: str) -> Iterator[Daemon]:
        """The daemon, ready; stopped with the block."""
        daemon = Daemon(self, args)
        try:
            yield daemon
        finally:
            daemon.stop()

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the store holds."""
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchall()


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A folder with certificates and secrets, and the sink, nginx where it is installed."""
    folder.chmod(0o755)  # nginx's workers are another user
    with _silence() as silent:
        told = {"hanging": HANGING, "throttling": THROTTLING, "silent": silent, "folder": folder}
        locations = LOCATIONS.format(**told)
        headers = (("content-type", "application/json"), ("x-api-client-token", TOKEN))
        scene = Scene(HOST, b"y" * BODY_BYTES, headers, SETTINGS, locations)
        port = prepare(folder, scene)
        (folder / "secrets.yaml").write_text(SECRETS)
        with sink(folder, port) as kind:
            yield Stage(folder, port, kind)


@contextlib.contextmanager
def _silence() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener.getsockname()[1]
