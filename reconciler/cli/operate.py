"""`deliveries replay|cancel`: the deliveries that an operator means, counted, approved, done portion by portion."""

import asyncio
import math
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import click

from reconciler.cli import view
from reconciler.cli.approval import question, require_terminal, says_yes
from reconciler.cli.moment import moment_at, read_moment
from reconciler.cli.option import format_option, store_option, store_url, who_option
from reconciler.cli.provenance import applied_by, warrant
from reconciler.cli.state import reading, whole_delivery_id, whole_event_id
from reconciler.cli.view_operate import Tally, how_long, out_tally, progress, report_json, summary_text
from reconciler.errors import EXIT_FAILED, EXIT_OK, ReconcilerError
from reconciler.models.audit import Warrant
from reconciler.models.delivery import Action, Intervention, Reason, State
from reconciler.models.event import TRIGGER_OF_EVENT_TYPE
from reconciler.store.base import CommandStore
from reconciler.store.operate import Portion, Selection, Terms

Command = TypeVar("Command", bound=Callable[..., Any])

CANCELLABLE: Final = (State.PENDING, State.IN_FLIGHT)
NARROWING: Final = ("webhooks", "states", "reasons", "event_id", "event_types", "since", "until")


class _Rate(click.FloatRange):
    """Deliveries a second. `nan` is a float, and within any range by click's comparison."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        rate = float(super().convert(value, param, ctx))
        if math.isnan(rate):
            self.fail(f"{value} is no number", param, ctx)
        return rate


def _selection_options(default: str) -> Callable[[Command], Command]:
    options = (
        click.option("--webhook", "webhooks", metavar="GLOB", multiple=True, help="Those of live webhooks so named."),
        click.option(
            "--state",
            "states",
            type=click.Choice([state.value for state in State]),
            multiple=True,
            help=f"Those in this state.  [default: {default}]",
        ),
        click.option("--event", "event_id", metavar="ID", help="Those of this event."),
        click.option(
            "--event-type", "event_types", metavar="TYPE", multiple=True, help="Those of events of this type."
        ),
        click.option(
            "--since", type=read_moment, metavar="TIME", help="Those accepted since: ISO 8601, or 90m, 12h, 7d."
        ),
        click.option("--until", type=read_moment, metavar="TIME", help="Those accepted before."),
        click.option("--reason", metavar="TEXT", default="", help="Why: kept with each delivery."),
        who_option,
        click.option("--dry-run", is_flag=True, help="Only count, by webhook."),
        click.option("--auto-approve", is_flag=True, help="Do not ask for a typed yes."),
        click.option("--resume", "key", metavar="KEY", help="Go on with one that was interrupted."),
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command()
@store_option
@format_option()
@_selection_options("dead; of deliveries named by ID any")
@click.option(
    "--dead-reason",
    "reasons",
    type=click.Choice([reason.value for reason in Reason]),
    multiple=True,
    help="Those dead or cancelled for this reason.",
)
@click.option("--rate", type=_Rate(min=0.001, max=100_000), metavar="N", help="Spread them: N a second.")
@click.option("--new-id", "is_new_id", is_flag=True, help="Under new ids, for receivers that would call them repeats.")
@click.pass_context
def replay(ctx: click.Context, /, output_format: str, rate: float | None, is_new_id: bool, **options: Any) -> int:
    """Send deliveries again: those named by ID, or all that the options mean together.

    Without --state those that are dead. Each is due at once, at its webhook's pace, unordered, with a fresh retry
    budget; its attempts are numbered on, and what is sent is rendered with what is live then. The receiver sees the
    webhook-id that it saw before, or with --new-id another one. Replays get what fresh deliveries of the webhook leave
    of its pace.

    Counts first and asks for a typed yes, unless IDs alone are given. What is pending or in flight is not sent twice,
    and nothing is of a webhook that is deleted or inactive; that is said. A replay that was interrupted goes on with
    --resume.
    """
    terms = Terms(interval_us=round(1_000_000 / rate) if rate else 0, is_new_id=is_new_id)
    return _operate(ctx, Action.REPLAY, terms, output_format, options)


@click.command()
@store_option
@format_option()
@_selection_options("pending and in_flight")
@click.pass_context
def cancel(ctx: click.Context, /, output_format: str, **options: Any) -> int:
    """Cancel deliveries that wait: those named by ID, or all that the options mean together.

    One that is in flight is cancelled when it comes back undelivered. What waits for a cancelled delivery of the same
    access request waits for what came before it. `deliveries replay` takes a cancelled delivery up again.

    Counts first and asks for a typed yes, unless IDs alone are given.
    """
    return _operate(ctx, Action.CANCEL, Terms(), output_format, options)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for, before it meets a store. `is_named`: by ids alone, which is its own approval."""

    where: Selection
    how: Intervention
    by: Warrant
    terms: Terms
    is_named: bool
    is_dry: bool
    must_ask: bool
    output_format: str


def _operate(ctx: click.Context, action: Action, terms: Terms, output_format: str, options: Mapping[str, Any]) -> int:
    is_narrowed = any(options.get(name) for name in NARROWING)
    if not options["ids"] and not is_narrowed:
        raise click.UsageError("Name deliveries by ID, or say which by options such as --webhook and --state.", ctx)
    is_named = bool(options["ids"]) and not is_narrowed
    must_ask = not (options["dry_run"] or options["auto_approve"] or is_named)
    if must_ask:
        require_terminal(hint="pass `--auto-approve`, or look first with `--dry-run`")
    now = time.time_ns() // 1_000_000
    order = Order(
        where=_selection(action, options, now=now),
        how=Intervention(
            options["key"] or uuid.uuid4().hex, action, now, applied_by(options["given_by"]), options["reason"]
        ),
        by=warrant(options["given_by"], options["reason"]),
        terms=terms,
        is_named=is_named,
        is_dry=options["dry_run"],
        must_ask=must_ask,
        output_format=output_format,
    )
    return asyncio.run(_carry_out(store_url(ctx), order))


def _selection(action: Action, options: Mapping[str, Any], *, now: int) -> Selection:
    states = tuple(State(state) for state in options["states"])
    if not states and action is Action.CANCEL and not options["ids"]:
        states = CANCELLABLE
    if not states and action is Action.REPLAY and not options["ids"]:
        states = (State.DEAD,) if not options["reasons"] else ()
    return Selection(
        ids=tuple(options["ids"]),
        webhooks=tuple(options["webhooks"]),
        states=states,
        reasons=tuple(Reason(reason) for reason in options.get("reasons", ())),
        event_id=options["event_id"],
        event_types=_spellings(options["event_types"]),
        accepted_since=moment_at(options["since"], now=now),
        accepted_before=moment_at(options["until"], now=now),
    )


def _spellings(types: tuple[str, ...]) -> tuple[str, ...]:
    """Each type as events may spell it: RequestCreated is AccessRequestCreated too."""
    found = dict.fromkeys(types)
    for kind in types:
        trigger = TRIGGER_OF_EVENT_TYPE.get(kind)
        found |= {spelling: None for spelling, other in TRIGGER_OF_EVENT_TYPE.items() if trigger and other is trigger}
    return tuple(found)


async def _carry_out(url: str, order: Order) -> int:
    async with reading(url) as store:
        order = await _resolved(store, order)
        planned = await _survey(store, order)
        if not planned.total and order.where.webhooks:
            await _require_webhooks(store, order.where.webhooks)
        if order.output_format == "text" and not order.is_named:
            out_tally(planned, order.how.action)
        if order.is_dry or not planned.done:
            return _end(planned, order, is_done=False)
        if order.must_ask and not await _is_approved(planned, order):
            return EXIT_FAILED
        return _end(await _do(store, order, planned.done), order, is_done=True)


async def _resolved(store: CommandStore, order: Order) -> Order:
    """With whole ids. Raises ReconcilerError."""
    where = order.where
    ids = tuple([await whole_delivery_id(store, text) for text in where.ids])
    event_id = None if where.event_id is None else await whole_event_id(store, where.event_id)
    return replace(order, where=replace(where, ids=ids, event_id=event_id))


async def _require_webhooks(store: CommandStore, globs: tuple[str, ...]) -> None:
    """Raise ReconcilerError for a glob that no live webhook has: it may be misspelt."""
    from fnmatch import fnmatchcase

    names = [live.webhook.name for live in (await store.live_state()).webhooks]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            hint = "`reconciler webhooks list` shows them; a deleted webhook's deliveries cannot be replayed"
            raise ReconcilerError(f"no webhook of this name is live: {glob}", hint=hint)


async def _survey(store: CommandStore, order: Order) -> Tally:
    tally = Tally()
    at: str | None = None
    while True:
        portion = await store.survey(order.where, order.how.action, terms=order.terms, at=at)
        tally = tally.plus(portion)
        at = portion.following
        if at is None:
            return tally


async def _is_approved(planned: Tally, order: Order) -> bool:
    if order.output_format == "json" or not sys.stdout.isatty():
        out_tally(planned, order.how.action, err=True)  # nobody approves what they cannot see
    noun = "delivery" if planned.done == 1 else "deliveries"
    deed = f"{order.how.action.value} {planned.done:,} {noun}{how_long(planned.done, order.terms)}"
    return await says_yes(question(deed), refusal="Nothing was changed.")


async def _do(store: CommandStore, order: Order, expected: int) -> Tally:
    """Every portion in turn. Whatever interrupts it, how to go on is said."""
    tally = Tally()
    at: str | None = None
    began = time.monotonic()
    try:
        with progress(expected, order.how.action) as advance:
            while True:
                portion = await _intervene(store, order, done=tally.done, began=began, at=at)
                tally = tally.plus(portion)
                advance(portion.done)
                at = portion.following
                if at is None:
                    return tally
    except BaseException:
        deed = f"{order.how.action.value} stopped after {tally.done:,} of {expected:,}"
        view.say(f"{deed}; the same command with `--resume {order.how.key}` goes on")
        raise


async def _intervene(store: CommandStore, order: Order, *, done: int, began: float, at: str | None) -> Portion:
    """One portion; replays that are spread go on where the last portion's ended."""
    elapsed_ms = (time.monotonic() - began) * 1000
    delay_ms = max(0, round(done * order.terms.interval_us / 1000 - elapsed_ms)) if order.terms.interval_us else 0
    how = replace(order.how, given_at=time.time_ns() // 1_000_000)
    by = replace(order.by, at=how.given_at)
    return await store.intervene(order.where, how, terms=replace(order.terms, delay_ms=delay_ms), at=at, warrant=by)


def _end(tally: Tally, order: Order, *, is_done: bool) -> int:
    """The report; exit 1 where something that was asked for by id stays undone."""
    if order.output_format == "json":
        view.out_json(report_json(tally, order.how, is_dry=order.is_dry))
    elif is_done or order.is_named:
        view.out(summary_text(tally, order.how.action, order.terms, is_dry=order.is_dry))
    return EXIT_FAILED if order.is_named and tally.refused and not order.is_dry else EXIT_OK
