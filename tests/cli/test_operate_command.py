"""`deliveries replay|cancel` as people use them: what is counted, asked, done, said and refused."""

import asyncio
import contextlib
import itertools
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from served import NOW, event, open_room, raw, webhook

from reconciler.cli.main import run
from reconciler.models.delivery import AttemptResult, Delivery, Outcome, Reason, State
from reconciler.store.base import Finished, Lane, Page, Store
from reconciler.store.open import open_store

LATE = 100_000_000_000_000  # everything is due by then


@dataclass
class Desk:
    """A store with three dead deliveries of `flow` and one delivered of `other`; the command in this process."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'store.db'}"

    def __call__(self, *args: str, code: int = 0) -> str:
        """What the command prints; stderr is kept in `said`."""
        found = run(["--store", self.url, "deliveries", *args])
        self.out, self.said = self.capsys.readouterr()
        assert found == code, f"exit {found}\n{self.out}\n{self.said}"
        return self.out

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self(*args, "--format", "json", code=code))

    def deliveries(self) -> list[Delivery]:
        """All, oldest first."""

        async def read() -> list[Delivery]:
            async with opened(self.url) as store:
                return list(reversed(await store.deliveries(Page(1000))))

        return asyncio.run(read())

    def ids(self, state: State) -> list[str]:
        return [item.id for item in self.deliveries() if item.state is state]


@contextlib.asynccontextmanager
async def opened(url: str) -> Any:
    store = open_store(url, create=False)
    assert store is not None
    async with store:
        yield store


def finished(claimed: Any, state: State, outcome: Outcome, reason: Reason | None = None) -> Finished:
    return Finished(
        seq=claimed.seq,
        token=claimed.token,
        number=claimed.number,
        finished_at=NOW + 1,
        outcome=outcome,
        result=AttemptResult(outcome, detail="HTTP 500"),
        state=state,
        reason=reason,
    )


async def settle(store: Store, name: str, state: State, outcome: Outcome, reason: Reason | None = None) -> None:
    """Everything that is due of a webhook ends so."""
    lane = Lane(webhook_uid=name, pace_key=name, per_second=None, burst=1, max_concurrency=100)  # type: ignore[arg-type]
    await store.configure(await store.live_revision(), [lane])
    claimed = await store.claim(now=LATE, lease_until=LATE + 9, limit=100, revision=1, commit=None)
    await store.finish([finished(item, state, outcome, reason) for item in claimed])


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    async def seed() -> None:
        other = webhook("other", triggers=["RequestApproved"])
        async with open_room(tmp_path, webhook("flow"), other) as room:
            await room.intake.take(raw([event(number) for number in (1, 2, 3)]), source="test")
            await settle(room.store, "flow", State.DEAD, Outcome.RETRYABLE, Reason.EXHAUSTED)
            room.now += 3_600_000
            approved = {**event(4), "event_type": "AccessRequestApproved"}
            await room.intake.take(raw(approved), source="test")
            await settle(room.store, "other", State.DELIVERED, Outcome.DELIVERED)

    asyncio.run(seed())
    return Desk(tmp_path, capsys)


def test_the_dead_of_a_webhook_are_counted_and_replayed(desk: Desk) -> None:
    """Counted on stdout, by webhook, and then again what was done."""
    out = desk("replay", "--webhook", "fl*", "--auto-approve", "--reason", "flow mended", "--as", "ann")

    assert out.split("\n")[:2] == ["WEBHOOK  TO REPLAY  OTHERS", "flow             3  -"]
    assert out.endswith("replayed 3 deliveries\n")
    assert len(desk.ids(State.PENDING)) == 3 and len(desk.ids(State.DELIVERED)) == 1
    shown = desk("show", desk.ids(State.PENDING)[0])
    assert "state         pending (replayed)" in shown
    assert re.search(r"\n\nreplayed  \S+Z by ann: flow mended\n", shown)


def test_without_a_state_only_the_dead_are_meant(desk: Desk) -> None:
    """Sending again what was delivered must be said."""
    assert desk.json("replay", "--webhook", "*", "--dry-run")["webhooks"] == {"flow": {"done": 3}}
    assert desk.json("replay", "--webhook", "other", "--dry-run")["done"] == 0
    assert desk.json("replay", "--state", "delivered", "--dry-run")["webhooks"] == {"other": {"done": 1}}


def test_a_dry_run_changes_nothing_and_asks_nothing(desk: Desk) -> None:
    """Counts, and the first few."""
    before = desk.deliveries()

    out = desk("replay", "--state", "dead", "--dry-run")

    assert [item.id in out for item in before] == [True, True, True, False]
    assert desk.deliveries() == before


def test_a_selection_wants_a_terminal_or_auto_approve(desk: Desk) -> None:
    """Before anything is done; the way out is said."""
    for command in ("replay", "cancel"):
        desk(command, "--webhook", "flow", code=1)

        assert "there is no terminal to ask for approval; nothing was done" in desk.said
        assert "--auto-approve" in desk.said and "--dry-run" in desk.said
    assert len(desk.ids(State.DEAD)) == 3


def test_ids_are_their_own_approval(desk: Desk) -> None:
    """Who names a delivery means it. An id may be its beginning."""
    first, second, _ = desk.ids(State.DEAD)

    assert desk("replay", first[:14], second) == "replayed 2 deliveries\n"
    assert desk("replay", first) == "replayed 0 deliveries; 1 pending already\n"
    assert desk("cancel", first) == "cancelled 1 delivery\n"
    assert sorted(desk.ids(State.PENDING)) == [second]


def test_what_was_named_and_cannot_be_done_is_exit_1(desk: Desk) -> None:
    """And said; the rest is done."""
    dead, done = desk.ids(State.DEAD)[0], desk.ids(State.DELIVERED)[0]
    desk("replay", dead)

    assert desk("cancel", dead, done, code=1) == "cancelled 1 delivery; 1 finished already\n"
    desk("replay", "dlv_nowhere", code=1)
    assert "no such delivery: dlv_nowhere" in desk.said


def test_nothing_named_is_a_usage_error(desk: Desk) -> None:
    """Everything there is must not be meant by a slip."""
    for command in ("replay", "cancel"):
        desk(command, "--auto-approve", code=64)
        assert "name deliveries by ID, or say which by options" in desk.said


def test_a_webhook_that_is_not_live_is_an_error(desk: Desk) -> None:
    """It may be misspelt; nothing is silently nothing."""
    desk("replay", "--webhook", "flwo", "--auto-approve", code=1)

    assert "no webhook of this name is live: flwo" in desk.said


def test_times_are_points_or_durations_ago(desk: Desk) -> None:
    """By when a delivery was accepted; ISO 8601 with or without zone; the end is not included."""

    def meant(*args: str) -> int:
        return int(desk.json("replay", "--dry-run", *args)["done"])

    # the store's clock says 2026-11-23T09:00:00Z, and an hour later for the last event
    assert meant("--state", "dead", "--since", "2026-11-23T09:00:00Z", "--until", "2026-11-23T09:00:01") == 3
    assert meant("--state", "dead", "--since", "2026-11-23T09:30:00Z") == 0
    assert meant("--state", "delivered", "--since", "2026-11-23T12:30:00+03:00") == 1
    assert meant("--state", "dead", "--until", "2026-11-23T09:00:00Z") == 0
    assert meant("--state", "dead", "--until", "2026-11-23") == 0
    assert meant("--state", "dead", "--since", "99999d") == 3
    assert meant("--state", "dead", "--since", "1s") == 0
    assert meant("--state", "dead", "--since", "0s") == 0
    assert meant("--state", "dead", "--until", "0s") == 3
    desk("replay", "--since", "yesterday", code=64)
    assert "yesterday is neither a time like" in desk.said


def test_events_and_their_types_narrow_a_selection(desk: Desk) -> None:
    """Types in either spelling."""
    (first, *_) = desk.deliveries()

    assert desk.json("replay", "--event", first.event_id, "--dry-run")["first"] == [first.id]
    assert desk.json("replay", "--event-type", "RequestCreated", "--dry-run")["done"] == 3
    assert desk.json("replay", "--event-type", "AccessRequestCreated", "--dry-run")["done"] == 3
    assert desk.json("replay", "--event-type", "RequestApproved", "--dry-run")["done"] == 0
    assert desk.json("replay", "--dead-reason", "exhausted", "--dry-run")["done"] == 3
    assert desk.json("replay", "--dead-reason", "permanent", "--dry-run")["done"] == 0


@pytest.mark.parametrize("rate", ["nan", "inf", "0", "-1", "fast"])
def test_a_rate_that_is_none_is_a_matter_of_usage(desk: Desk, rate: str) -> None:
    desk("replay", "--state", "dead", "--rate", rate, "--auto-approve", code=64)

    assert "--rate" in desk.said and len(desk.ids(State.DEAD)) == 3


def test_a_rate_spreads_the_replays(desk: Desk) -> None:
    """So that fresh deliveries are not held up for hours."""
    out = desk("replay", "--state", "dead", "--rate", "0.5", "--auto-approve")

    due = [item.next_attempt_at or 0 for item in desk.deliveries() if item.replays]
    assert out.endswith("replayed 3 deliveries over 6 s\n")
    assert [later - earlier for earlier, later in itertools.pairwise(due)] == [2_000, 2_000]


def test_new_ids_make_new_deliveries(desk: Desk) -> None:
    """The old ones stay dead; a second replay waits for the first."""
    desk("replay", "--state", "dead", "--new-id", "--auto-approve")
    again = desk.json("replay", "--state", "dead", "--new-id", "--auto-approve")

    new = [item for item in desk.deliveries() if item.replay_of]
    assert [item.replay_of for item in new] == desk.ids(State.DEAD)
    assert len({item.id for item in desk.deliveries()}) == 7
    assert (again["done"], again["verdicts"]) == (0, {"pending": 3})


def test_the_report_as_json_holds_the_key(desk: Desk) -> None:
    """Under which it may be carried out again without doing anything twice."""
    report = desk.json("replay", "--state", "delivered", "--auto-approve")

    async def deliver() -> None:
        async with opened(desk.url) as store:
            await settle(store, "other", State.DELIVERED, Outcome.DELIVERED)

    asyncio.run(deliver())
    again = desk.json("replay", "--state", "delivered", "--auto-approve", "--resume", report["key"])

    assert (report["action"], report["dry_run"], report["done"]) == ("replay", False, 1)
    assert again["done"] == 0


def test_what_is_pending_and_in_flight_is_cancelled(desk: Desk) -> None:
    """Nothing else; the reason is kept."""
    desk("replay", "--state", "dead", "--auto-approve")

    report = desk.json("cancel", "--webhook", "*", "--auto-approve", "--reason", "superseded by hand")

    assert report["verdicts"] == {"done": 3}
    assert len(desk.ids(State.CANCELLED)) == 3 and len(desk.ids(State.DELIVERED)) == 1
    shown = desk.json("show", desk.ids(State.CANCELLED)[0])
    assert (shown["reason"], shown["interventions"][-1]["reason"]) == ("operator", "superseded by hand")


class Terminal:
    """The command with a terminal on every stream."""

    def __init__(self, desk: Desk, *args: str) -> None:
        self.screen = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "--store", desk.url, "deliveries", *args],
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def type(self, text: str) -> int:
        """Answer the question; returns the exit code, with the rest of the screen read."""
        self._read(until="Enter a value: ")
        os.write(self._master, text.encode())
        self._read(until=None)
        return self.process.wait(30)

    def _read(self, *, until: str | None) -> None:
        deadline = time.monotonic() + 30
        while until is None or until not in self.screen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.screen
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # Linux: the other end is closed
                return
            if not chunk:
                return
            self.screen += chunk.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened_ones: list[Terminal] = []
    yield opened_ones
    for terminal in opened_ones:
        terminal.close()


@pytest.mark.parametrize(("answer", "code", "replayed"), [("yes\n", 0, 3), ("y\n", 1, 0)])
def test_only_yes_replays(desk: Desk, terminals: list[Terminal], answer: str, code: int, replayed: int) -> None:
    """The counts stand above the question."""
    terminals.append(Terminal(desk, "replay", "--state", "dead"))

    assert terminals[0].type(answer) == code

    assert "Do you want to replay 3 deliveries?" in terminals[0].screen
    assert terminals[0].screen.index("TO REPLAY") < terminals[0].screen.index("Do you want")
    assert len(desk.ids(State.PENDING)) == replayed
    assert ("Nothing was changed." in terminals[0].screen) == (replayed == 0)
