"""`plan` and `apply`: what would change, and changing it.

Exit codes are the contract of pipelines: 0 done, 2 changes (only under --detailed-exitcode), 3 refused, 4 stale. What
the commands do is imported while other processes read the manifests and what is live.
"""

from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from reconciler.cli.approval import require_terminal
from reconciler.cli.early import begun
from reconciler.cli.network_option import NAMES, network_options
from reconciler.cli.option import ca_option, chosen_paths, format_option, paths_argument, store_url, who_option
from reconciler.cli.plan_option import (
    check_impact,
    check_view,
    impact_options,
    json_into_option,
    markdown_options,
    planning_options,
    view_options,
)

# What a saved plan has settled already; with --plan, saying it again would be a contradiction or no effect
SETTLED: Final = {
    "paths": "PATH",
    "variables": "--var",
    "var_files": "--var-file",
    "targets": "--target",
    "adopt": "--adopt",
    "keep": "--keep",
    "allow_deletes": "--allow-deletes",
    "allow_empty": "--allow-empty",
}


@click.command()
@planning_options
@impact_options
@view_options
@markdown_options
@json_into_option
@format_option("text", "json", "markdown")
@click.option("--out", "out_file", type=click.Path(dir_okay=False), metavar="FILE", help="Save the plan for apply.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@paths_argument
@click.pass_context
def plan(ctx: click.Context, /, output_format: str, **options: Any) -> int:
    """Show what apply would change; change nothing.

    The PATHs (default manifests/) together are the whole of what their owner wants: a live webhook of this owner that
    they do not declare is planned to be destroyed.
    """
    check_view(output_format, options)
    check_impact(options)
    url = store_url(ctx)
    with begun(url, chosen_paths(options["paths"])) as early:
        from reconciler.cli.perform import run_plan

        return run_plan(url, early, output_format, options)


@click.command()
@planning_options
@view_options
@json_into_option
@format_option()
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), metavar="FILE", help="Apply this saved plan.")
@click.option(
    "--rebase-if-disjoint",
    is_flag=True,
    help="Apply the saved plan also if the store has moved on, as long as nothing that it touches has.",
)
@click.option(
    "--verify",
    "verifies",
    is_flag=True,
    help="First send each changed, active webhook a test event; apply only if all of them succeed.",
)
@ca_option
@network_options
@click.option("--auto-approve", is_flag=True, help="Do not ask for a typed yes.")
@who_option
@paths_argument
@click.pass_context
def apply(ctx: click.Context, /, output_format: str, plan_file: str | None, **options: Any) -> int:
    """Bring the store to what the manifests say: everything or nothing, in one transaction.

    Shows the plan and asks for a typed yes. A saved plan is its own approval: it is applied without a question, once,
    and only while the store is still what the plan was made from.

    --verify sends each webhook that is created or edited, and active, one test event before the transaction, as `test`
    does, no faster than its rate limit; if one fails, nothing is applied.
    """
    check_view(output_format, options)
    for name in () if options["verifies"] else NAMES:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --verify.", ctx)
    if plan_file is not None:
        _refuse_settled(ctx)
        from reconciler.cli.perform import run_saved

        return run_saved(store_url(ctx), Path(plan_file), output_format, options)
    if options["rebase_if_disjoint"]:
        raise click.UsageError("--rebase-if-disjoint goes with --plan FILE.", ctx)
    if not options["auto_approve"]:
        require_terminal(hint="pass `--auto-approve`, or review a saved plan and apply it with `--plan FILE`")
    url = store_url(ctx)
    with begun(url, chosen_paths(options["paths"])) as early:
        from reconciler.cli.perform import run_apply

        return run_apply(url, early, output_format, options)


def _refuse_settled(ctx: click.Context) -> None:
    for name, word in SETTLED.items():
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--plan applies a saved plan as it is; it takes no {word}.", ctx)
