"""Deliveries whose receivers want an access token: sent with one, or kept waiting for it without a loss."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oauth_room import clients, private_pem
from oauth_room import webhook as flow_webhook
from served import publish
from worker_room import START, TurnedClock, WatchedStore, WorkerRoom, until

from reconciler.dispatch.clock import Clock
from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.dispatch.worker import Worker
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.webhook import Webhook
from reconciler.sandbox.flow import Flow
from reconciler.sandbox.oauth import DEFAULT_ORG
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import Line
from reconciler.settings import EgressSettings

HOST = "acme.workflows.okta.com"
ALIAS = "0123456789abcdef0123456789abcdef"
TOKEN_PATH = "/oauth2/v1/token"


@dataclass
class Room(WorkerRoom):
    """A worker whose deliveries want tokens."""

    key: Path = Path()

    @property
    def asked(self) -> int:
        """How often a token was asked for."""
        return sum(request.path == TOKEN_PATH for request in self.sandbox.requests)

    def received_bodies(self) -> int:
        """How many events the flow took."""
        return sum(request.path != TOKEN_PATH and request.status == 200 for request in self.sandbox.requests)

    async def note(self) -> str | None:
        """Why the first delivery that is not finished waits."""
        return next((item.note for item in await self.deliveries() if not item.state.is_finished), None)


def hook(name: str = "okta", **spec: Any) -> Webhook:
    """Unlimited, so that only tokens make anybody wait."""
    return flow_webhook(name, rate_limit="unlimited", **spec)


@asynccontextmanager
async def room(folder: Path, *webhooks: Webhook) -> AsyncIterator[Room]:
    """A worker at work over a new store with these webhooks live."""
    turned = TurnedClock()
    (folder / "store.db").touch()
    key = folder / "key.pem"
    key.write_text(private_pem())
    key.chmod(0o600)
    secrets = folder / "secrets.yaml"
    secrets.write_text(f"okta_key: {{from: 'file:key.pem', hosts: [{DEFAULT_ORG}]}}\n")
    secrets.chmod(0o600)
    settings = SandboxSettings(
        hosts=(HOST, DEFAULT_ORG), flows=(Flow(ALIAS, is_oauth=True),), oauth_clients=clients(folder), rate=None
    )
    async with (
        WatchedStore(folder / "store.db") as store,
        OktaSandbox(settings, epoch=lambda: turned.at / 1000) as sandbox,
    ):
        (folder / "ca.pem").write_bytes(sandbox.ca_pem)
        made = Room(folder, store, sandbox, turned, key=key)
        await publish(store, *webhooks)
        made.live = Live(store)
        made.resolver = SecretResolver.load(secrets)
        egress = EgressSettings(secrets_file=secrets, ca_file=folder / "ca.pem", connect_to=sandbox.connect_to)
        async with Deliverer(egress, masker=made.resolver.masker, now=lambda: turned.at / 1000) as deliverer:
            clock = Clock(now=turned.now, monotonic=turned.monotonic, rand=turned.rand)
            made.worker = Worker(store=store, live=made.live, deliverer=deliverer, resolver=made.resolver, clock=clock)
            made.intake = Intake(store, made.live, now=turned.now, wake=made.worker.wake)
            await made.live.refresh()
            await made.start()
            try:
                yield made
            finally:
                await made.drain()


async def test_many_deliveries_of_many_webhooks_share_one_token(tmp_path: Path) -> None:
    async with room(tmp_path, hook("a"), hook("b")) as made:
        await made.take(*(f"r{index}" for index in range(20)))

        await until(lambda: made.received_bodies() == 40, what="every delivery")

        assert made.asked == 1


async def test_while_a_429_lasts_deliveries_wait_uncounted_and_say_why(tmp_path: Path) -> None:
    """One attempt tells it; the others are not begun. Then all are delivered, late and whole."""
    async with room(tmp_path, hook(retry={"max_attempts": 1})) as made:
        made.sandbox.add_script(
            Line(flow=TOKEN_PATH, status=429, headers={"retry-after": "3600"}, times=1),
        )
        await made.take("r1", "r2", "r3")

        await until(lambda: _has_note(made, "429"), what="the note")
        assert made.asked == 1
        assert sum(item.attempts for item in await made.deliveries()) == 1
        assert not await made.worker.is_idle(), "it is a matter of time"

        made.turn(3601)
        await until(lambda: made.received_bodies() == 3, what="the deliveries")
        await until(lambda: _is_delivered(made, 3), what="the records")


async def _is_delivered(made: Room, count: int) -> bool:
    return await made.states() == {"delivered": count}


async def _has_note(made: Room, word: str) -> bool:
    return word in (await made.note() or "")


async def test_an_endpoint_that_is_away_for_days_kills_no_delivery(tmp_path: Path) -> None:
    """`max_attempts: 1` and an hour to give up: neither is touched while nothing could be written."""
    async with room(tmp_path, hook(retry={"max_attempts": 1, "give_up_after": "1h", "schedule": ["1s"]})) as made:
        made.sandbox.add_script(*(Line(flow=TOKEN_PATH, status=503, times=1) for _ in range(4)))
        await made.take("r1")
        for asked in (1, 2, 3, 4):
            await until(lambda asked=asked: made.asked == asked, what=f"request {asked}")
            await until(lambda: _has_note(made, "503"), what="the note")
            made.turn(86_400)

        await until(lambda: made.received_bodies() == 1, what="the delivery")

        await until(lambda: _is_delivered(made, 1), what="the record")
        attempts = await made.attempts()
        assert [item.result["fault"] for item in attempts if item.result] == ["token"] * 4 + [None]
        assert (await made.only()).state.value == "delivered"


async def test_a_wrong_key_holds_deliveries_until_it_is_right(tmp_path: Path) -> None:
    """What is in the file is read again: the right key is another client's, so nobody waits for the old trouble."""
    async with room(tmp_path, hook()) as made:
        made.key.write_text(private_pem(which=1))
        await made.take("r1", "r2")
        await until(lambda: _has_note(made, "signature is invalid"), what="the note")
        await until(made.worker.is_idle, what="idleness, since nobody but the operator can mend it")
        assert made.received_bodies() == 0

        made.key.write_text(private_pem())
        made.turn(2)
        await until(lambda: made.received_bodies() == 2, what="the deliveries")


async def test_a_key_that_cannot_be_read_holds_deliveries_too(tmp_path: Path) -> None:
    async with room(tmp_path, hook()) as made:
        made.key.write_text("correct horse battery staple")
        await made.take("r1")
        await until(lambda: _has_note(made, "cannot sign for RS256"), what="the note")
        assert (made.asked, (await made.only()).attempts) == (0, 0)

        made.key.write_text(private_pem())
        made.turn(2)
        await until(lambda: made.received_bodies() == 1, what="the delivery")


async def test_a_token_that_is_refused_for_good_pauses_the_webhook(tmp_path: Path) -> None:
    """A 401 to a fresh token is the destination's fault, five of them pause it."""
    async with room(tmp_path, hook(ordering="none", max_concurrency=1)) as made:
        made.sandbox.add_script(Line(status=401, times=100))
        await made.take(*(f"r{index}" for index in range(6)))

        async def is_paused() -> bool:
            return bool(await made.store.halts())

        await until(is_paused, what="the pause")
        assert made.received_bodies() == 0


async def test_a_token_lives_through_the_hours(tmp_path: Path) -> None:
    """A delivery an hour, a token an hour."""
    async with room(tmp_path, hook()) as made:
        for hour in range(5):
            await made.take(f"r{hour}")
            await until(lambda hour=hour: made.received_bodies() == hour + 1, what="the delivery")
            made.turn(3600)

        assert made.asked == 5
        assert made.clock.at == START + 5 * 3_600_000
