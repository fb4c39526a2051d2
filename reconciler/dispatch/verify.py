"""A test event to each webhook that a plan is about to change, before it is applied. For `apply --verify`.

Each is sent once, by `probe`, at the pace that its pace key allows; nothing is stored. Where it is certain beforehand
that a test must fail, none is sent: a test event sets off real flows.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from reconciler.dispatch.pace import UNLIMITED, Gate, Pace, paces_of
from reconciler.dispatch.probe import ProbeReport, probe
from reconciler.dispatch.ready import why_held
from reconciler.dispatch.sample import sample_event
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.webhook import Webhook

CONCURRENCY_MAX: Final = 16  # tests under way at once, over all pace keys


@dataclass(frozen=True, slots=True)
class Verification:
    """What the test of one webhook came to."""

    webhook: Webhook
    report: ProbeReport

    def to_json(self) -> dict[str, Any]:
        """The shape of `test --format json`."""
        return self.report.to_json()


async def verify(
    webhooks: Sequence[Webhook],
    beside: Iterable[Webhook] = (),
    *,
    deliverer: Deliverer,
    resolver: SecretResolver,
    clock: Callable[[], float],
) -> tuple[Verification, ...]:
    """Test each of `webhooks`; returned in their order. `beside` are others whose rate limits hold for the same pace
    keys. `clock` gives seconds since the epoch.

    If the test of some must fail before anything is sent (a secret that cannot be resolved, a key that is none,
    no signing key that is valid), only these are returned and nobody is sent anything.
    """
    now = round(clock() * 1000)
    hopeless = [webhook for webhook in webhooks if why_held(webhook, resolver, deliverer, now=now) is not None]
    tester = _Tester(paces_of((*webhooks, *beside)), deliverer=deliverer, resolver=resolver, clock=clock)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tester.test(webhook)) for webhook in hopeless or webhooks]
    return tuple(task.result() for task in tasks)


class _Tester:
    """Sends tests: of one limited pace key one after the other, up to the write, so that no connection waits long."""

    def __init__(
        self,
        paces: dict[str, Pace],
        *,
        deliverer: Deliverer,
        resolver: SecretResolver,
        clock: Callable[[], float],
    ) -> None:
        self._paces = paces
        self._deliverer, self._resolver, self._clock = deliverer, resolver, clock
        self._gate = Gate()
        self._turns = {key: asyncio.Lock() for key, pace in paces.items() if pace.per_second is not None}
        self._slots = asyncio.Semaphore(CONCURRENCY_MAX)

    async def test(self, webhook: Webhook) -> Verification:
        """One test, in its turn."""
        async with AsyncExitStack() as until_written:
            if webhook.pace_key in self._turns:
                await until_written.enter_async_context(self._turns[webhook.pace_key])

            async def before_write() -> None:
                await self._wait(webhook)
                await until_written.aclose()

            async with self._slots:
                now = self._clock()
                payload = sample_event(webhook.spec.triggers[0], now_seconds=now)
                report = await probe(
                    webhook,
                    payload,
                    deliverer=self._deliverer,
                    resolver=self._resolver,
                    now=round(now * 1000),
                    before_write=before_write,
                )
        return Verification(webhook, report)

    async def _wait(self, webhook: Webhook) -> None:
        pace = self._paces.get(webhook.pace_key, UNLIMITED)
        now = asyncio.get_running_loop().time()
        wait = self._gate.reserve(webhook.pace_key, per_second=pace.per_second, burst=pace.burst, now=now)
        if wait > 0:
            await asyncio.sleep(wait)
