"""`send`: events from files to a daemon. `events list|show`: what was received and what became of it; `events replay`
stands in `cli.replay`."""

import asyncio
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from reconciler import jsontext
from reconciler.cli import view
from reconciler.cli.option import ca_option, format_option, store_option, store_url
from reconciler.cli.replay import replay
from reconciler.cli.state import daemon_address, reading, whole_event_id
from reconciler.cli.view_table import (
    Table,
    out_table,
    say_if_incomplete,
    short_id,
    short_middle,
    to_seconds,
    without_year,
)
from reconciler.errors import EXIT_FAILED, EXIT_OK, ReconcilerError
from reconciler.models.delivery import Delivery, iso_time
from reconciler.settings import DEFAULT_LISTEN
from reconciler.store.base import DeliveryFilter, EventStatus, Page, StoredEvent
from reconciler.store.match_error import MatchError, MatchErrorFilter

EVENTS: Final = Table(
    ("ID", "TYPE", "REQUEST", "STATUS", "SOURCE", "RECEIVED", "DELIVERIES", "PROBLEM"),
    frozenset(("DELIVERIES",)),
    (
        ("ID", short_id),
        ("RECEIVED", to_seconds),
        ("SOURCE", None),
        ("REQUEST", short_middle),
        ("RECEIVED", without_year),
        ("DELIVERIES", None),
    ),
)
STATUS_COLOURS: Final = {
    "accepted": "green",
    "duplicate": "bright_black",
    "conflict": "red",
    "quarantined": "red",
    "mended": "cyan",
}
STORED: Final = (EventStatus.ACCEPTED, EventStatus.QUARANTINED, EventStatus.MENDED)
SHOWN_DELIVERIES_MAX: Final = 1000
PROBLEM_MAX_CHARACTERS: Final = 80  # in a table; `events show` has all of it

_NOT_PLAIN: Final = re.compile(r"[^\x00-\x7e]")


@click.command()
@click.option(
    "--to",
    "daemon",
    metavar="URL",
    envvar="RECONCILER_DAEMON",
    show_envvar=True,
    default=f"http://{DEFAULT_LISTEN}",
    show_default=True,
    help="The daemon.",
)
@ca_option
@format_option()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(allow_dash=True))
def send(daemon: str, output_format: str, files: tuple[str, ...], **_: Any) -> int:
    """Send the events in JSON or JSONL FILEs to a daemon; - is standard input.

    A JSON file holds one event or an array, a JSONL file one event a line. The daemon has stored what it calls
    accepted; sending the same event again is harmless. Exits 1 if an event conflicts or is quarantined. A daemon with
    tokens wants one in RECONCILER_TOKEN, with the role `ingest`.
    """
    from reconciler.client.send import DaemonClient, batches

    report: dict[str, Any] = {"accepted": 0, "duplicates": 0, "conflicts": 0, "quarantined": 0, "events": []}
    try:
        with DaemonClient(daemon_address(daemon)) as client:
            for name in files:
                for body, content_type in batches(_read(name), name=name):
                    answer = client.send(body, content_type=content_type)
                    _add(report, answer, name)
                    if output_format == "text":
                        _out_answer(answer)
    finally:
        if output_format == "json":
            view.out_json(report)
        elif report["events"]:
            view.say(", ".join(f"{report[key]} {key}" for key in report if key != "events"))
    return EXIT_FAILED if any(event["problem"] for event in report["events"]) else EXIT_OK


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _add(report: dict[str, Any], answer: dict[str, Any], name: str) -> None:
    report["events"].extend({"file": name, **event} for event in answer["events"])
    for key in ("accepted", "duplicates", "conflicts", "quarantined"):
        report[key] += answer[key]


def _out_answer(answer: dict[str, Any]) -> None:
    for event in answer["events"]:
        status = click.style(f"{event['status']:<12}", fg=STATUS_COLOURS.get(event["status"]))
        problem = f"  {view.visible(event['problem'])}" if event["problem"] else ""
        view.out(f"{status} {view.visible(event['id'])}{problem}")


@click.group()
def events() -> None:
    """List, show and replay received events."""


@events.command("list")
@store_option
@format_option()
@click.option("--status", type=click.Choice([status.value for status in STORED]), help="Only those with this status.")
@click.option(
    "--match-errors",
    "is_match_errors",
    is_flag=True,
    help="Instead, list of which events a webhook's `when` could not be told, oldest first.",
)
@click.option("--webhook", metavar="NAME", help="With --match-errors: of this webhook.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many.")
@click.option("--before", metavar="ID", help="Only those older than this event, for the next page.")
@click.pass_context
def list_(
    ctx: click.Context,
    /,
    output_format: str,
    status: str | None,
    limit: int,
    before: str | None,
    is_match_errors: bool,
    webhook: str | None,
    **_: Any,
) -> None:
    """List received events, newest first. An ID may be written by its beginning, as a terminal shows it."""
    if is_match_errors and (status or before):
        raise click.UsageError("--match-errors goes with --webhook and --limit only", ctx)
    if webhook is not None and not is_match_errors:
        raise click.UsageError("--webhook goes with --match-errors only", ctx)
    if is_match_errors:
        from reconciler.cli.view_match_error import out_match_errors

        out_match_errors(asyncio.run(_match_errors(store_url(ctx), webhook, limit)), output_format, limit)
        return
    found = asyncio.run(_list(store_url(ctx), Page(limit, before), EventStatus(status) if status else None))
    if output_format == "json":
        view.out_json([event.to_json() for event in found])
        return
    out_table(EVENTS, [_row(event) for event in found])
    say_if_incomplete([event.id for event in found], limit, noun="events")


@events.command()
@store_option
@format_option()
@click.argument("event_id", metavar="ID")
@click.pass_context
def show(ctx: click.Context, /, output_format: str, event_id: str, **_: Any) -> None:
    """Show one event as it was received, and its deliveries. ID may be its beginning."""
    event, deliveries, errors = asyncio.run(_show(store_url(ctx), event_id))
    if output_format == "json":
        click.echo(_plain(jsontext.pretty(event.in_full(deliveries, errors))))
        return
    _out_event(event, deliveries)
    if errors:
        from reconciler.cli.view_match_error import out_match_errors

        view.out("")
        out_match_errors(errors, output_format, len(errors) + 1)


events.add_command(replay)


async def _list(url: str, page: Page, status: EventStatus | None) -> tuple[StoredEvent, ...]:
    async with reading(url) as store:
        if page.before is not None:
            page = replace(page, before=await whole_event_id(store, page.before))
        return await store.events(page, status=status)


async def _match_errors(url: str, webhook: str | None, limit: int) -> tuple[MatchError, ...]:
    async with reading(url) as store:
        return await store.match_errors(where=MatchErrorFilter(webhook=webhook), limit=limit)


async def _show(url: str, event_id: str) -> tuple[StoredEvent, tuple[Delivery, ...], tuple[MatchError, ...]]:
    async with reading(url) as store:
        event = await store.event(await whole_event_id(store, event_id))
        if event is None:
            raise ReconcilerError(f"the event is gone: {event_id}")
        deliveries = await store.deliveries(Page(SHOWN_DELIVERIES_MAX), where=DeliveryFilter(event_id=event.id))
        where = MatchErrorFilter(event_id=event.id)
        return event, deliveries, await store.match_errors(where=where, limit=SHOWN_DELIVERIES_MAX)


def _row(event: StoredEvent) -> list[str]:
    problem = event.problem or _match_problem(event)
    return [
        view.visible(event.id),
        view.visible(event.event_type),
        view.visible(event.data_id or ""),
        click.style(event.status.value, fg=STATUS_COLOURS[event.status.value]),
        view.visible(event.source),
        iso_time(event.received_at) or "",
        str(event.deliveries),
        view.visible(
            problem if len(problem) <= PROBLEM_MAX_CHARACTERS else f"{problem[: PROBLEM_MAX_CHARACTERS - 1]}…"
        ),
    ]


def _match_problem(event: StoredEvent) -> str:
    number = event.match_errors
    return f"`when` of {number} webhook{'' if number == 1 else 's'} could not be told" if number else ""


def _out_event(event: StoredEvent, deliveries: tuple[Delivery, ...]) -> None:
    from reconciler.cli.view_attempt import DELIVERIES, delivery_row, fact_lines

    view.out(click.style(f"event {view.visible(event.id)}", bold=True))
    facts = {
        "type": view.visible(event.event_type) or "unknown",
        "request": view.visible(event.data_id or ""),
        "event time": view.visible(event.event_time or ""),
        "status": click.style(event.status.value, fg=STATUS_COLOURS[event.status.value]),
        "problem": view.visible(event.problem or ""),
        "mended as": view.visible(event.mended_as or ""),
        "mends": view.visible(event.mends or ""),
        "source": view.visible(event.source),
        "received": iso_time(event.received_at) or "",
        "revision": str(event.revision),
    }
    for line in fact_lines(facts):
        view.out(line)
    view.out("")
    for line in _raw_text(event).splitlines():
        view.out(view.visible(line))
    if deliveries:
        view.out("")
        out_table(DELIVERIES, [delivery_row(delivery) for delivery in deliveries])


def _raw_text(event: StoredEvent) -> str:
    """What was received, indented where it is JSON."""
    try:
        return jsontext.pretty(jsontext.loads(event.raw))
    except ValueError:
        return event.raw.decode("utf-8", "backslashreplace")


def _plain(text: str) -> str:
    """JSON text in ASCII, so that no character of an event acts on a terminal."""
    return _NOT_PLAIN.sub(lambda match: json.dumps(match[0])[1:-1], text)
