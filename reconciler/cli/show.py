"""`show`: a revision, a saved plan as it was planned, or one webhook: as it is live, or where its values come from."""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from reconciler.apply import read_plan
from reconciler.cli import view
from reconciler.cli.option import format_option, store_option, store_url, var_options
from reconciler.cli.plan_option import check_view, markdown_options, view_options
from reconciler.cli.planning import plan_view, show_plan
from reconciler.cli.state import reading
from reconciler.errors import NotInStoreError
from reconciler.models.revision import LiveState, LiveWebhook, Revision

NUMBER_MAX_DIGITS: Final = 18  # within 64 bits


@click.command()
@store_option
@var_options
@view_options
@markdown_options
@format_option("text", "json", "markdown")
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), metavar="FILE", help="Show this saved plan.")
@click.option("--webhook", "name", metavar="NAME", help="Show the manifest of this live webhook.")
@click.option("--revision", "number", type=click.IntRange(min=1), metavar="N", help="With --webhook: as it was then.")
@click.option(
    "--effective",
    is_flag=True,
    help="With --webhook: every value of the declared webhook, defaults too, and where it comes from.",
)
@click.argument("arguments", nargs=-1, metavar="[REVISION|PATH]...")
@click.pass_context
def show(
    ctx: click.Context,
    /,
    output_format: str,
    plan_file: str | None,
    name: str | None,
    number: int | None,
    effective: bool,
    arguments: tuple[str, ...],
    **options: Any,
) -> None:
    """Show a REVISION: who applied it, when, from which commit, and what it changed.

    Or with --plan a saved plan as `plan` showed it; with --webhook the manifest of a live webhook; with --webhook and
    --effective where each value of a declared one comes from: its manifest, the defaults or the partials of `kind:
    Project`, or a default of the receiver's host or of the program. PATHs as for `plan`.
    """
    check_view(output_format, options)
    if (plan_file is not None) + (name is not None) + (bool(arguments) and name is None) != 1:
        raise click.UsageError("Give REVISION, --plan FILE or --webhook NAME.", ctx)
    if output_format == "markdown" and plan_file is None:
        raise click.UsageError("--format markdown goes with --plan FILE.", ctx)
    if name is None and (effective or number is not None):
        raise click.UsageError("--effective and --revision go with --webhook NAME.", ctx)
    # 1. a saved plan, 2. a declared webhook, 3. a live one, 4. a revision
    if plan_file is not None:
        _show_plan(Path(plan_file), output_format, options)
    elif name is not None and effective:
        if number is not None:
            raise click.UsageError("--revision goes with what is live, --effective with what is declared.", ctx)
        _show_effective(name, output_format, {**options, "paths": arguments})
    elif name is not None:
        if arguments:
            raise click.UsageError("A PATH goes with --effective.", ctx)
        _show_live(_live_webhook(asyncio.run(_state(store_url(ctx), number)), name), output_format)
    else:
        _show_revision(asyncio.run(_revision(store_url(ctx), _number(ctx, arguments))), output_format, options)


def _show_plan(file: Path, output_format: str, options: dict[str, Any]) -> None:
    saved = read_plan(file)
    show_plan(saved.plan, output_format, options)
    for refusal in saved.plan.refusals:
        view.say_error(f"refused: {refusal.message}", hint=refusal.hint)


def _show_effective(name: str, output_format: str, options: dict[str, Any]) -> None:
    from reconciler.cli.view_origin import effective_values, show_values

    show_values(name, effective_values(name, options), output_format, options)


def _show_live(item: LiveWebhook, output_format: str) -> None:
    from reconciler.cli.export import exported_document, put_manifests
    from reconciler.manifest.format import as_written

    document = exported_document(item)
    if output_format == "json":
        view.out_json(as_written(document))
    else:
        put_manifests([document])


def _live_webhook(state: LiveState, name: str) -> LiveWebhook:
    from reconciler.manifest.field import did_you_mean

    found = next((item for item in state.webhooks if item.webhook.name == name), None)
    if found is None:
        hint = did_you_mean(name, [item.webhook.name for item in state.webhooks]) or "see `reconciler webhooks list`"
        raise NotInStoreError(f"no webhook of this name is live at revision {state.revision}: {name}", hint=hint)
    return found


async def _state(url: str, number: int | None) -> LiveState:
    async with reading(url) as store:
        return await store.live_state(number)


def _number(ctx: click.Context, arguments: tuple[str, ...]) -> int:
    text = arguments[0]
    if len(arguments) > 1 or not (text.isascii() and text.isdigit() and len(text) <= NUMBER_MAX_DIGITS):
        raise click.UsageError(f"{' '.join(arguments)!r} is no revision's number.", ctx)
    return int(text)


async def _revision(url: str, number: int) -> Revision:
    async with reading(url) as store:
        found = await store.revision(number)
        if found is None:
            fact = f"there is no revision {number}: the live one is {await store.live_revision()}"
            raise NotInStoreError(fact, hint="see `reconciler history`")
        return found


def _show_revision(revision: Revision, output_format: str, options: dict[str, Any]) -> None:
    from reconciler.cli.view_history import counts_text, history_lines, revision_lines
    from reconciler.plan.record import recorded_changes

    if output_format == "json":
        view.out_json({**revision.to_json(), "resource_changes": list(revision.changes)})
        return
    changes, policy = recorded_changes(revision)
    policies = {revision.owner: policy} if policy is not None else {}
    for line in (*revision_lines(revision), *history_lines(changes, policies, plan_view(options))):
        view.out(line.styled)
    view.out(f"Revision {revision.number}: {counts_text(changes, policies)}.")
