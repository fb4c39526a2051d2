"""`events replay`: quarantined events judged again, as they were received or as a file mends them; accepted events for
the webhooks whose `when` could not be told."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli import view
from reconciler.cli.approval import question, require_terminal, says_yes
from reconciler.cli.option import format_option, store_option, store_url, warrant_options
from reconciler.cli.provenance import warrant
from reconciler.cli.state import ReplayEvent, replaying, whole_event_id
from reconciler.cli.view_operate import counting
from reconciler.errors import EXIT_FAILED, EXIT_OK
from reconciler.models.audit import Warrant
from reconciler.store.base import CommandStore, EventStatus, Page
from reconciler.store.match_error import MatchErrorFilter

if TYPE_CHECKING:
    from reconciler.dispatch.intake import ItemAnswer
    from reconciler.dispatch.rejudge import Rejudged
    from reconciler.dispatch.replay import EventReplay

PAGE_ROWS: Final = 1_000
COLOURS: Final = {
    EventStatus.ACCEPTED: "green",
    EventStatus.DUPLICATE: "bright_black",
    EventStatus.CONFLICT: "red",
    EventStatus.QUARANTINED: "red",
}


@click.command()
@store_option
@format_option()
@click.option("--all", "is_all", is_flag=True, help="All that are quarantined.")
@click.option(
    "--match-errors", "is_match_errors", is_flag=True, help="All of which a webhook's `when` could not be told."
)
@click.option("--webhook", metavar="NAME", help="With --match-errors: those of this webhook.")
@click.option(
    "--file", "mended_file", metavar="FILE", help="What the event should have been; - is standard input. For one ID."
)
@click.option("--auto-approve", is_flag=True, help="Do not ask for a typed yes.")
@warrant_options
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    output_format: str,
    is_all: bool,
    is_match_errors: bool,
    webhook: str | None,
    mended_file: str | None,
    auto_approve: bool,
    ids: tuple[str, ...],
    **options: Any,
) -> int:
    """Judge quarantined events again: as FILE mends them, or as they were received, now that this version takes them.

    What is an event now is accepted under its own identity, matched with what is live, and delivered; it says which
    event it mends, and that one is quarantined no longer. If the sender has sent it again meanwhile, that is known and
    nothing is sent twice. Exits 1 if one stays quarantined.

    An accepted event is judged again for the webhooks whose `when` could not be told: those that want it now get their
    delivery. Exits 1 if one still cannot be told.

    With --all and --match-errors asks for a typed yes.
    """
    if [is_all, is_match_errors, bool(ids)].count(True) != 1:
        raise click.UsageError("Give the events' IDs, or --all, or --match-errors.", ctx)
    if webhook is not None and not is_match_errors:
        raise click.UsageError("--webhook goes with --match-errors only.", ctx)
    if mended_file is not None and len(ids) != 1:
        raise click.UsageError("--file mends one event: give its ID.", ctx)
    must_ask = not ids and not auto_approve
    if must_ask:
        require_terminal()
    mended = None if mended_file is None else _read(mended_file)
    chosen = _Failed(webhook) if is_match_errors else ids
    by = warrant(options["given_by"], options["reason"])
    replays = asyncio.run(_replay(store_url(ctx), chosen, mended=mended, must_ask=must_ask, by=by))
    if replays is None:
        return EXIT_FAILED
    _out(replays, output_format, none="have match errors" if is_match_errors else "are quarantined")
    return EXIT_OK if all(item.is_settled for item in replays) else EXIT_FAILED


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


@dataclass(frozen=True, slots=True)
class _Failed:
    """All events with match errors, or those of one webhook."""

    webhook: str | None


async def _replay(
    url: str, chosen: Sequence[str] | _Failed, *, mended: bytes | None, must_ask: bool, by: Warrant
) -> "list[EventReplay] | None":
    """What became of each; None where the terminal says no."""
    async with replaying(url, now=lambda: time.time_ns() // 1_000_000, by=by) as (store, replay_event):
        kind = "" if isinstance(chosen, _Failed) else "quarantined "
        if isinstance(chosen, _Failed):
            whole = await _with_match_errors(store, chosen)
        else:
            whole = [await whole_event_id(store, text) for text in chosen] if chosen else await _quarantined(store)
        if must_ask and whole:
            deed = f"judge {len(whole):,} {kind}{'event' if len(whole) == 1 else 'events'} again"
            if not await says_yes(question(deed), refusal="Nothing was changed."):
                return None
        return await _each(whole, mended, replay_event)


async def _quarantined(store: CommandStore) -> list[str]:
    """The ids of all that are quarantined, in the order in which they were received."""
    found: list[str] = []
    page = Page(PAGE_ROWS)
    while events := await store.events(page, status=EventStatus.QUARANTINED):
        found += [event.id for event in events]
        page = Page(PAGE_ROWS, before=events[-1].id)
    return found[::-1]


async def _with_match_errors(store: CommandStore, failed: _Failed) -> list[str]:
    """The ids of all that have match errors, in the order in which they were judged first."""
    found: dict[str, None] = {}
    where, after = MatchErrorFilter(webhook=failed.webhook), None
    while errors := await store.match_errors(where=where, limit=PAGE_ROWS, after=after):
        found.update(dict.fromkeys(error.event_id for error in errors))
        after = errors[-1].id
    return list(found)


async def _each(ids: Sequence[str], mended: bytes | None, replay_event: ReplayEvent) -> "list[EventReplay]":
    replays = []
    with counting(len(ids), "judging") as advance:
        for event_id in ids:
            replays.append(await replay_event(event_id, mended))
            advance(1)
    return replays


def _out(replays: "Sequence[EventReplay]", output_format: str, *, none: str) -> None:
    if output_format == "json":
        view.out_json([item.to_json() for item in replays])
        return
    if not replays:
        view.say(f"no events {none}")
    for item in replays:
        if item.rejudged is not None:
            view.out(_rejudged_line(item.event_id, item.rejudged))
            continue
        for answer in item.answer.items:
            view.out(_line(item.event_id, answer))
    kept = sum(not item.is_settled for item in replays)
    if kept:
        deed = "settled" if any(item.rejudged for item in replays) else "mended"
        view.say(f"{len(replays) - kept:,} {deed}, {kept:,} not")


def _rejudged_line(event_id: str, rejudged: "Rejudged") -> str:
    """`judged       evt_… 1 wanted, 1 cannot be told`."""
    said = (("wanted", rejudged.wanted), ("not wanted", rejudged.unwanted), ("cannot be told", rejudged.failed))
    what = ", ".join(f"{number:,} {words}" for words, number in said if number)
    status = click.style(f"{'judged':<12}", fg="red" if rejudged.failed else "green")
    return f"{status} {view.visible(event_id)}  {what or 'judged meanwhile by somebody else'}"


def _line(event_id: str, answer: "ItemAnswer") -> str:
    status = click.style(f"{answer.status.value:<12}", fg=COLOURS.get(answer.status))
    became = f" -> {view.visible(answer.id)}" if answer.id != event_id else ""
    problem = f"  {view.visible(answer.problem)}" if answer.problem else ""
    return f"{status} {view.visible(event_id)}{became}{problem}"
