"""A state machine drives the store beside a model of the rules of order, pace, concurrency and leases.

The model knows no index, no wake time and no head flag: it says from the contract alone what may be given.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store_make import COMMIT, dead, delivered, make_delivery, make_event, make_lane, make_live, publish, retried

from reconciler.models.delivery import Action, Intervention, State
from reconciler.models.flow import Pause
from reconciler.store.base import Claimed, Finished, Store
from reconciler.store.open import open_store
from reconciler.store.operate import Portion, Selection, Terms

LANES = {
    "a": make_lane("a", max_concurrency=2),
    "b": make_lane("b", per_second=3.0, burst=2, max_concurrency=3),
    "c": make_lane("c", "shared", per_second=7.0, burst=3, max_concurrency=4),
    "d": make_lane("d", "shared", max_concurrency=2),
}
LIMITS: dict[str, tuple[Fraction, int] | None] = {  # pace key: (milliseconds a token, burst)
    LANES["a"].pace_key: None,
    LANES["b"].pace_key: (Fraction(ceil(Fraction(1_000_000, 3)), 1_000), 2),
    "shared": (Fraction(ceil(Fraction(1_000_000, 7)), 1_000), 3),
}


@dataclass
class Row:
    """What the contract says of one delivery."""

    seq: int
    uid: str
    order_key: str | None
    due_at: int
    hold_until: int
    state: State = State.PENDING
    is_released: bool = False  # from its hold: it never waits again
    attempts: int = 0
    counted: int = 0
    give_up_at: int | None = None
    lease: Claimed | None = None
    lease_until: int = 0
    rank: int = 0


@dataclass
class Pace:
    """A bucket by the textbook."""

    tokens: Fraction
    at: int = 0
    blocked_until: int = 0
    taken_at: int = 0  # when tokens were last taken: what was taken then may come back

    def fill(self, limit: tuple[Fraction, int] | None, now: int) -> int:
        if limit is None:
            return 10**6
        interval, burst = limit
        self.tokens = min(Fraction(burst), self.tokens + (now - self.at) / interval)
        self.at = now
        return int(self.tokens)


ITEM = st.tuples(  # webhook, order key, due in, hold for
    st.sampled_from(sorted(LANES)),
    st.sampled_from([None, "r", "r", "s"]),
    st.sampled_from([0, 0, 0, 5, 400]),
    st.sampled_from([100, 2_000, 10**9, 10**9]),
)


class StoreMachine(RuleBasedStateMachine):
    """Time only moves forward; every rule is one verb."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.mkdtemp()
        opened = open_store(f"sqlite:///{self.folder}/store.db", create=True)
        assert opened is not None
        self.store: Store = self.run(opened.__aenter__())
        self.now = 1_000
        self.rows: list[Row] = []
        self.open = dict.fromkeys(LANES, True)
        self.paces = {key: Pace(Fraction(limit[1] if limit else 0)) for key, limit in LIMITS.items()}
        self.lost: list[Claimed] = []
        self.paused: dict[str, int | None] = {}  # until when
        self.ranks = dict.fromkeys(LANES, 0)
        self.interventions = 0

    def teardown(self) -> None:
        examined = self.run(self.store.examine(now=self.now))
        self.run(self.store.__aexit__(None, None, None))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)
        assert (examined.damage, examined.broken) == ((), ()), "the rules that `doctor` checks hold after any verbs"

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def call() -> Any:
            async with asyncio.timeout(20):
                return await awaitable

        return self.loop.run_until_complete(call())

    # The rules of the contract

    def may_start(self, row: Row, now: int) -> bool:
        """Its predecessor is final, or it is past its hold."""
        if row.order_key is None or row.is_released or row.hold_until <= now:
            return True
        before = [other for other in self.rows if (other.uid, other.order_key) == (row.uid, row.order_key)]
        position = before.index(row)
        return position == 0 or before[position - 1].state.is_finished

    def free(self, uid: str) -> int:
        return LANES[uid].max_concurrency - sum(row.uid == uid and row.state is State.IN_FLIGHT for row in self.rows)

    def tokens(self, uid: str, now: int) -> int:
        pace = self.paces[LANES[uid].pace_key]
        return 0 if pace.blocked_until > now else pace.fill(LIMITS[LANES[uid].pace_key], now)

    def startable(self, uid: str, now: int) -> list[Row]:
        """A lane's due heads in the order in which they must be given."""
        until = self.paused.get(uid, 0)
        if not self.open[uid] or until is None or until > now:
            return []
        found = [row for row in self.rows if row.uid == uid and row.state is State.PENDING and row.due_at <= now]
        return sorted(
            (row for row in found if self.may_start(row, now)), key=lambda row: (row.rank, row.due_at, row.seq)
        )

    def leave_order(self, row: Row) -> None:
        """It is out of its order; if its turn had come, so has that of the next one that is not finished."""
        chain = [other for other in self.rows if (other.uid, other.order_key) == (row.uid, row.order_key)]
        if row.order_key is not None and self.may_start(row, self.now):
            rest = chain[chain.index(row) + 1 :]
            following = next((other for other in rest if not other.state.is_finished), None)
            if following is not None:
                following.is_released = True
        row.order_key = None

    def leased(self) -> list[Row]:
        return [row for row in self.rows if row.state is State.IN_FLIGHT]

    # The verbs

    @initialize(items=st.lists(ITEM, min_size=6, max_size=20))
    def begin(self, items: list[tuple[str, str | None, int, int]]) -> None:
        self.run(publish(self.store, *(make_live(uid, uid) for uid in LANES)))
        self.run(self.store.configure(1, list(LANES.values())))
        self.accept(items)

    @rule(items=st.lists(ITEM, min_size=1, max_size=8))
    def accept_more(self, items: list[tuple[str, str | None, int, int]]) -> None:
        self.accept(items)

    def accept(self, items: list[tuple[str, str | None, int, int]]) -> None:
        events = []
        for uid, order_key, delay, hold in items:
            row = Row(len(self.rows) + 1, uid, order_key, self.now + delay, self.now + hold, rank=self.ranks[uid])
            self.rows.append(row)
            new = make_delivery(f"d{row.seq}", uid, row.due_at, order_key=order_key, hold_until=row.hold_until)
            events.append(make_event(f"e{row.seq}", new, at=self.now))
        self.run(self.store.accept(events, revision=1))

    @rule(limit=st.sampled_from([1, 2, 3, 5, 50]), lease=st.sampled_from([50, 10**6]))
    def claim_some(self, limit: int, lease: int) -> None:
        self.claim(limit, lease)

    def claim(self, limit: int, lease: int, ended: list[Finished] | None = None) -> None:
        """Claim, in the turn that finishes these, if any."""
        expected = {uid: self.startable(uid, self.now) for uid in LANES}
        free = {uid: self.free(uid) for uid in LANES}
        tokens = {LANES[uid].pace_key: self.tokens(uid, self.now) for uid in LANES}
        for row in self.rows:
            row.is_released = row.is_released or row.hold_until <= self.now

        terms = {"now": self.now, "lease_until": self.now + lease, "limit": limit, "revision": 1, "commit": COMMIT}
        if ended is None:
            given = self.run(self.store.claim(**terms))
        else:
            lost, given = self.run(self.store.turn(ended, **terms))
            assert lost == ()

        assert len(given) <= limit
        assert len({claimed.seq for claimed in given}) == len(given)
        for claimed in given:
            row = self.rows[claimed.seq - 1]
            assert expected[row.uid].pop(0) is row, "out of turn"
            waited = self.now - row.due_at
            give_up_at = None if row.give_up_at is None else row.give_up_at + waited
            assert (claimed.number, claimed.counted, claimed.give_up_at) == (row.attempts + 1, row.counted, give_up_at)
            row.state, row.lease, row.lease_until = State.IN_FLIGHT, claimed, self.now + lease
            row.attempts, row.give_up_at = row.attempts + 1, give_up_at
            free[row.uid] -= 1
            tokens[claimed.pace_key] -= 1
            pace = self.paces[claimed.pace_key]
            pace.tokens -= 1
            pace.taken_at = self.now
        assert min(free.values()) >= 0, "above max_concurrency"
        assert min(tokens.values()) >= 0, "above the rate"
        if len(given) < limit:
            assert not any(expected[uid] and free[uid] and tokens[LANES[uid].pace_key] for uid in LANES), "left waiting"
            wake_at = self.run(self.store.next_wake_at())
            assert wake_at is None or wake_at > self.now, "a wake-up for nothing"

    @rule(by=st.sampled_from([1, 130, 333, 1_000, 5_000]))
    def wait_and_claim_all(self, by: int) -> None:
        self.now += by
        self.claim(limit=50, lease=10**6)

    @precondition(lambda self: self.leased())
    @rule(
        data=st.data(),
        how=st.sampled_from(["delivered", "delivered", "dead", "retry", "later", "blocked", "uncounted"]),
    )
    def finish(self, data: st.DataObject, how: str) -> None:
        self.finish_these(data.draw(st.sets(st.sampled_from(range(len(self.leased()))), min_size=1)), how)

    @precondition(lambda self: self.leased())
    @rule(
        data=st.data(),
        how=st.sampled_from(["delivered", "delivered", "dead", "retry", "later", "blocked", "uncounted"]),
        limit=st.sampled_from([1, 2, 5, 50]),
    )
    def turn(self, data: st.DataObject, how: str, limit: int) -> None:
        """Finish and claim at once."""
        places = data.draw(st.sets(st.sampled_from(range(len(self.leased()))), min_size=1))
        self.claim(limit, 10**6, self.ended(places, how))

    @rule(turns=st.integers(1, 6), by=st.sampled_from([1, 150, 600]))
    def work(self, turns: int, by: int) -> None:
        """A worker to whom nothing special happens."""
        self.claim(limit=50, lease=10**6)
        for _ in range(turns):
            self.now += by
            self.claim(50, 10**6, self.ended(set(range(len(self.leased()))), "delivered"))

    def finish_these(self, places: set[int], how: str) -> None:
        assert self.run(self.store.finish(self.ended(places, how))) == ()

    def ended(self, places: set[int], how: str) -> list[Finished]:
        """These attempts of those under way come to an end."""
        leased = self.leased()
        chosen = [leased[place] for place in sorted(places)]
        finished = []
        for row in chosen:
            assert row.lease is not None
            row.counted += how != "uncounted"
            if how in ("delivered", "dead"):
                row.state = State(how)
                finished.append((delivered if how == "delivered" else dead)(row.lease))
            else:
                row.state = State.PENDING
                row.due_at = self.now + (0 if how in ("retry", "blocked") else 700)
                row.give_up_at = row.give_up_at or self.now + 10_000
                blocked_until = self.now + 900 if how == "blocked" else None
                if blocked_until:
                    pace = self.paces[row.lease.pace_key]
                    pace.blocked_until = max(pace.blocked_until, blocked_until)
                finished.append(
                    retried(
                        row.lease,
                        row.due_at,
                        give_up_at=row.give_up_at,
                        blocked_until=blocked_until,
                        is_counted=how != "uncounted",
                    )
                )
            self.lost.append(row.lease)
        return finished

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def finish_what_was_lost(self, data: st.DataObject) -> None:
        claimed = data.draw(st.sampled_from(self.lost))
        assert self.run(self.store.finish([delivered(claimed)])) == (claimed.seq,)

    @precondition(lambda self: self.leased())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.leased()))
        assert row.lease is not None
        self.run(self.store.release([row.lease], due_at=self.now))
        pace = self.paces[row.lease.pace_key]
        limit = LIMITS[row.lease.pace_key]
        if limit and pace.taken_at == row.lease.started_at:
            pace.fill(limit, self.now)
            pace.tokens = min(Fraction(limit[1]), pace.tokens + 1)
        row.state, row.due_at = State.PENDING, self.now
        row.attempts -= 1
        self.lost.append(row.lease)

    @rule()
    def close_expired(self) -> None:
        expired = self.run(self.store.expired(now=self.now))

        assert [item.seq for item in expired] == [row.seq for row in self.leased() if row.lease_until < self.now]
        assert self.run(self.store.finish([retried(claimed, self.now) for claimed in expired])) == ()
        for claimed in expired:
            row = self.rows[claimed.seq - 1]
            assert claimed == row.lease
            row.state, row.due_at, row.counted = State.PENDING, self.now, row.counted + 1

    @precondition(lambda self: self.leased())
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.leased()))
        assert row.lease is not None
        row.lease_until = self.now + 500
        self.run(self.store.extend([row.lease, *self.lost[-1:]], lease_until=row.lease_until))

    @rule(uid=st.sampled_from(sorted(LANES)), length=st.sampled_from([None, 150, 900]))
    def hold_back(self, uid: str, length: int | None) -> None:
        until = None if length is None else self.now + length
        self.run(self.store.pause(uid, Pause(self.now, "ann", "a reason", until)))
        self.paused[uid] = until

    @rule(uid=st.sampled_from(sorted(LANES)), fresh_first=st.booleans())
    def resume(self, uid: str, fresh_first: bool) -> None:
        self.run(self.store.resume(uid, fresh_first=fresh_first))
        self.paused.pop(uid, None)
        pending = [row for row in self.rows if row.uid == uid and row.state is State.PENDING]
        if fresh_first and any(row.rank == self.ranks[uid] for row in pending):
            self.ranks[uid] -= 1

    @rule(uid=st.sampled_from(sorted(LANES)), resume=st.sampled_from([True, True, False]))
    def pause_one_or_resume_all(self, uid: str, resume: bool) -> None:
        self.open = {other: resume or (other != uid and self.open[other]) for other in LANES}
        lanes = [make_lane(**facts(other), is_open=self.open[other]) for other in LANES]
        self.run(self.store.configure(1, lanes))

    @rule(data=st.data(), delay=st.sampled_from([0, 0, 300]))
    def replay(self, data: st.DataObject, delay: int) -> None:
        rows = data.draw(st.lists(st.sampled_from(self.rows), max_size=4, unique_by=lambda row: row.seq))
        finished = [row for row in sorted(rows, key=lambda row: row.seq) if row.state.is_finished]

        portion = self.intervene(Action.REPLAY, rows, Terms(delay_ms=delay))

        assert portion.done == len(finished)
        for row in finished:
            self.leave_order(row)
            row.state, row.due_at, row.counted, row.give_up_at = State.PENDING, self.now + delay, 0, None
            row.rank = 1

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        rows = data.draw(st.lists(st.sampled_from(self.rows), max_size=4, unique_by=lambda row: row.seq))
        waiting = [row for row in sorted(rows, key=lambda row: row.seq) if row.state is State.PENDING]

        self.intervene(Action.CANCEL, waiting, Terms())

        heads = [row for row in waiting if self.may_start(row, self.now)]
        for row in waiting:
            row.state = State.CANCELLED
        for row in waiting:
            if row in heads:
                self.leave_order(row)
            row.order_key = None

    def intervene(self, action: Action, rows: list[Row], terms: Terms) -> Portion:
        self.interventions += 1
        where = Selection(ids=tuple(f"d{row.seq}" for row in rows) or ("none",))
        how = Intervention(f"key {self.interventions}", action, self.now, "ann")
        portion: Portion = self.run(self.store.intervene(where, how, terms=terms))
        return portion

    @invariant()
    def the_wake_time_misses_nothing(self) -> None:
        """If a claim would give something now, the store says so."""
        if any(self.startable(uid, self.now) and self.free(uid) and self.tokens(uid, self.now) for uid in LANES):
            wake_at = self.run(self.store.next_wake_at())
            assert wake_at is not None
            assert wake_at <= self.now

    @invariant()
    def the_counters_are_right(self) -> None:
        counts = self.run(self.store.counts())
        for uid in LANES:
            expected = {state: sum(row.uid == uid and row.state is state for row in self.rows) for state in State}
            assert counts.get(uid, dict.fromkeys(State, 0)) == expected


def facts(uid: str) -> dict[str, Any]:
    lane = LANES[uid]
    return {
        "uid": uid,
        "pace_key": lane.pace_key,
        "per_second": lane.per_second,
        "burst": lane.burst,
        "max_concurrency": lane.max_concurrency,
    }


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
