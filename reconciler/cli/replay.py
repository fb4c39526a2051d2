"""`events replay`: quarantined events judged again, as they were received or as a file mends them."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli import view
from reconciler.cli.approval import question, require_terminal, says_yes
from reconciler.cli.option import format_option, store_option, store_url
from reconciler.cli.state import ReplayEvent, replaying, whole_event_id
from reconciler.cli.view_operate import counting
from reconciler.errors import EXIT_FAILED, EXIT_OK
from reconciler.store.base import CommandStore, EventStatus, Page

if TYPE_CHECKING:
    from reconciler.dispatch.intake import ItemAnswer
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
    "--file", "mended_file", metavar="FILE", help="What the event should have been; - is standard input. For one ID."
)
@click.option("--auto-approve", is_flag=True, help="Do not ask for a typed yes.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    output_format: str,
    is_all: bool,
    mended_file: str | None,
    auto_approve: bool,
    ids: tuple[str, ...],
    **_: Any,
) -> int:
    """Judge quarantined events again: as FILE mends them, or as they were received, now that this version takes them.

    What is an event now is accepted under its own identity, matched with what is live, and delivered; it says which
    event it mends, and that one is quarantined no longer. If the sender has sent it again meanwhile, that is known and
    nothing is sent twice. Exits 1 if one stays quarantined.

    With --all asks for a typed yes.
    """
    if is_all == bool(ids):
        raise click.UsageError("Give the events' IDs, or --all.", ctx)
    if mended_file is not None and len(ids) != 1:
        raise click.UsageError("--file mends one event: give its ID.", ctx)
    must_ask = is_all and not auto_approve
    if must_ask:
        require_terminal()
    mended = None if mended_file is None else _read(mended_file)
    replays = asyncio.run(_replay(store_url(ctx), ids, mended=mended, must_ask=must_ask))
    if replays is None:
        return EXIT_FAILED
    _out(replays, output_format)
    return EXIT_OK if all(item.is_settled for item in replays) else EXIT_FAILED


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


async def _replay(url: str, ids: Sequence[str], *, mended: bytes | None, must_ask: bool) -> "list[EventReplay] | None":
    """What became of each; None where the terminal says no."""
    async with replaying(url, now=lambda: time.time_ns() // 1_000_000) as (store, replay_event):
        whole = [await whole_event_id(store, text) for text in ids] if ids else await _quarantined(store)
        if must_ask and whole:
            deed = f"judge {len(whole):,} quarantined {'event' if len(whole) == 1 else 'events'} again"
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


async def _each(ids: Sequence[str], mended: bytes | None, replay_event: ReplayEvent) -> "list[EventReplay]":
    replays = []
    with counting(len(ids), "judging") as advance:
        for event_id in ids:
            replays.append(await replay_event(event_id, mended))
            advance(1)
    return replays


def _out(replays: "Sequence[EventReplay]", output_format: str) -> None:
    if output_format == "json":
        view.out_json([item.to_json() for item in replays])
        return
    if not replays:
        view.say("no events are quarantined")
    for item in replays:
        for answer in item.answer.items:
            view.out(_line(item.event_id, answer))
    kept = sum(not item.is_settled for item in replays)
    if kept:
        view.say(f"{len(replays) - kept:,} mended, {kept:,} not")


def _line(event_id: str, answer: "ItemAnswer") -> str:
    status = click.style(f"{answer.status.value:<12}", fg=COLOURS.get(answer.status))
    became = f" -> {view.visible(answer.id)}" if answer.id != event_id else ""
    problem = f"  {view.visible(answer.problem)}" if answer.problem else ""
    return f"{status} {view.visible(event_id)}{became}{problem}"
