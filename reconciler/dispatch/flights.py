"""The attempts under way: begun from what was claimed, each on the shortest way there is, and handed on when they end.

Owned by the worker. An attempt is written at once where an idle connection and an unlimited pace let it; else it is a
task of the worker's group, which waits for what it needs. Decides nothing itself: what is sent is
`dispatch.recipe`, what is written `dispatch.attempt`, what a result means `dispatch.retry`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, Protocol

from reconciler.dispatch.attempt import conclude, describe_fault
from reconciler.dispatch.clock import Clock
from reconciler.dispatch.crowd import Crowd
from reconciler.dispatch.lanes import Lanes
from reconciler.dispatch.live import Live, Snapshot
from reconciler.dispatch.pace import Gate
from reconciler.dispatch.ready import secrets_of
from reconciler.dispatch.recipe import Recipe, Recipes
from reconciler.dispatch.record import Recorder
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import SecretError, StoreError, TemplateError
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.observe.log import log, place_of
from reconciler.request.draft import Draft
from reconciler.store.base import Claimed, Finished

GIVE_BACK_MS: Final = 1_000  # a delivery that cannot be attempted now comes again after this; its lane is closed sooner


class _Cuttable(Protocol):
    """What can be ended at once."""

    def cut(self) -> None: ...


class _Claim:
    """What was claimed together: each secret is read once for it."""

    def __init__(self, snapshot: Snapshot, *, now: int) -> None:
        self.snapshot = snapshot
        self.now = now
        self.secrets: dict[str, str] = {}
        self.recipes: dict[WebhookUid, Recipe | SecretError | TemplateError] = {}


class Flights:
    """The attempts under way, by the `seq` of their deliveries."""

    def __init__(
        self,
        *,
        live: Live,
        lanes: Lanes,
        deliverer: Deliverer,
        resolver: SecretResolver,
        recorder: Recorder,
        crowd: Crowd,
        clock: Clock,
        release: Callable[[Sequence[Claimed], int], Coroutine[Any, Any, None]],
        on_room: Callable[[], None],
    ) -> None:
        """`release` gives claims back, to be due after so many milliseconds; `on_room` is called when an attempt ends
        for whose place somebody waits."""
        self._live = live
        self._lanes = lanes
        self._deliverer = deliverer
        self._resolver = resolver
        self._recorder = recorder
        self._crowd = crowd
        self._clock = clock
        self._release = release
        self._on_room = on_room
        self._gate = Gate()
        self._recipes = Recipes(deliverer)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._quick: dict[int, tuple[Claimed, _Cuttable]] = {}
        self._unwritten: set[int] = set()  # of the tasks, those that have written nothing yet
        self._given_back: list[Claimed] = []
        self._is_draining = False
        self._landed = asyncio.Event()
        self.is_room_wanted = False

    def __len__(self) -> int:
        return len(self._tasks) + len(self._quick)

    def __contains__(self, seq: int) -> bool:
        return seq in self._quick or seq in self._tasks

    def begin(self, claimed: Sequence[Claimed], snapshot: Snapshot, group: asyncio.TaskGroup) -> None:
        """Begin an attempt of each of these deliveries, or have it given back while the daemon drains."""
        if self._is_draining:
            self._given_back += claimed
            return
        claim, now = _Claim(snapshot, now=self._clock.now()), self._clock.monotonic()
        drafted = []
        for one in claimed:
            self._crowd.begin(one.seq, one.webhook_uid, size=len(one.raw), now=now)
            found = self._draft(one, claim, group)
            if found is not None:
                drafted.append((one, *found))
        # Written one right behind the other: a receiver that has gone to sleep meanwhile is woken once, not each time.
        for one, recipe, draft in drafted:
            if not self._begin_at_once(one, recipe, draft, group):
                self._wait(one, self._send(one, recipe, draft), group)

    def _draft(self, claimed: Claimed, claim: _Claim, group: asyncio.TaskGroup) -> tuple[Recipe, Draft] | None:
        """What is to be sent; None where nothing is, and what follows from that is under way."""
        live = claim.snapshot.webhooks.get(claimed.webhook_uid)
        if live is None:  # deleted between configure and claim: the store cancels what comes back
            self._wait(claimed, self._release([claimed], GIVE_BACK_MS), group)
            return None
        webhook = live.webhook
        result: AttemptResult | Exception
        try:
            recipe = self._recipe(webhook, claimed.webhook_uid, claim)
            return recipe, recipe.draft(claimed, now=claim.now)
        except SecretError as exc:
            self._wait(claimed, self._hold(claimed, webhook, exc.message), group)
            return None
        except TemplateError as exc:
            result = AttemptResult(fault=Fault.RENDER, detail=describe_fault(exc))
        except Exception as exc:  # a poison event must cost itself only, and must not come back for ever
            result = exc
        self._conclude(claimed, webhook, result, wrote=False)
        self._ended(claimed)
        return None

    def _recipe(self, webhook: Webhook, uid: WebhookUid, claim: _Claim) -> Recipe:
        """Raises SecretError and TemplateError."""
        found = claim.recipes.get(uid)
        if found is None:
            try:
                secrets = secrets_of(webhook, self._resolver, now=claim.now, read=claim.secrets)
                found = self._recipes.of(uid, webhook, secrets)
            except (SecretError, TemplateError) as exc:
                found = exc
            claim.recipes[uid] = found
        if isinstance(found, Recipe):
            return found
        raise found

    # The short way

    def _begin_at_once(self, claimed: Claimed, recipe: Recipe, draft: Draft, group: asyncio.TaskGroup) -> bool:
        """Write the request now; False, nothing being written, where something is to be waited for."""
        webhook = recipe.webhook
        if recipe.form is None or self._lanes.pace(recipe.pace_key).per_second is not None:
            return False
        try:
            on_end = partial(self._on_end, claimed, webhook, group)
            flight = self._deliverer.begin(recipe.form, draft, on_end=on_end)
        except Exception as exc:
            self._conclude(claimed, webhook, exc, wrote=True)
            self._ended(claimed)
            return True
        if flight is not None:
            self._quick[claimed.seq] = (claimed, flight)
        return flight is not None

    def _on_end(
        self, claimed: Claimed, webhook: Webhook, group: asyncio.TaskGroup, result: AttemptResult | Exception
    ) -> None:
        del self._quick[claimed.seq]
        try:
            self._conclude(claimed, webhook, result, wrote=True)
        except Exception as exc:  # who calls back would only tell of it; the daemon must end
            group.create_task(_raise(exc))
        self._ended(claimed)

    # The way of all others

    def _wait(self, claimed: Claimed, way: Coroutine[Any, Any, None], group: asyncio.TaskGroup) -> None:
        self._unwritten.add(claimed.seq)
        self._tasks[claimed.seq] = task = group.create_task(way)
        task.add_done_callback(partial(self._task_ended, claimed))

    async def _send(self, claimed: Claimed, recipe: Recipe, draft: Draft) -> None:
        webhook = recipe.webhook
        result: AttemptResult | Exception
        try:
            prepared, shown = recipe.prepared(draft)
            result = await self._deliverer.send(
                prepared,
                shown,
                timeout_seconds=webhook.spec.timeout_in_sec,
                validators=webhook.spec.response_validators,
                credentials=recipe.credentials,
                before_write=partial(self._before_write, claimed, recipe),
            )
        except TemplateError as exc:
            result = AttemptResult(fault=Fault.RENDER, detail=describe_fault(exc))
        except StoreError:
            raise
        except Exception as exc:
            result = exc
        if isinstance(result, AttemptResult) and not result.is_attempt:
            await self._hold(claimed, webhook, result.detail)
            return
        self._conclude(claimed, webhook, result, wrote=claimed.seq not in self._unwritten)

    async def _before_write(self, claimed: Claimed, recipe: Recipe) -> None:
        pace = self._lanes.pace(recipe.pace_key)
        now = self._clock.monotonic()
        wait = self._gate.reserve(recipe.pace_key, per_second=pace.per_second, burst=pace.burst, now=now)
        if wait > 0:
            await asyncio.sleep(wait)
        self._unwritten.discard(claimed.seq)

    async def _hold(self, claimed: Claimed, webhook: Webhook, why: str) -> None:
        """Give back what cannot be sent now, as if it had not been claimed; its lane is closed soon."""
        log("delivery.held", delivery=claimed.delivery_id, webhook=webhook.name, why=why)
        self._lanes.look_again()
        await self._release([claimed], GIVE_BACK_MS)

    def _task_ended(self, claimed: Claimed, task: asyncio.Task[None]) -> None:
        """The task is over, be it that it was cancelled before it began."""
        del self._tasks[claimed.seq]
        is_unwritten = claimed.seq in self._unwritten
        self._unwritten.discard(claimed.seq)
        if task.cancelled() and self._is_draining:
            if is_unwritten:
                self._given_back.append(claimed)
            else:
                self._cut_off(claimed)
        self._ended(claimed)

    # Both

    def _conclude(self, claimed: Claimed, webhook: Webhook, result: AttemptResult | Exception, *, wrote: bool) -> None:
        """Have it recorded what an attempt came to."""
        try:
            if isinstance(result, Exception):
                raise result
            if result.fault is Fault.TOKEN:
                self._lanes.look_again()
            if result.status == 401:
                self._lanes.take_bindings()
            finished = self._finished(claimed, webhook, result)
        except Exception as exc:
            finished = self._finished(claimed, webhook, self._crash(claimed, exc, wrote=wrote))
        self._recorder.put(finished)

    def _crash(self, claimed: Claimed, exc: Exception, *, wrote: bool) -> AttemptResult:
        """A bug met this event: its attempt has failed, as unknown if the request may have been written."""
        error = f"internal error: {type(exc).__name__}"
        why = self._resolver.masker.mask(str(exc))
        log("delivery.crashed", delivery=claimed.delivery_id, error=error, why=why, where=place_of(exc))
        return AttemptResult(fault=Fault.PROTOCOL, detail=error, wrote=wrote)

    def _finished(self, claimed: Claimed, webhook: Webhook | None, result: AttemptResult) -> Finished:
        """What is written for an attempt."""
        return conclude(claimed, webhook, result, now=self._clock.now(), rand=self._clock.rand())

    def _ended(self, claimed: Claimed) -> None:
        self._crowd.end(claimed.seq, now=self._clock.monotonic())
        if self.is_room_wanted:
            self._on_room()
        if not self:
            self._landed.set()

    # The end

    async def drain(self) -> None:
        """From now on begin nothing, and end what has written nothing."""
        self._is_draining = True
        cancelled = [self._tasks[seq] for seq in self._unwritten]
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled)

    async def landed(self) -> None:
        """Until nothing is under way."""
        while self:
            self._landed.clear()
            await self._landed.wait()

    def cut(self) -> None:
        """End at once what is under way: as unknown what was written."""
        self._is_draining = True
        for task in list(self._tasks.values()):
            task.cancel()
        for claimed, flight in list(self._quick.values()):
            flight.cut()
            del self._quick[claimed.seq]
            self._cut_off(claimed)
            self._ended(claimed)

    def closed(self, claimed: Claimed, result: AttemptResult) -> Finished:
        """What is written for an attempt whose end nobody saw; its webhook may be gone."""
        live = self._live.snapshot.webhooks.get(claimed.webhook_uid)
        return self._finished(claimed, None if live is None else live.webhook, result)

    def take_given_back(self) -> list[Claimed]:
        """What the drain took away before anything was written."""
        given_back, self._given_back = self._given_back, []
        return given_back

    def _cut_off(self, claimed: Claimed) -> None:
        result = AttemptResult(fault=Fault.SHUTDOWN, detail="the daemon stopped during the attempt", wrote=True)
        self._recorder.put(self.closed(claimed, result))


async def _raise(exc: Exception) -> None:
    raise exc
