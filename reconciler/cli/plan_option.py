"""Options of the commands that make or show a plan, the plan that they ask for, and the form it is shown in.

Called by `plan`, `apply` and `show`. Planning opens the store as it is; it makes none and locks nothing.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from reconciler.apply import read_live
from reconciler.cli import view
from reconciler.cli.option import chosen_paths, manifest_cache, secrets_option, store_option, var_options
from reconciler.cli.view_field import CONCISE, CONTEXT_LINES, FULL, NORMAL, PlanView
from reconciler.cli.view_plan import out_plan
from reconciler.errors import Problem, ReconcilerError, Severity
from reconciler.history import read_drift, read_hold
from reconciler.models.revision import Hold
from reconciler.models.webhook import Webhook
from reconciler.plan.change import Allowances, Refusal
from reconciler.plan.drift import Drift, of_targets
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Desired, Plan, Scope, make_plan

Command = TypeVar("Command", bound=Callable[..., Any])

_MARKDOWN_ONLY = ("marker", "max_bytes")


def planning_options(command: Command) -> Command:
    """What `plan` and `apply` need to make a plan."""
    for option in (
        click.option(
            "--target", "targets", metavar="GLOB", multiple=True, help="Only webhooks of these names. Repeatable."
        ),
        click.option(
            "--adopt", is_flag=True, help="Take over declared webhooks that belong to another owner, or to nobody."
        ),
        click.option(
            "--keep",
            is_flag=True,
            help="Release webhooks that are no longer declared instead of destroying them: they stay live and belong "
            "to nobody.",
        ),
        click.option("--allow-empty", is_flag=True, help="Accept manifests that declare no webhook at all."),
        click.option(
            "--allow-deletes",
            metavar="N",
            type=click.IntRange(min=0),
            help="Accept a plan beyond the limit that deletes exactly N webhooks.",
        ),
        click.option("--commit", metavar="SHA", help="The manifests' commit.  [default: git's, or the pipeline's]"),
    ):
        command = option(command)
    return store_option(var_options(secrets_option(command)))


def view_options(command: Command) -> Command:
    """How much of a plan is shown; read them with `plan_view`."""
    for option in (
        click.option("--concise", is_flag=True, help="Only what changes, long values clipped to size and hash."),
        click.option("--full", is_flag=True, help="Also what stays as it is, and defaults."),
        click.option(
            "--context",
            metavar="N",
            type=click.IntRange(0, 100_000),
            help=f"Unchanged lines, keys and elements around a changed one.  [default: {CONTEXT_LINES}]",
        ),
    ):
        command = option(command)
    return command


def markdown_options(command: Command) -> Command:
    """`--max-bytes` and `--marker`, for `--format markdown`."""
    for option in (
        click.option(
            "--max-bytes",
            metavar="N",
            type=click.IntRange(min=2_000),
            help="The longest Markdown; less detail is shown to stay below.  [default: 65000, a GitHub comment]",
        ),
        click.option(
            "--marker", metavar="NAME", help="Of the hidden marker by which a comment is found.  [default: the owner]"
        ),
    ):
        command = option(command)
    return command


def json_into_option(command: Command) -> Command:
    """`--json-into FILE`."""
    return click.option(
        "--json-into",
        "json_file",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Also write the JSON document to FILE, whatever --format prints.",
    )(command)


def plan_view(options: Mapping[str, Any], *, err: bool = False) -> PlanView:
    """What `view_options` say, with the width of the terminal if there is one."""
    if options["concise"] and options["full"]:
        raise click.UsageError("--concise and --full contradict each other.")
    how = CONCISE if options["concise"] else FULL if options["full"] else NORMAL
    if options["context"] is not None:
        how = replace(how, context=options["context"])
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    return replace(how, width=shutil.get_terminal_size().columns if is_terminal else None)


def show_plan(plan: Plan, output_format: str, options: Mapping[str, Any]) -> None:
    """The plan on stdout, in the form that was asked for."""
    if output_format == "json":
        from reconciler.plan.schema import plan_json

        view.out_json(plan_json(plan))
    elif output_format == "markdown":
        from reconciler.cli.view_markdown import DEFAULT_MAX_BYTES, plan_markdown

        max_bytes = options["max_bytes"] or DEFAULT_MAX_BYTES
        how = replace(plan_view(options), width=None)
        view.out(plan_markdown(plan, how, marker=options["marker"], max_bytes=max_bytes).removesuffix("\n"))
    else:
        out_plan(plan, plan_view(options))


def check_view(output_format: str, options: Mapping[str, Any]) -> None:
    """Raise click.UsageError for options that say nothing about this format, before anything is done."""
    plan_view(options)
    if output_format != "markdown" and any(options.get(name) is not None for name in _MARKDOWN_ONLY):
        raise click.UsageError("--max-bytes and --marker go with --format markdown.")


async def plan_of(url: str, options: Mapping[str, Any], *, is_apply: bool = False) -> Plan:
    """The plan of the manifests against the store, judged, with what drifted; its warnings are said. A hold is one of
    them, but refuses an apply."""
    from reconciler.cli.state import open_state

    desired = desired_of(options)
    owner, held, drift = desired.project.spec.owner, None, None
    async with AsyncExitStack() as stack:
        opened = open_state(url, create=False)
        store = await stack.enter_async_context(opened) if opened is not None else None
        live, unfinished = await read_live(store)
        if store is not None:
            drift = await read_drift(store, desired, live)
            held = await read_hold(store, owner)
    scope = Scope(targets=options["targets"], adopts=options["adopt"], keeps=options["keep"])
    made = make_plan(desired, live, unfinished=unfinished, scope=scope)
    if scope.targets and not made.changes:
        raise ReconcilerError(
            f"no webhook has such a name: {', '.join(scope.targets)}", hint="`--target` takes globs over names"
        )
    drift = drift and of_targets(drift, scope.targets)
    made = told_of(made, drift, held, is_apply=is_apply)
    view.say_problems(made.warnings)
    return guarded(made, Allowances(deletes=options["allow_deletes"], empty=options["allow_empty"]))


def told_of(made: Plan, drift: Drift | None, held: Hold | None, *, is_apply: bool) -> Plan:
    """The plan with what stands beside it: the drift, and what a hold means for it."""
    if drift:
        made = replace(made, drift=drift)
    if held is not None and is_apply:
        made = replace(made, refusals=(*made.refusals, Refusal("on_hold", held.fact, held.way_out)))
    elif held is not None:
        warning = Problem(Severity.WARNING, "on_hold", held.fact, hint=held.way_out)
        made = replace(made, warnings=(*made.warnings, warning))
    return made


def desired_of(options: Mapping[str, Any]) -> Desired:
    """The manifests, valid, their warnings said."""
    from reconciler.manifest.load import load_manifests, read_variables

    variables = read_variables(options["variables"], tuple(Path(name) for name in options["var_files"]))
    manifests = load_manifests(chosen_paths(options["paths"]), variables=variables, cache=manifest_cache())
    manifests.require_valid()
    view.say_problems(manifests.problems)
    if options.get("secrets_file"):
        view.say_problems(_unbound(manifests.webhooks, Path(options["secrets_file"])))
    return Desired(manifests.webhooks, manifests.project, manifests.digest)


def _unbound(webhooks: tuple[Webhook, ...], secrets_file: Path) -> list[Problem]:
    """A warning for each webhook whose deliveries would wait for a secret."""
    from reconciler.egress.secrets import SecretResolver

    resolver = SecretResolver.load(secrets_file)
    found = ((webhook, resolver.unresolved(webhook)) for webhook in webhooks)
    hint = "its deliveries stay pending until the binding file allows it"
    return [
        Problem(Severity.WARNING, "secret_unbound", fact, path=webhook.address, hint=hint)
        for webhook, fact in found
        if fact is not None
    ]
