"""What a store and a receiver must say after any chaos: nothing lost, nothing doubled without a reason, in order.

The store is read as its file is, without the product's own code. Called by every test of this folder at its end.
"""

import contextlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

UNFINISHED = "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'in_flight')"
# The counters of a lane beside what its rows say.
COUNTERS = """
SELECT l.pending, l.in_flight, l.delivered, l.dead, l.cancelled, l.doomed,
    count(*) FILTER (WHERE d.state = 'pending'), count(*) FILTER (WHERE d.state = 'in_flight'),
    count(*) FILTER (WHERE d.state = 'delivered'), count(*) FILTER (WHERE d.state = 'dead'),
    count(*) FILTER (WHERE d.state = 'cancelled'), 0
FROM lanes l LEFT JOIN deliveries d ON d.lane_id = l.id GROUP BY l.id
"""
ATTEMPTS = """
SELECT d.id, d.attempts, d.state, a.number, a.started_at, a.finished_at, a.result ->> 'outcome', a.result ->> 'fault'
FROM deliveries d LEFT JOIN attempts a ON a.delivery_seq = d.seq ORDER BY d.seq, a.number
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request at a receiver, in the order in which they came; `is_ok`: it was answered with a 200."""

    webhook: str  # what tells the webhook from others: the path, or a flow's alias
    webhook_id: str
    event: str  # what the event calls itself: `friendly_id`
    is_ok: bool


@dataclass(frozen=True, slots=True)
class Try:
    """One finished attempt; times in ms since the epoch."""

    number: int
    started_at: int
    finished_at: int
    outcome: str
    fault: str | None


def unfinished(store: Path) -> int:
    """How many deliveries are pending or in flight."""
    with contextlib.closing(sqlite3.connect(store, timeout=30)) as db:
        return int(db.execute(UNFINISHED).fetchone()[0])


def states(store: Path) -> Counter[str]:
    """How many deliveries there are in each state."""
    with contextlib.closing(sqlite3.connect(store, timeout=30)) as db:
        return Counter(dict(db.execute("SELECT state, count(*) FROM deliveries GROUP BY state")))


def check_store(
    store: Path, acknowledged: Iterable[str] = (), *, is_clock_steady: bool = True
) -> Mapping[str, list[Try]]:
    """The file is whole, counters are what the rows say, attempts have no gap and no overlap, and every event whose id
    was acknowledged is there with a delivery. Returns the attempts of each delivery."""
    with contextlib.closing(sqlite3.connect(store, timeout=30)) as db:
        db.execute("BEGIN")
        assert [row[0] for row in db.execute("PRAGMA integrity_check")] == ["ok"]
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
        for row in db.execute(COUNTERS):
            assert row[:6] == row[6:], "the counters of a lane are not what its rows say"
        found = {row[0] for row in db.execute("SELECT id FROM events")}
        delivered_to = {
            row[0] for row in db.execute("SELECT e.id FROM deliveries d JOIN events e ON e.seq = d.event_seq")
        }
        assert set(acknowledged) <= found, "an acknowledged event is lost"
        assert set(acknowledged) <= delivered_to, "an acknowledged event has no delivery"
        rows = db.execute(ATTEMPTS).fetchall()
    return _checked_attempts(rows, is_clock_steady=is_clock_steady)


def _checked_attempts(rows: Iterable[tuple], *, is_clock_steady: bool) -> Mapping[str, list[Try]]:
    tries: dict[str, list[Try]] = defaultdict(list)
    started: dict[str, int] = {}
    for delivery, attempts, state, number, *rest in rows:
        started[delivery] = attempts - (state == "in_flight")
        if number is not None:
            tries[delivery].append(Try(number, *rest))
    for delivery, count in started.items():
        made = tries[delivery]
        assert [one.number for one in made] == list(range(1, count + 1)), f"{delivery}: attempts have a gap"
        if is_clock_steady:
            for before, after in pairwise(made):
                assert before.finished_at <= after.started_at, f"{delivery}: attempts at the same time"
    return tries


def check_arrivals(arrivals: list[Arrival], tries: Mapping[str, list[Try]], acknowledged: Iterable[str]) -> str:
    """Every acknowledged event arrived at each webhook that got any; repeats carry their id and have a recorded reason;
    nothing arrived that was not recorded. Returns the ledger in one line, for people."""
    by_id: dict[str, list[Arrival]] = defaultdict(list)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for arrival in arrivals:
        by_id[arrival.webhook_id].append(arrival)
        names[arrival.webhook, arrival.event].add(arrival.webhook_id)
    assert all(len(ids) == 1 for ids in names.values()), "a repeat carries another webhook-id"
    accepted = {arrival.event for arrival in arrivals if arrival.is_ok}
    assert set(acknowledged) <= accepted, f"lost: {sorted(set(acknowledged) - accepted)[:5]}"
    unknown = repeats = 0
    for delivery, came in by_id.items():
        doubtful = sum(one.outcome == "unknown" for one in tries[delivery])
        extra = sum(arrival.is_ok for arrival in came) - 1
        assert len(came) <= len(tries[delivery]), f"{delivery} arrived more often than it was attempted"
        assert extra <= doubtful, f"{delivery} was repeated, and no attempt of it is unknown"
        unknown += doubtful
        repeats += max(0, extra)
    return (
        f"acknowledged {len(set(acknowledged))}, arrived {len(arrivals)}, delivered {len(accepted)}, lost 0, "
        f"repeated {repeats}, unknown {unknown}"
    )


def check_order(arrivals: list[Arrival]) -> None:
    """At each webhook an event of a request comes for the first time after the last try of the one before it. Events
    are called REQUEST.STEP."""
    first: dict[tuple[str, str, int], int] = {}
    last: dict[tuple[str, str, int], int] = {}
    for position, arrival in enumerate(arrivals):
        request, _, step = arrival.event.rpartition(".")
        key = (arrival.webhook, request, int(step))
        first.setdefault(key, position)
        last[key] = position
    for (webhook, request, step), position in first.items():
        before = last.get((webhook, request, step - 1))
        assert before is None or before < position, f"{request}: step {step} began before step {step - 1} had ended"
        assert step == 0 or before is not None, f"{request}: step {step} came, step {step - 1} never did"


def arrivals_of(record: list[dict]) -> list[Arrival]:
    """The arrivals at a sandbox, from its record."""
    return [
        Arrival(
            webhook=entry["flow"],
            webhook_id=dict(entry["headers"])["webhook-id"],
            event=json.loads(entry["body"], parse_int=str)["data"]["friendly_id"],
            is_ok=entry["status"] == 200,
        )
        for entry in record
    ]
