"""`trigger`: a Manual webhook fired with an event, and what came of it.

Where a daemon serves the store, it delivers; where none does, the first attempt is made here.
"""

import asyncio
import contextlib
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from reconciler.cli import view
from reconciler.cli.option import (
    egress_options,
    egress_settings,
    format_option,
    store_option,
    store_url,
    warrant_options,
)
from reconciler.cli.provenance import warrant
from reconciler.cli.state import is_daemon, reading
from reconciler.cli.view_attempt import invocation_lines
from reconciler.errors import EXIT_FAILED, EXIT_OK, ReconcilerError, StoreBusyError
from reconciler.models.delivery import Attempt, Delivery, State, iso_time
from reconciler.store.base import CommandStore, Store

if TYPE_CHECKING:
    from reconciler.client.store import RemoteStore
    from reconciler.dispatch.trigger import Fired

LOOK_SECONDS: Final = 0.2  # between two looks at a delivery that the daemon makes
WAIT_SECONDS: Final = 80.0  # the longest timeout, and some pacing
WAITS: Final = "it is stored and will be sent; `reconciler deliveries show {id}` tells what became of it"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What firing came to; `delivery` with its attempts, as last seen."""

    fired: "Fired"
    delivery: Delivery | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def attempt(self) -> Attempt | None:
        """The last attempt that is over."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.result is not None), None)

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.delivery is not None and self.delivery.state is State.DELIVERED

    def to_json(self) -> dict[str, Any]:
        """The shape of `--format json`."""
        delivery = None if self.delivery is None else self.delivery.in_full(self.attempts)
        return {**self.fired.to_json(), "successful": self.is_delivered, "delivery": delivery}


@click.command()
@store_option
@egress_options
@format_option()
@click.option(
    "--event", "event_file", metavar="FILE", required=True, help="The event, a JSON file; - is standard input."
)
@click.option("--id", "given_id", metavar="ID", help="The event's id: the same id fires once.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the first attempt and show it.")
@warrant_options
@click.argument("name", metavar="NAME")
@click.pass_context
def trigger(
    ctx: click.Context,
    /,
    output_format: str,
    event_file: str,
    given_id: str | None,
    wait: bool,
    name: str,
    **options: Any,
) -> int:
    """Fire webhook NAME, which has the trigger Manual, with the event in FILE.

    It is a delivery like any other: stored first, retried, recorded, replayable; the webhook's filters are not asked.
    The daemon that serves the store sends it. Where none does, the first attempt is made from here, and a daemon makes
    the others; --secrets, --ca and --connect-to are for that.

    Prints the invocation data of the first attempt; exits 1 if it did not deliver.
    """
    raw = sys.stdin.buffer.read() if event_file == "-" else Path(event_file).read_bytes()
    outcome = asyncio.run(_trigger(store_url(ctx), name, raw, given_id, wait=wait, options=options))
    if output_format == "json":
        view.out_json(outcome.to_json())
    else:
        _out(outcome)
    return EXIT_OK if outcome.is_delivered or not wait else EXIT_FAILED


async def _trigger(
    url: str, name: str, raw: bytes, given_id: str | None, *, wait: bool, options: Mapping[str, Any]
) -> Outcome:
    async with reading(url) as store:
        if is_daemon(url):
            by = warrant(options["given_by"], options["reason"])
            fired = await cast("RemoteStore", store).fire(name, raw, given_id=given_id, warrant=by)
        else:
            fired = await _fire_here(cast(Store, store), name, raw, given_id, must_send=wait, options=options)
        return await _outcome(store, fired) if wait else Outcome(fired)


async def _fire_here(
    store: Store, name: str, raw: bytes, given_id: str | None, *, must_send: bool, options: Mapping[str, Any]
) -> "Fired":
    """Store the delivery; where no daemon serves the store, make its first attempt, if it `must_send`."""
    from reconciler.dispatch.judge import check_id
    from reconciler.dispatch.live import Live
    from reconciler.dispatch.trigger import fire, manual_webhook

    live = Live(store)
    fallback_id = check_id(given_id) or f"trg_{uuid.uuid4().hex}"
    await live.refresh()
    webhook = manual_webhook(live, name)
    halt = (await store.halts()).get(webhook.uid)
    is_ours = must_send and (halt is None or halt.at(_now()).fact is None)
    if is_ours:
        try:
            store.take_daemon_lock()
        except StoreBusyError:
            is_ours = False
    if not is_ours:
        by = warrant(options["given_by"], options["reason"])
        return await fire(store, live, name, raw, fallback_id=fallback_id, now=_now, warrant=by)
    return await _send_here(store, live, name, raw, fallback_id, options)


async def _send_here(
    store: Store, live: Any, name: str, raw: bytes, fallback_id: str, options: Mapping[str, Any]
) -> "Fired":
    from reconciler.dispatch.alone import Alone
    from reconciler.dispatch.clock import Clock
    from reconciler.dispatch.trigger import fire, manual_webhook
    from reconciler.egress.deliver import Deliverer
    from reconciler.egress.secrets import SecretResolver

    settings = egress_settings(options)
    resolver = SecretResolver.load(settings.secrets_file)
    async with Deliverer(settings, masker=resolver.masker) as deliverer:
        clock = Clock(now=_now, monotonic=time.monotonic)
        uid = manual_webhook(live, name).uid
        alone = Alone(store=store, live=live, webhook_uid=uid, deliverer=deliverer, resolver=resolver, clock=clock)
        lane = await alone.start()
        if lane is None or not lane.is_open:
            fact = lane.note if lane is not None and lane.note else "its webhook is not live"
            hint = "nothing was stored; secrets are bound by `--secrets FILE`"
            raise ReconcilerError(f"{name} cannot be sent to: {fact}", hint=hint)
        by = warrant(options["given_by"], options["reason"])
        fired = await fire(store, live, name, raw, fallback_id=fallback_id, now=_now, warrant=by)
        await alone.send(fired.delivery_id)
        return fired


async def _outcome(store: CommandStore, fired: "Fired") -> Outcome:
    """The delivery once an attempt is over, or when waiting has no sense any more."""
    outcome = Outcome(fired)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                delivery, attempts = await store.delivery(fired.delivery_id) or (None, ())
                outcome = Outcome(fired, delivery, attempts)
                if delivery is None or delivery.state.is_finished or outcome.attempt is not None or delivery.note:
                    return outcome
                await asyncio.sleep(LOOK_SECONDS)
    return outcome


def _out(outcome: Outcome) -> None:
    """The verdict, then the invocation data."""
    delivery, attempt = outcome.delivery, outcome.attempt
    webhook = view.visible(outcome.fired.webhook)
    # Three cases: delivered; an attempt that did not deliver; none yet.
    if outcome.is_delivered:
        view.out(click.style("Delivered", fg="green", bold=True) + f"  {webhook}")
    elif delivery is not None and attempt is not None:
        view.out(click.style("Not delivered", fg="red", bold=True) + f"  {webhook}: {_what_next(delivery)}")
    else:
        why = f": {view.visible(delivery.note)}" if delivery is not None and delivery.note else ""
        view.out(click.style("Stored", fg="yellow", bold=True) + f"  {webhook}{why}")
        view.say(WAITS.format(id=outcome.fired.delivery_id))
    view.out(f"  delivery {outcome.fired.delivery_id} of event {view.visible(outcome.fired.event_id)}")
    if attempt is not None and attempt.result is not None:
        view.out("")
        for line in invocation_lines(attempt.result):
            view.out(line)


def _what_next(delivery: Delivery) -> str:
    if delivery.state is State.PENDING:
        return f"tried again at {iso_time(delivery.next_attempt_at)}"
    return delivery.state.value + (f" ({delivery.reason.value})" if delivery.reason else "")


def _now() -> int:
    return time.time_ns() // 1_000_000
