"""`rollback`: an owner's webhooks as they were at an earlier revision, applied as a new one; and holding applies.

A rollback is a plan like any other: shown, judged by the same guards, approved, published by the same code. Exit codes
are those of `apply`.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from reconciler.apply import Provenance, apply_plan, new_id
from reconciler.cli import view
from reconciler.cli.approval import require_terminal
from reconciler.cli.option import format_option, store_option, store_url, who_option
from reconciler.cli.owner import owner_option, the_owner
from reconciler.cli.perform import is_approved, refused
from reconciler.cli.plan_option import check_view, view_options
from reconciler.cli.planning import show_plan
from reconciler.cli.provenance import applied_by, warrant
from reconciler.cli.state import reading
from reconciler.cli.view_plan import applied_text
from reconciler.errors import EXIT_FAILED, EXIT_OK, ReconcilerError
from reconciler.history import commit_at
from reconciler.models.revision import Hold, Revision
from reconciler.plan.change import Allowances
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Plan
from reconciler.plan.rollback import make_rollback
from reconciler.plan.schema import plan_json
from reconciler.store.base import CommandStore


@click.command()
@store_option
@owner_option
@view_options
@format_option()
@click.option("--hold", "holds", is_flag=True, help="Refuse the owner's applies from then on, until --release.")
@click.option("--release", "releases", is_flag=True, help="Let the owner's applies go on; takes no REVISION.")
@click.option("--reason", metavar="TEXT", default="", help="Why: kept in the history and said to who is held back.")
@click.option("--allow-empty", is_flag=True, help="Accept a revision at which the owner had no webhook at all.")
@click.option(
    "--allow-deletes",
    metavar="N",
    type=click.IntRange(min=0),
    help="Accept a plan beyond the limit that deletes exactly N webhooks.",
)
@click.option("--auto-approve", is_flag=True, help="Do not ask for a typed yes.")
@who_option
@click.argument("revision", type=click.IntRange(min=1), required=False)
@click.pass_context
def rollback(ctx: click.Context, /, revision: int | None, output_format: str, releases: bool, **options: Any) -> int:
    """Bring an owner's live webhooks and policy back to what they were at REVISION, as a new revision.

    Shows the plan and asks for a typed yes. Webhooks that were deleted since come back under their uid, with their
    history; what other owners have is left alone. Until the manifests follow, the next apply would undo it: --hold
    refuses that apply until `rollback --release`.
    """
    check_view(output_format, options)
    if releases == (revision is not None):
        raise click.UsageError("Give REVISION to go back to, or --release.", ctx)
    if releases and options["holds"]:
        raise click.UsageError("--hold and --release contradict each other.", ctx)
    if releases:
        return asyncio.run(_release(store_url(ctx), output_format, options))
    if not options["auto_approve"]:
        require_terminal()
    return asyncio.run(_roll_back(store_url(ctx), revision or 0, output_format, options))


async def _roll_back(url: str, number: int, output_format: str, options: Mapping[str, Any]) -> int:
    async with reading(url) as store:
        made = await _plan(store, number, options)
        if output_format == "text" or made.refusals:
            show_plan(made, output_format, options)
        if made.refusals:
            return refused(made)
        hold = _hold(made, options) if options["holds"] else None
        must_ask = made.has_changes and not options["auto_approve"]
        if must_ask and not await is_approved(made, output_format, options):
            return EXIT_FAILED
        by = await _provenance(store, made, hold, options)
        revision = await apply_plan(store, made, plan_id=new_id(), by=by)
        if revision is None and hold is not None:
            await store.set_hold(made.owner, hold, warrant=by.warrant)
    return _done(made, revision, hold, output_format)


async def _plan(store: CommandStore, number: int, options: Mapping[str, Any]) -> Plan:
    live, target = await store.live_state(), await store.live_state(number)
    owner = the_owner(options["owner"], live, target)
    made = make_rollback(target, live, owner=owner, unfinished=await store.unfinished())
    return guarded(made, Allowances(deletes=options["allow_deletes"], empty=options["allow_empty"]))


def _hold(made: Plan, options: Mapping[str, Any]) -> Hold:
    reason = options["reason"] or f"rolled back to revision {made.restores}"
    return Hold(made.owner, time.time_ns() // 1_000_000, applied_by(options["given_by"]), reason)


async def _provenance(store: CommandStore, made: Plan, hold: Hold | None, options: Mapping[str, Any]) -> Provenance:
    """The commit is that of the revision gone back to: it is what will be live."""
    commit = await commit_at(store, made.restores or 0, made.owner)
    now = time.time_ns() // 1_000_000
    who, reason = options["given_by"], options["reason"]
    return Provenance(applied_by(who), now, commit, reason=reason, hold=hold, warrant=warrant(who, reason))


def _done(made: Plan, revision: Revision | None, hold: Hold | None, output_format: str) -> int:
    if output_format == "json":
        held = hold.to_json() if hold is not None else None
        view.out_json({**plan_json(made), "revision": revision.number if revision else None, "hold": held})
    elif revision is not None:
        view.out(f"\n{click.style(applied_text(revision, made.summary), fg='green', bold=True)}")
    if hold is not None:
        view.say(f"\n{view.visible(hold.fact)}\n{view.visible(hold.way_out)}")
    return EXIT_OK


async def _release(url: str, output_format: str, options: Mapping[str, Any]) -> int:
    async with reading(url) as store:
        held = _held(await store.holds(), options["owner"])
        if held is not None:
            by = warrant(options["given_by"], options["reason"])
            await store.set_hold(held.owner, None, warrant=by)
    if output_format == "json":
        view.out_json({"released": held.to_json() if held is not None else None})
    else:
        text = "No applies were on hold."
        if held is not None:
            text = f"Released: applies of {held.whose}, which were on hold {held.origin}"
        view.out(view.visible(text))
    return EXIT_OK


def _held(holds: Sequence[Hold], owner: str | None) -> Hold | None:
    """The hold of that owner; without one, the only hold there is. Raises ReconcilerError where there are several."""
    found = [hold for hold in holds if owner in (None, hold.owner)]
    if len(found) > 1:
        owners = ", ".join(view.visible(hold.owner) or "the default owner" for hold in found)
        raise ReconcilerError(f"{len(found)} owners are held back: {owners}", hint="choose one with `--owner NAME`")
    return found[0] if found else None
