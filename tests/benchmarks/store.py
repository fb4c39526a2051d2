"""What the store alone costs a delivery, by verb: `python tests/benchmarks/store.py [--batch N] [--webhooks N]`.

An event with one delivery is accepted, then finished and claimed by turns, in batches, as the daemon's writer does.
Told are CPU microseconds a delivery, and how many of them run inside SQLite, where a thread holds no interpreter's
lock: the rest is taken from the event loop, and after each statement the thread queues for the lock again.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw
from transport import say

from reconciler.models.delivery import (
    AttemptResult,
    Outcome,
    ReceivedResponse,
    SentRequest,
    State,
    Timings,
    delivery_id,
)
from reconciler.models.event import EventId
from reconciler.models.health import Health
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import Claimed, Finished, Lane, NewDelivery, NewEvent
from reconciler.store.sqlite import event, turn
from reconciler.store.sqlite.store import SqliteStore

NOW: Final = 1_795_426_400_000
FAR: Final = NOW + 10**9
WEEK_MS: Final = 7 * 86_400_000
HEADERS: Final = (
    ("content-type", "application/json"),
    ("x-api-client-token", "***"),
    ("user-agent", "reconciler/1"),
    ("webhook-id", "dlv_0123456789abcdef0123456789abcdef"),
    ("webhook-timestamp", "1795426400"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
)
ANSWERED: Final = (
    ("server", "nginx"),
    ("date", "Mon, 23 Nov 2026 08:53:20 GMT"),
    ("content-type", "application/octet-stream"),
    ("content-length", "2"),
    ("connection", "keep-alive"),
)


@dataclass
class Meter:
    """CPU seconds of this thread by verb, and of those the ones spent on statements, and how many these were."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    inside: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    statements: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    verb: str = ""

    def statement(self, function: Callable[[], Any]) -> Any:
        """Run one, which is in SQLite nearly all the time."""
        began = time.thread_time()
        try:
            return function()
        finally:
            self.inside[self.verb] += time.thread_time() - began
            self.statements[self.verb] += 1

    def time(self, verb: str, function: Callable[[], Any]) -> Any:
        """Run it on account of a verb."""
        self.verb = verb
        began = time.thread_time()
        try:
            return function()
        finally:
            self.spent[verb] += time.thread_time() - began


class Timed(apsw.Connection):
    """A connection that tells a meter of its statements, if it has one: CPU time, while SQLite's own clock would count
    what other processes take."""

    meter: Meter | None = None

    def execute(self, *args: Any) -> apsw.Cursor:
        """As the connection that it is."""
        run = partial(super().execute, *args)
        return run() if self.meter is None else self.meter.statement(run)


def new_events(first: int, number: int, uids: Sequence[WebhookUid]) -> list[NewEvent]:
    """So many events of the size that Apono sends, with one delivery each."""
    found = []
    for index in range(first, first + number):
        event_id, uid = EventId(f"{index:064x}"), uids[index % len(uids)]
        raw = json.dumps({"event_type": "AccessRequestGranted", "data": {"id": f"r-{index}", "text": "x" * 1200}})
        new = NewDelivery(delivery_id(event_id, uid), uid, f"r-{index}", NOW, NOW + 3_600_000)
        found.append(
            NewEvent(
                id=event_id,
                event_type="AccessRequestGranted",
                data_id=f"r-{index}",
                event_time="1795426400.25",
                source="http",
                raw=raw.encode(),
                fingerprint=f"{index:064x}",
                received_at=NOW,
                deliveries=(new,),
            )
        )
    return found


def result_of(claimed: Claimed) -> AttemptResult:
    """The invocation data of a delivery that an Okta flow took."""
    url = f"https://acme.workflows.okta.com/api/flo/{'0' * 32}/invoke"
    body = json.dumps({"fields": {"event type": "AccessRequestGranted", "text": "y" * 950, "n": claimed.seq}})
    return AttemptResult(
        outcome=Outcome.DELIVERED,
        status=200,
        wrote=True,
        sent_bytes=len(body),
        request=SentRequest("POST", url, HEADERS, body),
        response=ReceivedResponse(200, "OK", ANSWERED, "ok", 2, truncated=False),
        timings=Timings(first_byte_ms=3.1234567, total_ms=3.2345678),
        address="127.0.0.1:443",
        tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
        connect_to="acme.workflows.okta.com:443:127.0.0.1:18443",
    )


def finished(claimed: Claimed) -> Finished:
    """Delivered at the first attempt."""
    return Finished(
        seq=claimed.seq,
        token=claimed.token,
        number=claimed.number,
        finished_at=NOW + 5,
        outcome=Outcome.DELIVERED,
        result=result_of(claimed),
        state=State.DELIVERED,
        health=Health.WORKS,
    )


def lanes_of(webhooks: int, concurrency: int) -> list[Lane]:
    """Webhooks that may be sent to without limit, each on a pace key of its own."""
    return [
        Lane(WebhookUid(f"uid-{index:032d}"), f"acme.workflows.okta.com/{index}", None, 1, concurrency)
        for index in range(webhooks)
    ]


def add_not_due(db: apsw.Connection, number: int) -> None:
    """Deliveries of the first webhook that are due in a week."""
    db.execute(
        """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)
        INSERT INTO deliveries (id, event_seq, lane_id, state, is_head, due_at, hold_until, revision, accepted_at)
        SELECT 'dlv_later_' || i, d.event_seq, d.lane_id, 'pending', 1, d.due_at + :week + i, d.hold_until,
            d.revision, d.accepted_at
        FROM n CROSS JOIN (SELECT * FROM deliveries ORDER BY seq LIMIT 1) d
        """,
        {"number": number, "week": WEEK_MS},
    )


class Alone:
    """The verbs on a connection of this thread."""

    def __init__(self, db: Timed, uids: Sequence[WebhookUid], batch: int) -> None:
        self._db = db
        self._uids = uids
        self._batch = batch

    def run(self, number: int, *, is_profiled: bool = False, not_due: int = 0) -> Meter:
        """So many events through all verbs, beside so many that are not due. With `is_profiled` statements are timed
        too, which takes time itself."""
        meter, db = Meter(), self._db
        db.meter = meter if is_profiled else None
        for batch in self._events(number):
            meter.time("commit of events", lambda: db.execute("BEGIN IMMEDIATE"))
            meter.time("accept", lambda batch=batch: event.accept(db, batch, 0))
            meter.time("commit of events", lambda: db.execute("COMMIT"))
        if not_due:
            add_not_due(db, not_due)
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        held: list[Finished] = []
        while True:
            meter.time("commit", lambda: db.execute("BEGIN IMMEDIATE"))
            claimed = meter.time("turn", partial(self._turn, held))
            meter.time("commit", lambda: db.execute("COMMIT"))
            if not claimed:
                break
            held = [finished(one) for one in claimed]
        db.meter = None
        return meter

    def _events(self, number: int) -> Iterator[list[NewEvent]]:
        first = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").get
        for start in range(0, number, self._batch):
            yield new_events(first + start, min(self._batch, number - start), self._uids)

    def _turn(self, held: list[Finished]) -> tuple[Claimed, ...]:
        lost, claimed = turn.turn(
            self._db, held, now=NOW, lease_until=FAR, limit=self._batch, revision=0, commit="c0ffee"
        )
        assert not lost
        return claimed


def tell(meter: Meter, profiled: Meter, number: int) -> None:
    """A line a verb, microseconds a delivery."""
    say(f"{'':18}{'CPU':>8}{'in SQLite':>11}{'lock held':>11}{'statements':>12}")
    for verb, spent in meter.spent.items():
        _tell(verb, spent, profiled.inside[verb] / profiled.spent[verb], number, profiled.statements[verb])
    spent, before = sum(meter.spent.values()), sum(profiled.spent.values())
    _tell("all", spent, sum(profiled.inside.values()) / before, number, sum(profiled.statements.values()))


def _tell(verb: str, spent: float, share: float, number: int, statements: int) -> None:
    us = spent / number * 1e6
    inside = us * min(1.0, share)
    say(f"{verb:18}{us:8.1f}{inside:11.1f}{us - inside:11.1f}{statements / number:12.2f}")


async def measure(path: Path, args: argparse.Namespace) -> None:
    """What was asked for, on a new store."""
    lanes = lanes_of(args.webhooks, max(64, args.batch))
    uids = [lane.webhook_uid for lane in lanes]
    async with SqliteStore(path) as store:
        await store.configure(0, lanes)
    apsw.Connection = Timed  # type: ignore[misc]  # of which the store opens one
    db = SqliteStore(path)._open_writer()
    assert isinstance(db, Timed)
    alone = Alone(db, uids, args.batch)
    meter = alone.run(args.events, not_due=args.not_due)
    tell(meter, alone.run(args.events, is_profiled=True), args.events)
    db.close()


def main() -> None:
    """Parse, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=32, help="deliveries that share a commit")
    parser.add_argument("--webhooks", type=int, default=1)
    parser.add_argument("--not-due", type=int, default=0, help="deliveries beside that are due in a week")
    parser.add_argument("--folder", help="where the store lies meanwhile; default: the system's")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        asyncio.run(measure(Path(folder) / "store.db", args))


if __name__ == "__main__":
    main()
