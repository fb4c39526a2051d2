"""The embedded engine's Store: each verb of `store.base` handed to the thread that reads or the one that writes."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

import apsw

from reconciler.errors import StoreError
from reconciler.models.audit import UNKNOWN, AuditEntry, AuditHead, AuditRow, Deed, Warrant
from reconciler.models.delivery import Action, Attempt, Delivery, DeliveryId, Intervention, State
from reconciler.models.event import EventId
from reconciler.models.flow import Backlog, Flow, Halt, Pause
from reconciler.models.notice import Notice
from reconciler.models.revision import ChangeSet, Hold, LiveState, Revision
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import (
    Claimed,
    DeliveryFilter,
    EventStatus,
    Finished,
    Lane,
    NewEvent,
    Page,
    StoredEvent,
    Turned,
)
from reconciler.store.examine import Examination, LooseFile
from reconciler.store.match_error import MatchError, MatchErrorFilter, Settled
from reconciler.store.notice import Told
from reconciler.store.operate import Portion, Selection, Terms
from reconciler.store.proposal import Proposal, Proposed, Stage
from reconciler.store.retention import Load, Pruned
from reconciler.store.sqlite import (
    audit,
    claim,
    clock,
    delivery,
    event,
    examine,
    finish,
    flow,
    lane,
    match_error,
    mode,
    notice,
    operate,
    proposal,
    publish,
    retention,
    revision,
    schema,
    turn,
)
from reconciler.store.sqlite.connection import connect, pack, run
from reconciler.store.sqlite.fault import store_error
from reconciler.store.sqlite.flow import CANCEL_ROWS, Walk
from reconciler.store.sqlite.lane import PackedLanes
from reconciler.store.sqlite.lock import DaemonLock, holder_of
from reconciler.store.sqlite.publish import Staging
from reconciler.store.sqlite.thread import ConnectionThread, Function, ReadThread, T, WriteThread

NEWEST: Final = Page()
ANY: Final = DeliveryFilter()
AT_ONCE: Final = Terms()
ANY_MATCH_ERROR: Final = MatchErrorFilter()
ANSWER_SECONDS: Final = 2.0  # a daemon that has not taken a proposal by then is busy, or another version
READY_SECONDS: Final = 30.0  # it is ready for ten thousand webhooks in three; an apply must not depend on it
ASK_SECONDS: Final = 0.02


class SqliteStore:
    """One file. The writing connection is opened by the first verb that writes, so that a plan only reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = DaemonLock(path)
        self._reader: ConnectionThread | None = None
        self._writer: ConnectionThread | None = None

    async def __aenter__(self) -> Self:
        mode.make_file(self._path)
        self._reader = ReadThread("store-reader", self._path, self._open_reader)
        try:
            await self._reader.call(lambda db: None)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Wait for what is queued, then close. Nothing that was acknowledged depends on this."""
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        if self._reader is not None:
            await self._reader.close()
        self._lock.drop()

    def take_daemon_lock(self) -> tuple[LooseFile, ...]:
        self._lock.take()
        try:
            return mode.shut_files(self._path)
        except StoreError:
            self._lock.drop()
            raise

    # Revisions

    async def live_revision(self) -> int:
        return await self._read(revision.live_revision)

    async def live_state(self, number: int | None = None) -> LiveState:
        return await self._read(lambda db: revision.live_state(db, number))

    async def publish(self, change_set: ChangeSet, *, warrant: Warrant = UNKNOWN) -> Revision:
        await self._read(lambda db: publish.check_base(db, change_set))  # a stale plan need not be staged
        staging = Staging.of(change_set, warrant)
        try:
            await self._stage(staging)
            await self._propose(staging)
            published = await self._write(lambda db: publish.flip(db, staging))
        except BaseException:
            with contextlib.suppress(StoreError):  # the next apply forgets it
                await self._write(lambda db: publish.withdraw(db, staging))
            raise
        if not self._is_served():  # a daemon does it beside what it has to do
            with contextlib.suppress(StoreError):  # it is live, whatever comes now; a daemon goes on where this ends
                while await self.sweep():
                    pass
        return published

    async def _stage(self, staging: Staging) -> None:
        change_set = staging.change_set
        for portion in publish.portions(change_set.upserts):
            await self._write(partial(publish.stage, staging=staging, portion=portion))
        for changes in publish.change_portions(change_set.changes):
            await self._write(partial(publish.stage_changes, plan_id=change_set.plan_id, portion=changes))

    async def revisions(self, page: Page = NEWEST) -> tuple[Revision, ...]:
        return await self._read(lambda db: revision.revisions(db, page))

    async def revision(self, number: int) -> Revision | None:
        return await self._read(lambda db: revision.revision(db, number))

    async def unfinished(self) -> Mapping[WebhookUid, int]:
        return await self._read(delivery.unfinished)

    async def holds(self) -> tuple[Hold, ...]:
        return await self._read(revision.holds)

    async def set_hold(self, owner: str, hold: Hold | None, *, warrant: Warrant = UNKNOWN) -> None:
        await self._write(lambda db: revision.set_hold(db, owner, hold, warrant))

    # Proposals

    async def _propose(self, staging: Staging) -> None:
        """Wait until the daemon, if there is one, is ready for what is staged; not for ever."""
        if not self._is_served() or not await self._read(lambda db: proposal.is_large(db, staging.change_set)):
            return
        await self.answer(staging.id, Stage.MADE)
        began = time.monotonic()
        limits = {Stage.MADE: ANSWER_SECONDS, Stage.TAKEN: READY_SECONDS}
        while (stage := await self._read(lambda db: proposal.stage_of(db, staging.id))) in limits:
            if time.monotonic() - began > limits[stage] or not self._is_served():
                return
            await asyncio.sleep(ASK_SECONDS)

    def _is_served(self) -> bool:
        """Whether a daemon serves the file, this process or another."""
        return holder_of(self._path) is not None

    async def proposed(self) -> Proposed | None:
        return await self._read(proposal.proposed)

    async def proposal(self, proposal_id: str) -> Proposal | None:
        return await self._read(lambda db: proposal.proposal(db, proposal_id))

    async def answer(self, proposal_id: str, stage: Stage) -> None:
        await self._write(lambda db: proposal.set_stage(db, proposal_id, stage))

    async def proposal_of(self, number: int) -> str | None:
        return await self._read(lambda db: proposal.proposal_of(db, number))

    # Events

    async def accept(
        self, events: Sequence[NewEvent], *, revision: int, deed: Deed | None = None
    ) -> tuple[EventStatus, ...]:
        return await self._write(lambda db: event.accept(db, events, revision, deed))

    async def events(self, page: Page = NEWEST, *, status: EventStatus | None = None) -> tuple[StoredEvent, ...]:
        return await self._read(lambda db: event.events(db, page, status))

    async def event(self, event_id: str) -> StoredEvent | None:
        return await self._read(lambda db: event.event(db, event_id))

    async def event_ids(self, prefix: str, *, limit: int) -> tuple[EventId, ...]:
        return await self._read(lambda db: event.event_ids(db, prefix, limit))

    async def match_errors(
        self, *, where: MatchErrorFilter = ANY_MATCH_ERROR, limit: int = 50, after: str | None = None
    ) -> tuple[MatchError, ...]:
        return await self._read(lambda db: match_error.match_errors(db, where, limit, after))

    async def match_error_counts(self) -> Mapping[WebhookUid, int]:
        return await self._read(match_error.counts)

    async def settle(self, settled: Sequence[Settled], *, revision: int, now: int, deed: Deed | None = None) -> int:
        return await self._write(lambda db: match_error.settle(db, settled, revision, now, deed))

    # Deliveries

    async def configure(self, revision: int, lanes: Sequence[Lane]) -> None:
        uids = pack([one.webhook_uid for one in lanes])
        if not await self._write(lambda db: lane.configure(db, revision, uids)):
            return
        for packed in PackedLanes.portions(lanes):
            if not await self._write(partial(lane.set_portion, revision=revision, packed=packed)):
                return

    async def claim(
        self, *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
    ) -> tuple[Claimed, ...]:
        turned = await self._write(
            lambda db: turn.turn(
                db, (), now=now, lease_until=lease_until, limit=limit, revision=revision, commit=commit
            )
        )
        return turned.claimed

    async def claim_one(
        self, delivery_id: DeliveryId, lane: Lane, *, now: int, lease_until: int, revision: int, commit: str | None
    ) -> Claimed | None:
        packed = PackedLanes.of([lane])
        return await self._write(
            lambda db: claim.claim_one(
                db, delivery_id, packed, now=now, lease_until=lease_until, revision=revision, commit=commit
            )
        )

    async def finish(self, finished: Sequence[Finished]) -> tuple[int, ...]:
        return await self._write(lambda db: finish.finish(db, finished))

    async def turn(
        self, finished: Sequence[Finished], *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
    ) -> Turned:
        return await self._write(
            lambda db: turn.turn(
                db, finished, now=now, lease_until=lease_until, limit=limit, revision=revision, commit=commit
            )
        )

    async def release(self, claimed: Sequence[Claimed], *, due_at: int) -> None:
        await self._write(lambda db: finish.release(db, claimed, due_at))

    async def extend(self, claimed: Sequence[Claimed], *, lease_until: int) -> None:
        await self._write(lambda db: finish.extend(db, claimed, lease_until))

    async def expired(self, *, now: int | None) -> tuple[Claimed, ...]:
        return await self._read(lambda db: finish.expired(db, now))

    async def sweep(self) -> bool:
        return await self._read(flow.is_cancelling) and await self._write(flow.sweep)

    async def next_wake_at(self) -> int | None:
        return await self._read(finish.next_wake_at)

    async def deliveries(self, page: Page = NEWEST, *, where: DeliveryFilter = ANY) -> tuple[Delivery, ...]:
        return await self._read(lambda db: delivery.deliveries(db, page, where))

    async def delivery(self, delivery_id: str) -> tuple[Delivery, tuple[Attempt, ...]] | None:
        return await self._read(lambda db: delivery.delivery(db, delivery_id))

    async def delivery_ids(self, prefix: str, *, limit: int) -> tuple[DeliveryId, ...]:
        return await self._read(lambda db: delivery.delivery_ids(db, prefix, limit))

    async def counts(self) -> Mapping[WebhookUid, Mapping[State, int]]:
        return await self._read(delivery.counts)

    # Interventions

    async def survey(
        self, where: Selection, action: Action, *, terms: Terms = AT_ONCE, at: str | None = None
    ) -> Portion:
        return await self._read(lambda db: operate.survey(db, where, action, terms, at))

    async def intervene(
        self,
        where: Selection,
        how: Intervention,
        *,
        terms: Terms = AT_ONCE,
        at: str | None = None,
        warrant: Warrant = UNKNOWN,
    ) -> Portion:
        while await self.sweep():  # a row that a revision has cancelled says so before anything is judged by it
            pass
        picked = await self._read(lambda db: operate.pick(db, where, at))
        return await self._write(lambda db: operate.intervene(db, where, picked, how, terms, warrant))

    # Flow

    async def halts(self) -> Mapping[WebhookUid, Halt]:
        return await self._read(flow.halts)

    async def flow(self, name: str) -> Flow:
        return await self._read(lambda db: flow.flow(db, name))

    async def pause(self, name: str, pause: Pause, *, warrant: Warrant = UNKNOWN) -> None:
        await self._write(lambda db: flow.pause(db, name, pause, warrant))

    async def resume(self, name: str, *, fresh_first: bool = False, warrant: Warrant = UNKNOWN) -> Pause | None:
        return await self._write(lambda db: flow.resume(db, name, fresh_first, warrant))

    async def backlog(self, name: str) -> Backlog:
        return (await self._walk(name)).backlog

    async def compact(self, name: str, *, warrant: Warrant = UNKNOWN) -> int:
        superseded = (await self._walk(name)).superseded
        cancelled = 0
        for start in range(0, len(superseded), CANCEL_ROWS):
            portion = superseded[start : start + CANCEL_ROWS]
            cancelled += await self._write(partial(flow.supersede, name=name, seqs=portion, warrant=warrant))
        return cancelled

    async def _walk(self, name: str) -> Walk:
        walk = Walk()
        while not walk.is_over:
            await self._read(lambda db: flow.walk(db, name, walk))
        return walk

    # Clock

    async def rewind(self, *, now: int, by_ms: int | None = None) -> int:
        by = await self._read(lambda db: clock.lead_ms(db, now)) if by_ms is None else by_ms
        if by <= 0:
            return 0
        await self._write(lambda db: clock.rewind_paces(db, now, by))  # behind what was given to be written before
        ahead = await self._read(lambda db: clock.ahead(db, now))
        for start in range(0, len(ahead), clock.REWIND_ROWS):
            portion = ahead[start : start + clock.REWIND_ROWS]
            await self._write(partial(clock.rewind_deliveries, by_ms=by, portion=portion))
        return by

    # Audit

    async def audit(self, *, limit: int = 50, before: int | None = None) -> tuple[AuditEntry, ...]:
        return await self._read(lambda db: audit.entries(db, limit, before))

    async def audit_rows(self, *, after: int, limit: int) -> tuple[AuditRow, ...]:
        return await self._read(lambda db: audit.kept(db, after, limit))

    async def audit_head(self) -> AuditHead:
        return await self._read(audit.head)

    async def record(self, deed: Deed) -> None:
        await self._write(lambda db: audit.append(db, deed))

    # Notices

    async def notices(self, *, now: int, limit: int) -> tuple[Notice, ...]:
        return await self._read(lambda db: notice.notices(db, now, limit))

    async def announce(self, told: Sequence[Told], *, revision: int, now: int) -> int:
        return await self._write(lambda db: notice.announce(db, told, revision, now))

    # Health

    async def examine(self, *, now: int, is_full: bool = False) -> Examination:
        def examined() -> Examination:
            try:
                return examine.examine(self._path, now, is_full)
            except apsw.Error as exc:
                raise store_error(exc, self._path) from exc

        return await asyncio.to_thread(examined)

    # Retention

    async def prune(self, *, before: int, at: str | None = None) -> Pruned:
        seqs, following = await self._read(lambda db: retention.window(db, before, at))
        if not await self._read(lambda db: retention.has_old(db, seqs, before)):
            return Pruned(following=following)
        return await self._write(lambda db: retention.prune(db, before, at))

    async def shrink(self) -> bool:
        await asyncio.to_thread(retention.trim_wal, self._path)
        return await self._read(retention.has_spare) and await self._write(retention.shrink)

    async def load(self) -> Load:
        return await self._read(lambda db: retention.load(db, self._path))

    # Threads

    async def _read(self, function: Function[T]) -> T:
        if self._reader is None:
            raise StoreError(f"the store is not open: {self._path}")
        return await self._reader.call(function)

    async def _write(self, function: Function[T]) -> T:
        if self._reader is None:
            raise StoreError(f"the store is not open: {self._path}")
        if self._writer is None:
            self._writer = WriteThread("store-writer", self._path, self._open_writer)
        return await self._writer.call(function)

    def _open_reader(self) -> apsw.Connection:
        db = schema.prepare(self._path)
        run(db, "PRAGMA query_only = ON")
        return db

    def _open_writer(self) -> apsw.Connection:
        db = connect(self._path)
        for verb in (event, claim, finish, turn):
            verb.install(db)
        return db
