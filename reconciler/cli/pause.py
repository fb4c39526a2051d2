"""`webhooks pause|resume`: an operator's hold on what a webhook is sent, and the way back from a receiver's bad day.

A part of the group in `cli.webhook`. Works on a store file, also while a daemon serves it, and through a daemon.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.approval import question, require_terminal, says_yes
from reconciler.cli.moment import read_duration, read_moment
from reconciler.cli.option import format_option, store_option, store_url, warrant_options, who_option
from reconciler.cli.state import reading
from reconciler.errors import EXIT_FAILED, EXIT_OK
from reconciler.models.audit import Warrant
from reconciler.models.flow import Backlog, Flow, Pause

REASON_MAX_CHARACTERS: Final = 1024  # as the API takes it


def _until(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A time (ISO 8601, UTC where it names no zone) or a duration from now, as milliseconds since the epoch."""
    if value is None:
        return None
    now = time.time_ns() // 1_000_000
    try:
        ahead = read_duration(value)
        at = read_moment(value) if ahead is None else now + ahead
    except click.BadParameter:
        fact = f"neither a duration like 2h nor a time like 2026-11-24T12:00:00Z: {value}"
        raise click.BadParameter(fact, ctx, param) from None
    if at <= now:
        raise click.BadParameter(f"this time is past: {value}", ctx, param)
    return at


@click.command()
@store_option
@format_option()
@click.option("--reason", metavar="TEXT", required=True, help="Why: shown wherever its deliveries wait.")
@click.option("--until", metavar="TIME|DURATION", callback=_until, help="Resume by itself then, like 2h.")
@who_option
@click.argument("name", metavar="NAME")
@click.pass_context
def pause(
    ctx: click.Context,
    /,
    output_format: str,
    name: str,
    reason: str,
    until: int | None,
    given_by: str | None,
    **_: Any,
) -> None:
    """Send webhook NAME nothing until it is resumed. Events are taken, and its deliveries wait.

    A pause is no part of a manifest: it outlives applies, renames and restarts, and no delivery is given up for it.
    """
    from reconciler.cli.provenance import applied_by, warrant

    if not reason.strip() or not reason.isprintable() or len(reason) > REASON_MAX_CHARACTERS:
        raise click.UsageError(f"--reason must be one line of 1 to {REASON_MAX_CHARACTERS} characters.", ctx)
    asked = Pause(time.time_ns() // 1_000_000, applied_by(given_by), reason, until)
    flow = asyncio.run(_pause(store_url(ctx), name, asked, warrant(given_by, reason)))
    if output_format == "json":
        made = flow.halt.pause or asked
        view.out_json({"webhook": name, "paused": made.to_json(), "pending": flow.pending})
        return
    view.out(f"{view.visible(name)}: {view.visible((flow.halt.pause or asked).fact)}")
    view.out(f"  {flow.pending:,} pending")


async def _pause(url: str, name: str, asked: Pause, by: Warrant) -> Flow:
    async with reading(url) as store:
        await store.pause(name, asked, warrant=by)
        return await store.flow(name)


@click.command()
@store_option
@format_option()
@click.option("--fresh-first", is_flag=True, help="Send what is accepted from now on before the backlog.")
@click.option("--compact", is_flag=True, help="Cancel what a later state of the same access request supersedes.")
@click.option("--dry-run", is_flag=True, help="Show what it would do, and do nothing.")
@click.option("--auto-approve", is_flag=True, help="Do not ask for a typed yes.")
@warrant_options
@click.argument("name", metavar="NAME")
@click.pass_context
def resume(ctx: click.Context, /, output_format: str, name: str, **options: Any) -> int:
    """Send webhook NAME again, and probe its receiver at once if it was failing.

    With --fresh-first or --compact the backlog is counted and shown first, and a typed yes is asked for. Within an
    access request the order of acceptance is kept either way.
    """
    from reconciler.cli.provenance import warrant

    by = warrant(options["given_by"], options["reason"])
    how = Manner(options["fresh_first"], options["compact"], options["dry_run"], options["auto_approve"], by)
    if how.must_ask:
        require_terminal(hint="pass `--auto-approve`, or look first with `--dry-run`")
    return asyncio.run(_resume(store_url(ctx), name, how, output_format))


@dataclass(frozen=True, slots=True)
class Manner:
    """How to resume."""

    is_fresh_first: bool
    is_compact: bool
    is_dry_run: bool
    is_approved: bool
    by: Warrant

    @property
    def must_ask(self) -> bool:
        """Whether a person is asked: where the order of things changes, or something is cancelled."""
        return (self.is_fresh_first or self.is_compact) and not (self.is_dry_run or self.is_approved)


async def _resume(url: str, name: str, how: Manner, output_format: str) -> int:
    from reconciler.cli.webhook import find_live

    async with reading(url) as store:
        webhook = find_live(await store.live_state(), name).webhook
        flow = (await store.flow(name)).expected(webhook)
        backlog = await store.backlog(name) if how.is_compact else Backlog(flow.pending, 0)
        is_text = output_format == "text"
        for line in _look_lines(name, flow, backlog, how):
            view.say(line, err=not is_text)
        if how.is_dry_run:
            _done(name, flow, backlog, how, cancelled=0, output_format=output_format)
            return EXIT_OK
        if how.must_ask and not await says_yes(question("resume the webhook so"), refusal="Nothing was changed."):
            return EXIT_FAILED
        cancelled = await store.compact(name, warrant=how.by) if how.is_compact else 0
        await store.resume(name, fresh_first=how.is_fresh_first, warrant=how.by)
    _done(name, flow, backlog, how, cancelled=cancelled, output_format=output_format)
    return EXIT_OK


def _look_lines(name: str, flow: Flow, backlog: Backlog, how: Manner) -> list[str]:
    """What is there, and what each option would do to it."""
    held = flow.halt.at(time.time_ns() // 1_000_000).fact
    lines = [f"{view.visible(name)}: {view.visible(held or 'not paused')}", f"  {flow.estimate()}"]
    if how.is_compact:
        left = flow.pending - backlog.superseded
        lines.append(f"  compact: cancels {backlog.superseded:,} that a later state of the same request supersedes")
        lines.append(f"           leaves {flow.estimate(left)}")
    if how.is_fresh_first:
        lines.append("  fresh first: what is accepted from now on goes before them")
    return lines


def _done(name: str, flow: Flow, backlog: Backlog, how: Manner, *, cancelled: int, output_format: str) -> None:
    if output_format == "json":
        view.out_json(
            {
                "webhook": name,
                "was": flow.halt.to_json(),
                "backlog": flow.to_json(),
                "superseded": backlog.superseded if how.is_compact else None,
                "fresh_first": how.is_fresh_first,
                "dry_run": how.is_dry_run,
                "cancelled": cancelled,
            }
        )
    elif how.is_dry_run:
        view.out("Dry run: nothing was changed.")
    else:
        if how.is_compact:
            text = f"Resumed: {cancelled:,} cancelled as superseded"
        elif how.is_fresh_first or flow.halt.at(time.time_ns() // 1_000_000).fact is not None:
            text = "Resumed"
        else:
            text = "Nothing was held back: nothing to resume"
        view.out(click.style(text, fg="green", bold=True))
