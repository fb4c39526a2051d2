"""`deliveries list|show`: what was sent, what came back, what happens next. `replay|cancel` stand in `cli.operate`."""

import asyncio
from dataclasses import replace
from typing import Any

import click

from reconciler.cli import view
from reconciler.cli.operate import cancel, replay
from reconciler.cli.option import format_option, store_option, store_url
from reconciler.cli.state import reading, whole_delivery_id, whole_event_id
from reconciler.cli.view_attempt import DELIVERIES, delivery_row, out_delivery
from reconciler.cli.view_table import out_table, say_if_incomplete
from reconciler.errors import ReconcilerError
from reconciler.models.delivery import Attempt, Delivery, State
from reconciler.store.base import DeliveryFilter, Page


@click.group()
def deliveries() -> None:
    """List, show, replay and cancel deliveries."""


@deliveries.command("list")
@store_option
@format_option()
@click.option("--webhook", metavar="NAME", help="Only this webhook's.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only those in this state.")
@click.option("--event", "event_id", metavar="ID", help="Only this event's.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many.")
@click.option("--before", metavar="ID", help="Only those older than this delivery, for the next page.")
@click.pass_context
def list_(
    ctx: click.Context,
    /,
    output_format: str,
    webhook: str | None,
    state: str | None,
    event_id: str | None,
    limit: int,
    before: str | None,
    **_: Any,
) -> None:
    """List deliveries, newest first. An ID may be written by its beginning, as a terminal shows it."""
    where = DeliveryFilter(webhook, State(state) if state else None, event_id)
    found = asyncio.run(_list(store_url(ctx), Page(limit, before), where))
    if output_format == "json":
        view.out_json([delivery.to_json() for delivery in found])
        return
    out_table(DELIVERIES, [delivery_row(delivery) for delivery in found])
    say_if_incomplete([delivery.id for delivery in found], limit, noun="deliveries")


@deliveries.command()
@store_option
@format_option()
@click.argument("delivery_id", metavar="ID")
@click.pass_context
def show(ctx: click.Context, /, output_format: str, delivery_id: str, **_: Any) -> None:
    """Show one delivery with the invocation data of every attempt. ID may be its beginning."""
    delivery, attempts = asyncio.run(_show(store_url(ctx), delivery_id))
    if output_format == "json":
        view.out_json(delivery.in_full(attempts))
        return
    out_delivery(delivery, attempts)


deliveries.add_command(replay)
deliveries.add_command(cancel)


async def _list(url: str, page: Page, where: DeliveryFilter) -> tuple[Delivery, ...]:
    async with reading(url) as store:
        if page.before is not None:
            page = replace(page, before=await whole_delivery_id(store, page.before))
        if where.event_id is not None:
            where = replace(where, event_id=await whole_event_id(store, where.event_id))
        return await store.deliveries(page, where=where)


async def _show(url: str, delivery_id: str) -> tuple[Delivery, tuple[Attempt, ...]]:
    async with reading(url) as store:
        found = await store.delivery(await whole_delivery_id(store, delivery_id))
    if found is None:
        raise ReconcilerError(f"the delivery is gone: {delivery_id}")
    return found
