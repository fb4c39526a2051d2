"""Deliveries per second of the real daemon, beside wrk, Celery and stock httpx: `python tests/benchmarks/dispatch.py`.

Pytest runs a tiny round of it. Everything is on loopback: nginx over TLS as the receiver (a small sink of our own where
it is missing), bodies of 1 KB by the Okta template of Apono's page, signed, every attempt recorded, no rate limit where
none is said, SQLite with synchronous=FULL, uvloop, 64 attempts at a time. In the same run `wrk -t1 -c64` posts as many
bytes to the same sink, before and after what is compared with it.

    backlog    deliveries that are stored already
    intake     one event a request over HTTP, taken and delivered by the same process; then a hundred a request
    latency    the same at half that rate: from the sender's first byte to the receiver
    memory     the peak with 100,000 pending
    flows      50 flows of 9 a second each, asked for 95 % of that: lag and fairness
    flatness   1, 100 and 10,000 webhooks; none and 1,000,000 deliveries beside that are not due
    isolation  100 webhooks, of which 5 hang for 30 s and 5 answer 429: the rate of the other 90
    peers      the same job by Celery over Redis (extra `bench`, redis-server), and a loop of stock httpx

Exits 1 if a target is missed. A busy machine takes from the daemon what wrk does not need: compare CPU seconds too, and
run it with nothing beside. `--folder /dev/shm` takes the disk out of it.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from celery_peer import measure_celery, missing_for_celery
from stage import Daemon, Flow, Stage, Use, flows, stage
from transport import measure_apart, measure_wrk, say

from reconciler.models.delivery import delivery_id

BACKLOG_SHARE: Final = 0.12  # of wrk's rate, from a backlog that is stored
INTAKE_SHARE: Final = 0.07  # of wrk's rate, with HTTP intake in the same process
LATENCY_MS: Final = 50.0  # p99 at half load
PEAK_MB: Final = 130.0  # with 100,000 pending
FLAT_SHARE: Final = 0.75  # of the best, for the worst of what should cost the same
ISOLATED_SHARE: Final = 0.95  # of their rate, for those beside receivers that hang or refuse
BATCH_EVENTS: Final = 100
FLOWS: Final = 50
FLOW_RATE: Final = 9
FLOW_LOAD: Final = 0.95  # of it; at the whole of it a flow never makes up for its first second
TROUBLED: Final = 5  # webhooks that hang, and as many that answer 429
WAIT_SECONDS: Final = 600.0
EXIT_TERMINATED: Final = 143


@dataclass
class Row:
    """One thing measured. `share` is of wrk, or of what the row is compared with; `good`: whether a target is reached,
    None where there is none."""

    name: str
    facts: dict[str, float] = field(default_factory=dict)
    target: str = ""
    good: bool | None = None

    def text(self) -> str:
        """A line for people."""
        facts = ", ".join(f"{name} {_short(value)}" for name, value in self.facts.items())
        verdict = "" if self.good is None else f"  [{self.target}: {'reached' if self.good else 'MISSED'}]"
        return f"{self.name:34} {facts}{verdict}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Bench:
    """The measurements, each a method that gives rows."""

    def __init__(self, stage: Stage, args: argparse.Namespace) -> None:
        self._stage = stage
        self._args = args
        self._number: int = args.events
        self._intake_rate = 0.0

    def backlog(self) -> Iterator[Row]:
        """From a backlog already stored."""
        self._stage.apply(flows(1))
        self._stage.fill(self._number)
        before = self._wrk()
        rate, use = self._drain()
        wrk = statistics.mean([before, self._wrk()])
        facts = {"deliveries/s": rate, "CPU s/1,000": use.cpu_seconds / self._number * 1000, "peak MB": use.peak_mb}
        yield Row("backlog, one webhook", *self._of_wrk(facts, rate, wrk, BACKLOG_SHARE))

    def intake(self) -> Iterator[Row]:
        """One event a request, and in batches, delivered by the same process."""
        before = self._wrk()
        facts = self._taken(batch=1)
        wrk = statistics.mean([before, self._wrk()])
        self._intake_rate = rate = facts["deliveries/s"]
        yield Row("HTTP intake in the same process", *self._of_wrk(facts, rate, wrk, INTAKE_SHARE))
        yield Row(f"the same, {BATCH_EVENTS} events a request", self._taken(batch=BATCH_EVENTS))

    def _taken(self, *, batch: int) -> dict[str, float]:
        self._stage.apply(flows(1))
        with self._stage.daemon() as daemon:
            self._send(daemon, ["flow-0"], self._number, batch=batch)
            self._wait_delivered(self._number)
            use = daemon.use()
        cpu = (use.cpu_seconds - daemon.at_ready.cpu_seconds) / self._number * 1000
        return {"deliveries/s": self._rate(), "CPU s/1,000": cpu, "peak MB": use.peak_mb}

    def latency(self) -> Iterator[Row]:
        """From the sender's first byte to the receiver, at half the rate that intake reached."""
        if not self._intake_rate:
            yield from self.intake()
        wanted = self._intake_rate / 2
        number = max(self._number // 4, round(wanted * self._args.seconds))
        lags = [lag for lags in self._lags(flows(1, kind="seen"), number, wanted).values() for lag in lags]
        good = len(lags) == number and _quantile(lags, 0.99) < LATENCY_MS
        facts = {"events/s": wanted, "p50 ms": _quantile(lags, 0.5), "p99 ms": _quantile(lags, 0.99)}
        yield Row("intake to receiver at half load", facts, f"p99 < {LATENCY_MS:g} ms", good)

    def memory(self) -> Iterator[Row]:
        """The peak of a daemon that works off a long backlog, seen while it does."""
        self._stage.apply(flows(1))
        self._stage.fill(self._args.pending)
        with self._stage.daemon() as daemon:
            until = time.monotonic() + self._args.seconds * 2
            while time.monotonic() < until and self._delivered() < self._args.pending:
                daemon.use()
                time.sleep(0.05)
            peak = daemon.use().peak_mb
        target = f"< {PEAK_MB:g} MB"
        yield Row(f"{self._args.pending:,} pending", {"peak MB": peak}, target, peak < PEAK_MB)

    def flows(self) -> Iterator[Row]:
        """The run that users live in: many flows at Okta's rate each."""
        wanted = flows(FLOWS, kind="seen", rate=f"{{per_second: {FLOW_RATE}, burst: 1}}")
        rate = FLOWS * FLOW_RATE * FLOW_LOAD
        number = round(rate * self._args.seconds)
        by_flow = self._lags(wanted, number, rate)
        lags = [lag for lags in by_flow.values() for lag in lags]
        fewest, most = min(map(len, by_flow.values())), max(map(len, by_flow.values()))
        worst = max(_quantile(lags, 0.99) for lags in by_flow.values())
        facts = {
            "delivered": float(len(lags)),
            "p50 ms": _quantile(lags, 0.5),
            "p99 ms": _quantile(lags, 0.99),
            "worst flow's p99 ms": worst,
            "fewest of a flow": float(fewest),
            "most": float(most),
        }
        yield Row(f"{FLOWS} flows at {FLOW_RATE}/s", facts, "all delivered, as many each", len(lags) == number)

    def flatness(self) -> Iterator[Row]:
        """Deliveries a second, and what they cost, however many webhooks and rows there are."""
        found: dict[str, tuple[float, float]] = {}
        for webhooks in sorted({1, 100, self._args.webhooks}):
            found[f"{webhooks:,} webhooks"] = self._flat(webhooks, 0)
        found[f"{self._args.not_due:,} not due beside"] = self._flat(1, self._args.not_due)
        best = max(rate for rate, _ in found.values())
        cheapest = min(cpu for _, cpu in found.values())
        for name, (rate, cpu) in found.items():
            facts = {
                "deliveries/s": rate,
                "of the best": rate / best,
                "CPU s/1,000": cpu,
                "of the least": cpu / cheapest,
            }
            good = rate / best >= FLAT_SHARE or cpu * FLAT_SHARE <= cheapest
            yield Row(f"flat: {name}", facts, "within 25 % of the best or the least CPU", good)

    def _flat(self, webhooks: int, not_due: int) -> tuple[float, float]:
        self._stage.apply(flows(webhooks))
        self._stage.fill(self._number)
        if not_due:
            self._stage.add_not_due(not_due)
        with self._stage.daemon() as daemon:
            self._wait_delivered(self._number)
            use = daemon.use()
        return self._rate(), (use.cpu_seconds - daemon.at_ready.cpu_seconds) / self._number * 1000

    def isolation(self) -> Iterator[Row]:
        """What receivers that hang or refuse cost the others."""
        if self._stage.kind != "nginx":
            say("isolation: not measured, since nginx is not installed")
            return
        good = flows(100 - 2 * TROUBLED)
        alone = self._isolated(good, [])
        beside = self._isolated(good, [*flows(TROUBLED, kind="hang"), *flows(TROUBLED, kind="busy")])
        facts = {"deliveries/s alone": alone, "beside": beside, "share": beside / alone}
        target = f">= {ISOLATED_SHARE:.0%}"
        yield Row("90 of 100 webhooks", facts, target, beside / alone >= ISOLATED_SHARE)

    def _isolated(self, good: list[Flow], troubled: list[Flow]) -> float:
        self._stage.apply([*good, *troubled])
        number = self._number // len(good) * (len(good) + len(troubled))
        self._stage.fill(number)
        wanted = self._number // len(good) * len(good)
        with self._stage.daemon() as daemon:
            self._wait_delivered(wanted)
            daemon.process.kill()  # nobody waits 30 s for those that hang
            daemon.process.wait()
        return self._rate()

    def peers(self) -> Iterator[Row]:
        """The same job done otherwise."""
        found = measure_apart(
            "httpx",
            argparse.Namespace(seconds=self._args.seconds / 2, loop="uvloop"),
            self._stage.folder,
            self._stage.port,
        )
        yield Row("stock httpx, POST alone", {"requests/s": found["rate"], "CPU s/1,000": found["cpu"]})
        missing = missing_for_celery()
        if missing:
            say(f"Celery: not measured, since it is missing: {', '.join(missing)}")
            return
        rate, cpu = measure_celery(self._stage, max(200, self._number // 10))
        yield Row("Celery and Redis", {"deliveries/s": rate, "CPU s/1,000 with its start": cpu})

    # How it is measured

    def _wrk(self) -> float:
        return measure_wrk(self._stage.folder, self._stage.port, self._args.seconds / 4).get("rate", 0.0)

    def _of_wrk(
        self, facts: dict[str, float], rate: float, wrk: float, wanted: float
    ) -> tuple[dict[str, float], str, bool | None]:
        if not wrk:
            return facts, "", None
        return {**facts, "wrk": wrk, "share": rate / wrk}, f">= {wanted:g} of wrk", rate / wrk >= wanted

    def _drain(self) -> tuple[float, Use]:
        """Start a daemon that ends when all is delivered."""
        with self._stage.daemon("--exit-when-idle") as daemon:
            use = daemon.wait(WAIT_SECONDS)
        return self._rate(), use

    def _rate(self) -> float:
        """Deliveries a second, from the first attempt's start to the last one's end."""
        sql = (
            "SELECT count(*), min(a.started_at), max(a.finished_at) FROM attempts a"
            " JOIN deliveries d ON d.seq = a.delivery_seq WHERE d.state = 'delivered'"
        )
        number, first, last = self._stage.query(sql)[0]
        return float(number / max(0.001, (last - first) / 1000))

    def _delivered(self) -> int:
        found = self._stage.query("SELECT sum(delivered) FROM lanes")[0][0]
        return int(found or 0)

    def _wait_delivered(self, number: int) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while self._delivered() < number:
            if time.monotonic() > until:
                raise SystemExit(f"not delivered in {WAIT_SECONDS:g} s: {number - self._delivered()} of {number}")
            time.sleep(0.02)

    def _send(self, daemon: Daemon, names: list[str], number: int, rate: float = 0.0, batch: int = 1) -> None:
        script = str(Path(__file__).with_name("sender.py"))
        args = ["--flows", ",".join(names), "--number", str(number), "--rate", str(rate), "--batch", str(batch)]
        command = [sys.executable, script, daemon.url, str(self._stage.folder / "sent.txt"), *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the sender failed:\n{done.stderr[-2000:]}")
        if json.loads(done.stdout)["statuses"] != {"202": -(-number // batch)}:
            raise SystemExit(f"not every event was taken: {done.stdout}")

    def _lags(self, wanted: list[Flow], number: int, rate: float) -> dict[str, list[float]]:
        """Milliseconds from the sender's first byte to the receiver's answer, by flow."""
        seen_log = self._stage.folder / "seen.log"
        if self._stage.kind == "nginx":
            seen_log.write_text("")
            seen_log.chmod(0o666)
        self._stage.apply(wanted)
        names = [flow.name for flow in wanted]
        with self._stage.daemon() as daemon:
            self._send(daemon, names, number, rate)
            self._wait_delivered(number)
        received = self._received(seen_log)
        uids = dict(self._stage.query("SELECT name, uid FROM live_webhooks"))
        lags: dict[str, list[float]] = defaultdict(list)
        for index, line in enumerate((self._stage.folder / "sent.txt").read_text().splitlines()):
            event_id, sent_at = line.split()
            name = names[index % len(names)]
            at = received.get(delivery_id(event_id, uids[name]))
            if at is not None:
                lags[name].append(at - float(sent_at))
        return lags

    def _received(self, seen_log: Path) -> dict[str, float]:
        """When the receiver had each delivery, in milliseconds: by nginx's log, else by our record of its answer."""
        if self._stage.kind != "nginx":
            sql = "SELECT d.id, a.finished_at FROM deliveries d JOIN attempts a ON a.delivery_seq = d.seq"
            return dict(self._stage.query(sql))
        time.sleep(1.5)  # nginx keeps lines for a second
        lines = (line.split() for line in seen_log.read_text().splitlines())
        return {name: float(at) * 1000 for at, name in lines}


def _quantile(values: list[float], share: float) -> float:
    """The value that so many of all do not exceed; infinite where there is none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


MODES: Final = ("backlog", "intake", "latency", "memory", "flows", "flatness", "isolation", "peers")


def main() -> int:
    """The modes that are asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="*", metavar="MODE", help=f"of {', '.join(MODES)}; all without")
    parser.add_argument("--events", type=int, default=20_000, help="of each measurement")
    parser.add_argument("--seconds", type=float, default=20.0, help="of what is measured by time; wrk gets a quarter")
    parser.add_argument("--pending", type=int, default=100_000)
    parser.add_argument("--webhooks", type=int, default=10_000, help="the most, for flatness")
    parser.add_argument("--not-due", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where store and all else lie meanwhile; default: the system's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))  # so that nothing of it is left running
    if unknown := set(args.modes) - set(MODES):
        parser.error(f"no such mode: {', '.join(sorted(unknown))}")
    for tool in ("nginx", "wrk"):
        if not (shutil.which(tool) or Path(f"/usr/sbin/{tool}").exists()):
            say(f"{tool} is not installed")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name, stage(Path(name)) as found:
        bench = Bench(found, args)
        say(f"sink: {found.kind}; {args.events:,} events; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for mode in args.modes or MODES:
            measure: Callable[[], Iterator[Row]] = getattr(bench, mode)
            for row in measure():
                rows.append(row)
                say(row.text())
    if args.json:
        args.json.write_text(json.dumps([vars(row) for row in rows], indent=1))
    return 1 if any(row.good is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
