"""`drift`: whether what is live is what the manifests' last apply left. Reads only.

Exit codes are the contract of pipelines: 0, or 2 under --detailed-exitcode where something drifted.
"""

import asyncio
from typing import Any

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, paths_argument, store_option, store_url, var_options
from reconciler.cli.plan_option import check_view, view_options
from reconciler.cli.planning import desired_of, plan_view
from reconciler.cli.state import reading
from reconciler.cli.view_drift import drift_lines, drift_summary
from reconciler.errors import EXIT_CHANGES, EXIT_OK
from reconciler.history import read_drift, read_hold
from reconciler.models.revision import Hold, LiveState
from reconciler.plan.drift import Drift, without_ignored
from reconciler.plan.plan import Desired
from reconciler.plan.schema import drift_json


@click.command()
@store_option
@var_options
@view_options
@format_option()
@click.option(
    "--ignore",
    "ignored",
    metavar="PATH",
    multiple=True,
    help="Pass over a field and what is below it, like spec.headers.x-foo; also a glob, also with webhook.NAME before "
    "it. Repeatable.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if anything drifted.")
@paths_argument
@click.pass_context
def drift(
    ctx: click.Context, /, output_format: str, ignored: tuple[str, ...], detailed_exitcode: bool, **options: Any
) -> int:
    """Tell what is live otherwise than the manifests' last apply left it; change nothing.

    That is the work of a rollback, of other manifests of the same owner, of another owner who took a webhook over, or
    of somebody who edited the database. A manifest that was edited since is no drift: `plan` shows it.
    """
    check_view(output_format, options)
    live, found, held = asyncio.run(_drift(store_url(ctx), desired_of(options)))
    found = without_ignored(found, ignored)
    if output_format == "json":
        view.out_json(drift_json(found, live) | {"hold": held.to_json() if held is not None else None})
    else:
        lines = drift_lines(found, plan_view(options)) if found else ()
        for line in lines:
            view.out(line.styled)
        view.out(click.style(drift_summary(found), bold=bool(found)))
        if held is not None:
            view.say(f"\n{view.visible(held.fact)}\n{view.visible(held.way_out)}")
    return EXIT_CHANGES if detailed_exitcode and found else EXIT_OK


async def _drift(url: str, desired: Desired) -> tuple[LiveState, Drift, Hold | None]:
    async with reading(url) as store:
        live = await store.live_state()
        found = await read_drift(store, desired, live)
        return live, found, await read_hold(store, desired.project.spec.owner)
